//! The seam behind which index runs outlive the program that made them.

use std::fmt;
use std::io;

use bytes::Bytes;

use crate::error::Result;

/// Keeps what the engine has worked out from the repository's index, so that the next opening need not read it again. See
/// [`Options::index_cache`](crate::Options::index_cache).
///
/// Nothing in it is needed: what is missing, damaged or out of date is made anew from the store. Nothing in it is believed either: every
/// block is checked against keys that only the repository's key slot gives before it is used. It tells a reader of the disk
/// how many chunks the repository has, and nothing of their content.
///
/// All calls block and run on workers. Several programs may use one cache; names differ between repositories.
pub trait IndexCache: Send + Sync + fmt::Debug {
    /// Names of all entries, in any order.
    ///
    /// # Errors
    /// `Io` if the cache cannot be listed; the engine then goes on without it.
    fn names(&self) -> Result<Vec<String>>;

    /// The bytes of an entry, best mapped instead of read; none if there is no such entry.
    ///
    /// # Errors
    /// `Io` if it cannot be read; the engine then makes it anew.
    fn load(&self, name: &str) -> Result<Option<Bytes>>;

    /// Begins an entry. It is there once it is finished, and not before; an older one of that name is replaced.
    ///
    /// # Errors
    /// `Io` or `OutOfSpace`; the engine then keeps the bytes in memory.
    fn create(&self, name: &str) -> Result<Box<dyn CacheEntry>>;

    /// Removes an entry. Bytes that were loaded before stay readable.
    ///
    /// # Errors
    /// `Io` if it cannot be removed; that it is not there is no error.
    fn remove(&self, name: &str) -> Result<()>;
}

/// An entry that is being written. Dropped unfinished, it leaves nothing behind.
pub trait CacheEntry: io::Write + Send {
    /// Makes it the entry of its name, and gives back its bytes as [`IndexCache::load`] would.
    ///
    /// # Errors
    /// `Io` or `OutOfSpace`; there is no such entry then.
    fn finish(self: Box<Self>) -> Result<Bytes>;
}
