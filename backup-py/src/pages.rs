//! Iterators over what the engine gives step by step: a batch of steps for each wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backup_core::{Difference, Error, ErrorKind, Item, Result};
use pyo3::exceptions::PyStopAsyncIteration;
use pyo3::prelude::*;

use crate::convert::refuse_pickle;
use crate::door::{Job, Poison, promise, settled, wait};
use crate::error::raised;
use crate::event_loop::EventLoop;
use crate::repository::Shared;
use crate::results;

/// Most steps made during one wait.
const BATCH_STEPS_MAX: usize = 256;

/// An iterator over the items of a folder.
#[pyclass(frozen, module = "backup_py")]
pub(crate) struct Listing(Pages<backup_core::Listing>);

/// An iterator over the differences between two snapshots.
#[pyclass(frozen, module = "backup_py")]
pub(crate) struct Differences(Pages<backup_core::Differences>);

#[pymethods]
impl Listing {
    fn __iter__(this: Bound<'_, Self>) -> Bound<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.0.next(py)?.map(|item| results::item(py, &item)).transpose()
    }

    fn __aiter__(this: Bound<'_, Self>) -> Bound<'_, Self> {
        this
    }

    fn __anext__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.0.next_async(py, |py, item| results::item(py, &item).map(Bound::unbind))
    }

    fn __reduce__(&self) -> PyResult<()> {
        refuse_pickle("Listing", "it reads from an open repository; make a list of it")
    }
}

#[pymethods]
impl Differences {
    fn __iter__(this: Bound<'_, Self>) -> Bound<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.0.next(py)?.map(|difference| results::difference(py, &difference)).transpose()
    }

    fn __aiter__(this: Bound<'_, Self>) -> Bound<'_, Self> {
        this
    }

    fn __anext__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.0.next_async(py, |py, difference| results::difference(py, &difference).map(Bound::unbind))
    }

    fn __reduce__(&self) -> PyResult<()> {
        refuse_pickle("Differences", "it reads from an open repository; make a list of it")
    }
}

impl Listing {
    pub(crate) fn new(shared: Arc<Shared>, listing: backup_core::Listing) -> Self {
        Self(Pages::of(shared, listing))
    }
}

impl Differences {
    pub(crate) fn new(shared: Arc<Shared>, differences: backup_core::Differences) -> Self {
        Self(Pages::of(shared, differences))
    }
}

/// Something of the engine's that has a next.
pub(crate) trait Steps: Send + Sized + 'static {
    type Step: Send + 'static;

    fn step(&mut self) -> impl Future<Output = Result<Option<Self::Step>>> + Send;

    /// Whether the next step is worth making before those that were made are given out.
    fn is_ready(&self) -> bool {
        true
    }
}

impl Steps for backup_core::Listing {
    type Step = Item;

    fn step(&mut self) -> impl Future<Output = Result<Option<Item>>> + Send {
        self.next()
    }
}

impl Steps for backup_core::Differences {
    type Step = Difference;

    fn step(&mut self) -> impl Future<Output = Result<Option<Difference>>> + Send {
        self.next()
    }
}

/// Steps made and steps to come.
pub(crate) struct Pages<S: Steps> {
    /// The repository that they are read from, if it is one.
    shared: Option<Arc<Shared>>,
    poison: Poison,
    state: Arc<Mutex<State<S>>>,
}

struct State<S: Steps> {
    ready: VecDeque<S::Step>,
    rest: Rest<S>,
}

enum Rest<S> {
    Open(S),
    /// With some thread. Should that be interrupted, the rest is lost: a step that was dropped half-way cannot be made
    /// again.
    Taken,
    /// The error comes after what was ready before it.
    Failed(Error),
    Ended,
}

/// What the next step is.
enum Next<S: Steps> {
    Ready(S::Step),
    Ended,
    /// It has to be made.
    Work(S),
}

impl<S: Steps> Pages<S> {
    /// Steps through an open repository.
    fn of(shared: Arc<Shared>, steps: S) -> Self {
        Self { poison: shared.poison().clone(), shared: Some(shared), ..Self::new(steps, Poison::default()) }
    }

    pub(crate) fn new(steps: S, poison: Poison) -> Self {
        let state = State { ready: VecDeque::new(), rest: Rest::Open(steps) };
        Self { shared: None, poison, state: Arc::new(Mutex::new(state)) }
    }

    pub(crate) fn next(&self, py: Python<'_>) -> PyResult<Option<S::Step>> {
        match self.begin(py)? {
            Next::Ready(step) => Ok(Some(step)),
            Next::Ended => Ok(None),
            Next::Work(steps) => wait(py, self.job(steps)),
        }
    }

    /// An awaitable of what `give` makes of the next step.
    pub(crate) fn next_async<'py>(
        &self,
        py: Python<'py>,
        give: impl FnOnce(Python<'_>, S::Step) -> PyResult<Py<PyAny>> + Send + 'static,
    ) -> PyResult<Bound<'py, PyAny>> {
        let end = || PyStopAsyncIteration::new_err(());
        // Without a loop nothing must be lost.
        let _ = EventLoop::running(py)?;
        match self.begin(py)? {
            Next::Ready(step) => settled(py, give(py, step)),
            Next::Ended => settled(py, Err(end())),
            Next::Work(steps) => promise(py, self.job(steps), move |py, step| match step {
                Some(step) => give(py, step),
                None => Err(end()),
            }),
        }
    }

    fn begin(&self, py: Python<'_>) -> PyResult<Next<S>> {
        if let Some(shared) = &self.shared {
            shared.check(py)?;
        }
        let mut state = lock(&self.state);
        if let Some(step) = state.ready.pop_front() {
            return Ok(Next::Ready(step));
        }
        let error = match std::mem::replace(&mut state.rest, Rest::Taken) {
            Rest::Open(steps) => return Ok(Next::Work(steps)),
            Rest::Ended => {
                state.rest = Rest::Ended;
                return Ok(Next::Ended);
            }
            Rest::Failed(error) => {
                state.rest = Rest::Ended;
                error
            }
            Rest::Taken => Error::new(
                ErrorKind::Canceled,
                "this iterator was interrupted, or is waited for by somebody else",
            ),
        };
        drop(state);
        Err(raised(py, &error))
    }

    fn job(&self, mut steps: S) -> Job<Option<S::Step>> {
        let state = Arc::clone(&self.state);
        Job::new(&self.poison, move || async move {
            let mut batch = VecDeque::new();
            let rest = loop {
                match steps.step().await {
                    Ok(Some(step)) => batch.push_back(step),
                    Ok(None) => break Rest::Ended,
                    Err(error) => break Rest::Failed(error),
                }
                if batch.len() >= BATCH_STEPS_MAX || !steps.is_ready() {
                    break Rest::Open(steps);
                }
            };
            let first = batch.pop_front();
            let (rest, answer) = match (first, rest) {
                (None, Rest::Failed(error)) => (Rest::Ended, Err(error)),
                (first, rest) => (rest, Ok(first)),
            };
            *lock(&state) = State { ready: batch, rest };
            answer
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
