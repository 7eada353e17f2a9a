//! How many round trips follow each other: what a store far away takes, whatever else goes on. A store answers all that waits for it at once,
//! and only when nothing else can go on; each time is a round.

use std::ops::Range;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll, Wake, Waker};

use async_trait::async_trait;
use backup_core::{
    Action, BlockingPut, Contents, Created, Entry, Key, Place, Placed, Placement, Sink, SnapshotId,
};
use bytes::Bytes;
use futures_util::StreamExt;

use super::*;

/// Answers in rounds.
#[derive(Debug, Default)]
struct Rounds {
    inner: MemoryStore,
    round: AtomicU64,
    waiting: Mutex<Vec<Waker>>,
    /// What was asked for, and in which round.
    calls: Mutex<Vec<(u64, String)>>,
}

impl Rounds {
    async fn answered(&self, call: String) {
        let begun = self.round.load(Ordering::SeqCst);
        self.calls.lock().unwrap().push((begun, call));
        std::future::poll_fn(|context| {
            if self.round.load(Ordering::SeqCst) > begun {
                return Poll::Ready(());
            }
            self.waiting.lock().unwrap().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Answers all that waits.
    fn answer(&self) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
        assert!(!waiting.is_empty(), "nothing goes on, and nothing waits for the store");
        self.round.fetch_add(1, Ordering::SeqCst);
        waiting.into_iter().for_each(Waker::wake);
    }
}

#[async_trait]
impl Store for Rounds {
    async fn create(&self, key: &Key, bytes: Bytes) -> backup_core::Result<Created> {
        self.answered(format!("create {key}")).await;
        self.inner.create(key, bytes).await
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> backup_core::Result<Bytes> {
        self.answered(format!("read {key} {range:?}")).await;
        self.inner.read(key, range).await
    }

    async fn size(&self, key: &Key) -> backup_core::Result<u64> {
        self.answered(format!("size {key}")).await;
        self.inner.size(key).await
    }

    fn list<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, backup_core::Result<Entry>> {
        let answered = self.answered(format!("list {prefix}"));
        futures_util::stream::once(answered).flat_map(|()| self.inner.list(prefix)).boxed()
    }

    async fn delete(&self, key: &Key) -> backup_core::Result<()> {
        self.answered(format!("delete {key}")).await;
        self.inner.delete(key).await
    }
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Drives work to its end; its result and how many rounds it took.
fn counted<T>(store: &Rounds, work: impl Future<Output = T>) -> (T, u64) {
    let before = store.round.load(Ordering::SeqCst);
    store.calls.lock().unwrap().clear();
    let (mut work, woken) = (pin!(work), Arc::new(Woken::default()));
    let waker = Waker::from(Arc::clone(&woken));
    loop {
        woken.0.store(false, Ordering::SeqCst);
        if let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(&waker)) {
            let rounds = store.round.load(Ordering::SeqCst) - before;
            if std::env::var_os("ROUNDS").is_some() {
                let calls = store.calls.lock().unwrap();
                calls.iter().for_each(|(round, call)| println!("{:3} {call}", round - before));
                println!("{rounds} rounds\n");
            }
            return (done, rounds);
        }
        if !woken.0.load(Ordering::SeqCst) {
            store.answer();
        }
    }
}

/// A store with so many revisions of a folder, in which so many files change each time; its newest snapshot.
fn stored(files: u32, revisions: u32, changed: u32) -> (Arc<Rounds>, SnapshotId) {
    let store = Arc::new(Rounds::default());
    let repo = init(&store.inner);
    let source = MemorySource::new("memory:rounds");
    source.put_folder("root", None, "root");
    for folder in 0..files.div_ceil(20) {
        source.put_folder(&format!("folder-{folder}"), Some("root"), &*format!("folder-{folder}"));
    }
    let mut newest = None;
    for revision in 0..revisions {
        let first = revision * changed;
        let numbers: Vec<u32> = if revision == 0 {
            (0..files).collect()
        } else {
            (first..first + changed).map(|n| n % files).collect()
        };
        for number in numbers {
            let content = noise(2_000, u64::from(revision) << 32 | u64::from(number));
            let parent = format!("folder-{}", number / 20);
            source.put_file(&format!("file-{number}"), Some(&parent), &*format!("{number}.bin"), content);
        }
        newest = Some(backup_whole(&repo, &source).snapshot);
    }
    (store, newest.unwrap())
}

fn opened(store: &Arc<Rounds>) -> (Repository, u64) {
    let all: Arc<dyn Store> = Arc::clone(store) as _;
    let key = key();
    let open = Repository::open_with(all, &key, fresh_environment(), Options::default());
    let (repo, rounds) = counted(store, open);
    (repo.unwrap(), rounds)
}

/// Takes files as a folder does: short ones by calls that block. Counts what comes.
#[derive(Debug, Default)]
struct Counting(Arc<AtomicU64>);

#[async_trait]
impl Sink for Counting {
    async fn put<'a>(
        &'a self,
        item: &'a Item,
        _: Place<'a>,
        _: &'a dyn Contents,
    ) -> backup_core::Result<Placement> {
        assert!(item.kind.is_container(), "{item:?} was not planned");
        Ok(Placement::new(item.id.as_bytes().to_vec(), Action::Created))
    }

    fn put_blocking(&self, item: &Item, _: Place<'_>) -> Option<BlockingPut> {
        let (bytes, id) = (Arc::clone(&self.0), item.id.as_bytes().to_vec());
        Some(BlockingPut::new(move |content| {
            bytes.fetch_add(content.iter().map(|piece| piece.len() as u64).sum(), Ordering::Relaxed);
            Ok(Placement::new(id, Action::Created))
        }))
    }

    fn concurrency(&self) -> usize {
        256
    }

    async fn close(&self, _: &Item, _: &Placed) -> backup_core::Result<()> {
        Ok(())
    }

    async fn finish(&self) -> backup_core::Result<()> {
        Ok(())
    }
}

#[test]
fn an_opening_lists_then_reads_keys_and_log_then_the_index() {
    // Of long logs and indices, 32 entries and 64 segments are read at once.
    for (revisions, expected) in [(1, 3), (5, 3), (63, 5), (70, 4)] {
        let (store, _) = stored(40, revisions, 1);
        let (repo, rounds) = opened(&store);
        assert_eq!(rounds, expected, "{revisions} revisions");
        // What is up to date already is found to be so in one round.
        let (refreshed, rounds) = counted(&store, repo.refresh());
        refreshed.unwrap();
        assert_eq!(rounds, 1, "{revisions} revisions");
    }
}

#[test]
fn one_item_is_read_in_four_rounds() {
    let (store, snapshot) = stored(40, 3, 2);
    let (repo, _) = opened(&store);
    let (content, rounds) = counted(&store, async {
        let browser = repo.browse(snapshot).await?;
        let item = browser.stat("folder-1/25.bin").await?;
        browser.read(&item.id, "content", None).await?.collect().await
    });
    // The snapshot, the tops of both trees, leaves, content.
    assert_eq!((content.unwrap().len(), rounds), (2_000, 4));
    let (repo, _) = opened(&store);
    let (items, rounds) =
        counted(&store, async { repo.browse(snapshot).await?.list("folder-1").await?.collect().await });
    assert_eq!(items.unwrap().len(), 20);
    assert!(rounds <= 4, "{rounds} to list a folder");
}

#[test]
fn a_restore_waits_for_trees_once_and_reads_contents_from_many_packs_at_once() {
    for (files, revisions, changed, most) in
        [(40, 3, 2, 4), (2_000, 2, 20, 4), (2_000, 100, 20, 13), (20_000, 2, 200, 13)]
    {
        let (store, snapshot) = stored(files, revisions, changed);
        let (repo, _) = opened(&store);
        let sink = Counting::default();
        let (report, rounds) = counted(&store, repo.restore(snapshot, &sink).run());
        assert!(report.unwrap().problems.is_empty());
        assert_eq!(sink.0.load(Ordering::Relaxed), u64::from(files) * 2_000);
        println!("{files} files, {revisions} revisions: {rounds} rounds");
        assert!(rounds <= most, "{rounds} rounds for {files} files and {revisions} revisions");
    }
}
