//! What is due: from a policy, what there is and when it was last backed up.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::{Policy, Protectable, Rule};
use crate::error::Result;
use crate::item::Collection;
use crate::time::Timestamp;

/// When a collection was last backed up.
///
/// As data it is an object of the fields below, of which the times may be left out. Unknown fields are refused.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LastBackup {
    /// The collection's id.
    pub collection: String,
    /// When its last good snapshot was committed: the last in the order of the log, not the one of the latest time. What is
    /// good is the embedder's choice: complete, verified, not suspicious ...
    #[serde(default)]
    pub good: Option<Timestamp>,
    /// When the last run began, whatever came of it, by the clock that also says `now`. Without it, what fails is due again
    /// at once.
    #[serde(default)]
    pub attempt: Option<Timestamp>,
}

impl LastBackup {
    /// No backup of the collection of this id.
    pub fn new(collection: impl Into<String>) -> Self {
        Self { collection: collection.into(), good: None, attempt: None }
    }

    /// With the time of the last good snapshot.
    #[must_use]
    pub const fn with_good(mut self, time: Timestamp) -> Self {
        self.good = Some(time);
        self
    }

    /// With the time of the last attempt.
    #[must_use]
    pub const fn with_attempt(mut self, time: Timestamp) -> Self {
        self.attempt = Some(time);
        self
    }
}

/// What to do now, and when to ask again.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Plan {
    /// What is due: first what was never backed up, then the most overdue, else in the order in which it was listed.
    pub due: Vec<Due>,
    /// When the next collection becomes due that is not due now; none if there is none.
    pub next_at: Option<Timestamp>,
}

/// A collection that is due.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Due {
    /// Which one it is.
    pub collection: Collection,
    /// The name of the rule that protects it.
    pub rule: String,
    /// For how many seconds it has been due. 0 if it was never backed up, and if its last backup is dated too far after now
    /// to be believed.
    pub overdue_seconds: u64,
    /// It was never backed up.
    pub never: bool,
}

impl Policy {
    /// What is due at `now`, of what is `listed`; see [`Plan`].
    ///
    /// Clocks may be wrong. A last backup that is dated up to one interval (`every_minutes`) after `now` counts as made now; what
    /// is dated still later says nothing, and the collection is due an interval after the last attempt, or at once. So a clock
    /// that is set anew delays no backup by more than two intervals.
    ///
    /// ```
    /// use backup_core::{Collection, Timestamp};
    /// use backup_core::policy::{LastBackup, Match, Policy, Protectable, Rule};
    ///
    /// let policy = Policy::new(vec![
    ///     Rule::exclude("scratch", Match::all().with_path("/scratch/**"), "rebuilt every night"),
    ///     Rule::protect("folders", Match::all().with_kind("folder"), 60),
    /// ]);
    /// let listed = ["/scratch/a", "/srv/a", "/srv/b"]
    ///     .map(|path| Protectable::new(Collection::new(format!("folder:{path}"), "folder"), path));
    /// let last = [LastBackup::new("folder:/srv/a").with_good(Timestamp::new(0, 0))];
    /// let plan = policy.plan(Timestamp::new(3_000, 0), &listed, &last)?;
    /// assert_eq!(plan.due.len(), 1);
    /// assert_eq!(plan.due[0].collection.id, "folder:/srv/b");
    /// assert_eq!(plan.next_at, Some(Timestamp::new(3_600, 0)));
    /// # Ok::<_, backup_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of [`validate`](Self::validate).
    pub fn plan(&self, now: Timestamp, listed: &[Protectable], last: &[LastBackup]) -> Result<Plan> {
        let policy = self.compile()?;
        let last = by_collection(last);
        let mut plan = Plan { due: Vec::new(), next_at: None };
        for (protectable, rule) in policy.place(listed) {
            let Some(rule) = rule.filter(|rule| rule.exclude.is_none()) else { continue };
            let last = last.get(protectable.collection.id.as_str()).copied();
            let turn = Turn::of(rule, now, last);
            if turn.start_at <= now {
                plan.due.push(turn.due(rule, now, &protectable.collection));
            } else {
                let sooner = plan.next_at.is_none_or(|next_at| turn.start_at < next_at);
                plan.next_at = if sooner { Some(turn.start_at) } else { plan.next_at };
            }
        }
        sort(&mut plan.due);
        Ok(plan)
    }
}

/// Most urgent first.
pub(super) fn sort(due: &mut [Due]) {
    due.sort_by_key(|due| Reverse((due.never, due.overdue_seconds)));
}

/// The entries by collection id; of several for one, the last.
pub(super) fn by_collection(last: &[LastBackup]) -> HashMap<&str, &LastBackup> {
    last.iter().map(|last| (last.collection.as_str(), last)).collect()
}

/// When a collection's turn comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// When its last backup is older than its rule allows.
    due_at: Timestamp,
    /// When to run: then, or later if an attempt has just failed.
    start_at: Timestamp,
    never: bool,
    /// There is a last backup, but its time cannot be believed.
    doubted: bool,
}

impl Turn {
    pub(super) fn of(rule: &Rule, now: Timestamp, last: Option<&LastBackup>) -> Self {
        let every = i64::from(rule.every_minutes) * 60;
        let retry = i64::from(rule.retry_minutes.min(rule.every_minutes)) * 60;
        let believed = |time: Timestamp| (time <= after(now, every)).then_some(time.min(now));
        let good = last.and_then(|last| last.good);
        let attempt = last.and_then(|last| last.attempt).and_then(believed);
        let never = good.is_none();
        let good = good.and_then(believed);
        let doubted = !never && good.is_none();
        let due_at = match (good, attempt) {
            (Some(good), _) => after(good, every),
            (None, Some(attempt)) if doubted => after(attempt, every),
            (None, _) => now,
        };
        let failed = attempt.filter(|attempt| good.is_none_or(|good| *attempt > good));
        let start_at = failed.map_or(due_at, |failed| due_at.max(after(failed, retry)));
        Self { due_at, start_at, never, doubted }
    }

    /// Whether there is no good backup that is known to be young enough.
    pub(super) fn is_overdue(self, now: Timestamp) -> bool {
        self.doubted || self.due_at <= now
    }

    pub(super) fn due(self, rule: &Rule, now: Timestamp, collection: &Collection) -> Due {
        let overdue = now.seconds().saturating_sub(self.due_at.seconds());
        Due {
            collection: collection.clone(),
            rule: rule.name.clone(),
            overdue_seconds: u64::try_from(overdue).unwrap_or(0),
            never: self.never,
        }
    }
}

fn after(time: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::new(time.seconds().saturating_add(seconds), time.nanos())
}
