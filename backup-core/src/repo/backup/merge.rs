//! From what a run found out to the two trees of its snapshot.

use std::collections::VecDeque;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Findings, Run};
use crate::error::Result;
use crate::format::record::{Outline, name_key};
use crate::format::snapshot::{Root, SnapshotStats};
use crate::item::ItemId;
use crate::repo::staging::{Sorted, Staged, Staging, Step};
use crate::tree::edit::{Edit, Edits, KeyEdit, apply};
use crate::tree::marks::Marks;
use crate::tree::scan::Scan;
use crate::tree::{Entry, Finder, TreeKind};

/// How steps relate to the tree that they are applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// What has no step is gone.
    Full,
    /// What has no step stays.
    Delta,
    /// Only what was found is taken over; nothing goes.
    PutsOnly,
}

/// The trees of a new snapshot.
pub(super) struct Merged {
    pub(super) items: Root,
    pub(super) names: Root,
    pub(super) stats: SnapshotStats,
}

impl Run<'_> {
    /// Stages what follows for the descendants of removed and unreadable containers.
    pub(super) async fn stage_subtrees(&self, findings: &mut Findings) -> Result<()> {
        let mut open: VecDeque<(ItemId, Step)> = findings.subtrees.drain(..).collect();
        while let Some((id, step)) = open.pop_front() {
            let prefix = name_key::below(Some(&id));
            let mut scan = Scan::from(self.inner, TreeKind::Names, self.bases.names(), &prefix).await?;
            while let Some(entry) = scan.next_below(&prefix).await? {
                let child = name_key::item_id(&entry.key, &prefix)?;
                // It has been moved elsewhere.
                if findings.named.get(&child).is_some_and(|parent| parent.as_ref() != Some(&id)) {
                    continue;
                }
                findings.staging.add_weak(child.as_bytes().to_vec(), step.clone())?;
                open.push_back((child, step.clone()));
            }
        }
        Ok(())
    }

    /// Applies the steps to both trees; `named` are entries of `items` that stay if there is no step for them. `bytes` is the size of all streams
    /// before.
    pub(super) async fn merge(
        &self,
        staging: Staging,
        named: Marks,
        mode: Mode,
        items: Root,
        names: Root,
        bytes: u64,
    ) -> Result<Merged> {
        self.session.end_data().await?;
        let scan = match mode {
            Mode::Full => Some(Scan::from(self.inner, TreeKind::Items, items, &[]).await?),
            _ => None,
        };
        let mut edits = ItemEdits {
            steps: staging.into_sorted()?,
            base: Finder::new(self.inner, TreeKind::Items, items),
            mode,
            named,
            scan,
            old: None,
            step: None,
            names: Staging::default(),
            stats: SnapshotStats { bytes, ..SnapshotStats::default() },
        };
        let boundary = self.session.boundary();
        let new_items = apply(self.inner, self.session, boundary, TreeKind::Items, items, &mut edits).await?;
        let ItemEdits { names: staged, mut stats, .. } = edits;
        let mut edits = NameEdits(staged.into_sorted()?);
        let new_names = apply(self.inner, self.session, boundary, TreeKind::Names, names, &mut edits).await?;
        stats.items = new_items.count();
        Ok(Merged { items: new_items, names: new_names, stats })
    }
}

/// Staged steps of the names tree.
struct NameEdits(Sorted);

#[async_trait]
impl Edits for NameEdits {
    async fn next(&mut self) -> Result<Option<KeyEdit>> {
        let next = self.0.next()?;
        Ok(next.map(|(key, staged)| match staged.step {
            Step::Put(value) => (key, Edit::Put(value)),
            Step::Remove | Step::Keep => (key, Edit::Remove),
        }))
    }
}

/// Pairs steps with the old entries, in order; yields edits of the items tree and stages those of the names tree.
struct ItemEdits<'a> {
    steps: Sorted,
    base: Finder<'a>,
    mode: Mode,
    named: Marks,
    /// The old entries that were not named, in a full run.
    scan: Option<Scan<'a>>,
    old: Option<Entry>,
    step: Option<(Vec<u8>, Staged)>,
    names: Staging,
    stats: SnapshotStats,
}

#[async_trait]
impl Edits for ItemEdits<'_> {
    async fn next(&mut self) -> Result<Option<KeyEdit>> {
        loop {
            let Some((key, old, step)) = self.pair().await? else { return Ok(None) };
            if step == Step::Keep {
                continue;
            }
            let old = old.as_deref().map(Outline::of).transpose()?;
            let id = ItemId::from(key.as_slice());
            match (old, step) {
                (old, Step::Put(value)) => {
                    let new = Outline::of(&value)?;
                    self.rename(&id, old.as_ref(), Some(&new))?;
                    let bytes = self.stats.bytes + new.size;
                    self.stats.bytes = bytes.saturating_sub(old.map_or(0, |old| old.size));
                    match old {
                        None => self.stats.added += 1,
                        Some(_) => self.stats.changed += 1,
                    }
                    return Ok(Some((key, Edit::Put(value))));
                }
                (Some(old), Step::Remove) if self.mode != Mode::PutsOnly => {
                    self.rename(&id, Some(&old), None)?;
                    self.stats.bytes = self.stats.bytes.saturating_sub(old.size);
                    self.stats.removed += 1;
                    return Ok(Some((key, Edit::Remove)));
                }
                _ => {}
            }
        }
    }
}

impl ItemEdits<'_> {
    /// The next key with its old value and its step; in a full run an old key that was not named is removed.
    async fn pair(&mut self) -> Result<Option<(Vec<u8>, Option<Bytes>, Step)>> {
        if self.step.is_none() {
            self.step = self.steps.next()?;
        }
        if let Some(scan) = &mut self.scan
            && self.old.is_none()
        {
            self.old = scan.next_unmarked(&self.named).await?;
        }
        let comes_first = |(key, _): &(Vec<u8>, Staged)| self.old.as_ref().is_none_or(|old| *key < old.key);
        let Some((key, Staged { step, weak })) = self.step.take_if(|step| comes_first(step)) else {
            let Some(old) = self.old.take() else { return Ok(None) };
            let step =
                self.step.take_if(|(key, _)| *key == old.key).map_or(Step::Remove, |(_, staged)| staged.step);
            return Ok(Some((old.key.to_vec(), Some(old.value), step)));
        };
        let old = self.base.find(&key).await?;
        // An item that was named is there, whatever became of what contained it.
        let stays = weak && old.is_some_and(|old| self.named.has(old.rank));
        let step = if stays { Step::Keep } else { step };
        Ok(Some((key, old.map(|old| old.value.clone()), step)))
    }

    /// Stages what an item's change means for the names tree.
    fn rename(&mut self, id: &ItemId, old: Option<&Outline<'_>>, new: Option<&Outline<'_>>) -> Result<()> {
        if old.map(Outline::place) == new.map(Outline::place) {
            return Ok(());
        }
        let (old_key, new_key) = (old.map(|old| old.name_key(id)), new.map(|new| new.name_key(id)));
        if let Some(old_key) = old_key.filter(|old_key| Some(old_key) != new_key.as_ref()) {
            self.names.add(old_key, Step::Remove)?;
        }
        if let (Some(new_key), Some(new)) = (new_key, new) {
            self.names.add(new_key, Step::Put(new.kind.number().to_le_bytes().to_vec()))?;
        }
        Ok(())
    }
}
