//! What the world does to a program that writes to a repository: it is killed, its disk is full, it has no file descriptors left, its
//! clock jumps. Afterwards everything that was acknowledged is there, byte by byte, and the next run completes.
//!
//! Content follows from a writer's number and the number of the state, which a snapshot has as a label: so every snapshot says itself
//! what it has to restore to, whoever wrote it and whether or not it lived to say so.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it found"
)]

mod clock;
mod descriptors;
mod full;
mod processes;
#[path = "../servers/stores.rs"]
mod stores;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backup_core::{
    Credential, Env, ErrorKind, FolderSource, MemorySink, Options, Repository, Result, SnapshotId,
    SnapshotState, Store, VerifyLevel,
};

/// Files of a state, and their lengths in bytes, in turn.
const FILES: u64 = 8;
const SIZES: [usize; 6] = [0, 10, 700, 5_000, 20_000, 60_000];
/// What the folder of a writer is called, and so the top of what is restored.
const TOP: &str = "data";
/// Label of a snapshot: the number of the state that it was made of.
const STATE: &str = "state";

type Files = BTreeMap<String, Vec<u8>>;

fn key() -> Credential {
    // Raw: nothing to stretch each time that a process opens the repository.
    Credential::raw_key([7; 32])
}

/// What a writer's folder holds in a state. File `i` changes every `i + 1` states; those with even numbers are alike for all writers.
fn content(writer: u64, state: u64) -> Files {
    let file = |i: u64| {
        let owner = if i.is_multiple_of(2) { 1_000 } else { writer };
        let version = state - state % (i + 1);
        let mut bytes = vec![0; SIZES[usize::try_from(i).unwrap() % SIZES.len()]];
        let seed = [owner, i, version].map(u64::to_le_bytes).concat();
        blake3::Hasher::new().update(&seed).finalize_xof().fill(&mut bytes);
        // Files come and go as well.
        (i != 1 + state % FILES).then(|| (format!("{TOP}/folder-{}/file-{i}", i % 3), bytes))
    };
    (0..FILES).filter_map(file).collect()
}

/// Makes a writer's folder hold a state. Whatever changes is a new file, as editors do it.
fn write(place: &Path, writer: u64, state: u64) {
    let files = content(writer, state);
    for i in 0..FILES {
        let name = format!("{TOP}/folder-{}/file-{i}", i % 3);
        let path = place.join(&name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        match files.get(&name) {
            Some(bytes) if std::fs::read(&path).ok().as_ref() == Some(bytes) => {}
            Some(bytes) => {
                let draft = place.join("draft");
                std::fs::write(&draft, bytes).unwrap();
                std::fs::rename(&draft, &path).unwrap();
            }
            None => drop(std::fs::remove_file(&path)),
        }
    }
}

fn source(place: &Path, writer: u64) -> Result<FolderSource> {
    Ok(FolderSource::new(place.join(TOP))?.collection_id(collection(writer)))
}

fn collection(writer: u64) -> String {
    format!("writer-{writer}")
}

async fn open(store: Arc<dyn Store>, env: Env) -> Result<Repository> {
    Repository::open_with(store, &key(), env, Options::default()).await
}

/// A place in memory where there is such a disk: these tests are about order, not about how fast a disk flushes.
fn place() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Checks every byte of the repository, and that every snapshot restores to what its label says. Their ids.
async fn assert_sound(repository: &Repository, context: &str) -> Vec<SnapshotId> {
    let report = repository
        .verify(VerifyLevel::EveryByte)
        .run()
        .await
        .unwrap_or_else(|error| panic!("{context}: {error:?}"));
    assert!(report.is_sound(), "{context}: {:?}", report.findings);
    let snapshots = repository.snapshots();
    for snapshot in &snapshots {
        let info =
            repository.snapshot(snapshot.id).await.unwrap_or_else(|error| panic!("{context}: {error:?}"));
        let state = info.labels.iter().find(|(name, _)| name == STATE).unwrap().1.parse().unwrap();
        let writer = snapshot.collection.id.strip_prefix("writer-").unwrap().parse().unwrap();
        let sink = MemorySink::new();
        let report = repository
            .restore(snapshot.id, &sink)
            .run()
            .await
            .unwrap_or_else(|error| panic!("{context}: {error:?}"));
        assert!(report.problems.is_empty(), "{context}: {:?}", report.problems);
        let tree = sink.tree();
        let files = tree.iter().filter(|(_, restored)| !restored.item.kind.is_container());
        let bytes =
            |restored: &backup_core::Restored| restored.streams.get("content").map(|bytes| bytes.to_vec());
        let found: Files =
            files.map(|(path, restored)| (path.clone(), bytes(restored).unwrap_or_default())).collect();
        let expected = content(writer, state);
        match snapshot.state {
            SnapshotState::Complete => {
                let names = |files: &Files| {
                    files.iter().map(|(name, bytes)| (name.clone(), bytes.len())).collect::<Vec<_>>()
                };
                assert!(found == expected, "{context}: writer {writer}, state {state}: {:?}", names(&found));
            }
            // It says that it lacks something, and what it has is of this state or an earlier one.
            _ => assert!(!info.problems.is_empty(), "{context}: incomplete without a reason"),
        }
    }
    snapshots.into_iter().map(|snapshot| snapshot.id).collect()
}

/// What a life has been told that it has, and what it has begun to give up.
#[derive(Debug, Default)]
struct Told {
    kept: Vec<SnapshotId>,
    doubtful: Vec<SnapshotId>,
}

/// A whole small life, up to the first thing that fails: three states, one of them removed, a prune, a fourth state.
async fn live(store: &Arc<dyn Store>, env: impl Fn() -> Env, folder: &Path, told: &mut Told) -> Result<()> {
    let repository = match open(Arc::clone(store), env()).await {
        Err(error) if error.kind() == ErrorKind::NotARepository => {
            Repository::init_with(Arc::clone(store), &key(), env(), Options::default()).await?
        }
        other => other?,
    };
    for state in 1..=4 {
        write(folder, 0, state);
        let source = source(folder, 0)?;
        let done = repository.backup(&source).label(STATE, state.to_string()).run().await?;
        told.kept.push(done.snapshot);
        if state == 3 {
            let first = told.kept.remove(0);
            told.doubtful.push(first);
            repository.remove(&[first]).await?;
            repository.prune().grace(Duration::ZERO).unused_percent(0).run().await?;
        }
    }
    Ok(())
}

/// After the trouble: opens the repository, or creates it if the life did not get that far; nothing that was acknowledged is missing,
/// everything is sound, and a next run completes.
async fn assert_recovers(store: Arc<dyn Store>, folder: &Path, told: &Told, context: &str) {
    match open(Arc::clone(&store), Env::system()).await {
        Ok(repository) => {
            let there = assert_sound(&repository, context).await;
            let lost: Vec<_> = told.kept.iter().filter(|id| !there.contains(id)).collect();
            assert!(lost.is_empty(), "{context}: {lost:?} of {told:?} are lost");
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::NotARepository, "{context}: {error:?}");
            assert!(told.kept.is_empty() && told.doubtful.is_empty(), "{context}: the repository is gone");
        }
    }
    let mut next = Told::default();
    live(&store, Env::system, folder, &mut next)
        .await
        .unwrap_or_else(|error| panic!("{context}, then: {error:?}"));
    let repository = open(store, Env::system()).await.unwrap();
    let there = assert_sound(&repository, context).await;
    assert!(next.kept.iter().all(|id| there.contains(id)), "{context}");
    let newest = repository.latest(&collection(0)).unwrap();
    assert_eq!(newest.state, SnapshotState::Complete, "{context}: the next run is whole");
}
