//! From the engine's errors to the classes of `exceptions.py`.

use std::error::Error as _;

use backup_core::{Error, ErrorKind};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// Most causes that an exception shows.
const CAUSES_MAX: usize = 16;

/// The exception of an error, to be raised.
pub(crate) fn raised(py: Python<'_>, error: &Error) -> PyErr {
    match exception(py, error) {
        Ok(exception) => PyErr::from_value(exception),
        Err(failure) => failure,
    }
}

/// The exception of an error, as a value.
pub(crate) fn exception<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let mut causes: Vec<(Option<i32>, String)> = Vec::new();
    let mut cause = error.source();
    while let Some(below) = cause
        && causes.len() < CAUSES_MAX
    {
        let number = below.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        causes.push((number, below.to_string()));
        cause = below.source();
    }
    let fields = (
        error.kind().code(),
        error.to_string(),
        error.hint(),
        error.is_retryable(),
        error.retry_after().map(|wait| wait.as_secs_f64()),
        error.item(),
        causes,
    );
    MAKE.import(py, "backup_py.exceptions", "_of")?.call1(fields)
}

/// An argument that has no meaning.
pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

/// Results of the engine on their way to Python.
pub(crate) trait OrRaise<T> {
    /// The value, or the exception of the error.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for backup_core::Result<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| raised(py, &error))
    }
}
