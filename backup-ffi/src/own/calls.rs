//! The way over to C: whose functions they are, which thread runs them, and what became of it.

use std::ffi::c_void;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use backup_core::{Error, ErrorKind, Result};
use tokio::sync::oneshot;

use crate::error::backup_error;

/// Frees an embedder's object.
pub(super) type Release = Option<unsafe extern "C" fn(object: *mut c_void)>;

/// An embedder's object with its functions. Calls under way share it; the last of them to end releases it.
pub(super) struct Owned<T> {
    pub(super) table: T,
    object: *mut c_void,
    release: Release,
}

// SAFETY: the header asks of whoever makes such an object that its functions may be called on any thread, several at once.
unsafe impl<T: Send> Send for Owned<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Owned<T> {}

impl<T> Owned<T> {
    pub(super) fn new(table: T, object: *mut c_void, release: Release) -> Self {
        Self { table, object, release }
    }

    pub(super) fn object(&self) -> *mut c_void {
        self.object
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: no call is under way any more, and the object is released once.
            unsafe { release(self.object) }
        }
    }
}

impl<T> fmt::Debug for Owned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owned").field("object", &self.object).finish_non_exhaustive()
    }
}

/// A function that the table must have.
pub(super) fn required<F>(function: Option<F>, name: &str) -> Result<F> {
    function.ok_or_else(|| {
        Error::new(ErrorKind::InvalidArgument, format!("argument `vtable` has no function `{name}`"))
    })
}

/// Runs `job` on a thread that may block, and resolves to what it gives. It runs to its end whether or not anybody waits.
pub(super) fn spawn<T: Send + 'static>(
    job: impl FnOnce() -> Result<T> + Send + 'static,
) -> impl Future<Output = Result<T>> + Send {
    let (sender, receiver) = oneshot::channel();
    let work = move || {
        // Whoever has stopped waiting does not want the result any more.
        let _ = sender.send(job());
    };
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(work)),
        // Only where somebody else drives the future.
        Err(_) => drop(std::thread::Builder::new().name("backup-call".to_owned()).spawn(work)),
    }
    async move { receiver.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Bug, "a call was dropped"))) }
}

/// The result of a function of C.
///
/// # Safety
/// `error` is NULL or an error that now belongs to the library.
pub(super) unsafe fn outcome(error: *mut backup_error) -> Result<()> {
    // SAFETY: the same promise.
    unsafe { backup_error::take(error) }.map_or(Ok(()), Err)
}

/// Remembers the first thing that was refused, in case the function goes on as if nothing were.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Option<Error>>);

impl Refusals {
    fn lock(&self) -> MutexGuard<'_, Option<Error>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes a result on and notes what it says.
    pub(super) fn note<T>(&self, result: Result<T>) -> Result<T> {
        result.inspect_err(|error| {
            self.lock().get_or_insert_with(|| again(error));
        })
    }

    pub(super) fn forget(&self) {
        *self.lock() = None;
    }

    /// What a function that says `outcome` has really come to.
    pub(super) fn judge(&self, outcome: Result<()>) -> Result<()> {
        match (outcome, self.lock().take()) {
            (Ok(()), Some(refused)) => Err(refused),
            (outcome, _) => outcome,
        }
    }
}

/// The same error once more, without its cause.
fn again(error: &Error) -> Error {
    let mut copy = Error::new(error.kind(), error.message());
    if let Some(item) = error.item() {
        copy = copy.with_item(item);
    }
    copy
}

/// What pushes and pulls get once nobody wants their bytes any more.
pub(super) fn unwanted() -> Error {
    Error::new(ErrorKind::Canceled, "the operation has ended")
}
