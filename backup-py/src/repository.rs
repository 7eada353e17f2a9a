//! The class `Repository`, and what everything made from one shares with it.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use backup_core::{Credential, DirectoryCache, KdfParams, Options, Result, Sink, SnapshotId};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::browse::Browser;
use crate::convert::{
    Patterns, Time, conflict, cost, credential, head, head_text, pairs, patterns, refuse_pickle, snapshot_id,
    snapshot_ids, verify_level,
};
use crate::door::{Job, Poison, promise, wait};
use crate::error::{OrRaise, invalid};
use crate::folder::{self, Turned};
use crate::pages::Differences;
use crate::progress::CancelToken;
use crate::runs::{self, Backup, Prune, Restore};
use crate::seams::Caller;
use crate::{reports, results, runtime, store};

/// An open repository.
#[pyclass(frozen, module = "backup_py")]
pub(crate) struct Repository {
    shared: Arc<Shared>,
}

/// An open repository, shared by all that was made from it: none of that works once it is closed.
pub(crate) struct Shared {
    id: String,
    open: RwLock<Option<backup_core::Repository>>,
    poison: Poison,
}

impl Shared {
    /// The repository, if it is open and sound.
    pub(crate) fn get(&self) -> Result<backup_core::Repository> {
        self.poison.check()?;
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.clone().ok_or_else(|| invalid("the repository is closed"))
    }

    /// Refuses what is made from a repository that is closed.
    pub(crate) fn check(&self, py: Python<'_>) -> PyResult<()> {
        self.get().or_raise(py).map(drop)
    }

    pub(crate) fn poison(&self) -> &Poison {
        &self.poison
    }
}

pub(crate) type Keyword<'a, 'py> = Option<&'a Bound<'py, PyAny>>;
pub(crate) type Callback<'py> = Option<Bound<'py, PyAny>>;

#[pymethods]
impl Repository {
    /// Creates a repository in an empty store and opens it.
    #[staticmethod]
    #[pyo3(signature = (
        url, *, passphrase = None, raw_key = None, options = None, kdf_memory_kib = None, kdf_passes = None,
        kdf_lanes = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn init(
        py: Python<'_>,
        url: &Bound<'_, PyAny>,
        passphrase: Keyword<'_, '_>,
        raw_key: Keyword<'_, '_>,
        options: Keyword<'_, '_>,
        kdf_memory_kib: Option<u32>,
        kdf_passes: Option<u32>,
        kdf_lanes: Option<u32>,
    ) -> PyResult<Self> {
        let cost = cost(kdf_memory_kib, kdf_passes, kdf_lanes).or_raise(py)?;
        let place = Place::new(url, passphrase, raw_key, options)?;
        wait(py, place.init(cost)).map(Self::new)
    }

    /// Does what `init` does, for `await`.
    #[staticmethod]
    #[pyo3(signature = (
        url, *, passphrase = None, raw_key = None, options = None, kdf_memory_kib = None, kdf_passes = None,
        kdf_lanes = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn init_async<'py>(
        py: Python<'py>,
        url: &Bound<'py, PyAny>,
        passphrase: Keyword<'_, 'py>,
        raw_key: Keyword<'_, 'py>,
        options: Keyword<'_, 'py>,
        kdf_memory_kib: Option<u32>,
        kdf_passes: Option<u32>,
        kdf_lanes: Option<u32>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let cost = cost(kdf_memory_kib, kdf_passes, kdf_lanes).or_raise(py)?;
        let place = Place::new(url, passphrase, raw_key, options)?;
        promise(py, place.init(cost), |py, opened| Ok(Py::new(py, Self::new(opened))?.into_any()))
    }

    /// Opens a repository.
    #[staticmethod]
    #[pyo3(signature = (
        url, *, passphrase = None, raw_key = None, options = None, known_head = None, index_cache = None,
        as_of = None, probe = false
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn open(
        py: Python<'_>,
        url: &Bound<'_, PyAny>,
        passphrase: Keyword<'_, '_>,
        raw_key: Keyword<'_, '_>,
        options: Keyword<'_, '_>,
        known_head: Option<&str>,
        index_cache: Option<PathBuf>,
        as_of: Option<Time>,
        probe: bool,
    ) -> PyResult<Self> {
        let place = Place::new(url, passphrase, raw_key, options)?;
        let how = Opening { known_head, index_cache, as_of, probe };
        wait(py, place.open(how).or_raise(py)?).map(Self::new)
    }

    /// Does what `open` does, for `await`.
    #[staticmethod]
    #[pyo3(signature = (
        url, *, passphrase = None, raw_key = None, options = None, known_head = None, index_cache = None,
        as_of = None, probe = false
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn open_async<'py>(
        py: Python<'py>,
        url: &Bound<'py, PyAny>,
        passphrase: Keyword<'_, 'py>,
        raw_key: Keyword<'_, 'py>,
        options: Keyword<'_, 'py>,
        known_head: Option<&str>,
        index_cache: Option<PathBuf>,
        as_of: Option<Time>,
        probe: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let place = Place::new(url, passphrase, raw_key, options)?;
        let job = place.open(Opening { known_head, index_cache, as_of, probe }).or_raise(py)?;
        promise(py, job, |py, opened| Ok(Py::new(py, Self::new(opened))?.into_any()))
    }

    /// The repository's id, 32 hexadecimal digits. Known also when it is closed.
    #[getter]
    fn id(&self) -> &str {
        &self.shared.id
    }

    /// Whether `close` was called.
    #[getter]
    fn closed(&self) -> bool {
        self.shared.open.read().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// What the store was seen to do when this repository was created, or opened with `probe`; else `None`.
    #[getter]
    fn probe<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let repository = self.shared.get().or_raise(py)?;
        repository.probe().map(|found| reports::probe(py, found)).transpose()
    }

    /// The end of the log as known now, as text.
    #[getter]
    fn head(&self, py: Python<'_>) -> PyResult<String> {
        Ok(head_text(self.shared.get().or_raise(py)?.head()))
    }

    /// Closes the repository and forgets its keys.
    fn close(&self) {
        // Runs that are under way have clones of their own; the keys are wiped when the last of them ends.
        drop(self.shared.open.write().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn __enter__(this: Bound<'_, Self>) -> PyResult<Bound<'_, Self>> {
        this.get().shared.check(this.py())?;
        Ok(this)
    }

    #[pyo3(signature = (exc_type, exc_value, traceback, /))]
    fn __exit__(
        &self,
        exc_type: &Bound<'_, PyAny>,
        exc_value: &Bound<'_, PyAny>,
        traceback: &Bound<'_, PyAny>,
    ) {
        let _ = (exc_type, exc_value, traceback);
        self.close();
    }

    fn __aenter__(this: Bound<'_, Self>) -> PyResult<Bound<'_, PyAny>> {
        let py = this.py();
        this.get().shared.check(py)?;
        let this = this.unbind();
        promise(py, Job::new(this.get().shared.poison(), || async { Ok(()) }), |_, ()| Ok(this.into_any()))
    }

    #[pyo3(signature = (exc_type, exc_value, traceback, /))]
    fn __aexit__<'py>(
        &self,
        py: Python<'py>,
        exc_type: &Bound<'py, PyAny>,
        exc_value: &Bound<'py, PyAny>,
        traceback: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _ = (exc_type, exc_value, traceback);
        self.close();
        promise(py, Job::new(&Poison::default(), || async { Ok(()) }), |py, ()| Ok(py.None()))
    }

    /// Reads what other writers have committed since.
    fn refresh(&self, py: Python<'_>) -> PyResult<()> {
        let repository = self.shared.get().or_raise(py)?;
        wait(py, self.job(|| async move { repository.refresh().await }))
    }

    /// Does what `refresh` does, for `await`.
    fn refresh_async<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let repository = self.shared.get().or_raise(py)?;
        promise(py, self.job(|| async move { repository.refresh().await }), |py, ()| Ok(py.None()))
    }

    /// All snapshots in the order of their commits, without checkpoints.
    fn snapshots<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let all = self.shared.get().or_raise(py)?.snapshots();
        PyList::new(py, all.iter().map(|each| results::summary(py, each)).collect::<PyResult<Vec<_>>>()?)
    }

    /// The newest snapshot of the collection with this id, or `None`.
    fn latest<'py>(&self, py: Python<'py>, collection: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let latest = self.shared.get().or_raise(py)?.latest(collection);
        latest.map(|summary| results::summary(py, &summary)).transpose()
    }

    /// All that a snapshot says of itself.
    fn snapshot<'py>(&self, py: Python<'py>, snapshot: &str) -> PyResult<Bound<'py, PyAny>> {
        let (repository, id) = (self.shared.get().or_raise(py)?, snapshot_id(snapshot).or_raise(py)?);
        let info = wait(py, self.job(move || async move { repository.snapshot(id).await }))?;
        results::info(py, &info)
    }

    /// Backs up a source: a new snapshot.
    #[pyo3(signature = (
        source, *, labels = None, full = false, checkpoint_bytes = None, suspicious_percent = 25,
        compression = "adaptive", cancel = None, on_progress = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn backup<'py>(
        &self,
        py: Python<'py>,
        source: &Bound<'py, PyAny>,
        labels: Keyword<'_, 'py>,
        full: bool,
        checkpoint_bytes: Option<u64>,
        suspicious_percent: u32,
        compression: &str,
        cancel: Option<&Bound<'py, CancelToken>>,
        on_progress: Callback<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (source, labels) = (folder::source(source, Caller::Thread)?, pairs(labels)?);
        let compression = compression.parse().or_raise(py)?;
        let what = Backup { source, labels, full, checkpoint_bytes, suspicious_percent, compression };
        let report = wait(py, runs::backup(py, &self.shared, what, cancel, on_progress)?)?;
        results::backup(py, &report)
    }

    /// Does what `backup` does, for `await`.
    #[pyo3(signature = (
        source, *, labels = None, full = false, checkpoint_bytes = None, suspicious_percent = 25,
        compression = "adaptive", cancel = None, on_progress = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn backup_async<'py>(
        &self,
        py: Python<'py>,
        source: &Bound<'py, PyAny>,
        labels: Keyword<'_, 'py>,
        full: bool,
        checkpoint_bytes: Option<u64>,
        suspicious_percent: u32,
        compression: &str,
        cancel: Option<&Bound<'py, CancelToken>>,
        on_progress: Callback<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (source, labels) = (folder::source(source, Caller::EventLoop)?, pairs(labels)?);
        let compression = compression.parse().or_raise(py)?;
        let what = Backup { source, labels, full, checkpoint_bytes, suspicious_percent, compression };
        let job = runs::backup(py, &self.shared, what, cancel, on_progress)?;
        promise(py, job, |py, report| results::backup(py, &report).map(Bound::unbind))
    }

    /// Restores a snapshot to a sink.
    #[pyo3(
        signature = (
            snapshot, sink, *, only = None, exclude = None, conflict = "skip", undo = None, cancel = None,
            on_progress = None
        ),
        text_signature = "($self, snapshot, sink, *, only=(), exclude=(), conflict='skip', undo=None, \
                          cancel=None, on_progress=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn restore<'py>(
        &self,
        py: Python<'py>,
        snapshot: &str,
        sink: &Bound<'py, PyAny>,
        only: Option<Patterns>,
        exclude: Option<Patterns>,
        conflict: &str,
        undo: Option<&str>,
        cancel: Option<&Bound<'py, CancelToken>>,
        on_progress: Callback<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let what = restore(py, snapshot, folder::sink(sink, Caller::Thread)?, only, exclude, conflict, undo)?;
        let report = wait(py, runs::restore(py, &self.shared, what, cancel, on_progress)?)?;
        results::restore(py, &report)
    }

    /// Does what `restore` does, for `await`.
    #[pyo3(
        signature = (
            snapshot, sink, *, only = None, exclude = None, conflict = "skip", undo = None, cancel = None,
            on_progress = None
        ),
        text_signature = "($self, snapshot, sink, *, only=(), exclude=(), conflict='skip', undo=None, \
                          cancel=None, on_progress=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn restore_async<'py>(
        &self,
        py: Python<'py>,
        snapshot: &str,
        sink: &Bound<'py, PyAny>,
        only: Option<Patterns>,
        exclude: Option<Patterns>,
        conflict: &str,
        undo: Option<&str>,
        cancel: Option<&Bound<'py, CancelToken>>,
        on_progress: Callback<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let what =
            restore(py, snapshot, folder::sink(sink, Caller::EventLoop)?, only, exclude, conflict, undo)?;
        let job = runs::restore(py, &self.shared, what, cancel, on_progress)?;
        promise(py, job, |py, report| results::restore(py, &report).map(Bound::unbind))
    }

    /// Gives snapshots up.
    fn remove(&self, py: Python<'_>, snapshots: Vec<String>) -> PyResult<()> {
        let (repository, ids) = self.with_ids(py, &snapshots)?;
        wait(py, self.job(move || async move { repository.remove(&ids).await }))
    }

    /// Keeps snapshots from being removed, by whatever rule or hand, until they are released.
    fn hold(&self, py: Python<'_>, snapshots: Vec<String>) -> PyResult<()> {
        let (repository, ids) = self.with_ids(py, &snapshots)?;
        wait(py, self.job(move || async move { repository.hold(&ids).await }))
    }

    /// Lets snapshots be removed again.
    fn release(&self, py: Python<'_>, snapshots: Vec<String>) -> PyResult<()> {
        let (repository, ids) = self.with_ids(py, &snapshots)?;
        wait(py, self.job(move || async move { repository.release(&ids).await }))
    }

    /// Removes the snapshots that their collections' retention lets go.
    #[pyo3(signature = (rules, *, dry_run = false))]
    fn retain<'py>(
        &self,
        py: Python<'py>,
        rules: &Bound<'py, PyAny>,
        dry_run: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        results::retained(py, &wait(py, runs::retain(py, &self.shared, rules, dry_run)?)?)
    }

    /// Does what `retain` does, for `await`.
    #[pyo3(signature = (rules, *, dry_run = false))]
    fn retain_async<'py>(
        &self,
        py: Python<'py>,
        rules: &Bound<'py, PyAny>,
        dry_run: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let job = runs::retain(py, &self.shared, rules, dry_run)?;
        promise(py, job, |py, retained| Ok(results::retained(py, &retained)?.into_any().unbind()))
    }

    /// Gives back the room of what no snapshot needs.
    #[pyo3(signature = (*, grace = None, unused_percent = 10, dry_run = false, cancel = None, on_progress = None))]
    fn prune<'py>(
        &self,
        py: Python<'py>,
        grace: Option<Duration>,
        unused_percent: u32,
        dry_run: bool,
        cancel: Option<&Bound<'py, CancelToken>>,
        on_progress: Callback<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let what = Prune { grace, unused_percent, dry: dry_run };
        results::prune(py, &wait(py, runs::prune(py, &self.shared, what, cancel, on_progress)?)?)
    }

    /// Does what `prune` does, for `await`.
    #[pyo3(signature = (*, grace = None, unused_percent = 10, dry_run = false, cancel = None, on_progress = None))]
    fn prune_async<'py>(
        &self,
        py: Python<'py>,
        grace: Option<Duration>,
        unused_percent: u32,
        dry_run: bool,
        cancel: Option<&Bound<'py, CancelToken>>,
        on_progress: Callback<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let what = Prune { grace, unused_percent, dry: dry_run };
        let job = runs::prune(py, &self.shared, what, cancel, on_progress)?;
        promise(py, job, |py, report| results::prune(py, &report).map(Bound::unbind))
    }

    /// Checks the repository.
    #[pyo3(signature = (level = "structure", *, cancel = None, on_progress = None))]
    fn verify<'py>(
        &self,
        py: Python<'py>,
        level: &str,
        cancel: Option<&Bound<'py, CancelToken>>,
        on_progress: Callback<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let level = verify_level(level).or_raise(py)?;
        let report = wait(py, runs::verify(py, &self.shared, level, cancel, on_progress)?)?;
        results::verify(py, &report)
    }

    /// Does what `verify` does, for `await`.
    #[pyo3(signature = (level = "structure", *, cancel = None, on_progress = None))]
    fn verify_async<'py>(
        &self,
        py: Python<'py>,
        level: &str,
        cancel: Option<&Bound<'py, CancelToken>>,
        on_progress: Callback<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let level = verify_level(level).or_raise(py)?;
        let job = runs::verify(py, &self.shared, level, cancel, on_progress)?;
        promise(py, job, |py, report| results::verify(py, &report).map(Bound::unbind))
    }

    /// Iterates over what differs between two snapshots, in the order of item ids.
    fn diff(&self, py: Python<'_>, before: &str, after: &str) -> PyResult<Differences> {
        let repository = self.shared.get().or_raise(py)?;
        let (before, after) = (snapshot_id(before).or_raise(py)?, snapshot_id(after).or_raise(py)?);
        let found = wait(py, self.job(move || async move { repository.diff(before, after).await }))?;
        Ok(Differences::new(Arc::clone(&self.shared), found))
    }

    /// Looks into a snapshot without restoring it.
    fn browse(&self, py: Python<'_>, snapshot: &str) -> PyResult<Browser> {
        let (repository, id) = (self.shared.get().or_raise(py)?, snapshot_id(snapshot).or_raise(py)?);
        let browser = wait(py, self.job(move || async move { repository.browse(id).await }))?;
        Ok(Browser::new(Arc::clone(&self.shared), browser))
    }

    fn __repr__(&self) -> String {
        format!("<backup_py.Repository {} {}>", self.shared.id, if self.closed() { "closed" } else { "open" })
    }

    fn __reduce__(&self) -> PyResult<()> {
        refuse_pickle("Repository", "it holds keys and threads; open it again where it is needed")
    }
}

impl Repository {
    pub(crate) fn new(opened: backup_core::Repository) -> Self {
        let (id, poison) = (opened.id().to_string(), Poison::default());
        Self { shared: Arc::new(Shared { id, open: RwLock::new(Some(opened)), poison }) }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn with_ids(
        &self,
        py: Python<'_>,
        ids: &[String],
    ) -> PyResult<(backup_core::Repository, Vec<SnapshotId>)> {
        let repository = self.shared.get().or_raise(py)?;
        Ok((repository, snapshot_ids(ids).or_raise(py)?))
    }

    pub(crate) fn job<T, F>(&self, work: impl FnOnce() -> F + Send + 'static) -> Job<T>
    where
        F: Future<Output = Result<T>> + 'static,
    {
        Job::new(self.shared.poison(), work)
    }
}

/// Where a repository is, and what opens it.
struct Place {
    store: store::At,
    credential: Credential,
}

/// How to open a repository.
struct Opening<'a> {
    known_head: Option<&'a str>,
    index_cache: Option<PathBuf>,
    as_of: Option<Time>,
    probe: bool,
}

impl Place {
    fn new(
        url: &Bound<'_, PyAny>,
        passphrase: Keyword<'_, '_>,
        raw_key: Keyword<'_, '_>,
        options: Keyword<'_, '_>,
    ) -> PyResult<Self> {
        let credential = credential(passphrase, raw_key)?.or_raise(url.py())?;
        Ok(Self { store: store::At::new(url, options)?, credential })
    }

    fn init(self, cost: KdfParams) -> Job<backup_core::Repository> {
        let Self { store, credential } = self;
        Job::new(&Poison::default(), move || async move {
            let mut engine = Options::default();
            engine.kdf = cost;
            let (store, env) = (store.open()?, runtime::env()?);
            backup_core::Repository::init_with(store, &credential, env, engine).await
        })
    }

    fn open(self, how: Opening<'_>) -> Result<Job<backup_core::Repository>> {
        let Self { store, credential } = self;
        let Opening { known_head, index_cache, as_of, probe } = how;
        let mut engine = Options::default();
        engine.known_head = known_head.map(head).transpose()?;
        engine.as_of = as_of.map(|Time(time)| time);
        engine.probe = probe;
        Ok(Job::new(&Poison::default(), move || async move {
            if let Some(place) = index_cache {
                engine.index_cache = Some(Arc::new(DirectoryCache::open(place)?));
            }
            let (store, env) = (store.open()?, runtime::env()?);
            backup_core::Repository::open_with(store, &credential, env, engine).await
        }))
    }
}

fn restore(
    py: Python<'_>,
    snapshot: &str,
    sink: Turned<dyn Sink>,
    only: Option<Patterns>,
    exclude: Option<Patterns>,
    policy: &str,
    undo: Option<&str>,
) -> PyResult<Restore> {
    Ok(Restore {
        snapshot: snapshot_id(snapshot).or_raise(py)?,
        sink,
        only: patterns(only),
        except: patterns(exclude),
        conflict: conflict(policy).or_raise(py)?,
        undo: undo.map(snapshot_id).transpose().or_raise(py)?,
    })
}
