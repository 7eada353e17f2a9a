//! Entries of a tree in order, from a key on.

use std::sync::Arc;

use super::{Entries, Entry, Node, NodeSource, TreeKind, below};
use crate::error::{Error, Result};
use crate::format::snapshot::Root;

/// Walks the entries whose keys are at or after a start, one node per level in memory.
pub(crate) struct Scan<'a> {
    source: &'a dyn NodeSource,
    tree: TreeKind,
    stack: Vec<(Arc<Node>, usize)>,
    /// The way to the start could not be read: said by the first step, which the next one may be behind of.
    failed: Option<Error>,
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
        let mut node = match source.node(tree, top.level, top.id).await {
            Ok(node) => node,
            Err(error) => {
                scan.failed = Some(error);
                return Ok(scan);
            }
        };
        loop {
            match &node.entries {
                Entries::Leaf(entries) => {
                    let at = entries.partition_point(|entry| entry.key.as_slice() < start);
                    scan.stack.push((node, at));
                    return Ok(scan);
                }
                Entries::Inner(children) => {
                    let at = children.partition_point(|child| child.last_key.as_slice() < start);
                    let next = children.get(at).map(|child| child.id);
                    let level = below(node.level)?;
                    scan.stack.push((node, at + 1));
                    match next {
                        Some(id) => match source.node(tree, level, id).await {
                            Ok(found) => node = found,
                            Err(error) => {
                                scan.failed = Some(error);
                                return Ok(scan);
                            }
                        },
                        None => return Ok(scan),
                    }
                }
            }
        }
    }

    /// The next entry. After an error that a node could not be read, the next call goes on behind that node.
    pub(crate) async fn next(&mut self) -> Result<Option<Entry>> {
        Ok(self.step().await?.cloned())
    }

    /// The next entry if its key begins with `prefix`.
    pub(crate) async fn next_below(&mut self, prefix: &[u8]) -> Result<Option<&Entry>> {
        Ok(self.step().await?.filter(|entry| entry.key.starts_with(prefix)))
    }

    async fn step(&mut self) -> Result<Option<&Entry>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        while let Some((node, at)) = self.stack.last_mut() {
            let position = *at;
            *at += 1;
            let child = match &node.entries {
                Entries::Leaf(entries) if position < entries.len() => break,
                Entries::Leaf(_) => None,
                Entries::Inner(children) => children.get(position).map(|child| child.id),
            };
            match child {
                Some(id) => {
                    let level = below(node.level)?;
                    let node = self.source.node(self.tree, level, id).await?;
                    self.stack.push((node, 0));
                }
                None => drop(self.stack.pop()),
            }
        }
        Ok(self.stack.last().and_then(|(node, at)| match &node.entries {
            Entries::Leaf(entries) => entries.get(at.checked_sub(1)?),
            Entries::Inner(_) => None,
        }))
    }
}
