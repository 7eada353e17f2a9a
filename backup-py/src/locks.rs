//! Protection against whoever can delete: the policy, and keeping its locks ahead of time.

use std::sync::Arc;
use std::time::Duration;

use backup_core::ExtendReport;
use pyo3::prelude::*;

use crate::convert::Cancel;
use crate::door::{Job, Link, promise, wait};
use crate::error::OrRaise;
use crate::progress::CancelToken;
use crate::repository::{Callback, Repository, Shared};
use crate::runs::{token, watch};
use crate::{reports, results};

#[pymethods]
impl Repository {
    /// Protects the repository against whoever can delete: locks everything for `period`, now and from now on.
    fn protect(&self, py: Python<'_>, period: Duration) -> PyResult<()> {
        let repository = self.shared().get().or_raise(py)?;
        wait(py, self.job(move || async move { repository.protect(period).await }))
    }

    /// Does what `protect` does, for `await`.
    fn protect_async<'py>(&self, py: Python<'py>, period: Duration) -> PyResult<Bound<'py, PyAny>> {
        let repository = self.shared().get().or_raise(py)?;
        let job = self.job(move || async move { repository.protect(period).await });
        promise(py, job, |py, ()| Ok(py.None()))
    }

    /// How long everything is locked ahead, if that is the policy.
    #[getter]
    fn protection(&self, py: Python<'_>) -> PyResult<Option<Duration>> {
        Ok(self.shared().get().or_raise(py)?.protection())
    }

    /// Until when everything that the snapshots need is locked at least, as the log says.
    #[getter]
    fn locked_until<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let until = self.shared().get().or_raise(py)?.locked_until();
        until.map(|until| results::datetime(py, until)).transpose()
    }

    /// Whether an extension of the locks is due.
    #[getter]
    fn locks_due(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.shared().get().or_raise(py)?.locks_due())
    }

    /// Makes the locks of everything in use longer, if that is due.
    #[pyo3(signature = (*, cancel = None, on_progress = None))]
    fn extend_locks<'py>(
        &self,
        py: Python<'py>,
        cancel: Option<&Bound<'py, CancelToken>>,
        on_progress: Callback<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        reports::extend(py, &wait(py, extend(py, self.shared(), cancel, on_progress)?)?)
    }

    /// Does what `extend_locks` does, for `await`.
    #[pyo3(signature = (*, cancel = None, on_progress = None))]
    fn extend_locks_async<'py>(
        &self,
        py: Python<'py>,
        cancel: Option<&Bound<'py, CancelToken>>,
        on_progress: Callback<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let job = extend(py, self.shared(), cancel, on_progress)?;
        promise(py, job, |py, report| reports::extend(py, &report).map(Bound::unbind))
    }
}

fn extend(
    py: Python<'_>,
    shared: &Arc<Shared>,
    cancel: Cancel<'_, '_>,
    on_progress: Callback<'_>,
) -> PyResult<Job<ExtendReport>> {
    let repository = shared.get().or_raise(py)?;
    Job::run(shared.poison(), token(cancel), on_progress, move |Link { token, report }| async move {
        watch!(repository.extend_locks(), token, report).run().await
    })
}
