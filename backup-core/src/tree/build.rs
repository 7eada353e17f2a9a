//! Builds a tree bottom-up from entries in order; whole subtrees of an older tree can be taken over as they are.

use std::collections::HashMap;

use super::node::{self, Child, Entries};
use super::{Boundary, NodeSink, NodeSource, TreeKind, below, top_of};
use crate::error::{Error, Result};
use crate::format::snapshot::{Root, Top};
use crate::id::ChunkId;
use crate::limits;

/// The open node of one level.
struct Open {
    bytes: Vec<u8>,
    entries: u32,
    /// Leaf entries below.
    count: u64,
    last_key: Vec<u8>,
    /// Nodes of this level that are finished.
    finished: u64,
    /// The child, while there is just one.
    only: Option<Child>,
}

/// Takes entries in ascending order and writes nodes as they fill. Holds one open node per level.
pub(crate) struct Builder<'a> {
    tree: TreeKind,
    boundary: &'a Boundary,
    sink: &'a dyn NodeSink,
    levels: Vec<Open>,
    /// New nodes with a single child, which must not become the top: they may not be readable yet.
    singles: HashMap<ChunkId, Child>,
    /// The newest node: where it becomes the top, it has more than one child.
    last_new: Option<ChunkId>,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(tree: TreeKind, boundary: &'a Boundary, sink: &'a dyn NodeSink) -> Self {
        Self { tree, boundary, sink, levels: Vec::new(), singles: HashMap::new(), last_new: None }
    }

    /// Whether a finished node of `level` may be taken over now: nothing lower is half-way.
    pub(crate) fn is_aligned(&self, level: u8) -> bool {
        self.levels.iter().take(usize::from(level) + 1).all(|open| open.entries == 0)
    }

    /// Adds an entry.
    pub(crate) async fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let ends = self.boundary.ends_node(self.tree, 0, key, node::entry_len(key, value));
        let open = self.open(0)?;
        node::push_entry(&mut open.bytes, key, value);
        open.note(key, 1);
        if ends { self.close(0).await } else { Ok(()) }
    }

    /// Takes over a finished node of `level` that ends at a boundary; the caller has checked [`Self::is_aligned`].
    pub(crate) async fn take_over(&mut self, level: u8, child: &Child) -> Result<()> {
        self.open(level)?.finished += 1;
        self.push_child(level, child).await
    }

    /// Adds a child of a node of level + 1, and whatever follows from that upwards.
    async fn push_child(&mut self, level: u8, child: &Child) -> Result<()> {
        let (mut level, mut child) = (level, child.clone());
        loop {
            let parent = level + 1;
            let ends = self.boundary.ends_node(self.tree, parent, &child.last_key, child.weight());
            let open = self.open(parent)?;
            node::push_child(&mut open.bytes, &child);
            open.note(&child.last_key, child.count);
            // At least two children: so each level has at most half the nodes of the one below, whatever the keys.
            let ends = ends && open.entries > 1;
            open.only = if open.entries == 1 { Some(child) } else { None };
            if !ends {
                return Ok(());
            }
            child = self.finish_node(parent).await?;
            level = parent;
        }
    }

    async fn close(&mut self, level: u8) -> Result<()> {
        let child = self.finish_node(level).await?;
        self.push_child(level, &child).await
    }

    async fn finish_node(&mut self, level: u8) -> Result<Child> {
        let (tree, sink) = (self.tree, self.sink);
        let open = self.open(level)?;
        let bytes = std::mem::replace(&mut open.bytes, node::begin(tree, level));
        let child_key = std::mem::take(&mut open.last_key);
        let count = std::mem::take(&mut open.count);
        let bytes = node::finish(bytes, std::mem::take(&mut open.entries));
        open.finished += 1;
        let only = open.only.take();
        if bytes.len() > limits::CHUNK_BYTES_MAX {
            return Err(Error::limit("a tree node exceeds the largest chunk"));
        }
        let id = sink.put_node(bytes).await?;
        self.last_new = Some(id);
        if let Some(only) = only {
            self.singles.insert(id, only);
        }
        Ok(Child { last_key: child_key.into(), id, count })
    }

    /// Ends the tree: closes what is open, level by level, until a level has one node only.
    pub(crate) async fn finish(mut self, source: &dyn NodeSource) -> Result<Root> {
        let mut level = 0u8;
        loop {
            let Some(open) = self.levels.get(usize::from(level)) else { return Ok(Root(None)) };
            let (entries, finished) = (open.entries, open.finished);
            let nothing_above = self
                .levels
                .iter()
                .skip(usize::from(level) + 1)
                .all(|above| above.entries == 0 && above.finished == 0);
            if nothing_above && finished == 0 {
                if entries == 0 {
                    return Ok(Root(None));
                }
                let root = match self.open(level)?.only.take() {
                    Some(only) => top_of(&only, below(level)?),
                    None => top_of(&self.finish_node(level).await?, level),
                };
                return self.descend(source, root).await;
            }
            if entries > 0 {
                self.close(level).await?;
            }
            level += 1;
        }
    }

    /// The top is the lowest level with a single node: a chain of single children above it is left out.
    async fn descend(&self, source: &dyn NodeSource, mut root: Root) -> Result<Root> {
        while let Root(Some(Top { level, id, .. })) = root {
            if level == 0 {
                break;
            }
            if let Some(only) = self.singles.get(&id) {
                root = top_of(only, below(level)?);
                continue;
            }
            if self.last_new == Some(id) {
                break;
            }
            let node = source.node(self.tree, level, id).await?;
            match &node.entries {
                Entries::Inner(children) => match children.as_slice() {
                    [only] => root = top_of(only, below(level)?),
                    _ => break,
                },
                Entries::Leaf(_) => return Err(Error::corrupt("tree has a leaf above level 0")),
            }
        }
        Ok(root)
    }

    fn open(&mut self, level: u8) -> Result<&mut Open> {
        if usize::from(level) >= limits::TREE_LEVELS_MAX {
            return Err(Error::limit("a tree has more levels than the format allows"));
        }
        while self.levels.len() <= usize::from(level) {
            let bytes = node::begin(self.tree, u8::try_from(self.levels.len()).unwrap_or(u8::MAX));
            self.levels.push(Open {
                bytes,
                entries: 0,
                count: 0,
                last_key: Vec::new(),
                finished: 0,
                only: None,
            });
        }
        self.levels.get_mut(usize::from(level)).ok_or_else(|| Error::bug("tree level is missing"))
    }
}

impl Open {
    fn note(&mut self, key: &[u8], count: u64) {
        self.entries += 1;
        self.count += count;
        self.last_key.clear();
        self.last_key.extend_from_slice(key);
    }
}
