//! Damage of every kind at every place of a repository of 64 KiB: noticed by whoever reads the object, and never taken for content.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on fails")]

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_executor::block_on;

use super::verify::{VerifyLevel, check_pack};
use super::{Inner, Options, Repository};
use crate::crypto::{Class, ObjectName, OpenedObject, open_slot};
use crate::format::open_object;
use crate::format::segment::PackInfo;
use crate::id::{ChunkId, ObjectId};
use crate::memory::{MemorySink, MemorySource};
use crate::secret::Credential;
use crate::store::{Key, MemoryStore, Store};
use crate::testkit::environment;

const REPOSITORY_BYTES: usize = 64 << 10;
/// One of so many damages is also met by a restore.
const SAMPLE: usize = 100;

fn key() -> Credential {
    Credential::raw_key([7; 32])
}

fn open(store: &MemoryStore, seed: u64) -> crate::Result<Repository> {
    let arc: Arc<dyn Store> = Arc::new(store.clone());
    block_on(Repository::open_with(arc, &key(), environment(seed), Options::default()))
}

/// All kinds of objects, a checkpoint too, with so many bytes of content that one of the snapshots has alone.
fn repository(filler: usize) -> MemoryStore {
    let noise = |len: usize, seed: u64| {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    };
    let store = MemoryStore::new();
    let arc: Arc<dyn Store> = Arc::new(store.clone());
    let repo = block_on(Repository::init_with(arc, &key(), environment(1), Options::default())).unwrap();
    let source = MemorySource::new("memory:damage").with_concurrency(1);
    source.put_folder("root", None, "root");
    source.put_file("text", Some("root"), "text", "to be or not to be ".repeat(100));
    for round in 0..2u64 {
        source.put_file("noise", Some("root"), "noise", noise(1_500, round));
        block_on(repo.backup(&source).run()).unwrap();
    }
    source.put_file("filler", Some("root"), "filler", noise(filler, 9));
    let last = block_on(repo.backup(&source).run()).unwrap().snapshot;
    while repo.head().number < 64 {
        block_on(repo.hold(&[last])).unwrap();
        block_on(repo.release(&[last])).unwrap();
    }
    store
}

fn size(store: &MemoryStore) -> usize {
    store.objects().values().map(Bytes::len).sum()
}

fn restored(repo: &Repository) -> crate::Result<Vec<(String, Bytes)>> {
    let mut all = Vec::new();
    for snapshot in repo.snapshots() {
        let sink = MemorySink::new();
        let report = block_on(repo.restore(snapshot.id, &sink).run())?;
        if let Some(problem) = report.problems.into_iter().next() {
            return Err(problem.error);
        }
        let files = sink.tree().into_iter();
        all.extend(
            files.map(|(path, file)| (path, file.streams.get("content").cloned().unwrap_or_default())),
        );
    }
    Ok(all)
}

/// A chunk, and where in its pack the frame is that holds it.
struct Place {
    class: Class,
    chunk: ChunkId,
    frame: Range<usize>,
}

/// One thread's repository, whose objects it damages and mends one after the other.
struct Patient<'a> {
    store: MemoryStore,
    inner: Arc<Inner>,
    whole: &'a [(Key, Bytes)],
    expected: &'a [(String, Bytes)],
}

impl<'a> Patient<'a> {
    fn new(store: &MemoryStore, whole: &'a [(Key, Bytes)], expected: &'a [(String, Bytes)]) -> Self {
        let store = store.fork();
        let inner = Arc::clone(&open(&store, 2).unwrap().inner);
        Self { store, inner, whole, expected }
    }

    /// One chunk of every frame of a pack.
    fn places(&self, info: &PackInfo) -> Vec<Place> {
        let index = &self.inner.state().index;
        let (_, class) =
            OpenedObject::open(self.inner.id, &self.inner.ring, ObjectName::Pack(info.id), &info.header.0)
                .unwrap();
        let mut places: Vec<Place> = Vec::new();
        for named in self.inner.state().segments.clone() {
            let segment = block_on(self.inner.read_segment(named)).unwrap();
            for chunk in &segment.chunks {
                for location in index.locate(&chunk.id).filter(|location| location.pack.id == info.id) {
                    let frame = location.frame.offset as usize..location.frame.end() as usize;
                    if !places.iter().any(|place| place.frame == frame) {
                        places.push(Place { class, chunk: chunk.id, frame });
                    }
                }
            }
        }
        places
    }

    /// Whether whoever reads this object, damaged at this place, notices.
    fn notices(
        &self,
        key: &Key,
        bad: &Bytes,
        at: &Range<usize>,
        pack: Option<&(PackInfo, u64, Vec<Place>)>,
    ) -> bool {
        let inner = &self.inner;
        self.store.overwrite(key.clone(), bad.clone());
        let (kind, name) = key.as_str().split_once('/').unwrap();
        let number = || u64::from_str_radix(name, 16).unwrap();
        let id = || name.rsplit('/').next().unwrap().parse::<ObjectId>().unwrap();
        // Not only is it another object than the log names: it does not open either.
        let opens = |name: ObjectName| open_object(inner.id, &inner.ring, name, bad).is_ok();
        match kind {
            "keys" => !matches!(open_slot(id(), bad, &self::key()), Ok(Some(_))),
            "log" => block_on(inner.read_log_once(number())).is_err(),
            "checkpoint" => block_on(inner.read_checkpoint(number())).is_err(),
            "snapshot" => {
                block_on(inner.read_snapshot(id().into())).is_err() && !opens(ObjectName::Snapshot(id()))
            }
            "segment" => {
                let named =
                    inner.state().segments.iter().find(|named| named.object.id == id()).copied().unwrap();
                block_on(inner.read_segment(named)).is_err() && !opens(ObjectName::Segment(id()))
            }
            _ => {
                let (info, chunks, places) = pack.unwrap();
                let index = inner.state().index.clone();
                let check = check_pack(inner, &index, info.clone(), *chunks, VerifyLevel::EveryByte);
                let touched =
                    places.iter().filter(|place| place.frame.start < at.end && at.start < place.frame.end);
                let mut unread = touched.map(|place| {
                    inner.caches.clear();
                    block_on(inner.chunk(place.class, place.chunk)).is_err()
                });
                block_on(check).is_err() && unread.all(|unread| unread)
            }
        }
    }

    /// Everybody who opens the repository anew and restores all of it gets what there was, or an error.
    fn restores_rightly(&self, what: &str) {
        let Ok(found) = open(&self.store, 3).and_then(|repo| restored(&repo)) else { return };
        assert!(found == self.expected, "{what}: other bytes were restored");
    }
}

/// Damages: what an object becomes, and which of its bytes are concerned.
type Damage = (Range<usize>, Bytes);

/// Meets every damage that `of` makes of an object, on two threads. How many there were.
fn meet(of: impl Fn(&Bytes, usize) -> Option<Damage> + Sync, what: &str) -> usize {
    let filler = REPOSITORY_BYTES - size(&repository(1_000)) + 1_000;
    // Lengths are padded: the longest that fits.
    let store = (0..)
        .map(|less| repository(filler - 512 * less))
        .find(|store| size(store) <= REPOSITORY_BYTES)
        .unwrap();
    let whole: Vec<_> = store.objects().into_iter().collect();
    let expected = restored(&open(&store, 4).unwrap()).unwrap();
    let (met, sampled) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (whole, expected, of, met, sampled, store) = (&whole, &expected, &of, &met, &sampled, &store);
            scope.spawn(move || {
                let patient = Patient::new(store, whole, expected);
                for (key, bytes) in patient.whole {
                    let pack = key.as_str().strip_prefix("pack/").map(|name| {
                        let id: ObjectId = name.rsplit('/').next().unwrap().parse().unwrap();
                        let index = &patient.inner.state().index;
                        let info =
                            index.packs().map(Result::unwrap).find(|pack| pack.id == id).unwrap().to_info();
                        let places = patient.places(&info);
                        (info, index.chunks_by_pack().unwrap()[&id], places)
                    });
                    let mut number = thread;
                    while let Some((at, bad)) = of(bytes, number) {
                        number += 2;
                        if bad == *bytes {
                            continue;
                        }
                        let noticed = patient.notices(key, &bad, &at, pack.as_ref());
                        assert!(noticed, "{what} of {key} at {at:?} was not noticed");
                        if met.fetch_add(1, Ordering::Relaxed).is_multiple_of(SAMPLE) {
                            sampled.fetch_add(1, Ordering::Relaxed);
                            patient.restores_rightly(&format!("{what} of {key} at {at:?}"));
                        }
                    }
                    patient.store.overwrite(key.clone(), bytes.clone());
                }
            });
        }
    });
    println!(
        "{met:?} times {what} of a repository of {} bytes in {} objects: all noticed; {sampled:?} of them restored from",
        size(&store),
        whole.len()
    );
    met.into_inner()
}

#[test]
fn every_flipped_bit_of_64_kib_is_noticed() {
    let flip = |bytes: &Bytes, bit: usize| {
        let mut bad = bytes.to_vec();
        *bad.get_mut(bit / 8)? ^= 1 << (bit % 8);
        Some((bit / 8..bit / 8 + 1, bad.into()))
    };
    assert!(meet(flip, "a flipped bit") > 450_000);
}

#[test]
fn every_cut_of_64_kib_is_noticed() {
    let cut = |bytes: &Bytes, len: usize| (len < bytes.len()).then(|| (len..bytes.len(), bytes.slice(..len)));
    assert!(meet(cut, "a cut") > 56_000);
}

#[test]
fn garbage_behind_an_object_and_sectors_of_zeros_are_noticed() {
    let garbage = |bytes: &Bytes, number: usize| {
        let (len, byte) = (*[1, 2, 16, 512, 4_096, 70_000].get(number / 3)?, [0, 1, 0xff][number % 3]);
        Some((bytes.len()..bytes.len() + len, [&bytes[..], &vec![byte; len]].concat().into()))
    };
    assert!(meet(garbage, "garbage behind") > 1_000);
    let zeros = |bytes: &Bytes, number: usize| {
        // Sectors of 512 bytes, and then blocks of 4,096.
        let sectors = bytes.len().div_ceil(512);
        let (at, len) =
            if number < sectors { (number * 512, 512) } else { ((number - sectors) * 4_096, 4_096) };
        let end = (at + len).min(bytes.len());
        let mut bad = bytes.to_vec();
        bad.get_mut(at..end).filter(|sector| !sector.is_empty())?.fill(0);
        Some((at..end, bad.into()))
    };
    assert!(meet(zeros, "a sector of zeros") > 150);
}
