//! A copy of a repository in another store, object by object: kept up to date, checked, and used to mend either of the two.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};

use super::log::{self, Head, State};
use super::{Inner, Repository};
use crate::crypto::{ObjectName, object_hash};
use crate::error::{Error, ErrorKind, Finding, Result};
use crate::id::ObjectHash;
use crate::progress::{Callback, CancelToken, Phase, Reporter, watched};
use crate::scrub::{damage_of, found, put_in_place};
use crate::store::{Key, Store};

/// Objects under way at the same time: four packs.
const CONCURRENCY: usize = 4;
/// Times that it begins anew because a prune has deleted what was to be copied.
const ATTEMPTS: usize = 8;

/// A copy about to be made or brought up to date; made by [`Repository::mirror`].
#[must_use = "nothing happens before `run`"]
pub struct MirrorRun<'a> {
    repository: &'a Repository,
    to: &'a dyn Store,
    check: bool,
    delete: bool,
    callback: Option<Callback<'a>>,
    token: CancelToken,
}

/// What a mirror did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct MirrorReport {
    /// The end of the log that the copy has now.
    pub head: Option<Head>,
    /// Objects that the repository consists of, and that the copy should have.
    pub objects: u64,
    /// Objects that were copied because the other store did not have them, and their bytes.
    pub copied_objects: u64,
    /// See `copied_objects`.
    pub copied_bytes: u64,
    /// Objects of the other store that were not what they should be and are now.
    pub replaced_objects: u64,
    /// Objects of the other store that the repository no longer has and that were deleted there.
    pub deleted_objects: u64,
    /// Objects that are damaged here and were not copied, and such that are damaged there and were not replaced.
    pub findings: Vec<Finding>,
}

impl Repository {
    /// Copies the repository to another store, or brings such a copy up to date; `run` starts it. The copy is a repository of its own that opens with
    /// the same keys. Do not write to it: it is what it is copied from.
    ///
    /// The other way round it mends: open the copy and mirror it to where the damage is, with [`check`](MirrorRun::check).
    pub fn mirror<'a>(&'a self, to: &'a dyn Store) -> MirrorRun<'a> {
        MirrorRun {
            repository: self,
            to,
            check: false,
            delete: false,
            callback: None,
            token: CancelToken::new(),
        }
    }
}

watched! {
    MirrorRun,
    /// Calls back with running totals; `items` are objects, `bytes_stored` is what was copied.
    on_progress,
    /// Lets `token` stop the run. The next one goes on where it ended.
    cancel_token
}

impl<'a> MirrorRun<'a> {
    /// Also reads what the other store has already, and replaces what is not the same: costs the whole copy. Without it, an object that is listed
    /// there in full length is taken to be there.
    pub fn check(mut self) -> Self {
        self.check = true;
        self
    }

    /// Also deletes there what prunes have taken from here. Without it the copy keeps everything, and only grows: whoever wipes this repository
    /// does not reach the copy.
    pub fn delete(mut self) -> Self {
        self.delete = true;
        self
    }

    /// Copies what is missing, everything that an entry of the log needs before the entry itself: what there is of the copy opens at any time after
    /// the first run. Every object is held against its hash on the way. Memory: four packs.
    ///
    /// # Errors
    /// `AlreadyExists` if there is another repository, or a copy that somebody else has written to; `Canceled`; what either store reports.
    pub async fn run(self) -> Result<MirrorReport> {
        let Self { repository, to, check, delete, callback, token } = self;
        let inner = Arc::clone(&repository.inner);
        let mut reporter = Reporter::new(callback, token);
        reporter.phase(Phase::Opening)?;
        let mut report = MirrorReport::default();
        for attempt in 1.. {
            inner.refresh().await?;
            let state = inner.state();
            report.findings.clear();
            let mut mirror = Mirror {
                inner: &inner,
                state: &state,
                to,
                check,
                reporter: &mut reporter,
                report: &mut report,
            };
            mirror.all().await?;
            if delete {
                mirror.delete_extra().await?;
            }
            // What a prune has deleted while it was to be copied is no damage: what takes its place is in the log by now.
            let gone = report.findings.iter().any(|finding| finding.error.kind() == ErrorKind::Missing);
            if !gone || attempt >= ATTEMPTS || !inner.has_withdrawn_since(state.withdrawn).await? {
                break;
            }
        }
        reporter.phase(Phase::Done)?;
        Ok(report)
    }
}

impl fmt::Debug for MirrorRun<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MirrorRun")
            .field("to", &self.to)
            .field("check", &self.check)
            .field("delete", &self.delete)
            .finish_non_exhaustive()
    }
}

struct Mirror<'a, 'r> {
    inner: &'a Arc<Inner>,
    state: &'a State,
    to: &'a dyn Store,
    check: bool,
    reporter: &'a mut Reporter<'r>,
    report: &'a mut MirrorReport,
}

/// What happened to one object.
enum Outcome {
    Present,
    Copied(u64),
    Replaced,
    Failed(Error),
}

impl Mirror<'_, '_> {
    async fn all(&mut self) -> Result<()> {
        let there = self.list().await?;
        let has_begun = self.check_copy(&there).await?;
        let objects = self.inner.named_objects(self.state)?;
        let slots = self.inner.list_stored("keys", ObjectName::KeySlot).await?;
        let logs = (0..=self.state.head.number).map(ObjectName::Log);
        self.report.objects = (objects.len() + slots.len()) as u64 + self.state.head.number + 1;
        self.reporter.totals.items_total = self.report.objects;
        self.reporter.totals.items_done = 0;
        self.reporter.phase(Phase::Transferring)?;

        let named = objects.into_iter().map(|(name, len, hash)| (name, Some((len, hash))));
        let slots = slots.into_keys().map(|name| (name, None));
        self.copy(named.chain(slots).collect(), &there, CONCURRENCY).await?;
        if self.report.findings.iter().any(|finding| finding.error.kind() == ErrorKind::Missing)
            && self.inner.has_withdrawn_since(self.state.withdrawn).await?
        {
            // It begins anew, with a log that no longer needs them.
            return Ok(());
        }
        self.reporter.phase(Phase::Committing)?;
        if !has_begun {
            // Nothing opens before the first entry is there: until then the order of the others does not matter.
            let (first, others): (Vec<_>, Vec<_>) =
                logs.map(|name| (name, None)).partition(|(name, _)| *name == ObjectName::Log(0));
            self.copy(others, &there, CONCURRENCY).await?;
            self.copy(first, &there, 1).await?;
        } else {
            self.copy(logs.map(|name| (name, None)).collect(), &there, 1).await?;
        }
        let checkpoints = self.inner.listed_numbers("checkpoint").await?;
        let ours = |number: &u64| *number <= self.state.head.number;
        let newest = checkpoints.iter().copied().rfind(ours);
        let is_wanted = |number: &u64| {
            Some(*number) == newest
                || self.check && ours(number) && there.contains_key(&ObjectName::Checkpoint(*number).key())
        };
        let checkpoints: Vec<_> = checkpoints.into_iter().filter(is_wanted).collect();
        let checkpoints = checkpoints.into_iter().map(|number| (ObjectName::Checkpoint(number), None));
        self.copy(checkpoints.collect(), &there, 1).await?;
        self.report.head = Some(self.state.head);
        Ok(())
    }

    /// What the other store lists.
    async fn list(&mut self) -> Result<HashMap<Key, u64>> {
        let mut there = HashMap::new();
        for prefix in crate::scrub::PREFIXES {
            let prefix = Key::known(prefix.to_owned());
            let mut entries = self.to.list(&prefix);
            while let Some(entry) = entries.next().await {
                let entry = entry?;
                there.insert(entry.key, entry.size);
            }
            drop(entries);
            self.reporter.check()?;
        }
        Ok(there)
    }

    /// Refuses what is not a copy of this repository. True if it has a beginning.
    async fn check_copy(&mut self, there: &HashMap<Key, u64>) -> Result<bool> {
        let mut logs: Vec<u64> =
            there.keys().filter(|key| key.as_str().starts_with("log/")).filter_map(log::number_of).collect();
        logs.sort_unstable();
        let other = |what: &str| Error::new(ErrorKind::AlreadyExists, what);
        // One entry holds the hash of the one before it: if the newest is the same, so are all.
        for number in logs.iter().rev() {
            let name = ObjectName::Log(*number);
            let Some(theirs) = found(self.to.read(&name.key(), None).await)? else { continue };
            if Some(&theirs) == found(self.inner.store.read(&name.key(), None).await)?.as_ref() {
                return Ok(logs.first() == Some(&0));
            }
            if self.inner.check_unnamed(name, &theirs).is_ok() {
                return Err(other("the copy has been written to on its own").with_item(name.to_string()));
            }
            // It is damaged, or another repository's: an older one tells.
            self.reporter.check()?;
        }
        if logs.is_empty() { Ok(false) } else { Err(other("there is another repository at the other place")) }
    }

    async fn copy(
        &mut self,
        objects: Vec<(ObjectName, Option<(u64, ObjectHash)>)>,
        there: &HashMap<Key, u64>,
        concurrency: usize,
    ) -> Result<()> {
        let (inner, to, check) = (self.inner, self.to, self.check);
        let one = |(name, known): &(ObjectName, Option<(u64, ObjectHash)>)| -> BoxFuture<'_, _> {
            let (name, known, size) = (*name, *known, there.get(&name.key()).copied());
            async move { (name, copy_one(inner, to, name, known, size, check).await) }.boxed()
        };
        let copies: Vec<_> = objects.iter().map(one).collect();
        let mut copies = stream::iter(copies).buffered(concurrency);
        while let Some((name, outcome)) = copies.next().await {
            match outcome? {
                Outcome::Present => {}
                Outcome::Copied(bytes) => {
                    self.report.copied_objects += 1;
                    self.report.copied_bytes += bytes;
                }
                Outcome::Replaced => self.report.replaced_objects += 1,
                Outcome::Failed(error) => {
                    let is_log = matches!(name, ObjectName::Log(_));
                    self.report.findings.push(Finding { place: name.to_string(), error });
                    if is_log {
                        // What comes after it would look as if somebody had taken it away.
                        return Ok(());
                    }
                }
            }
            self.reporter.totals.items_done += 1;
            self.reporter.totals.bytes_stored = self.report.copied_bytes;
            self.reporter.report()?;
        }
        Ok(())
    }

    /// Deletes what the repository has no more.
    async fn delete_extra(&mut self) -> Result<()> {
        let mut named: HashSet<Key> =
            self.inner.named_objects(self.state)?.into_iter().map(|(name, ..)| name.key()).collect();
        // What is condemned and still here may be needed by a restore that is under way.
        named.extend(self.state.condemned.iter().flat_map(|group| &group.objects).map(|name| name.key()));
        named
            .extend(self.inner.list_stored("keys", ObjectName::KeySlot).await?.keys().map(|name| name.key()));
        if !self.report.findings.is_empty() {
            // Where something is wrong, nothing is deleted.
            return Ok(());
        }
        for prefix in ["pack", "segment", "snapshot", "keys"] {
            let prefix = Key::known(prefix.to_owned());
            let listed: Vec<_> = self.to.list(&prefix).collect().await;
            for entry in listed {
                let key = entry?.key;
                if !named.contains(&key) {
                    match self.to.delete(&key).await {
                        // Protected for a while yet; a later run tries again.
                        Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
                        deleted => {
                            deleted?;
                            self.report.deleted_objects += 1;
                        }
                    }
                }
                self.reporter.check()?;
            }
        }
        Ok(())
    }
}

/// Copies one object, if need be.
async fn copy_one(
    inner: &Inner,
    to: &dyn Store,
    name: ObjectName,
    known: Option<(u64, ObjectHash)>,
    size: Option<u64>,
    check: bool,
) -> Result<Outcome> {
    let key = name.key();
    if !check && size.is_some() && known.is_none_or(|(len, _)| size == Some(len)) {
        return Ok(Outcome::Present);
    }
    if check
        && size.is_some()
        && let Some((_, hash)) = known
        && let Some(bytes) = found(to.read(&key, None).await)?
        && inner.hash(bytes).await? == hash
    {
        return Ok(Outcome::Present);
    }
    let bytes = match inner.sound_object(name, known).await {
        Ok(bytes) => bytes,
        Err(error) => return Ok(Outcome::Failed(damage_of(error)?)),
    };
    let len = bytes.len() as u64;
    if size.is_none() {
        return match log::create(to, name, bytes, None).await? {
            crate::store::Created::New => Ok(Outcome::Copied(len)),
            crate::store::Created::AlreadyPresent => {
                Ok(Outcome::Failed(Error::corrupt("the other store has another object of this name")))
            }
        };
    }
    if found(to.read(&key, None).await)?.is_some_and(|present| present == bytes) {
        return Ok(Outcome::Present);
    }
    if !check {
        return Ok(Outcome::Failed(Error::corrupt("the copy of an object is damaged")));
    }
    put_in_place(to, &key, bytes).await?;
    Ok(Outcome::Replaced)
}

impl Inner {
    /// An object's bytes, once they are known to be what was written.
    async fn sound_object(&self, name: ObjectName, known: Option<(u64, ObjectHash)>) -> Result<Bytes> {
        self.again_if_damaged(|| self.sound_object_once(name, known)).await
    }

    async fn sound_object_once(&self, name: ObjectName, known: Option<(u64, ObjectHash)>) -> Result<Bytes> {
        let bytes = self.store.read(&name.key(), None).await?;
        match known {
            Some((_, hash)) if self.hash(bytes.clone()).await? == hash => Ok(bytes),
            Some(_) => Err(Error::corrupt("an object is not the one that was written")),
            None => self.check_unnamed(name, &bytes).map(|()| bytes),
        }
    }

    async fn hash(&self, bytes: Bytes) -> Result<ObjectHash> {
        self.env.run(move || Ok(object_hash(&bytes))).await
    }

    /// Every object that the log or the index names, with length and hash.
    pub(super) fn named_objects(&self, state: &State) -> Result<Vec<(ObjectName, u64, ObjectHash)>> {
        let mut objects = Vec::new();
        for pack in state.index.packs() {
            let pack = pack?.to_info();
            objects.push((ObjectName::Pack(pack.id), pack.len, pack.hash));
        }
        let segments =
            state.segments.iter().map(|named| (ObjectName::Segment(named.object.id), named.object));
        let snapshots =
            state.snapshots.iter().map(|named| (ObjectName::Snapshot(named.object.id), named.object));
        objects.extend(segments.chain(snapshots).map(|(name, object)| (name, object.len, object.hash)));
        Ok(objects)
    }

    /// Whether an object that nothing names the hash of is what was written: a log entry or a checkpoint opens. A key slot only is not empty: it
    /// may be for another key.
    pub(super) fn check_unnamed(&self, name: ObjectName, bytes: &[u8]) -> Result<()> {
        match name {
            ObjectName::KeySlot(_) if bytes.is_empty() => Err(Error::corrupt("a key slot is empty")),
            ObjectName::KeySlot(_) => Ok(()),
            _ => crate::format::open_object(self.id, &self.ring, name, bytes).map(drop),
        }
    }
}
