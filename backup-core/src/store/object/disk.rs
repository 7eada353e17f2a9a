//! What local disk needs beyond the `object_store` crate so that an acknowledged object survives a power loss.
//!
//! With `with_fsync` the crate flushes the staged file, links it under its name, flushes the folder, and flushes the
//! folders that this call has created. Left to us: the repository's own folder, folders that somebody else has created
//! and perhaps not flushed, and objects that somebody else has linked and perhaps not flushed when we find them present.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use ::object_store::ObjectStore;
use ::object_store::local::LocalFileSystem;
use futures_core::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};

use super::{Created, Key};
use crate::error::{Error, Result};
use crate::threads::ThreadPool;

/// Deepest folder that a key can name, for the sweep.
const DEPTH_MAX: usize = 128;
/// Threads of each kind: one flush must not hold up all others, and a disk likes to choose among several reads.
const THREADS: usize = 4;
/// Objects that a thread lists in one go.
const LISTED: usize = 1_000;

/// Threads that write objects and flush them, and delete them; shared by all disks of this process.
pub(super) static WRITERS: LazyLock<ThreadPool> = LazyLock::new(|| ThreadPool::new("backup-disk-w", THREADS));
/// Threads that read: nobody who reads waits for a flush.
pub(super) static READERS: LazyLock<ThreadPool> = LazyLock::new(|| ThreadPool::new("backup-disk-r", THREADS));

/// What `list` lists of a local disk, made and driven on by the readers, a batch at a time.
pub(super) fn on_threads<T, F>(list: F) -> BoxStream<'static, Result<T>>
where
    T: Send + 'static,
    F: FnOnce() -> BoxStream<'static, Result<T>> + Send + 'static,
{
    enum State<F, T> {
        Begin(F),
        Listing(BoxStream<'static, Result<T>>),
        Failed,
    }
    let batches = futures_util::stream::unfold(State::Begin(list), |state| async {
        let batch = READERS.run(move || {
            // A listing that begins here knows no runtime, and so has its next object at once.
            let mut listed = match state {
                State::Begin(list) => list(),
                State::Listing(listed) => listed,
                State::Failed => return None,
            };
            let next = || {
                let pending = || Some(Err(Error::bug("local disk is waited for on its own thread")));
                listed.next().now_or_never().unwrap_or_else(pending)
            };
            let batch: Vec<_> = std::iter::from_fn(next).take(LISTED).collect();
            (!batch.is_empty()).then_some((batch, State::Listing(listed)))
        });
        batch.await.unwrap_or_else(|error| Some((vec![Err(error)], State::Failed)))
    });
    batches.flat_map(futures_util::stream::iter).boxed()
}

#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    /// Folders whose own entry is known to be on disk.
    settled: Mutex<HashSet<String>>,
}

impl Disk {
    pub(super) fn open(folder: &Path) -> Result<Self> {
        let wrong = |what: &str, error: std::io::Error| {
            Error::new(Error::from(std::io::Error::from(error.kind())).kind(), what)
                .with_item(folder.display().to_string())
                .with_source(error)
        };
        let absolute = std::path::absolute(folder).map_err(|error| wrong("not a path", error))?;
        let missing: Vec<&Path> = absolute.ancestors().take_while(|above| !above.exists()).collect();
        std::fs::create_dir_all(&absolute).map_err(|error| wrong("cannot create the folder", error))?;
        for created in &missing {
            let above = created.parent().unwrap_or(created);
            flush(above).map_err(|error| wrong("cannot flush the folder above", error))?;
        }
        let root = absolute.canonicalize().map_err(|error| wrong("cannot open the folder", error))?;
        flush(&root).map_err(|error| wrong("cannot flush the folder", error))?;
        // Perhaps created a moment ago by somebody else; but the folder above need not be ours to read.
        root.parent().map(flush);
        Ok(Self { root, settled: Mutex::default() })
    }

    pub(super) fn store(&self) -> Result<Arc<dyn ObjectStore>> {
        let store = LocalFileSystem::new_with_prefix(&self.root).map_err(|error| {
            Error::invalid("not a folder").with_item(self.root.display().to_string()).with_source(error)
        })?;
        Ok(Arc::new(store.with_fsync(true)))
    }

    /// Makes sure that an object that was created, or found present, stays: flushes what others may have left open.
    pub(super) fn settle(&self, key: &Key, created: Created) -> Result<()> {
        let folder = key.as_str().rsplit_once('/').map_or("", |(folder, _)| folder);
        let wrong = |error: std::io::Error| {
            let kind = Error::from(std::io::Error::from(error.kind())).kind();
            Error::new(kind, "cannot flush the folder of the object")
                .with_item(key.as_str())
                .with_source(error)
        };
        if created == Created::AlreadyPresent {
            // Its creator flushed the bytes before it linked the name, but may not have flushed the name yet.
            flush(&self.root.join(folder)).map_err(wrong)?;
        }
        if folder.is_empty() || self.lock().contains(folder) {
            return Ok(());
        }
        let mut below = folder;
        loop {
            let above = below.rsplit_once('/').map_or("", |(above, _)| above);
            flush(&self.root.join(above)).map_err(wrong)?;
            if above.is_empty() {
                break;
            }
            below = above;
        }
        self.lock().insert(folder.to_owned());
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Flushes the entries of a folder. Where folders cannot be flushed (Windows), the file system's journal has to do.
fn flush(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) { std::fs::File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Removes what interrupted writes have left in a repository on local disk, and returns how many files that were.
///
/// An object is written as `name#1` and linked under its name when it is complete. A crash in between leaves such a file;
/// it is never listed and never read, it only takes space. Files younger than `age` stay: they may still be written.
/// Choose a day. (A write that is disturbed all the same fails and is repeated; nothing acknowledged is lost.)
///
/// # Errors
/// If the folder or one below it cannot be listed, or a file cannot be removed.
pub fn remove_leftovers(folder: impl AsRef<Path>, age: Duration) -> Result<u64> {
    sweep(folder.as_ref(), age, DEPTH_MAX)
}

fn sweep(folder: &Path, age: Duration, depth: usize) -> Result<u64> {
    let mut removed = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() && depth > 0 {
            removed += sweep(&entry.path(), age, depth - 1)?;
        } else if kind.is_file() && entry.file_name().to_str().is_some_and(is_leftover) {
            let modified = entry.metadata()?.modified()?;
            let old = SystemTime::now().duration_since(modified).is_ok_and(|since| since >= age);
            if old {
                match std::fs::remove_file(entry.path()) {
                    Ok(()) => removed += 1,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
    Ok(removed)
}

/// Whether a file is called like a staged object: a key's last segment, `#` and a number.
fn is_leftover(name: &str) -> bool {
    name.rsplit_once('#').is_some_and(|(object, number)| {
        Key::new(object).is_ok() && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{ObjectStoreAdapter, Store};
    use bytes::Bytes;
    use futures_executor::block_on;

    #[test]
    fn leftovers_of_a_crash_are_invisible_harmless_and_removable() {
        let folder = tempfile::tempdir().unwrap();
        let store = ObjectStoreAdapter::on_disk(folder.path().join("new/repository")).unwrap();
        let root = folder.path().join("new/repository");
        std::fs::create_dir_all(root.join("pack/ab")).unwrap();
        std::fs::write(root.join("pack/ab/one#1"), "half").unwrap();
        std::fs::write(root.join("pack/ab/notes#draft"), "not ours").unwrap();
        let (key, prefix) = (Key::new("pack/ab/one").unwrap(), Key::new("pack").unwrap());
        let list = || block_on(store.list(&prefix).map(|entry| entry.unwrap().key).collect::<Vec<_>>());
        assert!(list().is_empty());
        assert_eq!(block_on(store.create(&key, Bytes::from_static(b"whole"))).unwrap(), Created::New);
        assert_eq!(list(), std::slice::from_ref(&key));
        assert_eq!(remove_leftovers(&root, Duration::from_secs(3_600)).unwrap(), 0, "too young");
        assert_eq!(remove_leftovers(&root, Duration::ZERO).unwrap(), 1);
        assert_eq!(block_on(store.read(&key, None)).unwrap(), "whole");
        let left: Vec<_> =
            std::fs::read_dir(root.join("pack/ab")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "no staging file stays after an ordinary write: {left:?}");
    }

    /// The write goes on without whoever asked for it.
    #[test]
    fn what_nobody_waits_for_is_there_in_full_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let store = ObjectStoreAdapter::on_disk(folder.path()).unwrap();
        let (key, data) = (Key::new("pack/ab/one").unwrap(), Bytes::from(vec![7; 8 << 20]));
        drop(store.create(&key, data.clone()).now_or_never());
        // It is there already, or this one comes first.
        block_on(store.create(&key, data.clone())).unwrap();
        assert_eq!(block_on(store.read(&key, None)).unwrap(), data);
    }

    /// Bug: a listing that was asked for inside tokio ended in a panic of a disk's thread, which knows no runtime.
    #[test]
    fn more_than_a_batch_is_listed_inside_a_runtime_and_outside() {
        let folder = tempfile::tempdir().unwrap();
        let store = ObjectStoreAdapter::on_disk(folder.path()).unwrap();
        std::fs::create_dir(folder.path().join("log")).unwrap();
        for number in 0..=LISTED {
            std::fs::write(folder.path().join(format!("log/{number}")), [1]).unwrap();
        }
        let prefix = Key::new("log").unwrap();
        let list = || store.list(&prefix).map(|entry| entry.unwrap().key).collect::<HashSet<_>>();
        let (outside, runtime) = (block_on(list()), tokio::runtime::Runtime::new().unwrap());
        assert_eq!(outside.len(), LISTED + 1);
        assert_eq!(runtime.block_on(list()), outside);
    }

    #[test]
    fn an_object_with_the_name_of_a_folder_is_no_object() {
        let folder = tempfile::tempdir().unwrap();
        let store = ObjectStoreAdapter::on_disk(folder.path()).unwrap();
        std::fs::create_dir(folder.path().join("pack")).unwrap();
        let error = block_on(store.size(&Key::new("pack").unwrap())).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::NotFound);
        assert!(block_on(store.create(&Key::new("pack").unwrap(), Bytes::new())).is_err());
    }
}
