//! Reading chunks: located by the index, fetched by frame, opened on a worker, checked against their ids.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::Inner;
use crate::crypto::{Class, ObjectName, OpenedObject, chunk_id};
use crate::dedup::{Index, Location, PackRef};
use crate::error::{Error, ErrorKind, Result};
use crate::format::pack::open_frame;
use crate::id::{ChunkId, ObjectId};
use crate::tree::{Node, NodeSource, TreeKind};

/// Memory for opened frames of data. A restore in item order finds most chunks of a frame together, but looks a few frames ahead.
const DATA_CACHE_BYTES: u64 = 24 << 20;
/// Memory for opened frames of trees. Names are sorted by the id of their folder, the shorter id first, so a walk through folders goes to and fro
/// in them: with 4 MiB, the trees of 84,000 items were read twelve times over.
const TREE_CACHE_BYTES: u64 = 16 << 20;
/// Memory for decoded tree nodes.
const NODE_CACHE_BYTES: u64 = 8 << 20;

#[derive(Clone)]
struct BytesWeight;

impl Weighter<(ObjectId, u32), Bytes> for BytesWeight {
    fn weight(&self, _: &(ObjectId, u32), frame: &Bytes) -> u64 {
        frame.len() as u64 + 64
    }
}

impl Weighter<ChunkId, Arc<Node>> for BytesWeight {
    fn weight(&self, _: &ChunkId, node: &Arc<Node>) -> u64 {
        node.weight() as u64
    }
}

type Frames = Cache<(ObjectId, u32), Bytes, BytesWeight>;

/// A cache of frames, as one whole and for what was seen last: most frames are wanted for a while, and then never again. As the cache comes,
/// it divides its room among the cores and keeps nearly all of it for what was wanted twice; a restore then read a third of the frames again.
fn frames(bytes: u64) -> Frames {
    let mut options = quick_cache::OptionsBuilder::new();
    options.shards(1).hot_allocation(0.5).estimated_items_capacity(64).weight_capacity(bytes);
    match options.build() {
        Ok(options) => Cache::with_options(
            options,
            BytesWeight,
            quick_cache::DefaultHashBuilder::default(),
            quick_cache::sync::DefaultLifecycle::default(),
        ),
        Err(_) => Cache::with_weighter(64, bytes, BytesWeight),
    }
}

/// What has been read lately.
pub(super) struct Caches {
    data: Frames,
    tree: Frames,
    nodes: Cache<ChunkId, Arc<Node>, BytesWeight>,
    packs: Cache<ObjectId, OpenedObject>,
}

impl Default for Caches {
    fn default() -> Self {
        Self {
            data: frames(DATA_CACHE_BYTES),
            tree: frames(TREE_CACHE_BYTES),
            nodes: Cache::with_weighter(2_048, NODE_CACHE_BYTES, BytesWeight),
            packs: Cache::new(4_096),
        }
    }
}

impl Caches {
    /// Forgets everything, so that the next reads come from the store.
    pub(super) fn clear(&self) {
        self.data.clear();
        self.tree.clear();
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
        let mut failure = None;
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
            let pack = self.pack(class, location.pack)?;
            let span = location.frame;
            let sealed = self.read_pack(pack.name(), span.offset..span.end()).await?;
            self.env.run(move || open_frame(&pack, &span, &sealed).map(Bytes::from)).await
        };
        let frames = if class == Class::Data { &self.caches.data } else { &self.caches.tree };
        frames.get_or_insert_async(&key, load).await
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
