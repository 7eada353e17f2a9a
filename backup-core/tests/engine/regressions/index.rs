//! Indexes and caches of them: rebuilt from what a store lists, old, of somebody else, or gone.

use std::path::Path;
use std::time::Duration;

use backup_core::testkit::{Fault, FaultyStore, Operation};
use backup_core::{DirectoryCache, ErrorKind, IndexCache, Retention, VerifyLevel};

use super::*;

fn cached(store: Arc<dyn Store>, place: &Path) -> backup_core::Result<Repository> {
    let cache: Arc<dyn IndexCache> = Arc::new(DirectoryCache::open(place).unwrap());
    let mut options = Options::default();
    options.index_cache = Some(cache);
    block_on(Repository::open_with(store, &key(), fresh_environment(), options))
}

fn emptied(place: &Path) {
    for file in std::fs::read_dir(place).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
}

fn copied(from: &Path, to: &Path) {
    emptied(to);
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// The same contents under another name: all of it is known, or the index lacks something.
fn same_again(name: &str, files: &[(String, Vec<u8>)]) -> MemorySource {
    let source = MemorySource::new(name).with_concurrency(1);
    for (path, bytes) in files {
        source.put_file(path, None, path.replace('/', "-"), bytes.clone());
    }
    source
}

/// restic #3273: the index was built anew from a listing that was not complete, and packs fell out of it.
#[test]
fn restic_3273_an_index_that_is_built_anew_lacks_nothing_that_a_listing_left_out() {
    let memory = MemoryStore::new();
    let repo = init(&memory);
    history(&repo, 14);
    let expected = files_of(&repo, *ids(&repo).last().unwrap());
    let place = tempfile::tempdir().unwrap();
    drop(cached(Arc::new(memory.clone()), place.path()).unwrap());
    let whole = tempfile::tempdir().unwrap();
    copied(place.path(), whole.path());
    for damaged in [false, true] {
        for shown in (0..40).step_by(3) {
            copied(whole.path(), place.path());
            for file in std::fs::read_dir(place.path()).unwrap().filter(|_| damaged) {
                let path = file.unwrap().path();
                let mut bytes = std::fs::read(&path).unwrap();
                // In the entries: found out when they are looked at.
                bytes[100] ^= 1;
                std::fs::write(path, bytes).unwrap();
            }
            if !damaged {
                emptied(place.path());
            }
            let fork = memory.fork();
            let store = FaultyStore::new(Arc::new(fork.clone()));
            // The key slot has to be found; all other listings end early.
            store.inject(Operation::List, 1, usize::MAX, Fault::Partial(shown));
            let repo = cached(Arc::new(store.clone()), place.path()).unwrap();
            let before = stored(&fork, "pack/");
            let again = same_again("memory:again", &expected);
            let report = backup_whole(&repo, &again);
            let grown = stored(&fork, "pack/") - before;
            assert!(damaged || grown < 20_000, "{shown} objects shown: {grown} bytes stored again");
            assert_eq!(files_of(&repo, report.snapshot).len(), expected.len());
            let repo = check_whole(&fork);
            assert_eq!(files_of(&repo, ids(&repo)[13]), expected, "{shown} objects shown");
        }
    }
}

/// borg #3536, #6687, #5661: a cache said something else than the repository. After every step, whoever has a cache sees what one sees
/// who has none.
#[test]
fn borg_3536_and_6687_and_5661_a_cache_says_what_the_store_says_after_every_step() {
    let memory = MemoryStore::new();
    drop(init(&memory));
    let (mine, others) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let arc: Arc<dyn Store> = Arc::new(memory.clone());
    let repo = cached(Arc::clone(&arc), mine.path()).unwrap();
    let (source, mut dice) = (library(), Dice(5));
    for step in 0..60u64 {
        match dice.throw(5) {
            0 => {
                let gone: Vec<_> = ids(&repo).into_iter().filter(|_| dice.throw(3) == 0).collect();
                block_on(repo.remove(&gone)).unwrap();
                prune(&repo);
            }
            // Somebody else, with a cache of his own.
            1 => {
                let other = cached(Arc::clone(&arc), others.path()).unwrap();
                put(&source, step % 10, 100 + step % 7);
                backup_whole(&other, &source);
                prune(&other);
            }
            _ => {
                put(&source, step % 10, 100 + step % 5);
                backup_whole(&repo, &source);
            }
        }
        block_on(repo.refresh()).unwrap();
        let (with, without) = (cached(Arc::clone(&arc), mine.path()).unwrap(), open(&memory).unwrap());
        for seen in [&repo, &with] {
            assert_eq!((seen.head(), ids(seen)), (without.head(), ids(&without)), "step {step}");
            // Holds every pack's chunks against the index, both ways.
            let report = block_on(seen.verify(VerifyLevel::EveryByte).run()).unwrap();
            assert!(report.is_sound(), "step {step}: {:?}", report.findings);
        }
    }
}

/// borg #9022: a command that only reads changed what it read from. Here a store that refuses every write is enough for all of them.
#[test]
fn borg_9022_commands_that_read_write_nothing() {
    let memory = MemoryStore::new();
    history(&init(&memory), 4);
    let before = memory.objects();
    let store = FaultyStore::new(Arc::new(memory.clone()));
    for operation in [Operation::Create, Operation::Delete] {
        store.inject(operation, 0, usize::MAX, Fault::Before(ErrorKind::PermissionDenied));
    }
    let repo = open_on(Arc::new(store.clone())).unwrap();
    let all = ids(&repo);
    block_on(async {
        for level in [VerifyLevel::Structure, VerifyLevel::EveryByte] {
            assert!(repo.verify(level).run().await.unwrap().is_sound());
        }
        let browser = repo.browse(all[0]).await.unwrap();
        assert_eq!(browser.list("").await.unwrap().collect().await.unwrap().len(), 10);
        assert!(!repo.diff(all[0], all[3]).await.unwrap().collect().await.unwrap().is_empty());
        let sink = MemorySink::new();
        repo.restore(all[0], &sink).undo(all[3]).run().await.unwrap();
        repo.restore(all[1], &MemorySink::new()).run().await.unwrap();
        assert!(repo.prune().grace(Duration::ZERO).unused_percent(0).dry_run().run().await.is_ok());
        repo.decide(&[("memory:library", &Retention::default().with_last(1))]).await.unwrap();
        repo.snapshot(all[0]).await.unwrap();
        repo.refresh().await.unwrap();
    });
    assert_eq!((store.counters().creates, store.counters().deletes), (0, 0));
    assert_eq!(memory.objects(), before);
}

/// duplicati #4129, #5023: an interrupted compacting left the local database and the store at odds, and nothing but a rebuild helped.
#[test]
fn duplicati_4129_and_5023_a_cache_may_vanish_grow_old_or_be_anothers_at_any_moment() {
    let base = MemoryStore::new();
    let repo = init(&base);
    let source = history(&repo, 12);
    let all = ids(&repo);
    let expected = files_of(&repo, all[11]);
    let (old, foreign) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(cached(Arc::new(base.clone()), old.path()).unwrap());
    let other = MemoryStore::new();
    history(&init(&other), 12);
    drop(cached(Arc::new(other), foreign.path()).unwrap());
    block_on(repo.remove(&all[..6])).unwrap();
    prune(&repo);
    put(&source, 1, 9_001);
    let mut moments = 0;
    for accident in 0..4 {
        for job in 0..2 {
            let mut moment = 0;
            loop {
                let (memory, place) = (base.fork(), tempfile::tempdir().unwrap());
                copied(old.path(), place.path());
                let faulty = FaultyStore::new(Arc::new(memory.clone()));
                let store = Arc::new(backup_core::testkit::Yielding::new(Arc::new(faulty.clone())));
                let (mut met, source, gone) = (false, &source, &all[6..8]);
                let run: BoxFuture<'_, backup_core::Result<()>> = Box::pin(async {
                    let cache: Arc<dyn IndexCache> = Arc::new(DirectoryCache::open(place.path()).unwrap());
                    let mut options = Options::default();
                    options.index_cache = Some(cache);
                    let repo = Repository::open_with(store, &key(), fresh_environment(), options).await?;
                    if job == 0 {
                        return repo.backup(source).run().await.map(drop);
                    }
                    repo.remove(gone).await?;
                    repo.prune().grace(Duration::ZERO).unused_percent(0).run().await.map(drop)
                });
                let outcome = stepwise(run, |step| {
                    if step != moment {
                        return;
                    }
                    met = true;
                    match accident {
                        0 => emptied(place.path()),
                        1 => copied(old.path(), place.path()),
                        2 => copied(foreign.path(), place.path()),
                        // The run ends here, and leaves the cache ahead of the store.
                        _ => faulty.inject(
                            Operation::Any,
                            0,
                            usize::MAX,
                            Fault::Before(ErrorKind::Unavailable),
                        ),
                    }
                });
                if !met {
                    break;
                }
                moments += 1;
                let context = format!("accident {accident}, job {job}, moment {moment}: {outcome:?}");
                assert!(outcome.is_ok() || accident == 3, "{context}");
                for cache in [place.path(), old.path()] {
                    let copy = tempfile::tempdir().unwrap();
                    copied(cache, copy.path());
                    let repo = cached(Arc::new(memory.clone()), copy.path()).unwrap();
                    let report = block_on(repo.verify(VerifyLevel::EveryByte).run()).unwrap();
                    assert!(report.is_sound(), "{context}: {:?}", report.findings);
                    assert_eq!(files_of(&repo, all[11]), expected, "{context}");
                    let next = backup_whole(&repo, source);
                    assert!(files_of(&repo, next.snapshot).contains(&("root/f1".into(), noise(LEN, 9_001))));
                }
                check_whole(&memory);
                moment += 1;
            }
        }
    }
    println!("{moments} accidents to a cache");
    assert!(moments > 200);
}
