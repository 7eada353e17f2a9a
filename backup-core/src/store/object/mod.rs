//! A store over any implementation of the `object_store` crate: S3, Azure Blob, Google Cloud Storage, local disk ...
//!
//! The crate is built without its default features here, so this feature alone brings no runtime and no network stack;
//! `fs`, `s3`, `azure` and `gcs` add what they need. Their clients want to be polled inside a tokio runtime; local disk
//! and memory work under any executor: local disk is read and written on threads of its own.
//!
//! What the crate leaves open and this adapter settles: docs/decisions/0003-object-store.md.

#[cfg(feature = "azure")]
mod azure;
#[cfg(feature = "fs")]
mod disk;
mod error;
#[cfg(any(feature = "s3", feature = "azure"))]
mod locks;
#[cfg(feature = "s3")]
mod s3;
mod url;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use ::object_store::path::Path;
use ::object_store::{
    Extensions, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    PutPayload,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
#[cfg(feature = "fs")]
use futures_util::FutureExt;
use futures_util::{StreamExt, TryStreamExt};

use self::error::convert;
use super::{Created, Entry, Key, Store};
use crate::error::{Error, ErrorKind, Result};
#[cfg(feature = "fs")]
use crate::threads::ThreadPool;
use crate::time::Timestamp;

#[cfg(feature = "fs")]
pub use self::disk::remove_leftovers;
pub use self::url::from_url;
/// The crate whose trait [`ObjectStoreAdapter`] takes.
pub use ::object_store;

/// Makes a [`Store`] of an `object_store` implementation.
///
/// The implementation must support `PutMode::Create`; on S3 that is conditional put, which [`from_url`] switches on. For
/// local disk use [`from_url`] or [`on_disk`](Self::on_disk): a bare `LocalFileSystem` does not flush what it writes.
#[derive(Clone)]
pub struct ObjectStoreAdapter {
    inner: Arc<dyn ObjectStore>,
    prefix: Path,
    #[cfg(feature = "fs")]
    disk: Option<Arc<disk::Disk>>,
    #[cfg(any(feature = "s3", feature = "azure"))]
    locks: Option<locks::Locks>,
}

impl ObjectStoreAdapter {
    /// The objects below `prefix` (`backups/tenant-7`, or nothing for all) of `inner`.
    ///
    /// # Errors
    /// `InvalidArgument` if the prefix is not a path of that crate.
    pub fn new(inner: Arc<dyn ObjectStore>, prefix: &str) -> Result<Self> {
        let prefix = Path::parse(prefix).map_err(|error| {
            Error::invalid("not a prefix of objects").with_item(prefix).with_source(error)
        })?;
        Ok(Self {
            inner,
            prefix,
            #[cfg(feature = "fs")]
            disk: None,
            #[cfg(any(feature = "s3", feature = "azure"))]
            locks: None,
        })
    }

    /// The files below a folder on local disk, which is created if it is missing.
    ///
    /// What was acknowledged survives a power loss, as far as the disk keeps its word; the file system must have hard
    /// links. A deletion is not flushed: after a power loss a deleted object may be back.
    ///
    /// # Errors
    /// If the folder cannot be created or opened.
    #[cfg(feature = "fs")]
    pub fn on_disk(folder: impl AsRef<std::path::Path>) -> Result<Self> {
        let disk = disk::Disk::open(folder.as_ref())?;
        let mut adapter = Self::new(disk.store()?, "")?;
        adapter.disk = Some(Arc::new(disk));
        Ok(adapter)
    }

    fn path(&self, key: &Key) -> Result<Path> {
        let whole = match self.prefix.as_ref() {
            "" => key.as_str().to_owned(),
            prefix => format!("{prefix}/{key}"),
        };
        Path::parse(whole).map_err(|error| Error::invalid("not an object name").with_source(error))
    }

    /// The key of a listed object; none for what others keep here under names that are not keys.
    fn key(prefix: &Path, location: &Path) -> Option<Key> {
        let name = location.as_ref().strip_prefix(prefix.as_ref())?;
        Key::new(name.strip_prefix('/').unwrap_or(name)).ok()
    }

    async fn length(&self, path: &Path, key: &Key, version: Option<&str>) -> Result<u64> {
        let options = GetOptions::new().with_head(true).with_version(version.map(str::to_owned));
        let answer = self.inner.get_opts(path, options).await;
        Ok(answer.map_err(|error| convert("cannot look at the object", key, error))?.meta.size)
    }

    async fn read_range(
        &self,
        path: &Path,
        key: &Key,
        version: Option<&str>,
        range: Range<u64>,
    ) -> Result<Bytes> {
        let outside = || Error::invalid("range lies outside the object").with_item(key.as_str());
        if range.start > range.end {
            return Err(outside());
        }
        if range.is_empty() {
            // Services refuse to answer with nothing, so the question is asked in another way.
            return if range.end <= self.length(path, key, version).await? {
                Ok(Bytes::new())
            } else {
                Err(outside())
            };
        }
        let options = GetOptions::new()
            .with_range(Some(GetRange::Bounded(range.clone())))
            .with_version(version.map(str::to_owned));
        let answer = match self.inner.get_opts(path, options).await {
            Ok(answer) => answer,
            Err(error) => {
                let error = convert("cannot read the object", key, error);
                // A start beyond the end is refused by every service in words of its own.
                let unclear = !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied);
                return match self.length(path, key, version).await {
                    Ok(length) if unclear && range.end > length => Err(outside()),
                    _ => Err(error),
                };
            }
        };
        if range.end > answer.meta.size {
            return Err(outside());
        }
        let bytes = answer.bytes().await.map_err(|error| convert("cannot read the object", key, error))?;
        complete(bytes, range.end - range.start, key)
    }

    async fn read_as(&self, key: &Key, version: Option<&str>, range: Option<Range<u64>>) -> Result<Bytes> {
        let path = self.path(key)?;
        if let Some(range) = range {
            return self.read_range(&path, key, version, range).await;
        }
        let wrong = |error| convert("cannot read the object", key, error);
        let options = GetOptions::new().with_version(version.map(str::to_owned));
        let answer = self.inner.get_opts(&path, options).await.map_err(wrong)?;
        let length = answer.meta.size;
        complete(answer.bytes().await.map_err(wrong)?, length, key)
    }

    async fn size_of(&self, key: &Key) -> Result<u64> {
        self.length(&self.path(key)?, key, None).await
    }

    async fn remove(&self, key: &Key) -> Result<()> {
        let path = self.path(key)?;
        match self.inner.delete(&path).await.map_err(|error| convert("cannot delete the object", key, error))
        {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    async fn put(&self, key: &Key, data: Bytes, extensions: Extensions) -> Result<Created> {
        let path = self.path(key)?;
        let options = PutOptions { extensions, ..PutOptions::from(PutMode::Create) };
        let created = match self.inner.put_opts(&path, PutPayload::from(data), options).await {
            Ok(_) => Created::New,
            Err(error) => {
                let error = convert("cannot create the object", key, error);
                if error.kind() != ErrorKind::AlreadyExists {
                    return Err(error);
                }
                // S3 answers "conflict" also while somebody else is still creating or deleting the name, so whether it
                // is taken has to be seen.
                match self.length(&path, key, None).await {
                    Ok(_) => Created::AlreadyPresent,
                    Err(absent) if absent.kind() == ErrorKind::NotFound => {
                        let message = "another request for the same name is under way";
                        return Err(Error::new(ErrorKind::Unavailable, message)
                            .with_item(key.as_str())
                            .with_source(error));
                    }
                    Err(other) => return Err(other),
                }
            }
        };
        #[cfg(feature = "fs")]
        if let Some(disk) = &self.disk {
            disk.settle(key, created)?;
        }
        Ok(created)
    }

    /// Does something at the local disk on a thread of the disks' own, so that whoever polls goes on meanwhile.
    #[cfg(feature = "fs")]
    async fn at_disk<T, F>(&self, threads: &ThreadPool, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(Self) -> Option<Result<T>> + Send + 'static,
    {
        let this = self.clone();
        let done = threads.run(move || work(this)).await?;
        // There the crate knows no runtime, and so does everything at once.
        done.unwrap_or_else(|| Err(Error::bug("local disk is waited for on its own thread")))
    }

    /// What the crate lists below a prefix.
    fn list_below(&self, path: Path, prefix: &Key) -> BoxStream<'static, Result<ObjectMeta>> {
        let (inner, prefix) = (Arc::clone(&self.inner), prefix.clone());
        let list = move || {
            let wrong = move |error| convert("cannot list objects", &prefix, error);
            inner.list(Some(&path)).map_err(wrong).boxed()
        };
        #[cfg(feature = "fs")]
        if self.disk.is_some() {
            return disk::on_threads(list);
        }
        list()
    }
}

/// Refuses an answer that is not as long as it should be: a cut connection is no end of an object.
fn complete(bytes: Bytes, length: u64, key: &Key) -> Result<Bytes> {
    if bytes.len() as u64 == length {
        return Ok(bytes);
    }
    let message = format!("store answered with {} bytes instead of {length}", bytes.len());
    Err(Error::new(ErrorKind::Unavailable, message).with_item(key.as_str()))
}

impl fmt::Debug for ObjectStoreAdapter {
    /// Names the place, never the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectStoreAdapter({}, {:?})", self.inner, self.prefix.as_ref())
    }
}

#[async_trait]
impl Store for ObjectStoreAdapter {
    async fn create(&self, key: &Key, data: Bytes) -> Result<Created> {
        #[cfg(feature = "fs")]
        if self.disk.is_some() {
            let key = key.clone();
            let put = move |this: Self| this.put(&key, data, Extensions::new()).now_or_never();
            return self.at_disk(&disk::WRITERS, put).await;
        }
        self.put(key, data, Extensions::new()).await
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        #[cfg(feature = "fs")]
        if self.disk.is_some() {
            let key = key.clone();
            let read = move |this: Self| this.read_as(&key, None, range).now_or_never();
            return self.at_disk(&disk::READERS, read).await;
        }
        self.read_as(key, None, range).await
    }

    async fn size(&self, key: &Key) -> Result<u64> {
        #[cfg(feature = "fs")]
        if self.disk.is_some() {
            let key = key.clone();
            let look = move |this: Self| this.size_of(&key).now_or_never();
            return self.at_disk(&disk::READERS, look).await;
        }
        self.size_of(key).await
    }

    fn list<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, Result<Entry>> {
        let path = match self.path(prefix) {
            Ok(path) => path,
            Err(error) => return Box::pin(futures_util::stream::iter([Err(error)])),
        };
        // The crate lists what lies below a prefix; an object of just that name has to be asked for, meanwhile.
        let itself = async move {
            match self.size(prefix).await {
                Ok(size) => Some(Ok(Entry::new(prefix.clone(), size))),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => Some(Err(error)),
            }
        };
        let below = self.list_below(path, prefix).filter_map(move |listed| {
            let entry = match listed {
                Ok(meta) => Self::key(&self.prefix, &meta.location)
                    .filter(|key| key != prefix && key.is_below(prefix))
                    .map(|key| {
                        let (seconds, nanos) =
                            (meta.last_modified.timestamp(), meta.last_modified.timestamp_subsec_nanos());
                        Ok(Entry::new(key, meta.size).with_modified(Timestamp::new(seconds, nanos)))
                    }),
                Err(error) => Some(Err(error)),
            };
            std::future::ready(entry)
        });
        let itself = futures_util::stream::once(itself).filter_map(std::future::ready);
        Box::pin(futures_util::stream::select(itself, below))
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        #[cfg(feature = "fs")]
        if self.disk.is_some() {
            let key = key.clone();
            return self.at_disk(&disk::WRITERS, move |this| this.remove(&key).now_or_never()).await;
        }
        self.remove(key).await
    }

    #[cfg(any(feature = "s3", feature = "azure"))]
    fn immutable(&self) -> Option<&dyn super::Immutable> {
        self.locks.is_some().then_some(self as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::object_store::memory::InMemory;
    use futures_executor::block_on;

    #[test]
    fn foreign_objects_are_neither_listed_nor_in_the_way() {
        let inner = Arc::new(InMemory::new());
        let store = ObjectStoreAdapter::new(Arc::clone(&inner) as _, "backups/one").unwrap();
        let key = Key::new("log/1").unwrap();
        block_on(async {
            for name in ["backups/one/log/Not A Key", "backups/one-more/log/1", "log/1"] {
                inner.put(&Path::from(name), "foreign".into()).await.unwrap();
            }
            assert_eq!(store.create(&key, Bytes::from_static(b"ours")).await.unwrap(), Created::New);
            let prefix = Key::new("log").unwrap();
            let listed: Vec<_> = store.list(&prefix).map(|entry| entry.unwrap().key).collect().await;
            assert_eq!(listed, [key]);
        });
    }

    #[test]
    fn a_prefix_that_is_no_path_is_refused() {
        for prefix in ["a//b", "a/../b", "a/./b"] {
            let refused = ObjectStoreAdapter::new(Arc::new(InMemory::new()), prefix);
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidArgument, "{prefix}");
        }
    }
}
