//! Many things at once on threads that really run beside each other: nothing may wait for what nobody drives on.

use std::ops::Range;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use backup_core::store::MemoryStore;
use backup_core::{
    Contents, Created, Credential, Entry, Item, ItemKind, Key, MemorySink, MemorySource, Place, Placed,
    Placement, Repository, Result, Sink, Store, Value,
};
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_executor::block_on;

use super::noise;

/// A store that answers from another thread, a little later.
#[derive(Debug)]
struct Distant(MemoryStore);

async fn later(time: Duration) {
    let (sender, receiver) = futures_channel::oneshot::channel();
    std::thread::spawn(move || {
        std::thread::sleep(time);
        let _ = sender.send(());
    });
    receiver.await.unwrap();
}

#[async_trait]
impl Store for Distant {
    async fn create(&self, key: &Key, bytes: Bytes) -> Result<Created> {
        later(Duration::from_millis(50)).await;
        self.0.create(key, bytes).await
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        later(Duration::from_millis(2)).await;
        self.0.read(key, range).await
    }

    async fn size(&self, key: &Key) -> Result<u64> {
        self.0.size(key).await
    }

    fn list<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, Result<Entry>> {
        self.0.list(prefix)
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.0.delete(key).await
    }
}

/// A sink that takes many items at once.
#[derive(Debug)]
struct Wide(MemorySink);

#[async_trait]
impl Sink for Wide {
    async fn put<'a>(
        &'a self,
        item: &'a Item,
        place: Place<'a>,
        contents: &'a dyn Contents,
    ) -> Result<Placement> {
        self.0.put(item, place, contents).await
    }

    fn concurrency(&self) -> usize {
        8
    }

    async fn close(&self, item: &Item, placed: &Placed) -> Result<()> {
        self.0.close(item, placed).await
    }

    async fn finish(&self) -> Result<()> {
        self.0.finish().await
    }
}

/// Fails instead of hanging.
fn ends(work: impl FnOnce() + Send + 'static) {
    let (sender, receiver) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        work();
        let _ = sender.send(());
    });
    match receiver.recv_timeout(Duration::from_secs(120)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it waits for ever"),
        _ => thread.join().unwrap(),
    }
}

fn repository() -> Repository {
    let store = Arc::new(Distant(MemoryStore::new()));
    block_on(Repository::init(store, &Credential::raw_key([7; 32]))).unwrap()
}

/// An item that is being read may hold what a commit waits for, and holds it until somebody drives it on. So a checkpoint is committed
/// only once nothing is being read.
#[test]
fn a_checkpoint_does_not_wait_for_items_that_are_being_read() {
    ends(|| {
        let source = MemorySource::new("memory:checkpoints").with_concurrency(16).with_piece_bytes(64 << 10);
        source.put_folder("root", None, "root");
        let known = noise(4 << 20, 1_000);
        for number in 0..48u32 {
            // New bytes that have to wait for the store, then known ones, which are done without waiting for anybody.
            let content = [noise(1 << 20, u64::from(number)), known.clone()].concat();
            source.put_file(&format!("{number:03}"), Some("root"), number.to_string(), content);
        }
        let repository = repository();
        let report = block_on(repository.backup(&source).checkpoint_every(1 << 20).run()).unwrap();
        assert_eq!((report.stats.added, report.problems.len()), (49, 0));
    });
}

/// The walk of a restore and the items that are being put want the same frames: an item's details lie beside contents. A walk that did not
/// drive the items on while it waited stood still here.
#[test]
fn a_restore_does_not_wait_for_frames_that_its_own_items_are_fetching() {
    ends(|| {
        let source = MemorySource::new("memory:details");
        source.put_folder("root", None, "root");
        for number in 0..600u32 {
            // The contents of the second half are those of the first, so they lie far from their own items' details; and the walk
            // goes by names, which have nothing to do with the order that it was all stored in.
            let content = noise(200 << 10, u64::from(number % 300));
            let name = blake3::hash(&number.to_le_bytes()).to_hex().to_string();
            let id = format!("{number:03}");
            let mut item = Item::new(id.as_str(), Some("root".into()), name.as_str(), ItemKind::FILE);
            item.details
                .insert("subject".to_owned(), Value::Text(format!("{number} {}", "about ".repeat(40))));
            source.put(item, [("content", content)]);
        }
        let repository = repository();
        let snapshot = block_on(repository.backup(&source).run()).unwrap().snapshot;
        for _ in 0..5 {
            let fresh = Wide(MemorySink::new());
            let report = block_on(repository.restore(snapshot, &fresh).run()).unwrap();
            assert_eq!((report.created, report.problems.len()), (601, 0));
            let name = blake3::hash(&307u32.to_le_bytes()).to_hex();
            assert_eq!(fresh.0.content(&format!("root/{name}")).unwrap(), noise(200 << 10, 7));
        }
    });
}
