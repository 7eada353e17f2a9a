//! What prunes do to repositories that our own writer would not make.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::time::Duration;

use futures_executor::block_on;

use crate::crypto::ObjectName;
use crate::format::log::Event;
use crate::format::segment::Segment;
use crate::id::SnapshotId;
use crate::memory::{MemorySink, MemorySource};
use crate::repo::log::State;
use crate::repo::pipeline::Packs;
use crate::repo::session::Session;
use crate::repo::{Compression, Options, Repository, VerifyLevel};
use crate::secret::Credential;
use crate::store::{MemoryStore, Store};
use crate::testkit::environment;

fn noise(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; 20_000];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn ids(repo: &Repository) -> Vec<SnapshotId> {
    repo.snapshots().into_iter().map(|snapshot| snapshot.id).collect()
}

/// Puts three segments in the place of each, with a part of every pack each.
async fn split(repo: &Repository) {
    let inner = &repo.inner;
    let session = Session::begin(Arc::clone(inner), Compression::default()).unwrap();
    let (mut state, mut old, mut written) = (State::clone(&inner.state()), Vec::new(), Vec::new());
    for named in state.segments.clone() {
        let segment = inner.read_segment(named).await.unwrap();
        for part in 0..3 {
            let mut some = Segment::default();
            for (info, frames, chunks) in segment.by_pack() {
                let is_here = |at: usize| at % 3 == part;
                let chunks: Vec<_> = chunks
                    .into_iter()
                    .enumerate()
                    .filter(|(at, _)| is_here(*at))
                    .map(|(_, chunk)| chunk)
                    .collect();
                some.add(info.clone(), &frames, &chunks);
            }
            session.write_segments(Packs { segment: some, locked: None }, &mut written).await.unwrap();
        }
        old.push(ObjectName::Segment(named.object.id));
    }
    let event =
        Event::Condemn { objects: old, segments: written.iter().map(|written| written.named).collect() };
    let runs: Vec<_> = written.iter().map(|written| Arc::clone(&written.run)).collect();
    assert!(inner.append(&session.keys, &mut state, event, &runs).await.unwrap());
}

/// restic #21820: see `dedup/tests.rs`.
#[test]
fn restic_21820_a_prune_takes_nothing_of_a_pack_that_another_segment_names() {
    let mut entropy = 9_000;
    for victims in [0..1, 1..3, 0..2, 2..3, 0..3] {
        let store = MemoryStore::new();
        let mut env = || {
            entropy += 1;
            environment(entropy)
        };
        let (arc, key): (Arc<dyn Store>, _) = (Arc::new(store), Credential::raw_key([7; 32]));
        let mut open =
            || block_on(Repository::open_with(Arc::clone(&arc), &key, env(), Options::default())).unwrap();
        let init = Repository::init_with(Arc::clone(&arc), &key, environment(1), Options::default());
        let repo = block_on(init).unwrap();
        let source = MemorySource::new("memory:parts").with_concurrency(1);
        (0..12u64).for_each(|file| source.put_file(&file.to_string(), None, file.to_string(), noise(file)));
        for round in 0..3u64 {
            for file in 0..4u64 {
                let name = (4 * round + file).to_string();
                source.put_file(&name, None, name.clone(), noise(100 + 4 * round + file));
            }
            block_on(repo.backup(&source).run()).unwrap();
        }
        let restored = |repo: &Repository, id| {
            let sink = MemorySink::new();
            assert!(block_on(repo.restore(id, &sink).run()).unwrap().problems.is_empty());
            (0..12u64).map(|file| sink.content(&file.to_string()).unwrap()).collect::<Vec<_>>()
        };
        let all = ids(&repo);
        let expected: Vec<_> = all.iter().map(|id| restored(&repo, *id)).collect();
        block_on(split(&repo));
        let repo = open();
        assert!(block_on(repo.verify(VerifyLevel::EveryByte).run()).unwrap().is_sound());
        block_on(repo.remove(&all[victims.clone()])).unwrap();
        for _ in 0..2 {
            block_on(repo.prune().grace(Duration::ZERO).unused_percent(0).run()).unwrap();
            let repo = open();
            let report = block_on(repo.verify(VerifyLevel::EveryByte).run()).unwrap();
            assert!(report.is_sound(), "without {victims:?}: {:?}", report.findings);
            for (at, id) in all.iter().enumerate().filter(|(at, _)| !victims.contains(at)) {
                assert!(restored(&repo, *id) == expected[at]);
            }
        }
    }
}
