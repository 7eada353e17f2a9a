//! Copies of a repository: whole ones in another store, and single snapshots in another repository.

use std::sync::Arc;

use backup_core::{MirrorReport, Source};
use pyo3::prelude::*;

use crate::convert::{Cancel, refuse_pickle, snapshot_id};
use crate::door::{Job, Link, promise, wait};
use crate::error::OrRaise;
use crate::folder::{Turn, Turned};
use crate::progress::CancelToken;
use crate::reports;
use crate::repository::{Callback, Keyword, Repository, Shared};
use crate::runs::{token, watch};
use crate::store;

/// A snapshot as a source, for a copy of it in another repository.
#[pyclass(frozen, module = "backup_py")]
pub(crate) struct SnapshotSource {
    shared: Arc<Shared>,
    snapshot: String,
    source: Arc<dyn Source>,
    turn: Turn,
}

#[pymethods]
impl SnapshotSource {
    /// The id of the collection that the snapshot is a state of.
    #[getter]
    fn collection(&self) -> String {
        self.source.collection().id
    }

    fn __repr__(&self) -> String {
        format!("<backup_py.SnapshotSource of snapshot {}>", self.snapshot)
    }

    fn __reduce__(&self) -> PyResult<()> {
        refuse_pickle(
            "SnapshotSource",
            "it reads from an open repository; make another one where it is needed",
        )
    }
}

impl SnapshotSource {
    pub(crate) fn new(shared: Arc<Shared>, snapshot: String, source: backup_core::SnapshotSource) -> Self {
        Self { shared, snapshot, source: Arc::new(source), turn: Turn::default() }
    }

    /// The source for a run, if its repository is open.
    pub(crate) fn turned(&self, py: Python<'_>) -> PyResult<Turned<dyn Source>> {
        self.shared.check(py)?;
        Ok(Turned::source(&self.source, &self.turn))
    }
}

#[pymethods]
impl Repository {
    /// Copies the repository to another store, or brings such a copy up to date.
    #[pyo3(signature = (to, *, options = None, check = false, delete = false, cancel = None, on_progress = None))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn mirror<'py>(
        &self,
        py: Python<'py>,
        to: &Bound<'py, PyAny>,
        options: Keyword<'_, 'py>,
        check: bool,
        delete: bool,
        cancel: Option<&Bound<'py, CancelToken>>,
        on_progress: Callback<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let what = Mirror { to: store::At::new(to, options)?, check, delete };
        reports::mirror(py, &wait(py, mirror(py, self.shared(), what, cancel, on_progress)?)?)
    }

    /// Does what `mirror` does, for `await`.
    #[pyo3(signature = (to, *, options = None, check = false, delete = false, cancel = None, on_progress = None))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn mirror_async<'py>(
        &self,
        py: Python<'py>,
        to: &Bound<'py, PyAny>,
        options: Keyword<'_, 'py>,
        check: bool,
        delete: bool,
        cancel: Option<&Bound<'py, CancelToken>>,
        on_progress: Callback<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let what = Mirror { to: store::At::new(to, options)?, check, delete };
        let job = mirror(py, self.shared(), what, cancel, on_progress)?;
        promise(py, job, |py, report| reports::mirror(py, &report).map(Bound::unbind))
    }

    /// A snapshot as a source, for a copy of it in another repository. One request.
    fn as_source(&self, py: Python<'_>, snapshot: &str) -> PyResult<SnapshotSource> {
        let (repository, id) = (self.shared().get().or_raise(py)?, snapshot_id(snapshot).or_raise(py)?);
        let source = wait(py, self.job(move || async move { repository.as_source(id).await }))?;
        Ok(SnapshotSource::new(Arc::clone(self.shared()), snapshot.to_owned(), source))
    }
}

struct Mirror {
    to: store::At,
    check: bool,
    delete: bool,
}

fn mirror(
    py: Python<'_>,
    shared: &Arc<Shared>,
    what: Mirror,
    cancel: Cancel<'_, '_>,
    on_progress: Callback<'_>,
) -> PyResult<Job<MirrorReport>> {
    let repository = shared.get().or_raise(py)?;
    Job::run(shared.poison(), token(cancel), on_progress, move |Link { token, report }| async move {
        let to = what.to.open()?;
        let mut run = watch!(repository.mirror(&*to), token, report);
        if what.check {
            run = run.check();
        }
        if what.delete {
            run = run.delete();
        }
        run.run().await
    })
}
