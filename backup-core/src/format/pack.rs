//! Frames and packs (`docs/format.md` 5.1 and 5.2).

use std::ops::Range;

use bytes::Bytes;

use super::wire::{Reader, Write};
use super::{read_envelope, write_envelope};
use crate::compress::{self, Effort, Lengths};
use crate::crypto::{HEADER_LEN, ObjectSealer, OpenedObject, TAG_LEN};
use crate::error::{Error, Result};
use crate::id::ChunkId;
use crate::limits;

const DIRECTORY_PART: u32 = 0xffff_fffe;
const FOOTER_PART: u32 = 0xffff_ffff;
pub(crate) const FOOTER_LEN: usize = 16 + TAG_LEN;
/// Codec and raw length before a frame's stored bytes.
const FRAME_HEAD_LEN: usize = 5;

/// Where a sealed frame lies in its pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameSpan {
    pub(crate) part: u32,
    pub(crate) offset: u64,
    pub(crate) sealed_len: u32,
    pub(crate) raw_len: u32,
}

impl FrameSpan {
    pub(crate) const ENCODED_LEN: usize = 20;

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.u32(self.part);
        out.u64(self.offset);
        out.u32(self.sealed_len);
        out.u32(self.raw_len);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let span = Self {
            part: reader.u32()?,
            offset: reader.u64()?,
            sealed_len: reader.u32()?,
            raw_len: reader.u32()?,
        };
        let fits = span.offset >= HEADER_LEN as u64
            && span.end() <= limits::PACK_BYTES_MAX
            && span.sealed_len as usize >= FRAME_HEAD_LEN + TAG_LEN
            && span.raw_len as usize <= limits::FRAME_BYTES_MAX
            && span.part < DIRECTORY_PART;
        if fits { Ok(span) } else { Err(reader.damage("has a frame out of bounds")) }
    }

    pub(crate) const fn end(&self) -> u64 {
        self.offset.saturating_add(self.sealed_len as u64)
    }
}

/// Where a chunk lies in a frame's raw bytes; `frame` is an index into the table it came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkSpan {
    pub(crate) id: ChunkId,
    pub(crate) frame: u32,
    pub(crate) offset: u32,
    pub(crate) len: u32,
}

impl ChunkSpan {
    pub(crate) const ENCODED_LEN: usize = 44;

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.raw(self.id.as_bytes());
        out.u32(self.frame);
        out.u32(self.offset);
        out.u32(self.len);
    }

    /// Reads one; the frame it names must be in `frames` and hold it.
    pub(crate) fn read(reader: &mut Reader<'_>, frames: &[impl AsRef<FrameSpan>]) -> Result<Self> {
        let span = Self {
            id: ChunkId::from_bytes(reader.array()?),
            frame: reader.u32()?,
            offset: reader.u32()?,
            len: reader.u32()?,
        };
        let frame = usize::try_from(span.frame).ok().and_then(|frame| frames.get(frame)).map(AsRef::as_ref);
        let end = u64::from(span.offset) + u64::from(span.len);
        match frame {
            Some(frame)
                if end <= u64::from(frame.raw_len)
                    && (1..=limits::CHUNK_BYTES_MAX).contains(&(span.len as usize)) =>
            {
                Ok(span)
            }
            _ => Err(reader.damage("has a chunk outside its frame")),
        }
    }
}

impl AsRef<Self> for FrameSpan {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// A frame that is ready for its pack, and what was found out on the way.
#[derive(Debug)]
pub(crate) struct SealedFrame {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_compressed: bool,
    pub(crate) tried: Option<Lengths>,
}

/// Compresses and seals the raw bytes of a frame, which are `raw_len` in all. `room` is for reuse: compression wants it for the worst case.
/// CPU-heavy.
pub(crate) fn seal_frame(
    sealer: &ObjectSealer,
    part: u32,
    pieces: &[Bytes],
    raw_len: usize,
    effort: Effort,
    mut room: Vec<u8>,
) -> Result<SealedFrame> {
    room.clear();
    room.u8(compress::STORED);
    room.len32(raw_len);
    let (codec, tried) = compress::compress_pieces_onto(&mut room, pieces, effort)?;
    if let Some(first) = room.first_mut() {
        *first = codec;
    }
    sealer.seal(part, &mut room, 0)?;
    Ok(SealedFrame { bytes: room, is_compressed: codec != compress::STORED, tried })
}

/// The inverse of [`seal_frame`]. CPU-heavy.
pub(crate) fn open_frame(pack: &OpenedObject, span: &FrameSpan, sealed: &[u8]) -> Result<Bytes> {
    let plain = Bytes::from(pack.part(span.part, sealed)?);
    let mut reader = Reader::new(&plain, "frame");
    let codec = reader.u8()?;
    let raw_len = reader.u32()?;
    if raw_len != span.raw_len || raw_len as usize > limits::FRAME_BYTES_MAX {
        return Err(reader
            .damage("has another length than its directory says")
            .with_item(pack.name().to_string()));
    }
    let stored = plain.slice(FRAME_HEAD_LEN..);
    compress::decompress_owned(codec, stored, raw_len as usize)
        .map_err(|error| error.with_item(pack.name().to_string()))
}

/// About how long a pack of `len` bytes will be with its directory and footer, before padding. Of the directory's chunks their random ids
/// hardly compress, and the rest to a few bytes.
pub(crate) const fn closed_len(len: usize, frames: usize, chunks: usize) -> u64 {
    let directory = frames * FrameSpan::ENCODED_LEN / 2 + chunks * 37;
    (len + directory + 2 * TAG_LEN + FOOTER_LEN) as u64
}

/// Appends directory and footer to a pack that holds its header and frames.
pub(crate) fn close_pack(
    sealer: &ObjectSealer,
    pack: &mut Vec<u8>,
    frames: &[FrameSpan],
    chunks: &[ChunkSpan],
) -> Result<()> {
    let mut raw =
        Vec::with_capacity(8 + frames.len() * FrameSpan::ENCODED_LEN + chunks.len() * ChunkSpan::ENCODED_LEN);
    raw.len32(frames.len());
    frames.iter().for_each(|frame| frame.write(&mut raw));
    raw.len32(chunks.len());
    chunks.iter().for_each(|chunk| chunk.write(&mut raw));
    let offset = pack.len();
    write_envelope(pack, &raw, TAG_LEN + FOOTER_LEN)?;
    sealer.seal(DIRECTORY_PART, pack, offset)?;
    let footer = pack.len();
    pack.u64(offset as u64);
    pack.len32(footer - offset);
    pack.u32(0);
    sealer.seal(FOOTER_PART, pack, footer)
}

/// Frames and chunks of a pack, as its own directory names them.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) frames: Vec<FrameSpan>,
    pub(crate) chunks: Vec<ChunkSpan>,
}

/// Reads the directory of a whole pack, and checks that frames, directory and footer fill it without gaps.
pub(crate) fn read_directory(pack: &OpenedObject, bytes: &[u8]) -> Result<Directory> {
    let footer_at = bytes.len().saturating_sub(FOOTER_LEN);
    let place = open_footer(pack, bytes.len() as u64, bytes.get(footer_at..).unwrap_or_default())?;
    let start = usize::try_from(place.start).unwrap_or(usize::MAX);
    open_directory(pack, place.start, bytes.get(start..footer_at).unwrap_or_default())
}

/// Where the sealed directory lies in a pack of `len` bytes, whose last [`FOOTER_LEN`] are these.
pub(crate) fn open_footer(pack: &OpenedObject, len: u64, footer: &[u8]) -> Result<Range<u64>> {
    let damage = |how: &str| Error::corrupt(format!("pack {how}")).with_item(pack.name().to_string());
    let footer_at = len.checked_sub(FOOTER_LEN as u64).ok_or_else(|| damage("is too short"))?;
    let footer = pack.part(FOOTER_PART, footer)?;
    let mut reader = Reader::new(&footer, "pack footer");
    let (offset, directory_len) = (reader.u64()?, reader.u32()?);
    if reader.u32()? != 0 || offset.checked_add(u64::from(directory_len)) != Some(footer_at) {
        return Err(damage("has a directory that does not end at its footer"));
    }
    reader.finish()?;
    Ok(offset..footer_at)
}

/// Opens a sealed directory that begins at `offset` in its pack, and checks that the frames fill what lies before it without gaps.
pub(crate) fn open_directory(pack: &OpenedObject, offset: u64, sealed: &[u8]) -> Result<Directory> {
    let directory = pack.part(DIRECTORY_PART, sealed)?;
    let raw = read_envelope(&directory, "pack directory")?;
    decode_directory(&raw, offset).map_err(|error| error.with_item(pack.name().to_string()))
}

/// The inside of a directory that lies at this offset of its pack.
pub(crate) fn decode_directory(raw: &[u8], offset: u64) -> Result<Directory> {
    let damage = |how: &str| Error::corrupt(format!("pack {how}"));
    let mut reader = Reader::new(raw, "pack directory");
    let count = reader.count32(FrameSpan::ENCODED_LEN)?;
    let mut frames = Vec::with_capacity(count);
    let mut end = HEADER_LEN as u64;
    for _ in 0..count {
        let frame = FrameSpan::read(&mut reader)?;
        if frame.offset != end {
            return Err(damage("has a gap between its frames"));
        }
        end = frame.end();
        frames.push(frame);
    }
    if end != offset {
        return Err(damage("has a gap before its directory"));
    }
    let mut parts: Vec<u32> = frames.iter().map(|frame| frame.part).collect();
    parts.sort_unstable();
    if !(0u32..).zip(&parts).all(|(number, part)| number == *part) {
        return Err(damage("has part numbers that are not 0 and up"));
    }
    let count = reader.count32(ChunkSpan::ENCODED_LEN)?;
    let chunks = (0..count).map(|_| ChunkSpan::read(&mut reader, &frames)).collect::<Result<_>>()?;
    reader.finish()?;
    Ok(Directory { frames, chunks })
}
