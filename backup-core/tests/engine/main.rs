//! The engine over its seams: what goes in comes out, costs what changed, and nothing hostile goes unnoticed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

#[cfg(unix)]
mod ahead;
mod along;
mod browse;
mod cache;
mod checkpoints;
mod compression;
mod copies;
mod crash;
mod drill;
mod endless;
mod hostile;
mod incremental;
mod interleaved;
mod keys;
mod links;
mod locks;
mod logging;
mod mirror;
mod objects;
mod orders;
mod parity;
#[cfg(unix)]
mod planned;
mod prune;
mod regressions;
mod retain;
mod rounds;
mod roundtrip;
mod salvage;
mod scale;
mod sweep;
mod undo;
mod uploads;
mod vectors;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use backup_core::store::MemoryStore;
use backup_core::testkit::environment;
use backup_core::{
    BackupReport, Change, Collection, Content, Credential, Cursor, Item, MemorySink, MemorySource, Options,
    Repository, SnapshotState, Source, Store,
};
use futures_core::stream::BoxStream;
use futures_executor::block_on;

/// A raw key: no stretching, so that thousands of repositories can be opened.
fn key() -> Credential {
    Credential::raw_key([7; 32])
}

fn init(store: &MemoryStore) -> Repository {
    init_on(Arc::new(store.clone()))
}

fn init_on(store: Arc<dyn Store>) -> Repository {
    block_on(Repository::init_with(store, &key(), environment(1), Options::default())).unwrap()
}

fn open(store: &MemoryStore) -> backup_core::Result<Repository> {
    open_on(Arc::new(store.clone()))
}

fn open_on(store: Arc<dyn Store>) -> backup_core::Result<Repository> {
    block_on(Repository::open_with(store, &key(), fresh_environment(), Options::default()))
}

/// An environment whose randomness no other one has: object names never repeat.
fn fresh_environment() -> backup_core::Env {
    static SEED: AtomicU64 = AtomicU64::new(1_000);
    environment(SEED.fetch_add(1, Ordering::Relaxed))
}

fn backup(repo: &Repository, source: &dyn Source) -> BackupReport {
    block_on(repo.backup(source).run()).unwrap()
}

fn backup_whole(repo: &Repository, source: &dyn Source) -> BackupReport {
    let report = backup(repo, source);
    assert_eq!(report.state, SnapshotState::Complete, "{:?}", report.problems);
    report
}

/// Restores the newest snapshot into memory.
fn restored(repo: &Repository) -> MemorySink {
    let sink = MemorySink::new();
    let newest = repo.snapshots().last().unwrap().id;
    let report = block_on(repo.restore(newest, &sink).run()).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert!(sink.is_finished());
    sink
}

/// Paths of everything that is not a folder, with the bytes of `content`.
fn files(sink: &MemorySink) -> Vec<(String, Vec<u8>)> {
    let tree = sink.tree();
    let files = tree.iter().filter(|(_, restored)| !restored.item.kind.is_container());
    files
        .map(|(path, r)| (path.clone(), r.streams.get("content").cloned().unwrap_or_default().to_vec()))
        .collect()
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A small collection: a root, two folders, five files.
fn sample() -> MemorySource {
    let source = MemorySource::new("memory:sample");
    source.put_folder("root", None, "root");
    source.put_folder("docs", Some("root"), "docs");
    source.put_folder("mail", Some("root"), "mail");
    source.put_file("a", Some("docs"), "a.txt", "alpha");
    source.put_file("b", Some("docs"), "b.txt", "beta");
    source.put_file("empty", Some("docs"), "empty", "");
    source.put_file("m", Some("mail"), &b"m\xff.eml"[..], noise(3_000, 1));
    source.put_file("top", Some("root"), "top.bin", noise(300_000, 2));
    source
}

/// A source that tells how many streams were opened so far, each time before the next one is.
struct Observed<'a> {
    inner: &'a dyn Source,
    opened: AtomicUsize,
    tell: Box<dyn Fn(usize) + Send + Sync + 'a>,
}

impl<'a> Observed<'a> {
    fn new(inner: &'a dyn Source, tell: impl Fn(usize) + Send + Sync + 'a) -> Self {
        Self { inner, opened: 0.into(), tell: Box::new(tell) }
    }
}

impl std::fmt::Debug for Observed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait::async_trait]
impl Source for Observed<'_> {
    fn collection(&self) -> Collection {
        self.inner.collection()
    }

    fn changes<'a>(&'a self, since: Option<&'a Cursor>) -> BoxStream<'a, backup_core::Result<Change>> {
        self.inner.changes(since)
    }

    async fn open<'a>(&'a self, item: &'a Item, stream: &'a str) -> backup_core::Result<Content<'a>> {
        (self.tell)(self.opened.fetch_add(1, Ordering::Relaxed));
        self.inner.open(item, stream).await
    }

    fn concurrency(&self) -> usize {
        self.inner.concurrency()
    }
}
