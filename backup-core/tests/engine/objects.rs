//! The objects of a store in memory, one by one: for tests that damage, take away and compare them.

use backup_core::store::MemoryStore;
use backup_core::{Key, Store};
use bytes::Bytes;
use futures_executor::block_on;
use futures_util::TryStreamExt;

/// Names below a prefix, ascending.
pub(super) fn names(store: &MemoryStore, prefix: &str) -> Vec<Key> {
    let prefix = Key::new(prefix).unwrap();
    let mut names: Vec<Key> = block_on(store.list(&prefix).map_ok(|entry| entry.key).try_collect()).unwrap();
    names.sort();
    names
}

/// All objects of a repository.
pub(super) fn all(store: &MemoryStore) -> Vec<Key> {
    ["pack", "segment", "snapshot", "log", "checkpoint", "keys", "parity"]
        .into_iter()
        .flat_map(|kind| names(store, kind))
        .collect()
}

pub(super) fn get(store: &MemoryStore, key: &Key) -> Bytes {
    block_on(store.read(key, None)).unwrap()
}

/// Puts other bytes under a name.
pub(super) fn set(store: &MemoryStore, key: &Key, bytes: impl Into<Bytes>) {
    block_on(store.delete(key)).unwrap();
    block_on(store.create(key, bytes.into())).unwrap();
}

pub(super) fn copy(store: &MemoryStore) -> MemoryStore {
    let copy = MemoryStore::new();
    for key in all(store) {
        set(&copy, &key, get(store, &key));
    }
    copy
}
