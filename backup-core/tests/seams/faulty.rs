//! The store that fails on demand does what it was told, and nothing else.

use std::sync::Arc;

use backup_core::store::MemoryStore;
use backup_core::testkit::{Fault, FaultyStore, Operation};
use backup_core::{Created, ErrorKind, Key, Store};
use bytes::Bytes;
use futures_executor::block_on;
use futures_util::StreamExt;

const DOWN: ErrorKind = ErrorKind::Unavailable;

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

fn store() -> (FaultyStore, MemoryStore) {
    let inner = MemoryStore::new();
    (FaultyStore::new(Arc::new(inner.clone())), inner)
}

#[test]
fn writes_fail_before_after_or_half_way() {
    let (store, inner) = store();
    let data = Bytes::from_static(b"0123456789");
    let create = |name: &str| block_on(store.create(&key(name), data.clone()));
    let held = |name: &str| inner.objects().get(&key(name)).map(|data| data.len());
    for (nth, fault) in
        [Fault::Before(DOWN), Fault::After(DOWN), Fault::Torn(4), Fault::TornSilently(5), Fault::Lost]
            .into_iter()
            .enumerate()
    {
        store.inject(Operation::Create, nth, 1, fault);
    }
    assert_eq!((create("before").unwrap_err().kind(), held("before")), (DOWN, None));
    assert_eq!((create("after").unwrap_err().kind(), held("after")), (DOWN, Some(10)));
    assert_eq!((create("torn").unwrap_err().kind(), held("torn")), (DOWN, Some(4)));
    assert_eq!((create("silent").unwrap(), held("silent")), (Created::New, Some(5)));
    assert_eq!((create("lost").unwrap(), held("lost")), (Created::New, None));
    assert_eq!((create("fine").unwrap(), held("fine")), (Created::New, Some(10)));
    let counters = store.counters();
    assert_eq!((counters.creates, counters.faults, counters.bytes_written, counters.calls()), (6, 5, 60, 6));
}

#[test]
fn reads_come_short_or_wrong() {
    let (store, _) = store();
    block_on(async {
        let name = key("object");
        store.create(&name, Bytes::from_static(b"abcd")).await.unwrap();
        store.inject(Operation::Read, 0, 1, Fault::Short(1));
        store.inject(Operation::Read, 1, 1, Fault::Flip(32 + 8));
        store.inject(Operation::Read, 2, 2, Fault::Before(ErrorKind::Throttled));
        assert_eq!(store.read(&name, None).await.unwrap(), "abc");
        assert_eq!(store.read(&name, Some(0..4)).await.unwrap(), "accd");
        for _ in 0..2 {
            assert_eq!(store.read(&name, None).await.unwrap_err().kind(), ErrorKind::Throttled);
        }
        assert_eq!(store.read(&name, None).await.unwrap(), "abcd");
        store.inject_next(Operation::Size, Fault::Off(-1));
        assert_eq!((store.size(&name).await.unwrap(), store.size(&name).await.unwrap()), (3, 4));
        assert_eq!(store.counters().bytes_read, 3 + 4 + 4);
    });
}

#[test]
fn listings_are_empty_partial_cut_or_old() {
    let (store, _) = store();
    let list = || {
        let prefix = key("p");
        block_on(
            store
                .list(&prefix)
                .map(|entry| entry.map(|entry| entry.key.to_string()).ok())
                .collect::<Vec<_>>(),
        )
    };
    for name in ["p/1", "p/2", "p/3"] {
        block_on(store.create(&key(name), Bytes::new())).unwrap();
    }
    store.inject(Operation::List, 0, 1, Fault::Partial(0));
    store.inject(Operation::List, 1, 1, Fault::Partial(2));
    store.inject(Operation::List, 2, 1, Fault::Cut(1, DOWN));
    store.inject(Operation::List, 3, 1, Fault::Stale(2));
    let some = |name: &str| Some(name.to_owned());
    assert_eq!(list(), []);
    assert_eq!(list(), [some("p/1"), some("p/2")]);
    assert_eq!(list(), [some("p/1"), None]);
    assert_eq!(list(), [some("p/1")]);
    assert_eq!(list().len(), 3);
}

#[test]
fn any_call_can_be_the_one_that_fails() {
    for nth in 0..5 {
        let (store, _) = store();
        store.inject(Operation::Any, nth, usize::MAX, Fault::Before(DOWN));
        let name = key("a");
        let failed = block_on(async {
            let prefix = key("a");
            [
                store.create(&name, Bytes::new()).await.is_err(),
                store.read(&name, None).await.is_err(),
                store.size(&name).await.is_err(),
                store.list(&prefix).any(|entry| std::future::ready(entry.is_err())).await,
                store.delete(&name).await.is_err(),
            ]
        });
        assert!(failed[nth..].iter().all(|failed| *failed), "{nth}: {failed:?}");
        assert!(!failed[..nth].contains(&true), "{nth}: {failed:?}");
        store.heal();
        assert!(block_on(store.delete(&name)).is_ok());
    }
}
