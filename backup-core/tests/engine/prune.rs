//! Removing snapshots and giving back their room: nothing that a snapshot needs is ever lost, whoever else writes meanwhile.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use backup_core::testkit::{Fault, FaultyStore, Operation};
use backup_core::{ErrorKind, Key, PruneReport, SnapshotId, VerifyLevel};
use futures_executor::block_on;

use super::*;

pub(super) fn ids(repo: &Repository) -> Vec<SnapshotId> {
    repo.snapshots().into_iter().map(|snapshot| snapshot.id).collect()
}

/// At once, and with every unused chunk.
pub(super) fn prune(repo: &Repository) -> PruneReport {
    block_on(repo.prune().grace(Duration::ZERO).unused_percent(0).run()).unwrap()
}

pub(super) fn stored(store: &MemoryStore, prefix: &str) -> u64 {
    let objects = store.objects();
    objects
        .iter()
        .filter(|(key, _)| key.as_str().starts_with(prefix))
        .map(|(_, bytes)| bytes.len() as u64)
        .sum()
}

pub(super) fn check_whole(store: &MemoryStore) -> Repository {
    let repo = open(store).unwrap();
    let report = block_on(repo.verify(VerifyLevel::EveryByte).run()).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    repo
}

/// Files of one snapshot.
pub(super) fn files_of(repo: &Repository, id: SnapshotId) -> Vec<(String, Vec<u8>)> {
    let sink = MemorySink::new();
    let report = block_on(repo.restore(id, &sink).run()).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    files(&sink)
}

pub(super) const LEN: usize = 40_000;

/// Ten files that do not compress.
pub(super) fn library() -> MemorySource {
    let source = MemorySource::new("memory:library").with_concurrency(1);
    source.put_folder("root", None, "root");
    (0..10).for_each(|file| put(&source, file, file));
    source
}

pub(super) fn put(source: &MemorySource, file: u64, seed: u64) {
    source.put_file(&format!("f{file}"), Some("root"), format!("f{file}"), noise(LEN, seed));
}

/// So many snapshots, each with another file changed.
pub(super) fn history(repo: &Repository, rounds: u64) -> MemorySource {
    let source = library();
    for round in 0..rounds {
        put(&source, round, 1_000 + round);
        backup_whole(repo, &source);
    }
    source
}

/// What another program does while ours is in the middle of something.
pub(super) fn meanwhile(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| scope.spawn(work).join()).unwrap();
}

#[test]
fn what_only_removed_snapshots_needed_is_given_back() {
    let store = MemoryStore::new();
    let repo = init(&store);
    history(&repo, 5);
    let all = ids(&repo);
    let expected: Vec<_> = all.iter().map(|id| files_of(&repo, *id)).collect();
    let before = stored(&store, "pack/");

    block_on(repo.remove(&all[..3])).unwrap();
    assert_eq!(ids(&repo), all[3..]);
    assert_eq!(stored(&store, "pack/"), before, "removing alone deletes nothing");
    let report = prune(&repo);
    assert!(
        report.findings.is_empty() && report.copied_packs > 0 && report.deleted_objects > 5,
        "{report:?}"
    );
    let after = stored(&store, "pack/");
    assert!(after + 3 * LEN as u64 * 5 / 6 < before, "{before} bytes became {after}");

    for repo in [repo, check_whole(&store)] {
        assert_eq!(files_of(&repo, all[3]), expected[3]);
        assert_eq!(files_of(&repo, all[4]), expected[4]);
        assert_eq!(block_on(repo.snapshot(all[0])).unwrap_err().kind(), ErrorKind::NotFound);
    }
    // Nothing is left over: what is listed is what the log names.
    let again = prune(&check_whole(&store));
    assert_eq!((again.dead_packs, again.copied_packs, again.stray_objects), (0, 0, 0), "{again:?}");
    assert_eq!(again.unused_bytes, 0);
    assert_eq!(stored(&store, "pack/"), after);
    let fresh = MemoryStore::new();
    let other = init(&fresh);
    let source = library();
    (0..4).for_each(|round| put(&source, round, 1_000 + round));
    backup_whole(&other, &source);
    put(&source, 4, 1_004);
    backup_whole(&other, &source);
    let least = stored(&fresh, "pack/");
    assert!(after <= least + least / 20, "{after} bytes, and {least} if the removed ones had never been");
}

#[test]
fn a_backup_after_a_prune_relies_on_nothing_that_is_gone() {
    let store = MemoryStore::new();
    let repo = init(&store);
    let source = library();
    backup_whole(&repo, &source);
    let stale = open(&store).unwrap();
    put(&source, 0, 1_000);
    backup_whole(&repo, &source);
    block_on(repo.remove(&ids(&repo)[..1])).unwrap();
    assert!(prune(&repo).copied_packs > 0);
    // What only the first snapshot had is gone; a program that has been open since stores it again.
    put(&source, 0, 0);
    let last = backup_whole(&stale, &source);
    let repo = check_whole(&store);
    assert!(files_of(&repo, last.snapshot).contains(&("root/f0".into(), noise(LEN, 0))));
}

#[test]
fn a_dry_run_says_what_a_run_does() {
    let store = MemoryStore::new();
    let repo = init(&store);
    history(&repo, 4);
    block_on(repo.remove(&ids(&repo)[..2])).unwrap();
    store.overwrite(Key::new(format!("pack/aa/{}", "aa".repeat(16))).unwrap(), vec![0; 77].into());
    store.overwrite(Key::new("pack/not-ours").unwrap(), vec![0; 77].into());
    let before = store.objects();
    let run = |dry: bool| {
        let run = repo.prune().grace(Duration::from_secs(1)).unused_percent(5);
        block_on(if dry { run.dry_run() } else { run }.run()).unwrap()
    };
    let dry = run(true);
    assert_eq!(store.objects(), before, "a dry run changes nothing");
    let wet = run(false);
    let figures = |r: &PruneReport| {
        [r.packs, r.bytes, r.unused_bytes, r.unused_bytes_after, r.dead_packs, r.dead_bytes, r.copied_packs]
            .into_iter()
            .chain([r.copied_bytes, r.stray_objects, r.stray_bytes, r.deleted_objects])
            .collect::<Vec<_>>()
    };
    assert_eq!(figures(&dry), figures(&wet));
    assert_eq!((wet.stray_objects, wet.stray_bytes), (1, 77));
    assert!(wet.copied_packs > 0, "{wet:?}");
    check_whole(&store);
}

#[test]
fn what_is_held_stays() {
    let store = MemoryStore::new();
    let repo = init(&store);
    history(&repo, 3);
    let all = ids(&repo);
    let expected = files_of(&repo, all[0]);
    block_on(repo.hold(&all[..1])).unwrap();
    assert!(repo.snapshots()[0].held && !repo.snapshots()[1].held);
    let other = open(&store).unwrap();
    let error = block_on(other.remove(&all[..2])).unwrap_err();
    assert_eq!(
        (error.kind(), error.item()),
        (ErrorKind::PermissionDenied, Some(all[0].to_string().as_str()))
    );
    assert_eq!(ids(&other), all, "none is removed if one is held");
    block_on(other.remove(&all[1..2])).unwrap();
    prune(&other);
    let repo = check_whole(&store);
    assert_eq!(files_of(&repo, all[0]), expected);
    block_on(repo.release(&all[..1])).unwrap();
    block_on(repo.remove(&all[..1])).unwrap();
    assert_eq!(ids(&repo), all[2..]);
    assert_eq!(block_on(repo.hold(&all[..1])).unwrap_err().kind(), ErrorKind::NotFound);
    block_on(repo.remove(&all[..1])).unwrap();
}

/// A source that removes everything and prunes with another program, while its own backup is under way.
fn backup_while_pruned(grace: Duration) -> (MemoryStore, backup_core::Result<BackupReport>) {
    let store = MemoryStore::new();
    let first = init(&store);
    backup_whole(&first, &library());
    let elsewhere = MemorySource::new("memory:elsewhere").with_concurrency(1);
    elsewhere.put_folder("root", None, "root");
    for file in 0..10u64 {
        // The same content as in the other collection, and some of its own.
        elsewhere.put_file(&format!("f{file}"), Some("root"), format!("f{file}"), noise(LEN, file));
        elsewhere.put_file(
            &format!("g{file}"),
            Some("root"),
            format!("g{file}"),
            noise(10_000, 5_000 + file),
        );
    }
    let done = AtomicBool::new(false);
    let source = Observed::new(&elsewhere, |opened| {
        if opened == 15 && !done.swap(true, Ordering::Relaxed) {
            meanwhile(|| {
                let other = open(&store).unwrap();
                block_on(other.remove(&ids(&other))).unwrap();
                let report = block_on(other.prune().grace(grace).run()).unwrap();
                assert!(report.dead_packs > 0, "{report:?}");
            });
        }
    });
    let writer = open(&store).unwrap();
    let outcome = block_on(writer.backup(&source).run());
    assert!(done.load(Ordering::Relaxed));
    drop(source);
    (store, outcome)
}

#[test]
fn what_a_prune_condemns_under_a_backup_is_stored_again() {
    let (store, outcome) = backup_while_pruned(Duration::from_secs(60));
    assert_eq!(outcome.unwrap().state, SnapshotState::Complete);
    let repo = check_whole(&store);
    assert_eq!(files_of(&repo, ids(&repo)[0]).len(), 20);
    // Once the condemned packs are deleted too, everything is still there.
    prune(&repo);
    let repo = check_whole(&store);
    assert_eq!(files_of(&repo, ids(&repo)[0]).len(), 20);
}

#[test]
fn a_backup_whose_ground_is_deleted_says_so_and_succeeds_the_next_time() {
    let (store, outcome) = backup_while_pruned(Duration::ZERO);
    let error = outcome.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(error.is_retryable() && !error.hint().is_empty());
    let repo = check_whole(&store);
    assert!(ids(&repo).is_empty());
    let elsewhere = MemorySource::new("memory:elsewhere");
    elsewhere.put_file("f0", None, "f0", noise(LEN, 0));
    backup_whole(&repo, &elsewhere);
    check_whole(&store);
}

/// Two runs of one collection at once, and the snapshot that both build on is removed meanwhile.
#[test]
fn subtrees_of_a_removed_parent_are_kept_by_whoever_shares_them() {
    let store = MemoryStore::new();
    let repo = init(&store);
    let library = library();
    backup_whole(&repo, &library);
    put(&library, 3, 1_000);
    let source = Observed::new(&library, |_| {
        meanwhile(|| {
            let other = open(&store).unwrap();
            block_on(other.remove(&ids(&other))).unwrap();
            block_on(other.prune().grace(Duration::from_secs(60)).unused_percent(0).run()).unwrap();
        });
    });
    let report = block_on(open(&store).unwrap().backup(&source).run()).unwrap();
    let repo = check_whole(&store);
    prune(&repo);
    let repo = check_whole(&store);
    let found = files_of(&repo, report.snapshot);
    assert_eq!(found.len(), 10);
    for (path, bytes) in found {
        let file: u64 = path.strip_prefix("root/f").unwrap().parse().unwrap();
        assert!(bytes == noise(LEN, if file == 3 { 1_000 } else { file }), "{path}");
    }
}

/// A backup is committed just before a prune condemns what that backup has brought back into use: the prune lets it off and goes on.
#[test]
fn a_commit_that_is_quicker_than_a_prune_ends_neither() {
    for seeds in [0..10u64, 0..3] {
        let store = MemoryStore::new();
        let repo = init(&store);
        // Ten files that only the first snapshot has.
        backup_whole(&repo, &library());
        let source = library();
        (0..10).for_each(|file| put(&source, file, 2_000 + file));
        backup_whole(&repo, &source);
        block_on(repo.remove(&ids(&repo)[..1])).unwrap();
        let again = MemorySource::new("memory:again").with_concurrency(1);
        seeds
            .clone()
            .for_each(|seed| again.put_file(&format!("a{seed}"), None, format!("a{seed}"), noise(LEN, seed)));
        let condemns =
            |operation, key: &Key| operation == Operation::Create && key.as_str().starts_with("log/");
        let pruner = block_on(interleaved::opened(interleaved::on(&store, condemns))).unwrap();
        let run: futures_core::future::BoxFuture<'_, _> =
            Box::pin(pruner.prune().grace(Duration::ZERO).unused_percent(0).run());
        let (mut step, mut quicker) = (0, None);
        let outcome = backup_core::testkit::interleave(vec![run], |_| {
            // Before its first step, and then before each of its entries.
            if step == 1 {
                quicker = Some(backup_whole(&open(&store).unwrap(), &again).snapshot);
            }
            step += 1;
            0
        });
        let report = outcome.into_iter().next().unwrap().unwrap();
        assert!(
            report.dead_packs + report.copied_packs > 0,
            "what nobody needs goes all the same: {report:?}"
        );
        let repo = check_whole(&store);
        let found = files_of(&repo, quicker.unwrap());
        assert!(found.iter().zip(seeds).all(|((_, bytes), seed)| *bytes == noise(LEN, seed)));
        prune(&repo);
        check_whole(&store);
    }
}

/// Packs of an interrupted run that committed its chunks are no stray objects, and no snapshot's either: they go once they are old.
#[test]
fn remains_of_interrupted_runs_are_given_back() {
    let memory = MemoryStore::new();
    drop(init(&memory));
    let store = FaultyStore::new(Arc::new(memory.clone()));
    store.inject(Operation::Create, 1, usize::MAX, Fault::Before(ErrorKind::OutOfSpace));
    let arc: Arc<dyn Store> = Arc::new(store.clone());
    let source = library();
    assert!(block_on(open_on(arc).unwrap().backup(&source).run()).is_err());
    store.heal();
    let report = prune(&open(&memory).unwrap());
    assert_eq!((report.stray_objects, report.dead_packs), (1, 0), "{report:?}");
    assert_eq!(stored(&memory, "pack/"), 0);
    backup_whole(&open(&memory).unwrap(), &source);
    check_whole(&memory);
}

#[test]
fn a_pack_that_does_not_read_is_kept_and_named() {
    let store = MemoryStore::new();
    let repo = init(&store);
    history(&repo, 3);
    block_on(repo.remove(&ids(&repo)[..2])).unwrap();
    let packs: Vec<_> =
        store.objects().into_iter().filter(|(key, _)| key.as_str().starts_with("pack/")).collect();
    let (key, bytes) = packs.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let mut damaged = bytes.to_vec();
    damaged[200_000] ^= 1;
    store.overwrite(key.clone(), damaged.into());
    let report = prune(&open(&store).unwrap());
    assert_eq!(report.findings.len(), 1, "{report:?}");
    assert_eq!(report.findings[0].place, key.as_str());
    assert!(store.objects().contains_key(key), "the only copy, damaged as it is, must stay");
}

#[test]
fn a_prune_of_a_damaged_repository_takes_away_nothing_that_would_mend_it() {
    let store = MemoryStore::new();
    let repo = init(&store);
    history(&repo, 2);
    block_on(repo.remove(&ids(&repo)[..1])).unwrap();
    let (mut refused, mut pruned) = (0, 0);
    for (key, bytes) in store.objects().into_iter().filter(|(key, _)| !key.as_str().starts_with("keys/")) {
        let broken = store.fork();
        block_on(broken.delete(&key)).unwrap();
        let Ok(repo) = open(&broken) else { continue };
        match block_on(repo.prune().grace(Duration::ZERO).unused_percent(0).run()) {
            Ok(_) => pruned += 1,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Missing | ErrorKind::Corrupt), "{error:?}");
                refused += 1;
            }
        }
        // Whoever finds the object in a copy of the store brings it back.
        broken.overwrite(key, bytes);
        check_whole(&broken);
    }
    assert!(refused > 1 && pruned > 1, "{refused} refused, {pruned} pruned");
}

/// Every store call of a removal and a prune fails, once and for ever, before and after it took effect.
#[test]
fn no_failure_of_any_store_call_of_a_prune_loses_anything() {
    let base = MemoryStore::new();
    let repo = init(&base);
    history(&repo, 4);
    let all = ids(&repo);
    let expected: Vec<_> = all.iter().map(|id| files_of(&repo, *id)).collect();
    let faults = [
        Fault::Before(ErrorKind::Unavailable),
        Fault::After(ErrorKind::Unavailable),
        Fault::Before(ErrorKind::OutOfSpace),
        Fault::Torn(100),
        Fault::TornSilently(100),
    ];
    let (mut points, mut call) = (0, 0);
    loop {
        let mut reached = false;
        for times in [1, usize::MAX] {
            for fault in faults {
                let memory = base.fork();
                let store = FaultyStore::new(Arc::new(memory.clone()));
                store.inject(Operation::Any, call, times, fault);
                let context = format!("call {call}, {times} times, {fault:?}");
                let arc: Arc<dyn Store> = Arc::new(store.clone());
                let outcome = block_on(async {
                    let options = Options::default();
                    let repo = Repository::open_with(arc, &key(), fresh_environment(), options).await?;
                    repo.remove(&all[..2]).await?;
                    repo.prune().grace(Duration::ZERO).unused_percent(0).run().await
                });
                reached |= store.counters().faults > 0;
                points += 1;
                if let (Fault::Torn(_) | Fault::TornSilently(_), Err(error)) = (fault, open(&memory)) {
                    // A log entry that a store tore stands in the way, by name; nothing is guessed. Nothing was deleted because of it: whoever
                    // takes it away has all that there was before.
                    assert!(outcome.is_err() || matches!(fault, Fault::TornSilently(_)), "{context}");
                    let torn = Key::new(error.item().unwrap()).unwrap();
                    assert!(torn.as_str().starts_with("log/"), "{context}: {error:?}");
                    for key in memory
                        .objects()
                        .into_keys()
                        .filter(|key| *key >= torn && key.as_str().starts_with("log/"))
                    {
                        block_on(memory.delete(&key)).unwrap();
                    }
                }
                for _ in 0..2 {
                    let repo = check_whole(&memory);
                    for (id, expected) in all.iter().zip(&expected).skip(2) {
                        assert_eq!(&files_of(&repo, *id), expected, "{context}");
                    }
                    block_on(repo.remove(&all[..2])).unwrap();
                    prune(&repo);
                }
                let left = prune(&open(&memory).unwrap());
                assert_eq!((left.stray_objects, left.unused_bytes), (0, 0), "{context}");
            }
        }
        if !reached {
            break;
        }
        call += 1;
    }
    assert!(call > 25, "{call} store calls");
    println!("{points} failure points at {call} store calls of a prune");
}
