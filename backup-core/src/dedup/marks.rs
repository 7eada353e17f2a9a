//! Which entries of an index are in use: one bit an entry, whatever the index weighs.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Index, Location, PackRef, Run};
use crate::error::{Error, Result};
use crate::format::pack::ChunkSpan;
use crate::id::ChunkId;

/// What became of a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// No run has the chunk.
    Unknown,
    First,
    Again,
}

/// An index with a bit for every entry. All copies of a chunk are marked together: which one is sound shows only when it is read.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    runs: Vec<(Arc<Run>, Vec<u64>)>,
}

/// How much of a pack is in use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage<'a> {
    pub(crate) pack: PackRef<'a>,
    pub(crate) chunks: u64,
    pub(crate) live_chunks: u64,
    /// Before compression.
    pub(crate) bytes: u64,
    pub(crate) live_bytes: u64,
}

impl Usage<'_> {
    /// Takes over what another segment says of the same pack.
    fn add(&mut self, other: &Self) {
        self.chunks += other.chunks;
        self.live_chunks += other.live_chunks;
        self.bytes += other.bytes;
        self.live_bytes += other.live_bytes;
    }
}

impl Marks {
    /// Nothing is marked yet.
    pub(crate) fn new(index: &Index) -> Self {
        let mut marks = Self::default();
        index.runs().iter().for_each(|run| marks.add(Arc::clone(run)));
        marks
    }

    pub(crate) fn add(&mut self, run: Arc<Run>) {
        let words = usize::try_from(run.entries().div_ceil(64)).unwrap_or(usize::MAX);
        self.runs.push((run, vec![0; words]));
    }

    /// The runs that are marked, as an index to read by.
    pub(crate) fn index(&self) -> Index {
        let mut index = Index::default();
        self.runs.iter().for_each(|(run, _)| index.add(Arc::clone(run)));
        index
    }

    /// Marks every copy of a chunk.
    pub(crate) fn mark(&mut self, id: &ChunkId) -> Result<Mark> {
        let mut mark = Mark::Unknown;
        for (run, bits) in &mut self.runs {
            for position in run.positions(id)? {
                let word = usize::try_from(position / 64).ok().and_then(|word| bits.get_mut(word));
                let word = word.ok_or_else(|| Error::bug("a run has grown"))?;
                let bit = 1 << (position % 64);
                if mark == Mark::Unknown {
                    mark = if *word & bit == 0 { Mark::First } else { Mark::Again };
                }
                *word |= bit;
            }
        }
        Ok(mark)
    }

    /// What is in use of every pack, once for each, however many segments name it. Reads the whole index.
    pub(crate) fn usage(&self) -> Result<Vec<Usage<'_>>> {
        let (mut all, mut places) = (Vec::<Usage<'_>>::new(), HashMap::new());
        for (run, bits) in &self.runs {
            let unused = |pack| Usage { pack, chunks: 0, live_chunks: 0, bytes: 0, live_bytes: 0 };
            let mut packs = run.packs().map(|pack| Ok(unused(pack?))).collect::<Result<Vec<_>>>()?;
            run.each(|position, pack, chunk| {
                let Some(usage) = packs.get_mut(pack as usize) else { return };
                usage.chunks += 1;
                usage.bytes += u64::from(chunk.len);
                if is_set(bits, position) {
                    usage.live_chunks += 1;
                    usage.live_bytes += u64::from(chunk.len);
                }
            })?;
            for usage in packs {
                let place = *places.entry(usage.pack.id).or_insert(all.len());
                match all.get_mut(place) {
                    Some(known) => known.add(&usage),
                    None => all.push(usage),
                }
            }
        }
        Ok(all)
    }

    /// The marked chunks of some packs with their places, pack by pack, as they lie in each. Reads the whole index.
    pub(crate) fn live(&self, wanted: impl Fn(&PackRef<'_>) -> bool) -> Result<Vec<(ChunkId, Location<'_>)>> {
        let mut live = Vec::new();
        for (run, bits) in &self.runs {
            let packs = run.packs().collect::<Result<Vec<_>>>()?;
            let is_wanted: Vec<bool> = packs.iter().map(&wanted).collect();
            let mut found: Vec<(u32, ChunkSpan)> = Vec::new();
            run.each(|position, pack, chunk| {
                if is_wanted.get(pack as usize) == Some(&true) && is_set(bits, position) {
                    found.push((pack, *chunk));
                }
            })?;
            found.sort_unstable_by_key(|(pack, chunk)| (*pack, chunk.frame, chunk.offset));
            for (_, chunk) in found {
                live.push((chunk.id, run.location(&chunk)?));
            }
        }
        Ok(live)
    }
}

fn is_set(bits: &[u64], position: u64) -> bool {
    let word = usize::try_from(position / 64).ok().and_then(|word| bits.get(word));
    word.is_some_and(|word| word & (1 << (position % 64)) != 0)
}
