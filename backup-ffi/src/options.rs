//! Options: names and values as text, so that a new option changes no signature. None is ever ignored: each call takes
//! those that it knows and refuses the rest by name.

use std::fmt;

use backup_core::{Error, ErrorKind, Result};

use crate::boundary::{Handle, Poison, boundary, release};
use crate::error::backup_error;

/// Names and values for a call that takes options.
#[derive(Default)]
pub struct backup_options {
    poison: Poison,
    /// In the order in which they were added.
    entries: std::sync::Mutex<Vec<(String, String)>>,
}

impl fmt::Debug for backup_options {
    /// Values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("backup_options").finish_non_exhaustive()
    }
}

impl Handle for backup_options {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

impl backup_options {
    fn change(&self, change: impl FnOnce(&mut Vec<(String, String)>)) {
        change(&mut self.entries.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}

/// The options of one call. What is left when all that is known was taken is an error.
pub(crate) struct Settings(Vec<(String, String)>);

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Settings {
    fn from(entries: [(&str, &str); N]) -> Self {
        Self(entries.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
    }
}

impl Settings {
    pub(crate) fn of(options: Option<&backup_options>) -> Self {
        let mut entries = Vec::new();
        if let Some(options) = options {
            options.change(|all| entries.clone_from(all));
        }
        Self(entries)
    }

    /// All values of an option that may be given several times.
    pub(crate) fn take_all(&mut self, key: &str) -> Vec<String> {
        self.0.extract_if(.., |(name, _)| name == key).map(|(_, value)| value).collect()
    }

    /// Options whose names begin alike: rest of the name and value.
    pub(crate) fn take_prefixed(&mut self, prefix: &str) -> Vec<(String, String)> {
        let taken = self.0.extract_if(.., |(name, _)| name.starts_with(prefix));
        taken.map(|(name, value)| (name.get(prefix.len()..).unwrap_or_default().to_owned(), value)).collect()
    }

    /// The value of an option that may be given once.
    pub(crate) fn take(&mut self, key: &str) -> Result<Option<String>> {
        let mut values = self.take_all(key);
        match (values.pop(), values.is_empty()) {
            (value, true) => Ok(value),
            (_, false) => Err(wrong("option is given more than once", key)),
        }
    }

    /// The value of an option that is something else than text.
    pub(crate) fn take_parsed<T: std::str::FromStr>(&mut self, key: &str) -> Result<Option<T>> {
        let parse = |value: String| value.parse().map_err(|_| wrong("option has a value that is none", key));
        self.take(key)?.map(parse).transpose()
    }

    /// What is left, for a callee that has options of its own.
    pub(crate) fn into_rest(self) -> Vec<(String, String)> {
        self.0
    }

    pub(crate) fn finish(self) -> Result<()> {
        match self.0.first() {
            Some((key, _)) => Err(wrong("option does not exist here", key)),
            None => Ok(()),
        }
    }
}

fn wrong(what: &str, key: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, what).with_item(key)
}

/// Makes an empty set of options. Which ones exist is said where they are taken.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_options_new(out: *mut *mut backup_options) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        unsafe { door.output(out, "out") }?.give(backup_options::default());
        Ok(())
    })
}

/// Gives an option a value, in place of those it had.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_options_set(
    options: *mut backup_options,
    key: *const std::ffi::c_char,
    value: *const std::ffi::c_char,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (options, key, value) =
            unsafe { (door.handle(options, "options")?, door.text(key, "key")?, door.text(value, "value")?) };
        options.change(|all| {
            all.retain(|(name, _)| name != key);
            all.push((key.to_owned(), value.to_owned()));
        });
        Ok(())
    })
}

/// Adds a value to an option that can have several.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_options_add(
    options: *mut backup_options,
    key: *const std::ffi::c_char,
    value: *const std::ffi::c_char,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (options, key, value) =
            unsafe { (door.handle(options, "options")?, door.text(key, "key")?, door.text(value, "value")?) };
        options.change(|all| all.push((key.to_owned(), value.to_owned())));
        Ok(())
    })
}

/// Frees options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_options_free(options: *mut backup_options) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(options) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_doubled_and_unreadable_options_are_refused_by_name() {
        let mut options =
            Settings::from([("full", "true"), ("only", "a"), ("only", "b"), ("fill", "true"), ("n", "x")]);
        assert_eq!(options.take_all("only"), ["a", "b"]);
        assert_eq!(options.take_parsed::<bool>("full").unwrap(), Some(true));
        assert_eq!(options.take("absent").unwrap(), None);
        assert_eq!(options.take_parsed::<u32>("n").unwrap_err().item(), Some("n"));
        assert_eq!(options.finish().unwrap_err().item(), Some("fill"));
        assert!(Settings::from([("x", "1"), ("x", "2")]).take("x").is_err());
        assert_eq!(
            Settings::from([("label.a", "1")]).take_prefixed("label."),
            [("a".to_owned(), "1".to_owned())]
        );
    }
}
