//! What a probe says of honest stores, which lies it finds, and that nothing of a repository is written to a store that lies.

use std::sync::Arc;

use backup_core::store::{Contest, Deletion, Listed, MemoryStore, ObjectStoreAdapter, Probe, probe};
use backup_core::testkit::{Fault, FaultyStore, Operation, environment};
use backup_core::{Credential, ErrorKind, Key, MemorySource, Options, Repository, Result, Store};
use futures_executor::block_on;

use super::store::{Liar, Lie};

fn key() -> Credential {
    Credential::raw_key([7; 32])
}

fn init(store: Arc<dyn Store>) -> Result<Repository> {
    block_on(Repository::init_with(store, &key(), environment(1), Options::default()))
}

/// A store with a script, and the memory behind it.
fn faulty() -> (FaultyStore, MemoryStore) {
    let memory = MemoryStore::new();
    (FaultyStore::new(Arc::new(memory.clone())), memory)
}

#[test]
fn an_honest_store_is_described_and_left_as_it_was() {
    let (store, memory) = faulty();
    let found = block_on(probe(&store, &environment(1))).unwrap();
    assert_eq!(
        (found.contest, found.listing, found.deletion, found.tells_time),
        (Contest::Decided, Listed::AtOnce, Deletion::AtOnce, false)
    );
    assert!(memory.objects().is_empty(), "{:?}", memory.objects());
    assert_eq!(store.counters().calls(), 24, "as the documentation says");

    let folder = tempfile::tempdir().unwrap();
    let disk = ObjectStoreAdapter::on_disk(folder.path()).unwrap();
    let found = block_on(probe(&disk, &environment(2))).unwrap();
    assert_eq!((found.listing, found.deletion, found.tells_time), (Listed::AtOnce, Deletion::AtOnce, true));
    let left: Vec<_> = std::fs::read_dir(folder.path().join("probe")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn every_lie_that_loses_data_is_found_before_anything_of_a_repository_is_written() {
    for (lie, word) in [
        (Lie::OverwritesOnCreate, "changes an object"),
        (Lie::LooksThenWrites, "twice at the same time"),
        (Lie::SaysNewTwice, "whose name is taken"),
        (Lie::CutsRanges, "ends after the object"),
        (Lie::IgnoresRanges, "other bytes than it names"),
        (Lie::ReportsPaddedSize, "wrong length"),
        (Lie::AnswersMissingAsForbidden, "absent object is absent"),
        (Lie::ShowsWhatNobodyCreated, "nobody has created"),
    ] {
        let inner = MemoryStore::new();
        let error = init(Arc::new(Liar { inner: inner.clone(), lie })).expect_err(&format!("{lie:?}"));
        assert_eq!(error.kind(), ErrorKind::UnsafeStore, "{lie:?}: {error:?}");
        assert!(error.to_string().contains(word) && !error.kind().is_retryable(), "{lie:?}: {error}");
        assert!(inner.objects().is_empty(), "{lie:?}: {:?}", inner.objects());
    }
}

#[test]
fn objects_that_are_torn_lost_or_altered_are_found() {
    for (operation, nth, fault, word) in [
        (Operation::Create, 0, Fault::TornSilently(100), "does not read back"),
        (Operation::Create, 0, Fault::Lost, "not there after it was created"),
        (Operation::Create, 4, Fault::TornSilently(5_002), "wrong one stayed"),
        (Operation::Create, 4, Fault::Lost, "twice at the same time"),
        (Operation::Create, 0, Fault::Before(ErrorKind::Unsupported), "only if it is absent"),
        (Operation::Read, 2, Fault::Flip(40_000), "does not read back"),
        (Operation::Read, 3, Fault::Flip(0), "changes an object"),
        (Operation::Read, 5, Fault::Short(1), "other bytes than it names"),
        (Operation::Read, 8, Fault::Flip(0), "other bytes than it names"),
        (Operation::Size, 1, Fault::Off(-1), "wrong length"),
    ] {
        let (store, memory) = faulty();
        store.inject(operation, nth, 1, fault);
        let error =
            block_on(probe(&store, &environment(1))).expect_err(&format!("{operation:?} {nth} {fault:?}"));
        assert_eq!(error.kind(), ErrorKind::UnsafeStore, "{operation:?} {nth} {fault:?}: {error:?}");
        assert!(error.to_string().contains(word), "{operation:?} {nth} {fault:?}: {error}");
        assert_eq!(store.counters().faults, 1);
        assert!(memory.objects().is_empty(), "what can be tidied up is");
    }
}

#[test]
fn what_only_costs_is_in_the_report() {
    type AsExpected = fn(&Probe) -> bool;
    let cases: [(Operation, Fault, AsExpected); 5] = [
        (Operation::List, Fault::Stale(1), |found| found.listing == Listed::Late),
        (Operation::List, Fault::Partial(0), |found| found.listing == Listed::Late),
        (Operation::Delete, Fault::Lost, |found| found.deletion == Deletion::Late),
        (Operation::Delete, Fault::Before(ErrorKind::PermissionDenied), |found| {
            found.deletion == Deletion::Refused
        }),
        (Operation::Delete, Fault::Before(ErrorKind::Unsupported), |found| {
            found.deletion == Deletion::Refused
        }),
    ];
    for (operation, fault, as_expected) in cases {
        let (store, _) = faulty();
        store.inject(operation, 0, usize::MAX, fault);
        let found = block_on(probe(&store, &environment(1))).unwrap();
        assert!(as_expected(&found), "{fault:?}: {found:?}");
    }
    // Of two that create one name at once, the one that lost is not told that it did.
    let (store, _) = faulty();
    store.inject(Operation::Create, 5, 1, Fault::Before(ErrorKind::Unavailable));
    assert_eq!(block_on(probe(&store, &environment(1))).unwrap().contest, Contest::LoserFails);
}

#[test]
fn a_store_that_fails_is_not_called_unsafe_for_that() {
    for call in 0..24 {
        for kind in [ErrorKind::Unavailable, ErrorKind::Throttled, ErrorKind::OutOfSpace] {
            for fault in [Fault::Before(kind), Fault::After(kind)] {
                let (store, _) = faulty();
                store.inject(Operation::Any, call, 1, fault);
                match block_on(probe(&store, &environment(1))) {
                    // Of two that meet one may fail; so must a range outside, and a look at what is not there. Of a listing no more
                    // is read than the two names that are looked for.
                    Ok(found) => assert!(
                        found.contest == Contest::LoserFails
                            || (16..18).contains(&call)
                            || (fault == Fault::After(kind) && !(3..=18).contains(&call)),
                        "call {call}, {fault:?}"
                    ),
                    Err(error) => assert_eq!(error.kind(), kind, "call {call}: {error:?}"),
                }
            }
        }
    }
}

#[test]
fn who_may_not_write_is_told_so() {
    let (store, _) = faulty();
    store.inject(Operation::Create, 0, usize::MAX, Fault::Before(ErrorKind::PermissionDenied));
    assert_eq!(init(Arc::new(store)).unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[test]
fn opening_probes_when_asked_and_keeps_the_report() {
    let (store, memory) = faulty();
    let made = init(Arc::new(store.clone())).unwrap();
    assert_eq!(made.probe().unwrap().deletion, Deletion::AtOnce);
    let open = |probe: bool, seed: u64| {
        let mut options = Options::default();
        options.probe = probe;
        block_on(Repository::open_with(Arc::new(store.clone()), &key(), environment(seed), options))
    };
    let creates = store.counters().creates;
    assert!(open(false, 2).unwrap().probe().is_none());
    assert_eq!(store.counters().creates, creates, "opening writes nothing");
    assert!(open(true, 3).unwrap().probe().is_some());
    store.inject(Operation::Create, store.counters().creates, 1, Fault::Lost);
    assert_eq!(open(true, 4).unwrap_err().kind(), ErrorKind::UnsafeStore);
    store.heal();
    let key = Key::new("probe").unwrap();
    assert!(memory.objects().keys().all(|object| !object.is_below(&key)));
}

#[test]
fn what_a_probe_leaves_behind_is_in_nobodys_way() {
    let (store, memory) = faulty();
    store.inject(Operation::Delete, 0, 2, Fault::Before(ErrorKind::PermissionDenied));
    let repository = init(Arc::new(store)).unwrap();
    let left = |memory: &MemoryStore| {
        memory.objects().into_keys().filter(|key| key.as_str().starts_with("probe/")).collect::<Vec<_>>()
    };
    let before = left(&memory);
    assert_eq!((repository.probe().unwrap().deletion, before.len()), (Deletion::Refused, 2));
    let source = MemorySource::new("memory:notes");
    source.put_folder("0", None, "notes");
    source.put_file("1", Some("0"), "a", "alpha");
    let done = block_on(repository.backup(&source).run()).unwrap();
    block_on(repository.remove(&[done.snapshot])).unwrap();
    let report = block_on(repository.prune().grace(std::time::Duration::ZERO).run()).unwrap();
    assert_eq!((report.stray_objects, left(&memory)), (0, before));
    let opened =
        block_on(Repository::open_with(Arc::new(memory), &key(), environment(9), Options::default()))
            .unwrap();
    assert!(block_on(opened.verify(backup_core::VerifyLevel::EveryByte).run()).unwrap().is_sound());
}
