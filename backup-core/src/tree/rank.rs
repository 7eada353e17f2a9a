//! The n-th entry of a tree, found by the numbers of entries that inner nodes have.

use super::{Entries, Entry, NodeSource, TreeKind, below};
use crate::error::{Error, Result};
use crate::format::snapshot::Root;

/// The entry with this many others before it; reads one node per level. None behind the end.
///
/// # Errors
/// `Corrupt` if nodes do not hold as many entries as those above them say.
pub(crate) async fn nth(
    source: &dyn NodeSource,
    tree: TreeKind,
    root: Root,
    number: u64,
) -> Result<Option<Entry>> {
    let Some(top) = root.0.filter(|top| number < top.count) else { return Ok(None) };
    let fewer = || Error::corrupt("a tree node has fewer entries below it than the one above says");
    let (mut node, mut before) = (source.node(tree, top.level, top.id).await?, number);
    loop {
        let next = match &node.entries {
            Entries::Leaf(entries) => {
                let at = usize::try_from(before).ok().and_then(|at| entries.get(at));
                return at.cloned().map(Some).ok_or_else(fewer);
            }
            Entries::Inner(children) => children.iter().find(|child| {
                let is_there = before < child.count;
                if !is_there {
                    before -= child.count;
                }
                is_there
            }),
        };
        let id = next.ok_or_else(fewer)?.id;
        node = source.node(tree, below(node.level)?, id).await?;
    }
}
