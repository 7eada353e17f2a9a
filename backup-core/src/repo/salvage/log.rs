//! What is left of the log, folded.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};

use super::{READS, SalvageReport};
use crate::crypto::ObjectName;
use crate::error::{Error, ErrorKind, Result};
use crate::format::log::{Checkpoint, Event, LogEntry, RepoConfig, SnapshotRef};
use crate::id::{ObjectHash, RepoId, SnapshotId};
use crate::limits;
use crate::repo::log::State;
use crate::repo::{Head, Inner};

/// Entries that a listing does not show are asked for by name at this many numbers after each one that it does.
const UNLISTED_MAX: u64 = 16;

/// An entry and the hash of its object.
type Read = (LogEntry, ObjectHash);

/// What could be read.
#[derive(Default)]
struct Left {
    entries: BTreeMap<u64, Read>,
    checkpoints: BTreeMap<u64, Checkpoint>,
    /// Numbers of what is there, or is said to be, and does not read.
    unreadable: Vec<u64>,
}

impl Inner {
    /// The state as far as the log says it, without an index, and what it leaves in doubt.
    pub(super) async fn salvage_log(
        &self,
        known: Option<Head>,
        report: &mut SalvageReport,
    ) -> Result<(State, Doubts)> {
        let left = self.read_what_is_left(report).await?;
        report.log_entries = left.entries.len() as u64;
        report.checkpoints = left.checkpoints.len() as u64;
        let hashes: BTreeMap<u64, ObjectHash> = left
            .checkpoints
            .iter()
            .map(|(number, checkpoint)| (*number, checkpoint.head))
            .chain(left.entries.iter().map(|(number, (_, hash))| (*number, *hash)))
            .collect();
        let mut fold = Fold::new(self);
        fold.all(left, report)?;
        let Fold { state, mut whole, begun, mut doubts, .. } = fold;
        if let Some(known) = known {
            let reached = hashes.get(&known.number) == Some(&known.hash);
            report.known_head_reached = Some(reached);
            whole &= reached;
            if !reached {
                let message = if hashes.contains_key(&known.number) {
                    "log entry is not the one that has been seen before"
                } else {
                    "log entry, which has been seen before, does not read"
                };
                report.lost(ObjectName::Log(known.number), Error::new(ErrorKind::RolledBack, message))?;
            }
        }
        report.log_complete = whole && begun;
        report.head = begun.then_some(state.head);
        if report.known_head_reached == Some(false) {
            doubts.perhaps_removed.extend(state.snapshots.iter().map(SnapshotRef::id));
        }
        Ok((state, doubts))
    }

    async fn read_what_is_left(&self, report: &mut SalvageReport) -> Result<Left> {
        let mut left = Left::default();
        let read = |number| -> BoxFuture<'_, (u64, Result<Checkpoint>)> {
            Box::pin(async move { (number, self.read_checkpoint(number).await) })
        };
        let mut reads =
            stream::iter(self.listed_numbers("checkpoint").await?.into_iter().map(read)).buffered(READS);
        while let Some((number, read)) = reads.next().await {
            match read {
                Ok(checkpoint) => drop(left.checkpoints.insert(number, checkpoint)),
                Err(error) => report.lost(ObjectName::Checkpoint(number), error)?,
            }
        }
        let mut listed = self.listed_numbers("log").await?;
        listed.retain(|number| *number <= limits::LOG_NUMBER_MAX);
        self.read_entries(listed.clone(), true, &mut left, report).await?;
        // A listing is a hint: what it does not show may be there.
        let starts = std::iter::once(0).chain(listed.iter().map(|number| number.saturating_add(1)));
        for start in starts {
            let next = listed.get(listed.partition_point(|number| *number < start)).copied();
            let mut end = start.saturating_add(UNLISTED_MAX).min(next.unwrap_or(u64::MAX));
            if next.is_none() {
                // Behind the last one the log goes on for as long as there are entries. Not for ever, if a store makes them up.
                let (mut number, mut made_up) = (start, 0);
                while number <= limits::LOG_NUMBER_MAX
                    && made_up < UNLISTED_MAX
                    && self.read_entries(vec![number], false, &mut left, report).await?
                {
                    made_up = if left.entries.contains_key(&number) { 0 } else { made_up + 1 };
                    number += 1;
                }
                end = start;
            }
            self.read_entries((start..end).collect(), false, &mut left, report).await?;
        }
        Ok(left)
    }

    /// Reads some entries; whether the last one is there. What is `listed` and gone is a loss; gaps are found later.
    async fn read_entries(
        &self,
        numbers: Vec<u64>,
        listed: bool,
        left: &mut Left,
        report: &mut SalvageReport,
    ) -> Result<bool> {
        let read = |number| -> BoxFuture<'_, (u64, Result<Option<Read>>)> {
            Box::pin(async move { (number, self.read_log(number).await) })
        };
        let mut reads = stream::iter(numbers.into_iter().map(read)).buffered(READS);
        let mut there = false;
        while let Some((number, read)) = reads.next().await {
            there = true;
            match read {
                Ok(Some(read)) => drop(left.entries.insert(number, read)),
                Ok(None) if !listed => there = false,
                Ok(None) => {
                    left.unreadable.push(number);
                    report.lost(ObjectName::Log(number), gone())?;
                }
                Err(error) => {
                    left.unreadable.push(number);
                    report.lost(ObjectName::Log(number), error)?;
                }
            }
        }
        Ok(there)
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Missing, "a log entry is gone")
}

/// Takes entries and checkpoints in order, over gaps.
struct Fold {
    id: RepoId,
    state: State,
    /// The number that comes next.
    next: u64,
    /// Nothing before `next` is missing that counts.
    whole: bool,
    /// Something has been taken.
    begun: bool,
    doubts: Doubts,
}

/// What the log says of snapshots that are not simply there.
#[derive(Default)]
pub(super) struct Doubts {
    /// Those that it says were removed.
    pub(super) removed: HashSet<SnapshotId>,
    /// Those of which an entry that is lost may have said so.
    pub(super) perhaps_removed: HashSet<SnapshotId>,
}

impl Fold {
    fn new(inner: &Inner) -> Self {
        let mut state = State::empty();
        state.config = RepoConfig::new(inner.id);
        Self { id: inner.id, state, next: 0, whole: true, begun: false, doubts: Doubts::default() }
    }

    fn all(&mut self, mut left: Left, report: &mut SalvageReport) -> Result<()> {
        let mut numbers: Vec<u64> = left.entries.keys().chain(left.checkpoints.keys()).copied().collect();
        numbers.extend(&left.unreadable);
        numbers.sort_unstable();
        numbers.dedup();
        let unreadable: HashSet<u64> = left.unreadable.iter().copied().collect();
        for number in numbers {
            if number > self.next {
                self.break_off();
                let error = if number == self.next + 1 {
                    gone()
                } else {
                    let message = format!("{} log entries from here on are gone", number - self.next);
                    Error::new(ErrorKind::Missing, message)
                };
                report.lost(ObjectName::Log(self.next), error)?;
            }
            match left.entries.remove(&number) {
                Some((entry, hash)) => self.entry(entry, hash, report)?,
                None => {
                    self.break_off();
                    if !unreadable.contains(&number) {
                        report.lost(ObjectName::Log(number), gone())?;
                    }
                }
            }
            if let Some(checkpoint) = left.checkpoints.remove(&number) {
                self.checkpoint(checkpoint, report)?;
            }
            self.next = number.saturating_add(1);
        }
        for object in self.state.gone.iter() {
            if let ObjectName::Snapshot(id) = object {
                self.doubts.removed.insert((*id).into());
            }
        }
        let there: HashSet<SnapshotId> = self.state.snapshots.iter().map(SnapshotRef::id).collect();
        self.doubts.removed.retain(|id| !there.contains(id));
        Ok(())
    }

    /// Something is missing here: whatever is known so far may have been removed by it.
    fn break_off(&mut self) {
        self.whole = false;
        self.doubts.perhaps_removed.extend(self.state.snapshots.iter().map(SnapshotRef::id));
    }

    fn entry(&mut self, entry: LogEntry, hash: ObjectHash, report: &mut SalvageReport) -> Result<()> {
        let (number, follows) = (entry.number, self.begun && self.whole);
        match entry.event {
            Event::Genesis(config) if number == 0 && config.repo == self.id => {
                self.state.config = config;
                self.state.head = Head { number, hash };
            }
            Event::Genesis(_) => {
                self.break_off();
                let error = Error::corrupt("log has a second genesis, or another repository's");
                return report.lost(ObjectName::Log(number), error);
            }
            _ => {
                if follows && entry.previous != self.state.head.hash {
                    // Both are genuine: somebody has written two histories, and the store shows parts of each.
                    self.break_off();
                    let error = Error::corrupt("log entry does not follow the one before it");
                    report.lost(ObjectName::Log(number), error)?;
                }
                if let Event::Remove(ids) = &entry.event {
                    // Also those whose own entry is lost: `apply` passes over what it does not know.
                    self.doubts.removed.extend(ids.iter().filter(|id| !self.state.is_held(**id)));
                }
                self.state.head = Head { number: number.saturating_sub(1), hash: entry.previous };
                if let Err(error) = self.state.apply(entry, hash) {
                    self.break_off();
                    return report.lost(ObjectName::Log(number), error);
                }
            }
        }
        self.begun = true;
        Ok(())
    }

    /// A checkpoint folds all that is before it, so that what is missing there does not count any more.
    fn checkpoint(&mut self, checkpoint: Checkpoint, report: &mut SalvageReport) -> Result<()> {
        let Checkpoint { number, head, config, snapshots, segments, held, condemned, locks: _ } = checkpoint;
        let head = Head { number, hash: head };
        if self.whole && self.begun {
            if head != self.state.head {
                self.break_off();
                let error = Error::corrupt("a checkpoint differs from the log that it folds");
                report.lost(ObjectName::Checkpoint(number), error)?;
            }
            return Ok(());
        }
        let there: HashSet<SnapshotId> = snapshots.iter().map(SnapshotRef::id).collect();
        self.doubts
            .removed
            .extend(self.state.snapshots.iter().map(SnapshotRef::id).filter(|id| !there.contains(id)));
        let gone = Arc::make_mut(&mut self.state.gone);
        gone.extend(condemned.iter().flat_map(|group| &group.objects));
        self.state.head = head;
        self.state.config = config;
        self.state.snapshots = snapshots;
        self.state.segments = segments;
        self.state.held = held;
        self.state.condemned = condemned;
        self.doubts.perhaps_removed.clear();
        (self.whole, self.begun) = (true, true);
        Ok(())
    }
}
