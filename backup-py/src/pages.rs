//! Iterators over what the engine gives step by step: a batch of steps for each wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backup_core::{Difference, Error, ErrorKind, Item, Result};
use pyo3::prelude::*;

use crate::convert::refuse_pickle;
use crate::door::{Job, wait};
use crate::error::raised;
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

    fn __reduce__(&self) -> PyResult<()> {
        refuse_pickle("Differences", "it reads from an open repository; make a list of it")
    }
}

impl Listing {
    pub(crate) fn new(shared: Arc<Shared>, listing: backup_core::Listing) -> Self {
        Self(Pages::new(shared, listing))
    }
}

impl Differences {
    pub(crate) fn new(shared: Arc<Shared>, differences: backup_core::Differences) -> Self {
        Self(Pages::new(shared, differences))
    }
}

/// Something of the engine's that has a next.
trait Steps: Send + Sized + 'static {
    type Step: Send + 'static;

    fn step(&mut self) -> impl Future<Output = Result<Option<Self::Step>>> + Send;
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
struct Pages<S: Steps> {
    shared: Arc<Shared>,
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

impl<S: Steps> Pages<S> {
    fn new(shared: Arc<Shared>, steps: S) -> Self {
        let state = State { ready: VecDeque::new(), rest: Rest::Open(steps) };
        Self { shared, state: Arc::new(Mutex::new(state)) }
    }

    fn next(&self, py: Python<'_>) -> PyResult<Option<S::Step>> {
        self.shared.check(py)?;
        let mut steps = {
            let mut state = lock(&self.state);
            if let Some(step) = state.ready.pop_front() {
                return Ok(Some(step));
            }
            match std::mem::replace(&mut state.rest, Rest::Taken) {
                Rest::Open(steps) => steps,
                Rest::Failed(error) => {
                    state.rest = Rest::Ended;
                    drop(state);
                    return Err(raised(py, &error));
                }
                Rest::Ended => {
                    state.rest = Rest::Ended;
                    return Ok(None);
                }
                Rest::Taken => {
                    drop(state);
                    let message = "this iterator was interrupted, or is waited for by another thread";
                    return Err(raised(py, &Error::new(ErrorKind::Canceled, message)));
                }
            }
        };
        let state = Arc::clone(&self.state);
        wait(
            py,
            Job::new(self.shared.poison(), move || async move {
                let mut batch = VecDeque::new();
                let rest = loop {
                    match steps.step().await {
                        Ok(Some(step)) => batch.push_back(step),
                        Ok(None) => break Rest::Ended,
                        Err(error) => break Rest::Failed(error),
                    }
                    if batch.len() >= BATCH_STEPS_MAX {
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
            }),
        )
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
