//! The index cache: it saves reading segments, and nothing that happens to it costs more than that.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use backup_core::store::MemoryStore;
use backup_core::testkit::FaultyStore;
use backup_core::{
    CacheEntry, DirectoryCache, Entry, Error, ErrorKind, IndexCache, Key, MemorySource, Options, Repository,
    Result, VerifyLevel,
};
use bytes::Bytes;
use futures_executor::block_on;
use futures_util::TryStreamExt;

use super::{backup_whole, fresh_environment, key, noise, restored};

/// Commits enough that the index is worth a file.
const COMMITS: usize = 12;

fn options(cache: Option<Arc<dyn IndexCache>>) -> Options {
    let mut options = Options::default();
    options.index_cache = cache;
    options
}

fn open(store: &FaultyStore, cache: Option<Arc<dyn IndexCache>>) -> Repository {
    let store = Arc::new(store.clone());
    block_on(Repository::open_with(store, &key(), fresh_environment(), options(cache))).unwrap()
}

/// A repository with twelve segments, and what has been backed up into it.
fn grown(cache: Option<Arc<dyn IndexCache>>) -> (FaultyStore, MemorySource) {
    let store = FaultyStore::new(Arc::new(MemoryStore::new()));
    let key = key();
    let made = Repository::init_with(Arc::new(store.clone()), &key, fresh_environment(), options(cache));
    let repository = block_on(made).unwrap();
    let source = MemorySource::new("memory:grown");
    source.put_folder("root", None, "root");
    for number in 0..COMMITS {
        source.put_file(
            &number.to_string(),
            Some("root"),
            format!("{number}.bin"),
            noise(90_000, number as u64),
        );
        backup_whole(&repository, &source);
    }
    (store, source)
}

fn reads(store: &FaultyStore, call: impl FnOnce()) -> usize {
    let before = store.counters().reads;
    call();
    store.counters().reads - before
}

fn files(place: &tempfile::TempDir) -> Vec<PathBuf> {
    std::fs::read_dir(place.path()).unwrap().map(|file| file.unwrap().path()).collect()
}

/// All there, all right, and known: the same once more stores no content.
fn check(repository: &Repository, source: &MemorySource) {
    let sink = restored(repository);
    for number in 0..COMMITS {
        assert_eq!(sink.content(&format!("root/{number}.bin")).unwrap(), noise(90_000, number as u64));
    }
    let again = MemorySource::new("memory:again");
    again.put_folder("root", None, "root");
    again.put_file("0", Some("root"), "0.bin", noise(90_000, 0));
    let stored = backup_whole(repository, &again).stats.bytes_stored;
    assert!(stored < 30_000, "{stored} bytes were stored again");
    backup_whole(repository, source);
}

#[test]
fn a_cached_index_is_not_read_again() {
    let place = tempfile::tempdir().unwrap();
    let cache: Arc<dyn IndexCache> = Arc::new(DirectoryCache::open(place.path()).unwrap());
    let (store, source) = grown(None);
    let without = reads(&store, || drop(open(&store, None)));
    let first = reads(&store, || drop(open(&store, Some(Arc::clone(&cache)))));
    assert_eq!(first, without);
    assert_eq!(files(&place).len(), 1, "twelve segments are one file");
    let second = reads(&store, || drop(open(&store, Some(Arc::clone(&cache)))));
    assert_eq!(second, without - COMMITS, "no segment is read again");

    let other_program: Arc<dyn IndexCache> = Arc::new(DirectoryCache::open(place.path()).unwrap());
    check(&open(&store, Some(other_program)), &source);
}

#[test]
fn a_repository_that_stays_open_caches_what_it_commits() {
    let place = tempfile::tempdir().unwrap();
    let cache: Arc<dyn IndexCache> = Arc::new(DirectoryCache::open(place.path()).unwrap());
    let (store, source) = grown(Some(Arc::clone(&cache)));
    assert!(!files(&place).is_empty());
    let without = reads(&store, || drop(open(&store, None)));
    let with = reads(&store, || drop(open(&store, Some(Arc::clone(&cache)))));
    assert!(without - with >= 8, "{with} reads instead of {without}");
    check(&open(&store, Some(cache)), &source);
}

#[test]
fn two_repositories_share_a_cache() {
    let place = tempfile::tempdir().unwrap();
    let cache: Arc<dyn IndexCache> = Arc::new(DirectoryCache::open(place.path()).unwrap());
    let ((one, source_one), (two, source_two)) = (grown(None), grown(None));
    for _ in 0..2 {
        check(&open(&one, Some(Arc::clone(&cache))), &source_one);
        check(&open(&two, Some(Arc::clone(&cache))), &source_two);
    }
    let unfinished =
        files(&place).into_iter().filter(|path| path.extension().is_some_and(|end| end == "part"));
    assert_eq!(unfinished.count(), 0);
}

/// Cut, emptied, swapped, or with a byte changed anywhere: it is noticed, and made anew.
#[test]
fn a_damaged_cache_is_made_anew() {
    let place = tempfile::tempdir().unwrap();
    let cache: Arc<dyn IndexCache> = Arc::new(DirectoryCache::open(place.path()).unwrap());
    let (store, source) = grown(None);
    drop(open(&store, Some(Arc::clone(&cache))));
    let [file] = &*files(&place) else { panic!("{:?}", files(&place)) };
    let whole = std::fs::read(file).unwrap();
    let flip = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let mut damages = vec![Vec::new(), whole[..whole.len() / 2].to_vec(), noise(whole.len(), 77)];
    damages.extend((0..whole.len()).step_by(whole.len() / 40).map(flip));
    for damage in damages {
        // Under another name, so that the file which is mapped is not changed.
        std::fs::write(place.path().join("damage"), damage).unwrap();
        std::fs::rename(place.path().join("damage"), file).unwrap();
        check(&open(&store, Some(Arc::clone(&cache))), &source);
    }
}

#[test]
fn a_check_of_the_repository_believes_no_cache() {
    let place = tempfile::tempdir().unwrap();
    let cache: Arc<dyn IndexCache> = Arc::new(DirectoryCache::open(place.path()).unwrap());
    let (store, _) = grown(None);
    drop(open(&store, Some(Arc::clone(&cache))));
    let below = Key::new("segment").unwrap();
    let memory = store.inner().list(&below);
    let segments: Vec<Entry> = block_on(memory.try_collect()).unwrap();
    let lost = &segments[0];
    block_on(store.inner().delete(&lost.key)).unwrap();
    // All that a restore needs is in the cache ...
    let repository = open(&store, Some(Arc::clone(&cache)));
    restored(&repository);
    // ... but what the store has lost is not hidden by it.
    let found = block_on(repository.verify(VerifyLevel::Structure).run());
    assert_eq!(found.unwrap_err().kind(), ErrorKind::Missing);
}

/// A cache that is full, forbidden, or lost in the middle of everything.
#[derive(Debug)]
struct Failing {
    inner: DirectoryCache,
    names: AtomicBool,
    load: AtomicBool,
    create: AtomicBool,
    write: AtomicBool,
    finish: AtomicBool,
}

fn fails(when: &AtomicBool) -> Result<()> {
    match when.load(Ordering::Relaxed) {
        true => Err(Error::new(ErrorKind::OutOfSpace, "no room in the cache")),
        false => Ok(()),
    }
}

struct FailingEntry(Box<dyn CacheEntry>, bool, bool);

impl std::io::Write for FailingEntry {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.1 { Err(std::io::ErrorKind::StorageFull.into()) } else { self.0.write(bytes) }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl CacheEntry for FailingEntry {
    fn finish(self: Box<Self>) -> Result<Bytes> {
        if self.2 { Err(Error::new(ErrorKind::Io, "lost at the end")) } else { self.0.finish() }
    }
}

impl IndexCache for Failing {
    fn names(&self) -> Result<Vec<String>> {
        fails(&self.names)?;
        self.inner.names()
    }

    fn load(&self, name: &str) -> Result<Option<Bytes>> {
        fails(&self.load)?;
        self.inner.load(name)
    }

    fn create(&self, name: &str) -> Result<Box<dyn CacheEntry>> {
        fails(&self.create)?;
        let (write, finish) = (self.write.load(Ordering::Relaxed), self.finish.load(Ordering::Relaxed));
        Ok(Box::new(FailingEntry(self.inner.create(name)?, write, finish)))
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.inner.remove(name)
    }
}

#[test]
fn a_cache_that_fails_costs_nothing_but_its_use() {
    let (store, source) = grown(None);
    for which in 0..5 {
        let place = tempfile::tempdir().unwrap();
        let on = |number| AtomicBool::new(which == number);
        let inner = DirectoryCache::open(place.path()).unwrap();
        let (names, load, create, write, finish) = (on(0), on(1), on(2), on(3), on(4));
        let cache: Arc<dyn IndexCache> = Arc::new(Failing { inner, names, load, create, write, finish });
        for _ in 0..2 {
            check(&open(&store, Some(Arc::clone(&cache))), &source);
        }
        let left = files(&place).into_iter().filter(|path| path.extension().is_some_and(|end| end == "part"));
        assert_eq!(left.count(), 0, "what could not be finished is removed");
    }
}
