//! Twins for asyncio of methods that take a request or a few: a slow store must not stop an event loop.

use std::sync::Arc;

use backup_core::Stream;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::browse::{self, Browser};
use crate::convert::{Target, snapshot_id, snapshot_ids};
use crate::copies::SnapshotSource;
use crate::door::{Job, promise};
use crate::error::OrRaise;
use crate::pages::{Differences, Listing};
use crate::repository::Repository;
use crate::{reports, results};

#[pymethods]
impl Repository {
    /// Does what `snapshot` does, for `await`.
    fn snapshot_async<'py>(&self, py: Python<'py>, snapshot: &str) -> PyResult<Bound<'py, PyAny>> {
        let (repository, id) = (self.shared().get().or_raise(py)?, snapshot_id(snapshot).or_raise(py)?);
        let job = self.job(move || async move { repository.snapshot(id).await });
        promise(py, job, |py, info| results::info(py, &info).map(Bound::unbind))
    }

    /// Does what `remove` does, for `await`.
    fn remove_async<'py>(&self, py: Python<'py>, snapshots: Vec<String>) -> PyResult<Bound<'py, PyAny>> {
        let (repository, ids) = (self.shared().get().or_raise(py)?, snapshot_ids(&snapshots).or_raise(py)?);
        nothing(py, self.job(move || async move { repository.remove(&ids).await }))
    }

    /// Does what `hold` does, for `await`.
    fn hold_async<'py>(&self, py: Python<'py>, snapshots: Vec<String>) -> PyResult<Bound<'py, PyAny>> {
        let (repository, ids) = (self.shared().get().or_raise(py)?, snapshot_ids(&snapshots).or_raise(py)?);
        nothing(py, self.job(move || async move { repository.hold(&ids).await }))
    }

    /// Does what `release` does, for `await`.
    fn release_async<'py>(&self, py: Python<'py>, snapshots: Vec<String>) -> PyResult<Bound<'py, PyAny>> {
        let (repository, ids) = (self.shared().get().or_raise(py)?, snapshot_ids(&snapshots).or_raise(py)?);
        nothing(py, self.job(move || async move { repository.release(&ids).await }))
    }

    /// Does what `diff` does, for `await`.
    fn diff_async<'py>(&self, py: Python<'py>, before: &str, after: &str) -> PyResult<Bound<'py, PyAny>> {
        let repository = self.shared().get().or_raise(py)?;
        let (before, after) = (snapshot_id(before).or_raise(py)?, snapshot_id(after).or_raise(py)?);
        let shared = Arc::clone(self.shared());
        let job = self.job(move || async move { repository.diff(before, after).await });
        promise(py, job, |py, found| Ok(Py::new(py, Differences::new(shared, found))?.into_any()))
    }

    /// Does what `browse` does, for `await`.
    fn browse_async<'py>(&self, py: Python<'py>, snapshot: &str) -> PyResult<Bound<'py, PyAny>> {
        let (repository, id) = (self.shared().get().or_raise(py)?, snapshot_id(snapshot).or_raise(py)?);
        let shared = Arc::clone(self.shared());
        let job = self.job(move || async move { repository.browse(id).await });
        promise(py, job, |py, browser| Ok(Py::new(py, Browser::new(shared, browser))?.into_any()))
    }

    /// Does what `keys` does, for `await`.
    fn keys_async<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let repository = self.shared().get().or_raise(py)?;
        promise(py, self.job(move || async move { repository.keys().await }), |py, slots| {
            let slots = slots.iter().map(|slot| reports::key_slot(py, slot)).collect::<PyResult<Vec<_>>>()?;
            Ok(PyList::new(py, slots)?.into_any().unbind())
        })
    }

    /// Does what `remove_key` does, for `await`.
    fn remove_key_async<'py>(&self, py: Python<'py>, id: &str) -> PyResult<Bound<'py, PyAny>> {
        let repository = self.shared().get().or_raise(py)?;
        let id = id.parse().map_err(|error: backup_core::Error| error.with_item(id)).or_raise(py)?;
        nothing(py, self.job(move || async move { repository.remove_key(id).await }))
    }

    /// Does what `as_source` does, for `await`.
    fn as_source_async<'py>(&self, py: Python<'py>, snapshot: String) -> PyResult<Bound<'py, PyAny>> {
        let (repository, id) = (self.shared().get().or_raise(py)?, snapshot_id(&snapshot).or_raise(py)?);
        let shared = Arc::clone(self.shared());
        let job = self.job(move || async move { repository.as_source(id).await });
        promise(py, job, |py, source| {
            Ok(Py::new(py, SnapshotSource::new(shared, snapshot, source))?.into_any())
        })
    }
}

#[pymethods]
impl Browser {
    /// Does what `list` does, for `await`.
    #[pyo3(signature = (target = Target::Path(String::new())), text_signature = "($self, target='')")]
    fn list_async<'py>(&self, py: Python<'py>, target: Target) -> PyResult<Bound<'py, PyAny>> {
        let (shared, browser) = (Arc::clone(self.shared()), self.inner());
        let job = self.job(py, move || async move { browse::list(&browser, target).await })?;
        promise(py, job, |py, listing| Ok(Py::new(py, Listing::new(shared, listing))?.into_any()))
    }

    /// Does what `stat` does, for `await`.
    fn stat_async<'py>(&self, py: Python<'py>, target: Target) -> PyResult<Bound<'py, PyAny>> {
        let browser = self.inner();
        let job = self.job(py, move || async move { browse::stat(&browser, target).await })?;
        promise(py, job, |py, item| results::item(py, &item).map(Bound::unbind))
    }

    /// Does what `path` does, for `await`.
    fn path_async<'py>(&self, py: Python<'py>, target: Target) -> PyResult<Bound<'py, PyAny>> {
        let browser = self.inner();
        let job = self.job(py, move || async move { browse::path(&browser, target).await })?;
        promise(py, job, |py, path| Ok(path.into_pyobject(py)?.into_any().unbind()))
    }

    /// Does what `read` does, for `await`.
    #[pyo3(signature = (target, *, stream = Stream::CONTENT.to_owned(), offset = 0, length = None),
           text_signature = "($self, target, *, stream='content', offset=0, length=None)")]
    fn read_async<'py>(
        &self,
        py: Python<'py>,
        target: Target,
        stream: String,
        offset: u64,
        length: Option<u64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let browser = self.inner();
        let job = self
            .job(py, move || async move { browse::read(&browser, target, &stream, offset, length).await })?;
        promise(py, job, |py, pieces| Ok(browse::join(py, &pieces)?.into_any().unbind()))
    }
}

fn nothing(py: Python<'_>, job: Job<()>) -> PyResult<Bound<'_, PyAny>> {
    promise(py, job, |py, ()| Ok(py.None()))
}
