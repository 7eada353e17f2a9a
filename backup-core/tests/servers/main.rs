//! Real servers: what they promise, and a whole life of a repository on each. `.ci/check.sh servers` starts SeaweedFS and Azurite and
//! runs this; without `BACKUP_TEST_STORES` nothing is tried, and the tests say so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it found"
)]

mod stores;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backup_core::store::{Contest, Deletion, Listed, probe};
use backup_core::testkit::{FaultyStore, store::conformance};
use backup_core::{
    Credential, Env, ErrorKind, Key, MemorySink, MemorySource, Options, Repository, SnapshotId,
    SnapshotState, VerifyLevel,
};
use futures_util::TryStreamExt;

/// A client polled by several threads, as an embedder's would be.
fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(work)
}

#[test]
fn every_server_keeps_every_promise_of_a_store() {
    for address in stores::addresses() {
        let (store, started) = (stores::open(&stores::fresh(&address, "conformance")), Instant::now());
        run(conformance(&*store)).unwrap_or_else(|failure| panic!("{address}: {failure}"));
        println!("{address}: every promise kept, {:.1} s", started.elapsed().as_secs_f64());
    }
}

#[test]
fn every_server_is_seen_to_be_safe() {
    for address in stores::addresses() {
        let store = stores::open(&stores::fresh(&address, "probe"));
        let found =
            run(probe(&*store, &Env::system())).unwrap_or_else(|error| panic!("{address}: {error:?}"));
        println!("{address}: {found:?}");
        assert_eq!(
            (found.listing, found.deletion, found.tells_time),
            (Listed::AtOnce, Deletion::AtOnce, true),
            "{address}"
        );
        assert!(matches!(found.contest, Contest::Decided | Contest::LoserFails));
    }
}

/// `BACKUP_TEST_UNSAFE_STORES` names servers that create what is there already, as Garage does. No repository is created on one.
#[test]
fn a_server_that_overwrites_is_refused() {
    let given = std::env::var("BACKUP_TEST_UNSAFE_STORES").unwrap_or_default();
    if given.is_empty() {
        println!(
            "BACKUP_TEST_UNSAFE_STORES is not set: no unsafe server was tried (.ci/long.sh garage has one)"
        );
    }
    for address in given.split_whitespace() {
        let store = stores::open(&stores::fresh(address, "unsafe"));
        run(async {
            let made = Repository::init(Arc::clone(&store), &Credential::raw_key([9; 32])).await;
            let error = made.expect_err("a repository was created");
            assert_eq!(error.kind(), ErrorKind::UnsafeStore, "{address}: {error:?}");
            println!("{address}: {error}");
            for prefix in ["keys", "log", "probe"] {
                let prefix = Key::new(prefix).unwrap();
                let left: Vec<_> = store.list(&prefix).try_collect().await.unwrap();
                assert!(left.is_empty(), "{address}: {left:?}");
            }
        });
    }
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Two versions of a collection; the second has lost, gained and changed files. 14 MB, so that packs are full.
fn files(version: u64) -> BTreeMap<String, Vec<u8>> {
    let sizes = [0, 1, 700, 5_000, 130_000, 1_000_000, 3_000_000];
    let named = (0..40u64).filter(|file| file % 8 != version).map(|file| {
        let changed = if file % 3 == 0 { version } else { 0 };
        let size = sizes[usize::try_from(file).unwrap() % sizes.len()];
        (format!("file-{file:02}"), noise(size, file * 10 + changed))
    });
    named.collect()
}

fn source(files: &BTreeMap<String, Vec<u8>>) -> MemorySource {
    let source = MemorySource::new("memory:servers").without_delta();
    source.put_folder("top", None, "top");
    for (name, bytes) in files {
        // A new item for each content: the tags of two sources know nothing of each other.
        source.put_file(
            &format!("{name}-{}", blake3::hash(bytes)),
            Some("top"),
            name.as_str(),
            bytes.clone(),
        );
    }
    source
}

async fn assert_restores(repository: &Repository, snapshot: SnapshotId, files: &BTreeMap<String, Vec<u8>>) {
    let sink = MemorySink::new();
    let report = repository.restore(snapshot, &sink).run().await.unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let tree = sink.tree();
    let found =
        tree.iter().filter(|(_, restored)| !restored.item.kind.is_container()).map(|(path, restored)| {
            let bytes = restored.streams.get("content").map(|bytes| bytes.to_vec()).unwrap_or_default();
            (path.strip_prefix("top/").unwrap().to_owned(), bytes)
        });
    assert!(found.collect::<BTreeMap<_, _>>() == *files, "restored bytes differ");
}

#[test]
fn a_repository_lives_a_whole_life_on_every_server() {
    for address in stores::addresses() {
        let place = stores::fresh(&address, "life");
        let started = Instant::now();
        // Counts what reaches the server; every opening makes a client of its own, as another process would.
        let open_store = || FaultyStore::new(stores::open(&place));
        run(async {
            let (key, versions) = (Credential::raw_key([9; 32]), [files(0), files(1)]);
            let open = |store: &FaultyStore| {
                Repository::open_with(Arc::new(store.clone()), &key, Env::system(), Options::default())
            };
            let store = open_store();
            assert_eq!(open(&store).await.unwrap_err().kind(), ErrorKind::NotARepository);
            let made = Repository::init(Arc::new(store.clone()), &key).await.unwrap();
            let first = made.backup(&source(&versions[0])).run().await.unwrap();
            let again = Repository::init(Arc::new(open_store()), &key).await;
            assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyExists);

            let repository = open(&open_store()).await.unwrap();
            let second = repository.backup(&source(&versions[1])).run().await.unwrap();
            assert_eq!((first.state, second.state), (SnapshotState::Complete, SnapshotState::Complete));
            assert_restores(&repository, first.snapshot, &versions[0]).await;

            repository.remove(&[first.snapshot]).await.unwrap();
            let pruned = repository.prune().grace(Duration::ZERO).unused_percent(0).run().await.unwrap();
            assert!(pruned.deleted_objects > 0 && pruned.locked_objects == 0, "{pruned:?}");

            let store = open_store();
            let repository = open(&store).await.unwrap();
            let report = repository.verify(VerifyLevel::EveryByte).run().await.unwrap();
            assert!(report.is_sound() && report.snapshots == 1, "{:?}", report.findings);
            assert_restores(&repository, second.snapshot, &versions[1]).await;
            let counters = store.counters();
            println!(
                "{address}: a whole life in {:.1} s; prune deleted {} objects; checked and restored with {} reads of {} bytes",
                started.elapsed().as_secs_f64(),
                pruned.deleted_objects,
                counters.reads,
                counters.bytes_read
            );
        });
    }
}
