//! What goes wrong between the engine and the store, and what becomes of it.

use backup_core::testkit::{Fault, FaultyStore, Operation};
use backup_core::{ErrorKind, VerifyLevel};

use super::*;

/// One backup through a store whose `nth` call of this kind goes wrong, or which was not called as often.
fn backup_through(
    operation: Operation,
    nth: usize,
    fault: Fault,
) -> Option<(MemoryStore, backup_core::Result<BackupReport>)> {
    let memory = MemoryStore::new();
    let repo = init(&memory);
    backup_whole(&repo, &sample());
    let store = FaultyStore::new(Arc::new(memory.clone()));
    let arc: Arc<dyn Store> = Arc::new(store.clone());
    let repo = open_on(arc).unwrap();
    store.inject(operation, nth, 1, fault);
    let outcome = block_on(repo.backup(&library()).run());
    (store.counters().faults > 0).then_some((memory, outcome))
}

/// restic #1589: an upload that had been canceled raised no error, and the snapshot was made without it.
/// borg 2.0.0b22: a full disk of the repository was taken for files that cannot be read, and the backup "succeeded" without them.
#[test]
fn restic_1589_and_borg_b22_no_snapshot_is_made_unless_everything_has_arrived() {
    let mut failures = 0;
    for fault in
        [Fault::Before(ErrorKind::OutOfSpace), Fault::Before(ErrorKind::Unavailable), Fault::Torn(50)]
    {
        let mut nth = 0;
        while let Some((memory, outcome)) = backup_through(Operation::Create, nth, fault) {
            nth += 1;
            let Ok(repo) = open(&memory) else {
                // Only a torn entry of the log.
                assert!(outcome.is_err() && matches!(fault, Fault::Torn(_)));
                continue;
            };
            check_whole(&memory);
            match outcome {
                Ok(report) => {
                    // A create that failed for once and was tried again.
                    assert_eq!(report.state, SnapshotState::Complete, "{:?}", report.problems);
                    assert_eq!(files_of(&repo, report.snapshot).len(), 10);
                }
                Err(_) => {
                    failures += 1;
                    assert_eq!(ids(&repo).len(), 1);
                }
            }
        }
        assert!(nth >= 4, "{nth} creates");
    }
    assert!(failures > 3, "{failures} failures");
}

/// rustic #249: uploads that had failed were neither retried nor reported. rustic #403, #441: packs were cut, and found out at the next prune.
#[test]
fn rustic_249_and_403_what_a_store_lost_or_cut_behind_its_answer_is_found_by_name() {
    for fault in [Fault::Lost, Fault::TornSilently(0), Fault::TornSilently(200)] {
        let mut nth = 0;
        while let Some((memory, outcome)) = backup_through(Operation::Create, nth, fault) {
            nth += 1;
            let found = match open(&memory) {
                Err(error) => error.item().map(str::to_owned),
                Ok(repo) => {
                    let report = block_on(repo.verify(VerifyLevel::Structure).run()).unwrap();
                    // A log entry that does not exist is no commit.
                    assert!(
                        !report.is_sound() || ids(&repo).len() == 1,
                        "create {nth}, {fault:?}: {outcome:?}"
                    );
                    report.findings.into_iter().next().map(|finding| finding.place)
                }
            };
            if let Some(place) = found {
                assert!(
                    place.contains('/') || place.starts_with("tree node") || place.starts_with("snapshot"),
                    "{place}"
                );
            }
            // What was there before is still there, and may be restored.
            if let Ok(repo) = open(&memory) {
                assert_eq!(files_of(&repo, ids(&repo)[0]).len(), 5);
            }
        }
        assert!(nth >= 4, "{nth} creates");
    }
}

/// restic #5467: a check reported damage after a bad first download, although the second was good.
#[test]
fn restic_5467_a_download_that_was_bad_once_is_no_damage() {
    let memory = MemoryStore::new();
    let repo = init(&memory);
    history(&repo, 2);
    let mut nth = 0;
    loop {
        let store = FaultyStore::new(Arc::new(memory.clone()));
        let arc: Arc<dyn Store> = Arc::new(store.clone());
        let repo = open_on(arc).unwrap();
        store.inject(Operation::Read, store.counters().reads + nth, 1, Fault::Flip(2_001));
        let outcome = block_on(repo.verify(VerifyLevel::EveryByte).run());
        if store.counters().faults == 0 {
            break;
        }
        nth += 1;
        // The log says that it does not read; whoever asks again finds out that it does.
        if let Ok(report) = outcome {
            assert!(report.is_sound(), "read {nth}: {:?}", report.findings);
        }
    }
    assert!(nth > 10, "{nth} reads");
}

/// borg #1138: an error of the disk or the network while something was written left segments and metadata that did not read.
#[test]
fn borg_1138_an_error_of_any_write_harms_neither_what_was_there_nor_what_comes_next() {
    let base = MemoryStore::new();
    let source = library();
    backup_whole(&init(&base), &source);
    let first = files_of(&open(&base).unwrap(), ids(&open(&base).unwrap())[0]);
    put(&source, 3, 1_003);
    let faults = [
        Fault::Before(ErrorKind::Io),
        Fault::Before(ErrorKind::OutOfSpace),
        Fault::Before(ErrorKind::PermissionDenied),
        Fault::After(ErrorKind::Unavailable),
        Fault::After(ErrorKind::Io),
    ];
    let (mut points, mut nth) = (0, 0);
    loop {
        let mut reached = false;
        for (times, fault) in [1, usize::MAX].into_iter().flat_map(|times| faults.map(|fault| (times, fault)))
        {
            let memory = base.fork();
            let store = FaultyStore::new(Arc::new(memory.clone()));
            store.inject(Operation::Create, nth, times, fault);
            let outcome =
                open_on(Arc::new(store.clone())).and_then(|repo| block_on(repo.backup(&source).run()));
            if store.counters().faults == 0 {
                continue;
            }
            (reached, points) = (true, points + 1);
            let context = format!("create {nth}, {times} times, {fault:?}");
            // Without any repair.
            let repo = check_whole(&memory);
            assert_eq!(files_of(&repo, ids(&repo)[0]), first, "{context}");
            // A run that ended in an error may have been committed if the answer was lost, and then whole.
            assert!(outcome.is_err() || ids(&repo).len() == 2, "{context}: {outcome:?}");
            let next = backup_whole(&repo, &source);
            let repo = check_whole(&memory);
            let found = files_of(&repo, next.snapshot);
            assert!(found.contains(&("root/f3".into(), noise(LEN, 1_003))) && found.len() == 10, "{context}");
        }
        if !reached {
            break;
        }
        nth += 1;
    }
    println!("{points} failures of {nth} writes");
    assert!(nth >= 5);
}
