//! How a run of the index lies in memory or in a cached file: one array after the other, each of fixed-width little-endian records.
//!
//! ```text
//! entries   44 bytes each: chunk id, frame, offset in the frame, length; ascending by id
//! frames    24 bytes each: pack, then the frame's span
//! packs     224 bytes each: id, length, hash, header
//! fence     4 bytes each: the first entry of every bucket of ids, and one more for the end
//! filters   28 bytes each: offset of the fingerprints, their length, descriptor; one for every shard of ids
//! fingerprints
//! covers    16 bytes each: the segments whose entries these are, ascending
//! -- in a cached file only:
//! blocks    16 bytes for each 4 KiB of all the above: the beginning of their hash
//! footer    counts and a keyed hash over them, the covers and the blocks' hashes
//! ```
//! It is nobody's format but this version's: a file of another version is made anew.

use std::ops::Range;

use xorf::DmaSerializable;

use crate::crypto::HEADER_LEN;
use crate::error::{Error, Result};
use crate::format::pack::{ChunkSpan, FrameSpan};
use crate::id::{ChunkId, ObjectId};

pub(super) const ENTRY: usize = ChunkSpan::ENCODED_LEN;
pub(super) const FRAME: usize = 4 + FrameSpan::ENCODED_LEN;
pub(super) const PACK: usize = ObjectId::LEN + 8 + 32 + HEADER_LEN;
pub(super) const FENCE: usize = 4;
pub(super) const DESCRIPTOR: usize = <xorf::BinaryFuse16 as DmaSerializable>::DESCRIPTOR_LEN;
pub(super) const FILTER: usize = 8 + DESCRIPTOR;
/// A page: a look-up that touches a place for the first time hashes no more than the system reads.
pub(super) const BLOCK: usize = 4 << 10;
pub(super) const BLOCK_HASH: usize = 16;
/// Version, counts and hash.
pub(super) const FOOTER: usize = 8 + 8 + 4 * 3 + 8 + 32;
const MAGIC: u64 = u64::from_le_bytes(*b"bkindex3");

/// Entries of a bucket of the fence, about: what a search compares after one look at the fence.
const BUCKET_ENTRIES_LOG2: u32 = 5;
/// Entries from which on a run has filters. A smaller one is searched as fast as a filter is asked.
const FILTERED_ENTRIES_MIN: u64 = 1 << 12;
/// Entries that one filter is made of, at most about. The three places that it looks at lie within 6 KiB then, which is two pages at most most
/// of the time, and what it is made with, some 25 bytes an entry, stays in the cache of a core.
const SHARD_ENTRIES_LOG2: u32 = 14;

/// How many of each there are. Everything else follows from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) entries: u64,
    pub(super) frames: u32,
    pub(super) packs: u32,
    pub(super) covers: u32,
    pub(super) fingerprints: u64,
}

impl Counts {
    /// Bits of an id that choose its bucket of the fence.
    pub(super) fn fence_bits(&self) -> u32 {
        self.entries.checked_ilog2().unwrap_or(0).saturating_sub(BUCKET_ENTRIES_LOG2).min(30)
    }

    /// Bits of an id that choose its filter; none if the run has no filters.
    pub(super) fn shard_bits(&self) -> Option<u32> {
        (self.entries >= FILTERED_ENTRIES_MIN)
            .then(|| (self.entries - 1).ilog2().saturating_sub(SHARD_ENTRIES_LOG2 - 1).min(20))
    }

    /// Bytes in memory, about: a filter's length shows when it is made.
    pub(super) fn bytes(&self) -> usize {
        let filters = if self.shards() > 0 { self.entries / 2 * 5 } else { 0 };
        Layout::of(&Self { fingerprints: filters, ..*self }).map_or(0, |layout| layout.covers.end)
    }

    pub(super) fn shards(&self) -> usize {
        self.shard_bits().map_or(0, |bits| 1 << bits)
    }

    /// The footer without its hash.
    pub(super) fn encode(&self) -> [u8; FOOTER - 32] {
        let mut raw = [0; FOOTER - 32];
        let fields: [&[u8]; 6] = [
            &MAGIC.to_le_bytes(),
            &self.entries.to_le_bytes(),
            &self.frames.to_le_bytes(),
            &self.packs.to_le_bytes(),
            &self.covers.to_le_bytes(),
            &self.fingerprints.to_le_bytes(),
        ];
        raw.iter_mut().zip(fields.into_iter().flatten()).for_each(|(to, from)| *to = *from);
        raw
    }

    pub(super) fn decode(raw: &[u8]) -> Result<Self> {
        let mut reader = crate::format::wire::Reader::new(raw, "cached index");
        if reader.u64()? != MAGIC {
            return Err(reader.damage("was written by another version"));
        }
        Ok(Self {
            entries: reader.u64()?,
            frames: reader.u32()?,
            packs: reader.u32()?,
            covers: reader.u32()?,
            fingerprints: reader.u64()?,
        })
    }
}

/// Where each array lies.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    pub(super) entries: Range<usize>,
    pub(super) frames: Range<usize>,
    pub(super) packs: Range<usize>,
    pub(super) fence: Range<usize>,
    pub(super) filters: Range<usize>,
    pub(super) fingerprints: Range<usize>,
    pub(super) covers: Range<usize>,
    /// Blocks' hashes; they begin where the run ends.
    pub(super) blocks: Range<usize>,
}

impl Layout {
    pub(super) fn of(counts: &Counts) -> Result<Self> {
        let mut end = 0usize;
        let mut next = |count: u64, each: usize| {
            let len = usize::try_from(count).ok().and_then(|count| count.checked_mul(each));
            let start = end;
            end = len
                .and_then(|len| start.checked_add(len))
                .ok_or_else(|| Error::limit("the index is larger than this machine can address"))?;
            Ok::<_, Error>(start..end)
        };
        let entries = next(counts.entries, ENTRY)?;
        let frames = next(counts.frames.into(), FRAME)?;
        let packs = next(counts.packs.into(), PACK)?;
        let fence = next((1 << counts.fence_bits()) + 1, FENCE)?;
        let filters = next(counts.shards() as u64, FILTER)?;
        let fingerprints = next(counts.fingerprints, 1)?;
        let covers = next(counts.covers.into(), ObjectId::LEN)?;
        let blocks = next(covers.end.div_ceil(BLOCK) as u64, BLOCK_HASH)?;
        Ok(Self { entries, frames, packs, fence, filters, fingerprints, covers, blocks })
    }
}

/// The number that an id's first bits make. Ids are keyed hashes: they fill all numbers evenly.
pub(super) fn prefix(id: &ChunkId, bits: u32) -> usize {
    let [a, b, c, d, ..] = *id.as_bytes();
    u32::from_be_bytes([a, b, c, d]).checked_shr(32 - bits).unwrap_or(0) as usize
}

/// What a filter knows an id by: its beginning, so that keys rise with the ids.
pub(super) fn filter_key(id: &ChunkId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *id.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
