//! The deduplication index: which chunks are stored, and where. Immutable sorted runs, merged so that there are few.

mod layout;
mod marks;
mod run;
mod write;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

pub(crate) use marks::{Mark, Marks, Usage};
pub(crate) use run::{PackRef, Run, covered_by};

use crate::error::Result;
use crate::format::pack::FrameSpan;
use crate::id::{ChunkId, ObjectId};

/// A run is merged with all smaller ones if it has at most this many times the entries that they have together. So there are about as
/// many runs as the logarithm to base 3 of what is in them, and an entry is copied about as often as that to base 1.5.
const MERGED_RATIO: u64 = 2;

/// All runs of a repository, as of one point of its log. Cheap to clone and extend: runs are shared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    runs: Vec<Arc<Run>>,
}

/// Where a chunk is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Location<'a> {
    pub(crate) pack: PackRef<'a>,
    pub(crate) frame: FrameSpan,
    pub(crate) offset: u32,
    pub(crate) len: u32,
    run: &'a Run,
    /// The frame's number in the run, which has those of a pack next to each other, as they lie in it.
    number: u32,
}

impl<'a> Location<'a> {
    /// The frames behind this one in its pack, the nearest first.
    pub(crate) fn frames_behind(&self) -> impl Iterator<Item = FrameSpan> + use<'a> {
        let (run, number) = (self.run, self.number);
        run.frames_of(number, number.saturating_add(1)..=u32::MAX)
    }

    /// The frames before this one in its pack, the nearest first.
    pub(crate) fn frames_before(&self) -> impl Iterator<Item = FrameSpan> + use<'a> {
        let (run, number) = (self.run, self.number);
        run.frames_of(number, (0..number).rev())
    }
}

impl Index {
    pub(crate) fn add(&mut self, run: Arc<Run>) {
        self.runs.push(run);
    }

    /// Keeps the runs whose every segment is still there.
    pub(crate) fn retain(&mut self, is_there: impl Fn(&ObjectId) -> bool) {
        self.runs.retain(|run| run.covers().iter().all(&is_there));
    }

    pub(crate) fn runs(&self) -> &[Arc<Run>] {
        &self.runs
    }

    pub(crate) fn contains(&self, id: &ChunkId) -> bool {
        self.runs.iter().any(|run| run.contains(id))
    }

    /// All places of a chunk: if one copy is damaged, another may do.
    pub(crate) fn locate<'a>(&'a self, id: &'a ChunkId) -> impl Iterator<Item = Location<'a>> {
        self.runs.iter().rev().flat_map(|run| run.locate(id))
    }

    /// Every pack that a run names; our own writers name a pack in one segment only, but others may not.
    pub(crate) fn packs(&self) -> impl Iterator<Item = Result<PackRef<'_>>> {
        self.runs.iter().flat_map(|run| run.packs())
    }

    /// How many entries point into each pack. Reads the whole index.
    pub(crate) fn chunks_by_pack(&self) -> Result<HashMap<ObjectId, u64>> {
        let mut chunks = HashMap::new();
        for run in &self.runs {
            let mut counts = vec![0u64; run.counts().packs as usize];
            run.each(|_, pack, _| {
                counts.iter_mut().skip(pack as usize).take(1).for_each(|count| *count += 1)
            })?;
            for (pack, count) in run.packs().zip(counts) {
                *chunks.entry(pack?.id).or_default() += count;
            }
        }
        Ok(chunks)
    }

    pub(crate) fn chunks(&self) -> u64 {
        self.runs.iter().map(|run| run.entries()).sum()
    }

    /// Whether a run has turned out to be damaged: then the index may not know all that it should.
    pub(crate) fn is_damaged(&self) -> bool {
        self.runs.iter().any(|run| run.is_damaged())
    }

    /// The runs that should become one of at most so many entries now, if any.
    pub(crate) fn due(&self, most: u64) -> Option<Vec<Arc<Run>>> {
        let mut runs = self.runs.clone();
        runs.sort_by_key(|run| run.entries());
        let (mut entries, mut due) = (0u64, 0);
        for (smaller, run) in runs.iter().enumerate() {
            let joined = entries.saturating_add(run.entries());
            if joined > most {
                break;
            }
            if smaller > 0 && run.entries() <= entries.saturating_mul(MERGED_RATIO) {
                due = smaller + 1;
            }
            entries = joined;
        }
        runs.truncate(due);
        (due > 1).then_some(runs)
    }

    /// Puts one run in the place of those that it was made of. False, and nothing done, if one of them is not there any more.
    pub(crate) fn replace(&mut self, old: &[Arc<Run>], new: Arc<Run>) -> bool {
        let is_old = |run: &Arc<Run>| old.iter().any(|old| Arc::ptr_eq(old, run));
        if self.runs.iter().filter(|run| is_old(run)).count() != old.len() {
            return false;
        }
        self.runs.retain(|run| !is_old(run));
        self.runs.push(new);
        true
    }
}
