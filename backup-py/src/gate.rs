//! The gate that threads pass on their way into the interpreter: it closes when the interpreter ends.
//!
//! A thread that enters an interpreter which is being torn down takes the process with it. So from the exit handler on
//! nobody enters any more but the thread that runs it, and those inside are waited for.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use pyo3::intern;
use pyo3::prelude::*;

/// How long the end of the interpreter waits for threads that are inside.
const LEAVE: Duration = Duration::from_secs(1);

/// The thread that ends the interpreter.
static ENDING: OnceLock<ThreadId> = OnceLock::new();
static INSIDE: AtomicUsize = AtomicUsize::new(0);

/// Runs `work` in the interpreter; nothing if that is ending.
pub(crate) fn enter<R>(work: impl FnOnce(Python<'_>) -> R) -> Option<R> {
    INSIDE.fetch_add(1, Ordering::SeqCst);
    let result = if is_closed() { None } else { Python::try_attach(work) };
    INSIDE.fetch_sub(1, Ordering::SeqCst);
    result
}

/// As [`enter`], for a thread of Python's own. Such a thread must not go on when the interpreter has ended.
pub(crate) fn enter_or_stay<R>(work: impl FnOnce(Python<'_>) -> R) -> R {
    match enter(work) {
        Some(result) => result,
        None => loop {
            std::thread::park();
        },
    }
}

/// Keeps a thread of Python's own, which has waited outside, from going back into an interpreter that is ending.
pub(crate) fn stay_outside_at_the_end() {
    while is_closed() {
        std::thread::park();
    }
}

/// Has the interpreter close the gate when it ends.
pub(crate) fn install(py: Python<'_>) -> PyResult<()> {
    let close = wrap_pyfunction!(close, py)?;
    py.import(intern!(py, "atexit"))?.call_method1(intern!(py, "register"), (close,)).map(drop)
}

fn is_closed() -> bool {
    ENDING.get().is_some_and(|ending| *ending != std::thread::current().id())
}

#[pyfunction]
fn close(py: Python<'_>) {
    ENDING.get_or_init(|| std::thread::current().id());
    py.detach(|| {
        let deadline = Instant::now() + LEAVE;
        while INSIDE.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
}
