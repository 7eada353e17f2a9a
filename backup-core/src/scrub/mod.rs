//! Checks everything that parity protects, and mends it, without any secret.
//!
//! What is sealed stays sealed: blocks are held against the hashes that the repository has signed, and computed from one another. So a scrub can run
//! where the keys must not be, next to the store.

mod build;
mod replace;
mod set;

use std::collections::HashSet;
use std::fmt;

use futures_util::StreamExt;

use crate::crypto::object_hash;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Finding, Result};
use crate::id::PublicKey;
use crate::progress::{Callback, CancelToken, Phase, Reporter, watched};
use crate::store::{Key, Store};

pub(crate) use build::{Built, build};
pub(crate) use replace::{found, put_in_place};
pub(crate) use set::{Set, list_sets};

use set::Condition;

/// What a repository's objects lie under.
pub(crate) const PREFIXES: [&str; 6] = ["pack", "segment", "snapshot", "log", "checkpoint", "keys"];

/// A check of what parity protects in a store; `run` starts it. `key` is [`Repository::public_key`](crate::Repository::public_key); nothing
/// that it did not sign is believed. Needs no secret and reads none.
///
/// ```
#[cfg_attr(not(feature = "system"), doc = "# /* needs feature `system`")]
/// # futures_executor::block_on(async {
/// # use std::sync::Arc;
/// # use backup_core::{Credential, Env, Key, MemorySource, Repository, Store, scrub, store::MemoryStore};
/// let store = Arc::new(MemoryStore::new());
/// let repository = Repository::init(store.clone(), &Credential::raw_key([7; 32])).await?;
/// # let source = MemorySource::new("notes");
/// # source.put_folder("0", None, "notes");
/// repository.backup(&source).run().await?;
/// repository.add_parity().run().await?;
/// let key = repository.public_key()?;
///
/// store.delete(&Key::new("log/0000000000000001")?).await?;
/// let report = scrub(&*store, key, &Env::system()).repair().run().await?;
/// assert_eq!(report.damage.len(), 1);
/// assert!(report.is_sound());
/// # Ok::<_, backup_core::Error>(())
/// # }).unwrap();
#[cfg_attr(not(feature = "system"), doc = "# */")]
/// ```
pub fn scrub<'a>(store: &'a dyn Store, key: PublicKey, env: &Env) -> ScrubRun<'a> {
    ScrubRun { store, key, env: env.clone(), repair: false, callback: None, token: CancelToken::new() }
}

/// A scrub that is about to run; made by [`scrub`].
#[must_use = "nothing happens before `run`"]
pub struct ScrubRun<'a> {
    store: &'a dyn Store,
    key: PublicKey,
    env: Env,
    repair: bool,
    callback: Option<Callback<'a>>,
    token: CancelToken,
}

/// What a scrub found and did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ScrubReport {
    /// Sets of parity that were checked.
    pub sets: u64,
    /// Objects that they protect.
    pub objects: u64,
    /// Objects of the repository that are listed and that no set protects.
    pub unprotected_objects: u64,
    /// Bytes read for the check; repairs read more.
    pub bytes_read: u64,
    /// Every damaged object, repaired or not.
    pub damage: Vec<Damage>,
    /// Sets that do not open, and repairs that failed.
    pub findings: Vec<Finding>,
}

/// An object that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Damage {
    /// Its name in the store.
    pub object: String,
    /// It is not there at all.
    pub missing: bool,
    /// How many of its blocks of 64 KiB are damaged, and of how many. None of them, if it is only longer than it was.
    pub bad_blocks: u64,
    /// See `bad_blocks`.
    pub blocks: u64,
    /// What became of it.
    pub repair: Repair,
}

/// What became of a damaged object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub enum Repair {
    /// Its bytes can be computed: run again with [`ScrubRun::repair`], or see the findings for why they could not be put in place.
    Possible,
    /// It is what it was again.
    Done,
    /// More is damaged than the parity makes good. Another copy of the repository may have it.
    Impossible,
}

impl ScrubReport {
    /// Whether everything that is protected is what it was, now.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty() && self.damage.iter().all(|damage| damage.repair == Repair::Done)
    }
}

watched! {
    ScrubRun,
    /// Calls back with running totals; `items` are protected objects, `bytes_stored` is what was read.
    on_progress,
    /// Lets `token` stop the run.
    cancel_token
}

impl<'a> ScrubRun<'a> {
    /// Puts what can be computed in the place of what is damaged. First beside it, so that an interruption loses nothing; the store must let
    /// damaged objects be deleted. Two repairs of one store must not run at the same time.
    pub fn repair(mut self) -> Self {
        self.repair = true;
        self
    }

    /// Reads everything that is protected, set by set, and its parity. Memory: 16 MiB, and an object where one is repaired.
    ///
    /// # Errors
    /// `Canceled`, or a store that cannot be reached. Damage is not an error: it is in the report.
    pub async fn run(self) -> Result<ScrubReport> {
        let mut reporter = Reporter::new(self.callback, self.token);
        reporter.phase(Phase::Opening)?;
        let sets = list_sets(self.store).await?;
        let (store, env, repair) = (self.store, &self.env, self.repair);
        let mut scrub =
            Scrub { store, env, repair, reporter, report: ScrubReport::default(), protected: HashSet::new() };
        scrub.reporter.phase(Phase::Transferring)?;
        for (id, entries) in sets {
            match Set::read(store, id, &entries, &self.key).await {
                Ok(set) => scrub.set(&set).await?,
                // A prune has given it up meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.is_retryable() => return Err(error),
                Err(error) => {
                    scrub.report.findings.push(Finding { place: format!("parity/{id}"), error });
                }
            }
        }
        scrub.count_unprotected().await?;
        scrub.reporter.phase(Phase::Done)?;
        Ok(scrub.report)
    }
}

impl fmt::Debug for ScrubRun<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScrubRun")
            .field("store", &self.store)
            .field("repair", &self.repair)
            .finish_non_exhaustive()
    }
}

struct Scrub<'a, 'r> {
    store: &'a dyn Store,
    env: &'a Env,
    repair: bool,
    reporter: Reporter<'r>,
    report: ScrubReport,
    protected: HashSet<Key>,
}

impl Scrub<'_, '_> {
    async fn set(&mut self, set: &Set) -> Result<()> {
        self.report.sets += 1;
        let (read, mut conditions) = set.check(self.store, self.env).await?;
        self.report.bytes_read += read;
        self.report.objects += set.head.members.len() as u64;
        self.reporter.totals.items_done += set.head.members.len() as u64;
        self.reporter.totals.bytes_stored += read;
        self.reporter.report()?;
        self.protected.extend(set.members().cloned());
        for object in 0..conditions.len() {
            let Some(condition) = conditions.get(object).filter(|condition| !condition.is_sound()).cloned()
            else {
                continue;
            };
            let mut repair =
                if set.can_rebuild(&conditions, object) { Repair::Possible } else { Repair::Impossible };
            if self.repair {
                match self.mend(set, &conditions, object).await {
                    Ok(true) => repair = Repair::Done,
                    Ok(false) => repair = Repair::Impossible,
                    Err(error) if error.is_retryable() => return Err(error),
                    Err(error) => {
                        self.report.findings.push(Finding { place: condition.key.to_string(), error });
                    }
                }
            }
            let bad = condition.bad.iter().filter(|bad| **bad).count() as u64;
            self.report.damage.push(Damage {
                object: condition.key.to_string(),
                missing: condition.is_missing,
                bad_blocks: bad,
                blocks: condition.bad.len() as u64,
                repair,
            });
            if repair == Repair::Done
                && let Some(condition) = conditions.get_mut(object)
            {
                *condition = Condition {
                    is_missing: false,
                    is_framed: true,
                    bad: vec![false; condition.bad.len()],
                    ..condition.clone()
                };
            }
        }
        Ok(())
    }

    /// Puts an object right. False if it cannot be computed.
    async fn mend(&mut self, set: &Set, conditions: &[Condition], object: usize) -> Result<bool> {
        let Some(condition) = conditions.get(object) else { return Ok(false) };
        let mut good = None;
        if let Some(member) = set.head.members.get(object) {
            let left = replace::left_aside(self.store, &member.key).await?;
            good = left.filter(|bytes| object_hash(bytes) == member.hash);
        }
        if good.is_none() {
            good = set.rebuild(self.store, self.env, conditions, object).await?;
        }
        let Some(good) = good else { return Ok(false) };
        put_in_place(self.store, &condition.key, good).await?;
        Ok(true)
    }

    /// Counts what no set protects, and tidies up after repairs that were interrupted.
    async fn count_unprotected(&mut self) -> Result<()> {
        for prefix in PREFIXES {
            let prefix = Key::known(prefix.to_owned());
            let mut entries = self.store.list(&prefix);
            while let Some(entry) = entries.next().await {
                self.report.unprotected_objects += u64::from(!self.protected.contains(&entry?.key));
            }
            self.reporter.check()?;
        }
        if self.repair {
            // Everything protected is in its place now, or named in the report: then its copy stays.
            let failed: HashSet<&str> = self
                .report
                .damage
                .iter()
                .filter(|damage| damage.repair != Repair::Done)
                .map(|damage| damage.object.as_str())
                .collect();
            let prefix = Key::known(replace::ASIDE.to_owned());
            let left: Vec<_> = self.store.list(&prefix).collect().await;
            let done: HashSet<Key> = self
                .protected
                .iter()
                .filter(|key| !failed.contains(key.as_str()))
                .map(replace::aside)
                .collect();
            for entry in left {
                let key = entry?.key;
                if done.contains(&key) {
                    self.store.delete(&key).await?;
                }
            }
        }
        Ok(())
    }
}

/// An error of a store that says nothing about the object.
pub(crate) fn damage_of(error: Error) -> Result<Error> {
    match error.kind() {
        ErrorKind::NotFound => Ok(Error::new(ErrorKind::Missing, "an object is gone").with_source(error)),
        ErrorKind::Corrupt | ErrorKind::Missing => Ok(error),
        // Shorter than it should be.
        ErrorKind::InvalidArgument => Ok(Error::corrupt("an object has been cut").with_source(error)),
        _ => Err(error),
    }
}
