//! A run: a sorted array of chunks with what finds one in it, in memory or mapped from a file.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use xorf::{BinaryFuse16Ref, Filter, FilterRef};

use super::Location;
use super::layout::{
    BLOCK, BLOCK_HASH, Counts, DESCRIPTOR, ENTRY, FENCE, FILTER, FOOTER, FRAME, Layout, PACK, filter_key,
    prefix,
};
use super::write::block_hash;
use crate::crypto::{HEADER_LEN, Header, equal};
use crate::error::{Error, Result};
use crate::format::pack::{ChunkSpan, FrameSpan};
use crate::format::segment::{PackFrame, PackInfo};
use crate::id::{ChunkId, ObjectHash, ObjectId};
use crate::secret::Secret;

/// Entries of one or more segments, in ascending order of ids; copies of one chunk are next to each other.
pub(crate) struct Run {
    bytes: Bytes,
    counts: Counts,
    layout: Layout,
    covers: Vec<ObjectId>,
    /// Which blocks have been checked, if the bytes come from a cache.
    checked: Option<Checked>,
}

#[derive(Debug)]
struct Checked {
    blocks: Vec<AtomicU64>,
    damaged: AtomicBool,
}

/// A pack as a run knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackRef<'a> {
    pub(crate) id: ObjectId,
    pub(crate) len: u64,
    pub(crate) hash: ObjectHash,
    pub(crate) header: &'a [u8; HEADER_LEN],
}

impl PackRef<'_> {
    pub(crate) fn to_info(self) -> PackInfo {
        PackInfo { id: self.id, len: self.len, hash: self.hash, header: Header(*self.header) }
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("counts", &self.counts).finish_non_exhaustive()
    }
}

/// The segments that several runs cover together, ascending.
pub(crate) fn covered_by(runs: &[Arc<Run>]) -> Vec<ObjectId> {
    let mut covers: Vec<ObjectId> = runs.iter().flat_map(|run| run.covers()).copied().collect();
    covers.sort_unstable();
    covers
}

/// What a cached run's footer says of all the rest.
pub(super) fn footer_hash<'a>(
    key: &Secret,
    head: &[u8],
    covers: impl Iterator<Item = &'a [u8]>,
    blocks: &[u8],
) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(key.expose());
    hasher.update(head);
    for cover in covers {
        hasher.update(cover);
    }
    *hasher.update(blocks).finalize().as_bytes()
}

impl Run {
    pub(super) fn in_memory(counts: Counts, bytes: Vec<u8>) -> Result<Self> {
        Self::new(counts, bytes.into(), false)
    }

    fn new(counts: Counts, bytes: Bytes, from_cache: bool) -> Result<Self> {
        let layout = Layout::of(&counts)?;
        let covers = bytes.get(layout.covers.clone()).ok_or_else(cut)?;
        let covers = covers.chunks_exact(ObjectId::LEN);
        let covers = covers.filter_map(|id| Some(ObjectId::from_bytes(id.try_into().ok()?))).collect();
        let checked = from_cache.then(|| Checked {
            blocks: (0..layout.covers.end.div_ceil(BLOCK).div_ceil(64)).map(|_| AtomicU64::new(0)).collect(),
            damaged: AtomicBool::new(false),
        });
        Ok(Self { bytes, counts, layout, covers, checked })
    }

    /// A run from a cache. Reads and checks what is small; entries are checked when they are looked at.
    ///
    /// # Errors
    /// `Corrupt` if it is cut, of another version, or not made with this key.
    pub(crate) fn open(bytes: Bytes, key: &Secret) -> Result<Self> {
        let (rest, footer) = bytes.split_last_chunk::<FOOTER>().ok_or_else(cut)?;
        let (head, hash) = footer.split_last_chunk::<32>().ok_or_else(cut)?;
        let counts = Counts::decode(head)?;
        let layout = Layout::of(&counts)?;
        if rest.len() != layout.blocks.end {
            return Err(cut());
        }
        let get = |range: &Range<usize>| bytes.get(range.clone()).ok_or_else(cut);
        let (covers, blocks) = (get(&layout.covers)?, get(&layout.blocks)?);
        if !equal(&footer_hash(key, head, std::iter::once(covers), blocks), hash) {
            return Err(Error::corrupt("a cached index was not made with this repository's key"));
        }
        let run = Self::new(counts, bytes, true)?;
        run.slice(run.layout.filters.clone())?;
        Ok(run)
    }

    pub(super) const fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The segments whose entries these are, ascending.
    pub(crate) fn covers(&self) -> &[ObjectId] {
        &self.covers
    }

    pub(crate) const fn entries(&self) -> u64 {
        self.counts.entries
    }

    /// Whether it is in a cache rather than in memory.
    pub(crate) const fn is_cached(&self) -> bool {
        self.checked.is_some()
    }

    /// Whether damage has been met. Such a run answers as if it had nothing where it is damaged.
    pub(crate) fn is_damaged(&self) -> bool {
        self.checked.as_ref().is_some_and(|checked| checked.damaged.load(Ordering::Relaxed))
    }

    /// Bytes of the run, checked against their blocks' hashes if they come from a cache: once, when they are first looked at.
    fn slice(&self, range: Range<usize>) -> Result<&[u8]> {
        if let Some(checked) = &self.checked {
            for block in range.start / BLOCK..range.end.div_ceil(BLOCK) {
                self.check(checked, block)?;
            }
        }
        self.bytes.get(range).ok_or_else(cut)
    }

    fn check(&self, checked: &Checked, block: usize) -> Result<()> {
        let (word, bit) = (checked.blocks.get(block / 64).ok_or_else(cut)?, 1u64 << (block % 64));
        if word.load(Ordering::Relaxed) & bit != 0 {
            return Ok(());
        }
        let end = ((block + 1) * BLOCK).min(self.layout.covers.end);
        let bytes = self.bytes.get(block * BLOCK..end);
        let at = self.layout.blocks.start + block * BLOCK_HASH;
        let hash = self.bytes.get(at..at + BLOCK_HASH);
        if bytes.map(block_hash).as_ref().map(<[u8; BLOCK_HASH]>::as_slice) == hash {
            word.fetch_or(bit, Ordering::Relaxed);
            return Ok(());
        }
        checked.damaged.store(true, Ordering::Relaxed);
        Err(Error::corrupt("a cached index is damaged"))
    }

    fn record<const N: usize>(&self, array: &Range<usize>, number: usize) -> Result<&[u8; N]> {
        let start = number.checked_mul(N).and_then(|at| array.start.checked_add(at)).ok_or_else(cut)?;
        let end = start.checked_add(N).filter(|end| *end <= array.end).ok_or_else(cut)?;
        self.slice(start..end)?.first_chunk().ok_or_else(cut)
    }

    /// An entry by its position; none after the last one.
    pub(super) fn entry(&self, position: u64) -> Result<Option<ChunkSpan>> {
        if position >= self.counts.entries {
            return Ok(None);
        }
        let position = usize::try_from(position).map_err(|_| cut())?;
        Ok(Some(chunk_of(self.record::<ENTRY>(&self.layout.entries, position)?)))
    }

    pub(super) fn frame(&self, number: u32) -> Result<PackFrame> {
        let raw = self.record::<FRAME>(&self.layout.frames, number as usize)?;
        let [pack @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = raw;
        let [.., p0, p1, p2, p3, o0, o1, o2, o3, o4, o5, o6, o7, s0, s1, s2, s3, r0, r1, r2, r3] = *raw;
        Ok(PackFrame {
            pack: u32::from_le_bytes(*pack),
            span: FrameSpan {
                part: u32::from_le_bytes([p0, p1, p2, p3]),
                offset: u64::from_le_bytes([o0, o1, o2, o3, o4, o5, o6, o7]),
                sealed_len: u32::from_le_bytes([s0, s1, s2, s3]),
                raw_len: u32::from_le_bytes([r0, r1, r2, r3]),
            },
        })
    }

    pub(super) fn pack(&self, number: u32) -> Result<PackRef<'_>> {
        let raw = self.record::<PACK>(&self.layout.packs, number as usize)?;
        let (id, rest) = raw.split_first_chunk().ok_or_else(cut)?;
        let (len, rest) = rest.split_first_chunk().ok_or_else(cut)?;
        let (hash, rest) = rest.split_first_chunk().ok_or_else(cut)?;
        Ok(PackRef {
            id: ObjectId::from_bytes(*id),
            len: u64::from_le_bytes(*len),
            hash: ObjectHash::from_bytes(*hash),
            header: rest.first_chunk().ok_or_else(cut)?,
        })
    }

    /// Every pack that the run names.
    pub(crate) fn packs(&self) -> impl Iterator<Item = Result<PackRef<'_>>> {
        (0..self.counts.packs).map(|number| self.pack(number))
    }

    /// Whether the chunk is stored, as far as this run knows. A filter is believed when it says no: if it is damaged, a chunk is stored
    /// twice and nothing is lost.
    pub(crate) fn contains(&self, id: &ChunkId) -> bool {
        self.may_contain(id) && self.find(id).is_ok_and(|found| !found.is_empty())
    }

    /// Bytes that it takes in memory or in its file.
    #[cfg(test)]
    pub(super) fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn may_contain(&self, id: &ChunkId) -> bool {
        let Some(bits) = self.counts.shard_bits() else { return true };
        let at = self.layout.filters.start + prefix(id, bits) * FILTER;
        // Checked when the run was opened.
        let Some(filter) = self.bytes.get(at..at + FILTER).and_then(|raw| raw.first_chunk::<FILTER>()) else {
            return true;
        };
        let [s0, s1, s2, s3, l0, l1, l2, l3, descriptor @ ..] = filter;
        let start = self.layout.fingerprints.start + 4 * u32::from_le_bytes([*s0, *s1, *s2, *s3]) as usize;
        let len = u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize;
        let descriptor: &[u8; DESCRIPTOR] = descriptor;
        match self.bytes.get(start..start + len) {
            // They are read as numbers of two bytes, which lie at even places if the bytes of the run do.
            Some(fingerprints) if len > 0 && fingerprints.as_ptr().addr().is_multiple_of(2) => {
                BinaryFuse16Ref::from_dma(descriptor, fingerprints).contains(&filter_key(id))
            }
            _ => true,
        }
    }

    /// The entries of a chunk.
    fn find(&self, id: &ChunkId) -> Result<&[[u8; ENTRY]]> {
        let bucket = prefix(id, self.counts.fence_bits());
        let bound = |bucket| -> Result<usize> {
            let position = u32::from_le_bytes(*self.record::<FENCE>(&self.layout.fence, bucket)?);
            (position as usize).checked_mul(ENTRY).filter(|at| *at <= self.layout.entries.end).ok_or_else(cut)
        };
        let (from, to) = (bound(bucket)?, bound(bucket + 1)?);
        let (bucket, _) = self.slice(from..to.max(from))?.as_chunks::<ENTRY>();
        // Eight bytes tell nearly all ids apart, and are compared at once.
        let beginning = filter_key(id);
        let start = lower_bound(bucket, beginning, beginning.checked_shl(self.counts.fence_bits()));
        let alike = bucket.get(start..).unwrap_or_default();
        let start = alike.iter().take_while(|entry| entry.as_slice() < id.as_bytes().as_slice()).count();
        let found = alike.get(start..).unwrap_or_default();
        let len = found.iter().take_while(|entry| entry.starts_with(id.as_bytes())).count();
        Ok(found.get(..len).unwrap_or_default())
    }

    /// All places of a chunk.
    pub(super) fn locate<'a>(&'a self, id: &ChunkId) -> impl Iterator<Item = Location<'a>> + use<'a> {
        let found = self.find(id).unwrap_or_default();
        found.iter().filter_map(|entry| self.location(&chunk_of(entry)).ok())
    }

    pub(super) fn location(&self, chunk: &ChunkSpan) -> Result<Location<'_>> {
        let frame = self.frame(chunk.frame)?;
        let pack = self.pack(frame.pack)?;
        let (offset, len) = (chunk.offset, chunk.len);
        Ok(Location { pack, frame: frame.span, offset, len, run: self, number: chunk.frame })
    }

    /// Those of the frames with these numbers, up to the first one that lies in another pack than frame `number`.
    pub(super) fn frames_of(
        &self,
        number: u32,
        numbers: impl Iterator<Item = u32>,
    ) -> impl Iterator<Item = FrameSpan> {
        let pack = self.frame(number).ok().map(|frame| frame.pack);
        let frames = numbers.map_while(|number| self.frame(number).ok());
        frames.take_while(move |frame| Some(frame.pack) == pack).map(|frame| frame.span)
    }

    /// The positions of a chunk's entries.
    pub(super) fn positions(&self, id: &ChunkId) -> Result<Range<u64>> {
        let found = self.find(id)?;
        let from =
            found.as_ptr().addr().saturating_sub(self.bytes.as_ptr().addr() + self.layout.entries.start);
        let first = if found.is_empty() { 0 } else { (from / ENTRY) as u64 };
        Ok(first..first + found.len() as u64)
    }

    /// Every entry with its position and the number of its pack.
    pub(super) fn each(&self, mut of: impl FnMut(u64, u32, &ChunkSpan)) -> Result<()> {
        let frames = (0..self.counts.frames).map(|n| Ok(self.frame(n)?.pack)).collect::<Result<Vec<_>>>()?;
        let mut position = 0;
        while let Some(entry) = self.entry(position)? {
            of(position, *frames.get(entry.frame as usize).ok_or_else(cut)?, &entry);
            position += 1;
        }
        Ok(())
    }
}

/// How many of the bucket's entries begin lower. Ids fill a bucket evenly, so the search starts where `within`, the beginning without the bits
/// that all of them share, says: the places around it are next to each other in memory, those of a search by halves are not.
fn lower_bound(bucket: &[[u8; ENTRY]], beginning: u64, within: Option<u64>) -> usize {
    let is_lower =
        |entry: &[u8; ENTRY]| entry.first_chunk().is_none_or(|raw| u64::from_be_bytes(*raw) < beginning);
    let guess = (u128::from(within.unwrap_or(0)) * bucket.len() as u128) >> 64;
    let (before, behind) = bucket.split_at_checked(guess as usize).unwrap_or((bucket, &[]));
    let down = before.iter().rev().take_while(|entry| !is_lower(entry)).count();
    let up = if down == 0 { behind.iter().take_while(|entry| is_lower(entry)).count() } else { 0 };
    before.len() - down + up
}

fn chunk_of(raw: &[u8; ENTRY]) -> ChunkSpan {
    let [id @ .., _, _, _, _, _, _, _, _, _, _, _, _] = raw;
    let [.., f0, f1, f2, f3, o0, o1, o2, o3, l0, l1, l2, l3] = *raw;
    ChunkSpan {
        id: ChunkId::from_bytes(*id),
        frame: u32::from_le_bytes([f0, f1, f2, f3]),
        offset: u32::from_le_bytes([o0, o1, o2, o3]),
        len: u32::from_le_bytes([l0, l1, l2, l3]),
    }
}

fn cut() -> Error {
    Error::corrupt("a cached index is cut")
}
