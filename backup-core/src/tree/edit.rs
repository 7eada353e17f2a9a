//! Applies sorted changes to a tree: reads and writes O(changes · log n) nodes.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;

use super::build::Builder;
use super::{Boundary, Child, Entries, Entry, Node, NodeSink, NodeSource, TreeKind, below};
use crate::error::Result;
use crate::format::snapshot::Root;

/// What is to become of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// The key gets this value.
    Put(Vec<u8>),
    /// The key goes.
    Remove,
}

/// A key and its edit.
pub(crate) type KeyEdit = (Vec<u8>, Edit);

/// Where edits come from.
#[async_trait]
pub(crate) trait Edits: Send {
    /// The next edit, in ascending order of keys, each key once.
    async fn next(&mut self) -> Result<Option<KeyEdit>>;
}

/// The tree with `edits` applied. Subtrees without edits are taken over unread.
///
/// Boxed by hand: the compiler cannot prove an `async fn` with these borrows to be `Send` (rust-lang/rust#110338).
pub(crate) fn apply<'a>(
    source: &'a dyn NodeSource,
    sink: &'a dyn NodeSink,
    boundary: &'a Boundary,
    tree: TreeKind,
    root: Root,
    edits: &'a mut dyn Edits,
) -> BoxFuture<'a, Result<Root>> {
    Box::pin(async move { edit(source, sink, boundary, tree, root, edits).await })
}

async fn edit(
    source: &dyn NodeSource,
    sink: &dyn NodeSink,
    boundary: &Boundary,
    tree: TreeKind,
    root: Root,
    edits: &mut dyn Edits,
) -> Result<Root> {
    let mut editor = Editor { builder: Builder::new(tree, boundary, sink), next: edits.next().await?, edits };
    if let Some(top) = root.0 {
        let mut stack =
            vec![Level { node: source.node(tree, top.level, top.id).await?, at: 0, rightmost: true }];
        while let Some(level) = stack.last_mut() {
            let node = Arc::clone(&level.node);
            match &node.entries {
                Entries::Leaf(entries) => {
                    for entry in entries {
                        editor.merge(entry).await?;
                    }
                    stack.pop();
                }
                Entries::Inner(children) => {
                    let Some(child) = children.get(level.at) else {
                        stack.pop();
                        continue;
                    };
                    level.at += 1;
                    let child_level = below(node.level)?;
                    let rightmost = level.rightmost && level.at == children.len();
                    if !editor.take_over(child_level, child, rightmost).await? {
                        let node = source.node(tree, child_level, child.id).await?;
                        stack.push(Level { node, at: 0, rightmost });
                    }
                }
            }
        }
    }
    while editor.next.is_some() {
        editor.put_next().await?;
    }
    editor.builder.finish(source).await
}

struct Level {
    node: Arc<Node>,
    at: usize,
    /// Nothing of the old tree lies to the right, so the node need not end at a boundary.
    rightmost: bool,
}

struct Editor<'a> {
    builder: Builder<'a>,
    edits: &'a mut dyn Edits,
    next: Option<KeyEdit>,
}

impl Editor<'_> {
    /// Takes an old node over if nothing in it changes and the new tree has a node beginning just here.
    async fn take_over(&mut self, level: u8, child: &Child, rightmost: bool) -> Result<bool> {
        let changes = self.next.as_ref().is_some_and(|(key, _)| *key <= child.last_key);
        if rightmost || changes || !self.builder.is_aligned(level) {
            return Ok(false);
        }
        self.builder.take_over(level, child).await?;
        Ok(true)
    }

    /// Handles one old entry: edits before it, then itself or the edit that concerns it.
    async fn merge(&mut self, entry: &Entry) -> Result<()> {
        while self.next.as_ref().is_some_and(|(key, _)| *key < entry.key) {
            self.put_next().await?;
        }
        if self.next.as_ref().is_some_and(|(key, _)| *key == entry.key) {
            self.put_next().await
        } else {
            self.builder.push(&entry.key, &entry.value).await
        }
    }

    async fn put_next(&mut self) -> Result<()> {
        let following = self.edits.next().await?;
        match std::mem::replace(&mut self.next, following) {
            Some((key, Edit::Put(value))) => self.builder.push(&key, &value).await,
            _ => Ok(()),
        }
    }
}
