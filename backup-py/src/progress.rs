//! Stopping and watching: the token, and the way from the thread of a run to a callback on the thread that waits.

use std::sync::mpsc::{Receiver, Sender};

use backup_core::{Control, Progress};
use pyo3::prelude::*;

use crate::convert::refuse_pickle;
use crate::results;

/// A switch that stops runs from anywhere.
#[pyclass(frozen, module = "backup_py")]
pub(crate) struct CancelToken {
    token: backup_core::CancelToken,
}

#[pymethods]
impl CancelToken {
    #[new]
    fn new() -> Self {
        Self { token: backup_core::CancelToken::new() }
    }

    /// Asks every run that has this token to stop soon.
    fn cancel(&self) {
        self.token.cancel();
    }

    /// Whether somebody asked to stop.
    #[getter]
    fn is_canceled(&self) -> bool {
        self.token.is_canceled()
    }

    fn __repr__(&self) -> String {
        format!("CancelToken(is_canceled={})", if self.token.is_canceled() { "True" } else { "False" })
    }

    fn __reduce__(&self) -> PyResult<()> {
        refuse_pickle("CancelToken", "it stops runs of this process")
    }
}

impl CancelToken {
    pub(crate) fn inner(&self) -> backup_core::CancelToken {
        self.token.clone()
    }
}

/// The callback that the engine gets: called with totals, answers whether to go on.
pub(crate) type Report = Box<dyn FnMut(&Progress) -> Control + Send>;

/// Calls the Python callback.
pub(crate) fn call(py: Python<'_>, callback: &Py<PyAny>, progress: &Progress) -> PyResult<()> {
    callback.call1(py, (results::progress(py, progress)?,)).map(drop)
}

/// A report that asks whoever owns the other ends of these channels, and waits for the answer. An owner that is gone
/// does not want the run any more.
pub(crate) fn ask<E: Send + 'static>(
    events: Sender<E>,
    answers: Receiver<Control>,
    event: fn(Progress) -> E,
) -> Report {
    Box::new(move |progress| match events.send(event(*progress)) {
        Ok(()) => answers.recv().unwrap_or(Control::Cancel),
        Err(_) => Control::Cancel,
    })
}
