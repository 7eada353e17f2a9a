//! How many packs are on their way to the store at once.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use async_trait::async_trait;
use backup_core::store::MemoryStore;
use backup_core::{Created, Entry, Key, MemorySource, Result, Store};
use bytes::Bytes;
use futures_core::stream::BoxStream;

use super::{backup, init_on, noise};

/// A store whose creates of packs take so many turns of whoever drives them, and which counts how many are under way. All computing
/// happens on the driver's thread here, so that turns are a time that no machine's speed changes.
#[derive(Debug, Default)]
struct Slow {
    inner: MemoryStore,
    turns: usize,
    now: AtomicUsize,
    most: AtomicUsize,
}

#[async_trait]
impl Store for Slow {
    async fn create(&self, key: &Key, bytes: Bytes) -> Result<Created> {
        if key.as_str().starts_with("pack/") {
            self.most.fetch_max(self.now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            let mut left = self.turns;
            std::future::poll_fn(|context| {
                left = left.saturating_sub(1);
                context.waker().wake_by_ref();
                if left == 0 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            self.now.fetch_sub(1, Ordering::Relaxed);
        }
        self.inner.create(key, bytes).await
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        self.inner.read(key, range).await
    }

    async fn size(&self, key: &Key) -> Result<u64> {
        self.inner.size(key).await
    }

    fn list<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, Result<Entry>> {
        self.inner.list(prefix)
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.inner.delete(key).await
    }
}

/// Uploads at once, at most, of a backup of so many MiB.
fn uploads(turns: usize, mebibytes: usize) -> usize {
    let store = Arc::new(Slow { turns, ..Slow::default() });
    let source = MemorySource::new("memory:uploads");
    source.put_folder("root", None, "root");
    source.put_file("noise", Some("root"), "noise", noise(mebibytes << 20, 1));
    let report = backup(&init_on(Arc::clone(&store) as _), &source);
    assert_eq!(report.problems.len(), 0);
    store.most.load(Ordering::Relaxed)
}

#[test]
fn a_store_that_is_waited_for_gets_more_packs_at_once_and_no_more_than_are_promised() {
    // 64 MiB by the window; beyond it, the packs that were being filled when it closed.
    let most = uploads(100_000, 180);
    assert!((5..=7).contains(&most), "{most} uploads at once");
}

#[test]
fn a_store_that_answers_at_once_does_not() {
    // The last flush closes what is open: two packs of data, one or two of trees.
    assert!(uploads(1, 60) <= 4);
}
