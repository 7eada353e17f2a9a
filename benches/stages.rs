//! What a byte costs at each stage of a backup, one core, nothing else: the engine's libraries with the engine's settings.
//!
//! The stages are not part of the engine's interface, so its calls are repeated here. Where its settings change, so must these:
//! `chunk.rs`, `compress.rs` and `crypto/mod.rs` of backup-core.

use std::hint::black_box;

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use criterion::Criterion;
use fastcdc::v2020::{MASKS, cut_gear};
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;

use crate::{Make, Measured};

/// What the stages are measured on: more than any cache holds.
const BYTES: usize = 32 << 20;
const FRAME_BYTES: usize = 1 << 20;
const PACK_BYTES: usize = 12 << 20;
/// Chunks: least, on average, most.
const CHUNK_BYTES: [usize; 3] = [32 << 10, 32 << 10, 256 << 10];
const LEVEL: i32 = 3;
const HASH_LOG: u32 = 15;
const CHAIN_LOG: u32 = 14;
/// A frame that saves less than this share is stored as it is.
const LEAST_SAVING: usize = 32;

/// A frame as it is stored.
struct Frame {
    bytes: Vec<u8>,
    compressed: bool,
}

/// Measures all stages on one kind of data, and gives the seconds of one core that a byte of a first backup takes.
pub(crate) fn measure(criterion: &mut Criterion, measured: &Measured, kind: &str, make: Make) -> f64 {
    let plain = make(BYTES, 1);
    let mut group = criterion.benchmark_group(format!("stages, {kind}"));
    let mut stage = |name: &str, bytes: usize, work: &mut dyn FnMut()| {
        measured.bench(&mut group, name, bytes, || (), |()| work())
    };
    let gear = Gear::new();
    let cut = stage("cut", BYTES, &mut || {
        let mut rest = &plain[..];
        while !rest.is_empty() {
            rest = &rest[gear.cut(&rest[..rest.len().min(CHUNK_BYTES[2])])..];
        }
    });
    let id = stage("id", BYTES, &mut || {
        plain.chunks(CHUNK_BYTES[1]).for_each(|chunk| _ = black_box(blake3::keyed_hash(&[7; 32], chunk)));
    });
    let mut compressor = Compressor::new(LEVEL).unwrap();
    compressor.set_parameter(CParameter::HashLog(HASH_LOG)).unwrap();
    compressor.set_parameter(CParameter::ChainLog(CHAIN_LOG)).unwrap();
    let mut room = vec![0; zstd::zstd_safe::compress_bound(FRAME_BYTES)];
    let compress = stage("compress", BYTES, &mut || {
        plain
            .chunks(FRAME_BYTES)
            .for_each(|frame| _ = black_box(compressor.compress_to_buffer(frame, &mut room)));
    });
    let mut frames: Vec<Frame> = plain.chunks(FRAME_BYTES).map(|raw| frame(&mut compressor, raw)).collect();
    let stored: usize = frames.iter().map(|frame| frame.bytes.len()).sum();
    let share = stored as f64 / BYTES as f64;
    let cipher = XChaCha20Poly1305::new(&[7; 32].into());
    let nonce = XNonce::from([7; 24]);
    let mut tags = Vec::new();
    let seal = stage("seal", stored, &mut || {
        tags.clear();
        for frame in &mut frames {
            tags.push(cipher.encrypt_inout_detached(&nonce, b"", frame.bytes.as_mut_slice().into()).unwrap());
        }
    });
    let pack = make(PACK_BYTES, 2);
    let hash = stage("hash of a pack", PACK_BYTES, &mut || _ = black_box(blake3::hash(&pack)));
    // The frames have been sealed over and over: sealing once more what was plain is simplest.
    frames = plain.chunks(FRAME_BYTES).map(|raw| frame(&mut compressor, raw)).collect();
    let mut seal_one = |frame: &mut Frame| -> Tag {
        cipher.encrypt_inout_detached(&nonce, b"", frame.bytes.as_mut_slice().into()).unwrap()
    };
    let tags: Vec<Tag> = frames.iter_mut().map(&mut seal_one).collect();
    let mut decompressor = Decompressor::new().unwrap();
    stage("unseal and decompress", BYTES, &mut || {
        for (frame, tag) in frames.iter().zip(&tags) {
            let mut bytes = frame.bytes.clone();
            cipher.decrypt_inout_detached(&nonce, b"", bytes.as_mut_slice().into(), tag).unwrap();
            if frame.compressed {
                black_box(decompressor.decompress(&bytes, FRAME_BYTES).unwrap());
            }
        }
    });
    group.finish();
    cut + id + compress + share * (seal + hash)
}

fn frame(compressor: &mut Compressor<'_>, raw: &[u8]) -> Frame {
    let bytes = compressor.compress(raw).unwrap();
    let compressed = bytes.len() < raw.len() - raw.len() / LEAST_SAVING;
    Frame { bytes: if compressed { bytes } else { raw.to_vec() }, compressed }
}

struct Gear {
    table: [u64; 256],
    shifted: [u64; 256],
}

impl Gear {
    fn new() -> Self {
        let mut stream = blake3::Hasher::new_keyed(&[7; 32]).finalize_xof();
        let table = [0; 256].map(|_: u64| {
            let mut bytes = [0; 8];
            stream.fill(&mut bytes);
            u64::from_le_bytes(bytes)
        });
        Self { table, shifted: table.map(|word| word << 1) }
    }

    fn cut(&self, bytes: &[u8]) -> usize {
        let [min, average, max] = CHUNK_BYTES;
        let bits = average.ilog2() as usize;
        let (strict, loose) = (MASKS[bits + 1], MASKS[bits - 1]);
        cut_gear(bytes, min, average, max, strict, loose, strict << 1, loose << 1, &self.table, &self.shifted)
            .1
    }
}
