//! Errors as C sees them: everything is made into text when the error is, so reading one cannot fail.

use std::error::Error as StdError;
use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr;
use std::time::Duration;
use std::{fmt, mem};

use backup_core::{Error, ErrorKind};

use crate::boundary::{query, release};
use crate::kinds::kind_of_code;

/// Why a call failed. Belongs to the caller.
#[derive(Debug)]
pub struct backup_error {
    code: u32,
    retryable: bool,
    retry_after_ms: u64,
    message: CString,
    detail: CString,
    hint: CString,
    item: Option<CString>,
    /// The error itself, for errors that go back into the engine.
    error: Error,
}

impl backup_error {
    pub(crate) fn new(error: Error) -> Self {
        let wait =
            error.retry_after().map_or(0, |wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1));
        Self {
            code: error.kind().code(),
            retryable: error.is_retryable(),
            retry_after_ms: wait,
            message: c_text(&error.to_string()),
            detail: c_text(&format!("{error:?}")),
            hint: c_text(error.hint()),
            item: error.item().map(c_text),
            error,
        }
    }

    /// What a callback reported.
    ///
    /// # Safety
    /// `error` is NULL or a live error that now belongs to the library.
    pub(crate) unsafe fn take(error: *mut Self) -> Option<Error> {
        if error.is_null() || !error.is_aligned() {
            return None;
        }
        // SAFETY: checked above and promised by the caller.
        Some(unsafe { Box::from_raw(error) }.error)
    }
}

/// Something of the embedder's that travels with an error, such as an exception.
struct Payload {
    data: *mut c_void,
    release: unsafe extern "C" fn(*mut c_void),
}

// SAFETY: the library never looks at `data`; whoever attaches it promises that any thread may release it.
unsafe impl Send for Payload {}
// SAFETY: as above.
unsafe impl Sync for Payload {}

impl Drop for Payload {
    fn drop(&mut self) {
        // SAFETY: promised by whoever attached it; nobody else releases it.
        unsafe { (self.release)(self.data) }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Payload")
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("something that the embedding program attached")
    }
}

impl StdError for Payload {}

/// # Safety
/// `text` is NULL or NUL-terminated.
unsafe fn own_text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: checked above and promised by the caller.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    Some(text).filter(|text| !text.is_empty())
}

/// Makes an error for a callback to return. Never NULL.
///
/// `code` is a `backup_code`, and says also whether the same call may succeed later: throttled and unavailable may. Numbers
/// that are none, 0 and 99 become 40, code of the embedding program. `message` is one line; `item` (may be NULL) is what it is about;
/// `retry_after_ms` is how long to wait before trying again, 0 if that is not known. Text that is not UTF-8 is taken as far as it is.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_error_new(
    code: u32,
    message: *const c_char,
    item: *const c_char,
    retry_after_ms: u64,
) -> *mut backup_error {
    // SAFETY: the caller keeps the contract of the header.
    let (message, item) = unsafe { (own_text(message), own_text(item)) };
    let kind = kind_of_code(code).filter(|kind| *kind != ErrorKind::Bug).unwrap_or(ErrorKind::Extension);
    let message = message.unwrap_or_else(|| "the embedding program failed and does not say why".to_owned());
    let mut error = Error::new(kind, message.replace(['\n', '\r'], " "));
    if let Some(item) = item {
        error = error.with_item(item);
    }
    if retry_after_ms > 0 {
        error = error.with_retry_after(Duration::from_millis(retry_after_ms));
    }
    Box::into_raw(Box::new(backup_error::new(error)))
}

/// Lets something travel with an error, in place of the cause that it had: backup_error_payload() finds it in the error that the
/// operation ends with. `release` is called with it once, on any thread, when the error is freed; at once if `error` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_error_attach(
    error: *mut backup_error,
    payload: *mut c_void,
    release: Option<unsafe extern "C" fn(payload: *mut c_void)>,
) {
    let Some(release) = release else { return };
    let payload = Payload { data: payload, release };
    // SAFETY: the caller keeps the contract of the header; nobody else has the error.
    if let Some(error) = unsafe { error.as_mut() } {
        let bare = mem::replace(&mut error.error, Error::new(ErrorKind::Bug, ""));
        error.error = bare.with_source(payload);
    }
}

/// What was attached to the error or to one of its causes with this `release`; NULL if nothing was. Lives as long as the error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_error_payload(
    error: *const backup_error,
    release: Option<unsafe extern "C" fn(payload: *mut c_void)>,
) -> *mut c_void {
    let find = |error: &backup_error| {
        let mut cause: Option<&(dyn StdError + 'static)> = Some(&error.error);
        while let Some(at) = cause {
            if let Some(payload) = at.downcast_ref::<Payload>()
                && release.is_some_and(|release| ptr::fn_addr_eq(release, payload.release))
            {
                return payload.data;
            }
            cause = at.source();
        }
        ptr::null_mut()
    };
    // SAFETY: the caller keeps the contract of the header.
    unsafe { query(error, ptr::null_mut(), find) }
}

/// Text for C, which cannot hold NUL.
pub(crate) fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "\\x00")).unwrap_or_default()
}

/// The permanent number of what went wrong, a `backup_code`. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_error_code(error: *const backup_error) -> u32 {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { query(error, 0, |error| error.code) }
}

/// What went wrong, in one line. NULL for NULL; lives as long as the error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_error_message(error: *const backup_error) -> *const c_char {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { query(error, ptr::null(), |error| error.message.as_ptr()) }
}

/// The message with its code and all causes, for a log. NULL for NULL; lives as long as the error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_error_detail(error: *const backup_error) -> *const c_char {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { query(error, ptr::null(), |error| error.detail.as_ptr()) }
}

/// What can be done about it, in one line. NULL for NULL; lives as long as the error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_error_hint(error: *const backup_error) -> *const c_char {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { query(error, ptr::null(), |error| error.hint.as_ptr()) }
}

/// The path, id or object name that it is about. NULL for NULL and where there is none; lives as long as the error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_error_item(error: *const backup_error) -> *const c_char {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        query(error, ptr::null(), |error| error.item.as_ref().map_or(ptr::null(), |item| item.as_ptr()))
    }
}

/// Milliseconds that the other side asked to wait before the same call is made again. 0 if it did not say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_error_retry_after_ms(error: *const backup_error) -> u64 {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { query(error, 0, |error| error.retry_after_ms) }
}

/// 1 if the same call may succeed later without anybody changing anything, else 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_error_retryable(error: *const backup_error) -> u32 {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { query(error, 0, |error| u32::from(error.retryable)) }
}

/// Frees an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_error_free(error: *mut backup_error) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(error) }
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;
    use std::time::Duration;

    use backup_core::ErrorKind;

    use super::*;

    #[test]
    fn all_parts_arrive() {
        let cause = std::io::Error::other("cable cut");
        let error = Error::new(ErrorKind::Throttled, "slow\0down")
            .with_item("pack/1")
            .with_retry_after(Duration::from_micros(1))
            .with_source(cause);
        let error = backup_error::new(error);
        let error = &raw const error;
        // SAFETY: the handle is alive, and all text is NUL-terminated.
        unsafe {
            let text = |text: *const c_char| CStr::from_ptr(text).to_str().unwrap();
            assert_eq!(backup_error_code(error), 13);
            assert_eq!(text(backup_error_message(error)), "slow\\x00down: pack/1");
            assert!(text(backup_error_detail(error)).contains("cable cut"));
            assert_eq!(text(backup_error_hint(error)), "call again later");
            assert_eq!(text(backup_error_item(error)), "pack/1");
            assert_eq!((backup_error_retry_after_ms(error), backup_error_retryable(error)), (1, 1));
        }
    }
}
