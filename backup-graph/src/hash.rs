//! quickXorHash: the content hash that OneDrive for Business and SharePoint announce for every file.
//!
//! It finds cut, swapped and damaged transfers. It is no protection against anybody who wants to deceive: two contents
//! of the same hash are easily made, so it never decides what is stored.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Length of the hash in bytes.
const HASH_BYTES: usize = 20;
/// Byte `i` lands at bit `11 * i` of a ring of 160 bits, so bytes that are 160 apart land at the same place.
const RING: usize = HASH_BYTES * 8;
const SHIFT: usize = 11;

/// A quickXorHash in the making. Feed it the content in order, in pieces of any length.
#[derive(Clone)]
pub struct QuickXorHash {
    // Bytes that share a place are combined first and placed once, at the end: the loop over the content is a plain
    // XOR of two byte rows, which compilers turn into vector instructions.
    cells: [u8; RING],
    length: u64,
}

impl QuickXorHash {
    /// The hash of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { cells: [0; RING], length: 0 }
    }

    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        let start = usize::try_from(self.length % RING as u64).unwrap_or(0);
        let (head, rest) = piece.split_at(piece.len().min(RING - start));
        xor(&mut self.cells[start..], head);
        for row in rest.chunks(RING) {
            xor(&mut self.cells, row);
        }
        self.length = self.length.wrapping_add(piece.len() as u64);
    }

    /// How many bytes were taken so far.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// The hash of everything taken so far, in base64 as the service writes it.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.to_bytes())
    }

    /// The hash of everything taken so far.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HASH_BYTES] {
        let mut hash = [0u8; HASH_BYTES];
        for (index, cell) in self.cells.iter().enumerate() {
            let bit = index * SHIFT % RING;
            let spread = u16::from(*cell) << (bit % 8);
            let [low, high] = spread.to_le_bytes();
            hash[bit / 8] ^= low;
            hash[(bit / 8 + 1) % HASH_BYTES] ^= high;
        }
        xor(&mut hash[HASH_BYTES - 8..], &self.length.to_le_bytes());
        hash
    }

    /// The hash of one buffer, in base64.
    #[must_use]
    pub fn of(content: &[u8]) -> String {
        let mut hash = Self::new();
        hash.update(content);
        hash.to_base64()
    }
}

impl Default for QuickXorHash {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for QuickXorHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QuickXorHash({} after {} bytes)", self.to_base64(), self.length)
    }
}

fn xor(into: &mut [u8], from: &[u8]) {
    for (into, from) in into.iter_mut().zip(from) {
        *into ^= from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, bit by bit.
    fn by_definition(content: &[u8]) -> String {
        let mut hash = [0u8; HASH_BYTES];
        for (index, byte) in content.iter().enumerate() {
            for bit in 0..8 {
                let place = (index * SHIFT + bit) % RING;
                hash[place / 8] ^= (byte >> bit & 1) << (place % 8);
            }
        }
        xor(&mut hash[12..], &(content.len() as u64).to_le_bytes());
        STANDARD.encode(hash)
    }

    #[test]
    fn published_vectors_match() {
        assert_eq!(QuickXorHash::of(b""), "AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        assert_eq!(QuickXorHash::of(&[0x4a]), "SgAAAAAAAAAAAAAAAQAAAAAAAAA=");
    }

    #[test]
    fn every_length_around_the_ring_matches_the_definition_however_it_is_cut() {
        // A cycle of 251 is prime to 160, so swapped rows show.
        let content: Vec<u8> = (0..1_000u32).map(|i| (i % 251) as u8).collect();
        for length in (0..4).chain(157..164).chain(318..323).chain([1_000]) {
            let content = &content[..length];
            let expected = by_definition(content);
            assert_eq!(QuickXorHash::of(content), expected, "{length}");
            for cut in [1, 7, 159, 160, 161] {
                let mut hash = QuickXorHash::new();
                content.chunks(cut).for_each(|piece| hash.update(piece));
                assert_eq!(hash.to_base64(), expected, "{length} in pieces of {cut}");
                assert_eq!(hash.length(), length as u64);
            }
        }
    }
}
