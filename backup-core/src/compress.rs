//! Compression with a bound on what comes out. Codec numbers are those of `docs/format.md` section 4.

use std::cell::RefCell;
use std::io::Cursor;

use bytes::Bytes;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{CParameter, Strategy};

use crate::error::{Error, Result};

pub(crate) const STORED: u8 = 0;
pub(crate) const ZSTD: u8 = 1;

/// Of the levels that zstd has, the lowest that uses two tables of matches. What is stored is read at the same speed whatever the level.
const LEVEL: i32 = 3;
/// Sizes of these tables, as powers of two: 128 and 64 KiB. zstd's own choice for frames of this size, 512 and 256 KiB, does not fit into
/// the second cache of a core (512 KiB on Zen 2, 256 KiB on many others); this one is 1.5 times as fast and 1.4 % longer
/// (docs/decisions/0004-speed.md).
const HASH_LOG: u32 = 15;
const CHAIN_LOG: u32 = 14;
/// The thorough search: zstd's lazy strategy, which here finds the rows of its table with vector instructions; up to 2^6 earlier places for
/// each, which begin with the same 6 bytes. Level 12 saves no more and takes longer (docs/decisions/0004-speed.md).
const THOROUGH_SEARCH_LOG: u32 = 6;
const THOROUGH_MIN_MATCH: u32 = 6;
const THOROUGH_HASH_LOG: u32 = 18;

/// How hard repetitions are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// The newest earlier place, in two small tables.
    Fast,
    /// The best of many earlier places: a third to an eighth of the speed.
    Thorough,
    /// Both, and the shorter is kept.
    Both,
    /// Nowhere if a sample is no shorter compressed, else as [`Fast`](Self::Fast).
    Glance,
}

/// What a glance sees: so many stripes of so many bytes, evenly over the whole.
const STRIPES: usize = 16;
const STRIPE_BYTES: usize = 4 << 10;

/// How long [`Effort::Both`] found the same bytes to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lengths {
    pub(crate) fast: usize,
    pub(crate) thorough: usize,
}

thread_local! {
    /// Contexts of this thread. Making one costs as much as compressing 100 KB; each keeps about 1 MB.
    static FAST: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static THOROUGH: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    /// The other of two buffers: what was joined in one is compressed into the other, and whichever is kept, nothing is copied.
    static OTHER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Appends the pieces to `out` as [`compress_onto`] appends one, with as much effort as is said; the codec, and what both efforts gave.
/// `out` may become another buffer, about as large.
pub(crate) fn compress_pieces_onto(
    out: &mut Vec<u8>,
    pieces: &[Bytes],
    effort: Effort,
) -> Result<(u8, Option<Lengths>)> {
    if let [one] = pieces {
        return compress_with(out, one, effort);
    }
    // zstd compresses what lies in one place. There is room for as much as if it were compressed, and for a tag.
    let start = out.len();
    out.reserve_exact(zstd::zstd_safe::compress_bound(pieces.iter().map(Bytes::len).sum()));
    pieces.iter().for_each(|piece| out.extend_from_slice(piece));
    OTHER.with_borrow_mut(|other| {
        let (head, raw) = out.split_at_checked(start).unwrap_or((&[], out));
        other.clear();
        other.extend_from_slice(head);
        let (saved, lengths) = append_if_shorter(other, raw, effort)?;
        if saved {
            std::mem::swap(out, other);
        }
        Ok((if saved { ZSTD } else { STORED }, lengths))
    })
}

/// Appends `raw` to `out`, compressed if zstd saves at least 1/32 of it, else as it is; the codec.
pub(crate) fn compress_onto(out: &mut Vec<u8>, raw: &[u8]) -> Result<u8> {
    compress_with(out, raw, Effort::Fast).map(|(codec, _)| codec)
}

fn compress_with(out: &mut Vec<u8>, raw: &[u8], effort: Effort) -> Result<(u8, Option<Lengths>)> {
    let start = out.len();
    let (saved, lengths) = append_if_shorter(out, raw, effort)?;
    if saved {
        return Ok((ZSTD, lengths));
    }
    out.truncate(start);
    out.extend_from_slice(raw);
    Ok((STORED, lengths))
}

/// Appends a zstd frame of `raw`; whether it saves enough to be kept, and what both efforts gave.
fn append_if_shorter(out: &mut Vec<u8>, raw: &[u8], effort: Effort) -> Result<(bool, Option<Lengths>)> {
    if effort == Effort::Glance && !promises(raw)? {
        return Ok((false, None));
    }
    let start = out.len();
    let saves = |len: usize| len < raw.len() - raw.len() / 32;
    let first = append(out, raw, effort)?;
    let mut lengths = None;
    if effort == Effort::Both && saves(first) {
        let thorough = improve(out, start, raw)?;
        lengths = Some(Lengths { fast: first, thorough });
    }
    Ok((saves(out.len() - start), lengths))
}

/// Whether a sample saves half of what a whole would have to, or there is no more than the sample. It misses repetitions that are far apart
/// in what is noise otherwise.
fn promises(raw: &[u8]) -> Result<bool> {
    if raw.len() <= 2 * STRIPES * STRIPE_BYTES {
        return Ok(true);
    }
    let mut sample = Vec::with_capacity(STRIPES * STRIPE_BYTES);
    for part in raw.chunks_exact(raw.len() / STRIPES) {
        sample.extend_from_slice(part.get(..STRIPE_BYTES).unwrap_or(part));
    }
    let compressed = append(&mut Vec::new(), &sample, Effort::Fast)?;
    Ok(compressed < sample.len() - sample.len() / 64)
}

/// Appends a zstd frame of `raw`, a fast one unless only a thorough one is wanted; its length.
fn append(out: &mut Vec<u8>, raw: &[u8], effort: Effort) -> Result<usize> {
    let start = out.len();
    out.reserve_exact(zstd::zstd_safe::compress_bound(raw.len()));
    let slot = if effort == Effort::Thorough { &THOROUGH } else { &FAST };
    slot.with_borrow_mut(|slot| {
        let context = match slot {
            Some(context) => context,
            None => slot.insert(context(effort)?),
        };
        into(context, out, start, raw).map_err(failed)
    })
}

/// Puts a thorough frame of `raw` in the place of the fast one that `out` has from `start` on, if it is shorter; how long it is, or would be.
fn improve(out: &mut Vec<u8>, start: usize, raw: &[u8]) -> Result<usize> {
    let middle = out.len();
    let fast = middle - start;
    // No more room than it may take: one that does not fit is no better. It may have a little more.
    out.reserve_exact(fast);
    THOROUGH.with_borrow_mut(|slot| {
        // One that is made for a trial goes with it: most trials change nothing, and it takes 1.5 MB.
        let mut made = None;
        let context = match slot {
            Some(context) => context,
            None => made.insert(context(Effort::Thorough)?),
        };
        let thorough = into(context, out, middle, raw).unwrap_or(fast);
        if thorough < fast {
            out.drain(start..middle);
        } else {
            out.truncate(middle);
        }
        Ok(thorough)
    })
}

/// Writes a zstd frame of `raw` to where `out` begins to be free; its length. Fails if it does not fit.
fn into(
    context: &mut Compressor<'static>,
    out: &mut Vec<u8>,
    start: usize,
    raw: &[u8],
) -> std::io::Result<usize> {
    let mut tail = Cursor::new(out);
    tail.set_position(start as u64);
    context.compress_to_buffer(raw, &mut tail)
}

fn failed(error: std::io::Error) -> Error {
    Error::bug("zstd failed").with_source(error)
}

fn context(effort: Effort) -> Result<Compressor<'static>> {
    if effort == Effort::Thorough { thorough() } else { fast() }.map_err(failed)
}

fn fast() -> std::io::Result<Compressor<'static>> {
    let mut compressor = Compressor::new(LEVEL)?;
    compressor.set_parameter(CParameter::HashLog(HASH_LOG))?;
    compressor.set_parameter(CParameter::ChainLog(CHAIN_LOG))?;
    Ok(compressor)
}

fn thorough() -> std::io::Result<Compressor<'static>> {
    let mut compressor = Compressor::new(LEVEL)?;
    compressor.set_parameter(CParameter::Strategy(Strategy::ZSTD_lazy))?;
    compressor.set_parameter(CParameter::SearchLog(THOROUGH_SEARCH_LOG))?;
    compressor.set_parameter(CParameter::MinMatch(THOROUGH_MIN_MATCH))?;
    compressor.set_parameter(CParameter::HashLog(THOROUGH_HASH_LOG))?;
    compressor.set_parameter(CParameter::ChainLog(THOROUGH_HASH_LOG))?;
    Ok(compressor)
}

/// As [`decompress`], without a copy of what was stored as it is.
pub(crate) fn decompress_owned(codec: u8, stored: Bytes, raw_len: usize) -> Result<Bytes> {
    if codec == STORED && stored.len() == raw_len {
        return Ok(stored);
    }
    decompress(codec, &stored, raw_len).map(Bytes::from)
}

/// Decompresses to exactly `raw_len` bytes; never allocates more, whatever the input claims.
pub(crate) fn decompress(codec: u8, stored: &[u8], raw_len: usize) -> Result<Vec<u8>> {
    let failed = |error| Error::corrupt("compressed bytes do not decompress").with_source(error);
    let raw = match codec {
        STORED => stored.to_vec(),
        ZSTD if !is_one_frame(stored) => return Err(Error::corrupt("compressed bytes are not one frame")),
        ZSTD => DECOMPRESSOR.with_borrow_mut(|slot| {
            let context = match slot {
                Some(context) => context,
                None => slot.insert(Decompressor::new().map_err(failed)?),
            };
            context.decompress(stored, raw_len).map_err(failed)
        })?,
        _ => return Err(Error::corrupt("compressed with an unknown codec")),
    };
    if raw.len() == raw_len { Ok(raw) } else { Err(Error::corrupt("decompresses to another length")) }
}

/// Whether these bytes are one zstd frame, with nothing before or after it.
fn is_one_frame(stored: &[u8]) -> bool {
    let magic = zstd::zstd_safe::MAGICNUMBER.to_le_bytes();
    stored.starts_with(&magic) && zstd::zstd_safe::find_frame_compressed_size(stored) == Ok(stored.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_is_refused_at_its_announced_length() {
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
        assert!(bomb.len() < 10_000);
        assert!(decompress(ZSTD, &bomb, 1 << 20).is_err());
        assert!(decompress(7, &bomb, 1).is_err());
    }

    #[test]
    fn several_frames_are_not_one() {
        let one = zstd::bulk::compress(&[7; 500], 3).unwrap();
        let skippable = [&0x184d_2a50u32.to_le_bytes()[..], &0u32.to_le_bytes(), &one].concat();
        assert_eq!(decompress(ZSTD, &one, 500).unwrap(), [7; 500]);
        assert!(decompress(ZSTD, &[one.clone(), one.clone()].concat(), 1_000).is_err());
        assert!(decompress(ZSTD, &skippable, 500).is_err());
        assert!(decompress(ZSTD, &[&one[..], b"more"].concat(), 500).is_err());
    }

    /// Bytes of many shapes: what compresses, what does not, and what does so in places; far and near repeats, runs, sorted numbers.
    fn shaped(next: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
        let edges =
            [0, 1, 2, 63, 64, 4_095, 65_535, 65_536, 131_071, 131_072, 131_073, 262_144, 524_289, 1 << 20];
        let (on_edge, edge, power) = (next(3) == 0, edges[next(edges.len())], 1 + next(20));
        let len = if on_edge { edge } else { next(1 << power) };
        let mut bytes: Vec<u8> = Vec::with_capacity(len);
        while bytes.len() < len {
            let power = 1 + next(16);
            let piece = 1 + next(1 << power);
            match next(6) {
                0 => (0..piece).for_each(|_| bytes.push(next(256) as u8)),
                1 => bytes.resize(bytes.len() + piece, next(256) as u8),
                2 => (0..piece).for_each(|_| bytes.push(b"etaoin shrdlu\n"[next(14)])),
                3 => (0..piece).for_each(|at| bytes.extend_from_slice(&(at as u32 * 3).to_le_bytes())),
                // What was there before, once more, with a byte changed here and there.
                _ if !bytes.is_empty() => {
                    let (from, dirt) = (next(bytes.len()), next(2_000));
                    for at in 0..piece {
                        let byte = bytes[from + at % (bytes.len() - from)];
                        bytes.push(if dirt > 0 && next(dirt + 1) == 0 { !byte } else { byte });
                    }
                }
                _ => bytes.push(7),
            }
        }
        bytes.truncate(len);
        bytes
    }

    /// restic #4523, #4677: zstd, at its highest level, twice made something that does not decompress to what it was. Here one context of one
    /// level compresses everything, and what it makes is held against two decoders; and what zstd makes at any level opens here.
    #[test]
    fn restic_4523_and_4677_what_is_compressed_opens_to_what_it_was() {
        let cases =
            std::env::var("BACKUP_COMPRESSIONS").ok().and_then(|cases| cases.parse().ok()).unwrap_or(500);
        let mut state = 4_523u64;
        let mut next = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 20) as usize % below
        };
        let (mut total, mut compressed) = (0, 0);
        for case in 0..cases {
            let raw = shaped(&mut next);
            let mut out = vec![9; next(20)];
            let start = out.len();
            let pieces: Vec<Bytes> = match case % 2 {
                0 => vec![raw.clone().into()],
                _ => raw.chunks(1 + next(raw.len() + 1)).map(Bytes::copy_from_slice).collect(),
            };
            let effort = [Effort::Fast, Effort::Thorough, Effort::Both, Effort::Glance][next(4)];
            let (codec, lengths) = compress_pieces_onto(&mut out, &pieces, effort).unwrap();
            let stored = &out[start..];
            if let Some(Lengths { fast, thorough }) = lengths {
                assert_eq!(stored.len(), fast.min(thorough), "case {case}");
            }
            assert!(decompress(codec, stored, raw.len()).unwrap() == raw, "case {case}");
            assert!(stored.len() <= raw.len() && out[..start].iter().all(|byte| *byte == 9), "case {case}");
            if codec == ZSTD {
                compressed += 1;
                assert!(
                    zstd::stream::decode_all(stored).unwrap() == raw,
                    "case {case}, by the other decoder"
                );
            }
            let level = [-5, 1, 3, 9, 19, 22][next(6)];
            if raw.len() < 200_000 {
                let foreign = zstd::bulk::compress(&raw, level).unwrap();
                assert!(decompress(ZSTD, &foreign, raw.len()).unwrap() == raw, "case {case}, level {level}");
            }
            total += raw.len();
        }
        println!("{cases} contents, {total} bytes, {compressed} of them compressed");
        assert!(compressed > cases / 3);
    }

    #[test]
    fn a_glance_sees_noise_and_what_is_text_in_a_tenth() {
        let noise = |len: usize| {
            let mut bytes = vec![0; len];
            blake3::Hasher::new().finalize_xof().fill(&mut bytes);
            bytes
        };
        let codec =
            |raw: Vec<u8>| compress_pieces_onto(&mut Vec::new(), &[raw.into()], Effort::Glance).unwrap().0;
        let text = |len: usize| b"the quick brown fox jumps over the lazy dog ".repeat(len / 44);
        assert_eq!(codec(noise(1 << 20)), STORED);
        assert_eq!(codec(noise(1_000)), STORED);
        for at in 0..10 {
            let mut raw = noise(1 << 20);
            let text = text(110 << 10);
            raw.splice(at * (90 << 10)..at * (90 << 10) + text.len(), text);
            assert_eq!(codec(raw), ZSTD, "{at}");
        }
        // Too short to be seen by a sample.
        assert_eq!(codec([noise(60 << 10), text(60 << 10)].concat()), ZSTD);
    }

    #[test]
    fn incompressible_bytes_stay_as_they_are() {
        let noise: Vec<u8> =
            (0..4096u32).flat_map(|i| blake3::hash(&i.to_le_bytes()).as_bytes()[..8].to_vec()).collect();
        let mut out = b"head".to_vec();
        assert_eq!(compress_onto(&mut out, &noise).unwrap(), STORED);
        assert_eq!((&out[..4], &out[4..]), (&b"head"[..], &noise[..]));
        out.truncate(4);
        assert_eq!(
            compress_pieces_onto(&mut out, &[vec![7; 2500].into(), vec![7; 2500].into()], Effort::Fast)
                .unwrap(),
            (ZSTD, None)
        );
        assert_eq!((&out[..4], decompress(ZSTD, &out[4..], 5000).unwrap()), (&b"head"[..], vec![7; 5000]));
    }
}
