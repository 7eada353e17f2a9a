//! Segments: immutable sorted runs of the index (`docs/format.md` 5.3).

use std::collections::HashSet;

use super::pack::{ChunkSpan, FrameSpan};
use super::wire::{Reader, Write};
use crate::crypto::{HEADER_LEN, Header};
use crate::error::Result;
use crate::id::{ObjectHash, ObjectId};
use crate::limits;

/// A pack as the index knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackInfo {
    pub(crate) id: ObjectId,
    pub(crate) len: u64,
    pub(crate) hash: ObjectHash,
    pub(crate) header: Header,
}

/// A frame and the pack (index into the segment's own list) that it lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackFrame {
    pub(crate) pack: u32,
    pub(crate) span: FrameSpan,
}

impl AsRef<FrameSpan> for PackFrame {
    fn as_ref(&self) -> &FrameSpan {
        &self.span
    }
}

/// One run: packs, their frames, and chunks in ascending order of ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) packs: Vec<PackInfo>,
    pub(crate) frames: Vec<PackFrame>,
    pub(crate) chunks: Vec<ChunkSpan>,
}

impl Segment {
    /// Adds a finished pack; [`sort`](Self::sort) once all are in.
    pub(crate) fn add(&mut self, info: PackInfo, frames: &[FrameSpan], chunks: &[ChunkSpan]) {
        let pack = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
        let base = u32::try_from(self.frames.len()).unwrap_or(u32::MAX);
        self.packs.push(info);
        self.frames.extend(frames.iter().map(|span| PackFrame { pack, span: *span }));
        self.chunks.extend(
            chunks.iter().map(|chunk| ChunkSpan { frame: base.saturating_add(chunk.frame), ..*chunk }),
        );
    }

    /// The packs one by one, each with its frames and chunks; chunks name their frames by their place in the pack's own list.
    pub(crate) fn by_pack(&self) -> Vec<(&PackInfo, Vec<FrameSpan>, Vec<ChunkSpan>)> {
        let mut packs: Vec<_> = self.packs.iter().map(|info| (info, Vec::new(), Vec::new())).collect();
        let mut places = Vec::with_capacity(self.frames.len());
        for frame in &self.frames {
            if let Some((_, frames, _)) = packs.get_mut(frame.pack as usize) {
                places.push((frame.pack, u32::try_from(frames.len()).unwrap_or(u32::MAX)));
                frames.push(frame.span);
            }
        }
        for chunk in &self.chunks {
            if let Some((pack, frame)) = places.get(chunk.frame as usize)
                && let Some((_, _, chunks)) = packs.get_mut(*pack as usize)
            {
                chunks.push(ChunkSpan { frame: *frame, ..*chunk });
            }
        }
        packs
    }

    /// The same without some packs and what lies in them.
    pub(crate) fn without(&self, is_gone: impl Fn(&ObjectId) -> bool) -> Self {
        let mut rest = Self::default();
        for (info, frames, chunks) in self.by_pack() {
            if !is_gone(&info.id) {
                rest.add(info.clone(), &frames, &chunks);
            }
        }
        rest
    }

    /// Splits what has more entries than one segment may have, pack by pack. Nothing if there are no packs.
    pub(crate) fn split(self, entries_max: usize) -> Vec<Self> {
        if self.packs.is_empty() {
            return Vec::new();
        }
        if self.chunks.len() <= entries_max {
            return vec![self];
        }
        let mut parts = vec![Self::default()];
        for (info, frames, chunks) in self.by_pack() {
            if parts.last().is_some_and(|part| part.chunks.len() + chunks.len() > entries_max) {
                parts.push(Self::default());
            }
            if let Some(part) = parts.last_mut() {
                part.add(info.clone(), &frames, &chunks);
            }
        }
        parts
    }

    pub(crate) fn sort(&mut self) {
        self.chunks.sort_unstable_by_key(|chunk| chunk.id);
        self.chunks.dedup_by_key(|chunk| chunk.id);
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut raw = Vec::with_capacity(
            12 + self.packs.len() * (58 + HEADER_LEN)
                + self.frames.len() * (4 + FrameSpan::ENCODED_LEN)
                + self.chunks.len() * ChunkSpan::ENCODED_LEN,
        );
        raw.len32(self.packs.len());
        for pack in &self.packs {
            raw.raw(pack.id.as_bytes());
            raw.u64(pack.len);
            raw.raw(pack.hash.as_bytes());
            raw.bytes16(&pack.header.0);
        }
        raw.len32(self.frames.len());
        for frame in &self.frames {
            raw.u32(frame.pack);
            frame.span.write(&mut raw);
        }
        raw.len32(self.chunks.len());
        self.chunks.iter().for_each(|chunk| chunk.write(&mut raw));
        raw
    }

    pub(crate) fn decode(raw: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(raw, "segment");
        let count = reader.count32(58 + HEADER_LEN)?;
        let packs = (0..count).map(|_| PackInfo::read(&mut reader)).collect::<Result<Vec<_>>>()?;
        let distinct: HashSet<ObjectId> = packs.iter().map(|pack| pack.id).collect();
        if distinct.len() != packs.len() {
            return Err(reader.damage("names a pack twice"));
        }
        let count = reader.count32(4 + FrameSpan::ENCODED_LEN)?;
        let mut frames = Vec::with_capacity(count);
        for _ in 0..count {
            let pack = reader.u32()?;
            let span = FrameSpan::read(&mut reader)?;
            match packs.get(pack as usize) {
                Some(info) if span.end() <= info.len => frames.push(PackFrame { pack, span }),
                _ => return Err(reader.damage("has a frame outside its pack")),
            }
        }
        let count = reader.count32(ChunkSpan::ENCODED_LEN)?;
        if count > limits::SEGMENT_ENTRIES_MAX {
            return Err(reader.damage("has more entries than the format allows"));
        }
        let mut chunks: Vec<ChunkSpan> = Vec::with_capacity(count);
        for _ in 0..count {
            let chunk = ChunkSpan::read(&mut reader, &frames)?;
            if chunks.last().is_some_and(|last| last.id >= chunk.id) {
                return Err(reader.damage("is not sorted"));
            }
            chunks.push(chunk);
        }
        reader.finish()?;
        Ok(Self { packs, frames, chunks })
    }
}

impl PackInfo {
    /// Stands for the hash of a pack that has not been read whole; only a salvaged index has such packs.
    pub(crate) const HASH_UNKNOWN: ObjectHash = ObjectHash::from_bytes([0; 32]);

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let id = ObjectId::from_bytes(reader.array()?);
        let len = reader.u64()?;
        let hash = ObjectHash::from_bytes(reader.array()?);
        if len > limits::PACK_BYTES_MAX {
            return Err(reader.damage("has a pack larger than the format allows"));
        }
        let header = reader.bytes16(HEADER_LEN)?;
        let header = header.try_into().map_err(|_| reader.damage("has a pack header of another length"))?;
        Ok(Self { id, len, hash, header: Header(header) })
    }
}
