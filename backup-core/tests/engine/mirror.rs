//! A copy of a repository in another store: whole at any moment, never mixed with another one, and good for mending either.

use std::time::Duration;

use backup_core::testkit::{Fault, FaultyStore, Operation, Yielding, interleave};
use backup_core::{ErrorKind, MirrorReport, Store, VerifyLevel};
use futures_core::future::BoxFuture;

use super::interleaved::{Dice, opened};
use super::objects::{all, copy, get, names, set};
use super::*;

fn mirror(repo: &Repository, to: &dyn Store) -> MirrorReport {
    let report = block_on(repo.mirror(to).run()).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    report
}

/// Opens a copy, checks every byte, and gives the content of its newest snapshot.
fn content(store: &MemoryStore) -> Vec<(String, Vec<u8>)> {
    let repo = open(store).unwrap();
    let report = block_on(repo.verify(VerifyLevel::EveryByte).run()).unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    files(&restored(&repo))
}

#[test]
fn a_copy_costs_what_is_new_and_opens_with_the_same_key() {
    let (store, to) = (MemoryStore::new(), MemoryStore::new());
    let (repo, source) = (init(&store), sample());
    backup_whole(&repo, &source);
    let first = mirror(&repo, &to);
    assert_eq!((first.copied_objects, first.head), (first.objects, Some(repo.head())));
    assert_eq!(content(&to), content(&store));
    assert_eq!(mirror(&repo, &to).copied_objects, 0);

    source.put_file("new", Some("docs"), "new.txt", noise(5_000, 9));
    backup_whole(&repo, &source);
    let second = mirror(&repo, &to);
    assert!((1..=8).contains(&second.copied_objects), "{second:?}");
    assert_eq!(content(&to), content(&store));

    // What is pruned here stays there, unless it is told to go.
    let old = repo.snapshots()[0].id;
    block_on(repo.remove(&[old])).unwrap();
    block_on(repo.prune().grace(Duration::ZERO).unused_percent(0).run()).unwrap();
    let kept = mirror(&repo, &to);
    assert_eq!(kept.deleted_objects, 0);
    assert!(all(&to).len() > all(&store).len());
    assert_eq!(content(&to), content(&store));
    let report = block_on(repo.mirror(&to).delete().run()).unwrap();
    assert!(report.deleted_objects > 0);
    assert_eq!(all(&to), all(&store));
    assert_eq!(content(&to), content(&store));
}

#[test]
fn a_copy_many_commits_later_has_the_checkpoints_too() {
    let (store, to) = (MemoryStore::new(), MemoryStore::new());
    let (repo, source) = (init(&store), sample());
    backup_whole(&repo, &source);
    let id = repo.snapshots()[0].id;
    mirror(&repo, &to);
    for _ in 0..70 {
        block_on(repo.hold(&[id])).unwrap();
        block_on(repo.release(&[id])).unwrap();
    }
    mirror(&repo, &to);
    assert_eq!(names(&to, "log"), names(&store, "log"));
    assert_eq!(names(&to, "checkpoint").last(), names(&store, "checkpoint").last());
    assert_eq!(content(&to), content(&store));
}

#[test]
fn whatever_is_damaged_on_one_side_is_mended_from_the_other() {
    let (store, to) = (MemoryStore::new(), MemoryStore::new());
    let repo = init(&store);
    backup_whole(&repo, &sample());
    mirror(&repo, &to);
    for name in all(&store) {
        let damaged = copy(&to);
        let mut bytes = get(&to, &name).to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        set(&damaged, &name, bytes);
        // A plain run believes the listing.
        assert_eq!(mirror(&repo, &damaged).replaced_objects, 0);
        let report = block_on(repo.mirror(&damaged).check().run()).unwrap();
        assert_eq!((report.replaced_objects, report.findings.len()), (1, 0), "{name}: {report:?}");
        assert_eq!(get(&damaged, &name), get(&store, &name));
        assert!(names(&damaged, "repaired").is_empty());

        block_on(damaged.delete(&name)).unwrap();
        assert_eq!(mirror(&repo, &damaged).copied_objects, 1, "{name}");

        // Damage here is not carried over.
        let here = copy(&store);
        let mut bytes = get(&here, &name).to_vec();
        bytes[middle] ^= 1;
        let (fresh, behind) = (MemoryStore::new(), open(&here));
        set(&here, &name, bytes);
        let report = block_on(behind.unwrap().mirror(&fresh).run());
        if !name.as_str().starts_with("keys") {
            let report = match report {
                Ok(report) => report,
                Err(error) => panic!("{name}: {error:?}"),
            };
            assert!(
                report.findings.iter().any(|finding| finding.place == name.as_str()),
                "{name}: {report:?}"
            );
            assert!(!names(&fresh, "pack").contains(&name) && !names(&fresh, "log").contains(&name));
        }
    }
}

#[test]
fn another_repository_or_a_copy_with_a_life_of_its_own_is_left_alone() {
    let (store, to) = (MemoryStore::new(), MemoryStore::new());
    let repo = init(&store);
    backup_whole(&repo, &sample());
    let key = key();
    let other = Repository::init_with(Arc::new(to.clone()), &key, fresh_environment(), Options::default());
    backup_whole(&block_on(other).unwrap(), &sample());
    let before = copy(&to);
    let error = block_on(repo.mirror(&to).check().run()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(all(&to), all(&before));

    let to = MemoryStore::new();
    mirror(&repo, &to);
    backup_whole(&open(&to).unwrap(), &sample());
    let error = block_on(repo.mirror(&to).run()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    // Also when this repository has gone on, so that the numbers exist on both sides.
    backup_whole(&repo, &sample());
    backup_whole(&repo, &sample());
    let error = block_on(repo.mirror(&to).run()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}");
}

#[test]
fn an_interruption_at_any_call_leaves_a_copy_that_opens_and_the_next_run_completes() {
    let (store, old) = (MemoryStore::new(), MemoryStore::new());
    let (repo, source) = (init(&store), sample());
    backup_whole(&repo, &source);
    mirror(&repo, &old);
    let before = content(&old);
    source.put_file("top", Some("root"), "top.bin", noise(300_000, 20));
    backup_whole(&repo, &source);
    block_on(repo.remove(&[repo.snapshots()[0].id])).unwrap();
    block_on(repo.prune().grace(Duration::ZERO).unused_percent(0).run()).unwrap();
    let after = content(&store);
    let offline = ErrorKind::Unavailable;
    let faults = [
        (Operation::Any, Fault::Before(offline)),
        (Operation::Any, Fault::After(offline)),
        (Operation::Create, Fault::Torn(0)),
        (Operation::Create, Fault::Torn(90)),
    ];
    let mut points = 0;
    for (operation, fault) in faults {
        for times in [1, usize::MAX] {
            for nth in 0.. {
                let to = copy(&old);
                let faulty = FaultyStore::new(Arc::new(to.clone()));
                faulty.inject(operation, nth, times, fault);
                let repo = open(&store).unwrap();
                let interrupted = block_on(repo.mirror(&faulty).delete().run());
                let fired = faulty.counters().faults > 0;
                if !matches!(fault, Fault::Torn(_)) {
                    // What is torn is neither the old state nor the new one; a store that tears says so, and the next run mends it.
                    let now = content(&to);
                    assert!(now == before || now == after, "{fault:?} at {nth}");
                }
                let next = block_on(repo.mirror(&to).check().delete().run()).unwrap();
                assert!(next.findings.is_empty(), "{fault:?} at {nth}: {interrupted:?} then {next:?}");
                assert_eq!(content(&to), after, "{fault:?} at {nth}");
                assert_eq!(all(&to), all(&store), "{fault:?} at {nth}");
                points += 1;
                if !fired {
                    break;
                }
            }
        }
    }
    println!("{points} interruptions of a mirror");
    assert!(points > 100);
}

#[test]
fn a_copy_that_is_made_while_others_write_and_prune_is_whole() {
    let seeds: u64 = std::env::var("BACKUP_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(60);
    for seed in 0..seeds {
        let store = MemoryStore::new();
        let (repo, source) = (init(&store), sample());
        backup_whole(&repo, &source);
        source.put_file("top", Some("root"), "top.bin", noise(300_000, seed));
        backup_whole(&repo, &source);
        let to = MemoryStore::new();
        let yielding = || -> Arc<dyn Store> { Arc::new(Yielding::new(Arc::new(store.clone()))) };
        let (first, second, third) = (yielding(), yielding(), yielding());
        let mirroring = async {
            let report = opened(first).await.unwrap().mirror(&to).run().await;
            report.map(drop)
        };
        let pruning = async {
            let repo = opened(second).await.unwrap();
            repo.remove(&[repo.snapshots()[0].id]).await?;
            repo.prune().grace(Duration::ZERO).unused_percent(0).run().await.map(drop)
        };
        let writing = async {
            let source = sample();
            opened(third).await.unwrap().backup(&source).full().run().await.map(drop)
        };
        let mut dice = Dice(seed);
        let runs: Vec<BoxFuture<'_, backup_core::Result<()>>> =
            vec![Box::pin(mirroring), Box::pin(pruning), Box::pin(writing)];
        let results = interleave(runs, |below| dice.throw(below));
        results.iter().take(1).for_each(|result| assert!(result.is_ok(), "{seed}: {result:?}"));
        content(&to);
    }
}
