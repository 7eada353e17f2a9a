//! What a restore has to bring back so that nothing of what happened between two snapshots remains lost.

use std::collections::HashSet;

use super::Browser;
use crate::error::Result;
use crate::format::record::Record;
use crate::item::ItemId;
use crate::tree::TreeKind;
use crate::tree::diff::{Diff, Difference};

/// Items of the earlier snapshot that the later one has not, or has otherwise. Memory grows with the number of changes.
pub(super) struct Undo {
    items: HashSet<ItemId>,
    /// Containers that were renamed, moved or removed: what lies below them is lost with their path.
    whole: HashSet<ItemId>,
}

impl Undo {
    /// Compares the items of two snapshots. Reads only what differs.
    pub(super) async fn between(before: &Browser, after: &Browser) -> Result<Self> {
        let mut undo = Self { items: HashSet::new(), whole: HashSet::new() };
        let mut diff = Diff::new(TreeKind::Items, before.snapshot.items, after.snapshot.items);
        while let Some(Difference { before: old, after: new }) = diff.next(&*before.inner).await? {
            // What was added since is no loss.
            let Some(old) = old else { continue };
            let (id, old) = (ItemId::from(&*old.key), Record::decode(&old.value)?);
            let new = new.map(|new| Record::decode(&new.value)).transpose()?;
            let elsewhere = new.is_none_or(|new| new.parent != old.parent || new.name != old.name);
            if elsewhere && old.kind.is_container() {
                undo.whole.insert(id.clone());
            }
            undo.items.insert(id);
        }
        Ok(undo)
    }

    /// Whether the item itself is to be brought back.
    pub(super) fn wants(&self, id: &ItemId) -> bool {
        self.items.contains(id)
    }

    /// Whether all that lies below the item is to be brought back, changed or not.
    pub(super) fn wants_all_below(&self, id: &ItemId) -> bool {
        self.whole.contains(id)
    }
}
