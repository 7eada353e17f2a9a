//! Sources, sinks and stores that are Python objects.
//!
//! The engine's side of each is a plain Rust object that holds no Python object. It leaves its calls at a [`desk`], where
//! threads of Python's own (`_seams.py`) take them, make them and answer. That keeps the promises of the door: no thread of
//! the engine ever enters the interpreter for them, so none of them waits for its lock or is held by a call that hangs; who
//! is interrupted goes, and the thread that hangs stays behind with the object alone. Below a call of the caller's code
//! there is no frame of this crate, so the interpreter may end in the middle of one.

mod contents;
mod desk;
mod sink;
mod source;
mod store;
mod values;

use std::sync::Arc;

use backup_core::{Sink, Source, Store};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;

use desk::Desk;

/// Most threads that serve one object.
const CONCURRENCY_MAX: usize = 256;
/// Items that the engine has under way with an object, if that has fewer threads: their calls wait at the desk, and a thread
/// that has made one finds the next.
const UNDER_WAY: usize = 16;

/// Who waits for the work that an object takes part in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// The thread that called.
    Thread,
    /// The event loop that runs on this thread: coroutines of the object run there.
    EventLoop,
}

/// A source that is a Python object.
pub(crate) fn source(object: &Bound<'_, PyAny>, caller: Caller) -> PyResult<Arc<dyn Source>> {
    needs(object, "source", "FolderSource", "Source", &["collection", "changes", "open"])?;
    Ok(Arc::new(source::ObjectSource::new(object, caller)?))
}

/// A sink that is a Python object.
pub(crate) fn sink(object: &Bound<'_, PyAny>, caller: Caller) -> PyResult<Arc<dyn Sink>> {
    needs(object, "sink", "FolderSink", "Sink", &["put"])?;
    Ok(Arc::new(sink::ObjectSink::new(object, caller)?))
}

/// A store that is a Python object.
pub(crate) fn store(object: &Bound<'_, PyAny>) -> PyResult<Arc<dyn Store>> {
    needs(object, "url", "str, os.PathLike", "Store", &["create", "read", "size", "list", "delete"])?;
    Ok(Arc::new(store::ObjectStore::new(object)?))
}

/// Refuses an object that lacks what its protocol has, before anything is begun.
fn needs(
    object: &Bound<'_, PyAny>,
    argument: &str,
    others: &str,
    protocol: &str,
    names: &[&str],
) -> PyResult<()> {
    for name in names {
        if !object.hasattr(*name)? {
            let class = object.get_type().name()?;
            return Err(PyTypeError::new_err(format!(
                "{argument} must be {others} or a backup_py.{protocol}: {class} has no {name}"
            )));
        }
    }
    Ok(())
}

/// The number of calls that the object takes at once: its attribute `concurrency`, or one.
fn concurrency(object: &Bound<'_, PyAny>) -> PyResult<usize> {
    let py = object.py();
    let Some(number) = object.getattr_opt(intern!(py, "concurrency"))? else { return Ok(1) };
    let number = number.extract().ok().filter(|number| (1..=CONCURRENCY_MAX).contains(number));
    number
        .ok_or_else(|| PyValueError::new_err(format!("concurrency is a number from 1 to {CONCURRENCY_MAX}")))
}

/// A desk with the threads that serve it.
fn staffed(object: &Bound<'_, PyAny>, role: &str, caller: Caller, threads: usize) -> PyResult<Desk> {
    let py = object.py();
    let desk = Desk::new((role == "source").then_some(threads));
    let start = py.import(intern!(py, "backup_py._seams"))?.getattr(intern!(py, "_start"))?;
    start.call1((desk.window(), object, role, caller == Caller::EventLoop, threads))?;
    Ok(desk)
}
