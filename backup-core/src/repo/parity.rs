//! Adds parity to what is in the store, and takes it away with what it protects.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use futures_util::TryStreamExt;

use super::{Inner, Repository, log};
use crate::crypto::{ObjectName, object_hash};
use crate::error::{ErrorKind, Finding, Result};
use crate::id::{ObjectHash, ObjectId, PublicKey};
use crate::limits;
use crate::progress::{Callback, CancelToken, Phase, Reporter, watched};
use crate::scrub::{Built, Set, build, damage_of, list_sets};
use crate::store::Key;

/// Objects that one set protects, and its parity objects, unless told otherwise: two of twenty may be lost, for a tenth more room.
const MEMBERS: u8 = 20;
const PARITY: u8 = 2;

/// A run that adds parity, about to begin; made by [`Repository::add_parity`].
#[must_use = "nothing happens before `run`"]
pub struct ParityRun<'a> {
    repository: &'a Repository,
    members: u8,
    parity: u8,
    callback: Option<Callback<'a>>,
    token: CancelToken,
}

/// What is protected now.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ParityReport {
    /// Objects that parity protects now: packs, segments, snapshots, the log, its newest checkpoint, key slots.
    pub objects: u64,
    /// Sets of parity that there are now.
    pub sets: u64,
    /// Sets that this run has made, and the bytes of their parity.
    pub new_sets: u64,
    /// See `new_sets`.
    pub new_bytes: u64,
    /// Sets that were given up: what they protected is gone, or in another set now.
    pub dropped_sets: u64,
    /// Objects that are not what they should be. They are in no set; verify tells more.
    pub findings: Vec<Finding>,
}

impl Repository {
    /// Adds Reed-Solomon parity for all objects that have none yet; `run` starts it. Then a [`scrub`](crate::scrub()) finds and mends damage without
    /// any secret. Objects are protected in groups, and as many of a group may be damaged or gone, at any place, as it has parity objects. Run it
    /// after backups and prunes; it may run beside either.
    pub fn add_parity(&self) -> ParityRun<'_> {
        ParityRun {
            repository: self,
            members: MEMBERS,
            parity: PARITY,
            callback: None,
            token: CancelToken::new(),
        }
    }

    /// What the repository's signatures are checked with: all that a [`scrub`](crate::scrub()) needs. No secret.
    ///
    /// # Errors
    /// `PermissionDenied` if the key slot that was opened does not give it.
    pub fn public_key(&self) -> Result<PublicKey> {
        self.inner.ring.public_key()
    }
}

watched! {
    ParityRun,
    /// Calls back with running totals; `items` are objects that get parity.
    on_progress,
    /// Lets `token` stop the run. Sets that are whole by then stay.
    cancel_token
}

impl<'a> ParityRun<'a> {
    /// So many parity objects (1 to 32) for every so many objects (1 to 255); 2 for 20 unless told otherwise. What is left over makes a smaller
    /// group with as many, which what comes later fills up. Sets that there are stay as they are.
    pub fn redundancy(mut self, parity: u8, members: u8) -> Self {
        self.parity = parity.clamp(1, u8::try_from(limits::PARITY_OBJECTS_MAX).unwrap_or(u8::MAX));
        self.members = members.max(1);
        self
    }

    /// Reads every object that has no parity yet, once, and writes its parity. Memory: a strip of 1 MiB of each object of a group, and the group's
    /// parity: 44 MiB for packs of 12 MiB.
    ///
    /// # Errors
    /// `Canceled`, or what the store reports. Damaged objects are no error: they are in the report.
    pub async fn run(self) -> Result<ParityReport> {
        let Self { repository, members: most, parity, callback, token } = self;
        let (inner, most) = (Arc::clone(&repository.inner), usize::from(most));
        let mut reporter = Reporter::new(callback, token);
        reporter.phase(Phase::Opening)?;
        inner.refresh().await?;
        inner.check_writable().await?;
        let store = &*inner.store;
        let (key, there) = (inner.ring.public_key()?, inner.objects().await?);
        let mut report = ParityReport::default();
        let (mut kept, mut short, mut stale) = (Vec::new(), Vec::new(), Vec::new());
        for (id, entries) in list_sets(store).await? {
            match Set::read(store, id, &entries, &key).await {
                Ok(set) if set.is_whole(&entries) && set.members().all(|key| there.contains_key(key)) => {
                    let members: Vec<Key> = set.members().cloned().collect();
                    let is_short = 2 * members.len() <= most;
                    if is_short { &mut short } else { &mut kept }.push((id, members));
                }
                Err(error) if error.is_retryable() => return Err(error),
                // What it protects is gone, or it is damaged itself: it is cheaper made anew than mended.
                _ => stale.push(id),
            }
            reporter.check()?;
        }
        let mut covered: HashSet<&Key> = kept.iter().chain(&short).flat_map(|(_, members)| members).collect();
        if covered.len() < there.len() {
            // What comes new makes whole groups with what is in short ones.
            covered = kept.iter().flat_map(|(_, members)| members).collect();
            stale.extend(short.iter().map(|(id, _)| *id));
        } else {
            report.sets += short.len() as u64;
        }
        report.sets += kept.len() as u64;
        report.objects = covered.len() as u64;
        let mut open = Vec::new();
        for (key, (name, known)) in there.iter().filter(|(key, _)| !covered.contains(key)) {
            match inner.protected(*name, *known).await {
                Ok((len, hash)) => open.push((key.clone(), len, hash)),
                Err(error) => {
                    report.findings.push(Finding { place: key.to_string(), error: damage_of(error)? });
                }
            }
        }
        // Of one length, as far as possible: parity is as long as the longest of a group.
        open.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        reporter.totals.items_total = open.len() as u64;
        reporter.phase(Phase::Transferring)?;
        for group in open.chunks(most) {
            inner.protect(group.to_vec(), parity, &mut report).await?;
            reporter.totals.items_done += group.len() as u64;
            reporter.totals.bytes_stored = report.new_bytes;
            reporter.report()?;
        }
        reporter.phase(Phase::Committing)?;
        for id in &stale {
            inner.delete_set(*id).await?;
        }
        report.dropped_sets = stale.len() as u64;
        reporter.phase(Phase::Done)?;
        Ok(report)
    }
}

impl fmt::Debug for ParityRun<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParityRun")
            .field("members", &self.members)
            .field("parity", &self.parity)
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// Protects a group, without those that turn out to be damaged.
    async fn protect(
        &self,
        mut group: Vec<(Key, u64, ObjectHash)>,
        parity: u8,
        report: &mut ParityReport,
    ) -> Result<()> {
        while !group.is_empty() {
            let parity = usize::from(parity).min(group.len());
            match build(&*self.store, &self.env, &self.ring, self.id, &group, parity).await? {
                Built::Whole(objects) => {
                    for (name, bytes) in objects {
                        report.new_bytes += bytes.len() as u64;
                        log::create(&*self.store, name, bytes, None).await?;
                    }
                    report.new_sets += 1;
                    report.sets += 1;
                    report.objects += group.len() as u64;
                    return Ok(());
                }
                Built::Damaged(damaged) => {
                    let out: HashSet<&Key> = damaged.iter().map(|(key, _)| key).collect();
                    group.retain(|(key, ..)| !out.contains(key));
                    let findings =
                        damaged.into_iter().map(|(key, error)| Finding { place: key.to_string(), error });
                    report.findings.extend(findings);
                }
            }
        }
        Ok(())
    }

    /// Everything that belongs to the repository, with length and hash where the log or the index says them.
    async fn objects(&self) -> Result<HashMap<Key, (ObjectName, Option<(u64, ObjectHash)>)>> {
        let state = self.state();
        let named =
            self.named_objects(&state)?.into_iter().map(|(name, len, hash)| (name, Some((len, hash))));
        let logs = (0..=state.head.number).map(ObjectName::Log);
        let checkpoints = self.listed_numbers("checkpoint").await?.into_iter().map(ObjectName::Checkpoint);
        let slots = self.list_stored("keys", ObjectName::KeySlot).await?.into_keys();
        let others = logs.chain(checkpoints).chain(slots).map(|name| (name, None));
        Ok(named.chain(others).map(|(name, known)| (name.key(), (name, known))).collect())
    }

    /// Length and hash of an object that is to be protected. What nothing names them for is short, and read: damage must not be protected.
    async fn protected(
        &self,
        name: ObjectName,
        known: Option<(u64, ObjectHash)>,
    ) -> Result<(u64, ObjectHash)> {
        if let Some(known) = known {
            return Ok(known);
        }
        let bytes = self.store.read(&name.key(), None).await?;
        self.check_unnamed(name, &bytes)?;
        Ok((bytes.len() as u64, object_hash(&bytes)))
    }

    async fn delete_set(&self, id: ObjectId) -> Result<()> {
        let prefix = Key::known(format!("parity/{id}"));
        let objects: Vec<_> = self.store.list(&prefix).map_ok(|entry| entry.key).try_collect().await?;
        for key in objects {
            match self.store.delete(&key).await {
                // Protected for a while yet; it does no harm.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
                deleted => deleted?,
            }
        }
        Ok(())
    }

    /// Gives up the sets that protect any of these objects, before they are deleted: a scrub would miss them otherwise.
    pub(super) async fn drop_parity(&self, doomed: &HashSet<Key>) -> Result<()> {
        let key = self.ring.public_key()?;
        for (id, entries) in list_sets(&*self.store).await? {
            match Set::read(&*self.store, id, &entries, &key).await {
                Ok(set) if set.members().any(|key| doomed.contains(key)) => self.delete_set(id).await?,
                Err(error) if error.is_retryable() => return Err(error),
                // What does not open protects nothing; the next run that adds parity tidies it up.
                _ => {}
            }
        }
        Ok(())
    }
}
