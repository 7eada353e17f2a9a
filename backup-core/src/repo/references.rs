//! Everything that a snapshot refers to: nodes of its trees, chunk lists, chunks.

use std::collections::HashSet;

use super::{Inner, content};
use crate::crypto::Class;
use crate::dedup::Index;
use crate::error::Result;
use crate::format::record::Record;
use crate::format::snapshot::{Root, Snapshot};
use crate::id::ChunkId;
use crate::tree::{Entries, Node, TreeKind};

impl Inner {
    /// Visits every chunk that a snapshot needs, a node or list before what is below it. `visit` tells whether to look below: what it has seen
    /// before, in this snapshot or another one, it need not see again. Nodes and lists are read wherever `index` says.
    pub(super) async fn visit_references(
        &self,
        index: &Index,
        snapshot: &Snapshot,
        visit: &mut (impl FnMut(Class, ChunkId) -> Result<bool> + Send),
    ) -> Result<()> {
        for (tree, top) in tops(snapshot) {
            let mut open = vec![top];
            while let Some((level, id)) = open.pop() {
                if !visit(Class::Tree, id)? {
                    continue;
                }
                match self.node_by(index, tree, level, id).await?.entries {
                    Entries::Inner(children) => {
                        open.extend(children.iter().rev().map(|child| (level.saturating_sub(1), child.id)));
                    }
                    Entries::Leaf(entries) if tree == TreeKind::Items => {
                        for entry in entries {
                            let record = Record::decode(&entry.value)?;
                            let streams = record.streams.iter().map(|(_, content)| content);
                            for content in streams.chain(&record.details) {
                                let found =
                                    |class, chunk: crate::format::record::ChunkRef| visit(class, chunk.id);
                                content::chunks(self, index, content, found).await?;
                            }
                        }
                    }
                    Entries::Leaf(_) => {}
                }
            }
        }
        Ok(())
    }

    /// The nodes of a snapshot's trees. Reads those that have others below them, about one in a hundred.
    pub(super) async fn nodes_of(&self, index: &Index, snapshot: &Snapshot) -> Result<HashSet<ChunkId>> {
        let mut nodes = HashSet::new();
        for (tree, top) in tops(snapshot) {
            let mut open = vec![top];
            while let Some((level, id)) = open.pop() {
                if nodes.insert(id)
                    && level > 0
                    && let Entries::Inner(children) = self.node_by(index, tree, level, id).await?.entries
                {
                    open.extend(children.iter().map(|child| (level.saturating_sub(1), child.id)));
                }
            }
        }
        Ok(nodes)
    }

    async fn node_by(&self, index: &Index, tree: TreeKind, level: u8, id: ChunkId) -> Result<Node> {
        Node::decode(tree, level, &self.chunk_by(index, Class::Tree, id).await?)
    }
}

fn tops(snapshot: &Snapshot) -> impl Iterator<Item = (TreeKind, (u8, ChunkId))> {
    let top = |tree, root: &Root| root.0.as_ref().map(|top| (tree, (top.level, top.id)));
    [top(TreeKind::Items, &snapshot.items), top(TreeKind::Names, &snapshot.names)].into_iter().flatten()
}
