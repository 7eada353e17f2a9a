//! One step of a fixed small backup, to be run under callgrind: `counts STEP`. See `counts.py`, which runs all of them.
//!
//! Everything that could make two runs differ is an argument: randomness and time come from the testkit, all work happens on
//! the calling thread, the store is in memory. The repository's key is raw, so that no passphrase is stretched.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a measurement that cannot go on ends")]

use std::sync::Arc;

use backup_benches::{Files, noise, text};
use backup_core::store::MemoryStore;
use backup_core::testkit::environment;
use backup_core::{Compression, Credential, MemorySink, Options, Repository, SnapshotId};
use futures_executor::block_on;

/// Texts of `TEXT_BYTES` in folders of `FOLDER_FILES`, besides one long text and one that does not compress.
const FILES: usize = 400;
const FOLDER_FILES: usize = 40;
const TEXT_BYTES: usize = 10 << 10;
const LONG_BYTES: usize = 3 << 20;
const NOISE_BYTES: usize = 2 << 20;
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

/// The texts, and the two long files.
fn files(collection: &str) -> Files {
    let files = Files::new(collection);
    (0..FILES / FOLDER_FILES).for_each(|folder| files.put_folder(&format!("folder {folder}")));
    (0..FILES).for_each(|number| write(&files, number, 0));
    files.put("long", "root", text(LONG_BYTES, u64::MAX));
    files.put("noise", "root", noise(NOISE_BYTES, u64::MAX));
    files
}

/// Writes one text; each version of it is another one.
fn write(files: &Files, number: usize, version: usize) {
    let bytes = text(TEXT_BYTES, (version * FILES + number) as u64);
    files.put(&format!("{number:04}"), &format!("folder {}", number / FOLDER_FILES), bytes);
}

/// Changes texts all over the folders.
fn change(files: &Files, version: usize, texts: usize) {
    (0..texts).for_each(|at| write(files, (at * FILES / texts + version) % FILES, version));
}

fn key() -> Credential {
    Credential::raw_key([7; 32])
}

fn open(store: &MemoryStore) -> Repository {
    block_on(Repository::open_with(Arc::new(store.clone()), &key(), environment(1), Options::default()))
        .unwrap()
}

fn back_up(repository: &Repository, files: &Files) -> SnapshotId {
    // What an adaptive one tries would outweigh everything else.
    block_on(repository.backup(files).compression(Compression::Fast).run()).unwrap().snapshot
}

fn main() {
    let step = std::env::args().nth(1).unwrap_or_default();
    let (store, source) = (MemoryStore::new(), files("counts"));
    let (key, options) = (key(), Options::default());
    let repository =
        block_on(Repository::init_with(Arc::new(store.clone()), &key, environment(0), options)).unwrap();
    if step == "first" {
        return counted(&mut || _ = back_up(&repository, &source));
    }
    let first = back_up(&repository, &source);
    if matches!(&*step, "open" | "known") {
        for version in 1..=SEGMENTS {
            change(&source, version, 1);
            back_up(&repository, &source);
        }
    }
    match &*step {
        "unchanged" => counted(&mut || _ = back_up(&repository, &source)),
        "next" => {
            change(&source, 1, CHANGED);
            counted(&mut || _ = back_up(&repository, &source));
        }
        "known" => {
            let copy = files("copy");
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
