//! One step of a fixed small backup, to be run under callgrind: `counts STEP`. See `counts.py`, which runs all of them.
//!
//! Everything that could make two runs differ is an argument: randomness and time come from the testkit, all work happens on
//! the calling thread, the store is in memory. The repository's key is raw, so that no passphrase is stretched.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a measurement that cannot go on ends")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backup_benches::{noise, text};
use backup_core::store::MemoryStore;
use backup_core::testkit::environment;
use backup_core::{
    BlockingContent, Change, Collection, Content, Credential, Cursor, Item, MemorySink, MemorySource,
    Options, Repository, Result, SnapshotId, Source,
};
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_executor::block_on;

/// Texts of `TEXT_BYTES` in folders of `FOLDER_FILES`, besides one long text and one that does not compress.
const FILES: usize = 400;
const FOLDER_FILES: usize = 40;
const TEXT_BYTES: usize = 10 << 10;
const LONG_BYTES: usize = 3 << 20;
const NOISE_BYTES: usize = 2 << 20;
/// What one read gives.
const PIECE_BYTES: usize = 1 << 20;
/// Of the texts, those that another version changes.
const CHANGED: usize = 20;
/// Backups that make a repository of many segments: more than the 64 after which a checkpoint is written.
const SEGMENTS: usize = 100;

/// Callgrind counts what happens in the function of this name, and nothing else.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
    // Something after the call, or it is a jump that leaves this function.
    std::hint::black_box(());
}

/// A folder's way of being backed up, from memory: every run names all items, and streams are read by calls that block.
#[derive(Debug)]
struct Files {
    items: MemorySource,
    /// The bytes of each file, by id.
    bytes: Mutex<HashMap<String, Bytes>>,
}

impl Files {
    fn new(collection: &str) -> Self {
        let items = MemorySource::new(collection).without_delta();
        items.put_folder("root", None, "root");
        for folder in 0..FILES / FOLDER_FILES {
            items.put_folder(&format!("folder {folder}"), Some("root"), format!("{folder:02}"));
        }
        let files = Self { items, bytes: Mutex::default() };
        (0..FILES).for_each(|number| files.write(number, 0));
        files.put("long", "root", text(LONG_BYTES, u64::MAX));
        files.put("noise", "root", noise(NOISE_BYTES, u64::MAX));
        files
    }

    fn put(&self, id: &str, folder: &str, bytes: Vec<u8>) {
        let bytes = Bytes::from(bytes);
        self.items.put_file(id, Some(folder), format!("{id}.txt"), bytes.clone());
        self.bytes.lock().unwrap().insert(id.to_owned(), bytes);
    }

    /// Writes one text; each version of it is another one.
    fn write(&self, number: usize, version: usize) {
        let seed = (version * FILES + number) as u64;
        self.put(
            &format!("{number:04}"),
            &format!("folder {}", number / FOLDER_FILES),
            text(TEXT_BYTES, seed),
        );
    }

    /// Changes texts all over the folders.
    fn change(&self, version: usize, texts: usize) {
        (0..texts).for_each(|at| self.write((at * FILES / texts + version) % FILES, version));
    }
}

#[async_trait]
impl Source for Files {
    fn collection(&self) -> Collection {
        self.items.collection()
    }

    fn changes<'a>(&'a self, since: Option<&'a Cursor>) -> BoxStream<'a, Result<Change>> {
        self.items.changes(since)
    }

    async fn open<'a>(&'a self, item: &'a Item, stream: &'a str) -> Result<Content<'a>> {
        self.items.open(item, stream).await
    }

    fn open_blocking(&self, item: &Item, _: &str) -> Option<BlockingContent> {
        let bytes = self.bytes.lock().unwrap().get(std::str::from_utf8(item.id.as_bytes()).ok()?)?.clone();
        let pieces = (0..bytes.len()).step_by(PIECE_BYTES).map(move |at| {
            // Copied, as a read copies.
            Ok(Bytes::copy_from_slice(&bytes[at..bytes.len().min(at + PIECE_BYTES)]))
        });
        Some(BlockingContent::new(item.streams.first()?.size, || Ok(pieces)))
    }
}

fn key() -> Credential {
    Credential::raw_key([7; 32])
}

fn open(store: &MemoryStore) -> Repository {
    block_on(Repository::open_with(Arc::new(store.clone()), &key(), environment(1), Options::default()))
        .unwrap()
}

fn back_up(repository: &Repository, files: &Files) -> SnapshotId {
    block_on(repository.backup(files).run()).unwrap().snapshot
}

fn main() {
    let step = std::env::args().nth(1).unwrap_or_default();
    let (store, files) = (MemoryStore::new(), Files::new("counts"));
    let (key, options) = (key(), Options::default());
    let repository =
        block_on(Repository::init_with(Arc::new(store.clone()), &key, environment(0), options)).unwrap();
    if step == "first" {
        return counted(&mut || _ = back_up(&repository, &files));
    }
    let first = back_up(&repository, &files);
    if matches!(&*step, "open" | "known") {
        for version in 1..=SEGMENTS {
            files.change(version, 1);
            back_up(&repository, &files);
        }
    }
    match &*step {
        "unchanged" => counted(&mut || _ = back_up(&repository, &files)),
        "next" => {
            files.change(1, CHANGED);
            counted(&mut || _ = back_up(&repository, &files));
        }
        "known" => {
            let copy = Files::new("copy");
            counted(&mut || _ = back_up(&repository, &copy));
        }
        "open" => counted(&mut || drop(open(&store))),
        "restore" => {
            // Opened anew: nothing is in its caches.
            let (repository, sink) = (open(&store), MemorySink::new());
            counted(&mut || drop(block_on(repository.restore(first, &sink).run()).unwrap()));
        }
        other => {
            eprintln!("there is no step '{other}'");
            std::process::exit(2);
        }
    }
}
