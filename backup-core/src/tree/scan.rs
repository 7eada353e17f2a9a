//! Entries of a tree in order, from a key on.

use std::sync::Arc;

use super::marks::Marks;
use super::{Entries, Entry, Node, NodeSource, TreeKind, below};
use crate::error::{Error, Result};
use crate::format::snapshot::Root;

/// Walks the entries whose keys are at or after a start, one node per level in memory.
pub(crate) struct Scan<'a> {
    source: &'a dyn NodeSource,
    tree: TreeKind,
    stack: Vec<Place>,
    /// The way to the start could not be read: said by the first step, which the next one may be behind of.
    failed: Option<Error>,
}

/// Where a scan is in one node.
struct Place {
    node: Arc<Node>,
    at: usize,
    /// Entries of the tree before what comes next here, as inner nodes say.
    rank: u64,
}

impl<'a> Scan<'a> {
    /// Begins at the first key that is not below `start`. What cannot be read on the way there is the error of the first step.
    pub(crate) async fn from(
        source: &'a dyn NodeSource,
        tree: TreeKind,
        root: Root,
        start: &[u8],
    ) -> Result<Self> {
        let mut scan = Self { source, tree, stack: Vec::new(), failed: None };
        let Some(top) = root.0 else { return Ok(scan) };
        let (mut next, mut rank) = (source.node(tree, top.level, top.id).await, 0u64);
        loop {
            let node = match next {
                Ok(node) => node,
                Err(error) => {
                    scan.failed = Some(error);
                    return Ok(scan);
                }
            };
            match &node.entries {
                Entries::Leaf(entries) => {
                    let at = entries.partition_point(|entry| &entry.key[..] < start);
                    scan.stack.push(Place { node, at, rank: rank.saturating_add(at as u64) });
                    return Ok(scan);
                }
                Entries::Inner(children) => {
                    let at = children.partition_point(|child| &child.last_key[..] < start);
                    let passed = children.iter().take(at).map(|child| child.count);
                    rank = passed.fold(rank, u64::saturating_add);
                    let child = children.get(at).map(|child| (child.id, child.count));
                    let level = below(node.level)?;
                    let behind = rank.saturating_add(child.map_or(0, |(_, count)| count));
                    scan.stack.push(Place { node, at: at + 1, rank: behind });
                    let Some((id, _)) = child else { return Ok(scan) };
                    next = source.node(tree, level, id).await;
                }
            }
        }
    }

    /// The next entry. After an error that a node could not be read, the next call goes on behind that node.
    pub(crate) async fn next(&mut self) -> Result<Option<Entry>> {
        Ok(self.step(None).await?.cloned())
    }

    /// The next entry if its key begins with `prefix`.
    pub(crate) async fn next_below(&mut self, prefix: &[u8]) -> Result<Option<&Entry>> {
        Ok(self.step(None).await?.filter(|entry| entry.key.starts_with(prefix)))
    }

    /// The next entry without a mark; nodes all of whose entries are marked are not read.
    pub(crate) async fn next_unmarked(&mut self, marks: &Marks) -> Result<Option<Entry>> {
        Ok(self.step(Some(marks)).await?.cloned())
    }

    async fn step(&mut self, marks: Option<&Marks>) -> Result<Option<&Entry>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        while let Some(place) = self.stack.last_mut() {
            let (at, rank) = (place.at, place.rank);
            let (child, count) = match &place.node.entries {
                Entries::Leaf(entries) if at < entries.len() => (None, 1),
                Entries::Inner(children) if at < children.len() => {
                    let child = children.get(at);
                    (child.map(|child| child.id), child.map_or(0, |child| child.count))
                }
                _ => {
                    self.stack.pop();
                    continue;
                }
            };
            place.at += 1;
            place.rank = rank.saturating_add(count);
            if marks.is_some_and(|marks| marks.cover(rank..place.rank)) {
                continue;
            }
            let Some(id) = child else { break };
            let level = below(place.node.level)?;
            let node = self.source.node(self.tree, level, id).await?;
            self.stack.push(Place { node, at: 0, rank });
        }
        Ok(self.stack.last().and_then(|place| match &place.node.entries {
            Entries::Leaf(entries) => entries.get(place.at.checked_sub(1)?),
            Entries::Inner(_) => None,
        }))
    }
}
