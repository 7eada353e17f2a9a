//! What differs between two snapshots, item by item.

use std::fmt;

use super::Browser;
use crate::error::Result;
use crate::format::record::Record;
use crate::item::{Item, ItemId};
use crate::tree::diff::Diff;
use crate::tree::{self, Entry, TreeKind};

/// One item that differs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Difference {
    /// Only the later snapshot has it.
    Added(Box<Item>),
    /// Only the earlier snapshot has it.
    Removed(Box<Item>),
    /// Both have it, in different states.
    Changed {
        /// As the earlier snapshot has it.
        before: Box<Item>,
        /// As the later snapshot has it.
        after: Box<Item>,
        /// Whether the bytes of a stream differ; else it was renamed, moved, or its attributes changed.
        content: bool,
    },
}

/// The differences between two snapshots, in order of item ids; see [`Repository::diff`](super::Repository::diff).
pub struct Differences {
    before: Browser,
    after: Browser,
    diff: Diff,
}

impl Differences {
    pub(super) fn new(before: Browser, after: Browser) -> Self {
        let diff = Diff::new(TreeKind::Items, before.snapshot.items, after.snapshot.items);
        Self { before, after, diff }
    }

    /// The next difference. Reads only nodes that differ.
    ///
    /// # Errors
    /// Damage, or what the store reports.
    pub async fn next(&mut self) -> Result<Option<Difference>> {
        let Some(tree::diff::Difference { before: old, after: new }) =
            self.diff.next(&*self.before.inner).await?
        else {
            return Ok(None);
        };
        let old = Self::item(&self.before, old).await?;
        let new = Self::item(&self.after, new).await?;
        Ok(match (old, new) {
            (None, Some((item, _))) => Some(Difference::Added(Box::new(item))),
            (Some((item, _)), None) => Some(Difference::Removed(Box::new(item))),
            (Some((before, old)), Some((after, new))) => {
                let content = old.streams != new.streams;
                Some(Difference::Changed { before: Box::new(before), after: Box::new(after), content })
            }
            (None, None) => None,
        })
    }

    /// All that is left.
    ///
    /// # Errors
    /// Damage, or what the store reports.
    pub async fn collect(mut self) -> Result<Vec<Difference>> {
        let mut all = Vec::new();
        while let Some(difference) = self.next().await? {
            all.push(difference);
        }
        Ok(all)
    }

    async fn item(browser: &Browser, entry: Option<Entry>) -> Result<Option<(Item, Record)>> {
        let Some(entry) = entry else { return Ok(None) };
        let record = Record::decode(&entry.value)?;
        let item = browser.to_item(ItemId::from(&*entry.key), &record).await?;
        Ok(Some((item, record)))
    }
}

impl fmt::Debug for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Differences")
            .field("before", &self.before)
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}
