//! What is protected and what is not. What a report is silent about is what gets lost.

use std::collections::HashSet;

use super::plan::{self, Turn};
use super::{Due, LastBackup, Policy, Protectable};
use crate::error::Result;
use crate::item::Collection;
use crate::time::Timestamp;

/// What a policy protects of what there is. Every listed collection is in exactly one of the first three lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Coverage {
    /// What a rule protects, in the order in which it was listed.
    pub protected: Vec<Protected>,
    /// What a rule leaves out, and why.
    pub excluded: Vec<Excluded>,
    /// What no rule matches. Nobody has decided this: look at it.
    pub unprotected: Vec<Unprotected>,
    /// What is protected, but has no good backup that is known to be young enough; the most urgent first. Unlike a plan, this
    /// also has what waits because an attempt has just failed.
    pub overdue: Vec<Due>,
    /// Ids of what was backed up once, but is no longer listed: deleted, renamed, or hidden from who lists. No rule counts
    /// for it, so its snapshots stay until somebody decides. In order.
    pub gone: Vec<String>,
}

/// A collection that a rule protects.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Protected {
    /// Which one it is.
    pub collection: Collection,
    /// The name of the rule.
    pub rule: String,
    /// How large it is, where known.
    pub bytes: Option<u64>,
}

/// A collection that a rule leaves out.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Excluded {
    /// Which one it is.
    pub collection: Collection,
    /// The name of the rule.
    pub rule: String,
    /// Why, as the rule says.
    pub reason: String,
    /// How large it is, where known.
    pub bytes: Option<u64>,
}

/// A collection that no rule matches.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Unprotected {
    /// Which one it is.
    pub collection: Collection,
    /// Where people find it.
    pub path: String,
    /// How large it is, where known.
    pub bytes: Option<u64>,
}

impl Policy {
    /// What is protected at `now`, of what is `listed`, and what is not; see [`Coverage`].
    ///
    /// # Errors
    /// Those of [`validate`](Self::validate).
    pub fn coverage(&self, now: Timestamp, listed: &[Protectable], last: &[LastBackup]) -> Result<Coverage> {
        let policy = self.compile()?;
        let last = plan::by_collection(last);
        let mut coverage = Coverage::default();
        for (protectable, rule) in policy.place(listed) {
            let Protectable { collection, path, bytes, .. } = protectable;
            let (collection, bytes) = (collection.clone(), *bytes);
            let Some(rule) = rule else {
                coverage.unprotected.push(Unprotected { collection, path: path.clone(), bytes });
                continue;
            };
            let name = rule.name.clone();
            if let Some(reason) = rule.exclude.clone() {
                coverage.excluded.push(Excluded { collection, rule: name, reason, bytes });
                continue;
            }
            let turn = Turn::of(rule, now, last.get(collection.id.as_str()).copied());
            if turn.is_overdue(now) {
                coverage.overdue.push(turn.due(rule, now, &collection));
            }
            coverage.protected.push(Protected { collection, rule: name, bytes });
        }
        plan::sort(&mut coverage.overdue);
        let here: HashSet<&str> = listed.iter().map(|listed| listed.collection.id.as_str()).collect();
        let gone = last.into_values().filter(|last| last.good.is_some());
        let gone = gone.filter(|last| !here.contains(last.collection.as_str()));
        coverage.gone = gone.map(|last| last.collection.clone()).collect();
        coverage.gone.sort_unstable();
        Ok(coverage)
    }
}
