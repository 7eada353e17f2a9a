//! Parity, and what is done with a damaged repository: scrubbing with the public key alone, salvaging with one key slot.

use std::sync::Arc;

use backup_core::store::Probe;
use backup_core::{
    Credential, ParityReport, PublicKey, SalvageOptions, SalvageReport, ScrubReport, SnapshotStats,
    Suspicion, scrub as check,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::convert::{Cancel, credential, head};
use crate::door::{Job, Link, Poison, promise, wait};
use crate::error::OrRaise;
use crate::progress::CancelToken;
use crate::repository::{Callback, Keyword, Repository, Shared};
use crate::runs::{token, watch};
use crate::{reports, runtime, store};

#[pymethods]
impl Repository {
    /// Adds Reed-Solomon parity for all objects that have none yet.
    #[pyo3(signature = (*, parity = 2, members = 20, cancel = None, on_progress = None))]
    fn add_parity<'py>(
        &self,
        py: Python<'py>,
        parity: u8,
        members: u8,
        cancel: Option<&Bound<'py, CancelToken>>,
        on_progress: Callback<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let job = add_parity(py, self.shared(), (parity, members), cancel, on_progress)?;
        reports::parity(py, &wait(py, job)?)
    }

    /// Does what `add_parity` does, for `await`.
    #[pyo3(signature = (*, parity = 2, members = 20, cancel = None, on_progress = None))]
    fn add_parity_async<'py>(
        &self,
        py: Python<'py>,
        parity: u8,
        members: u8,
        cancel: Option<&Bound<'py, CancelToken>>,
        on_progress: Callback<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let job = add_parity(py, self.shared(), (parity, members), cancel, on_progress)?;
        promise(py, job, |py, report| reports::parity(py, &report).map(Bound::unbind))
    }

    /// What the repository's signatures are checked with, 64 hexadecimal digits: all that `scrub` needs. No secret.
    #[getter]
    fn public_key(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.shared().get().or_raise(py)?.public_key().or_raise(py)?.to_string())
    }

    /// Opens what is left of a damaged repository, for reading only.
    #[staticmethod]
    #[pyo3(signature = (
        url, *, passphrase = None, raw_key = None, options = None, known_head = None, with_removed = false
    ))]
    fn salvage<'py>(
        py: Python<'py>,
        url: &Bound<'py, PyAny>,
        passphrase: Keyword<'_, 'py>,
        raw_key: Keyword<'_, 'py>,
        options: Keyword<'_, 'py>,
        known_head: Option<&str>,
        with_removed: bool,
    ) -> PyResult<(Self, Bound<'py, PyAny>)> {
        let credential = credential(passphrase, raw_key)?.or_raise(py)?;
        let engine = salvage_options(py, known_head, with_removed)?;
        let (saved, report) = wait(py, salvage(store::At::new(url, options)?, credential, engine))?;
        Ok((Self::new(saved), reports::salvage(py, &report)?))
    }

    /// Does what `salvage` does, for `await`.
    #[staticmethod]
    #[pyo3(signature = (
        url, *, passphrase = None, raw_key = None, options = None, known_head = None, with_removed = false
    ))]
    fn salvage_async<'py>(
        py: Python<'py>,
        url: &Bound<'py, PyAny>,
        passphrase: Keyword<'_, 'py>,
        raw_key: Keyword<'_, 'py>,
        options: Keyword<'_, 'py>,
        known_head: Option<&str>,
        with_removed: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let credential = credential(passphrase, raw_key)?.or_raise(py)?;
        let engine = salvage_options(py, known_head, with_removed)?;
        let job = salvage(store::At::new(url, options)?, credential, engine);
        promise(py, job, |py, (saved, report)| {
            let both = (Py::new(py, Self::new(saved))?, reports::salvage(py, &report)?);
            Ok(both.into_pyobject(py)?.into_any().unbind())
        })
    }
}

/// Checks what parity protects in a store, and mends it on request. Needs no secret and reads none.
#[pyfunction]
#[pyo3(signature = (url, public_key, *, options = None, repair = false, cancel = None, on_progress = None))]
pub(crate) fn scrub<'py>(
    url: &Bound<'py, PyAny>,
    public_key: &str,
    options: Keyword<'_, 'py>,
    repair: bool,
    cancel: Option<&Bound<'py, CancelToken>>,
    on_progress: Callback<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let (py, at) = (url.py(), store::At::new(url, options)?);
    reports::scrub(py, &wait(py, scrubbing(py, at, public_key, repair, cancel, on_progress)?)?)
}

/// Does what `scrub` does, for `await`.
#[pyfunction]
#[pyo3(signature = (url, public_key, *, options = None, repair = false, cancel = None, on_progress = None))]
pub(crate) fn scrub_async<'py>(
    url: &Bound<'py, PyAny>,
    public_key: &str,
    options: Keyword<'_, 'py>,
    repair: bool,
    cancel: Option<&Bound<'py, CancelToken>>,
    on_progress: Callback<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let (py, at) = (url.py(), store::At::new(url, options)?);
    let job = scrubbing(py, at, public_key, repair, cancel, on_progress)?;
    promise(py, job, |py, report| reports::scrub(py, &report).map(Bound::unbind))
}

/// Tries what a store does and refuses one that is not safe.
#[pyfunction]
#[pyo3(signature = (url, *, options = None))]
pub(crate) fn probe<'py>(url: &Bound<'py, PyAny>, options: Keyword<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
    let py = url.py();
    reports::probe(py, &wait(py, probing(store::At::new(url, options)?))?)
}

/// Does what `probe` does, for `await`.
#[pyfunction]
#[pyo3(signature = (url, *, options = None))]
pub(crate) fn probe_async<'py>(
    url: &Bound<'py, PyAny>,
    options: Keyword<'_, 'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let job = probing(store::At::new(url, options)?);
    promise(url.py(), job, |py, found| reports::probe(py, &found).map(Bound::unbind))
}

fn probing(at: store::At) -> Job<Probe> {
    Job::new(&Poison::default(), move || async move {
        let (store, env) = (at.open()?, runtime::env()?);
        backup_core::store::probe(&*store, &env).await
    })
}

/// Judges a run by its figures, as a backup does, also later by those that a snapshot keeps.
#[pyfunction]
#[pyo3(signature = (stats, percent = 25))]
pub(crate) fn suspicions<'py>(stats: &Bound<'py, PyAny>, percent: u32) -> PyResult<Bound<'py, PyTuple>> {
    let py = stats.py();
    let mut figures = SnapshotStats::default();
    figures.items = stats.getattr(intern!(py, "items"))?.extract()?;
    figures.added = stats.getattr(intern!(py, "added"))?.extract()?;
    figures.changed = stats.getattr(intern!(py, "changed"))?.extract()?;
    figures.removed = stats.getattr(intern!(py, "removed"))?.extract()?;
    PyTuple::new(py, Suspicion::of(&figures, percent).iter().map(ToString::to_string))
}

fn add_parity(
    py: Python<'_>,
    shared: &Arc<Shared>,
    (parity, members): (u8, u8),
    cancel: Cancel<'_, '_>,
    on_progress: Callback<'_>,
) -> PyResult<Job<ParityReport>> {
    let repository = shared.get().or_raise(py)?;
    Job::run(shared.poison(), token(cancel), on_progress, move |Link { token, report }| async move {
        watch!(repository.add_parity().redundancy(parity, members), token, report).run().await
    })
}

fn scrubbing(
    py: Python<'_>,
    at: store::At,
    key: &str,
    repair: bool,
    cancel: Cancel<'_, '_>,
    on_progress: Callback<'_>,
) -> PyResult<Job<ScrubReport>> {
    let key: PublicKey = key.parse().or_raise(py)?;
    Job::run(&Poison::default(), token(cancel), on_progress, move |Link { token, report }| async move {
        let (store, env) = (at.open()?, runtime::env()?);
        let mut run = watch!(check(&*store, key, &env), token, report);
        if repair {
            run = run.repair();
        }
        run.run().await
    })
}

fn salvage_options(py: Python<'_>, known_head: Option<&str>, with_removed: bool) -> PyResult<SalvageOptions> {
    let mut options = SalvageOptions::default();
    options.known_head = known_head.map(head).transpose().or_raise(py)?;
    options.with_removed = with_removed;
    Ok(options)
}

fn salvage(
    at: store::At,
    credential: Credential,
    options: SalvageOptions,
) -> Job<(backup_core::Repository, SalvageReport)> {
    Job::new(&Poison::default(), move || async move {
        backup_core::Repository::salvage(at.open()?, &credential, runtime::env()?, options).await
    })
}
