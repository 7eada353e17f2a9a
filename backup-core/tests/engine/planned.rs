//! Restores that are planned by frame: what is read, what damage costs, and how much is under way at once.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Mutex;

use async_trait::async_trait;
use backup_core::{
    BlockingPut, Contents, Control, Created, Entry, Env, ErrorKind, FolderSink, FolderSource, Key, Place,
    Placed, Placement, Sink,
};
use bytes::Bytes;

use super::*;

/// A store that takes note of what is read of packs, and can damage one byte.
#[derive(Debug, Default)]
struct Watched {
    inner: MemoryStore,
    reads: Mutex<HashMap<String, Vec<Range<u64>>>>,
    damaged: Mutex<Option<(String, u64)>>,
}

#[async_trait]
impl Store for Watched {
    async fn create(&self, key: &Key, bytes: Bytes) -> backup_core::Result<Created> {
        self.inner.create(key, bytes).await
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> backup_core::Result<Bytes> {
        let mut bytes = self.inner.read(key, range.clone()).await?.to_vec();
        let Some(range) = range else { return Ok(bytes.into()) };
        if let Some((damaged, at)) = &*self.damaged.lock().unwrap()
            && damaged == key.as_str()
            && range.contains(at)
        {
            bytes[(at - range.start) as usize] ^= 1;
        }
        self.reads.lock().unwrap().entry(key.to_string()).or_default().push(range);
        Ok(bytes.into())
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

/// Six folders of fifty files of 20 to 40 KB and one that takes several chunks, of which every seventh file was changed in a second snapshot.
fn revised(store: &Arc<Watched>) -> (Repository, tempfile::TempDir) {
    let from = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::clone(store) as _;
    let repo = block_on(Repository::init_with(store, &key(), Env::system(), Options::default())).unwrap();
    for revision in 0..2 {
        for file in (0..300u64).filter(|file| revision == 0 || file % 7 == 0) {
            let folder = from.path().join(format!("{}", file % 6));
            std::fs::create_dir_all(&folder).unwrap();
            let len = if file < 6 { 900 << 10 } else { 20_000 + 60 * file as usize };
            std::fs::write(folder.join(format!("{file:03}")), noise(len, file + 1_000 * revision)).unwrap();
        }
        std::fs::write(from.path().join("0/empty"), "").unwrap();
        backup_whole(&repo, &FolderSource::new(from.path()).unwrap());
    }
    (repo, from)
}

fn newest(repo: &Repository) -> backup_core::SnapshotId {
    repo.snapshots().last().unwrap().id
}

/// Relative paths of the files that differ or are missing.
fn different(from: &std::path::Path, to: &std::path::Path) -> Vec<String> {
    let mut paths = Vec::new();
    for folder in 0..6 {
        for entry in std::fs::read_dir(from.join(folder.to_string())).unwrap() {
            let path = format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap());
            if std::fs::read(from.join(&path)).unwrap() != std::fs::read(to.join(&path)).unwrap_or_default() {
                paths.push(path);
            }
        }
    }
    paths
}

/// A repository that remembers nothing of what was read before.
fn reopened(store: &Arc<Watched>) -> Repository {
    let store: Arc<dyn Store> = Arc::clone(store) as _;
    block_on(Repository::open_with(store, &key(), Env::system(), Options::default())).unwrap()
}

#[test]
fn no_byte_of_a_pack_is_read_twice_and_neighbours_are_read_together() {
    let store = Arc::new(Watched::default());
    let (_, from) = revised(&store);
    let repo = reopened(&store);
    store.reads.lock().unwrap().clear();
    let to = tempfile::tempdir().unwrap();
    let report = block_on(repo.restore(newest(&repo), &FolderSink::new(to.path()).unwrap()).run()).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert_eq!(different(from.path(), to.path()), Vec::<String>::new());
    let mut reads = store.reads.lock().unwrap();
    let (mut requests, mut bytes) = (0, 0);
    for ranges in reads.values_mut() {
        ranges.sort_by_key(|range| range.start);
        assert!(ranges.is_sorted_by(|a, b| a.end <= b.start), "{ranges:?}");
        requests += ranges.len() as u64;
        bytes += ranges.iter().map(|range| range.end - range.start).sum::<u64>();
    }
    assert!(bytes > 10 << 20, "{bytes}");
    // How many frames a request takes depends on how far the walk has got meanwhile; one request for each would be more than this.
    assert!(requests < bytes >> 20, "{requests} requests for {bytes} bytes, whose frames have a MiB each");
}

#[test]
fn a_damaged_frame_costs_the_items_in_it_and_no_others() {
    let store = Arc::new(Watched::default());
    let (_, from) = revised(&store);
    let repo = reopened(&store);
    store.reads.lock().unwrap().clear();
    let snapshot = newest(&repo);
    let to = tempfile::tempdir().unwrap();
    block_on(repo.restore(snapshot, &FolderSink::new(to.path()).unwrap()).run()).unwrap();
    // The middle of the longest read is in a frame of data.
    let (pack, range) = {
        let reads = store.reads.lock().unwrap();
        let all = reads.iter().flat_map(|(key, ranges)| ranges.iter().map(move |range| (key, range)));
        let (key, range) = all.max_by_key(|(_, range)| range.end - range.start).unwrap();
        (key.clone(), range.clone())
    };
    *store.damaged.lock().unwrap() = Some((pack, range.start.midpoint(range.end)));
    let repo = reopened(&store);
    let to = tempfile::tempdir().unwrap();
    let report = block_on(repo.restore(snapshot, &FolderSink::new(to.path()).unwrap()).run()).unwrap();
    let mut failed: Vec<String> = report.problems.iter().map(|problem| problem.place.clone()).collect();
    failed.sort();
    let mut lost = different(from.path(), to.path());
    lost.sort();
    assert_eq!(failed, lost);
    assert!(!lost.is_empty() && lost.len() < 60, "{} items for one frame", lost.len());
    assert!(report.problems.iter().all(|problem| problem.error.kind() == ErrorKind::Corrupt));
}

#[test]
fn a_canceled_restore_ends_and_leaves_no_temporary_files() {
    let store = Arc::new(Watched::default());
    let (repo, _from) = revised(&store);
    let to = tempfile::tempdir().unwrap();
    let sink = FolderSink::new(to.path()).unwrap();
    let stop = |progress: &backup_core::Progress| {
        if progress.items_done > 0 { Control::Cancel } else { Control::Continue }
    };
    let error = block_on(repo.restore(newest(&repo), &sink).on_progress(stop).run()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Canceled);
    // The workers end with the last clone of their environment, after what they had begun.
    drop((repo, sink));
    std::thread::sleep(std::time::Duration::from_millis(500));
    let folders = (0..6).filter_map(|folder| std::fs::read_dir(to.path().join(folder.to_string())).ok());
    let names: Vec<_> = folders.flatten().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.len() < 301, "everything was restored");
    assert!(names.iter().all(|name| !name.to_str().unwrap().starts_with(".restoring")), "{names:?}");
}

/// A sink that counts what it is asked to put by calls that block.
#[derive(Debug)]
struct Counted {
    inner: FolderSink,
    concurrency: usize,
    /// Asked for and not put, and putting; each with its highest.
    planned: Arc<Counter>,
    putting: Arc<Counter>,
}

#[derive(Debug, Default)]
struct Counter(AtomicUsize, AtomicUsize);

impl Counter {
    fn up(&self) {
        let now = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.1.fetch_max(now, Ordering::SeqCst);
    }

    fn down(&self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }

    fn highest(&self) -> usize {
        self.1.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Sink for Counted {
    async fn put<'a>(
        &'a self,
        item: &'a Item,
        place: Place<'a>,
        contents: &'a dyn Contents,
    ) -> backup_core::Result<Placement> {
        self.putting.up();
        let placement = self.inner.put(item, place, contents).await;
        self.putting.down();
        placement
    }

    fn put_blocking(&self, item: &Item, place: Place<'_>) -> Option<BlockingPut> {
        let put = self.inner.put_blocking(item, place)?;
        let (planned, putting) = (Arc::clone(&self.planned), Arc::clone(&self.putting));
        planned.up();
        Some(BlockingPut::new(move |content| {
            planned.down();
            putting.up();
            let placement = put.put(content);
            putting.down();
            placement
        }))
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }

    async fn close(&self, item: &Item, placed: &Placed) -> backup_core::Result<()> {
        self.inner.close(item, placed).await
    }

    async fn finish(&self) -> backup_core::Result<()> {
        self.inner.finish().await
    }
}

#[test]
fn no_more_is_planned_or_put_at_once_than_may_be() {
    let source = MemorySource::new("memory:many");
    source.put_folder("root", None, "root");
    source.put_folder("sub", Some("root"), "sub");
    for file in 0..6_000u32 {
        source.put_file(&format!("{file}"), Some("sub"), format!("{file:05}"), file.to_string());
    }
    // Long enough to be put the other way.
    source.put_file("long", Some("sub"), "02000 long", noise(3 << 20, 1));
    let repo = block_on(Repository::init_with(
        Arc::new(MemoryStore::new()),
        &key(),
        Env::system(),
        Options::default(),
    ))
    .unwrap();
    let snapshot = backup_whole(&repo, &source).snapshot;
    for concurrency in [1, 256] {
        let to = tempfile::tempdir().unwrap();
        let sink = Counted {
            inner: FolderSink::new(to.path()).unwrap(),
            concurrency,
            planned: Arc::default(),
            putting: Arc::default(),
        };
        let report = block_on(repo.restore(snapshot, &sink).run()).unwrap();
        assert_eq!((report.created + report.skipped, report.problems.len()), (6_003, 0), "{report:?}");
        assert!((100..=4_096).contains(&sink.planned.highest()), "{}", sink.planned.highest());
        assert!(sink.putting.highest() <= concurrency, "{}", sink.putting.highest());
    }
}
