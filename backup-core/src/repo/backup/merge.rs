//! From what a run found out to the two trees of its snapshot.

use std::collections::VecDeque;

use async_trait::async_trait;

use super::{Findings, Run};
use crate::error::Result;
use crate::format::record::{Record, name_key};
use crate::format::snapshot::{Root, SnapshotStats};
use crate::item::ItemId;
use crate::repo::Inner;
use crate::repo::staging::{Sorted, Staging, Step};
use crate::tree::edit::{Edit, Edits, KeyEdit, apply};
use crate::tree::scan::Scan;
use crate::tree::{self, TreeKind};

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

    /// Applies the steps to both trees. `bytes` is the size of all streams before.
    pub(super) async fn merge(
        &self,
        staging: Staging,
        mode: Mode,
        items: Root,
        names: Root,
        bytes: u64,
    ) -> Result<Merged> {
        let scan = match mode {
            Mode::Full => Some(Scan::from(self.inner, TreeKind::Items, items, &[]).await?),
            _ => None,
        };
        let mut edits = ItemEdits {
            inner: self.inner,
            steps: staging.into_sorted()?,
            base: items,
            mode,
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
        Ok(next.map(|(key, step)| match step {
            Step::Put(value) => (key, Edit::Put(value)),
            Step::Remove | Step::Keep => (key, Edit::Remove),
        }))
    }
}

/// Pairs steps with the old entries, in order; yields edits of the items tree and stages those of the names tree.
struct ItemEdits<'a> {
    inner: &'a Inner,
    steps: Sorted,
    base: Root,
    mode: Mode,
    /// All old entries, in a full run.
    scan: Option<Scan<'a>>,
    old: Option<tree::Entry>,
    step: Option<(Vec<u8>, Step)>,
    names: Staging,
    stats: SnapshotStats,
}

#[async_trait]
impl Edits for ItemEdits<'_> {
    async fn next(&mut self) -> Result<Option<KeyEdit>> {
        loop {
            let Some((key, old, step)) = self.pair().await? else { return Ok(None) };
            let old = old.as_deref().map(Record::decode).transpose()?;
            let id = ItemId::from(key.as_slice());
            match (old, step) {
                (old, Step::Put(value)) => {
                    let new = Record::decode(&value)?;
                    self.rename(&id, old.as_ref(), Some(&new))?;
                    self.stats.bytes =
                        (self.stats.bytes + new.size()).saturating_sub(old.as_ref().map_or(0, Record::size));
                    match old {
                        None => self.stats.added += 1,
                        Some(_) => self.stats.changed += 1,
                    }
                    return Ok(Some((key, Edit::Put(value))));
                }
                (Some(old), Step::Remove) if self.mode != Mode::PutsOnly => {
                    self.rename(&id, Some(&old), None)?;
                    self.stats.bytes = self.stats.bytes.saturating_sub(old.size());
                    self.stats.removed += 1;
                    return Ok(Some((key, Edit::Remove)));
                }
                _ => {}
            }
        }
    }
}

impl ItemEdits<'_> {
    /// The next key with its old value and its step; in a full run an old key without a step is removed.
    async fn pair(&mut self) -> Result<Option<(Vec<u8>, Option<Vec<u8>>, Step)>> {
        if self.step.is_none() {
            self.step = self.steps.next()?;
        }
        let Some(scan) = &mut self.scan else {
            let Some((key, step)) = self.step.take() else { return Ok(None) };
            let old = tree::find(self.inner, TreeKind::Items, self.base, &key).await?;
            return Ok(Some((key, old, step)));
        };
        if self.old.is_none() {
            self.old = scan.next().await?;
        }
        let order = match (&self.old, &self.step) {
            (None, None) => return Ok(None),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(old), Some((key, _))) => old.key.cmp(key),
        };
        let old = if order.is_le() { self.old.take() } else { None };
        let step = if order.is_ge() { self.step.take() } else { None };
        Ok(match (old, step) {
            (old, Some((key, step))) => Some((key, old.map(|entry| entry.value), step)),
            (Some(old), None) => Some((old.key, Some(old.value), Step::Remove)),
            (None, None) => None,
        })
    }

    /// Stages what an item's change means for the names tree.
    fn rename(&mut self, id: &ItemId, old: Option<&Record>, new: Option<&Record>) -> Result<()> {
        let key = |record: &Record| name_key::of(record.parent.as_ref(), &record.name, id);
        let (old_key, new_key) = (old.map(key), new.map(key));
        if old_key == new_key && old.map(|record| record.kind) == new.map(|record| record.kind) {
            return Ok(());
        }
        if let Some(old_key) = old_key.filter(|old_key| Some(old_key) != new_key.as_ref()) {
            self.names.add(old_key, Step::Remove)?;
        }
        if let (Some(new_key), Some(new)) = (new_key, new) {
            self.names.add(new_key, Step::Put(new.kind.number().to_le_bytes().to_vec()))?;
        }
        Ok(())
    }
}
