//! Errors as C sees them: everything is made into text when the error is, so reading one cannot fail.

use std::ffi::{CString, c_char};
use std::ptr;

use backup_core::Error;

use crate::boundary::{query, release};

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
}

impl backup_error {
    pub(crate) fn new(error: &Error) -> Self {
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
        }
    }
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
        let error = backup_error::new(&error);
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
