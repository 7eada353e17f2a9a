//! History-independent ordered Merkle trees (`docs/format.md` section 7): snapshots that cost what changed.
//!
//! A tree is sorted entries cut into nodes where a keyed hash of an entry's key says so; nodes are chunks. Equal entries
//! give equal nodes whatever the order of changes, so snapshots share all that they have in common. Start with
//! [`edit::apply`] for commits, [`scan::Scan`] for reading in order, [`diff::Diff`] for what differs.

pub(crate) mod build;
pub(crate) mod diff;
pub(crate) mod edit;
pub(crate) mod marks;
mod node;
pub(crate) mod rank;
pub(crate) mod scan;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::{Error, Result};
use crate::format::snapshot::{Root, Top};
use crate::id::ChunkId;
use crate::secret::Secret;

pub(crate) use node::{Child, Entries, Entry, Node};

/// Which tree a node belongs to; part of every node, so that one can never be read as the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TreeKind {
    Items = 1,
    Names = 2,
}

impl TreeKind {
    pub(crate) const fn number(self) -> u8 {
        self as u8
    }
}

/// Where nodes are read from.
#[async_trait]
pub(crate) trait NodeSource: Send + Sync {
    /// The node with this id, checked to be of this tree and level.
    async fn node(&self, tree: TreeKind, level: u8, id: ChunkId) -> Result<Arc<Node>>;
}

/// Where new nodes go.
#[async_trait]
pub(crate) trait NodeSink: Send + Sync {
    /// Stores an encoded node and names it.
    async fn put_node(&self, bytes: Vec<u8>) -> Result<ChunkId>;
}

/// Decides where nodes end.
#[derive(Clone, Debug)]
pub(crate) struct Boundary {
    key: Secret,
    target: u32,
}

impl Boundary {
    pub(crate) const fn new(key: Secret, target: u32) -> Self {
        Self { key, target }
    }

    /// Whether a node ends after the entry with this key whose encoding has `weight` bytes.
    ///
    /// The chance is weight / target, so nodes have about `target` bytes whatever the size of entries, and a node of
    /// k times the target has probability e^-k. Only who has the boundary key can choose names that avoid boundaries.
    fn ends_node(&self, tree: TreeKind, level: u8, key: &[u8], weight: usize) -> bool {
        let mut hasher = blake3::Hasher::new_keyed(self.key.expose());
        hasher.update(&[tree.number(), level]).update(key);
        let mut first = [0; 4];
        // `h >> 32` of the format page: the upper half of the first little-endian u64.
        if let Some(high) = hasher.finalize().as_bytes().get(4..8) {
            first.copy_from_slice(high);
        }
        let high = u64::from(u32::from_le_bytes(first));
        high * u64::from(self.target) < (weight as u64) << 32
    }
}

/// Finds the value of one key; reads one node per level.
pub(crate) async fn find(
    source: &dyn NodeSource,
    tree: TreeKind,
    root: Root,
    key: &[u8],
) -> Result<Option<Bytes>> {
    Ok(Finder::new(source, tree, root).find(key).await?.map(|found| found.value.clone()))
}

/// An entry that was looked for: its value, and how many entries lie before it, as inner nodes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found<'a> {
    /// Part of its node's memory, which clones of it keep.
    pub(crate) value: &'a Bytes,
    pub(crate) rank: u64,
}

/// Finds keys one after the other; those near the last one cost no way through the tree.
pub(crate) struct Finder<'a> {
    source: &'a dyn NodeSource,
    tree: TreeKind,
    root: Root,
    /// The leaf that the last key was looked for in.
    last: Option<Leaf>,
}

impl<'a> Finder<'a> {
    pub(crate) fn new(source: &'a dyn NodeSource, tree: TreeKind, root: Root) -> Self {
        Self { source, tree, root, last: None }
    }

    /// One key; reads one node per level at most.
    pub(crate) async fn find(&mut self, key: &[u8]) -> Result<Option<Found<'_>>> {
        if !self.last.as_ref().is_some_and(|leaf| leaf.covers(key)) {
            self.last = Leaf::of(self.source, self.tree, self.root, key).await?;
        }
        Ok(self.last.as_mut().and_then(|leaf| leaf.find(key)))
    }
}

/// The only leaf that may hold some key, for keys near it.
#[derive(Debug)]
pub(crate) struct Leaf {
    node: Arc<Node>,
    /// Entries of the tree that lie before it.
    before: u64,
    /// The place behind what was found last.
    next: usize,
}

impl Leaf {
    /// Reads one node per level.
    pub(crate) async fn of(
        source: &dyn NodeSource,
        tree: TreeKind,
        root: Root,
        key: &[u8],
    ) -> Result<Option<Self>> {
        let Some(top) = root.0 else { return Ok(None) };
        let (mut node, mut before) = (source.node(tree, top.level, top.id).await?, 0u64);
        loop {
            let child = match &node.entries {
                Entries::Leaf(_) => return Ok(Some(Self { node, before, next: 0 })),
                Entries::Inner(children) => {
                    let at = children.partition_point(|child| &child.last_key[..] < key);
                    let passed = children.iter().take(at).map(|child| child.count);
                    before = passed.fold(before, u64::saturating_add);
                    children.get(at).map(|child| child.id)
                }
            };
            let Some(id) = child else { return Ok(None) };
            let level = below(node.level)?;
            node = source.node(tree, level, id).await?;
        }
    }

    /// Whether the key lies between the first and the last: then nothing but this leaf may hold it.
    pub(crate) fn covers(&self, key: &[u8]) -> bool {
        let Entries::Leaf(entries) = &self.node.entries else { return false };
        match (entries.first(), entries.last()) {
            (Some(first), Some(last)) => first.key <= key && key <= last.key,
            _ => false,
        }
    }

    /// What the leaf has of a key.
    pub(crate) fn find(&mut self, key: &[u8]) -> Option<Found<'_>> {
        let Entries::Leaf(entries) = &self.node.entries else { return None };
        let at = match entries.get(self.next) {
            Some(entry) if entry.key == key => self.next,
            _ => entries.binary_search_by(|entry| entry.key[..].cmp(key)).ok()?,
        };
        self.next = at + 1;
        let value = &entries.get(at)?.value;
        Some(Found { value, rank: self.before.saturating_add(at as u64) })
    }
}

/// The level below an inner node's.
fn below(level: u8) -> Result<u8> {
    level.checked_sub(1).ok_or_else(|| Error::corrupt("tree has an inner node at level 0"))
}

fn top_of(child: &Child, level: u8) -> Root {
    Root(Some(Top { level, id: child.id, count: child.count }))
}
