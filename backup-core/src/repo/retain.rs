//! Retention carried out: decided by the order of the log and the store's time, removed by one log entry.

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};

use super::log::State;
use super::{Inner, Repository};
use crate::crypto::{ObjectName, SessionKeys};
use crate::error::Result;
use crate::format::log::{Event, SnapshotRef};
use crate::format::snapshot::SnapshotState;
use crate::id::SnapshotId;
use crate::retention::{Candidate, Decision, Retention};

/// Snapshots read at the same time, for their labels.
const READS: usize = 16;

/// What becomes of the snapshots of one collection.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Retained {
    /// Id of the collection.
    pub collection: String,
    /// Each of its snapshots, in the order of the log, with the reasons.
    pub decisions: Vec<Decision>,
}

impl Repository {
    /// Decides which snapshots of some collections, given by their ids, may go, and removes nothing: a rehearsal of [`retain`](Self::retain).
    ///
    /// A snapshot's time is when the store created it, and it is as old as it is older than the newest snapshot in the store: whoever sets a
    /// writer's clock changes nothing, and where no backups arrive nothing ages. Only where the store tells no times do the
    /// writers' and the system's clock count. One listing of the snapshots, and one request each for their labels where a retention asks
    /// for labels.
    ///
    /// # Errors
    /// `InvalidArgument` for a retention that is wrong; what the store reports, or damage.
    pub async fn decide(&self, rules: &[(&str, &Retention)]) -> Result<Vec<Retained>> {
        self.refresh().await?;
        self.inner.decide(&self.inner.state(), rules).await
    }

    /// Removes what [`decide`](Self::decide) lets go, in one log entry; decides anew if somebody else was quicker. What was removed still
    /// takes room until a [prune](Self::prune).
    ///
    /// # Errors
    /// As [`decide`](Self::decide): then nothing was removed.
    pub async fn retain(&self, rules: &[(&str, &Retention)]) -> Result<Vec<Retained>> {
        let inner = &self.inner;
        inner.may_write()?;
        let keys = SessionKeys::generate(&inner.env, inner.id, &inner.ring)?;
        self.refresh().await?;
        let mut state = State::clone(&inner.state());
        loop {
            let retained = inner.decide(&state, rules).await?;
            let all = retained.iter().flat_map(|retained| &retained.decisions);
            let gone: Vec<SnapshotId> =
                all.filter(|decision| !decision.keep).map(|decision| decision.id).collect();
            if gone.is_empty() || inner.append(&keys, &mut state, Event::Remove(gone), &[]).await? {
                return Ok(retained);
            }
        }
    }
}

impl Inner {
    async fn decide(&self, state: &State, rules: &[(&str, &Retention)]) -> Result<Vec<Retained>> {
        rules.iter().try_for_each(|(_, retention)| retention.validate())?;
        let listed = self.list_stored("snapshot", ObjectName::Snapshot).await?;
        let newest = listed.values().filter_map(|listed| listed.modified).max();
        let now = newest.unwrap_or_else(|| self.env.now());
        let time = |named: &SnapshotRef| match newest {
            None => named.created,
            // Not listed, although others are: taken for new, and so kept.
            Some(newest) => {
                let listed = listed.get(&ObjectName::Snapshot(named.object.id));
                listed.and_then(|listed| listed.modified).unwrap_or(newest)
            }
        };
        let mut all = Vec::new();
        for (collection, retention) in rules {
            let whole = |named: &&SnapshotRef| {
                named.collection.id == *collection && named.state != SnapshotState::Checkpoint
            };
            let named: Vec<_> = state.snapshots.iter().filter(whole).collect();
            let labels =
                if retention.labels.is_empty() { Vec::new() } else { self.labels_of(&named).await? };
            let mut labels = labels.into_iter();
            let candidates: Vec<_> = named
                .into_iter()
                .map(|named| {
                    Candidate::new(named.id(), time(named), named.state)
                        .with_suspicious(named.suspicious)
                        .with_held(state.is_held(named.id()))
                        .with_labels(labels.next().unwrap_or_default())
                })
                .collect();
            all.push(Retained {
                collection: (*collection).to_owned(),
                decisions: retention.decide(now, &candidates),
            });
        }
        Ok(all)
    }

    async fn labels_of(&self, named: &[&SnapshotRef]) -> Result<Vec<Vec<(String, String)>>> {
        let read = |named: &&SnapshotRef| -> BoxFuture<'_, Result<Vec<(String, String)>>> {
            let id = named.id();
            Box::pin(async move { Ok(self.read_snapshot(id).await?.labels) })
        };
        let reads: Vec<_> = named.iter().map(read).collect();
        let mut reads = stream::iter(reads).buffered(READS);
        let mut labels = Vec::with_capacity(named.len());
        while let Some(read) = reads.next().await {
            labels.push(read?);
        }
        Ok(labels)
    }
}
