//! Lines for an operator, by a callback that belongs to one runtime. There is no logger of the process.

use std::ffi::{CString, c_char, c_void};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use backup_core::{Error, ErrorKind, LogLevel, Logger};

use crate::boundary::boundary;
use crate::error::backup_error;
use crate::runtime::backup_runtime;

/// How much a line matters.
#[repr(u32)]
#[derive(Clone, Copy, Debug)]
pub enum backup_log_level {
    /// Something is lost or damaged.
    Error = 1,
    /// Something did not go as it should, and the run goes on.
    Warning = 2,
    /// A run began, ended, or changed what belongs to the repository.
    Info = 3,
    /// Single steps.
    Debug = 4,
}

/// Takes one line of text without a line break, valid during the call, and its `backup_log_level`. Called on any thread, by several at once and
/// in the middle of a run: it returns soon and calls no function of the library.
pub type backup_log_fn = Option<unsafe extern "C" fn(level: u32, line: *const c_char, userdata: *mut c_void)>;
/// Gives back what belongs to a callback, once, when it is called no more. May be called on any thread.
pub type backup_release_fn = Option<unsafe extern "C" fn(userdata: *mut c_void)>;

/// A callback of the embedder's, for as long as it may be called.
struct Target {
    function: unsafe extern "C" fn(u32, *const c_char, *mut c_void),
    userdata: *mut c_void,
    release: backup_release_fn,
}

// SAFETY: whoever passed the function promised that any thread may call it with its userdata.
unsafe impl Send for Target {}
// SAFETY: the same promise: by several threads at once.
unsafe impl Sync for Target {}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: the caller's own function and data, which nobody uses any more.
            unsafe { release(self.userdata) }
        }
    }
}

/// What the repositories of a runtime write to.
#[derive(Default)]
pub(crate) struct Log {
    /// Lines above it are not wanted; 0 for none at all.
    level: AtomicU32,
    target: RwLock<Option<Arc<Target>>>,
}

impl Log {
    fn set(&self, level: u32, target: Option<Arc<Target>>) {
        let level = if target.is_some() { level } else { 0 };
        let mut place = self.target.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *place, target);
        self.level.store(level, Ordering::Relaxed);
        // What is released may take its time.
        drop(place);
        drop(before);
    }
}

impl Logger for Log {
    fn wants(&self, level: LogLevel) -> bool {
        level as u32 <= self.level.load(Ordering::Relaxed)
    }

    fn log(&self, level: LogLevel, line: &str) {
        let target = self.target.read().unwrap_or_else(PoisonError::into_inner).clone();
        // A name may hold what C takes for the end of the line.
        if let (Some(target), Ok(line)) = (target, CString::new(line.replace('\0', "\u{fffd}"))) {
            // SAFETY: the embedder promised that it may be called so.
            unsafe { (target.function)(level as u32, line.as_ptr(), target.userdata) }
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("level", &self.level).finish_non_exhaustive()
    }
}

/// Has `log` called with lines up to `level` (a `backup_log_level`) from all repositories of this runtime, from now on and in the place of what
/// was set before; NULL ends that. A line may name items, objects and addresses, and never holds a key, a passphrase or content.
///
/// `release` (may be NULL) is called with `userdata` once, when the callback is called no more. If this call fails, `userdata` stays the caller's
/// and is not released.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_runtime_log(
    runtime: *const backup_runtime,
    level: u32,
    log: backup_log_fn,
    release: backup_release_fn,
    userdata: *mut c_void,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let runtime = unsafe { door.handle(runtime, "runtime") }?;
        if !(1..=LogLevel::Debug as u32).contains(&level) {
            return Err(Error::new(ErrorKind::InvalidArgument, "argument `level` is no level"));
        }
        let target = log.map(|function| Arc::new(Target { function, userdata, release }));
        runtime.shared().log().set(level, target);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;
    use std::ptr::{null, null_mut};
    use std::sync::Mutex;

    use super::*;
    use crate::*;

    /// What a callback of the test has seen.
    #[derive(Default)]
    struct Seen {
        lines: Vec<(u32, String)>,
        released: u32,
    }

    unsafe extern "C" fn note(level: u32, line: *const c_char, userdata: *mut c_void) {
        // SAFETY: the test's own mutex, which outlives the runtime.
        let (seen, line) = unsafe { (&*userdata.cast::<Mutex<Seen>>(), CStr::from_ptr(line)) };
        seen.lock().unwrap().lines.push((level, line.to_str().unwrap().to_owned()));
    }

    unsafe extern "C" fn released(userdata: *mut c_void) {
        // SAFETY: as above.
        unsafe { &*userdata.cast::<Mutex<Seen>>() }.lock().unwrap().released += 1;
    }

    #[test]
    fn lines_come_until_another_callback_is_set_and_each_is_released_once() {
        let (first, second) = (Mutex::new(Seen::default()), Mutex::new(Seen::default()));
        let data = |seen: &Mutex<Seen>| std::ptr::from_ref(seen).cast_mut().cast::<c_void>();
        // SAFETY: handles from calls above or locals, freed once.
        unsafe {
            let (mut runtime, mut credential) = (null_mut(), null_mut());
            assert!(backup_runtime_new(1, &raw mut runtime).is_null());
            assert!(backup_credential_raw_key([7; 32].as_ptr(), 32, &raw mut credential).is_null());
            let init = || {
                let mut repo = null_mut();
                let error =
                    backup_repo_init(runtime, c"memory://".as_ptr(), null(), credential, &raw mut repo);
                assert!(error.is_null());
                backup_repo_free(repo);
            };
            assert!(backup_runtime_log(runtime, 3, Some(note), Some(released), data(&first)).is_null());
            init();
            assert!(backup_runtime_log(runtime, 1, Some(note), Some(released), data(&second)).is_null());
            init();
            for level in [0, 5] {
                let error = backup_runtime_log(runtime, level, Some(note), Some(released), data(&second));
                assert_eq!(backup_error_code(error), 1);
                backup_error_free(error);
            }
            backup_credential_free(credential);
            backup_runtime_free(runtime);
        }
        let (first, second) = (first.into_inner().unwrap(), second.into_inner().unwrap());
        assert!(
            first.lines.iter().any(|(level, line)| *level == 3 && line.starts_with("opened at log entry 0"))
        );
        assert_eq!((first.released, second.released), (1, 1));
        assert_eq!(second.lines, []);
    }
}
