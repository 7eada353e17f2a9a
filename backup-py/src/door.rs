//! The door between Python and the engine: the only place that blocks, starts threads, catches panics, looks for signals.
//!
//! Work runs on a thread of its own, so the caller is free: [`wait`] lets go of the interpreter and looks for Ctrl-C
//! every [`TICK`], whatever a single step of the work takes; [`promise`] gives an awaitable at once. Who is interrupted
//! cancels the run, gives it a moment to leave a checkpoint, and then drops it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use backup_core::{CancelToken, Control, Error, ErrorKind, Progress, Result};
use futures_util::future::{AbortHandle, Abortable, LocalBoxFuture};
use pyo3::exceptions::{PyException, PyTypeError};
use pyo3::prelude::*;

use crate::error::raised;
use crate::event_loop::{self, EventLoop, Outcome, Raised, on_loop, when_canceled};
use crate::gate::enter_or_stay;
use crate::progress::{Report, ask, call};
use crate::runtime;

/// How often a waiting thread looks for signals.
const TICK: Duration = Duration::from_millis(100);
/// How long a run may take to leave a checkpoint after Ctrl-C.
const GRACE: Duration = Duration::from_millis(600);
/// How long a run whose awaitable was canceled may take for it: nobody waits.
const GRACE_IN_BACKGROUND: Duration = Duration::from_secs(5);

/// Whether a panic passed through a handle, which may be half changed then.
#[derive(Clone, Debug, Default)]
pub(crate) struct Poison(Arc<AtomicBool>);

impl Poison {
    /// An error if one did.
    pub(crate) fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Error::new(
                ErrorKind::Bug,
                "this object cannot be used after a fault of the library",
            ));
        }
        Ok(())
    }
}

/// What the work gets from its caller.
pub(crate) struct Link {
    /// Stops the work.
    pub(crate) token: CancelToken,
    /// Reports progress, if anybody wants to know.
    pub(crate) report: Option<Report>,
}

/// Makes the future of the work, on the thread that polls it to its end.
type Work<T> = Box<dyn FnOnce(Link) -> LocalBoxFuture<'static, Result<T>> + Send>;

/// Work for the engine that Python waits for.
pub(crate) struct Job<T> {
    work: Work<T>,
    poison: Poison,
    /// None: the work leaves nothing behind and is dropped at once.
    token: Option<CancelToken>,
    callback: Option<Py<PyAny>>,
}

impl<T> Job<T> {
    /// Work that reads or is quick. A panic in it poisons `poison`.
    pub(crate) fn new<F>(poison: &Poison, work: impl FnOnce() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<T>> + 'static,
    {
        let work = Box::new(move |_: Link| -> LocalBoxFuture<'static, Result<T>> { Box::pin(work()) });
        Self { work, poison: poison.clone(), token: None, callback: None }
    }

    /// A run: it can be canceled and watched, and leaves a checkpoint if it has the time.
    pub(crate) fn run<F>(
        poison: &Poison,
        token: Option<CancelToken>,
        callback: Option<Bound<'_, PyAny>>,
        work: impl FnOnce(Link) -> F + Send + 'static,
    ) -> PyResult<Self>
    where
        F: Future<Output = Result<T>> + 'static,
    {
        if callback.as_ref().is_some_and(|callback| !callback.is_callable()) {
            return Err(PyTypeError::new_err("on_progress is not callable"));
        }
        let work = Box::new(move |link: Link| -> LocalBoxFuture<'static, Result<T>> { Box::pin(work(link)) });
        let token = Some(token.unwrap_or_default());
        Ok(Self { work, poison: poison.clone(), token, callback: callback.map(Bound::unbind) })
    }
}

/// Runs the job to its end, while other Python threads go on.
pub(crate) fn wait<T: Send + 'static>(py: Python<'_>, job: Job<T>) -> PyResult<T> {
    let Job { work, poison, token, callback } = job;
    let (events, inbox) = mpsc::channel();
    let (answer, answers) = mpsc::channel();
    let report = callback.is_some().then(|| ask(events.clone(), answers, Event::Progress));
    let link = Link { token: token.clone().unwrap_or_default(), report };
    let done = move |result| drop(events.send(Event::Done(result)));
    let abort = start(work, link, poison, done).map_err(|error| raised(py, &error))?;
    py.detach(move || Caller { inbox, answer, callback, token, abort, raised: None, deadline: None }.attend())
}

/// Starts the job and gives an `asyncio.Future` for what `give` makes of its result. Needs a running event loop.
pub(crate) fn promise<'py, T: Send + 'static>(
    py: Python<'py>,
    job: Job<T>,
    give: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
) -> PyResult<Bound<'py, PyAny>> {
    let Job { work, poison, token, callback } = job;
    let event_loop = EventLoop::running(py)?;
    let raised_in_callback = Raised::default();
    let run_token = token.clone().unwrap_or_default();
    let report = callback.map(|callback| {
        on_loop(event_loop.clone_ref(py), callback, run_token.clone(), raised_in_callback.clone())
    });
    let future = event_loop.future(py)?;
    let (link, settled) = (Link { token: run_token, report }, future.clone().unbind());
    let done = move |result: Result<T>| {
        let outcome: Outcome = Box::new(move |py| match (raised_in_callback.take(), result) {
            (Some(error), _) => Err(error),
            (None, Ok(value)) => give(py, value),
            (None, Err(error)) => Err(raised(py, &error)),
        });
        event_loop.settle(settled, outcome);
    };
    let abort = start(work, link, poison, done).map_err(|error| raised(py, &error))?;
    when_canceled(&future, move || stop(token.as_ref(), abort))?;
    Ok(future)
}

/// An `asyncio.Future` for what is known already. Needs a running event loop.
pub(crate) fn settled(py: Python<'_>, outcome: PyResult<Py<PyAny>>) -> PyResult<Bound<'_, PyAny>> {
    let future = EventLoop::running(py)?.future(py)?;
    event_loop::set(&future, outcome)?;
    Ok(future)
}

/// Ends a run that nobody waits for any more.
fn stop(token: Option<&CancelToken>, abort: AbortHandle) {
    match (token, runtime::handle()) {
        (Some(token), Ok(handle)) => {
            token.cancel();
            handle.spawn(async move {
                tokio::time::sleep(GRACE_IN_BACKGROUND).await;
                abort.abort();
            });
        }
        _ => abort.abort(),
    }
}

/// Runs something short of the engine on this thread; a panic is an error.
pub(crate) fn guard<T>(py: Python<'_>, work: impl FnOnce() -> Result<T>) -> PyResult<T> {
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(fault(&*panic)));
    result.map_err(|error| raised(py, &error))
}

/// Panics on a run's thread, to prove what becomes of it.
#[pyfunction]
pub(crate) fn _panic_for_tests(py: Python<'_>) -> PyResult<()> {
    wait(py, Job::new(&Poison::default(), || async { panic!("on purpose") }))
}

/// Starts the work on a thread of its own: polling it may block in system calls, and sources may take their time.
fn start<T: Send + 'static>(
    work: Work<T>,
    link: Link,
    poison: Poison,
    done: impl FnOnce(Result<T>) + Send + 'static,
) -> Result<AbortHandle> {
    let handle = runtime::handle()?;
    let (abort, registration) = AbortHandle::new_pair();
    let run = move || {
        let run = || handle.block_on(Abortable::new(work(link), registration));
        done(match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(result)) => result,
            Ok(Err(_aborted)) => Err(Error::new(ErrorKind::Canceled, "dropped by the caller")),
            Err(panic) => {
                poison.0.store(true, Ordering::Relaxed);
                Err(fault(&*panic))
            }
        });
    };
    let started = std::thread::Builder::new().name("backup-run".to_owned()).spawn(run);
    match started {
        Ok(_detached) => Ok(abort),
        Err(error) => Err(Error::new(ErrorKind::Io, "the system gives no threads").with_source(error)),
    }
}

fn fault(panic: &(dyn Any + Send)) -> Error {
    let text = match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text.as_str(),
        _ => "no text",
    };
    Error::new(ErrorKind::Bug, format!("the library panicked: {text}"))
}

enum Event<T> {
    Progress(Progress),
    Done(Result<T>),
}

/// The thread that waits for a job.
struct Caller<T> {
    inbox: Receiver<Event<T>>,
    answer: Sender<Control>,
    callback: Option<Py<PyAny>>,
    token: Option<CancelToken>,
    abort: AbortHandle,
    /// What is raised instead of the result.
    raised: Option<PyErr>,
    /// When to wait no longer.
    deadline: Option<Instant>,
}

impl<T> Caller<T> {
    fn attend(mut self) -> PyResult<T> {
        loop {
            match self.inbox.recv_timeout(TICK) {
                Ok(Event::Done(result)) => {
                    return enter_or_stay(|py| match self.raised {
                        Some(error) => Err(error),
                        None => result.map_err(|error| raised(py, &error)),
                    });
                }
                Ok(Event::Progress(progress)) => self.report(&progress),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let error = Error::new(ErrorKind::Bug, "a run ended unseen");
                    return Err(enter_or_stay(|py| raised(py, &error)));
                }
            }
            // A signal also ends the wait for a run that its callback has stopped.
            if self.deadline.is_none()
                && let Err(signal) = enter_or_stay(|py| py.check_signals())
            {
                self.stop(signal, true);
            }
            if self.deadline.is_some_and(|deadline| deadline <= Instant::now())
                && let Some(error) = self.raised.take()
            {
                self.abort.abort();
                return Err(error);
            }
        }
    }

    fn report(&mut self, progress: &Progress) {
        let called = match &self.callback {
            Some(callback) if self.raised.is_none() => enter_or_stay(|py| {
                call(py, callback, progress).map_err(|error| (error.is_instance_of::<PyException>(py), error))
            }),
            _ => Ok(()),
        };
        if let Err((ordinary, error)) = called {
            // KeyboardInterrupt and SystemExit are in a hurry.
            self.stop(error, !ordinary);
        }
        let control = if self.raised.is_some() { Control::Cancel } else { Control::Continue };
        // A run that is gone needs no answer.
        let _ = self.answer.send(control);
    }

    fn stop(&mut self, error: PyErr, hurry: bool) {
        self.raised = Some(error);
        let wait = match &self.token {
            Some(token) => {
                token.cancel();
                GRACE
            }
            None => Duration::ZERO,
        };
        if hurry {
            self.deadline = Some(Instant::now() + wait);
        }
    }
}
