//! Writing runs: from a segment, or from several runs in one pass that holds none of them in memory.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::io::Write;
use std::sync::Arc;

use xorf::{BinaryFuse16, DmaSerializable};

use super::layout::{BLOCK, BLOCK_HASH, Counts, DESCRIPTOR, ENTRY, FENCE, filter_key, prefix};
use super::run::{Run, covered_by, footer_hash};
use crate::error::{Error, Result};
use crate::format::pack::ChunkSpan;
use crate::format::segment::{PackInfo, Segment};
use crate::format::wire::Write as _;
use crate::id::{ChunkId, ObjectId};
use crate::secret::Secret;

/// Bytes collected before they are written on.
const BUFFER_BYTES: usize = 256 << 10;

impl Run {
    /// A segment as a run in memory.
    pub(crate) fn of_segment(id: ObjectId, segment: &Segment) -> Result<Self> {
        let count = |len: usize| u32::try_from(len).map_err(|_| Error::limit("a segment is too long"));
        let counts = Counts {
            entries: segment.chunks.len() as u64,
            frames: count(segment.frames.len())?,
            packs: count(segment.packs.len())?,
            covers: 1,
            fingerprints: 0,
        };
        let mut to = Writer::new(Vec::with_capacity(counts.bytes()), None);
        let mut entries = Entries::new(&counts);
        for chunk in &segment.chunks {
            entries.note(&chunk.id);
            chunk.write(to.buffer()?);
        }
        for frame in &segment.frames {
            let buffer = to.buffer()?;
            buffer.u32(frame.pack);
            frame.span.write(buffer);
        }
        for pack in &segment.packs {
            write_pack(to.buffer()?, pack);
        }
        let (counts, bytes) = to.end(counts, entries, &[id])?;
        Self::in_memory(counts, bytes)
    }

    /// Several runs as one in memory. Reads every entry once.
    ///
    /// # Errors
    /// `Corrupt` if one of them is a damaged file.
    pub(crate) fn merge(runs: &[Arc<Self>]) -> Result<Self> {
        let room = runs.iter().map(|run| run.counts().bytes()).sum();
        let (counts, bytes) = merge_into(runs, Writer::new(Vec::with_capacity(room), None))?;
        Self::in_memory(counts, bytes)
    }

    /// Several runs as one file of a cache, for [`Run::open`].
    ///
    /// # Errors
    /// `Corrupt` if one of them is a damaged file; what writing gives.
    pub(crate) fn merge_to(runs: &[Arc<Self>], out: &mut dyn Write, key: &Secret) -> Result<()> {
        merge_into(runs, Writer::new(out, Some(key)))?;
        Ok(())
    }
}

fn write_pack(out: &mut Vec<u8>, pack: &PackInfo) {
    out.raw(pack.id.as_bytes());
    out.u64(pack.len);
    out.raw(pack.hash.as_bytes());
    out.raw(&pack.header.0);
}

fn merge_into<W: Write>(runs: &[Arc<Run>], mut to: Writer<'_, W>) -> Result<(Counts, W)> {
    let sum =
        |of: fn(&Counts) -> u32| runs.iter().try_fold(0u32, |sum, run| sum.checked_add(of(run.counts())));
    let too_long = || Error::limit("runs are too long to be merged");
    let counts = Counts {
        entries: runs.iter().map(|run| run.counts().entries).sum(),
        frames: sum(|counts| counts.frames).ok_or_else(too_long)?,
        packs: sum(|counts| counts.packs).ok_or_else(too_long)?,
        covers: sum(|counts| counts.covers).ok_or_else(too_long)?,
        fingerprints: 0,
    };
    let mut bases = Vec::with_capacity(runs.len());
    let (mut frames, mut packs) = (0, 0);
    for run in runs {
        bases.push((frames, packs));
        frames += run.counts().frames;
        packs += run.counts().packs;
    }
    let mut entries = Entries::new(&counts);
    let mut next: BinaryHeap<Reverse<(ChunkId, usize, u64)>> = BinaryHeap::with_capacity(runs.len());
    for (number, run) in runs.iter().enumerate() {
        if let Some(first) = run.entry(0)? {
            next.push(Reverse((first.id, number, 0)));
        }
    }
    while let Some(mut top) = next.peek_mut() {
        let Reverse((id, number, position)) = *top;
        let (Some(run), Some((base, _))) = (runs.get(number), bases.get(number)) else { break };
        let entry = run.entry(position)?.ok_or_else(|| Error::bug("a run has lost an entry"))?;
        entries.note(&id);
        ChunkSpan { frame: entry.frame.saturating_add(*base), ..entry }.write(to.buffer()?);
        match run.entry(position + 1)? {
            Some(after) => *top = Reverse((after.id, number, position + 1)),
            None => drop(PeekMut::pop(top)),
        }
    }
    for (run, (_, base)) in runs.iter().zip(&bases) {
        for number in 0..run.counts().frames {
            let frame = run.frame(number)?;
            let buffer = to.buffer()?;
            buffer.u32(frame.pack.saturating_add(*base));
            frame.span.write(buffer);
        }
    }
    for run in runs {
        for number in 0..run.counts().packs {
            write_pack(to.buffer()?, &run.pack(number)?.to_info());
        }
    }
    to.end(counts, entries, &covered_by(runs))
}

/// What is learned about the entries while they pass, in order of their ids.
struct Entries {
    fence_bits: u32,
    shard_bits: Option<u32>,
    passed: u32,
    fence: Vec<u8>,
    shard: usize,
    keys: Vec<u64>,
    filters: Vec<u8>,
    fingerprints: Vec<u8>,
}

impl Entries {
    fn new(counts: &Counts) -> Self {
        Self {
            fence_bits: counts.fence_bits(),
            shard_bits: counts.shard_bits(),
            passed: 0,
            fence: Vec::with_capacity(FENCE * ((1 << counts.fence_bits()) + 1)),
            shard: 0,
            keys: Vec::new(),
            filters: Vec::new(),
            fingerprints: Vec::new(),
        }
    }

    fn note(&mut self, id: &ChunkId) {
        self.fence_up_to(prefix(id, self.fence_bits) + 1);
        self.passed = self.passed.saturating_add(1);
        if let Some(bits) = self.shard_bits {
            self.shards_up_to(prefix(id, bits));
            self.keys.push(filter_key(id));
        }
    }

    /// The buckets before this one begin at the entry that comes next, at the latest.
    fn fence_up_to(&mut self, buckets: usize) {
        while self.fence.len() < buckets * FENCE {
            self.fence.u32(self.passed);
        }
    }

    fn shards_up_to(&mut self, shard: usize) {
        while self.shard < shard {
            self.end_shard();
        }
    }

    /// Makes the filter of a shard. One that cannot be made is left out: such a shard is always searched.
    fn end_shard(&mut self) {
        self.shard += 1;
        self.keys.dedup();
        let filter = BinaryFuse16::try_from(&self.keys).ok().filter(|_| !self.keys.is_empty());
        self.keys.clear();
        self.filters.u32(u32::try_from(self.fingerprints.len() >> 2).unwrap_or(u32::MAX));
        let mut descriptor = [0; DESCRIPTOR];
        let mut len = 0;
        if let Some(filter) = filter {
            filter.dma_copy_descriptor_to(&mut descriptor);
            let fingerprints = filter.dma_fingerprints();
            self.fingerprints.extend_from_slice(fingerprints);
            len = fingerprints.len();
        }
        self.filters.u32(u32::try_from(len).unwrap_or(0));
        self.filters.raw(&descriptor);
        self.fingerprints.resize(self.fingerprints.len().next_multiple_of(4), 0);
    }
}

/// Bytes on their way out, hashed by block if they go to a file.
struct Writer<'a, W> {
    out: W,
    key: Option<&'a Secret>,
    buffer: Vec<u8>,
    hashes: Vec<u8>,
    /// The block that is not full yet.
    block: Vec<u8>,
}

impl<'a, W: Write> Writer<'a, W> {
    fn new(out: W, key: Option<&'a Secret>) -> Self {
        Self {
            out,
            key,
            buffer: Vec::with_capacity(BUFFER_BYTES + ENTRY),
            hashes: Vec::new(),
            block: Vec::new(),
        }
    }

    /// Where the next record goes.
    fn buffer(&mut self) -> Result<&mut Vec<u8>> {
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(&mut self.buffer)
    }

    fn flush(&mut self) -> Result<()> {
        self.out.write_all(&self.buffer)?;
        if self.key.is_some() {
            self.block.extend_from_slice(&self.buffer);
            let whole = self.block.len() - self.block.len() % BLOCK;
            let (blocks, _) = self.block.split_at(whole);
            self.hashes.extend(blocks.chunks(BLOCK).flat_map(block_hash));
            self.block.drain(..whole);
        }
        self.buffer.clear();
        Ok(())
    }

    fn end(mut self, mut counts: Counts, mut entries: Entries, covers: &[ObjectId]) -> Result<(Counts, W)> {
        entries.fence_up_to((1 << counts.fence_bits()) + 1);
        entries.shards_up_to(counts.shards());
        counts.fingerprints = entries.fingerprints.len() as u64;
        for part in [entries.fence, entries.filters, entries.fingerprints] {
            for piece in part.chunks(BUFFER_BYTES) {
                self.buffer()?.extend_from_slice(piece);
            }
        }
        for cover in covers {
            self.buffer()?.extend_from_slice(cover.as_bytes());
        }
        self.flush()?;
        if let Some(key) = self.key {
            if !self.block.is_empty() {
                self.hashes.extend(block_hash(&self.block));
            }
            let head = counts.encode();
            let hash =
                footer_hash(key, &head, covers.iter().map(|id| id.as_bytes().as_slice()), &self.hashes);
            for part in [&self.hashes, head.as_slice(), &hash] {
                self.out.write_all(part)?;
            }
        }
        Ok((counts, self.out))
    }
}

/// The beginning of a block's hash. 128 bits: nobody who cannot make the footer's keyed hash chooses what is compared with it.
pub(super) fn block_hash(block: &[u8]) -> [u8; BLOCK_HASH] {
    let hash = blake3::hash(block);
    let mut short = [0; BLOCK_HASH];
    short.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
    short
}
