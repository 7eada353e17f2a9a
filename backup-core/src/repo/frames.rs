//! Frames as they are read: some together, where they lie next to each other in a pack. Used by whatever knows which ones it will want.

use std::ops::Range;

use bytes::Bytes;

use super::Inner;
use crate::crypto::{Class, OpenedObject};
use crate::dedup::Location;
use crate::error::{Error, Result};
use crate::format::pack::{FrameSpan, open_frame};
use crate::id::ObjectId;

/// Longest read, and the longest gap between two frames that is read along rather than asked around.
const READ_BYTES_MAX: u64 = 4 << 20;
const GAP_BYTES_MAX: u64 = 32 << 10;

/// Pack and part.
pub(super) type FrameKey = (ObjectId, u32);

/// A frame and the pack that it lies in.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) pack: OpenedObject,
    pub(super) span: FrameSpan,
}

impl Frame {
    /// The frame at a place that the index knows.
    pub(super) fn at(inner: &Inner, class: Class, place: &Location<'_>) -> Result<Self> {
        Ok(Self { pack: inner.pack(class, place.pack)?, span: place.frame })
    }

    /// Its plaintext, if `read` is what lies in its pack from `start` on. CPU-heavy.
    pub(super) fn open(&self, read: &Bytes, start: u64) -> Result<Bytes> {
        let sealed = self.sealed(read, start).ok_or_else(|| Error::bug("a frame lies outside its read"))?;
        open_frame(&self.pack, &self.span, &sealed)
    }

    /// Its part of what lies in its pack from `start` on.
    pub(super) fn sealed(&self, read: &Bytes, start: u64) -> Option<Bytes> {
        let from = usize::try_from(self.span.offset.checked_sub(start)?).ok()?;
        let to = from.checked_add(self.span.sealed_len as usize).filter(|to| *to <= read.len())?;
        Some(read.slice(from..to))
    }
}

/// The range with this frame of the same pack, if they are near enough to each other to be read together.
pub(super) fn joined(range: &Range<u64>, span: &FrameSpan) -> Option<Range<u64>> {
    let gap = if span.offset >= range.end {
        span.offset - range.end
    } else {
        range.start.checked_sub(span.end())?
    };
    let longer = range.start.min(span.offset)..range.end.max(span.end());
    (gap <= GAP_BYTES_MAX && longer.end - longer.start <= READ_BYTES_MAX).then_some(longer)
}
