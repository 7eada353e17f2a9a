//! Content-defined chunking: FastCDC with a secret gear table (`docs/format.md` section 8).
//!
//! The table, all 2 KiB of it, is derived from the chunking key; the crate's own seed would be a single XORed word.
//! Gear hashes are linear in their table, so an observer who sees chunk lengths could still solve for it (eprint
//! 2025/558): that is why frames hide the lengths. Push bytes in pieces of any size; equal streams give equal chunks.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use fastcdc::v2020::{MASKS, cut_gear};

use crate::error::{Error, Result};
use crate::secret::Secret;

/// The repository's chunk sizes in bytes, fixed when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkSizes {
    pub(crate) min: u32,
    pub(crate) average: u32,
    pub(crate) max: u32,
    pub(crate) level: u8,
}

impl ChunkSizes {
    pub(crate) const DEFAULT: Self = Self { min: 32 << 10, average: 32 << 10, max: 256 << 10, level: 1 };

    /// Refuses what `fastcdc` would panic on or cut wrongly.
    pub(crate) fn validate(self) -> Result<Self> {
        let even = self.min.is_multiple_of(2) && self.max.is_multiple_of(2);
        let ordered = self.min >= 64 && self.min <= self.average && self.average <= self.max;
        let bounded = self.average.is_power_of_two() && (256..=4 << 20).contains(&self.average);
        if even && ordered && bounded && self.max <= 16 << 20 && self.level <= 3 {
            Ok(self)
        } else {
            Err(Error::corrupt("chunk sizes are out of bounds"))
        }
    }
}

/// The tables that one repository cuts with; share it between chunkers.
pub(crate) struct Gear {
    table: [u64; 256],
    shifted: [u64; 256],
    sizes: ChunkSizes,
    strict: u64,
    loose: u64,
}

impl Gear {
    pub(crate) fn new(key: &Secret, sizes: ChunkSizes) -> Result<Self> {
        let sizes = sizes.validate()?;
        let mut stream =
            blake3::Hasher::new_keyed(key.expose()).update(b"backup-engine v1 gear").finalize_xof();
        let mut table = [0; 256];
        for word in &mut table {
            let mut bytes = [0; 8];
            stream.fill(&mut bytes);
            *word = u64::from_le_bytes(bytes);
        }
        let bits = sizes.average.ilog2() as usize;
        let level = usize::from(sizes.level);
        let mask =
            |bits: usize| MASKS.get(bits).copied().ok_or_else(|| Error::bug("no mask for this chunk size"));
        Ok(Self {
            shifted: table.map(|word| word << 1),
            table,
            sizes,
            strict: mask(bits + level)?,
            loose: mask(bits.saturating_sub(level))?,
        })
    }

    /// Length of the first chunk of `bytes`, where `bytes` holds `max` bytes or the rest of the stream.
    pub(crate) fn cut(&self, bytes: &[u8]) -> usize {
        let (_, len) = cut_gear(
            bytes,
            self.sizes.min as usize,
            self.sizes.average as usize,
            self.sizes.max as usize,
            self.strict,
            self.loose,
            self.strict << 1,
            self.loose << 1,
            &self.table,
            &self.shifted,
        );
        len
    }
}

impl std::fmt::Debug for Gear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gear").field("sizes", &self.sizes).finish_non_exhaustive()
    }
}

/// Cuts one stream. Holds at most `max` bytes and what was pushed last.
#[derive(Debug)]
pub(crate) struct Chunker {
    gear: Arc<Gear>,
    /// The beginning of a chunk whose end is not certain yet; shorter than `max`.
    pending: BytesMut,
}

impl Chunker {
    pub(crate) fn new(gear: Arc<Gear>) -> Self {
        Self { gear, pending: BytesMut::new() }
    }

    /// Adds bytes; hands out chunks as long as their ends are certain. A chunk that lies in one piece shares its memory.
    pub(crate) fn push(&mut self, mut piece: Bytes, out: &mut Vec<Bytes>) {
        while !self.pending.is_empty() && !piece.is_empty() {
            piece = self.continue_pending(piece, out);
        }
        while !piece.is_empty() {
            let Some(len) = self.certain_cut(&piece) else {
                self.pending = piece.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
                return;
            };
            out.push(piece.split_to(len));
        }
    }

    /// Joins what is pending with more of a piece, to find where its chunk ends; the rest of the piece.
    fn continue_pending(&mut self, mut piece: Bytes, out: &mut Vec<Bytes>) -> Bytes {
        let (max, step) = (self.gear.sizes.max as usize, 2 * self.gear.sizes.average as usize);
        // Each look begins at the chunk's beginning, so a short piece is not worth one.
        let is_short = piece.len() < step;
        let missing = max.saturating_sub(self.pending.len()).min(piece.len());
        let taken = if is_short { missing } else { missing.min(step) };
        self.pending.extend_from_slice(piece.get(..taken).unwrap_or_default());
        if is_short && self.pending.len() < max {
            return Bytes::new();
        }
        let mut behind = 0;
        if let Some(len) = self.certain_cut(&self.pending) {
            out.push(self.pending.split_to(len).freeze());
            // What lies behind the chunk is cut where it came from.
            behind = self.pending.len().min(taken);
            self.pending.truncate(self.pending.len() - behind);
        }
        piece.split_off(taken - behind)
    }

    /// Length of the first chunk, if whatever follows these bytes cannot change it.
    fn certain_cut(&self, bytes: &[u8]) -> Option<usize> {
        let len = self.gear.cut(bytes).clamp(1, bytes.len());
        (len < bytes.len() || len == self.gear.sizes.max as usize).then_some(len)
    }

    /// The stream has ended: hands out the rest.
    pub(crate) fn finish(&mut self, out: &mut Vec<Bytes>) {
        while !self.pending.is_empty() {
            let len = self.gear.cut(&self.pending).clamp(1, self.pending.len());
            out.push(self.pending.split_to(len).freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What repositories were created with before the index was mapped.
    const FORMER: ChunkSizes = ChunkSizes { min: 128 << 10, average: 512 << 10, max: 2 << 20, level: 1 };
    const SMALL: ChunkSizes = ChunkSizes { min: 64, average: 256, max: 1024, level: 1 };

    fn noise(len: usize, seed: u8) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
        bytes
    }

    fn gear_of(key: u8, sizes: ChunkSizes) -> Arc<Gear> {
        Arc::new(Gear::new(&Secret::new([key; 32]), sizes).unwrap())
    }

    fn cut_in_pieces(gear: &Arc<Gear>, bytes: &[u8], piece: usize) -> Vec<Bytes> {
        let (mut chunker, mut out) = (Chunker::new(Arc::clone(gear)), Vec::new());
        for piece in bytes.chunks(piece.max(1)) {
            chunker.push(Bytes::copy_from_slice(piece), &mut out);
        }
        chunker.finish(&mut out);
        out
    }

    /// Golden cut points: a change of these ends deduplication with every repository that exists.
    #[test]
    fn cut_points_are_what_they_always_were() {
        let lens = |gear, bytes: &[u8], piece| -> Vec<usize> {
            cut_in_pieces(&gear, bytes, piece).iter().map(Bytes::len).collect()
        };
        assert_eq!(lens(gear_of(1, ChunkSizes::DEFAULT), &noise(512 << 10, 1), 100_000), GOLDEN_DEFAULT);
        assert_eq!(lens(gear_of(1, FORMER), &noise(4 << 20, 1), 1 << 20), GOLDEN_FORMER);
        assert_eq!(lens(gear_of(2, SMALL), &noise(3000, 2), 100), GOLDEN_SMALL);
    }
    const GOLDEN_DEFAULT: &[usize] = &[44553, 96812, 35625, 43534, 68367, 76396, 54670, 94124, 10207];
    const GOLDEN_FORMER: &[usize] = &[639551, 716290, 739173, 1289716, 222678, 409192, 177704];
    const GOLDEN_SMALL: &[usize] = &[522, 458, 129, 259, 343, 408, 487, 337, 57];

    #[test]
    fn chunks_that_lie_in_one_piece_are_not_copied() {
        let piece = Bytes::from(noise(4_000, 1));
        let (mut chunker, mut out) = (Chunker::new(gear_of(2, SMALL)), Vec::new());
        chunker.push(piece.clone(), &mut out);
        chunker.push(piece.clone(), &mut out);
        let memory = piece.as_ptr_range();
        let copied: Vec<_> = out.iter().filter(|chunk| !memory.contains(&chunk.as_ptr())).collect();
        assert!(out.len() > 10 && copied.len() == 1, "{} of {} chunks are copied", copied.len(), out.len());
    }

    #[test]
    fn another_key_cuts_elsewhere() {
        let data = noise(200_000, 3);
        let cuts = |key: u8| cut_in_pieces(&gear_of(key, SMALL), &data, 4096);
        let ends = |chunks: &[Bytes]| {
            chunks
                .iter()
                .scan(0, |end, c| {
                    *end += c.len();
                    Some(*end)
                })
                .collect::<std::collections::BTreeSet<_>>()
        };
        let (a, b) = (ends(&cuts(1)), ends(&cuts(2)));
        assert!(a.intersection(&b).count() * 10 < a.len(), "keys share cut points");
    }

    proptest! {
        #[test]
        fn chunks_join_to_the_stream_within_bounds_whatever_the_pieces(
            len in 0usize..20_000, seed: u8, piece in 1usize..5_000,
        ) {
            let gear = gear_of(9, SMALL);
            let data = noise(len, seed);
            let chunks = cut_in_pieces(&gear, &data, piece);
            prop_assert_eq!(chunks.concat(), data.clone());
            prop_assert!(chunks.iter().all(|c| c.len() <= 1024));
            prop_assert!(chunks.iter().rev().skip(1).all(|c| c.len() >= 64));
            prop_assert_eq!(chunks, cut_in_pieces(&gear, &data, data.len().max(1)));
        }

        #[test]
        fn an_insertion_changes_few_chunks(at in 0usize..50_000, seed: u8) {
            let gear = gear_of(9, SMALL);
            let data = noise(50_000, seed);
            let mut edited = data.clone();
            edited.insert(at, 0xaa);
            let old: std::collections::HashSet<_> = cut_in_pieces(&gear, &data, 4096).into_iter().collect();
            let new = cut_in_pieces(&gear, &edited, 4096);
            prop_assert!(new.iter().filter(|c| !old.contains(*c)).count() <= 12);
        }
    }
}
