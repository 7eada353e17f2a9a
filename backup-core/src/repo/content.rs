//! Bytes of a stored stream, in order, from any offset on.

use std::ops::Range;
use std::sync::Arc;

use futures_core::stream::BoxStream;
use futures_util::stream::{StreamExt, TryStreamExt, try_unfold};

use super::Inner;
use super::ahead::{Ahead, Piece, fetch};
use crate::crypto::Class;
use crate::dedup::Index;
use crate::error::{Error, Result};
use crate::format::record::{ChunkRef, ContentRef, decode_attributes, decode_chunk_list};
use crate::item::Attributes;
use crate::limits;
use crate::source::Content;

/// From this length on, in bytes, what is read is read ahead by frames.
const LONG_BYTES: u64 = 1 << 20;
/// Chunks of what is shorter that are fetched ahead of the reader; frames make most of these the same request.
const READ_AHEAD: usize = 4;

/// The bytes of `content` within `range`.
pub(super) fn read(inner: Arc<Inner>, content: ContentRef, range: Range<u64>) -> Result<Content<'static>> {
    if range.start > range.end || range.end > content.len {
        return Err(Error::invalid(format!(
            "range lies outside the stream, which has {} bytes",
            content.len
        )));
    }
    let size = range.end - range.start;
    let walk = Walk {
        inner: Arc::clone(&inner),
        lists: vec![(content.depth, content.refs.into_iter())],
        at: 0,
        range,
    };
    let pieces: BoxStream<'static, Result<Piece>> =
        try_unfold(walk, async |mut walk| Ok(walk.next().await?.map(|piece| (piece, walk)))).boxed();
    if size >= LONG_BYTES {
        let ahead = Ahead::new(inner, pieces);
        let bytes = try_unfold(ahead, async |mut ahead| Ok(ahead.next().await?.map(|bytes| (bytes, ahead))));
        return Ok(Content::new(Some(size), bytes.boxed()));
    }
    let bytes = pieces
        .map_ok(move |(chunk, part)| {
            let inner = Arc::clone(&inner);
            async move { fetch(&inner, chunk, part).await }
        })
        .try_buffered(READ_AHEAD)
        .boxed();
    Ok(Content::new(Some(size), bytes))
}

/// The details of an item.
pub(super) async fn details(inner: &Arc<Inner>, content: Option<&ContentRef>) -> Result<Attributes> {
    let Some(content) = content else { return Ok(Attributes::new()) };
    if content.len > limits::DETAILS_BYTES_MAX as u64 {
        return Err(Error::corrupt("details of an item exceed their limit"));
    }
    let bytes = read(Arc::clone(inner), content.clone(), 0..content.len)?.collect().await?;
    decode_attributes(&bytes)
}

/// Walks the data chunks that overlap a range; lists wholly before it are not read.
struct Walk {
    inner: Arc<Inner>,
    lists: Vec<(u8, std::vec::IntoIter<ChunkRef>)>,
    /// Offset of what comes next in the stream.
    at: u64,
    range: Range<u64>,
}

impl Walk {
    /// The next chunk and the part of it that is wanted.
    async fn next(&mut self) -> Result<Option<(ChunkRef, Range<u64>)>> {
        while self.at < self.range.end {
            let Some((depth, list)) = self.lists.last_mut() else {
                return Err(Error::corrupt("a stream's chunks end before its length"));
            };
            let depth = *depth;
            let Some(entry) = list.next() else {
                self.lists.pop();
                continue;
            };
            let (start, end) = (self.at, self.at.saturating_add(entry.len));
            if end <= self.range.start {
                self.at = end;
            } else if depth == 0 {
                self.at = end;
                let part = self.range.start.max(start) - start..self.range.end.min(end) - start;
                return Ok(Some((entry, part)));
            } else {
                let bytes = self.inner.chunk(Class::Tree, entry.id).await?;
                let refs = decode_chunk_list(&bytes, depth - 1, entry.len)?;
                self.lists.push((depth - 1, refs.into_iter()));
            }
        }
        Ok(None)
    }
}

/// All chunks of a content, lists included, each list before what it lists; lists are read wherever `index` says. `found` tells whether it
/// wants to look into a list.
pub(super) async fn chunks(
    inner: &Inner,
    index: &Index,
    content: &ContentRef,
    mut found: impl FnMut(Class, ChunkRef) -> Result<bool> + Send,
) -> Result<()> {
    let mut lists = vec![(content.depth, content.refs.clone().into_iter())];
    while let Some((depth, list)) = lists.last_mut() {
        let depth = *depth;
        match list.next() {
            None => drop(lists.pop()),
            Some(entry) if depth == 0 => drop(found(Class::Data, entry)?),
            Some(entry) => {
                if found(Class::Tree, entry)? {
                    let bytes = inner.chunk_by(index, Class::Tree, entry.id).await?;
                    lists.push((depth - 1, decode_chunk_list(&bytes, depth - 1, entry.len)?.into_iter()));
                }
            }
        }
    }
    Ok(())
}
