//! Gives back the room of what no snapshot needs, beside any number of writers, without locks or clocks.
//!
//! Mark what the snapshots need; copy what is left in packs that are mostly unused; condemn, with one log entry, all that is to go; delete it
//! later. Whoever commits after that entry has read it first, and stores again what it relied on (`repo/commit.rs`). Whoever committed
//! before it has made our own attempt to create the entry fail, and we have marked what it needs. So from the entry on nothing that is
//! committed needs what it condemns, whenever it is deleted. The grace only spares writers and readers that are under way some work.

mod plan;
mod rewrite;
#[cfg(all(test, feature = "testkit"))]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};

use super::commit::Written;
use super::early::Early;
use super::log::{State, described};
use super::pace::Compression;
use super::pipeline::Packs;
use super::session::Session;
use super::stored::{Listed, is_past};
use super::verify::{VerifyLevel, check_pack};
use super::{Inner, Repository};
use crate::crypto::{Class, ObjectName, OpenedObject};
use crate::dedup::{Index, Mark, Marks, Run};
use crate::error::{Error, ErrorKind, Finding, Result};
use crate::format::log::{Condemned, Event, SnapshotRef};
use crate::format::segment::Segment;
use crate::format::snapshot::{Snapshot, SnapshotState};
use crate::id::{ChunkId, ObjectId, SnapshotId};
use crate::logging::LogLevel;
use crate::progress::{Callback, CancelToken, Phase, Reporter, watched};
use plan::{PackUse, Plan};

/// How long what is young is left alone, unless told otherwise: a day.
const GRACE: Duration = Duration::from_secs(24 * 60 * 60);
/// Share of what stays that may be unused, unless told otherwise.
const UNUSED_PERCENT: u32 = 10;
/// Bytes that are copied before the packs that they come from are condemned: what an interruption may cost.
const ROUND_BYTES: u64 = 1 << 30;
/// Requests at the same time.
const CONCURRENCY: usize = 16;
/// Times that it begins anew because another prune was quicker.
const ATTEMPTS: usize = 8;

/// A prune that is about to run; made by [`Repository::prune`].
#[must_use = "nothing happens before `run`"]
pub struct PruneRun<'a> {
    repository: &'a Repository,
    grace: Duration,
    unused_percent: u32,
    dry: bool,
    callback: Option<Callback<'a>>,
    token: CancelToken,
}

/// What a prune did, or would do.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct PruneReport {
    /// Snapshots and checkpoints of interrupted runs whose needs were marked.
    pub snapshots: u64,
    /// Packs in use before, and their bytes.
    pub packs: u64,
    /// See `packs`.
    pub bytes: u64,
    /// Bytes of these that no snapshot needed before, and after; estimated from the share of each pack.
    pub unused_bytes: u64,
    /// See `unused_bytes`.
    pub unused_bytes_after: u64,
    /// Packs that were condemned because nothing in them is needed, and their bytes.
    pub dead_packs: u64,
    /// See `dead_packs`.
    pub dead_bytes: u64,
    /// Packs that were condemned after what is needed of them had been copied, and their bytes.
    pub copied_packs: u64,
    /// See `copied_packs`.
    pub copied_bytes: u64,
    /// Objects that no log entry names, condemned as the remains of writers that are gone, and their bytes.
    pub stray_objects: u64,
    /// See `stray_objects`.
    pub stray_bytes: u64,
    /// Objects condemned by this run or earlier ones that were deleted; in a dry run, those of earlier ones that would be.
    pub deleted_objects: u64,
    /// Objects that the store did not let go yet; a later prune tries again.
    pub locked_objects: u64,
    /// Packs that were to be copied and could not be read in full. They stay as they are.
    pub findings: Vec<Finding>,
}

impl Repository {
    /// Gives back room; `run` starts it. Safe beside backups, restores and other prunes.
    pub fn prune(&self) -> PruneRun<'_> {
        PruneRun {
            repository: self,
            grace: GRACE,
            unused_percent: UNUSED_PERCENT,
            dry: false,
            callback: None,
            token: CancelToken::new(),
        }
    }
}

watched! {
    PruneRun,
    /// Calls back with running totals: `items` are snapshots while they are marked, then packs that are copied.
    on_progress,
    /// Lets `token` stop the run. What was condemned stays condemned; the rest is left to the next run.
    cancel_token
}

impl<'a> PruneRun<'a> {
    /// How long what is young is left alone (default a day): unneeded packs and stray objects are condemned once they are that old, by the
    /// store's time, and condemned objects deleted that long after. No grace ever endangers what is committed; a short one makes backups that
    /// are under way store some chunks again, or fail with [`ErrorKind::Fenced`] and run anew, and may end restores of what was removed.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Percent of the bytes that stay which may be unused (default 10). Less room, or less copying.
    pub fn unused_percent(mut self, percent: u32) -> Self {
        self.unused_percent = percent.min(100);
        self
    }

    /// Only reports what a run would do.
    pub fn dry_run(mut self) -> Self {
        self.dry = true;
        self
    }

    /// Runs the prune. Costs the trees of all snapshots, each shared part once, a listing of the store, the segments, and what is copied;
    /// memory: a bit for every chunk, some 200 bytes for every pack, and two packs in the making.
    ///
    /// # Errors
    /// `Missing` or `Corrupt` if a snapshot needs what is not there: then nothing is condemned, and verify tells more. `Fenced` if others kept
    /// removing and pruning at the same time. `Canceled`, or what the store reports. Whatever the error, nothing that a snapshot needs is lost, and another run goes on.
    pub async fn run(self) -> Result<PruneReport> {
        let inner = Arc::clone(&self.repository.inner);
        let mut reporter = Reporter::new(self.callback, self.token);
        reporter.phase(Phase::Opening)?;
        let settings = Settings { grace: self.grace, unused_percent: self.unused_percent, dry: self.dry };
        let mut report = PruneReport::default();
        for attempt in 1.. {
            inner.refresh().await?;
            inner.check_writable().await?;
            let before = inner.state();
            let mut prune =
                Prune { inner: &inner, settings, reporter: &mut reporter, report: PruneReport::default() };
            let outcome = prune.attempt().await;
            report.join(prune.report);
            match outcome {
                Ok(()) => break,
                // Somebody else has taken things out of use meanwhile, or deleted what we were about to read: all that was found out is void.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::Missing | ErrorKind::Fenced | ErrorKind::NotFound
                    ) && inner.has_withdrawn_since(before.withdrawn).await? =>
                {
                    if attempt == ATTEMPTS {
                        // Nothing is missing: others were quicker each time.
                        let message = "other prunes and removals were quicker, time and again";
                        return Err(Error::new(ErrorKind::Fenced, message).with_source(error));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        reporter.phase(Phase::Done)?;
        Ok(report)
    }
}

impl fmt::Debug for PruneRun<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { grace, unused_percent, dry, .. } = self;
        f.debug_struct("PruneRun")
            .field("grace", grace)
            .field("unused_percent", unused_percent)
            .field("dry", dry)
            .finish_non_exhaustive()
    }
}

impl PruneReport {
    /// Takes over what another attempt has found, which was last, and adds what it has done.
    fn join(&mut self, last: Self) {
        let Self { dead_packs, dead_bytes, copied_packs, copied_bytes, stray_objects, stray_bytes, .. } =
            *self;
        let deleted = (self.deleted_objects, self.locked_objects);
        *self = last;
        self.dead_packs += dead_packs;
        self.dead_bytes += dead_bytes;
        self.copied_packs += copied_packs;
        self.copied_bytes += copied_bytes;
        self.stray_objects += stray_objects;
        self.stray_bytes += stray_bytes;
        self.deleted_objects += deleted.0;
        self.locked_objects += deleted.1;
    }
}

#[derive(Clone, Copy)]
struct Settings {
    grace: Duration,
    unused_percent: u32,
    dry: bool,
}

struct Prune<'a, 'r> {
    inner: &'a Arc<Inner>,
    settings: Settings,
    reporter: &'a mut Reporter<'r>,
    report: PruneReport,
}

/// What is to be condemned by one entry.
#[derive(Default)]
struct Round {
    /// Packs with the number of their chunks in use, which must not have grown by the time that they are condemned.
    packs: HashMap<ObjectId, u64>,
    /// Stray objects, and the remains of interrupted runs that later ones have replaced.
    others: Vec<ObjectName>,
    /// What was copied.
    copies: Packs,
}

impl Prune<'_, '_> {
    async fn attempt(&mut self) -> Result<()> {
        self.delete_condemned().await?;
        let state = self.inner.state();
        let mut marks = Marks::new(&state.index);
        let mut marked = HashSet::new();
        self.mark(&state, &mut marks, &mut marked).await?;
        let listed = self.list().await?;
        let packs = self.packs(&marks, &listed)?;
        let locked = state.locks.until.map_or(Duration::ZERO, |until| until.since(self.inner.env.now()));
        let plan = Plan::of(&packs, self.settings.unused_percent, locked);
        let others = self.others(&state, &listed);
        self.report.packs = packs.len() as u64;
        self.report.bytes = packs.iter().map(|pack| pack.len).sum();
        self.report.unused_bytes = plan.unused_before;
        self.report.unused_bytes_after = plan.unused_after;
        let strays = others.iter().filter_map(|name| listed.get(name)).map(|listed| listed.len);
        let (stray_objects, stray_bytes) = strays.fold((0, 0), |(count, sum), len| (count + 1, sum + len));
        if self.settings.dry {
            self.report.dead_packs = plan.dead.len() as u64;
            self.report.dead_bytes = plan.dead_bytes;
            self.report.copied_packs = plan.copied.len() as u64;
            self.report.copied_bytes = plan.copied_bytes;
            (self.report.stray_objects, self.report.stray_bytes) = (stray_objects, stray_bytes);
            return Ok(());
        }
        let uses: HashMap<ObjectId, PackUse> = packs.into_iter().map(|pack| (pack.id, pack)).collect();
        self.reporter.totals.items_done = 0;
        self.reporter.totals.items_total = plan.copied.len() as u64;
        self.reporter.phase(Phase::Transferring)?;

        let mut first = Round { others, ..Round::default() };
        first.packs.extend(plan.dead.iter().map(|id| (*id, 0)));
        let mut rounds = vec![(first, Vec::new())];
        let mut bytes = 0;
        for pack in plan.copied.iter().filter_map(|id| uses.get(id)) {
            if bytes > 0 && bytes + pack.len > ROUND_BYTES {
                rounds.push((Round::default(), Vec::new()));
                bytes = 0;
            }
            bytes += pack.len;
            if let Some((_, copied)) = rounds.last_mut() {
                copied.push(*pack);
            }
        }
        for (round, copied) in rounds {
            self.round(&mut marks, &mut marked, round, &copied, &uses).await?;
        }
        (self.report.stray_objects, self.report.stray_bytes) = (stray_objects, stray_bytes);
        if self.settings.grace.is_zero() {
            self.delete_condemned().await?;
        }
        Ok(())
    }

    /// Copies what is in use of some packs and condemns them.
    async fn round(
        &mut self,
        marks: &mut Marks,
        marked: &mut HashSet<SnapshotId>,
        mut round: Round,
        copied: &[PackUse],
        uses: &HashMap<ObjectId, PackUse>,
    ) -> Result<()> {
        let session = Session::begin(Arc::clone(self.inner), Compression::default())?;
        let work = async {
            let copied = self.copy(&session, marks, copied).await?;
            session.flush().await?;
            round.copies = session.take_stored();
            self.read_back(&round.copies.segment).await?;
            round.packs.extend(copied.iter().map(|pack| (pack.id, pack.live_chunks)));
            self.condemn(&session, marks, marked, &mut round).await
        };
        session.drive(work).await?;
        for pack in round.packs.keys().filter_map(|id| uses.get(id)) {
            let (packs, bytes) = if pack.live_chunks == 0 {
                (&mut self.report.dead_packs, &mut self.report.dead_bytes)
            } else {
                (&mut self.report.copied_packs, &mut self.report.copied_bytes)
            };
            *packs += 1;
            *bytes += pack.len;
        }
        Ok(())
    }

    /// Marks what the snapshots need that are not marked yet. Fails if anything of it is not there.
    async fn mark(
        &mut self,
        state: &State,
        marks: &mut Marks,
        marked: &mut HashSet<SnapshotId>,
    ) -> Result<()> {
        let superseded = superseded(state);
        let new = |named: &&SnapshotRef| !marked.contains(&named.id()) && !superseded.contains(&named.id());
        let new: Vec<&SnapshotRef> = state.snapshots.iter().filter(new).collect();
        self.reporter.totals.items_total = state.snapshots.len() as u64;
        let index = marks.index();
        let inner = self.inner;
        // By what `state` names: a commit that was quicker than a condemnation is in no other state of this repository yet.
        let mut reads: Vec<BoxFuture<'_, Result<Snapshot>>> = Vec::new();
        for named in new {
            reads.push(Box::pin(inner.read_snapshot_of(named)));
        }
        let mut snapshots = stream::iter(reads).buffered(CONCURRENCY);
        while let Some(snapshot) = snapshots.next().await {
            let snapshot = snapshot?;
            let mut visit = |_: Class, id: ChunkId| match marks.mark(&id)? {
                Mark::First => Ok(true),
                Mark::Again => Ok(false),
                Mark::Unknown => {
                    let what = "a snapshot needs a chunk that is in no segment; nothing was condemned";
                    Err(Error::new(ErrorKind::Missing, what).with_item(id.to_string()))
                }
            };
            inner.visit_references(&index, &snapshot, &mut visit).await?;
            marked.insert(snapshot.id);
            self.report.snapshots += 1;
            self.reporter.totals.items_done += 1;
            self.reporter.report()?;
        }
        Ok(())
    }

    /// The packs of the index with what is in use of them.
    fn packs(&self, marks: &Marks, listed: &HashMap<ObjectName, Listed>) -> Result<Vec<PackUse>> {
        let now = self.inner.env.now();
        let usage = marks.usage()?;
        let packs = usage.iter().map(|usage| {
            let name = ObjectName::Pack(usage.pack.id);
            let (_, class) = OpenedObject::open(self.inner.id, &self.inner.ring, name, usage.pack.header)?;
            let young = listed.get(&name).is_some_and(|listed| listed.is_young(now, self.settings.grace));
            Ok(PackUse::new(usage, class, young))
        });
        packs.collect()
    }

    /// Everything that the store has of packs, segments and snapshots.
    async fn list(&mut self) -> Result<HashMap<ObjectName, Listed>> {
        let mut listed = self.inner.list_stored("pack", ObjectName::Pack).await?;
        listed.extend(self.inner.list_stored("segment", ObjectName::Segment).await?);
        listed.extend(self.inner.list_stored("snapshot", ObjectName::Snapshot).await?);
        self.reporter.check()?;
        Ok(listed)
    }

    /// What goes besides packs of the index: objects that nobody names, and checkpoints that nobody needs.
    fn others(&self, state: &State, listed: &HashMap<ObjectName, Listed>) -> Vec<ObjectName> {
        let now = self.inner.env.now();
        let named = named(state);
        let stray = |(name, listed): &(&ObjectName, &Listed)| {
            !named.contains(name) && !listed.is_young(now, self.settings.grace)
        };
        let mut others: Vec<_> = listed.iter().filter(stray).map(|(name, _)| *name).collect();
        others.extend(superseded(state).into_iter().map(|id| ObjectName::Snapshot(id.into())));
        others.sort_unstable_by_key(ToString::to_string);
        others
    }

    /// Copies what is in use of these packs; those that went well. Every chunk is held against its id before it counts as copied.
    async fn copy(&mut self, session: &Session, marks: &Marks, packs: &[PackUse]) -> Result<Vec<PackUse>> {
        let wanted: HashMap<ObjectId, &PackUse> = packs.iter().map(|pack| (pack.id, pack)).collect();
        let live = marks.live(|pack| wanted.contains_key(&pack.id))?;
        let mut failed: HashMap<ObjectId, Error> = HashMap::new();
        let mut last = None;
        for (id, location) in live {
            let Some(pack) = wanted.get(&location.pack.id) else { continue };
            if last != Some(pack.id) {
                last = Some(pack.id);
                self.reporter.totals.items_done += 1;
                self.reporter.totals.bytes_stored = session.bytes_stored();
                self.reporter.report()?;
            }
            if failed.contains_key(&pack.id) {
                continue;
            }
            match self.inner.chunk_at(pack.class, id, location).await {
                Ok(bytes) => session.put_new(pack.class, id, bytes).await?,
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Missing) => {
                    failed.insert(pack.id, error);
                }
                Err(error) => return Err(error),
            }
        }
        let sound = packs.iter().filter(|pack| !failed.contains_key(&pack.id)).copied().collect();
        let finding =
            |(id, error): (ObjectId, Error)| Finding { place: ObjectName::Pack(id).to_string(), error };
        for error in failed.values() {
            self.inner.env.log(LogLevel::Error, || format!("{}: its pack stays", described(error)));
        }
        self.report.findings.extend(failed.into_iter().map(finding));
        Ok(sound)
    }

    /// Reads what was copied as a restore would, down to every chunk: where it came from is about to go.
    async fn read_back(&mut self, copies: &Segment) -> Result<()> {
        let mut index = Index::default();
        let mut sorted = copies.clone();
        sorted.sort();
        index.add(Arc::new(Run::of_segment(ObjectId::from_bytes([0; ObjectId::LEN]), &sorted)?));
        for (info, _, chunks) in copies.by_pack() {
            let chunks = chunks.len() as u64;
            check_pack(self.inner, &index, info.clone(), chunks, VerifyLevel::EveryByte).await?;
            self.reporter.check()?;
        }
        Ok(())
    }

    /// Condemns a round. Each time that a commit is quicker, what it needs is marked, and packs that it needs are let off.
    async fn condemn(
        &mut self,
        session: &Session,
        marks: &mut Marks,
        marked: &mut HashSet<SnapshotId>,
        round: &mut Round,
    ) -> Result<()> {
        let mut state = State::clone(&self.inner.state());
        let withdrawn = state.withdrawn;
        let mut known: HashSet<ObjectId> = state.segments.iter().map(|segment| segment.object.id).collect();
        let mut written: Option<(Vec<ObjectId>, Vec<Written>)> = None;
        loop {
            if round.packs.is_empty() && round.others.is_empty() {
                return Ok(());
            }
            let (replaced, mut segments) = match written.take() {
                Some(written) => written,
                None => self.rewrite(session, &state, round).await?,
            };
            session.lock_written(&state, &mut segments).await?;
            let packs = round.packs.keys().map(|id| ObjectName::Pack(*id));
            let old = replaced.iter().map(|id| ObjectName::Segment(*id));
            let event = Event::Condemn {
                objects: packs.chain(old).chain(round.others.iter().copied()).collect(),
                segments: segments.iter().map(|segment| segment.named).collect(),
            };
            let runs: Vec<_> = segments.iter().map(|segment| Arc::clone(&segment.run)).collect();
            if self.inner.append(&session.keys, &mut state, event, &runs).await? {
                // They can be marked from now on, for the rounds to come.
                runs.into_iter().for_each(|run| marks.add(run));
                return Ok(());
            }
            if state.withdrawn > withdrawn {
                return Err(Error::new(ErrorKind::Fenced, "another prune or removal was quicker"));
            }
            for segment in state.segments.iter().filter(|segment| !known.contains(&segment.object.id)) {
                marks.add(Arc::new(self.inner.read_run(*segment).await?));
            }
            known.extend(state.segments.iter().map(|segment| segment.object.id));
            self.mark(&state, marks, marked).await?;
            let live: HashMap<ObjectId, u64> =
                marks.usage()?.iter().map(|usage| (usage.pack.id, usage.live_chunks)).collect();
            let before = round.packs.len();
            round.packs.retain(|id, chunks| live.get(id).is_none_or(|live| live <= chunks));
            let named = named(&state);
            let superseded = superseded(&state);
            round.others.retain(|name| match name {
                ObjectName::Snapshot(id) if superseded.contains(&SnapshotId::from(*id)) => true,
                name => !named.contains(name),
            });
            if round.packs.len() == before {
                written = Some((replaced, segments));
            }
        }
    }

    /// Deletes what was condemned long enough ago, and says so in the log.
    async fn delete_condemned(&mut self) -> Result<()> {
        let (state, now) = (self.inner.state(), self.inner.env.now());
        let is_due = |group: &&Condemned| is_past(group.time, self.settings.grace, now);
        let objects: u64 =
            state.condemned.iter().filter(is_due).map(|group| group.objects.len() as u64).sum();
        if self.settings.dry {
            self.report.deleted_objects += objects;
        }
        if self.settings.dry || !state.condemned.iter().any(|group| is_due(&group)) {
            return Ok(());
        }
        // As whoever opens the repository finds it: a store that has lied about an entry is found out before anything is deleted for it.
        let shown = self.inner.load_log(Some(state.head), Early::default()).await?;
        let due: Vec<&Condemned> = shown.condemned.iter().filter(is_due).collect();
        // No index comes with it; ours is right as long as nothing was taken out of use since.
        let mut named = shown.named_and_in_use();
        if shown.withdrawn == state.withdrawn {
            named.extend(state.named_and_in_use());
        }
        let doomed = due.iter().flat_map(|group| &group.objects).map(|name| name.key()).collect();
        self.inner.drop_parity(&doomed).await?;
        let (mut deleted, protected) = (Vec::new(), state.locks.period().is_some());
        for group in due {
            if let Some(name) = group.objects.iter().find(|name| named.contains(name)) {
                let what = "an object that was condemned is in use again";
                return Err(Error::bug(what).with_item(name.to_string()));
            }
            let inner = self.inner;
            let delete = |name: &ObjectName| -> BoxFuture<'_, Result<()>> {
                let key = name.key();
                Box::pin(async move {
                    // Where objects are locked, hiding one frees nothing and looks like an attack.
                    match inner.store.immutable().filter(|_| protected) {
                        Some(store) => store.delete_all_versions(&key).await,
                        None => inner.store.delete(&key).await,
                    }
                })
            };
            let deletes: Vec<_> = group.objects.iter().map(delete).collect();
            let mut deletes = stream::iter(deletes).buffer_unordered(CONCURRENCY);
            let mut locked = 0;
            while let Some(result) = deletes.next().await {
                match result {
                    Ok(()) => self.report.deleted_objects += 1,
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    // Protected for a while yet.
                    Err(error) if error.kind() == ErrorKind::PermissionDenied => locked += 1,
                    Err(error) => return Err(error),
                }
            }
            self.report.locked_objects += locked;
            if locked == 0 {
                deleted.push(group.entry);
            }
            self.reporter.check()?;
        }
        if deleted.is_empty() {
            return Ok(());
        }
        self.inner.append_always(|_| Some(Event::Delete(deleted.clone()))).await.map(drop)
    }
}

/// Remains of interrupted runs after which their collection has got another snapshot.
fn superseded(state: &State) -> HashSet<SnapshotId> {
    let (mut seen, mut superseded) = (HashSet::new(), HashSet::new());
    for named in state.snapshots.iter().rev() {
        let newer = !seen.insert(&named.collection);
        if newer && named.state == SnapshotState::Checkpoint && !state.is_held(named.id()) {
            superseded.insert(named.id());
        }
    }
    superseded
}

/// All that is in use, with what waits to be deleted.
fn named(state: &State) -> HashSet<ObjectName> {
    let mut named = state.named_and_in_use();
    named.extend(state.condemned.iter().flat_map(|group| group.objects.iter().copied()));
    named
}
