//! The store suite: passed by every store here, failed by stores that lie.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use backup_core::store::{MemoryStore, ObjectStoreAdapter, from_url, object_store};
use backup_core::testkit::FaultyStore;
use backup_core::testkit::store::conformance;
use backup_core::{Created, Entry, Error, ErrorKind, Key, Result, Store};
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_executor::block_on;
use futures_util::StreamExt;

#[test]
fn memory_keeps_every_promise_also_behind_pointers() {
    block_on(async {
        let store = MemoryStore::new();
        conformance(&store).await.unwrap();
        assert!(store.objects().is_empty(), "the suite cleans up");
        let boxed: Box<dyn Store> = Box::new(store.clone());
        conformance(&*boxed).await.unwrap();
        let shared: Arc<dyn Store> = Arc::new(store);
        conformance(&*shared).await.unwrap();
        conformance(&FaultyStore::new(shared)).await.unwrap();
    });
}

#[test]
fn object_stores_keep_every_promise() {
    for prefix in ["", "some/prefix"] {
        let inner = Arc::new(object_store::memory::InMemory::new());
        let store = ObjectStoreAdapter::new(inner, prefix).unwrap();
        block_on(conformance(&store)).unwrap();
    }
}

#[test]
fn local_disk_keeps_every_promise_without_a_runtime() {
    // In memory where there is such a disk: flushing a thousand small objects one by one takes a while on a real one.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let url = format!("file://{}/a%20new/folder", folder.path().display());
    let store = from_url(&url, [("", ""); 0]).unwrap();
    block_on(conformance(&*store)).unwrap();
    // A second suite finds the folders there already, as another process would.
    let path = folder.path().join("a new/folder");
    block_on(conformance(&*from_url(path.to_str().unwrap(), [("", ""); 0]).unwrap())).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn local_disk_keeps_every_promise_inside_tokio() {
    let folder = tempfile::tempdir().unwrap();
    let store = ObjectStoreAdapter::on_disk(folder.path()).unwrap();
    conformance(&store).await.unwrap();
}

/// Ways to break a promise, each with a word of the promise that is broken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Lie {
    OverwritesOnCreate,
    LooksThenWrites,
    SaysNewTwice,
    CutsRanges,
    IgnoresRanges,
    ReportsPaddedSize,
    ListsOnePage,
    ListsByCharacters,
    ListsWithoutSizes,
    FailsToDeleteMissing,
    KeepsDeleted,
    LosesEmptyObjects,
    AnswersMissingAsUnavailable,
    AnswersMissingAsForbidden,
    ShowsWhatNobodyCreated,
    TruncatesLargeObjects,
}

#[derive(Debug)]
pub(super) struct Liar {
    pub(super) inner: MemoryStore,
    pub(super) lie: Lie,
}

/// Lets other futures go first.
struct Yield(bool);

impl Future for Yield {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

#[async_trait]
impl Store for Liar {
    async fn create(&self, key: &Key, data: Bytes) -> Result<Created> {
        let data = match self.lie {
            Lie::TruncatesLargeObjects => data.slice(..data.len().min(8 << 20)),
            _ => data,
        };
        match self.lie {
            Lie::OverwritesOnCreate => {
                let created = self.inner.create(key, data.clone()).await;
                self.inner.overwrite(key.clone(), data);
                created
            }
            Lie::LooksThenWrites => {
                if self.inner.size(key).await.is_ok() {
                    return Ok(Created::AlreadyPresent);
                }
                Yield(false).await;
                self.inner.overwrite(key.clone(), data);
                Ok(Created::New)
            }
            Lie::SaysNewTwice => self.inner.create(key, data).await.and(Ok(Created::New)),
            Lie::LosesEmptyObjects if data.is_empty() && self.inner.size(key).await.is_err() => {
                Ok(Created::New)
            }
            _ => self.inner.create(key, data).await,
        }
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        let range = match (self.lie, range) {
            (Lie::CutsRanges, Some(range)) => {
                let size = self.inner.size(key).await?;
                Some(range.start.min(size)..range.end.min(size).max(range.start.min(size)))
            }
            (Lie::IgnoresRanges, _) => None,
            (_, range) => range,
        };
        let read = self.inner.read(key, range).await;
        let hide = |error: Error| match self.lie {
            Lie::AnswersMissingAsUnavailable => Error::new(ErrorKind::Unavailable, "not now"),
            Lie::AnswersMissingAsForbidden => Error::new(ErrorKind::PermissionDenied, "not for you"),
            _ => error,
        };
        match self.lie {
            Lie::ShowsWhatNobodyCreated => read.or_else(|_| Ok(Bytes::new())),
            _ => read.map_err(hide),
        }
    }

    async fn size(&self, key: &Key) -> Result<u64> {
        let size = match self.inner.size(key).await {
            Err(_) if self.lie == Lie::AnswersMissingAsForbidden => {
                return Err(Error::new(ErrorKind::PermissionDenied, "not for you"));
            }
            size => size?,
        };
        Ok(if self.lie == Lie::ReportsPaddedSize { size.next_multiple_of(512) } else { size })
    }

    fn list<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, Result<Entry>> {
        match self.lie {
            Lie::ListsOnePage => Box::pin(self.inner.list(prefix).take(1_000)),
            Lie::ListsByCharacters => {
                let objects = self.inner.objects();
                let entries: Vec<_> = objects
                    .into_iter()
                    .filter(|(key, _)| key.as_str().starts_with(prefix.as_str()))
                    .map(|(key, data)| Ok(Entry::new(key, data.len() as u64)))
                    .collect();
                Box::pin(futures_util::stream::iter(entries))
            }
            Lie::ListsWithoutSizes => {
                Box::pin(self.inner.list(prefix).map(|entry| entry.map(|entry| Entry::new(entry.key, 0))))
            }
            _ => self.inner.list(prefix),
        }
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        match self.lie {
            Lie::FailsToDeleteMissing => {
                self.inner.size(key).await?;
            }
            // The suite has to be able to clean up what it finds.
            Lie::KeepsDeleted if key.as_str().contains("deletion") => return Ok(()),
            _ => {}
        }
        self.inner.delete(key).await
    }
}

#[test]
fn every_lie_of_a_store_is_named() {
    for (lie, word) in [
        (Lie::OverwritesOnCreate, "changes nothing"),
        (Lie::LooksThenWrites, "exactly one says New"),
        (Lie::SaysNewTwice, "AlreadyPresent"),
        (Lie::CutsRanges, "outside the object"),
        (Lie::IgnoresRanges, "range"),
        (Lie::ReportsPaddedSize, "length of the object"),
        (Lie::ListsOnePage, "names every object"),
        (Lie::ListsByCharacters, "whole segments"),
        (Lie::ListsWithoutSizes, "with its size"),
        (Lie::FailsToDeleteMissing, "not there succeeds"),
        (Lie::KeepsDeleted, "is gone"),
        (Lie::LosesEmptyObjects, "reads back"),
        (Lie::AnswersMissingAsUnavailable, "is NotFound"),
        (Lie::AnswersMissingAsForbidden, "is NotFound"),
        (Lie::ShowsWhatNobodyCreated, "is NotFound"),
        (Lie::TruncatesLargeObjects, "reads back"),
    ] {
        let failure =
            block_on(conformance(&Liar { inner: MemoryStore::new(), lie })).expect_err(&format!("{lie:?}"));
        assert!(failure.promise.contains(word), "{lie:?}: {failure}");
    }
}
