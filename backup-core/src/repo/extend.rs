//! Locks that keep up with the time: the policy itself, and the run that makes the locks of everything in use longer.
//!
//! Everything in use, not only what snapshots need: a backup may find any chunk of the index and rely on it. What no snapshot needs is taken
//! out of the index by a [prune](Repository::prune), which is best run first.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::early::Early;
use super::locks::{GENERATION, SLACK};
use super::log::State;
use super::{Inner, Repository};
use crate::crypto::{ObjectName, SessionKeys};
use crate::error::{Error, ErrorKind, Result};
use crate::format::log::Event;
use crate::id::ObjectId;
use crate::limits;
use crate::progress::{Callback, CancelToken, Phase, Reporter, watched};
use crate::scrub::PREFIXES;
use crate::store::{Key, Version};
use crate::time::Timestamp;

/// Requests at the same time.
const CONCURRENCY: usize = 16;

/// An extension of locks that is about to run; made by [`Repository::extend_locks`].
#[must_use = "nothing happens before `run`"]
pub struct ExtendRun<'a> {
    repository: &'a Repository,
    callback: Option<Callback<'a>>,
    token: CancelToken,
}

/// What an extension of locks did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExtendReport {
    /// Everything in use is locked at least until then. None without a policy.
    pub locked_until: Option<Timestamp>,
    /// Objects whose lock was made longer: 0 if that was not due.
    pub extended_objects: u64,
    /// Objects that somebody has hidden or written over, by their names. Their first version, the one that the repository has written, was
    /// locked all the same; open the repository as of an [earlier time](super::Options::as_of) to read it. Empty if nothing was due.
    pub tampered: Vec<String>,
}

impl Repository {
    /// Protects the repository against whoever can delete: from now on, every writer locks what it stores, so that everything that a snapshot
    /// needs is locked for `period` from its commit on, and refuses to write to a store that does less. Whole seconds; zero ends it,
    /// which takes back no lock that is there. Then locks everything that there is already, with one request for each object.
    ///
    /// Locks grow with time only if [`extend_locks`](Self::extend_locks) is run. **A lock cannot be taken back**: what is locked is paid for
    /// until the lock ends. See `docs/immutability.md`.
    ///
    /// # Errors
    /// `UnsafeStore` if the store cannot lock or is set up to do less: then nothing has changed. `InvalidArgument` for more than 36,500 days.
    /// What the store reports; if the policy was set and locking was interrupted, [`extend_locks`](Self::extend_locks) goes on.
    pub async fn protect(&self, period: Duration) -> Result<()> {
        let (inner, seconds) = (&self.inner, period.as_secs());
        if seconds > limits::LOCK_SECONDS_MAX {
            return Err(Error::invalid("nothing can be locked for more than 36,500 days"));
        }
        self.refresh().await?;
        if seconds > 0 {
            let period = Duration::from_secs(seconds);
            let store = inner.immutable(period).await?;
            // A store that forgets locks is found out before there is a policy that it does not keep.
            let (first, until) = (ObjectName::Log(0).key(), inner.env.now().after(period));
            store.extend(&first, None, until).await?;
            inner.see_lock(store, &first, until).await?;
        }
        let differs = |state: &State| state.locks.seconds != seconds;
        inner.append_always(|state| differs(state).then_some(Event::Protect(seconds))).await?;
        self.extend_locks().run().await.map(drop)
    }

    /// How long everything is locked ahead, if [that is the policy](Self::protect).
    #[must_use]
    pub fn protection(&self) -> Option<Duration> {
        self.inner.state().locks.period()
    }

    /// Until when everything that the snapshots need is locked at least, as the log says. None without a policy, or before the first
    /// extension under it. Costs no request.
    #[must_use]
    pub fn locked_until(&self) -> Option<Timestamp> {
        let locks = self.inner.state().locks;
        locks.period().and(locks.until)
    }

    /// Whether an extension of the locks is due: in less than a day, a new snapshot could not rely on what is stored already
    /// to be locked for the policy's period. Costs no request.
    #[must_use]
    pub fn locks_due(&self) -> bool {
        self.inner.locks_due()
    }

    /// Makes the locks of everything in use longer, if that is [due](Self::locks_due); `run` starts it. Run it once a day: it does nothing on nine
    /// days of ten. Best after a [prune](Self::prune), which takes out of use what no snapshot needs.
    pub fn extend_locks(&self) -> ExtendRun<'_> {
        ExtendRun { repository: self, callback: None, token: CancelToken::new() }
    }
}

watched! {
    ExtendRun,
    /// Calls back with running totals: `items` are objects.
    on_progress,
    /// Lets `token` stop the run. Locks that were made longer stay so; the next run begins anew.
    cancel_token
}

impl<'a> ExtendRun<'a> {
    /// Runs the extension. Costs a listing of the store's versions and one request for each object in use, but of the log only for its first entry,
    /// the newest checkpoint and what follows it; memory: some 200 bytes for every object. Safe beside everything else.
    ///
    /// # Errors
    /// `Missing` if something in use is gone: everything else is locked then. `UnsafeStore` as any writer. `Canceled`, or what the store reports.
    pub async fn run(self) -> Result<ExtendReport> {
        let inner = &self.repository.inner;
        let mut reporter = Reporter::new(self.callback, self.token);
        reporter.phase(Phase::Opening)?;
        inner.refresh().await?;
        inner.check_writable().await?;
        let mut state = State::clone(&inner.state());
        let mut report = ExtendReport { locked_until: state.locks.until, ..ExtendReport::default() };
        if !inner.locks_due() {
            reporter.phase(Phase::Done)?;
            return Ok(report);
        }
        let keys = SessionKeys::generate(&inner.env, inner.id, &inner.ring)?;
        let listed = inner.versions_of_all(&mut reporter).await?;
        report.tampered = listed.tampered();
        let (mut done, mut plan) = (HashSet::new(), None);
        loop {
            // Another writer may have ended the policy meanwhile, or set another one.
            let Some(period) = state.locks.period() else { return Ok(report) };
            let store = inner.immutable(period).await?;
            let until = match plan {
                Some((planned, until)) if planned == period => until,
                _ => inner.env.now().after(period + GENERATION),
            };
            if plan.replace((period, until)) != Some((period, until)) {
                done.clear();
            }
            let mut wanted = inner.in_use(&state).await?;
            wanted.extend(listed.slots());
            wanted.retain(|name| !done.contains(name));
            reporter.totals.items_total = (done.len() + wanted.len()) as u64;
            reporter.phase(Phase::Transferring)?;
            let mut missing = None;
            let extend = |name: ObjectName| -> BoxFuture<'_, (ObjectName, Result<()>)> {
                let key = name.key();
                let version = listed.first(&key);
                Box::pin(async move { (name, store.extend(&key, version, until).await) })
            };
            let all: Vec<_> = wanted.into_iter().map(extend).collect();
            let mut extends = stream::iter(all).buffer_unordered(CONCURRENCY);
            while let Some((name, result)) = extends.next().await {
                match result {
                    Ok(()) => report.extended_objects += 1,
                    Err(error) if error.kind() == ErrorKind::NotFound => missing = Some((name, error)),
                    Err(error) => return Err(error),
                }
                done.insert(name);
                reporter.totals.items_done += 1;
                reporter.report()?;
            }
            drop(extends);
            if let Some((name, error)) = missing {
                let before = state.head.number;
                state = inner.advance(state).await?;
                if state.head.number > before && !inner.in_use(&state).await?.contains(&name) {
                    // A prune was quicker, and nobody needs it any more.
                    continue;
                }
                let what = "an object in use is gone; everything else was locked";
                return Err(Error::new(ErrorKind::Missing, what)
                    .with_item(name.to_string())
                    .with_source(error));
            }
            // What was committed meanwhile is locked for as long: whoever did so has seen to that, or was not asked to yet.
            if inner.append(&keys, &mut state, Event::Extended(until), &[]).await? {
                break;
            }
        }
        report.locked_until = state.locks.until;
        reporter.phase(Phase::Done)?;
        Ok(report)
    }
}

impl fmt::Debug for ExtendRun<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtendRun").field("repository", &self.repository).finish_non_exhaustive()
    }
}

/// The first version with content of every object, which is the one that the repository has written: nobody can get in before it.
#[derive(Default)]
struct Listed(HashMap<Key, (Version, bool)>);

impl Listed {
    fn add(&mut self, version: Version) {
        use std::collections::hash_map::Entry;
        match self.0.entry(version.key.clone()) {
            Entry::Vacant(entry) => {
                entry.insert((version, false));
            }
            Entry::Occupied(mut entry) => {
                let (first, tampered) = entry.get_mut();
                *tampered = true;
                let earlier = (version.created, &version.id) < (first.created, &first.id);
                if first.hides || !version.hides && earlier {
                    *first = version;
                }
            }
        }
    }

    fn first(&self, key: &Key) -> Option<&str> {
        self.0.get(key).filter(|(version, _)| !version.hides).map(|(version, _)| version.id.as_str())
    }

    fn tampered(&self) -> Vec<String> {
        let tampered = self.0.iter().filter(|(_, (version, tampered))| *tampered && !version.hides);
        let mut names: Vec<String> = tampered.map(|(key, _)| key.to_string()).collect();
        names.sort_unstable();
        names
    }

    fn slots(&self) -> impl Iterator<Item = ObjectName> {
        let slot = |key: &Key| {
            let id = key.as_str().strip_prefix("keys/")?.parse::<ObjectId>().ok()?;
            Some(ObjectName::KeySlot(id))
        };
        self.0.iter().filter(|(_, (version, _))| !version.hides).filter_map(move |(key, _)| slot(key))
    }
}

impl Inner {
    pub(super) fn locks_due(&self) -> bool {
        let locks = self.state().locks;
        locks.period().is_some_and(|period| locks.until < Some(self.env.now().after(period + SLACK)))
    }

    async fn versions_of_all(&self, reporter: &mut Reporter<'_>) -> Result<Listed> {
        let mut listed = Listed::default();
        let store = self.store.immutable().ok_or_else(|| Error::bug("a store has forgotten its locks"))?;
        for prefix in PREFIXES {
            let prefix = Key::known(prefix.to_owned());
            let mut versions = store.versions(&prefix);
            while let Some(version) = versions.try_next().await? {
                listed.add(version);
            }
            reporter.check()?;
        }
        Ok(listed)
    }

    /// All that opening the repository and restoring any snapshot reads, but the key slots.
    async fn in_use(&self, state: &State) -> Result<HashSet<ObjectName>> {
        let mut names = state.named_and_in_use();
        // As whoever opens the repository finds it.
        let checkpoint = self.load_log(Some(state.head), Early::default()).await?.checkpoint;
        names.insert(ObjectName::Log(0));
        if checkpoint > 0 {
            names.insert(ObjectName::Checkpoint(checkpoint));
        }
        names.extend((checkpoint..=state.head.number).map(ObjectName::Log));
        Ok(names)
    }
}
