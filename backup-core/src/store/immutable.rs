//! Objects that nobody can delete before their time, and the store as it was: the seam to S3 Object Lock and its like.
//!
//! A store that implements [`Immutable`] keeps every version of an object. Deleting a name only hides it; deleting a version frees its room,
//! and is refused while the version is locked. [`as_of`] makes an ordinary, read-only [`Store`] of what there was at a time.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::lock::Mutex;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Created, Entry, Key, Store};
use crate::error::{Error, ErrorKind, Result};
use crate::time::Timestamp;

/// A [`Store`] that can lock objects and keeps what was overwritten or deleted. The suite `testkit::immutable` checks an implementation.
///
/// A lock is one that nobody can lift or shorten before it ends, the owner of the account included ("compliance" with S3, "locked" with Azure).
#[async_trait]
pub trait Immutable: Store {
    /// What the store is set up to do, as it is now.
    ///
    /// # Errors
    /// `PermissionDenied` where the right to ask is missing.
    async fn protection(&self) -> Result<Protection>;

    /// [`Store::create`] with a lock that is set by the same request: there is no moment without.
    ///
    /// # Errors
    /// As [`Store::create`]; what the store reports if it cannot lock.
    async fn create_locked(&self, key: &Key, data: Bytes, until: Timestamp) -> Result<Created>;

    /// Locks a version (the newest if none is given) at least until then. One that is locked for longer stays so.
    ///
    /// # Errors
    /// `NotFound` if it is not there. If it is hidden and no version was given, services differ: `NotFound`, or what was hidden is locked.
    async fn extend(&self, key: &Key, version: Option<&str>, until: Timestamp) -> Result<()>;

    /// Until when a version (the newest if none is given) is locked by a lock that nobody can lift.
    ///
    /// # Errors
    /// `NotFound` if it is not there, or hidden and no version was given.
    async fn locked_until(&self, key: &Key, version: Option<&str>) -> Result<Option<Timestamp>>;

    /// All versions of the objects whose key is `prefix` or lies below it, and the markers that hide them, in any order.
    fn versions<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, Result<Version>>;

    /// [`Store::read`] of one version.
    ///
    /// # Errors
    /// As [`Store::read`].
    async fn read_version(&self, key: &Key, version: &str, range: Option<Range<u64>>) -> Result<Bytes>;

    /// Deletes a version or marker for good; one that is not there is fine.
    ///
    /// # Errors
    /// `PermissionDenied` while it is locked.
    async fn delete_version(&self, key: &Key, version: &str) -> Result<()>;
}

impl dyn Immutable + '_ {
    /// Deletes all versions of an object for good.
    ///
    /// # Errors
    /// `PermissionDenied` while one of them is locked: then the object is still there and not hidden.
    pub(crate) async fn delete_all_versions(&self, key: &Key) -> Result<()> {
        let mut all: Vec<Version> = self.versions(key).try_collect().await?;
        all.retain(|version| version.key == *key);
        // What hides the object goes last: if the object stays, so does the rest.
        all.sort_by_key(|version| version.hides);
        for version in all {
            self.delete_version(key, &version.id).await?;
        }
        Ok(())
    }
}

/// What a store does with what is written to it, as its owner has set it up.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Protection {
    /// It keeps what is overwritten or deleted as versions.
    pub versioning: bool,
    /// Its objects can be locked.
    pub locking: bool,
    /// The lock that objects get which ask for none.
    pub default: Option<DefaultLock>,
}

/// The lock that a store gives to objects which ask for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct DefaultLock {
    /// How hard it is to lift.
    pub mode: LockMode,
    /// How long it lasts.
    pub period: Duration,
}

/// How hard a lock is to lift.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub enum LockMode {
    /// Nobody can, before it ends.
    Compliance,
    /// Whoever has a certain right can: a stolen administrator's account is enough.
    Governance,
}

impl Protection {
    /// A store that does this, without a default lock.
    #[must_use]
    pub const fn new(versioning: bool, locking: bool) -> Self {
        Self { versioning, locking, default: None }
    }

    /// The same with a default lock.
    #[must_use]
    pub const fn with_default(mut self, mode: LockMode, period: Duration) -> Self {
        self.default = Some(DefaultLock { mode, period });
        self
    }

    /// What is too weak about it for locks of this length.
    pub(crate) fn weakness(&self, period: Duration) -> Option<&'static str> {
        match self.default {
            _ if !self.versioning => Some("the store does not keep versions"),
            _ if !self.locking => Some("the store does not lock objects"),
            Some(lock) if lock.mode == LockMode::Governance => {
                Some("the store's default lock can be lifted (governance mode)")
            }
            Some(lock) if lock.period < period => {
                Some("the store's default lock is shorter than the repository's policy")
            }
            _ => None,
        }
    }
}

/// One version of an object, or a marker that hides the versions before it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Version {
    /// The object's name.
    pub key: Key,
    /// The store's name for the version.
    pub id: String,
    /// Its length in bytes; 0 for a marker.
    pub size: u64,
    /// When it was created, by the store's clock.
    pub created: Timestamp,
    /// It is no content, but says that the object has been deleted.
    pub hides: bool,
}

impl Version {
    /// A version with content.
    #[must_use]
    pub fn new(key: Key, id: impl Into<String>, size: u64, created: Timestamp) -> Self {
        Self { key, id: id.into(), size, created, hides: false }
    }

    /// A marker that hides what was there before.
    #[must_use]
    pub fn marker(key: Key, id: impl Into<String>, created: Timestamp) -> Self {
        Self { key, id: id.into(), size: 0, created, hides: true }
    }
}

/// The store as it was: of each name the newest version with content that existed at `time`, whatever hides it, then or since.
///
/// What was deleted for good is not in it. Reading takes one listing of versions for each first segment of the names, when it is first
/// asked for, and holds some 150 bytes for every object. Writing is refused with `PermissionDenied`.
///
/// # Errors
/// `Unsupported` for a store that is not [`Immutable`].
pub fn as_of(store: Arc<dyn Store>, time: Timestamp) -> Result<Arc<dyn Store>> {
    if store.immutable().is_none() {
        return Err(Error::new(ErrorKind::Unsupported, "the store does not keep what was deleted"));
    }
    Ok(Arc::new(AsOf { store, time, listed: Mutex::default() }))
}

type Listed = Arc<HashMap<Key, Version>>;

struct AsOf {
    store: Arc<dyn Store>,
    time: Timestamp,
    /// By the first segment of the names.
    listed: Mutex<HashMap<String, Listed>>,
}

impl AsOf {
    fn immutable(&self) -> Result<&dyn Immutable> {
        self.store.immutable().ok_or_else(|| Error::bug("a store has forgotten its versions"))
    }

    async fn listed(&self, key: &Key) -> Result<Listed> {
        let first = key.as_str().split('/').next().unwrap_or_default();
        // Held while it is listed, so that it is listed once.
        let mut all = self.listed.lock().await;
        if let Some(listed) = all.get(first) {
            return Ok(Arc::clone(listed));
        }
        let prefix = Key::known(first.to_owned());
        let (mut listed, mut versions) =
            (HashMap::<Key, Version>::new(), self.immutable()?.versions(&prefix));
        while let Some(version) = versions.try_next().await? {
            if version.hides || version.created > self.time {
                continue;
            }
            if listed.get(&version.key).is_none_or(|other| other.created <= version.created) {
                listed.insert(version.key.clone(), version);
            }
        }
        let listed = Arc::new(listed);
        all.insert(first.to_owned(), Arc::clone(&listed));
        Ok(listed)
    }

    async fn find(&self, key: &Key) -> Result<Version> {
        let listed = self.listed(key).await?;
        let found = listed.get(key).cloned();
        found.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "there was no such object then").with_item(key.as_str())
        })
    }
}

fn read_only(key: &Key) -> Error {
    Error::new(ErrorKind::PermissionDenied, "a store as it was cannot be written to").with_item(key.as_str())
}

impl fmt::Debug for AsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} as of {}", self.store, self.time)
    }
}

#[async_trait]
impl Store for AsOf {
    async fn create(&self, key: &Key, _data: Bytes) -> Result<Created> {
        Err(read_only(key))
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        let version = self.find(key).await?;
        self.immutable()?.read_version(key, &version.id, range).await
    }

    async fn size(&self, key: &Key) -> Result<u64> {
        Ok(self.find(key).await?.size)
    }

    fn list<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, Result<Entry>> {
        let listed = async move {
            let listed = self.listed(prefix).await?;
            let mut entries: Vec<Entry> = listed
                .values()
                .filter(|version| version.key.is_below(prefix))
                .map(|version| Entry::new(version.key.clone(), version.size).with_modified(version.created))
                .collect();
            entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
            Ok::<_, Error>(stream::iter(entries.into_iter().map(Ok)))
        };
        stream::once(listed).try_flatten().boxed()
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        Err(read_only(key))
    }
}
