//! The seam that sealed objects are kept behind. Implement [`Store`] for any place that holds named bytes.

mod immutable;
mod memory;
#[cfg(feature = "object-store")]
mod object;
mod probe;

use std::fmt;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;

use crate::error::{Error, Result};
use crate::time::Timestamp;

pub use immutable::{DefaultLock, Immutable, LockMode, Protection, Version, as_of};
pub use memory::MemoryStore;
#[cfg(feature = "fs")]
pub use object::remove_leftovers;
#[cfg(feature = "object-store")]
pub use object::{ObjectStoreAdapter, from_url, object_store};
pub(crate) use probe::probe_at;
pub use probe::{Contest, Deletion, Listed, Probe, probe};

/// A flat map from names to immutable bytes.
///
/// The engine never overwrites an object and needs exactly one strong primitive: [`create`](Self::create) is atomic
/// and exclusive. Listings are hints only: one that is late or incomplete costs work, never data.
/// The conformance suite in `testkit` (feature `testkit`) checks an implementation.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync {
    /// Creates an object if the name is free. When this returns, the bytes survive a power loss and every reader
    /// sees all of them; before, no reader sees any.
    ///
    /// # Errors
    /// An error leaves open whether the object exists: the engine finds out by reading it back.
    async fn create(&self, key: &Key, data: Bytes) -> Result<Created>;

    /// Reads an object, or the given range of it. A range that ends after the object's end is an error.
    ///
    /// # Errors
    /// `NotFound` if there is no such object; `InvalidArgument` for a range outside it.
    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes>;

    /// The length of an object in bytes.
    ///
    /// # Errors
    /// `NotFound` if there is no such object.
    async fn size(&self, key: &Key) -> Result<u64>;

    /// The objects whose key is `prefix` or lies below it (`prefix/…`), in any order.
    fn list<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, Result<Entry>>;

    /// Deletes an object; one that is not there is fine.
    ///
    /// # Errors
    /// `PermissionDenied` where the store protects it.
    async fn delete(&self, key: &Key) -> Result<()>;

    /// The store as one that can lock objects and keeps what was overwritten or deleted, if it can. Whether it is set up to do so is
    /// another question; see [`Immutable::protection`].
    fn immutable(&self) -> Option<&dyn Immutable> {
        None
    }
}

/// The answer of [`Store::create`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Created {
    /// The object was created by this call.
    New,
    /// The name was taken; nothing was changed.
    AlreadyPresent,
}

/// One object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Its name.
    pub key: Key,
    /// Its length in bytes.
    pub size: u64,
    /// When it was created, by the store's clock, if the store says so. Says when things may be tidied up, never whether something is safe.
    pub modified: Option<Timestamp>,
}

impl Entry {
    /// An object of this name and length.
    #[must_use]
    pub const fn new(key: Key, size: u64) -> Self {
        Self { key, size, modified: None }
    }

    /// The same with the time of its creation.
    #[must_use]
    pub const fn with_modified(mut self, modified: Timestamp) -> Self {
        self.modified = Some(modified);
        self
    }
}

/// An object's name: one or more segments joined by `/`, each of 1 to 64 characters `a-z 0-9 - _ .`, none of them `.`
/// or `..`; valid on every file system and object store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// Checks and takes the name.
    ///
    /// # Errors
    /// `InvalidArgument` if it is not of the form above.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let good = |segment: &str| {
            (1..=64).contains(&segment.len())
                && segment != "."
                && segment != ".."
                && segment.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'))
        };
        if name.len() > 255 || !name.split('/').all(good) {
            return Err(Error::invalid("not an object name").with_item(name));
        }
        Ok(Self(name))
    }

    /// The name of an engine object, which is known to be well formed.
    pub(crate) fn known(name: String) -> Self {
        debug_assert!(Self::new(name.clone()).is_ok(), "{name}");
        Self(name)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this key is `prefix` or lies below it.
    #[must_use]
    pub fn is_below(&self, prefix: &Self) -> bool {
        self.0.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_could_escape_are_refused() {
        for name in ["", "/", "a/", "/a", "a//b", ".", "a/..", "A", "a b", "ä", "a\\b", &"x".repeat(65)] {
            assert!(Key::new(name).is_err(), "{name}");
        }
        assert!(Key::new("pack/ab/abcd.0").is_ok());
    }

    #[test]
    fn below_means_whole_segments() {
        let key = |name: &str| Key::new(name).unwrap();
        assert!(key("log/1").is_below(&key("log")) && key("log").is_below(&key("log")));
        assert!(!key("logs/1").is_below(&key("log")));
    }
}
