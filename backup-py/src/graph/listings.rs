//! Iterators over what a tenant has. A listing borrows its client, so it is read by a task that owns one, some hundred entries
//! ahead and no more.

use backup_core::{Error, ErrorKind, Result};
use backup_graph::directory::OwnerKind;
use futures_util::StreamExt as _;
use pyo3::prelude::*;
use tokio::sync::mpsc;

use super::tenant::Tenant;
use super::values::{self, Entry};
use crate::convert::refuse_pickle;
use crate::pages::{Pages, Steps};
use crate::runtime;

/// Most entries that wait to be fetched.
const AHEAD_MAX: usize = 256;

/// An iterator over entries of the directory.
#[pyclass(frozen, module = "backup_py")]
pub(crate) struct Entries(Pages<Reader>);

#[pymethods]
impl Entries {
    fn __iter__(this: Bound<'_, Self>) -> Bound<'_, Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.0.next(py)?.map(|entry| values::entry(py, &entry)).transpose()
    }

    fn __aiter__(this: Bound<'_, Self>) -> Bound<'_, Self> {
        this
    }

    fn __anext__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.0.next_async(py, |py, entry| values::entry(py, &entry).map(Bound::unbind))
    }

    fn __reduce__(&self) -> PyResult<()> {
        refuse_pickle("listing", "it reads from a service; make a list of it")
    }
}

/// Starts the task with the first step.
type Begin = Box<dyn FnOnce(mpsc::Sender<Option<Result<Entry>>>) -> Result<()> + Send>;

/// What a task reads. It says when it is through: one that just ends has failed.
pub(crate) enum Reader {
    New(Begin),
    Running(mpsc::Receiver<Option<Result<Entry>>>),
}

impl Reader {
    pub(super) fn new(
        begin: impl FnOnce(mpsc::Sender<Option<Result<Entry>>>) -> Result<()> + Send + 'static,
    ) -> Self {
        Self::New(Box::new(begin))
    }
}

impl Steps for Reader {
    type Step = Entry;

    async fn step(&mut self) -> Result<Option<Entry>> {
        if let Self::New(_) = self {
            let (sender, receiver) = mpsc::channel(AHEAD_MAX);
            if let Self::New(begin) = std::mem::replace(self, Self::Running(receiver)) {
                begin(sender)?;
            }
        }
        let Self::Running(entries) = self else { return Ok(None) };
        match entries.recv().await {
            Some(Some(entry)) => entry.map(Some),
            Some(None) => Ok(None),
            None => Err(Error::new(ErrorKind::Bug, "a listing ended unseen")),
        }
    }

    /// What is there is given out before more is waited for.
    fn is_ready(&self) -> bool {
        matches!(self, Self::Running(entries) if !entries.is_empty())
    }
}

/// An iterator over one of the client's listings.
macro_rules! listing {
    ($tenant:ident, $method:ident($($argument:expr),*), $kind:ident) => {{
        let client = $tenant.client().clone();
        $crate::graph::listings::entries($tenant, move |sender| {
            $crate::runtime::handle()?.spawn(async move {
                let entries = client.$method($($argument),*);
                $crate::graph::listings::pass(entries, sender, $crate::graph::values::Entry::$kind).await;
            });
            Ok(())
        })
    }};
}
pub(super) use listing;

pub(super) fn entries(
    tenant: &Tenant,
    begin: impl FnOnce(mpsc::Sender<Option<Result<Entry>>>) -> Result<()> + Send + 'static,
) -> Entries {
    Entries(Pages::new(Reader::new(begin), tenant.poison().clone()))
}

/// All drives, of all owners unless told.
pub(super) fn every_drive(tenant: &Tenant, kinds: Option<Vec<OwnerKind>>) -> Entries {
    let client = tenant.client().clone();
    entries(tenant, move |sender| {
        runtime::handle()?.spawn(async move {
            let found = client.every_drive(kinds.as_deref().unwrap_or(OwnerKind::ALL));
            pass(found, sender, Entry::Found).await;
        });
        Ok(())
    })
}

/// Passes a listing on until nobody wants more.
pub(super) async fn pass<T>(
    mut entries: impl futures_util::Stream<Item = Result<T>> + Unpin,
    sender: mpsc::Sender<Option<Result<Entry>>>,
    wrap: fn(T) -> Entry,
) {
    while let Some(entry) = entries.next().await {
        if sender.send(Some(entry.map(wrap))).await.is_err() {
            return;
        }
    }
    let _ = sender.send(None).await;
}
