//! What a running operation tells, and how it is told to stop.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, ErrorKind, Result};

/// Running totals of one operation. Totals, not steps: an event that gets lost loses nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Progress {
    /// What is going on.
    pub phase: Phase,
    /// Items finished, changed or not.
    pub items_done: u64,
    /// Items known to be there in all, where known (0: unknown).
    pub items_total: u64,
    /// Bytes of content read from the source, or handed to the sink.
    pub bytes_done: u64,
    /// Bytes of content expected in all, where known (0: unknown).
    pub bytes_total: u64,
    /// Bytes written to the store (backup), or read from it (restore, verify).
    pub bytes_stored: u64,
    /// Items that could not be handled and were reported.
    pub problems: u64,
}

/// The phases of an operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub enum Phase {
    /// Reading the state of the repository.
    #[default]
    Opening,
    /// Moving content.
    Transferring,
    /// Writing trees, index and the log entry, or closing folders.
    Committing,
    /// Finished.
    Done,
}

/// A progress callback's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Control {
    /// Go on.
    Continue,
    /// Stop soon, keep what is done, and return `Canceled`.
    Cancel,
}

/// A switch to stop an operation from anywhere; clones share it.
///
/// ```
/// let token = backup_core::CancelToken::new();
/// let handle = token.clone();
/// handle.cancel();
/// assert!(token.is_canceled());
/// ```
#[derive(Clone, Debug, Default)]
pub struct CancelToken(Arc<AtomicBool>);

impl CancelToken {
    /// A token that is not canceled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks every operation that has this token to stop soon.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked to stop.
    #[must_use]
    pub fn is_canceled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A progress callback, owned by the operation that it watches.
pub(crate) type Callback<'a> = Box<dyn FnMut(&Progress) -> Control + Send + 'a>;

/// The two methods that all runs have, each with what it means for the run, which has the fields `callback` and `token` for them.
macro_rules! watched {
    ($run:ident, $(#[$progress:meta])+ on_progress, $(#[$cancel:meta])+ cancel_token) => {
        impl<'a> $run<'a> {
            $(#[$progress])+
            pub fn on_progress(
                mut self,
                callback: impl FnMut(&$crate::progress::Progress) -> $crate::progress::Control + Send + 'a,
            ) -> Self {
                self.callback = Some(Box::new(callback));
                self
            }

            $(#[$cancel])+
            pub fn cancel_token(mut self, token: &$crate::progress::CancelToken) -> Self {
                self.token = token.clone();
                self
            }
        }
    };
}
pub(crate) use watched;

/// The engine's side: reports totals to the callback and notices cancellation.
pub(crate) struct Reporter<'a> {
    callback: Option<Callback<'a>>,
    token: CancelToken,
    /// The totals; operations change them directly and then call [`Reporter::report`].
    pub(crate) totals: Progress,
}

impl<'a> Reporter<'a> {
    pub(crate) fn new(callback: Option<Callback<'a>>, token: CancelToken) -> Self {
        Self { callback, token, totals: Progress::default() }
    }

    /// Hands the totals to the callback; an error if anybody asked to stop.
    pub(crate) fn report(&mut self) -> Result<()> {
        if let Some(callback) = &mut self.callback
            && callback(&self.totals) == Control::Cancel
        {
            self.token.cancel();
        }
        self.check()
    }

    /// An error if anybody asked to stop.
    pub(crate) fn check(&self) -> Result<()> {
        if self.token.is_canceled() {
            return Err(Error::new(ErrorKind::Canceled, "canceled by the caller"));
        }
        Ok(())
    }

    pub(crate) fn phase(&mut self, phase: Phase) -> Result<()> {
        self.totals.phase = phase;
        self.report()
    }
}

impl fmt::Debug for Reporter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter").field("totals", &self.totals).finish_non_exhaustive()
    }
}
