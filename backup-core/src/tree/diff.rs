//! What differs between two trees; equal subtrees are never read.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;

use super::{Child, Entries, Entry, Node, NodeSource, TreeKind, below};
use crate::error::Result;
use crate::format::snapshot::Root;

/// One key that differs: the entry before, the entry after, at least one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) before: Option<Entry>,
    pub(crate) after: Option<Entry>,
}

/// Walks two trees side by side in key order.
pub(crate) struct Diff {
    tree: TreeKind,
    before: Side,
    after: Side,
}

/// What comes next on one side.
enum Front {
    End,
    Subtree { level: u8, child: Child },
    Entry(Entry),
}

/// One tree's walk. The top of the stack is where it is.
struct Side {
    stack: Vec<(Arc<Node>, usize)>,
    /// The whole tree, until it is opened.
    root: Option<(u8, Child)>,
}

impl Diff {
    pub(crate) fn new(tree: TreeKind, before: Root, after: Root) -> Self {
        Self { tree, before: Side::new(before), after: Side::new(after) }
    }

    /// The next difference; `source` has the nodes of both trees.
    pub(crate) async fn next(&mut self, source: &dyn NodeSource) -> Result<Option<Difference>> {
        loop {
            let (before, after) = (self.before.front()?, self.after.front()?);
            match (before, after) {
                (Front::End, Front::End) => return Ok(None),
                (Front::Subtree { level: a, child: old }, Front::Subtree { level: b, child: new }) => {
                    if a == b && old.id == new.id {
                        self.before.skip();
                        self.after.skip();
                    } else {
                        // The higher one is opened first, so that equal subtrees meet at their own level.
                        if a >= b {
                            self.before.open(source, self.tree, a, &old).await?;
                        }
                        if b >= a {
                            self.after.open(source, self.tree, b, &new).await?;
                        }
                    }
                }
                (Front::Subtree { level, child }, _) => {
                    self.before.open(source, self.tree, level, &child).await?
                }
                (_, Front::Subtree { level, child }) => {
                    self.after.open(source, self.tree, level, &child).await?
                }
                (Front::Entry(old), Front::End) => {
                    self.before.skip();
                    return Ok(Some(Difference { before: Some(old), after: None }));
                }
                (Front::End, Front::Entry(new)) => {
                    self.after.skip();
                    return Ok(Some(Difference { before: None, after: Some(new) }));
                }
                (Front::Entry(old), Front::Entry(new)) => match old.key.cmp(&new.key) {
                    Ordering::Less => {
                        self.before.skip();
                        return Ok(Some(Difference { before: Some(old), after: None }));
                    }
                    Ordering::Greater => {
                        self.after.skip();
                        return Ok(Some(Difference { before: None, after: Some(new) }));
                    }
                    Ordering::Equal => {
                        self.before.skip();
                        self.after.skip();
                        if old.value != new.value {
                            return Ok(Some(Difference { before: Some(old), after: Some(new) }));
                        }
                    }
                },
            }
        }
    }
}

impl Side {
    fn new(root: Root) -> Self {
        let root =
            root.0.map(|top| (top.level, Child { last_key: Bytes::new(), id: top.id, count: top.count }));
        Self { stack: Vec::new(), root }
    }

    fn front(&mut self) -> Result<Front> {
        if let Some((level, child)) = &self.root {
            return Ok(Front::Subtree { level: *level, child: child.clone() });
        }
        while let Some((node, at)) = self.stack.last() {
            match &node.entries {
                Entries::Leaf(entries) => {
                    if let Some(entry) = entries.get(*at) {
                        return Ok(Front::Entry(entry.clone()));
                    }
                }
                Entries::Inner(children) => {
                    if let Some(child) = children.get(*at) {
                        return Ok(Front::Subtree { level: below(node.level)?, child: child.clone() });
                    }
                }
            }
            self.stack.pop();
        }
        Ok(Front::End)
    }

    fn skip(&mut self) {
        if self.root.take().is_none()
            && let Some((_, at)) = self.stack.last_mut()
        {
            *at += 1;
        }
    }

    async fn open(
        &mut self,
        source: &dyn NodeSource,
        tree: TreeKind,
        level: u8,
        child: &Child,
    ) -> Result<()> {
        self.skip();
        self.stack.push((source.node(tree, level, child.id).await?, 0));
        Ok(())
    }
}
