//! Progress out, cancellation in.

use std::ffi::c_void;

use backup_core::{CancelToken, Control, Progress};

use crate::boundary::{Handle, Poison, boundary, release};
use crate::error::backup_error;
use crate::kinds::backup_phase;

/// Running totals of one operation. Read fields beyond `bytes_stored` only if `struct_size` says that they are there.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_progress {
    /// Size of this struct in the library.
    pub struct_size: u32,
    /// What is going on, a `backup_phase`.
    pub phase: u32,
    /// Items finished; for a check, packs.
    pub items_done: u64,
    /// Items in all, 0 if unknown.
    pub items_total: u64,
    /// Bytes of content read from the source or handed to the sink.
    pub bytes_done: u64,
    /// Bytes of content in all, 0 if unknown.
    pub bytes_total: u64,
    /// Bytes written to the store (backup), or read from it (restore, check).
    pub bytes_stored: u64,
    /// Items that could not be handled.
    pub problems: u64,
}

const _: () = assert!(size_of::<backup_progress>() == 56);

impl From<&Progress> for backup_progress {
    fn from(progress: &Progress) -> Self {
        Self {
            struct_size: size_of::<Self>() as u32,
            phase: backup_phase::from(progress.phase) as u32,
            items_done: progress.items_done,
            items_total: progress.items_total,
            bytes_done: progress.bytes_done,
            bytes_total: progress.bytes_total,
            bytes_stored: progress.bytes_stored,
            problems: progress.problems,
        }
    }
}

/// Called with running totals at most ten times a second and when the phase changes, on the thread that made the call.
/// `progress` is valid during the call only. Anything but 0 cancels. Must return: no exception, no longjmp.
pub type backup_progress_fn =
    Option<unsafe extern "C" fn(progress: *const backup_progress, userdata: *mut c_void) -> i32>;

/// A C callback with its userdata.
pub(crate) struct Callback {
    function: unsafe extern "C" fn(*const backup_progress, *mut c_void) -> i32,
    userdata: *mut c_void,
}

// SAFETY: the engine asks for `Send` because a run may move between threads. Here it is polled by `Runtime::run` only,
// which polls on the calling thread, so function and userdata are used on that thread alone.
unsafe impl Send for Callback {}

impl Callback {
    pub(crate) fn new(function: backup_progress_fn, userdata: *mut c_void) -> Option<Self> {
        function.map(|function| Self { function, userdata })
    }

    pub(crate) fn call(&self, progress: &Progress) -> Control {
        let progress = backup_progress::from(progress);
        // SAFETY: whoever passed the function promised that it may be called with this userdata during the call.
        match unsafe { (self.function)(&raw const progress, self.userdata) } {
            0 => Control::Continue,
            _ => Control::Cancel,
        }
    }
}

/// A run with the caller's callback and switch.
macro_rules! watched {
    ($run:expr, $cancel:expr, $progress:expr, $userdata:expr) => {{
        let mut run = $run;
        if let Some(cancel) = $cancel {
            run = run.cancel_token(cancel.token());
        }
        if let Some(callback) = $crate::progress::Callback::new($progress, $userdata) {
            run = run.on_progress(move |progress| callback.call(progress));
        }
        run
    }};
}
pub(crate) use watched;

/// A switch that stops operations from another thread.
#[derive(Debug, Default)]
pub struct backup_cancel {
    poison: Poison,
    token: CancelToken,
}

impl Handle for backup_cancel {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

impl backup_cancel {
    pub(crate) const fn token(&self) -> &CancelToken {
        &self.token
    }
}

/// Makes a switch. It serves any number of operations, and once it is switched it stays so.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_cancel_new(out: *mut *mut backup_cancel) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        unsafe { door.output(out, "out") }?.give(backup_cancel::default());
        Ok(())
    })
}

/// Asks all operations that were given the switch to stop soon; they then return code 3. Any thread, any time, also
/// from a callback.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_cancel_request(cancel: *const backup_cancel) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        unsafe { door.handle(cancel, "cancel") }?.token.cancel();
        Ok(())
    })
}

/// Frees a switch. Operations that have it go on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_cancel_free(cancel: *mut backup_cancel) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(cancel) }
}
