//! What the figures of a run say of an attack or an accident. Nothing is looked at but the figures, so this costs nothing.

use std::fmt;

use crate::format::snapshot::SnapshotStats;

/// Percent of the previous snapshot's items from which on a loss or a change counts as suspicious, unless told otherwise.
pub(super) const SUSPICIOUS_PERCENT: u32 = 25;
/// Fewer items than this are never suspicious: whoever tidies up a small folder touches most of it.
const ITEMS_MIN: u64 = 20;

/// A reason to look at a snapshot before its predecessors are let go: a user, an accident or an attacker has touched
/// much of what there was.
///
/// The snapshot is committed all the same, and the ones before it are untouched. Whoever embeds the engine decides what
/// follows: tell somebody, stop pruning, restore with [`undo`](crate::RestoreRun::undo).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub enum Suspicion {
    /// Many items are gone.
    MassRemoval {
        /// Items that are gone.
        removed: u64,
        /// Items that the previous snapshot had.
        of: u64,
    },
    /// Many items differ from what they were, as after an encryption.
    MassChange {
        /// Items that differ.
        changed: u64,
        /// Items that the previous snapshot had.
        of: u64,
    },
}

impl Suspicion {
    /// Judges a run by its figures, also later, by those that a snapshot keeps ([`SnapshotInfo::stats`]): what touches at
    /// least 20 items and at least `percent` of those that the previous snapshot had is suspicious. Above 100
    /// nothing is.
    ///
    /// [`SnapshotInfo::stats`]: crate::SnapshotInfo::stats
    #[must_use]
    pub fn of(stats: &SnapshotStats, percent: u32) -> Vec<Self> {
        let of = (stats.items + stats.removed).saturating_sub(stats.added);
        let (removed, changed) = (stats.removed, stats.changed);
        let many = |items: u64| {
            items >= ITEMS_MIN && u128::from(items) * 100 >= u128::from(of) * u128::from(percent)
        };
        let removal = many(removed).then_some(Self::MassRemoval { removed, of });
        let change = many(changed).then_some(Self::MassChange { changed, of });
        removal.into_iter().chain(change).collect()
    }
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MassRemoval { removed, of } => write!(f, "{removed} of {of} items are gone"),
            Self::MassChange { changed, of } => write!(f, "{changed} of {of} items have changed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(items: u64, added: u64, changed: u64, removed: u64, percent: u32) -> Vec<Suspicion> {
        Suspicion::of(&SnapshotStats { items, added, changed, removed, ..SnapshotStats::default() }, percent)
    }

    #[test]
    fn a_share_is_suspicious_from_its_percentage_on_and_from_twenty_items_on() {
        assert_eq!(judge(75, 0, 0, 25, 25), [Suspicion::MassRemoval { removed: 25, of: 100 }]);
        assert_eq!(judge(76, 0, 0, 24, 25), [], "24 of 100");
        assert_eq!(judge(0, 0, 0, 19, 25), [], "too few");
        assert_eq!(judge(0, 0, 0, 20, 25), [Suspicion::MassRemoval { removed: 20, of: 20 }]);
        assert_eq!(judge(100, 0, 30, 0, 25), [Suspicion::MassChange { changed: 30, of: 100 }]);
        assert_eq!(judge(0, 0, 0, 100, 101), [], "turned off");
    }

    #[test]
    fn what_is_new_is_no_reason_and_hides_none() {
        assert_eq!(judge(1_000, 1_000, 0, 0, 25), [], "a first run");
        let replaced = judge(1_000, 960, 0, 60, 25);
        assert_eq!(replaced, [Suspicion::MassRemoval { removed: 60, of: 100 }], "renamed by an encryptor");
        assert_eq!(replaced[0].to_string(), "60 of 100 items are gone");
    }
}
