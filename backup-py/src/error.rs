//! From the engine's errors to the classes of `exceptions.py`, and back: what objects of the caller's raise.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use backup_core::{Error, ErrorKind};
use pyo3::exceptions::{
    PyConnectionError, PyFileExistsError, PyFileNotFoundError, PyOSError, PyPermissionError, PyTimeoutError,
};
use pyo3::intern;
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
    let mut causes: Vec<(Option<i32>, String, Option<Py<PyAny>>)> = Vec::new();
    let mut cause = error.source();
    while let Some(below) = cause
        && causes.len() < CAUSES_MAX
    {
        if let Some(Original(exception)) = below.downcast_ref::<Original>() {
            causes.push((None, String::new(), Some(exception.value(py).clone().into_any().unbind())));
            break;
        }
        let number = below.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        causes.push((number, below.to_string(), None));
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

/// The exception that an object of the caller's raised, on its way through the engine. The engine's threads only carry and drop it.
#[derive(Debug)]
struct Original(PyErr);

impl fmt::Display for Original {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an exception")
    }
}

impl std::error::Error for Original {}

/// The engine's error for an exception that `method` of an object of the caller's has raised. It comes out again as the cause.
pub(crate) fn failed(py: Python<'_>, method: &str, exception: PyErr) -> Error {
    let value = exception.value(py);
    let text = value.str().and_then(|text| text.extract::<String>()).unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let code = own_code(py, value).unwrap_or_default();
    let mut error = match code {
        Some(code) => Error::new(kind(code), line),
        None => {
            let class =
                value.get_type().name().map_or_else(|_| "an exception".to_owned(), |name| name.to_string());
            let separator = if line.is_empty() { "" } else { ": " };
            Error::new(builtin_kind(py, &exception), format!("{method} raised {class}{separator}{line}"))
        }
    };
    let wait = value.getattr(intern!(py, "retry_after")).and_then(|wait| wait.extract::<f64>());
    if let (Some(_), Ok(wait)) = (code, wait)
        && let Ok(wait) = Duration::try_from_secs_f64(wait)
    {
        error = error.with_retry_after(wait);
    }
    error.with_source(Original(exception))
}

/// The code of an exception of this package.
fn own_code(py: Python<'_>, value: &Bound<'_, pyo3::exceptions::PyBaseException>) -> PyResult<Option<u32>> {
    static BASE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    if !value.is_instance(BASE.import(py, "backup_py.exceptions", "BackupError")?)? {
        return Ok(None);
    }
    value.getattr(intern!(py, "code"))?.extract().map(Some)
}

fn kind(code: u32) -> ErrorKind {
    use ErrorKind as Kind;
    // What an object says of the engine itself, such as `Bug`, is not taken at its word.
    let known = [
        Kind::InvalidArgument,
        Kind::Unsupported,
        Kind::Canceled,
        Kind::LimitExceeded,
        Kind::NotFound,
        Kind::AlreadyExists,
        Kind::PermissionDenied,
        Kind::Throttled,
        Kind::Unavailable,
        Kind::OutOfSpace,
        Kind::Io,
        Kind::Unauthenticated,
        Kind::Corrupt,
        Kind::Missing,
        Kind::ChangedWhileReading,
        Kind::SourceMismatch,
        Kind::CursorExpired,
    ];
    known.into_iter().find(|kind| kind.code() == code).unwrap_or(Kind::Extension)
}

/// The kind of what Python itself raises; these classes are bases of those of `exceptions.py` with the same meaning.
fn builtin_kind(py: Python<'_>, exception: &PyErr) -> ErrorKind {
    if exception.is_instance_of::<PyFileNotFoundError>(py) {
        ErrorKind::NotFound
    } else if exception.is_instance_of::<PyFileExistsError>(py) {
        ErrorKind::AlreadyExists
    } else if exception.is_instance_of::<PyPermissionError>(py) {
        ErrorKind::PermissionDenied
    } else if exception.is_instance_of::<PyConnectionError>(py)
        || exception.is_instance_of::<PyTimeoutError>(py)
    {
        ErrorKind::Unavailable
    } else if exception.is_instance_of::<PyOSError>(py) {
        let number =
            exception.value(py).getattr(intern!(py, "errno")).and_then(|number| number.extract::<i32>());
        match number.map(std::io::Error::from_raw_os_error) {
            Ok(error) => match error.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::OutOfSpace,
                _ => ErrorKind::Io,
            },
            Err(_) => ErrorKind::Io,
        }
    } else {
        ErrorKind::Extension
    }
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
