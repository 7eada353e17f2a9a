//! Every store call of a small life fails, once and for ever, before and after it took effect, and torn.
//!
//! After each: the repository opens, verifies, restores the last committed state, and the next run completes.

use backup_core::testkit::{Fault, FaultyStore, Operation};
use backup_core::{ErrorKind, VerifyLevel};
use futures_executor::block_on;

use super::*;

/// One run: opens the repository, or creates it, and backs up. Randomness never repeats between runs.
fn life(store: &FaultyStore, source: &MemorySource) -> backup_core::Result<()> {
    block_on(async {
        let arc: Arc<dyn Store> = Arc::new(store.clone());
        let repo =
            match Repository::open_with(Arc::clone(&arc), &key(), fresh_environment(), Options::default())
                .await
            {
                Err(error) if error.kind() == ErrorKind::NotARepository => {
                    Repository::init_with(arc, &key(), fresh_environment(), Options::default()).await?
                }
                other => other?,
            };
        repo.backup(source).run().await.map(drop)
    })
}

fn state(source: &MemorySource, round: u64) {
    source.put_file("a", Some("docs"), "a.txt", format!("alpha {round}"));
    source.put_file("big", Some("root"), "big.bin", noise(400_000, 100 + round));
}

fn check(store: &MemoryStore, committed: Option<&[u64]>, context: &str) {
    match (open(store), committed) {
        (Err(error), None) => assert!(
            matches!(error.kind(), ErrorKind::NotARepository),
            "{context}: creation that failed must look like no repository, not {error:?}"
        ),
        (Err(error), Some(_)) => panic!("{context}: {error:?}"),
        (Ok(repo), rounds) => {
            let report = block_on(repo.verify(VerifyLevel::EveryByte).run()).unwrap();
            assert!(report.is_sound(), "{context}: {:?}", report.findings);
            if let Some(rounds) = rounds.filter(|rounds| !rounds.is_empty()) {
                let files = files(&restored(&repo));
                let found =
                    files.iter().find(|(path, _)| path.ends_with("a.txt")).map(|(_, bytes)| bytes.clone());
                let allowed: Vec<_> =
                    rounds.iter().map(|round| Some(format!("alpha {round}").into_bytes())).collect();
                assert!(
                    allowed.contains(&found),
                    "{context}: restored {found:?}, expected one of {rounds:?}"
                );
            }
        }
    }
}

#[test]
fn no_failure_of_any_store_call_loses_a_committed_snapshot() {
    let faults = [
        Fault::Before(ErrorKind::Unavailable),
        Fault::After(ErrorKind::Unavailable),
        Fault::Before(ErrorKind::OutOfSpace),
    ];
    let (mut points, mut call) = (0, 0);
    loop {
        let mut reached = false;
        for times in [1, usize::MAX] {
            for fault in faults {
                let (memory, source) = (MemoryStore::new(), sample());
                let store = FaultyStore::new(Arc::new(memory.clone()));
                store.inject(Operation::Any, call, times, fault);
                let context = format!("call {call}, {times} times, {fault:?}");
                // What may be the newest state: a run whose commit was not acknowledged may have been committed.
                let (mut created, mut acknowledged) = (false, Vec::new());
                for round in 0..2u64 {
                    state(&source, round);
                    match life(&store, &source) {
                        Ok(()) => {
                            created = true;
                            acknowledged = vec![round];
                        }
                        Err(_) if !acknowledged.is_empty() => acknowledged.push(round),
                        Err(_) => {}
                    }
                }
                reached |= store.counters().faults > 0;
                points += 1;
                let committed = if created { Some(acknowledged.as_slice()) } else { None };
                if committed.is_some() {
                    check(&memory, committed, &context);
                }
                store.heal();
                state(&source, 9);
                life(&store, &source).unwrap_or_else(|error| panic!("{context}, then: {error:?}"));
                check(&memory, Some(&[9]), &context);
            }
        }
        if !reached {
            break;
        }
        call += 1;
    }
    assert!(call > 25, "the life has {call} store calls");
    println!("{points} failure points at {call} store calls");
}

#[test]
fn an_object_torn_by_the_store_is_noticed_before_it_is_named() {
    let mut torn = 0;
    for call in 0..12 {
        for (len, silently) in [(0, false), (100, false), (200, false), (100, true), (1, true)] {
            let (memory, source) = (MemoryStore::new(), sample());
            backup_whole(&init(&memory), &source);
            let store = FaultyStore::new(Arc::new(memory.clone()));
            state(&source, 1);
            let fault = if silently { Fault::TornSilently(len) } else { Fault::Torn(len) };
            store.inject(Operation::Create, call, 1, fault);
            let result = life(&store, &source);
            if store.counters().faults == 0 {
                continue;
            }
            torn += 1;
            let opened = open(&memory);
            match (result, silently) {
                // A store that lies about success is found out by the next check at the latest, by name.
                (Ok(()), true) => match opened {
                    Ok(repo) => {
                        let report = block_on(repo.verify(VerifyLevel::EveryByte).run()).unwrap();
                        assert!(!report.is_sound(), "call {call}: a torn object went unnoticed");
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "call {call}"),
                },
                (Ok(()), false) => panic!("call {call}: a torn object was acknowledged"),
                (Err(_), _) => match opened {
                    Ok(repo) => {
                        let report = block_on(repo.verify(VerifyLevel::EveryByte).run()).unwrap();
                        assert!(report.is_sound(), "call {call}: {:?}", report.findings);
                        assert!(files(&restored(&repo)).iter().any(|(_, bytes)| bytes == b"alpha"));
                    }
                    // Only a torn log entry stands in the way; it is named, and nothing is guessed.
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Corrupt, "call {call}");
                        assert!(error.item().is_some_and(|item| item.starts_with("log/")), "{error:?}");
                    }
                },
            }
        }
    }
    assert!(torn >= 20, "{torn} torn objects");
}

#[test]
fn after_a_store_failure_the_next_run_uploads_only_what_had_not_arrived() {
    let source = MemorySource::new("memory:upload").with_concurrency(1).with_piece_bytes(1 << 20);
    source.put_folder("root", None, "root");
    for number in 0..60 {
        source.put_file(
            &format!("f{number:02}"),
            Some("root"),
            format!("f{number:02}"),
            noise(1 << 20, number),
        );
    }
    let memory = MemoryStore::new();
    let repo = init(&memory);
    drop(repo);
    let store = FaultyStore::new(Arc::new(memory.clone()));
    // The third pack does not arrive.
    store.inject(Operation::Create, 2, 3, Fault::Before(ErrorKind::OutOfSpace));
    let error = life(&store, &source).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfSpace);
    let arrived: u64 = memory.objects().values().map(|bytes| bytes.len() as u64).sum();
    assert!(arrived > 20 << 20, "two packs of 10 MiB and more arrived: {arrived}");
    store.heal();
    life(&store, &source).unwrap();
    let total: u64 = memory.objects().values().map(|bytes| bytes.len() as u64).sum();
    assert!(total < 64 << 20, "{total} bytes are stored for 60 MiB");
    check(&memory, None, "after the second run");
}
