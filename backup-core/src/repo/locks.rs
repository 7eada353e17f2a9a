//! What a policy of locks asks of whoever writes: every object locked by the request that creates it, in a store that does as it says.
//!
//! The promise: when an entry of the log is created, everything that it makes part of the repository, and everything that was part of it, is
//! locked for the policy's period at least. Objects are locked for longer than that, so that [`extend`](super::extend) has to come by once in
//! a [`GENERATION`] only, and not after each run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;

use super::Inner;
use super::log::create;
use crate::crypto::ObjectName;
use crate::error::{Error, ErrorKind, Result};
use crate::format::log::Locks;
use crate::store::{Created, Immutable, Key};
use crate::time::Timestamp;

/// By how much a lock is longer than the period: the time between two extensions of it. Longer costs room for what is deleted, shorter costs
/// requests, one an object each time.
pub(super) const GENERATION: Duration = Duration::from_secs(10 * 24 * 60 * 60);
/// By how much more a new object's: how long a run may take from storing to committing, and an extension may be late.
pub(super) const SLACK: Duration = Duration::from_secs(24 * 60 * 60);
/// By how much this machine's clock may differ from the store's where locks are computed from it.
const CLOCK_OFF_MAX: Duration = Duration::from_secs(60 * 60);

/// What an open repository has found out about its store.
#[derive(Debug, Default)]
pub(super) struct Proved {
    /// Seconds of the policy that the store has been asked about.
    asked: AtomicU64,
    /// The same once a lock was seen to be there.
    seen: AtomicU64,
}

impl Inner {
    /// Refuses to write where that would be less safe than the log asks. Costs two or three requests once, and none without a policy.
    pub(super) async fn check_writable(&self) -> Result<()> {
        self.may_write()?;
        match self.state().locks.period() {
            Some(period) => self.immutable(period).await.map(drop),
            None => Ok(()),
        }
    }

    /// As [`create_under`](Self::create_under), by the policy that is in force.
    pub(super) async fn create(
        &self,
        name: ObjectName,
        bytes: Bytes,
    ) -> Result<(Created, Option<Timestamp>)> {
        self.create_under(self.state().locks, name, bytes).await
    }

    /// Creates an object, and says until when it is locked.
    pub(super) async fn create_under(
        &self,
        locks: Locks,
        name: ObjectName,
        bytes: Bytes,
    ) -> Result<(Created, Option<Timestamp>)> {
        self.may_write()?;
        let Some(period) = locks.period() else {
            return Ok((create(&*self.store, name, bytes, None).await?, None));
        };
        let store = self.immutable(period).await?;
        let until = new_lock(locks, period, self.env.now());
        let created = create(&*self.store, name, bytes, Some((store, until))).await?;
        if created == Created::New && self.proved.seen.load(Ordering::Relaxed) != period.as_secs() {
            self.see_lock(store, &name.key(), until).await?;
            self.see_clock(store, &name.key()).await?;
            self.proved.seen.store(period.as_secs(), Ordering::Relaxed);
        }
        Ok((created, Some(until)))
    }

    /// Refuses what would write where only reading is possible: as of an earlier time, or what was saved of a damaged repository.
    pub(super) fn may_write(&self) -> Result<()> {
        if self.salvaged.is_some() {
            return Err(super::salvage::refusal());
        }
        if self.read_only {
            let message = "a repository that is open as of an earlier time cannot be written to";
            return Err(Error::new(ErrorKind::PermissionDenied, message));
        }
        Ok(())
    }

    /// The store, once it is known to be set up for locks of this length.
    pub(super) async fn immutable(&self, period: Duration) -> Result<&dyn Immutable> {
        self.may_write()?;
        let Some(store) = self.store.immutable() else {
            return Err(unsafe_store("the repository's policy asks for locks, and the store has none"));
        };
        if self.proved.asked.load(Ordering::Relaxed) != period.as_secs() {
            if let Some(weakness) = store.protection().await?.weakness(period) {
                return Err(unsafe_store(weakness));
            }
            self.proved.asked.store(period.as_secs(), Ordering::Relaxed);
        }
        Ok(store)
    }

    /// Services that do not know a header pass over it: whether a lock is there has to be seen.
    pub(super) async fn see_lock(&self, store: &dyn Immutable, key: &Key, until: Timestamp) -> Result<()> {
        let locked = store.locked_until(key, None).await?;
        if locked.is_none_or(|locked| locked.seconds() < until.seconds()) {
            let what = "the store took an object that was to be locked, and it is not";
            return Err(unsafe_store(what).with_item(key.as_str()));
        }
        Ok(())
    }

    /// A clock that is behind makes locks that are too short, and one that is ahead makes some that nobody can take back.
    async fn see_clock(&self, store: &dyn Immutable, key: &Key) -> Result<()> {
        let now = self.env.now();
        let mut versions = store.versions(key);
        while let Some(version) = versions.try_next().await? {
            let (earlier, later) = (now.min(version.created), now.max(version.created));
            if version.key == *key && !version.hides && earlier.after(CLOCK_OFF_MAX) < later {
                let message = format!("this machine's clock says {now} and the store's {}", version.created);
                return Err(unsafe_store(message));
            }
        }
        Ok(())
    }
}

pub(super) fn unsafe_store(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::UnsafeStore, message)
}

/// Until when a new object is to be locked.
fn new_lock(locks: Locks, period: Duration, now: Timestamp) -> Timestamp {
    needed_lock(locks, period, now).max(now.after(period + GENERATION + SLACK))
}

/// Until when what an entry adds has to be locked: as long as everything that is there, too, so that what the log says of it stays true.
pub(super) fn needed_lock(locks: Locks, period: Duration, now: Timestamp) -> Timestamp {
    let extended = now.after(period + GENERATION);
    locks.until.map_or(extended, |until| until.max(extended))
}

/// Locks what was stored before it becomes part of the repository, unless it is locked for long enough.
pub(super) async fn lock_in_time(
    inner: &Inner,
    locks: Locks,
    is_locked: Option<Timestamp>,
    names: impl Iterator<Item = ObjectName>,
) -> Result<Option<Timestamp>> {
    let Some(period) = locks.period() else { return Ok(is_locked) };
    let now = inner.env.now();
    if is_locked >= Some(needed_lock(locks, period, now)) {
        return Ok(is_locked);
    }
    let until = new_lock(locks, period, now);
    let store = inner.immutable(period).await?;
    for name in names {
        store.extend(&name.key(), None, until).await?;
    }
    Ok(Some(until))
}
