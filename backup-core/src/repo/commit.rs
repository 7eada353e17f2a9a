//! The end of a session: segments, the snapshot, and the log entry that names them.
//!
//! A prune may have been quicker. Its log entry comes before ours, so we have read it before ours can be created: whatever it took out of
//! use and we rely on, chunks found in the index, subtrees of an earlier snapshot, our own packs that it took for an accident's, is stored
//! again first. Nobody's clock matters, and no lock is held.

use std::collections::HashSet;
use std::sync::Arc;

use super::locks::lock_in_time;
use super::log::State;
use super::pipeline::Packs;
use super::session::{Session, lock};
use crate::crypto::{Class, ObjectName};
use crate::dedup::{Index, Run, covered_by};
use crate::error::{Error, ErrorKind, Result};
use crate::format::log::{Event, SegmentRef, SnapshotRef};
use crate::format::segment::Segment;
use crate::format::snapshot::Snapshot;
use crate::id::{ChunkId, ObjectId};
use crate::limits;
use crate::logging::LogLevel;
use crate::time::Timestamp;

/// A segment that is in the store and waits for its log entry.
pub(super) struct Written {
    segment: Segment,
    pub(super) named: SegmentRef,
    pub(super) run: Arc<Run>,
    /// Until when it and the packs that it names are locked at least, as far as the session has stored them.
    locked: Option<Timestamp>,
}

impl Session {
    /// Waits until everything that was put is stored, and commits it: with a snapshot, or just so that it can be reused.
    pub(super) async fn commit(&self, snapshot: Option<(Snapshot, bool)>) -> Result<Option<SnapshotRef>> {
        self.flush().await?;
        self.commit_stored(snapshot).await
    }

    /// Commits chunks only. From here on they are looked up in the repository's index, merged and mapped as it is: what a session remembers of
    /// its chunks is bounded by the distance of checkpoints, however much it stores.
    pub(super) async fn checkpoint(&self) -> Result<()> {
        let before = lock(&self.since).len();
        self.commit(None).await?;
        let index = self.inner.state().index.clone();
        let covered = covered_by(index.runs());
        let is_covered = |run: &Arc<Run>| run.covers().iter().all(|id| covered.binary_search(id).is_ok());
        let mut since = lock(&self.since);
        // Not so if the state has stayed behind.
        if since.iter().skip(before).all(is_covered) {
            self.rely_on(&index);
        }
        since.retain(|run| !is_covered(run));
        since.extend(index.runs().iter().cloned());
        Ok(())
    }

    /// Commits what has reached the store, whatever became of the rest; of a snapshot, also whether it is suspicious.
    pub(super) async fn commit_stored(
        &self,
        snapshot: Option<(Snapshot, bool)>,
    ) -> Result<Option<SnapshotRef>> {
        let mut written = Vec::new();
        self.write_segments(self.take_stored(), &mut written).await?;
        let mut snapshot = match snapshot {
            Some((mut snapshot, suspicious)) => {
                snapshot.stats.bytes_stored = self.bytes_stored();
                let id = snapshot.id.into();
                let (object, locked) =
                    self.put_object(ObjectName::Snapshot(id), id, &snapshot.encode()?).await?;
                let (collection, created, state) =
                    (snapshot.collection.clone(), snapshot.created, snapshot.state);
                Some((snapshot, SnapshotRef { object, collection, created, state, suspicious }, locked))
            }
            None => None,
        };
        let mut state = State::clone(&self.inner.state());
        let mut checked = self.began.withdrawn;
        loop {
            if state.withdrawn > checked {
                checked = state.withdrawn;
                let snapshot = snapshot.as_ref().map(|(snapshot, ..)| snapshot);
                self.replace_gone(&state, &mut written, snapshot).await?;
            }
            if written.is_empty() && snapshot.is_none() {
                return Ok(None);
            }
            self.lock_written(&state, &mut written).await?;
            if let Some((_, named, locked)) = &mut snapshot {
                let name = ObjectName::Snapshot(named.object.id);
                *locked = lock_in_time(&self.inner, state.locks, *locked, [name].into_iter()).await?;
            }
            let event = Event::Commit {
                session: self.id(),
                snapshots: snapshot.iter().map(|(_, named, _)| named.clone()).collect(),
                segments: written.iter().map(|written| written.named).collect(),
            };
            let runs: Vec<_> = written.iter().map(|written| Arc::clone(&written.run)).collect();
            if self.inner.append(&self.keys, &mut state, event, &runs).await? {
                lock(&self.since).extend(runs);
                return Ok(snapshot.map(|(_, named, _)| named));
            }
        }
    }

    /// Locks segments and the packs that they name for as long as an entry that adds them promises. Nothing to do unless they were stored
    /// long ago, or before there was a policy.
    pub(super) async fn lock_written(&self, state: &State, written: &mut [Written]) -> Result<()> {
        for Written { segment, named, locked, .. } in written {
            let packs = segment.packs.iter().map(|pack| ObjectName::Pack(pack.id));
            let names = packs.chain([ObjectName::Segment(named.object.id)]);
            *locked = lock_in_time(&self.inner, state.locks, *locked, names).await?;
        }
        Ok(())
    }

    /// Stores again what a commit relies on and the log has taken out of use since the session began.
    async fn replace_gone(
        &self,
        state: &State,
        written: &mut Vec<Written>,
        snapshot: Option<&Snapshot>,
    ) -> Result<()> {
        // Where to read: also what is condemned, for as long as it is not deleted.
        let mut anywhere = self.began.index.clone();
        lock(&self.since).iter().for_each(|run| anywhere.add(Arc::clone(run)));
        written.iter().for_each(|written| anywhere.add(Arc::clone(&written.run)));
        state.index.runs().iter().for_each(|run| anywhere.add(Arc::clone(run)));

        let is_gone = |pack: &ObjectId| state.gone.contains(&ObjectName::Pack(*pack));
        for old in std::mem::take(written) {
            let is_whole = !state.gone.contains(&ObjectName::Segment(old.named.object.id))
                && !old.segment.packs.iter().any(|pack| is_gone(&pack.id));
            if is_whole {
                written.push(old);
            } else {
                let packs = Packs { segment: old.segment.without(is_gone), locked: old.locked };
                self.write_segments(packs, written).await?;
            }
        }
        let Some(snapshot) = snapshot else { return Ok(()) };
        if state.gone.contains(&ObjectName::Snapshot(snapshot.id.into())) {
            return Err(fenced());
        }
        let lost = self.lost(state, written, snapshot, &anywhere).await.map_err(or_fenced)?;
        self.inner.env.log(LogLevel::Info, || {
            format!("a prune or removal was quicker: {} chunks are stored again", lost.len())
        });
        for (class, id) in lost {
            let bytes = self.inner.chunk_by(&anywhere, class, id).await.map_err(or_fenced)?;
            self.put_again(class, id, bytes).await?;
        }
        self.flush().await?;
        self.write_segments(self.take_stored(), written).await
    }

    /// What a snapshot needs, and neither the index nor what was written for it has. Reads what the snapshot does not share with its parent.
    async fn lost(
        &self,
        state: &State,
        written: &[Written],
        snapshot: &Snapshot,
        anywhere: &Index,
    ) -> Result<Vec<(Class, ChunkId)>> {
        let mut there = state.index.clone();
        written.iter().for_each(|written| there.add(Arc::clone(&written.run)));
        let parent = snapshot.parent.filter(|parent| state.has(*parent));
        let shared = match parent {
            // As long as it is not removed, all that it needs is kept.
            Some(parent) => match self.inner.read_snapshot_in(state, parent).await {
                Ok(parent) => self.inner.nodes_of(anywhere, &parent).await?,
                Err(error) if error.kind() == ErrorKind::NotFound => HashSet::new(),
                Err(error) => return Err(error),
            },
            None => HashSet::new(),
        };
        let (mut visited, mut lost) = (HashSet::new(), Vec::new());
        let mut visit = |class, id| {
            if shared.contains(&id) || !visited.insert(id) {
                return Ok(false);
            }
            if !there.contains(&id) {
                lost.push((class, id));
            }
            Ok(true)
        };
        self.inner.visit_references(anywhere, snapshot, &mut visit).await?;
        Ok(lost)
    }

    /// Stores what was collected as segments, none of them longer than the format allows.
    pub(super) async fn write_segments(&self, packs: Packs, written: &mut Vec<Written>) -> Result<()> {
        for mut segment in packs.segment.split(limits::SEGMENT_ENTRIES_MAX) {
            segment.sort();
            let id = ObjectId::from_bytes(self.inner.env.random()?);
            let (object, locked) = self.put_object(ObjectName::Segment(id), id, &segment.encode()).await?;
            let locked = locked.min(packs.locked);
            let entries =
                u32::try_from(segment.chunks.len()).map_err(|_| Error::bug("a segment is too long"))?;
            let run = Arc::new(Run::of_segment(id, &segment)?);
            written.push(Written { segment, named: SegmentRef { object, entries }, run, locked });
        }
        Ok(())
    }
}

fn fenced() -> Error {
    Error::new(ErrorKind::Fenced, "a prune has taken away what this backup relied on")
}

/// What is gone now was there when the session began.
fn or_fenced(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Missing | ErrorKind::NotFound => fenced().with_source(error),
        _ => error,
    }
}
