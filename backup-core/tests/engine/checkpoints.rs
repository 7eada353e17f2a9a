//! Checkpoints: a session forgets which chunks it has stored once the index knows them. It stores none of them twice, and what it relies on
//! since then may still be taken away under it.

use std::time::Duration;

use futures_executor::block_on;

use super::prune::{check_whole, files_of, ids, meanwhile, prune};
use super::*;

/// Long enough for a pack to be stored after every few files, each time followed by a checkpoint.
const LEN: usize = 4 << 20;
const FILES: u64 = 18;

fn source(content: impl Fn(u64) -> Vec<u8>) -> MemorySource {
    let source = MemorySource::new("memory:checkpoints").with_concurrency(1);
    source.put_folder("root", None, "root");
    for number in 0..FILES {
        source.put_file(&format!("{number:02}"), Some("root"), format!("{number:02}"), content(number));
    }
    source
}

fn run(repository: &Repository, source: &dyn Source) -> BackupReport {
    let report = block_on(repository.backup(source).checkpoint_every(1 << 20).run()).unwrap();
    assert_eq!((report.stats.added, report.state), (FILES + 1, SnapshotState::Complete));
    report
}

fn segments(store: &MemoryStore) -> usize {
    store.objects().keys().filter(|key| key.as_str().starts_with("segment/")).count()
}

#[test]
fn what_an_earlier_checkpoint_has_is_not_stored_again() {
    let store = MemoryStore::new();
    let repository = init(&store);
    let report = run(&repository, &source(|number| noise(LEN, number % 12)));
    let whole = u64::try_from(12 * LEN).unwrap();
    assert!(
        (whole..whole + whole / 50).contains(&report.stats.bytes_stored),
        "{}",
        report.stats.bytes_stored
    );
    assert!(segments(&store) > 2, "there were no checkpoints");
    assert_eq!(restored(&check_whole(&store)).tree().len(), 19);
}

/// Another program stores what this one is about to, which relies on it from its next checkpoint on; then it is removed and pruned.
#[test]
fn what_is_relied_on_since_a_checkpoint_and_pruned_then_is_stored_again() {
    const SHARED: u64 = 15;
    let store = MemoryStore::new();
    let writer = init(&store);
    let elsewhere = MemorySource::new("memory:elsewhere");
    elsewhere.put_file("shared", None, "shared", noise(LEN, SHARED));
    let inside = source(|number| noise(LEN, number));
    let at_removal = AtomicUsize::new(0);
    let observed = Observed::new(&inside, |opened| match opened {
        2 => meanwhile(|| drop(backup_whole(&open(&store).unwrap(), &elsewhere))),
        17 => meanwhile(|| {
            at_removal.store(segments(&store), Ordering::Relaxed);
            let other = open(&store).unwrap();
            block_on(other.remove(&ids(&other))).unwrap();
            let report = block_on(other.prune().grace(Duration::from_secs(60)).run()).unwrap();
            assert!(report.dead_packs > 0, "{report:?}");
        }),
        _ => {}
    });
    let report = run(&writer, &observed);
    assert!(at_removal.load(Ordering::Relaxed) > 2, "there was no checkpoint between the two");
    let expected: Vec<_> =
        (0..FILES).map(|number| (format!("root/{number:02}"), noise(LEN, number))).collect();
    assert_eq!(files_of(&check_whole(&store), report.snapshot), expected);
    prune(&open(&store).unwrap());
    assert_eq!(files_of(&check_whole(&store), report.snapshot), expected);
}
