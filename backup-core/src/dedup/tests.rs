//! Runs against a map (B18, borg #4829: an index of our own making is held against a plain one), and against damage.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Index, Mark, Marks, Run};
use crate::crypto::{HEADER_LEN, Header};
use crate::format::pack::{ChunkSpan, FrameSpan};
use crate::format::segment::{PackInfo, Segment};
use crate::id::{ChunkId, ObjectHash, ObjectId};
use crate::secret::Secret;

const KEY: Secret = Secret::new([7; 32]);
const SPAN: FrameSpan = FrameSpan { part: 3, offset: 168, sealed_len: 100, raw_len: 1 << 20 };

fn id(number: u64) -> ChunkId {
    ChunkId::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

fn object(number: u64) -> ObjectId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    ObjectId::from_bytes(bytes)
}

/// A segment of one pack, whose chunks lie at the offsets that their numbers say.
fn segment(pack: u64, numbers: impl IntoIterator<Item = u64>) -> Segment {
    let chunk =
        |number: u64| ChunkSpan { id: id(number), frame: 1, offset: (number % 1_000_000) as u32, len: 1 };
    let chunks: Vec<_> = numbers.into_iter().map(chunk).collect();
    let mut segment = Segment::default();
    let header = Header([pack as u8; HEADER_LEN]);
    let info = PackInfo { id: object(pack), len: 1 << 20, hash: ObjectHash::from_bytes([9; 32]), header };
    segment.add(info, &[SPAN, FrameSpan { part: 4, ..SPAN }], &chunks);
    segment.sort();
    segment
}

fn run(pack: u64, numbers: impl IntoIterator<Item = u64>) -> Arc<Run> {
    Arc::new(Run::of_segment(object(pack), &segment(pack, numbers)).unwrap())
}

fn file_of(runs: &[Arc<Run>]) -> Vec<u8> {
    let mut file = Vec::new();
    Run::merge_to(runs, &mut file, &KEY).unwrap();
    file
}

fn places(index: &Index, number: u64) -> BTreeSet<(ObjectId, u32, u8)> {
    let chunk = id(number);
    let place = |place: super::Location<'_>| {
        assert_eq!(place.frame, FrameSpan { part: 4, ..SPAN });
        assert_eq!((u64::from(place.offset), place.len), (number % 1_000_000, 1));
        (place.pack.id, place.offset, place.pack.header[100])
    };
    index.locate(&chunk).map(place).collect()
}

proptest! {
    /// Merged in memory, merged into a file, or not at all: the same chunks at the same places, all copies of them.
    #[test]
    fn lookups_agree_with_a_map(
        segments in prop::collection::vec(prop::collection::vec(0u64..300, 0..60), 0..7),
        merged in 0usize..7,
        cached in any::<bool>(),
    ) {
        let mut map: BTreeMap<u64, BTreeSet<(ObjectId, u32, u8)>> = BTreeMap::new();
        let mut index = Index::default();
        for (pack, numbers) in (0u64..).zip(&segments) {
            let segment = segment(pack, numbers.iter().copied());
            prop_assert_eq!(&Segment::decode(&segment.encode()).unwrap(), &segment);
            index.add(Arc::new(Run::of_segment(object(pack), &segment).unwrap()));
            for number in numbers {
                map.entry(*number).or_default().insert((object(pack), *number as u32, pack as u8));
            }
        }
        let joined: Vec<_> = index.runs().iter().take(merged).cloned().collect();
        if !joined.is_empty() {
            let run = match cached {
                true => Run::open(file_of(&joined).into(), &KEY).unwrap(),
                false => Run::merge(&joined).unwrap(),
            };
            prop_assert_eq!(run.is_cached(), cached);
            prop_assert!(index.replace(&joined, Arc::new(run)));
        }
        for number in 0..300 {
            prop_assert_eq!(&places(&index, number), &map.get(&number).cloned().unwrap_or_default());
            prop_assert_eq!(index.contains(&id(number)), map.contains_key(&number));
        }
        let by_pack: u64 = index.chunks_by_pack().unwrap().values().sum();
        prop_assert_eq!(by_pack, index.chunks());
        prop_assert_eq!(index.packs().count(), segments.len());
        let mut covers: Vec<_> = index.runs().iter().flat_map(|run| run.covers()).copied().collect();
        covers.sort_unstable();
        prop_assert_eq!(covers, (0..segments.len() as u64).map(object).collect::<Vec<_>>());
    }
}

#[test]
fn filters_lose_nothing_and_answer_nearly_all_that_is_new() {
    let run = run(1, 0..200_000);
    assert!((0..200_000).all(|number| run.contains(&id(number))));
    assert!(!(200_000..400_000).any(|number| run.contains(&id(number))));
    let searched = (200_000..400_000).filter(|number| run.may_contain(&id(*number))).count();
    assert!(searched < 50, "{searched} of 200,000 new chunks were searched for");
    let room = run.byte_len() as u64 / run.entries();
    assert!(room <= 48, "{room} bytes an entry");
}

/// Every flipped byte of a cached file is refused at once, or noticed before anything that depends on it is used.
#[test]
fn damage_is_noticed_and_never_believed() {
    let file = file_of(&[run(1, 0..500), run(2, 400..1_500)]);
    let whole = Run::open(Bytes::from(file.clone()), &KEY).unwrap();
    let expected: Vec<_> = (0..1_500u64).map(|number| whole.locate(&id(number)).count()).collect();
    assert!(expected.iter().all(|count| *count > 0) && !whole.is_damaged());
    let (mut refused, mut noticed) = (0, 0);
    for at in (0..file.len()).step_by(97) {
        let mut damaged = file.clone();
        damaged[at] ^= 0x10;
        let Ok(run) = Run::open(damaged.into(), &KEY) else {
            refused += 1;
            continue;
        };
        let mut index = Index::default();
        index.add(Arc::new(run));
        let lost = (0..1_500u64).filter(|number| {
            // Whatever is found is right: `places` compares it.
            let found = places(&index, *number).len();
            assert!(found == 0 || found == expected[*number as usize]);
            found == 0
        });
        assert!(lost.count() > 0 && index.is_damaged(), "a flip at {at} was not noticed");
        let merged = Run::merge(index.runs());
        assert!(merged.is_err(), "a flip at {at} was carried on");
        noticed += 1;
    }
    assert!(refused > 0 && noticed > 100, "{refused} refused, {noticed} noticed");
    for cut in (0..file.len()).step_by(1_009) {
        assert!(Run::open(Bytes::copy_from_slice(&file[..cut]), &KEY).is_err(), "cut at {cut}");
    }
    assert!(Run::open(file.into(), &Secret::new([8; 32])).is_err(), "another key");
}

/// However many commits there are, runs stay few, and what is copied to keep them few stays in proportion.
#[test]
fn merging_keeps_runs_few_and_copies_little() {
    let mut index = Index::default();
    let (mut copied, mut most) = (0, 0);
    for number in 0..400u64 {
        index.add(run(number, number * 50..(number + 1) * 50));
        while let Some(due) = index.due(u64::MAX) {
            let new = Run::merge(&due).unwrap();
            copied += new.entries();
            assert!(index.replace(&due, Arc::new(new)));
        }
        most = most.max(index.runs().len());
    }
    assert_eq!(index.chunks(), 20_000);
    assert!(most <= 7, "{most} runs");
    assert!(copied <= 12 * 20_000, "{copied} entries copied for 20,000");
    assert!((0..20_000).all(|number| index.contains(&id(number))));
}

/// A small run beside large ones of one size does not keep those from being merged.
#[test]
fn large_runs_are_merged_past_a_small_one() {
    let mut index = Index::default();
    for (pack, numbers) in [(1, 0..1_000), (2, 1_000..2_000), (3, 2_000..2_010)] {
        index.add(run(pack, numbers));
    }
    assert_eq!(index.due(u64::MAX).unwrap().len(), 3);
    assert!(index.due(2_009).is_none(), "more than may be merged");
    index.add(run(4, 2_010..2_020));
    assert_eq!(index.due(2_009).unwrap().len(), 2, "the two small ones");
}

#[test]
fn runs_that_are_gone_are_not_replaced() {
    let (a, b) = (run(1, 0..10), run(2, 10..20));
    let mut index = Index::default();
    index.add(Arc::clone(&a));
    let both = Arc::new(Run::merge(&[Arc::clone(&a), Arc::clone(&b)]).unwrap());
    assert!(!index.replace(&[a, b], both));
    assert_eq!(index.chunks(), 10);
}

/// What the model knows: the numbers of each segment, which has one pack, and where each number is.
#[derive(Default)]
struct Model {
    segments: BTreeMap<u64, Vec<u64>>,
    places: BTreeMap<u64, BTreeSet<u64>>,
}

/// borg #4829: a table of our own making lost entries after some had been removed. Millions of operations, in any order, on the index and on a
/// map: segments come and go, runs are merged in memory and into files, chunks are looked up and marked.
#[test]
fn borg_4829_the_index_agrees_with_a_map_through_millions_of_operations() {
    const NUMBERS: usize = 3_000;
    let operations: u64 = std::env::var("BACKUP_INDEX_OPERATIONS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(3_000_000);
    let mut state = 4_829u64;
    let mut below = |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 20) as usize % bound
    };
    let ids: Vec<ChunkId> = (0..2 * NUMBERS as u64).map(id).collect();
    let (mut index, mut model, mut next_pack) = (Index::default(), Model::default(), 0);
    let (mut found, mut merges, mut dropped) = (0u64, 0u64, 0u64);
    for _ in 0..operations {
        let choice = below(4_000);
        if choice == 0 || model.segments.is_empty() {
            let power = below(9);
            let count = below(1 << power);
            let numbers: BTreeSet<u64> = (0..count).map(|_| below(NUMBERS) as u64).collect();
            index.add(run(next_pack, numbers.iter().copied()));
            for number in &numbers {
                model.places.entry(*number).or_default().insert(next_pack);
            }
            model.segments.insert(next_pack, numbers.into_iter().collect());
            next_pack += 1;
        } else if choice == 1 && model.segments.len() > 12 {
            // As a prune does: what covered the segment goes, and the others come back.
            let at = below(model.segments.len());
            let gone = *model.segments.keys().nth(at).unwrap();
            for number in model.segments.remove(&gone).unwrap() {
                let packs = model.places.get_mut(&number).unwrap();
                packs.remove(&gone);
                if packs.is_empty() {
                    model.places.remove(&number);
                }
            }
            index.retain(|segment| *segment != object(gone));
            let covered: BTreeSet<ObjectId> =
                index.runs().iter().flat_map(|run| run.covers()).copied().collect();
            for (pack, numbers) in
                model.segments.iter().filter(|(pack, _)| !covered.contains(&object(**pack)))
            {
                index.add(run(*pack, numbers.iter().copied()));
            }
            dropped += 1;
        } else if choice == 2 {
            let due = match below(2) {
                0 => index.due(u64::MAX).unwrap_or_default(),
                _ => index.runs().iter().filter(|_| below(2) == 0).cloned().collect(),
            };
            if !due.is_empty() {
                let merged = match below(2) {
                    0 => Run::merge(&due).unwrap(),
                    _ => Run::open(file_of(&due).into(), &KEY).unwrap(),
                };
                assert!(index.replace(&due, Arc::new(merged)));
                merges += 1;
            }
        } else if choice == 3 {
            let mut marks = Marks::new(&index);
            let mut marked = BTreeSet::new();
            for _ in 0..below(200) {
                let number = below(2 * NUMBERS) as u64;
                let expected = match (model.places.contains_key(&number), marked.contains(&number)) {
                    (false, _) => Mark::Unknown,
                    (true, false) => Mark::First,
                    (true, true) => Mark::Again,
                };
                assert_eq!(marks.mark(&ids[number as usize]).unwrap(), expected);
                marked.insert(number);
            }
            let usage = marks.usage().unwrap();
            assert_eq!(usage.len(), model.segments.len());
            for usage in usage {
                let pack = u64::from_be_bytes(usage.pack.id.as_bytes()[..8].try_into().unwrap());
                let numbers = &model.segments[&pack];
                let live = numbers.iter().filter(|number| marked.contains(number)).count() as u64;
                assert_eq!((usage.chunks, usage.live_chunks), (numbers.len() as u64, live));
            }
        } else {
            let number = below(2 * NUMBERS) as u64;
            let chunk = &ids[number as usize];
            let expected = model.places.get(&number);
            assert_eq!(index.contains(chunk), expected.is_some(), "{number}");
            let mut copies = 0;
            for place in index.locate(chunk) {
                let pack = u64::from_be_bytes(place.pack.id.as_bytes()[..8].try_into().unwrap());
                assert!(expected.is_some_and(|packs| packs.contains(&pack)), "{number} is not in {pack}");
                assert_eq!(u64::from(place.offset), number);
                copies += 1;
            }
            assert_eq!(copies, expected.map_or(0, BTreeSet::len), "{number}");
            found += copies as u64;
        }
    }
    println!(
        "{operations} operations: {next_pack} segments, {dropped} of them dropped, {merges} merges, {found} copies found"
    );
    assert!(merges > 0 && dropped > 0 && found > operations / 10);
}

/// restic #21820: what a pack holds was written in several index files, and all but one of them were forgotten. Parts of a pack in any number of
/// segments, also overlapping ones and all of it twice, are one pack, of which everything is in use that is in any of them.
#[test]
fn restic_21820_a_pack_in_several_segments_is_one_pack() {
    let parts: [&[u64]; 4] = [&[0, 1, 2, 3], &[3, 4, 5], &[], &[0, 1, 2, 3, 4, 5]];
    for used in [&[0u64][..], &[5], &[3], &[0, 4], &[]] {
        for merged in 0..16u32 {
            let mut index = Index::default();
            for (number, part) in (0u64..).zip(parts) {
                let segment = segment(7, part.iter().copied());
                index.add(Arc::new(Run::of_segment(object(100 + number), &segment).unwrap()));
            }
            index.add(run(8, [2, 9]));
            let some: Vec<_> = index
                .runs()
                .iter()
                .enumerate()
                .filter(|(at, _)| merged >> at & 1 == 1)
                .map(|(_, run)| Arc::clone(run))
                .collect();
            if !some.is_empty() {
                assert!(index.replace(&some, Arc::new(Run::merge(&some).unwrap())));
            }
            assert!((0..6).all(|number| index.contains(&id(number))));
            let mut marks = Marks::new(&index);
            used.iter().for_each(|number| assert_eq!(marks.mark(&id(*number)).unwrap(), Mark::First));
            let usage = marks.usage().unwrap();
            let of: Vec<_> = usage.iter().filter(|usage| usage.pack.id == object(7)).collect();
            assert_eq!(of.len(), 1, "one pack, in one piece");
            assert_eq!(of[0].live_chunks > 0, !used.is_empty(), "{used:?} of {merged:#b}");
            // What is to be copied is all there, however often.
            let live: BTreeSet<_> =
                marks.live(|pack| pack.id == object(7)).unwrap().into_iter().map(|(id, _)| id).collect();
            assert_eq!(live, used.iter().map(|number| id(*number)).collect());
        }
    }
}
