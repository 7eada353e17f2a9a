//! Salvage: opens what is left of a repository whose log, index or snapshots are damaged or gone, to be read and copied (`docs/format.md` 11).
//!
//! It never writes: the store is behind a [`ReadOnly`] door, and every operation that would write is refused before it begins.
//! [`log`] folds what is left of the log, [`index`] rebuilds the index. Everything that is used was sealed with the repository's keys,
//! so a store can withhold and show what was removed, but not invent; what it may show so is marked as not confirmed.

mod index;
mod log;
mod read_only;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, RwLock};

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};

use super::log::State;
use super::{Head, Inner, Repository, key_slots, not_opened, read_slots, try_slot};
use crate::chunk::Gear;
use crate::crypto::{ObjectName, object_hash};
use crate::env::Env;
use crate::error::{Error, ErrorKind, Finding, Result};
use crate::format::log::{ObjectRef, SnapshotRef};
use crate::format::open_object;
use crate::format::snapshot::Snapshot;
use crate::id::SnapshotId;
use crate::secret::Credential;
use crate::store::Store;

use log::Doubts;
use read_only::ReadOnly;
pub(in crate::repo) use read_only::refusal;

/// Objects read at the same time.
const READS: usize = 8;

/// How to salvage a repository.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SalvageOptions {
    /// The head seen last time, if it was kept: then the report says whether the log reaches it, and a log that ends earlier counts as
    /// incomplete.
    pub known_head: Option<Head>,
    /// Takes snapshots too that the log says were removed, as far as they are still stored. What only they needed may be gone.
    pub with_removed: bool,
}

/// What is left of a repository, and what is not.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct SalvageReport {
    /// Log entries that were read.
    pub log_entries: u64,
    /// Checkpoints of the log that were read.
    pub checkpoints: u64,
    /// Nothing of the log that decides which snapshots there are is missing, as far as can be known: without a known head nobody can tell
    /// that the newest entries are gone.
    pub log_complete: bool,
    /// The newest log entry that counts; none if there is none.
    pub head: Option<Head>,
    /// Whether the log still has [the known head](SalvageOptions::known_head) unchanged. None if no head was given.
    pub known_head_reached: Option<bool>,
    /// Snapshots that the log names and that read.
    pub snapshots: u64,
    /// Snapshots that read and of which nobody can say for sure that they belong to the repository: no readable log entry names them (they
    /// were committed or removed by one that is lost, or left by a run that never ended), or an entry behind theirs is lost, which may
    /// have removed them. See [`SnapshotSummary::confirmed`](crate::SnapshotSummary::confirmed).
    pub unconfirmed: Vec<SnapshotId>,
    /// Snapshots that are still stored although the log says that they were removed. Left out, unless
    /// [asked for](SalvageOptions::with_removed).
    pub removed: Vec<SnapshotId>,
    /// Segments of the index that were read.
    pub segments: u64,
    /// Packs that these segments name.
    pub packs: u64,
    /// Further packs, whose own directories were read in the place of segments.
    pub packs_rebuilt: u64,
    /// Chunks in the index, copies included.
    pub chunks: u64,
    /// Every object that should be there and is not, or does not read. Empty: nothing is known to be lost.
    pub findings: Vec<Finding>,
}

impl SalvageReport {
    /// Whether the log is complete and nothing is known to be lost.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.log_complete && self.findings.is_empty() && self.known_head_reached != Some(false)
    }

    const fn has_found(&self) -> bool {
        self.log_entries + self.checkpoints + self.segments + self.packs_rebuilt > 0
            || !self.unconfirmed.is_empty()
    }

    /// Takes note of an object that does not read. A store that cannot be reached says nothing about the objects in it.
    fn lost(&mut self, name: ObjectName, error: Error) -> Result<()> {
        if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Throttled | ErrorKind::Unauthenticated)
        {
            return Err(error);
        }
        self.findings.push(Finding { place: name.to_string(), error });
        Ok(())
    }
}

/// A snapshot that no log entry names, and its parent.
type Unnamed = (SnapshotRef, Option<SnapshotId>);

/// Snapshots by the time of their creation, but never one before its parent: writers' clocks may be wrong.
fn in_order(
    mut snapshots: Vec<SnapshotRef>,
    parents: &HashMap<SnapshotId, Option<SnapshotId>>,
) -> Vec<SnapshotRef> {
    snapshots.sort_by_key(|snapshot| snapshot.created);
    let order: Vec<SnapshotId> = snapshots.iter().map(SnapshotRef::id).collect();
    let mut left: HashMap<SnapshotId, SnapshotRef> =
        snapshots.into_iter().map(|snapshot| (snapshot.id(), snapshot)).collect();
    let mut ordered = Vec::with_capacity(order.len());
    for id in order {
        let mut line = Vec::new();
        let mut at = Some(id);
        while let Some(snapshot) = at.and_then(|id| left.remove(&id)) {
            at = parents.get(&snapshot.id()).copied().flatten();
            line.push(snapshot);
        }
        ordered.extend(line.into_iter().rev());
    }
    ordered
}

/// What an open repository knows of its having been salvaged.
#[derive(Debug, Default)]
pub(super) struct Salvaged {
    unconfirmed: HashSet<SnapshotId>,
}

impl Repository {
    /// Opens what is left of a damaged repository, for reading only. Needs one key slot that opens.
    ///
    /// The log counts as far as it reads. Snapshots that it does not name are taken too, marked as [not
    /// confirmed](crate::SnapshotSummary::confirmed); those that it says were removed are not, unless asked for. The index comes from all segments
    /// that read and, for packs that none of them names, from the packs' own directories. The result can be browsed, restored, drilled,
    /// verified and [copied](Self::as_source) to a new repository; whatever would write gives `PermissionDenied`. It stays as it was when it
    /// was opened. If snapshots are not confirmed, all are in the order of their creation by their writers' clocks, none before its parent.
    ///
    /// One listing of each kind of object, one request for each log entry, checkpoint, segment and snapshot, three for each pack without a
    /// segment. The index is held in memory, 47 bytes a chunk.
    ///
    /// # Errors
    /// `WrongKey`, `NewerFormat` or `Corrupt` if no key slot opens; `NotARepository` if there is none, or nothing that belongs to it; what the
    /// store reports if it cannot be reached. Damage is no error: it is in the report.
    pub async fn salvage(
        store: Arc<dyn Store>,
        credential: &Credential,
        env: Env,
        options: SalvageOptions,
    ) -> Result<(Self, SalvageReport)> {
        let store: Arc<dyn Store> = Arc::new(ReadOnly(store));
        let (mut failure, mut seen) = (None, false);
        for (slot, bytes) in read_slots(&*store, key_slots(&*store).await?).await {
            seen = true;
            match bytes.and_then(|bytes| try_slot(slot, &bytes, credential)) {
                Ok(None) => {}
                Ok(Some((id, ring))) => {
                    let inner = Inner {
                        read_only: true,
                        salvaged: Some(Salvaged::default()),
                        ..Inner::unread(Arc::clone(&store), env.clone(), id, ring)
                    };
                    let (inner, report) = inner.salvage(options).await?;
                    // A slot of a creation that lost a race opens, but nothing else is of its repository.
                    if report.has_found() {
                        return Ok((Self { inner: Arc::new(inner) }, report));
                    }
                    let message = "nothing that is left belongs to the repository of this key";
                    failure = Some(Error::new(ErrorKind::NotARepository, message));
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(not_opened(failure, seen))
    }
}

impl Inner {
    async fn salvage(mut self, options: SalvageOptions) -> Result<(Self, SalvageReport)> {
        let mut report = SalvageReport::default();
        let (mut state, doubts) = self.salvage_log(options.known_head, &mut report).await?;
        self.salvage_snapshots(&mut state, &doubts, options.with_removed, &mut report).await?;
        self.salvage_index(&mut state, &mut report).await?;
        let gear = Gear::new(self.ring.chunking()?, state.config.chunks)?;
        let _ = self.gear.set(Arc::new(gear));
        self.salvaged = Some(Salvaged { unconfirmed: report.unconfirmed.iter().copied().collect() });
        self.state = RwLock::new(Arc::new(state));
        Ok((self, report))
    }

    /// Keeps those of the snapshots that read, and finds others.
    async fn salvage_snapshots(
        &self,
        state: &mut State,
        doubts: &Doubts,
        with_removed: bool,
        report: &mut SalvageReport,
    ) -> Result<()> {
        let (named, removed) = (std::mem::take(&mut state.snapshots), &doubts.removed);
        let mut parents = HashMap::new();
        let known: HashSet<SnapshotId> = named.iter().map(SnapshotRef::id).collect();
        let read = |named: SnapshotRef| -> BoxFuture<'_, (SnapshotRef, Result<Snapshot>)> {
            Box::pin(async move {
                let read = self.read_snapshot_of(&named).await;
                (named, read)
            })
        };
        let mut reads = stream::iter(named.into_iter().map(read)).buffered(READS);
        while let Some((named, read)) = reads.next().await {
            match read {
                Ok(snapshot) => {
                    report.snapshots += 1;
                    parents.insert(snapshot.id, snapshot.parent);
                    if doubts.perhaps_removed.contains(&snapshot.id) {
                        report.unconfirmed.push(snapshot.id);
                    }
                    state.snapshots.push(named);
                }
                Err(error) => report.lost(ObjectName::Snapshot(named.object.id), error)?,
            }
        }
        let listed = self.list_stored("snapshot", ObjectName::Snapshot).await?;
        let mut others = Vec::new();
        for name in listed.keys() {
            let ObjectName::Snapshot(id) = name else { continue };
            let snapshot = SnapshotId::from(*id);
            if removed.contains(&snapshot) {
                report.removed.push(snapshot);
            }
            if !known.contains(&snapshot) && (with_removed || !removed.contains(&snapshot)) {
                others.push(*name);
            }
        }
        report.removed.sort_unstable();
        others.sort_unstable_by_key(|name| name.to_string());
        let read = |name: ObjectName| -> BoxFuture<'_, (ObjectName, Result<Unnamed>)> {
            Box::pin(async move { (name, self.read_unnamed_snapshot(name).await) })
        };
        let mut reads = stream::iter(others.into_iter().map(read)).buffered(READS);
        while let Some((name, read)) = reads.next().await {
            match read {
                Ok((found, parent)) => {
                    parents.insert(found.id(), parent);
                    report.unconfirmed.push(found.id());
                    state.snapshots.push(found);
                }
                Err(error) => report.lost(name, error)?,
            }
        }
        if !report.unconfirmed.is_empty() {
            state.snapshots = in_order(std::mem::take(&mut state.snapshots), &parents);
        }
        Ok(())
    }

    /// A snapshot that no log entry names, as one would: by its length and hash as it lies there. Whether it was suspicious only the log
    /// knew.
    async fn read_unnamed_snapshot(&self, name: ObjectName) -> Result<Unnamed> {
        let read = async || -> Result<Unnamed> {
            let bytes = self.store.read(&name.key(), None).await?;
            let snapshot = Snapshot::decode(&open_object(self.id, &self.ring, name, &bytes)?)?;
            if ObjectName::Snapshot(snapshot.id.into()) != name {
                return Err(
                    Error::corrupt("snapshot has another id than its name").with_item(name.to_string())
                );
            }
            let object =
                ObjectRef { id: snapshot.id.into(), len: bytes.len() as u64, hash: object_hash(&bytes) };
            let Snapshot { collection, created, state, parent, .. } = snapshot;
            Ok((SnapshotRef { object, collection, created, state, suspicious: false }, parent))
        };
        self.again_if_damaged(read).await
    }

    pub(super) fn is_confirmed(&self, snapshot: SnapshotId) -> bool {
        self.salvaged.as_ref().is_none_or(|salvaged| !salvaged.unconfirmed.contains(&snapshot))
    }
}
