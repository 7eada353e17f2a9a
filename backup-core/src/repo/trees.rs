//! Reading the trees of a snapshot before a walk through all of it: then the walk waits for none of their frames, one after the other, while
//! those who want contents wait for the walk.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join, try_join_all};
use futures_util::{StreamExt, stream};

use super::Inner;
use super::chunks::{SEALED_CACHE_BYTES, TREE_READ_BYTES};
use super::frames::{Frame, FrameKey, joined};
use crate::crypto::Class;
use crate::error::Result;
use crate::format::snapshot::{Root, Snapshot};
use crate::id::ChunkId;
use crate::tree::{Entries, NodeSource, TreeKind};

/// Trees of more items have no room in the cache: they are read on the way, each part together with what follows it.
const ITEMS_MAX: u64 = 128 << 10;
/// What may be read of them, in bytes as stored: the rest of the cache is for what else is looked at.
const READ_BYTES_MAX: u64 = SEALED_CACHE_BYTES / 8 * 7;
/// Reads at the same time.
const READS: usize = 8;
/// Leaves of a tree: far more than so many items make.
const LEAVES_MAX: usize = 4 << 10;

impl Inner {
    /// Reads what both trees of a snapshot consist of, if there is room for it. What cannot be read is left to whoever wants it.
    pub(super) async fn read_trees(&self, snapshot: &Snapshot) {
        if snapshot.items.count() > ITEMS_MAX {
            return;
        }
        let (items, names) =
            join(self.leaves(TreeKind::Items, snapshot.items), self.leaves(TreeKind::Names, snapshot.names))
                .await;
        let leaves = items.into_iter().chain(names).flatten();
        let frames = self.frames_not_read(leaves);
        if frames.values().map(|frame| u64::from(frame.span.sealed_len)).sum::<u64>() > READ_BYTES_MAX {
            return;
        }
        let read = |frames| -> BoxFuture<'_, ()> { Box::pin(self.read_sealed(frames)) };
        let reads: Vec<_> = neighbours(frames).into_iter().map(read).collect();
        stream::iter(reads).buffer_unordered(READS).collect::<()>().await;
    }

    /// The leaves of a tree, from its inner nodes.
    async fn leaves(&self, tree: TreeKind, root: Root) -> Result<Vec<ChunkId>> {
        let Some(top) = root.0 else { return Ok(Vec::new()) };
        let mut ids = vec![top.id];
        for level in (1..=top.level).rev() {
            let nodes = try_join_all(ids.iter().map(|id| self.node(tree, level, *id))).await?;
            let mut below = Vec::new();
            for node in &nodes {
                if let Entries::Inner(children) = &node.entries {
                    below.extend(children.iter().map(|child| child.id).take(LEAVES_MAX));
                }
            }
            below.truncate(LEAVES_MAX);
            ids = below;
        }
        Ok(ids)
    }

    /// The frames that these chunks lie in and that are not at hand.
    fn frames_not_read(&self, chunks: impl Iterator<Item = ChunkId>) -> BTreeMap<FrameKey, Frame> {
        let (state, mut frames) = (self.state(), BTreeMap::new());
        for id in chunks {
            let Some(place) = state.index.locate(&id).next() else { continue };
            let key = (place.pack.id, place.frame.part);
            if !frames.contains_key(&key)
                && !self.caches.has_tree(&key)
                && let Ok(frame) = Frame::at(self, Class::Tree, &place)
            {
                frames.insert(key, frame);
            }
        }
        frames
    }

    /// Reads frames of one pack that lie next to each other, and keeps them as they are stored.
    async fn read_sealed(&self, frames: Vec<(FrameKey, Frame)>) {
        let (Some((_, first)), Some((_, last))) = (frames.first(), frames.last()) else { return };
        let start = first.span.offset;
        let Ok(read) = self.read_frames(first, last.span.end()).await else { return };
        for (key, frame) in &frames {
            if let Some(sealed) = frame.sealed(&read, start) {
                // Copied, so that one of them does not keep all of them in memory.
                self.caches.keep_sealed(*key, Bytes::copy_from_slice(&sealed));
            }
        }
    }
}

/// Frames in groups that are each read in one go.
fn neighbours(frames: BTreeMap<FrameKey, Frame>) -> Vec<Vec<(FrameKey, Frame)>> {
    let mut groups: Vec<Vec<(FrameKey, Frame)>> = Vec::new();
    let mut range = 0..0;
    for (key, frame) in frames {
        let beside =
            groups.last_mut().filter(|group| group.last().is_some_and(|((pack, _), _)| *pack == key.0));
        let longer =
            joined(&range, &frame.span).filter(|longer| longer.end - longer.start <= TREE_READ_BYTES);
        match (beside, longer) {
            (Some(group), Some(longer)) => {
                range = longer;
                group.push((key, frame));
            }
            _ => {
                range = frame.span.offset..frame.span.end();
                groups.push(vec![(key, frame)]);
            }
        }
    }
    groups
}
