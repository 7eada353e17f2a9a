//! Prune, and what was removed or is new beside it.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use backup_core::testkit::{Fault, FaultyStore, FixedClock, Operation, SeededEntropy, Yielding, interleave};
use backup_core::{Env, InlineWorkers, Timestamp, VerifyLevel};
use futures_core::future::BoxFuture;

use super::*;

/// restic #816: prune went on after a pack could not be read for copying, and then deleted the only copy.
#[test]
fn restic_816_an_unreadable_pack_is_not_deleted_after_it_was_to_be_copied() {
    let store = MemoryStore::new();
    history(&init(&store), 3);
    let repo = open(&store).unwrap();
    block_on(repo.remove(&ids(&repo)[..2])).unwrap();
    let packs: Vec<_> =
        store.objects().into_iter().filter(|(key, _)| key.as_str().starts_with("pack/")).collect();
    for (key, bytes) in packs {
        let broken = store.fork();
        let mut damaged = bytes.to_vec();
        // Somewhere in the first frame.
        damaged[300] ^= 1;
        broken.overwrite(key.clone(), damaged.into());
        let pruned = block_on(open(&broken).unwrap().prune().grace(Duration::ZERO).unused_percent(0).run());
        let refused = pruned.as_ref().map_or(true, |report| !report.findings.is_empty());
        assert!(!refused || broken.objects().contains_key(&key), "{key}: {pruned:?}");
        // Whoever has the right bytes brings them back, and all is well.
        if broken.objects().contains_key(&key) {
            broken.overwrite(key, bytes);
        }
        check_whole(&broken);
    }
}

/// restic #1246, #4612, #3273: a listing that ended early, or came back empty instead of failing, was taken for all there is.
#[test]
fn restic_1246_and_4612_a_listing_that_ends_early_deletes_nothing_that_is_needed() {
    let base = MemoryStore::new();
    let repo = init(&base);
    history(&repo, 4);
    let all = ids(&repo);
    let expected = [files_of(&repo, all[2]), files_of(&repo, all[3])];
    for shown in 0..12 {
        for nth in 0..12 {
            let memory = base.fork();
            let store = FaultyStore::new(Arc::new(memory.clone()));
            let arc: Arc<dyn Store> = Arc::new(store.clone());
            let repo = open_on(arc).unwrap();
            store.inject(Operation::List, nth, usize::MAX, Fault::Partial(shown));
            let _ = block_on(repo.remove(&all[..2]));
            let _ = block_on(repo.prune().grace(Duration::ZERO).unused_percent(0).run());
            let repo = check_whole(&memory);
            for (id, expected) in all[2..].iter().zip(&expected) {
                assert_eq!(&files_of(&repo, *id), expected, "{shown} objects shown from listing {nth} on");
            }
        }
    }
}

/// rustic #392: a blob that was stored twice was counted wrongly, and a pack that was needed was marked for removal.
#[test]
fn rustic_392_a_chunk_that_is_stored_twice_is_kept_once_at_least() {
    let store = MemoryStore::new();
    let repo = init(&store);
    let source = library();
    let done = AtomicBool::new(false);
    let observed = Observed::new(&source, |_| {
        if !done.swap(true, Ordering::Relaxed) {
            meanwhile(|| {
                // All of the same content, committed while ours is under way: stored twice from now on.
                let other = MemorySource::new("memory:twin").with_concurrency(1);
                (0..10).for_each(|file| {
                    other.put_file(&format!("t{file}"), None, format!("t{file}"), noise(LEN, file))
                });
                backup_whole(&open(&store).unwrap(), &other);
            });
        }
    });
    backup_whole(&repo, &observed);
    assert!(stored(&store, "pack/") > 2 * 10 * LEN as u64, "nothing is stored twice");
    for victim in 0..2 {
        for rounds in 1..3 {
            let fork = store.fork();
            let repo = open(&fork).unwrap();
            let (gone, left) = (ids(&repo)[victim], ids(&repo)[1 - victim]);
            let expected = files_of(&repo, left);
            block_on(repo.remove(&[gone])).unwrap();
            (0..rounds).for_each(|_| drop(prune(&repo)));
            assert_eq!(files_of(&check_whole(&fork), left), expected);
        }
    }
}

/// kopia #563, #483: compaction by somebody whose view was old brought back what had been deleted.
#[test]
fn kopia_563_what_was_removed_does_not_come_back_by_an_old_view() {
    let store = MemoryStore::new();
    let repo = init(&store);
    let source = history(&repo, 3);
    let old = open(&store).unwrap();
    let gone = ids(&repo)[0];
    block_on(repo.remove(&[gone])).unwrap();
    prune(&repo);
    // Enough commits that the old view folds the log.
    for round in 0..70 {
        put(&source, 9, 5_000 + round);
        backup_whole(&old, &source);
    }
    for repo in [old, check_whole(&store)] {
        assert!(!ids(&repo).contains(&gone));
    }
}

/// kopia #1242: maintenance with an index two hours old deleted a fresh blob.
#[test]
fn kopia_1242_a_prune_that_knows_nothing_new_takes_nothing_new_away() {
    let store = MemoryStore::new();
    let repo = init(&store);
    let source = history(&repo, 2);
    let old = open(&store).unwrap();
    for round in 0..5 {
        put(&source, round, 7_000 + round);
        backup_whole(&repo, &source);
    }
    let expected: Vec<_> = ids(&repo).into_iter().map(|id| files_of(&repo, id)).collect();
    block_on(old.remove(&ids(&old)[..1])).unwrap();
    prune(&old);
    let repo = check_whole(&store);
    assert_eq!(ids(&repo).len(), 6);
    for (id, expected) in ids(&repo).into_iter().zip(&expected[1..]) {
        assert_eq!(&files_of(&repo, id), expected);
    }
}

/// kopia #1087: two maintenance runs under one identity overlapped.
#[test]
fn kopia_1087_two_prunes_at_once_take_away_what_one_would() {
    let base = MemoryStore::new();
    history(&init(&base), 4);
    for seed in 0..100 {
        let (store, mut dice) = (base.fork(), Dice(seed));
        let runs: Vec<BoxFuture<'_, Outcome>> = (0..2)
            .map(|_| -> BoxFuture<'_, Outcome> {
                let store: Arc<dyn Store> = Arc::new(Yielding::new(Arc::new(store.clone())));
                Box::pin(async move { tidy(opened(store).await?, 2, Duration::ZERO).await })
            })
            .collect();
        let outcomes = interleave(runs, |going| dice.throw(going));
        check(&store, &outcomes, VerifyLevel::EveryByte, &format_args!("seed {seed}"));
        let repo = open(&store).unwrap();
        assert_eq!(ids(&repo).len(), 2);
        let left = prune(&repo);
        assert_eq!((left.unused_bytes, left.stray_objects), (0, 0), "seed {seed}: {left:?}");
    }
}

/// kopia #1949: the machine was suspended in the middle of maintenance, and clocks jumped.
#[test]
fn kopia_1949_a_clock_that_jumps_ten_years_deletes_nothing_that_is_needed() {
    let ten_years = 315_360_000;
    for jump in [-ten_years, ten_years] {
        let store = MemoryStore::new();
        let clock = FixedClock::new(Timestamp::new(1_790_000_000, 0));
        let env = |seed| {
            let entropy = Arc::new(SeededEntropy::new(seed));
            Env::new(Arc::new(clock.clone()), entropy, Arc::new(InlineWorkers::new()))
        };
        let arc: Arc<dyn Store> = Arc::new(store.clone());
        let repo = block_on(Repository::init_with(arc, &key(), env(1), Options::default())).unwrap();
        let source = history(&repo, 3);
        block_on(repo.remove(&ids(&repo)[..2])).unwrap();
        block_on(repo.prune().unused_percent(0).run()).unwrap();
        put(&source, 7, 9_000);
        // A backup sleeps while the clock jumps and another prune runs.
        let observed = Observed::new(&source, |_| {
            clock.set(Timestamp::new(1_790_000_000 + jump, 0));
            meanwhile(|| drop(block_on(open(&store).unwrap().prune().unused_percent(0).run()).unwrap()));
        });
        let last = backup_whole(&repo, &observed);
        block_on(repo.prune().unused_percent(0).run()).unwrap();
        clock.set(Timestamp::new(1_790_000_000, 0));
        block_on(repo.prune().unused_percent(0).run()).unwrap();
        let repo = check_whole(&store);
        assert!(files_of(&repo, last.snapshot).contains(&("root/f7".into(), noise(LEN, 9_000))));
        assert_eq!(ids(&repo).len(), 2);
    }
}
