//! The way between the threads of runs and an asyncio event loop. Everything that touches the loop happens on its thread:
//! a run only posts calls to it, and a loop that is gone drops them.

use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use backup_core::{CancelToken, Control, Progress};
use pyo3::PyTypeInfo;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::gate::enter;
use crate::progress::{Report, call};

/// Makes what an awaitable gives.
pub(crate) type Outcome = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;

/// An event loop, and the context of the task that called.
pub(crate) struct EventLoop {
    event_loop: Py<PyAny>,
    /// The keyword arguments of `call_soon_threadsafe`.
    options: Py<PyDict>,
}

impl EventLoop {
    /// The loop that runs on this thread.
    pub(crate) fn running(py: Python<'_>) -> PyResult<Self> {
        let event_loop =
            py.import(intern!(py, "asyncio"))?.call_method0(intern!(py, "get_running_loop"))?.unbind();
        let context = py.import(intern!(py, "contextvars"))?.call_method0(intern!(py, "copy_context"))?;
        let options = PyDict::new(py);
        options.set_item(intern!(py, "context"), context)?;
        Ok(Self { event_loop, options: options.unbind() })
    }

    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        Self { event_loop: self.event_loop.clone_ref(py), options: self.options.clone_ref(py) }
    }

    /// A new `asyncio.Future`.
    pub(crate) fn future<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.event_loop.bind(py).call_method0(intern!(py, "create_future"))
    }

    /// Gives the future its outcome. From any thread.
    pub(crate) fn settle(&self, future: Py<PyAny>, outcome: Outcome) {
        // Neither a loop that is closed nor an interpreter that ends has anybody left who could look.
        let _ = enter(|py| {
            let settle = Settle { future, outcome: Mutex::new(Some(outcome)) };
            self.post(Bound::new(py, settle)?)
        });
    }

    fn post<T: PyTypeInfo>(&self, callable: Bound<'_, T>) -> PyResult<()> {
        let py = callable.py();
        let name = intern!(py, "call_soon_threadsafe");
        self.event_loop.bind(py).call_method(name, (callable,), Some(self.options.bind(py))).map(drop)
    }
}

/// Runs `stop` once if the future is canceled.
pub(crate) fn when_canceled(future: &Bound<'_, PyAny>, stop: impl FnOnce() + Send + 'static) -> PyResult<()> {
    let py = future.py();
    let callback = Bound::new(py, Canceled { stop: Mutex::new(Some(Box::new(stop))) })?;
    future.call_method1(intern!(py, "add_done_callback"), (callback,)).map(drop)
}

/// A report that has the loop call the callback, and waits for it.
pub(crate) fn on_loop(
    event_loop: EventLoop,
    callback: Py<PyAny>,
    token: CancelToken,
    raised: Raised,
) -> Report {
    Box::new(move |progress| {
        let (answer, answers) = mpsc::channel();
        let posted = enter(|py| {
            let (callback, token, raised) = (callback.clone_ref(py), token.clone(), raised.clone());
            let answer = Mutex::new(Some(answer));
            let notice = Notice { callback, progress: *progress, token, raised, answer };
            event_loop.post(Bound::new(py, notice)?)
        });
        match posted {
            // A loop that goes away drops the call, and with it the other end.
            Some(Ok(())) => answers.recv().unwrap_or(Control::Cancel),
            _ => Control::Cancel,
        }
    })
}

/// Where a callback leaves the exception that it raised.
#[derive(Clone, Default)]
pub(crate) struct Raised(Arc<Mutex<Option<PyErr>>>);

impl Raised {
    pub(crate) fn take(&self) -> Option<PyErr> {
        take(&self.0)
    }

    fn put(&self, error: PyErr) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// One call of a progress callback, waiting in a loop.
#[pyclass(frozen, module = "backup_py")]
struct Notice {
    callback: Py<PyAny>,
    progress: Progress,
    token: CancelToken,
    raised: Raised,
    answer: Mutex<Option<Sender<Control>>>,
}

#[pymethods]
impl Notice {
    fn __call__(&self, py: Python<'_>) {
        let Some(answer) = take(&self.answer) else { return };
        // Nobody looks at a run that is being stopped.
        let control = if self.token.is_canceled() {
            Control::Cancel
        } else {
            match call(py, &self.callback, &self.progress) {
                Ok(()) => Control::Continue,
                Err(error) => {
                    self.raised.put(error);
                    Control::Cancel
                }
            }
        };
        // A run that is gone needs no answer.
        let _ = answer.send(control);
    }
}

/// The end of a run, waiting in a loop.
#[pyclass(frozen, module = "backup_py")]
struct Settle {
    future: Py<PyAny>,
    outcome: Mutex<Option<Outcome>>,
}

#[pymethods]
impl Settle {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let (future, outcome) = (self.future.bind(py), take(&self.outcome));
        let Some(outcome) = outcome else { return Ok(()) };
        if future.call_method0(intern!(py, "done"))?.is_truthy()? {
            return Ok(());
        }
        set(future, outcome(py))
    }
}

/// Gives a future its outcome, on the thread of its loop.
pub(crate) fn set(future: &Bound<'_, PyAny>, outcome: PyResult<Py<PyAny>>) -> PyResult<()> {
    let py = future.py();
    match outcome {
        Ok(value) => future.call_method1(intern!(py, "set_result"), (value,)),
        Err(error) => {
            let fail =
                |error: PyErr| future.call_method1(intern!(py, "set_exception"), (error.into_value(py),));
            // A future refuses StopIteration, and says so in an exception that it takes.
            fail(error).or_else(fail)
        }
    }
    .map(drop)
}

/// What is to be done when a future is canceled.
#[pyclass(frozen, module = "backup_py")]
struct Canceled {
    stop: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

#[pymethods]
impl Canceled {
    fn __call__(&self, future: &Bound<'_, PyAny>) -> PyResult<()> {
        if future.call_method0(intern!(future.py(), "cancelled"))?.is_truthy()?
            && let Some(stop) = take(&self.stop)
        {
            stop();
        }
        Ok(())
    }
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}
