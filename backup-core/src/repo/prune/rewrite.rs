//! Segments without what is condemned, in the place of those that name it; and one in the place of many small ones.

use std::collections::HashSet;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};

use super::{CONCURRENCY, Prune, Round};
use crate::error::Result;
use crate::format::log::SegmentRef;
use crate::format::segment::Segment;
use crate::id::{ChunkId, ObjectId};
use crate::repo::commit::Written;
use crate::repo::log::State;
use crate::repo::pipeline::Packs;
use crate::repo::session::Session;
use crate::time::Timestamp;

/// Entries, 44 bytes each, that a rewritten segment has at most about: what is held while it is made.
const ENTRIES_MAX: usize = 1 << 18;
/// Segments shorter than this are joined once there are so many of them: opening reads each.
const SHORT_ENTRIES: u32 = 1 << 14;
const SHORT_SEGMENTS_MIN: usize = 32;

impl Prune<'_, '_> {
    /// Writes the segments that take the place of those that name a pack of the round, with what was copied. Gives the ids of the old ones.
    pub(super) async fn rewrite(
        &mut self,
        session: &Session,
        state: &State,
        round: &Round,
    ) -> Result<(Vec<ObjectId>, Vec<Written>)> {
        let mut out = Output {
            session,
            segment: Segment::default(),
            locked: round.copies.locked,
            packs: HashSet::new(),
            ids: HashSet::new(),
            written: Vec::new(),
        };
        let mut replaced = Vec::new();
        if !round.packs.is_empty() {
            let is_short = |segment: &SegmentRef| segment.entries < SHORT_ENTRIES;
            let join =
                state.segments.iter().filter(|segment| is_short(segment)).count() >= SHORT_SEGMENTS_MIN;
            let inner = self.inner;
            let read = |segment: &SegmentRef| -> BoxFuture<'_, Result<(SegmentRef, Segment)>> {
                let segment = *segment;
                Box::pin(async move { Ok((segment, inner.read_segment(segment).await?)) })
            };
            let reads: Vec<_> = state.segments.iter().map(read).collect();
            let mut segments = stream::iter(reads).buffered(CONCURRENCY);
            while let Some(read) = segments.next().await {
                let (named, segment) = read?;
                let is_condemned = |pack: &ObjectId| round.packs.contains_key(pack);
                if segment.packs.iter().any(|pack| is_condemned(&pack.id)) || join && is_short(&named) {
                    replaced.push(named.object.id);
                    out.add(&segment.without(is_condemned)).await?;
                }
                self.reporter.check()?;
            }
        }
        out.add(&round.copies.segment).await?;
        out.write().await?;
        // They are all that will be known of what is in the packs: a store that lies about them must be found out now.
        for written in &out.written {
            self.inner.read_segment(written.named).await?;
        }
        Ok((replaced, out.written))
    }
}

/// Collects packs into segments.
struct Output<'a> {
    session: &'a Session,
    segment: Segment,
    /// Until when what was copied is locked; all else has been in use already.
    locked: Option<Timestamp>,
    /// Packs in it: a segment names each of them once, and parts of one pack that were in two segments stay in two.
    packs: HashSet<ObjectId>,
    /// Chunks in it: a segment has each of them once, and two packs that have the same go into two segments.
    ids: HashSet<ChunkId>,
    written: Vec<Written>,
}

impl Output<'_> {
    async fn add(&mut self, segment: &Segment) -> Result<()> {
        for (info, frames, chunks) in segment.by_pack() {
            let full = !self.ids.is_empty() && self.ids.len() + chunks.len() > ENTRIES_MAX;
            let twice =
                self.packs.contains(&info.id) || chunks.iter().any(|chunk| self.ids.contains(&chunk.id));
            if full || twice {
                self.write().await?;
            }
            self.packs.insert(info.id);
            self.ids.extend(chunks.iter().map(|chunk| chunk.id));
            self.segment.add(info.clone(), &frames, &chunks);
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<()> {
        self.ids.clear();
        self.packs.clear();
        let packs = Packs { segment: std::mem::take(&mut self.segment), locked: self.locked };
        self.session.write_segments(packs, &mut self.written).await
    }
}
