//! Reading chunks: located by the index, fetched by frame, opened on a worker, checked against their ids.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use quick_cache::sync::{Cache, DefaultLifecycle, GuardResult, PlaceholderGuard};
use quick_cache::{DefaultHashBuilder, Weighter};

use super::Inner;
use super::frames::{Frame, FrameKey, joined};
use crate::crypto::{Class, ObjectName, OpenedObject, chunk_id};
use crate::dedup::{Index, Location, PackRef};
use crate::error::{Error, ErrorKind, Result};
use crate::format::pack::FrameSpan;
use crate::id::{ChunkId, ObjectId};
use crate::tree::{Node, NodeSource, TreeKind};

/// Memory for opened frames of data. A restore in item order finds most chunks of a frame together, but looks a few frames ahead.
const DATA_CACHE_BYTES: u64 = 16 << 20;
/// Memory for opened frames of trees. Names are sorted by the id of their folder, the shorter id first, so a walk through folders goes to and fro
/// in them: with 4 MiB, the trees of 84,000 items were read twelve times over.
const TREE_CACHE_BYTES: u64 = 8 << 20;
/// Memory for frames of trees as they are stored: a third as long, and mostly read before they are wanted. Both trees of 100,000 files fit.
pub(super) const SEALED_CACHE_BYTES: u64 = 8 << 20;
/// What is read of a tree in one go, in bytes, and how far from a frame another one is near to it.
pub(super) const TREE_READ_BYTES: u64 = 1 << 20;
const TREE_NEAR_FRAMES: usize = 8;
/// Frames of a tree that are opened along with one.
const TREE_OPENED_FRAMES: usize = 2;
/// Frames that are noted as being opened before those are forgotten that nobody waits for any more.
const OPENING_NOTED: usize = 128;
/// Memory for decoded tree nodes.
const NODE_CACHE_BYTES: u64 = 8 << 20;

#[derive(Clone)]
struct BytesWeight;

impl Weighter<FrameKey, Bytes> for BytesWeight {
    fn weight(&self, _: &FrameKey, frame: &Bytes) -> u64 {
        frame.len() as u64 + 64
    }
}

impl Weighter<ChunkId, Arc<Node>> for BytesWeight {
    fn weight(&self, _: &ChunkId, node: &Arc<Node>) -> u64 {
        node.weight() as u64
    }
}

type Frames = Cache<FrameKey, Bytes, BytesWeight>;

/// A cache of frames, as one whole and for what was seen last: most frames are wanted for a while, and then never again. As the cache comes,
/// it divides its room among the cores and keeps nearly all of it for what was wanted twice; a restore then read a third of the frames again.
fn frames(bytes: u64) -> Frames {
    let mut options = quick_cache::OptionsBuilder::new();
    options.shards(1).hot_allocation(0.5).estimated_items_capacity(64).weight_capacity(bytes);
    match options.build() {
        Ok(options) => Cache::with_options(
            options,
            BytesWeight,
            DefaultHashBuilder::default(),
            DefaultLifecycle::default(),
        ),
        Err(_) => Cache::with_weighter(64, bytes, BytesWeight),
    }
}

/// What has been read lately.
pub(super) struct Caches {
    data: Frames,
    tree: Frames,
    /// Frames of trees as they are stored.
    sealed: Frames,
    nodes: Cache<ChunkId, Arc<Node>, BytesWeight>,
    packs: Cache<ObjectId, OpenedObject>,
    /// Frames of data that are being opened for long streams.
    opening: Mutex<HashMap<FrameKey, WeakShared<Opened>>>,
    /// Bytes that long streams have under way.
    pub(super) ahead_bytes: AtomicU64,
}

/// A frame of data on its way: whoever waits for it drives it on. None if it cannot be had; then it has not been said why.
pub(super) type Opening = Shared<Opened>;
type Opened = BoxFuture<'static, Option<Bytes>>;

impl Default for Caches {
    fn default() -> Self {
        Self {
            data: frames(DATA_CACHE_BYTES),
            tree: frames(TREE_CACHE_BYTES),
            sealed: frames(SEALED_CACHE_BYTES),
            nodes: Cache::with_weighter(2_048, NODE_CACHE_BYTES, BytesWeight),
            packs: Cache::new(4_096),
            opening: Mutex::default(),
            ahead_bytes: AtomicU64::new(0),
        }
    }
}

type Place<'a> =
    PlaceholderGuard<'a, FrameKey, Bytes, BytesWeight, DefaultHashBuilder, DefaultLifecycle<FrameKey, Bytes>>;

/// A frame that is to be read along with another one, and its place in the cache, so that nobody else reads it meanwhile.
struct Along<'a> {
    place: Place<'a>,
    frame: Frame,
}

impl Caches {
    /// A frame of data that is there, or on its way for a long stream.
    pub(super) fn opening(&self, key: &FrameKey) -> Option<Opening> {
        if let Some(frame) = self.data.get(key) {
            return Some(std::future::ready(Some(frame)).boxed().shared());
        }
        self.lock_opening().get(key).and_then(WeakShared::upgrade)
    }

    /// Takes note of a frame that is being opened, for as long as anybody waits for it.
    pub(super) fn open(&self, key: FrameKey, opened: Opened) -> Opening {
        let opening = opened.shared();
        let mut all = self.lock_opening();
        if all.len() >= OPENING_NOTED {
            all.retain(|_, opening| opening.upgrade().is_some());
        }
        all.extend(opening.downgrade().map(|weak| (key, weak)));
        opening
    }

    /// Keeps a frame of data.
    pub(super) fn keep(&self, key: FrameKey, frame: &Bytes) {
        self.data.insert(key, frame.clone());
    }

    /// Whether a frame of a tree is there.
    pub(super) fn has_tree(&self, key: &FrameKey) -> bool {
        self.sealed.contains_key(key) || self.tree.contains_key(key)
    }

    /// Keeps a frame of a tree as it is stored.
    pub(super) fn keep_sealed(&self, key: FrameKey, sealed: Bytes) {
        self.sealed.insert(key, sealed);
    }

    fn lock_opening(&self) -> MutexGuard<'_, HashMap<FrameKey, WeakShared<Opened>>> {
        self.opening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be read along with a frame of a tree: what follows it, if something near it was read lately. Trees are written in the order
    /// of their keys, and whoever goes through one wants most of it; whoever looks up single keys reads single frames.
    fn along(&self, wanted: &Frame, location: &Location<'_>) -> Vec<Along<'_>> {
        let key = |span: &FrameSpan| (location.pack.id, span.part);
        let (before, behind) = (location.frames_before(), location.frames_behind());
        let mut near = before.take(TREE_NEAR_FRAMES).chain(behind.take(TREE_NEAR_FRAMES));
        if !near.any(|span| self.sealed.contains_key(&key(&span))) {
            return Vec::new();
        }
        let mut range = location.frame.offset..location.frame.end();
        let mut along = Vec::new();
        for span in location.frames_behind() {
            let longer = joined(&range, &span).filter(|range| range.end - range.start <= TREE_READ_BYTES);
            let Some(longer) = longer else { break };
            match self.sealed.get_value_or_guard(&key(&span), Some(Duration::ZERO)) {
                GuardResult::Guard(place) => {
                    along.push(Along { place, frame: Frame { pack: wanted.pack.clone(), span } });
                }
                // It is there, or on its way.
                GuardResult::Value(_) | GuardResult::Timeout => break,
            }
            range = longer;
        }
        along
    }

    /// Forgets everything, so that the next reads come from the store.
    pub(super) fn clear(&self) {
        self.data.clear();
        self.tree.clear();
        self.sealed.clear();
        self.nodes.clear();
        self.packs.clear();
    }
}

impl Inner {
    /// A node read from the store, past the cache: a walk over everything would only wash the cache out.
    pub(super) async fn node_uncached(&self, tree: TreeKind, level: u8, id: ChunkId) -> Result<Node> {
        Node::decode(tree, level, &self.chunk(Class::Tree, id).await?)
    }

    /// The plaintext of a chunk, verified. Tries every place that the index knows before it gives up.
    pub(super) async fn chunk(&self, class: Class, id: ChunkId) -> Result<Bytes> {
        let state = self.state();
        match self.chunk_by(&state.index, class, id).await {
            // The index says so, or a damaged cache of it, or it is older than a prune.
            Err(error)
                if error.kind() == ErrorKind::Missing
                    && (self.mend_index().await? || self.refresh().await? > state.head.number) =>
            {
                self.chunk_by(&self.state().index, class, id).await
            }
            chunk => chunk,
        }
    }

    /// The same, wherever one index says.
    pub(super) async fn chunk_by(&self, index: &Index, class: Class, id: ChunkId) -> Result<Bytes> {
        self.again_if_damaged(|| self.chunk_anywhere(index, class, id)).await
    }

    /// The same from the first place that has it whole.
    async fn chunk_anywhere(&self, index: &Index, class: Class, id: ChunkId) -> Result<Bytes> {
        let mut failure: Option<Error> = None;
        for location in index.locate(&id) {
            match self.chunk_at(class, id, location).await {
                Ok(chunk) => return Ok(chunk),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| {
            Error::new(ErrorKind::Missing, "a chunk is in no segment").with_item(id.to_string())
        }))
    }

    /// Whether these bytes are the chunk. CPU-heavy.
    pub(super) fn is_chunk(&self, class: Class, id: ChunkId, bytes: &[u8]) -> Result<bool> {
        Ok(chunk_id(self.ring.id_key(class)?, bytes) == id)
    }

    pub(super) async fn chunk_at(&self, class: Class, id: ChunkId, location: Location<'_>) -> Result<Bytes> {
        let chunk = self.place_of_chunk(class, id, location).await?;
        if self.is_chunk(class, id, &chunk)? {
            Ok(chunk)
        } else {
            Err(Error::corrupt("a chunk's content does not match its id").with_item(id.to_string()))
        }
    }

    async fn place_of_chunk(&self, class: Class, id: ChunkId, location: Location<'_>) -> Result<Bytes> {
        let frame = self.frame(class, location).await?;
        let (start, len) = (location.offset as usize, location.len as usize);
        let end = start.checked_add(len).filter(|end| *end <= frame.len());
        let end =
            end.ok_or_else(|| Error::corrupt("a chunk lies outside its frame").with_item(id.to_string()))?;
        Ok(frame.slice(start..end))
    }

    async fn frame(&self, class: Class, location: Location<'_>) -> Result<Bytes> {
        let key = (location.pack.id, location.frame.part);
        let load = async {
            let wanted = Frame::at(self, class, &location)?;
            let sealed = if class == Class::Data {
                if let Some(opening) = self.caches.opening(&key)
                    && let Some(opened) = opening.await
                {
                    return Ok(opened);
                }
                self.read_frames(&wanted, wanted.span.end()).await?
            } else {
                let read = self.read_along(&wanted, &location);
                self.caches.sealed.get_or_insert_async(&key, read).await?
            };
            let opening = {
                let wanted = wanted.clone();
                self.env.run(move || wanted.open(&sealed, wanted.span.offset))
            };
            if class == Class::Data {
                return opening.await;
            }
            self.open_next(&wanted, &location);
            let opened = opening.await;
            if opened.is_err() {
                // It may come unharmed the next time.
                self.caches.sealed.remove(&key);
            }
            opened
        };
        let frames = if class == Class::Data { &self.caches.data } else { &self.caches.tree };
        frames.get_or_insert_async(&key, load).await
    }

    /// A frame of a tree as it is stored, which may be read together with others. These are kept for whoever wants them.
    async fn read_along(&self, wanted: &Frame, location: &Location<'_>) -> Result<Bytes> {
        let along = self.caches.along(wanted, location);
        let end = along.last().map_or(wanted.span.end(), |last| last.frame.span.end());
        let read = match self.read_frames(wanted, end).await {
            // Perhaps for the others.
            Err(_) if !along.is_empty() => {
                drop(along);
                return self.read_frames(wanted, wanted.span.end()).await;
            }
            read => read?,
        };
        // Copied, so that one of them does not keep all of them in memory.
        let sealed = |frame: &Frame| {
            let sealed = frame.sealed(&read, wanted.span.offset);
            sealed.map(|sealed| Bytes::copy_from_slice(&sealed))
        };
        for Along { place, frame } in along {
            if let Some(sealed) = sealed(&frame) {
                let _ = place.insert(sealed);
            }
        }
        sealed(wanted).ok_or_else(|| Error::bug("a frame lies outside its read"))
    }

    /// Opens what follows a frame of a tree, as far as it has been read, for the cache.
    fn open_next(&self, wanted: &Frame, location: &Location<'_>) {
        for span in location.frames_behind().take(TREE_OPENED_FRAMES) {
            let key = (location.pack.id, span.part);
            if self.caches.tree.contains_key(&key) {
                continue;
            }
            let Some(sealed) = self.caches.sealed.peek(&key) else { break };
            let (frame, caches) = (Frame { pack: wanted.pack.clone(), span }, Arc::clone(&self.caches));
            self.env.spawn(move || {
                // What is wrong with it is said to whoever wants it.
                if let Ok(opened) = frame.open(&sealed, span.offset) {
                    caches.tree.insert(key, opened);
                }
            });
        }
    }

    /// What lies in the frame's pack from its beginning up to `end`.
    pub(super) async fn read_frames(&self, frame: &Frame, end: u64) -> Result<Bytes> {
        self.read_pack(frame.pack.name(), frame.span.offset..end).await
    }

    /// Bytes of a pack as they are stored, exactly as many as asked for.
    pub(super) async fn read_pack(&self, name: ObjectName, range: Range<u64>) -> Result<Bytes> {
        let read = self.store.read(&name.key(), Some(range.clone())).await;
        let sealed = read.map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                Error::new(ErrorKind::Missing, "a pack is gone").with_item(name.to_string())
            }
            // The index says that the range is there, so the object has been cut.
            ErrorKind::InvalidArgument => {
                Error::corrupt("a pack is shorter than the index says").with_item(name.to_string())
            }
            _ => error,
        })?;
        if sealed.len() as u64 != range.end - range.start {
            return Err(
                Error::corrupt("the store gave another length than asked for").with_item(name.to_string())
            );
        }
        self.count_read(sealed.len());
        Ok(sealed)
    }

    /// The opened header of a pack, from the copy that the index has.
    pub(super) fn pack(&self, class: Class, info: PackRef<'_>) -> Result<OpenedObject> {
        self.caches.packs.get_or_insert_with(&info.id, || {
            let name = ObjectName::Pack(info.id);
            match OpenedObject::open(self.id, &self.ring, name, info.header)? {
                (pack, found) if found == class => Ok(pack),
                _ => {
                    Err(Error::corrupt("a chunk lies in a pack of another class").with_item(name.to_string()))
                }
            }
        })
    }
}

#[async_trait]
impl NodeSource for Inner {
    async fn node(&self, tree: TreeKind, level: u8, id: ChunkId) -> Result<Arc<Node>> {
        let node = self
            .caches
            .nodes
            .get_or_insert_async(&id, async {
                let bytes = self.chunk(Class::Tree, id).await?;
                Ok::<_, Error>(Arc::new(Node::decode(tree, level, &bytes)?))
            })
            .await?;
        // A cached node was decoded for some tree and level; a hostile tree may ask for it as another one.
        if node.level == level {
            Ok(node)
        } else {
            Err(Error::corrupt("a tree node is used at another level").with_item(id.to_string()))
        }
    }
}
