//! The desk where the engine leaves calls and Python's threads take them.

use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use backup_core::{Error, ErrorKind, Result};
use futures_util::FutureExt;
use futures_util::future::Map;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use tokio::sync::oneshot::{self, error::RecvError};

use crate::error::failed;
use crate::gate;

/// Makes the arguments of a call, on the thread that makes the call.
type Arguments = Box<dyn for<'py> FnOnce(Python<'py>) -> PyResult<Bound<'py, PyTuple>> + Send>;
/// Makes the engine's value of what a call gave, on the thread that made the call.
type Take<T> = Box<dyn FnOnce(&Bound<'_, PyAny>) -> PyResult<T> + Send>;

/// The answer of a call, once it is there.
pub(super) type Answered<T> =
    Map<oneshot::Receiver<Result<T>>, fn(Result<Result<T>, RecvError>) -> Result<T>>;

/// The engine's side. When it is dropped, the threads on the other side go home.
#[derive(Default)]
pub(super) struct Desk(Arc<Inner>);

/// What both sides share.
#[derive(Default)]
pub(super) struct Inner {
    state: Mutex<State>,
    ready: Condvar,
}

#[derive(Default)]
struct State {
    calls: VecDeque<Box<dyn Waiting>>,
    closed: bool,
    /// How many more streams may be open; none: it does not matter. The engine asks for more items than the object reads at
    /// once, so that its threads find the next call when they come back: else each item waits for a
    /// trip between threads.
    free: Option<usize>,
}

impl State {
    /// The first call that can be made now and is still wanted.
    fn take(&mut self) -> Option<Box<dyn Waiting>> {
        self.calls.retain(|call| call.is_wanted());
        let full = self.free == Some(0);
        let first = self.calls.iter().position(|call| !(full && call.method() == "open"))?;
        let call = self.calls.remove(first)?;
        if call.method() == "open"
            && let Some(free) = &mut self.free
        {
            *free -= 1;
        }
        Some(call)
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn post<T: Send + 'static>(&self, call: Open<T>) {
        let mut state = self.lock();
        if !state.closed {
            state.calls.push_back(Box::new(call));
            drop(state);
            self.ready.notify_one();
        }
    }

    /// Leaves a call that nobody waits for.
    fn tell(&self, method: &'static str, number: u64) {
        let (answer, _) = mpsc::channel();
        let (take, answer) = (|_: &Bound<'_, PyAny>| Ok(()), Answer::Now(answer));
        self.post(Open::new(method, move |py| (number,).into_pyobject(py), take, answer));
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        // Dropped calls tell those who wait for them.
        let calls = std::mem::take(&mut state.calls);
        drop(state);
        drop(calls);
        self.ready.notify_all();
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Desk")
    }
}

impl Desk {
    /// A desk at which no more than `open` streams are open at once.
    pub(super) fn new(open: Option<usize>) -> Self {
        let desk = Self::default();
        desk.0.lock().free = open;
        desk
    }

    /// The other side, for Python's threads.
    pub(super) fn window(&self) -> Window {
        Window(Arc::clone(&self.0))
    }

    /// Leaves a call at once; the future is the answer. Who drops it does not want the call any more.
    pub(super) fn call<T: Send + 'static>(
        &self,
        method: &'static str,
        arguments: impl for<'py> FnOnce(Python<'py>) -> PyResult<Bound<'py, PyTuple>> + Send + 'static,
        take: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<T> + Send + 'static,
    ) -> Answered<T> {
        let (answer, answered) = oneshot::channel();
        self.0.post(Open::new(method, arguments, take, Answer::Later(answer)));
        wait_for(answered)
    }

    /// The same for what the engine asks for by a call that blocks.
    pub(super) fn call_and_wait<T: Send + 'static>(
        &self,
        method: &'static str,
        arguments: impl for<'py> FnOnce(Python<'py>) -> PyResult<Bound<'py, PyTuple>> + Send + 'static,
        take: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = mpsc::channel();
        self.0.post(Open::new(method, arguments, take, Answer::Now(answer)));
        answered.recv().unwrap_or_else(|_| Err(unanswered()))
    }

    /// Takes charge of an iterator on the other side by the number that an answer gives. An answer that holds it may be dropped unread.
    pub(super) fn running(&self, method: &'static str) -> impl FnOnce(u64) -> Running + Send + 'static {
        let desk = Arc::clone(&self.0);
        move |number| Running { desk, method, number, ended: false }
    }

    /// What an iterator gives that `method` returns, some values at a time.
    pub(super) fn iterate<'a, T: Send + 'static>(
        &'a self,
        method: &'static str,
        arguments: impl for<'py> FnOnce(Python<'py>) -> PyResult<Bound<'py, PyTuple>> + Send + 'static,
        take: fn(&Bound<'_, PyAny>) -> PyResult<T>,
    ) -> BoxStream<'a, Result<T>> {
        let running = self.running(method);
        let begun = self.call(method, arguments, |number| Ok(running(number.extract()?)));
        let all = async move { Ok::<_, Error>(begun.await?.all(take)) };
        stream::once(all).try_flatten().boxed()
    }
}

/// An iterator on the other side, by its number there. When it is dropped before its end, the other side forgets it.
pub(super) struct Running {
    desk: Arc<Inner>,
    /// What gave it.
    method: &'static str,
    number: u64,
    /// It is at its end, and forgotten there.
    ended: bool,
}

impl Running {
    /// Everything that it gives. It is asked one batch ahead: the object goes on while the engine works.
    pub(super) fn all<T: Send + 'static>(
        self,
        take: fn(&Bound<'_, PyAny>) -> PyResult<T>,
    ) -> BoxStream<'static, Result<T>> {
        let next = self.batch(take);
        stream::try_unfold((self, Some(next)), move |(mut running, next)| async move {
            let Some(next) = next else { return Ok::<_, Error>(None) };
            let (values, ended) = next.await?;
            running.ended = ended;
            let next = (!ended).then(|| running.batch(take));
            Ok(Some((stream::iter(values.into_iter().map(Ok)), (running, next))))
        })
        .try_flatten()
        .boxed()
    }

    /// Asks for the next values, and whether they are the last ones.
    fn batch<T: Send + 'static>(
        &self,
        take: fn(&Bound<'_, PyAny>) -> PyResult<T>,
    ) -> Answered<(Vec<T>, bool)> {
        let number = self.number;
        let (answer, answered) = oneshot::channel();
        let take_all = move |answer: &Bound<'_, PyAny>| {
            let (values, ended): (Bound<'_, PyList>, bool) = answer.extract()?;
            Ok((values.iter().map(|value| take(&value)).collect::<PyResult<_>>()?, ended))
        };
        let answer = Answer::Later(answer);
        let call = Open::new("batch", move |py| (number,).into_pyobject(py), take_all, answer);
        self.desk.post(Open { shown: self.method, ..call });
        wait_for(answered)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.desk.tell("forget", self.number);
        }
    }
}

fn wait_for<T>(answered: oneshot::Receiver<Result<T>>) -> Answered<T> {
    answered.map(|answer| answer.unwrap_or_else(|_| Err(unanswered())))
}

fn unanswered() -> Error {
    Error::new(ErrorKind::Extension, "the thread that serves the object is gone")
}

enum Answer<T> {
    Later(oneshot::Sender<Result<T>>),
    Now(mpsc::Sender<Result<T>>),
}

/// A call that has no answer yet.
trait Waiting: Send {
    fn method(&self) -> &'static str;
    fn is_wanted(&self) -> bool;
    fn arguments(&mut self) -> Option<Arguments>;
    fn answer(self: Box<Self>, py: Python<'_>, given: PyResult<Bound<'_, PyAny>>);
}

struct Open<T> {
    method: &'static str,
    /// What errors call it.
    shown: &'static str,
    arguments: Option<Arguments>,
    take: Take<T>,
    answer: Answer<T>,
}

impl<T> Open<T> {
    fn new(
        method: &'static str,
        arguments: impl for<'py> FnOnce(Python<'py>) -> PyResult<Bound<'py, PyTuple>> + Send + 'static,
        take: impl FnOnce(&Bound<'_, PyAny>) -> PyResult<T> + Send + 'static,
        answer: Answer<T>,
    ) -> Self {
        Self { method, shown: method, arguments: Some(Box::new(arguments)), take: Box::new(take), answer }
    }
}

impl<T: Send> Waiting for Open<T> {
    fn method(&self) -> &'static str {
        self.method
    }

    fn is_wanted(&self) -> bool {
        match &self.answer {
            Answer::Later(answer) => !answer.is_closed(),
            Answer::Now(_) => true,
        }
    }

    fn arguments(&mut self) -> Option<Arguments> {
        self.arguments.take()
    }

    fn answer(self: Box<Self>, py: Python<'_>, given: PyResult<Bound<'_, PyAny>>) {
        let Self { shown, take, answer, .. } = *self;
        let result = given.and_then(|value| take(&value)).map_err(|error| failed(py, shown, error));
        // Who does not wait any more needs no answer.
        match answer {
            Answer::Later(answer) => drop(answer.send(result)),
            Answer::Now(answer) => drop(answer.send(result)),
        }
    }
}

/// Python's side of a desk.
#[pyclass(frozen, module = "backup_py")]
pub(super) struct Window(Arc<Inner>);

#[pymethods]
impl Window {
    /// Waits for the next call; none if there will be no more.
    fn next(&self, py: Python<'_>) -> Option<Call> {
        let waiting = py.detach(|| {
            let mut state = self.0.lock();
            let waiting = loop {
                match state.take() {
                    Some(waiting) => break Some(waiting),
                    None if state.closed => break None,
                    None => {
                        state = self.0.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
                    }
                }
            };
            drop(state);
            gate::stay_outside_at_the_end();
            waiting
        });
        waiting.map(|waiting| Call { method: waiting.method(), waiting: Mutex::new(Some(waiting)) })
    }

    /// Whether the engine has gone.
    #[getter]
    fn closed(&self) -> bool {
        self.0.lock().closed
    }

    /// A stream is read to its end, or not wanted any more.
    fn release(&self) {
        let mut state = self.0.lock();
        if let Some(free) = &mut state.free {
            *free += 1;
        }
        drop(state);
        self.0.ready.notify_one();
    }

    /// Nobody is left on this side.
    fn close(&self) {
        self.0.close();
    }
}

/// A call that a thread of Python's has taken.
#[pyclass(frozen, module = "backup_py")]
struct Call {
    method: &'static str,
    waiting: Mutex<Option<Box<dyn Waiting>>>,
}

#[pymethods]
impl Call {
    #[getter]
    fn method(&self) -> &'static str {
        self.method
    }

    fn arguments<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let arguments = self.lock().as_mut().and_then(|waiting| waiting.arguments());
        arguments.ok_or_else(|| PyRuntimeError::new_err("taken already"))?(py)
    }

    fn give(&self, value: Bound<'_, PyAny>) {
        let waiting = self.lock().take();
        if let Some(waiting) = waiting {
            waiting.answer(value.py(), Ok(value));
        }
    }

    fn fail(&self, error: Bound<'_, PyAny>) {
        let waiting = self.lock().take();
        if let Some(waiting) = waiting {
            waiting.answer(error.py(), Err(PyErr::from_value(error)));
        }
    }
}

impl Call {
    fn lock(&self) -> MutexGuard<'_, Option<Box<dyn Waiting>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
