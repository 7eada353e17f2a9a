//! Texts and lists of texts that the library hands over, and data as JSON in both directions.

use std::ffi::{CString, c_char};
use std::fmt::Display;
use std::ptr;

use backup_core::{Error, ErrorKind, Result};

use crate::boundary::{query, release};
use crate::error::c_text;

/// A text that belongs to the caller.
#[derive(Debug)]
pub struct backup_text {
    text: CString,
}

/// A list of texts: names of objects, ids of snapshots.
#[derive(Debug, Default)]
pub struct backup_names {
    names: Vec<CString>,
}

impl backup_text {
    pub(crate) fn new(text: &str) -> Self {
        Self { text: c_text(text) }
    }
}

impl backup_names {
    pub(crate) fn of<T: Display>(names: impl IntoIterator<Item = T>) -> Self {
        Self { names: names.into_iter().map(|name| c_text(&name.to_string())).collect() }
    }
}

/// What went wrong with an argument that is to be JSON.
pub(crate) fn not_json(name: &str, error: serde_json::Error) -> Error {
    let message = format!("argument `{name}` is not what it has to be: {error}");
    Error::new(ErrorKind::InvalidArgument, message).with_source(error)
}

/// A value that serde knows, as JSON.
pub(crate) fn json(value: serde_json::Result<String>) -> Result<String> {
    value.map_err(|error| Error::new(ErrorKind::Bug, "a report cannot be written as JSON").with_source(error))
}

/// The text, NUL-terminated. NULL for NULL; lives as long as the handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_text_get(text: *const backup_text) -> *const c_char {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { query(text, ptr::null(), |text| text.text.as_ptr()) }
}

/// Its length in bytes, without the NUL. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_text_len(text: *const backup_text) -> u64 {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { query(text, 0, |text| text.text.as_bytes().len() as u64) }
}

/// Frees a text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_text_free(text: *mut backup_text) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(text) }
}

/// How many texts there are. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_names_count(names: *const backup_names) -> u64 {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { query(names, 0, |names| names.names.len() as u64) }
}

/// The text of this number, the first being 0. NULL for NULL and where there are not so many; lives as long as the list.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_names_at(names: *const backup_names, index: u64) -> *const c_char {
    let find = |names: &backup_names| {
        let name = usize::try_from(index).ok().and_then(|index| names.names.get(index));
        name.map_or(ptr::null(), |name| name.as_ptr())
    };
    // SAFETY: the caller keeps the contract of the header.
    unsafe { query(names, ptr::null(), find) }
}

/// Frees a list of texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_names_free(names: *mut backup_names) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(names) }
}
