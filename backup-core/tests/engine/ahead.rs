//! What is read before it is wanted: long streams and trees, from a store that answers late and in another order, or not at all.

use std::ops::Range;
use std::sync::Mutex;
use std::task::Poll;

use async_trait::async_trait;
use backup_core::{
    Contents, Created, Entry, Error, ErrorKind, FolderSink, Key, Place, Placed, Placement, RestoreReport,
    Sink, SnapshotId,
};
use bytes::Bytes;

use super::*;

/// A store whose reads of packs take turns of whoever drives them, some more and some fewer, and which counts what is under way.
#[derive(Debug, Default)]
struct Late {
    inner: MemoryStore,
    now: AtomicU64,
    most: AtomicU64,
    reads: Mutex<Vec<(String, Range<u64>)>>,
    /// Reads after so many fail, and so many of them.
    failing: Mutex<Range<usize>>,
    /// The byte at this place of every object of this name is another one.
    damaged: Mutex<Option<(String, u64)>>,
}

#[async_trait]
impl Store for Late {
    async fn create(&self, key: &Key, bytes: Bytes) -> backup_core::Result<Created> {
        self.inner.create(key, bytes).await
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> backup_core::Result<Bytes> {
        let mut bytes = self.inner.read(key, range.clone()).await?;
        let Some(range) = range else { return Ok(bytes) };
        let number = {
            let mut reads = self.reads.lock().unwrap();
            reads.push((key.to_string(), range.clone()));
            reads.len() - 1
        };
        let len = range.end - range.start;
        self.most.fetch_max(self.now.fetch_add(len, Ordering::SeqCst) + len, Ordering::SeqCst);
        let mut left = 1 + number * 7_919 % 40;
        std::future::poll_fn(|context| {
            left -= 1;
            context.waker().wake_by_ref();
            if left == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        self.now.fetch_sub(len, Ordering::SeqCst);
        if self.failing.lock().unwrap().contains(&number) {
            return Err(Error::new(ErrorKind::Unavailable, "out of reach"));
        }
        if let Some((damaged, at)) = &*self.damaged.lock().unwrap()
            && damaged == key.as_str()
            && range.contains(at)
        {
            let mut other = bytes.to_vec();
            other[(at - range.start) as usize] ^= 1;
            bytes = other.into();
        }
        Ok(bytes)
    }

    async fn size(&self, key: &Key) -> backup_core::Result<u64> {
        self.inner.size(key).await
    }

    fn list<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, backup_core::Result<Entry>> {
        self.inner.list(prefix)
    }

    async fn delete(&self, key: &Key) -> backup_core::Result<()> {
        self.inner.delete(key).await
    }
}

impl Late {
    /// No byte of a pack has been read twice; how often something was read, and how much.
    fn read_once(&self) -> (usize, u64) {
        let mut reads = self.reads.lock().unwrap().clone();
        reads.sort_by_key(|(key, range)| (key.clone(), range.start));
        assert!(
            reads.is_sorted_by(|(a, before), (b, after)| a != b || before.end <= after.start),
            "{reads:?}"
        );
        (reads.len(), reads.iter().map(|(_, range)| range.end - range.start).sum())
    }

    fn forget_reads(&self) {
        self.reads.lock().unwrap().clear();
        self.most.store(0, Ordering::SeqCst);
    }
}

fn source(files: &[(&str, Vec<u8>)]) -> MemorySource {
    let source = MemorySource::new("memory:long");
    source.put_folder("root", None, "root");
    for (name, content) in files {
        source.put_file(name, Some("root"), *name, content.clone());
    }
    source
}

/// A repository with these files, opened anew, and its only snapshot.
fn stored(store: &Arc<Late>, files: &[(&str, Vec<u8>)]) -> (Repository, SnapshotId) {
    let snapshot = backup_whole(&init_on(Arc::clone(store) as _), &source(files)).snapshot;
    store.forget_reads();
    (open_on(Arc::clone(store) as _).unwrap(), snapshot)
}

fn restore(repo: &Repository, snapshot: SnapshotId, sink: &dyn Sink) -> RestoreReport {
    block_on(repo.restore(snapshot, sink).run()).unwrap()
}

#[test]
fn a_long_stream_is_read_once_and_ahead_and_comes_in_order() {
    let store = Arc::new(Late::default());
    let content = noise(80 << 20, 1);
    let (repo, snapshot) = stored(&store, &[("long", content.clone())]);
    let to = tempfile::tempdir().unwrap();
    let report = restore(&repo, snapshot, &FolderSink::new(to.path()).unwrap());
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert!(std::fs::read(to.path().join("long")).unwrap() == content, "other bytes");
    let (reads, bytes) = store.read_once();
    assert!(bytes > 80 << 20, "{bytes}");
    assert!(reads < 40, "{reads} reads of frames of a MiB");
    let most = store.most.load(Ordering::SeqCst);
    assert!((8 << 20..=26 << 20).contains(&most), "{most} bytes under way");
}

#[test]
fn what_comes_again_and_again_in_a_stream_comes_at_its_places() {
    let store = Arc::new(Late::default());
    let (a, b) = (noise(6 << 20, 1), noise(3 << 20, 2));
    let zeros = vec![0; 24 << 20];
    let content: [&[u8]; 8] = [&a, &b, &zeros, &a, &b[1 << 20..], &a, &zeros[..5 << 20], &b];
    let (repo, snapshot) = stored(&store, &[("long", content.concat())]);
    let sink = MemorySink::new();
    let report = restore(&repo, snapshot, &sink);
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert!(sink.content("root/long").unwrap() == content.concat(), "other bytes");
    // Parts of it, too.
    let browser = block_on(repo.browse(snapshot)).unwrap();
    let all = content.concat();
    for range in [0..1, 0..2 << 20, 1_234_567..9_876_543, (all.len() as u64 - 3_000_000)..all.len() as u64] {
        let read = block_on(async {
            browser
                .read(&"long".into(), "content", Some(range.clone()))
                .await
                .unwrap()
                .collect()
                .await
                .unwrap()
        });
        assert!(read == all[range.start as usize..range.end as usize], "{range:?}");
    }
}

#[test]
fn a_store_that_fails_once_is_asked_again_and_one_that_stays_away_ends_in_an_error() {
    let store = Arc::new(Late::default());
    let content = noise(20 << 20, 1);
    let files = [("long", content.clone()), ("other", noise(2 << 20, 2))];
    let (_, snapshot) = stored(&store, &files);
    for first in 0..12 {
        let repo = open_on(Arc::clone(&store) as _).unwrap();
        let browser = block_on(repo.browse(snapshot)).unwrap();
        let stream = || async { browser.read(&"long".into(), "content", None).await?.collect().await };
        // The trees are read before.
        drop(block_on(browser.read(&"long".into(), "content", Some(0..1))).unwrap());
        store.forget_reads();
        *store.failing.lock().unwrap() = first..first + 1;
        assert!(block_on(stream()).unwrap() == content, "other bytes");
        let repo = open_on(Arc::clone(&store) as _).unwrap();
        store.forget_reads();
        *store.failing.lock().unwrap() = first..usize::MAX;
        let sink = MemorySink::new();
        match block_on(repo.restore(snapshot, &sink).run()) {
            Ok(report) => {
                let reads = store.reads.lock().unwrap().len();
                assert_eq!(report.problems.is_empty(), reads <= first, "{:?}", report.problems);
                let kinds = report.problems.iter().map(|problem| problem.error.kind());
                assert!(kinds.into_iter().all(|kind| kind == ErrorKind::Unavailable));
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable),
        }
        *store.failing.lock().unwrap() = 0..0;
    }
}

#[test]
fn a_frame_that_is_damaged_is_read_from_another_place() {
    let store = Arc::new(Late::default());
    let content = noise(12 << 20, 1);
    let repo = init_on(Arc::clone(&store) as _);
    // Another writer stores the same while the first one does: neither knows of the other's.
    let other = open_on(Arc::clone(&store) as _).unwrap();
    let files = [("long", content.clone())];
    let inner = source(&files);
    let both = Observed::new(&inner, |opened| {
        if opened == 0 {
            // On a thread of its own: this one drives the first writer.
            std::thread::scope(|scope| {
                scope.spawn(|| backup_whole(&other, &source(&files))).join().unwrap();
            });
        }
    });
    let snapshot = backup_whole(&repo, &both).snapshot;
    let restored = || {
        let repo = open_on(Arc::clone(&store) as _).unwrap();
        store.forget_reads();
        let sink = MemorySink::new();
        let report = restore(&repo, snapshot, &sink);
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        assert!(sink.content("root/long").unwrap() == content, "other bytes");
        store.reads.lock().unwrap().clone()
    };
    let reads = restored();
    let longest = reads.iter().max_by_key(|(_, range)| range.end - range.start).unwrap();
    *store.damaged.lock().unwrap() = Some((longest.0.clone(), longest.1.start.midpoint(longest.1.end)));
    let packs = |reads: &[(String, Range<u64>)]| {
        reads.iter().map(|(key, _)| key.clone()).collect::<std::collections::BTreeSet<_>>()
    };
    let more = restored();
    assert!(packs(&more).len() > packs(&reads).len(), "nothing was read from another pack");
}

/// A sink that takes many items at once, and one piece of each now and then.
#[derive(Debug)]
struct Wide(MemorySink);

#[async_trait]
impl Sink for Wide {
    async fn put<'a>(
        &'a self,
        item: &'a Item,
        place: Place<'a>,
        contents: &'a dyn Contents,
    ) -> backup_core::Result<Placement> {
        self.0.put(item, place, contents).await
    }

    fn concurrency(&self) -> usize {
        16
    }

    async fn close(&self, item: &Item, placed: &Placed) -> backup_core::Result<()> {
        self.0.close(item, placed).await
    }

    async fn finish(&self) -> backup_core::Result<()> {
        self.0.finish().await
    }
}

#[test]
fn streams_that_are_read_at_once_share_what_may_be_under_way() {
    let store = Arc::new(Late::default());
    let names: Vec<String> = (0..40).map(|number| format!("{number:02}")).collect();
    let files: Vec<_> =
        names.iter().zip(0..).map(|(name, seed)| (name.as_str(), noise(3 << 20, seed))).collect();
    let (repo, snapshot) = stored(&store, &files);
    let sink = Wide(MemorySink::new());
    let report = restore(&repo, snapshot, &sink);
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    for (name, content) in &files {
        assert!(sink.0.content(&format!("root/{name}")).unwrap() == content, "{name}");
    }
    // Neighbours have parts of a frame each.
    store.read_once();
    let most = store.most.load(Ordering::SeqCst);
    assert!(most <= 40 << 20, "{most} bytes under way");
}

#[test]
fn short_items_have_no_more_under_way_than_the_window_allows() {
    let store = Arc::new(Late::default());
    let names: Vec<String> = (0..3_000).map(|number| format!("{number:04}")).collect();
    let files: Vec<_> =
        names.iter().zip(0..).map(|(name, seed)| (name.as_str(), noise(20_000, seed))).collect();
    let (repo, snapshot) = stored(&store, &files);
    let to = tempfile::tempdir().unwrap();
    let report = restore(&repo, snapshot, &FolderSink::new(to.path()).unwrap());
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    for (name, content) in &files {
        assert!(std::fs::read(to.path().join(name)).unwrap() == *content, "{name}");
    }
    store.read_once();
    // The window, and one read that began just below its end.
    let most = store.most.load(Ordering::SeqCst);
    assert!(most <= 16 << 20, "{most} bytes under way");
}

#[test]
fn trees_are_read_in_few_requests_and_no_part_of_them_twice() {
    let store = Arc::new(Late::default());
    let names: Vec<String> =
        (0..20_000).map(|number| format!("a name of some length, {number:05}")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), Vec::new())).collect();
    let (repo, snapshot) = stored(&store, &files);
    let sink = MemorySink::new();
    let report = restore(&repo, snapshot, &sink);
    assert_eq!((report.created, report.problems.len()), (20_001, 0));
    let (reads, bytes) = store.read_once();
    assert!(reads <= 10, "{reads} reads of {bytes} bytes of trees");
}

#[test]
fn a_look_at_one_item_reads_no_more_of_the_trees_than_it_needs() {
    let store = Arc::new(Late::default());
    let names: Vec<String> =
        (0..20_000).map(|number| format!("a name of some length, {number:05}")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), Vec::new())).collect();
    let (repo, snapshot) = stored(&store, &files);
    let browser = block_on(repo.browse(snapshot)).unwrap();
    block_on(browser.item(&"a name of some length, 00007".into())).unwrap();
    let (reads, _) = store.read_once();
    assert!(reads <= 3, "{reads} reads");
}
