//! The deduplication index: which chunks are stored, and where. Immutable sorted runs, one per committed segment.

use std::sync::Arc;

use crate::format::pack::{ChunkSpan, FrameSpan};
use crate::format::segment::{PackInfo, Segment};
use crate::id::{ChunkId, ObjectId};

/// All runs of a repository, as of one point of its log. Cheap to clone and extend: runs are shared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    runs: Vec<Arc<Segment>>,
}

/// Where a chunk is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Location<'a> {
    pub(crate) pack: &'a PackInfo,
    pub(crate) frame: FrameSpan,
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

impl Index {
    pub(crate) fn add(&mut self, run: Arc<Segment>) {
        self.runs.push(run);
    }

    pub(crate) fn contains(&self, id: &ChunkId) -> bool {
        self.runs.iter().any(|run| find(run, id).is_some())
    }

    /// All places of a chunk, newest first: if one copy is damaged, another may do.
    pub(crate) fn locate<'a>(&'a self, id: &'a ChunkId) -> impl Iterator<Item = Location<'a>> {
        self.runs.iter().rev().filter_map(|run| {
            let chunk = find(run, id)?;
            let frame = run.frames.get(chunk.frame as usize)?;
            let pack = run.packs.get(frame.pack as usize)?;
            Some(Location { pack, frame: frame.span, offset: chunk.offset, len: chunk.len })
        })
    }

    /// Every pack that a run names, with the run; a pack is named by one run only.
    pub(crate) fn packs(&self) -> impl Iterator<Item = &PackInfo> {
        self.runs.iter().flat_map(|run| &run.packs)
    }

    /// How many entries point into a pack.
    pub(crate) fn chunks_in(&self, pack: ObjectId) -> u64 {
        let of = |run: &Segment| {
            let named = run.packs.iter().any(|info| info.id == pack);
            let inside = |chunk: &&ChunkSpan| {
                let frame = run.frames.get(chunk.frame as usize);
                frame.and_then(|frame| run.packs.get(frame.pack as usize)).is_some_and(|info| info.id == pack)
            };
            if named { run.chunks.iter().filter(inside).count() as u64 } else { 0 }
        };
        self.runs.iter().map(|run| of(run)).sum()
    }

    pub(crate) fn chunks(&self) -> u64 {
        self.runs.iter().map(|run| run.chunks.len() as u64).sum()
    }
}

fn find<'a>(run: &'a Segment, id: &ChunkId) -> Option<&'a ChunkSpan> {
    let at = run.chunks.binary_search_by(|chunk| chunk.id.cmp(id)).ok()?;
    run.chunks.get(at)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::crypto::Header;
    use crate::id::ObjectHash;

    fn run(pack: u8, ids: &[u8]) -> Segment {
        let frame = FrameSpan { part: 0, offset: 168, sealed_len: 100, raw_len: 1 << 20 };
        let chunks: Vec<_> = ids
            .iter()
            .map(|id| ChunkSpan {
                id: ChunkId::from_bytes([*id; 32]),
                frame: 0,
                offset: u32::from(*id),
                len: 1,
            })
            .collect();
        let mut segment = Segment::default();
        let info = PackInfo {
            id: ObjectId::from_bytes([pack; 16]),
            len: 1 << 20,
            hash: ObjectHash::from_bytes([0; 32]),
            header: Header([0; 168]),
        };
        segment.add(info, &[frame], &chunks);
        segment.sort();
        segment
    }

    proptest! {
        /// B18 (borg #4829): an index of our own making is held against a map.
        #[test]
        fn lookups_agree_with_a_map(runs in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6)) {
            let (mut index, mut map) = (Index::default(), BTreeMap::new());
            for (pack, ids) in runs.iter().enumerate() {
                let pack = pack as u8;
                let segment = run(pack, ids);
                prop_assert_eq!(&Segment::decode(&segment.encode()).unwrap(), &segment);
                index.add(Arc::new(segment));
                map.extend(ids.iter().map(|id| (*id, pack)));
            }
            for id in 0..=255u8 {
                let chunk = ChunkId::from_bytes([id; 32]);
                let found = index.locate(&chunk).next().map(|l| (l.pack.id.as_bytes()[0], l.offset));
                prop_assert_eq!(found, map.get(&id).map(|pack| (*pack, u32::from(id))));
                prop_assert_eq!(index.contains(&chunk), map.contains_key(&id));
            }
        }
    }
}
