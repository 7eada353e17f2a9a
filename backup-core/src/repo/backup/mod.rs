//! A backup: changes from a source, content into the session, steps into staging, and one commit.
//!
//! [`item`] decides what of an item has to be read and reads it, [`reading`] how many at once; [`merge`] turns what was found out into the two trees.

mod item;
mod merge;
mod reading;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future;
use futures_util::stream::StreamExt;

use super::log::described;
use super::pace::Compression;
use super::session::Session;
use super::staging::{Staging, Step};
use super::suspicion::{SUSPICIOUS_PERCENT, Suspicion};
use super::{Inner, Repository};
use crate::error::{Error, ErrorKind, Result};
use crate::format::snapshot::{RecordedProblem, Root, Snapshot, SnapshotState, SnapshotStats};
use crate::id::SnapshotId;
use crate::item::{Attributes, Collection, Cursor, Item, ItemId};
use crate::limits;
use crate::logging::LogLevel;
use crate::progress::{Callback, CancelToken, Phase, Progress, Reporter, watched};
use crate::source::{Change, Problem, Source};
use crate::time::Timestamp;
use crate::tree::marks::Marks;

use item::{Nearby, Outcome};
use merge::Mode;
use reading::{Named, Reading};

/// Stored bytes after which a run commits its chunks, so that a crash costs at most this much to upload again.
const CHECKPOINT_BYTES: u64 = 512 << 20;
/// So many items in a row that fail for a reason that may pass mean that the source is down.
const FAILURES_IN_A_ROW_MAX: u32 = 32;

/// A backup that is about to run; made by [`Repository::backup`].
#[must_use = "nothing happens before `run`"]
pub struct BackupRun<'a> {
    repository: &'a Repository,
    source: &'a dyn Source,
    callback: Option<Callback<'a>>,
    token: CancelToken,
    labels: Vec<(String, String)>,
    full: bool,
    checkpoint_bytes: u64,
    suspicious_percent: u32,
    compression: Compression,
}

/// What a backup did.
#[derive(Debug)]
#[non_exhaustive]
pub struct BackupReport {
    /// The new snapshot.
    pub snapshot: SnapshotId,
    /// `Complete`, or `Incomplete` if `problems` is not empty.
    pub state: SnapshotState,
    /// Figures of the run.
    pub stats: SnapshotStats,
    /// Items that could not be read, or whose content changed while it was read.
    pub problems: Vec<Problem>,
    /// Reasons to look at the snapshot before earlier ones are let go; see [`BackupRun::suspicious_percent`].
    pub suspicions: Vec<Suspicion>,
    /// Until when everything that the snapshot needs is locked at least, as the log says, if [that is the policy](Repository::protect).
    /// If it is less than the policy's period from now, or none, an [extension](Repository::extend_locks) is overdue.
    pub locked_until: Option<Timestamp>,
    /// An extension of the locks is due; see [`Repository::locks_due`].
    pub locks_due: bool,
    /// What the source says that the run has cost; see [`Source::metrics`].
    pub source: Attributes,
}

watched! {
    BackupRun,
    /// Calls back with running totals, at most ten times a second and when the phase changes.
    on_progress,
    /// Lets `token` stop the run: it then commits a checkpoint and returns `Canceled`.
    cancel_token
}

impl<'a> BackupRun<'a> {
    pub(super) fn new(repository: &'a Repository, source: &'a dyn Source) -> Self {
        Self {
            repository,
            source,
            callback: None,
            token: CancelToken::new(),
            labels: Vec::new(),
            full: false,
            checkpoint_bytes: CHECKPOINT_BYTES,
            suspicious_percent: SUSPICIOUS_PERCENT,
            compression: Compression::default(),
        }
    }

    /// Adds a name and a value of the caller's own to the snapshot, each of at most 1,024 bytes.
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((name.into(), value.into()));
        self
    }

    /// Ignores the cursor and enumerates everything. Content is still not read where tags are equal.
    pub fn full(mut self) -> Self {
        self.full = true;
        self
    }

    /// Commits chunks each time this many bytes were stored (default 512 MiB): what a crash may cost.
    pub fn checkpoint_every(mut self, bytes: u64) -> Self {
        self.checkpoint_bytes = bytes.max(1 << 20);
        self
    }

    /// How much work goes into making what is stored shorter (default [`Compression::Adaptive`]).
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// From which share of the previous snapshot's items on a loss or a change is reported as suspicious, in percent
    /// (default 25; above 100 for never). The snapshot is committed all the same; see [`Suspicion`].
    pub fn suspicious_percent(mut self, percent: u32) -> Self {
        self.suspicious_percent = percent;
        self
    }

    /// Runs the backup. Dropping the future stops it; whatever was not committed by then is stored again next time.
    ///
    /// # Errors
    /// `Canceled`, or what ended the run: an error of the source's enumeration, or of the store. What was stored before
    /// is kept in a checkpoint and used by the next run. Single items that fail are no error: see the report.
    pub async fn run(self) -> Result<BackupReport> {
        let inner = Arc::clone(&self.repository.inner);
        let mut reporter = Reporter::new(self.callback, self.token);
        reporter.phase(Phase::Opening)?;
        self.repository.refresh().await?;
        inner.check_writable().await?;
        let collection = self.source.collection();
        let bases = Bases::find(&inner, &collection).await?;
        let session = Session::begin(Arc::clone(&inner), self.compression)?;
        let run = Run {
            inner: &inner,
            session: &session,
            source: self.source,
            collection,
            bases,
            labels: self.labels.into_iter().chain(self.source.labels()).collect(),
            started: inner.env.now(),
            full: self.full,
            checkpoint_bytes: self.checkpoint_bytes,
            suspicious_percent: self.suspicious_percent,
            progress: Mutex::new(Ticker { reporter, last: None }),
            nearby: Mutex::default(),
        };
        inner.env.log(LogLevel::Info, || format!("backup of {} begins", run.collection.id));
        let result = session.drive(run.execute()).await;
        if let Err(error) = &result {
            inner.env.log(LogLevel::Error, || format!("backup ends: {}", described(error)));
            if error.kind() != ErrorKind::Bug {
                // A store that failed may still take the index of what it has. Failing again changes nothing.
                let _ = session.commit_stored(None).await;
            }
        }
        result
    }
}

impl fmt::Debug for BackupRun<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackupRun")
            .field("source", &self.source)
            .field("full", &self.full)
            .finish_non_exhaustive()
    }
}

/// What a run builds on.
struct Bases {
    /// The newest snapshot: its cursor and trees are what changes are applied to.
    snapshot: Option<Snapshot>,
    /// The remains of an interrupted run after it: content found there need not be read again.
    checkpoint: Option<Snapshot>,
}

impl Bases {
    async fn find(inner: &Inner, collection: &Collection) -> Result<Self> {
        let state = inner.state();
        let mut bases = Self { snapshot: None, checkpoint: None };
        for named in state.snapshots.iter().rev().filter(|named| named.collection == *collection) {
            match named.state {
                SnapshotState::Checkpoint if bases.checkpoint.is_none() => {
                    bases.checkpoint = Some(inner.read_snapshot(named.id()).await?);
                }
                SnapshotState::Checkpoint => {}
                _ => {
                    bases.snapshot = Some(inner.read_snapshot(named.id()).await?);
                    break;
                }
            }
        }
        Ok(bases)
    }

    fn items(&self) -> Root {
        self.snapshot.as_ref().map_or(Root(None), |snapshot| snapshot.items)
    }

    fn names(&self) -> Root {
        self.snapshot.as_ref().map_or(Root(None), |snapshot| snapshot.names)
    }

    /// Items tree to look for content that an interrupted run has stored.
    fn hints(&self) -> Option<Root> {
        self.checkpoint.as_ref().map(|checkpoint| checkpoint.items)
    }
}

/// Progress, shared by the items that are read at the same time.
struct Ticker<'a> {
    reporter: Reporter<'a>,
    last: Option<Timestamp>,
}

struct Run<'a> {
    inner: &'a Inner,
    session: &'a Session,
    source: &'a dyn Source,
    collection: Collection,
    bases: Bases,
    labels: Vec<(String, String)>,
    started: Timestamp,
    full: bool,
    checkpoint_bytes: u64,
    suspicious_percent: u32,
    progress: Mutex<Ticker<'a>>,
    nearby: Mutex<Nearby>,
}

/// A change that has arrived: an item, to be read, or something to be noted.
enum Arrived {
    Item(Named),
    Other(Change),
}

impl From<Change> for Arrived {
    fn from(change: Change) -> Self {
        match change {
            Change::Upsert(item) => Self::Item(Named { item, given: Vec::new() }),
            Change::UpsertWith(item, given) => Self::Item(Named { item, given }),
            other => Self::Other(other),
        }
    }
}

/// What the changes said so far.
#[derive(Default)]
struct Findings {
    staging: Staging,
    /// Entries of the last snapshot's items tree that were named. Those without a step stay as they are.
    named_before: Marks,
    /// Items were removed: whatever is named after that needs a step.
    removed: bool,
    /// Removed and unreadable containers, whose descendants are still to be staged.
    subtrees: Vec<(ItemId, Step)>,
    /// Containers that a delta named, with what contains them now: everything below them is there too, although no change
    /// names it.
    named: HashMap<ItemId, Option<ItemId>>,
    problems: Vec<Problem>,
    /// Hard links that were named, each with the item that holds its content.
    links: Vec<(ItemId, ItemId)>,
    /// Items that the snapshot will not have although the source named them.
    lost: HashSet<ItemId>,
    cursor: Option<Cursor>,
    /// Something failed in a way that only another look at the same changes can mend: the cursor must not move past it.
    hold_cursor: bool,
    /// Items that have to be looked at again. The cursor moves past them only if the source can name them again.
    missed: Vec<ItemId>,
    /// One of them has not vanished, as far as is known.
    missed_present: bool,
    /// Items whose content is stored but doubtful, and was not so already: a second look tells a bad transfer from a source
    /// that announces something else than it has.
    doubtful: Vec<ItemId>,
    full: bool,
    failures_in_a_row: u32,
}

impl<'a> Run<'a> {
    async fn execute(&self) -> Result<BackupReport> {
        let mut findings = Findings::default();
        match self.collect(&mut findings).await {
            Ok(()) => self.commit(findings).await,
            Err(error) => {
                self.checkpoint(findings).await?;
                Err(error)
            }
        }
    }

    /// Takes all changes and reads what they call for.
    async fn collect(&self, findings: &mut Findings) -> Result<()> {
        let since =
            self.bases.snapshot.as_ref().and_then(|snapshot| snapshot.cursor.as_ref()).filter(|_| !self.full);
        findings.full = since.is_none();
        self.phase(Phase::Transferring)?;
        let mut changes = self.source.changes(since).fuse();
        let mut reading = Reading::new(self.source.concurrency());
        // What has to wait: its item, or for a reset any item, is still being read.
        let mut waiting: Option<Arrived> = None;
        let (mut ended, mut committed) = (false, 0);
        loop {
            let due = self.session.bytes_stored() - committed >= self.checkpoint_bytes;
            if due && reading.is_empty() {
                // Only now: an item that is being read may hold what the commit waits for, and holds it until it is polled.
                self.session.checkpoint().await?;
                committed = self.session.bytes_stored();
                continue;
            }
            if let Some(Arrived::Item(named)) = &waiting
                && !reading.has(&named.item.id)
                && let Some(rank) = self.unchanged(&named.item)?
                && let Some(Arrived::Item(Named { item, .. })) = waiting.take()
            {
                self.note_container(findings, &item);
                let outcome = Outcome::unchanged(&item, Some(rank));
                self.take(findings, item.id, outcome)?;
                continue;
            }
            let blocked = match &waiting {
                Some(Arrived::Item(named)) => {
                    due || reading.has(&named.item.id)
                        || reading.is_full_for(named)
                        || self.nearby().is_worth_waiting()
                }
                Some(Arrived::Other(Change::Reset)) => !reading.is_empty(),
                Some(Arrived::Other(Change::Remove(id))) => reading.has(id),
                _ => false,
            };
            if !blocked && let Some(arrived) = waiting.take() {
                match arrived {
                    Arrived::Item(named) => {
                        self.note_container(findings, &named.item);
                        reading.begin(named.item.id.clone(), named.cost(), self.read_item(named));
                    }
                    Arrived::Other(change) => self.note(findings, change)?,
                }
                continue;
            }
            if ended && waiting.is_none() && reading.is_empty() {
                return Ok(());
            }
            let next = if waiting.is_none() && !ended {
                changes.next().left_future()
            } else {
                future::pending().right_future()
            };
            futures_util::select_biased! {
                read = reading.next().fuse() => {
                    let (id, outcome) = read?;
                    self.take(findings, id, outcome)?;
                }
                change = next.fuse() => match change {
                    Some(change) => waiting = Some(Arrived::from(change?)),
                    None => ended = true,
                },
                () = self.session.small().idle() => {}
            }
        }
    }

    fn note_container(&self, findings: &mut Findings, item: &Item) {
        if item.kind.is_container() && !findings.full {
            findings.named.insert(item.id.clone(), item.parent.clone());
        }
    }

    /// Notes a change that needs no reading.
    fn note(&self, findings: &mut Findings, change: Change) -> Result<()> {
        // Nothing else is done for them, however many there are: whoever cancels is heard here.
        self.tick(|_| {})?;
        match change {
            Change::Reset => *findings = Findings { full: true, ..Findings::default() },
            Change::Remove(id) => {
                findings.removed = true;
                findings.staging.add(id.as_bytes().to_vec(), Step::Remove)?;
                findings.named.remove(&id);
                findings.subtrees.push((id, Step::Remove));
            }
            Change::Unreadable(problem) => {
                match &problem.id {
                    Some(id) => {
                        findings.staging.add(id.as_bytes().to_vec(), Step::Keep)?;
                        findings.subtrees.push((id.clone(), Step::Keep));
                        findings.missed.push(id.clone());
                        findings.missed_present = true;
                    }
                    None => findings.hold_cursor = true,
                }
                self.problem(findings, problem)?;
            }
            Change::Cursor(cursor) => findings.cursor = Some(cursor),
            Change::Upsert(_) | Change::UpsertWith(..) => {
                return Err(Error::bug("an upsert is noted instead of read"));
            }
        }
        Ok(())
    }

    /// Takes over what became of an item.
    fn take(&self, findings: &mut Findings, id: ItemId, outcome: Outcome) -> Result<()> {
        let Outcome { step, problem, lost, believed, link_of, rank } = outcome;
        if lost {
            findings.lost.insert(id.clone());
        }
        findings.links.extend(link_of.map(|holder| (id.clone(), holder)));
        // Most items stay as they are, and are named once: a mark is all that they need.
        let is_first = rank.is_some_and(|rank| findings.named_before.mark(rank)) && !findings.removed;
        if !(is_first && step == Step::Keep) {
            findings.staging.add(id.as_bytes().to_vec(), step)?;
        }
        self.tick(|totals| totals.items_done += 1)?;
        let Some(problem) = problem else {
            findings.failures_in_a_row = 0;
            return Ok(());
        };
        match problem.error.kind() {
            ErrorKind::Canceled | ErrorKind::Unauthenticated => return Err(problem.error),
            // Doubtful: the bytes are kept and marked. The same bytes twice are what the source has.
            ErrorKind::SourceMismatch => findings.doubtful.extend((!believed).then_some(id)),
            // Vanished, as it seems: the next enumeration or delta will say so, or that it is still there.
            ErrorKind::NotFound => findings.missed.push(id),
            _ => {
                findings.missed.push(id);
                findings.missed_present = true;
            }
        }
        findings.failures_in_a_row =
            if problem.error.is_retryable() { findings.failures_in_a_row + 1 } else { 0 };
        if findings.failures_in_a_row > FAILURES_IN_A_ROW_MAX {
            return Err(problem.error);
        }
        self.problem(findings, problem)
    }

    fn problem(&self, findings: &mut Findings, problem: Problem) -> Result<()> {
        self.inner.env.log(LogLevel::Warning, || format!("{}: {}", problem.place, problem.error));
        findings.problems.push(problem);
        self.tick(|totals| totals.problems += 1)
    }

    async fn commit(&self, mut findings: Findings) -> Result<BackupReport> {
        self.phase(Phase::Committing)?;
        let mode = if findings.full { Mode::Full } else { Mode::Delta };
        self.stage_subtrees(&mut findings).await?;
        self.drop_links_of_lost_items(&mut findings)?;
        let base = self.bases.snapshot.as_ref();
        let bytes = base.map_or(0, |snapshot| snapshot.stats.bytes);
        let merged = self
            .merge(
                std::mem::take(&mut findings.staging),
                std::mem::take(&mut findings.named_before),
                mode,
                self.bases.items(),
                self.bases.names(),
                bytes,
            )
            .await?;
        let held = base.and_then(|snapshot| snapshot.cursor.clone()).filter(|_| !findings.full);
        let cursor = self.cursor(&findings, held);
        let state =
            if findings.problems.is_empty() { SnapshotState::Complete } else { SnapshotState::Incomplete };
        let mut stats = merged.stats;
        stats.problems = findings.problems.len() as u64;
        let (snapshot, stats) =
            self.store_snapshot(state, cursor, merged.items, merged.names, stats, &findings.problems).await?;
        // The snapshot is there: whoever cancels now is too late.
        let _ = self.phase(Phase::Done);
        let locks = self.inner.state().locks;
        Ok(BackupReport {
            snapshot,
            state,
            stats,
            problems: findings.problems,
            suspicions: Suspicion::of(&stats, self.suspicious_percent),
            locked_until: locks.period().and(locks.until),
            locks_due: self.inner.locks_due(),
            source: self.source.metrics(),
        })
    }

    /// Where the next run begins; `held` is where this one did.
    fn cursor(&self, findings: &Findings, held: Option<Cursor>) -> Option<Cursor> {
        // With the old cursor the source names the failed items again; what went well is recognised by its tag.
        if findings.hold_cursor {
            return held;
        }
        let without = |missed: &[ItemId]| {
            let cursor = findings.cursor.as_ref().filter(|_| !missed.is_empty())?;
            let cursor = self.source.cursor_without(cursor, missed)?;
            (cursor.as_bytes().len() <= limits::CURSOR_BYTES_MAX).then_some(cursor)
        };
        // Where there are too many of them, what is not stored at all comes first.
        let all = [findings.missed.as_slice(), findings.doubtful.as_slice()].concat();
        match without(&all).or_else(|| without(&findings.missed)) {
            Some(cursor) => Some(cursor),
            None if findings.missed_present => held,
            None => findings.cursor.clone(),
        }
    }

    /// A hard link without the item that holds its content could not be restored. The next run, to which it may be the
    /// first name of its file, reads it.
    fn drop_links_of_lost_items(&self, findings: &mut Findings) -> Result<()> {
        for (id, holder) in std::mem::take(&mut findings.links) {
            if findings.lost.contains(&holder) {
                findings.staging.add(id.as_bytes().to_vec(), Step::Remove)?;
                let what = "the file that it is a hard link of could not be read";
                let error = Error::new(ErrorKind::NotFound, what).with_item(holder.to_string());
                findings.hold_cursor = true;
                self.problem(findings, Problem::new(Some(id.clone()), id.to_string(), error))?;
            }
        }
        Ok(())
    }

    /// Keeps what an interrupted run has found, for the next one. Nothing is removed: the enumeration has not ended.
    async fn checkpoint(&self, findings: Findings) -> Result<()> {
        if findings.staging.is_empty() {
            return self.session.commit(None).await.map(drop);
        }
        let base = self.bases.checkpoint.as_ref().or(self.bases.snapshot.as_ref());
        let (items, names) = base.map_or((Root(None), Root(None)), |base| (base.items, base.names));
        let bytes = base.map_or(0, |base| base.stats.bytes);
        let merged =
            self.merge(findings.staging, Marks::default(), Mode::PutsOnly, items, names, bytes).await?;
        self.store_snapshot(
            SnapshotState::Checkpoint,
            None,
            merged.items,
            merged.names,
            merged.stats,
            &findings.problems,
        )
        .await
        .map(drop)
    }

    async fn store_snapshot(
        &self,
        state: SnapshotState,
        cursor: Option<Cursor>,
        items: Root,
        names: Root,
        mut stats: SnapshotStats,
        problems: &[Problem],
    ) -> Result<(SnapshotId, SnapshotStats)> {
        let id = SnapshotId::from_bytes(self.inner.env.random()?);
        stats.bytes_read = self.lock().reporter.totals.bytes_done;
        let snapshot = Snapshot {
            id,
            session: self.session.id(),
            collection: self.collection.clone(),
            parent: self.bases.snapshot.as_ref().map(|snapshot| snapshot.id),
            created: self.started,
            state,
            cursor,
            items,
            names,
            stats,
            problems: problems
                .iter()
                .map(|problem| RecordedProblem::new(&problem.place, &problem.error))
                .collect(),
            labels: self.labels.clone(),
        };
        let suspicious = !Suspicion::of(&stats, self.suspicious_percent).is_empty();
        self.session.commit(Some((snapshot, suspicious))).await?;
        stats.bytes_stored = self.session.bytes_stored();
        Ok((id, stats))
    }

    fn phase(&self, phase: Phase) -> Result<()> {
        let mut ticker = self.lock();
        ticker.reporter.totals.bytes_stored = self.session.bytes_stored();
        ticker.reporter.phase(phase)
    }

    /// Changes the totals and, at most ten times a second, reports them. Fails once somebody has canceled.
    fn tick(&self, change: impl FnOnce(&mut Progress)) -> Result<()> {
        let mut ticker = self.lock();
        change(&mut ticker.reporter.totals);
        let now = self.inner.env.now();
        let due = ticker.last.is_none_or(|last| now < last || now.millis() - last.millis() >= 100);
        if due {
            ticker.last = Some(now);
            ticker.reporter.totals.bytes_stored = self.session.bytes_stored();
            ticker.reporter.report()
        } else {
            ticker.reporter.check()
        }
    }

    fn nearby(&self) -> MutexGuard<'_, Nearby> {
        self.nearby.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Ticker<'a>> {
        // A panic in the caller's callback must not turn into a second one here.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
