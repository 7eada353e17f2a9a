//! What goes into a decision about snapshots and what comes out.

use std::fmt;

use crate::format::snapshot::SnapshotState;
use crate::id::SnapshotId;
use crate::time::Timestamp;

/// A snapshot that is to be decided about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Candidate {
    /// Which one it is.
    pub id: SnapshotId,
    /// When the store received the log entry that made it a snapshot, by the store's clock; a writer's own clock is no
    /// one's business here. Which of two is newer is said by their order, never by this.
    pub time: Timestamp,
    /// How whole it is. Leave checkpoints out: they are no states to restore to, and never count as clean.
    pub state: SnapshotState,
    /// Somebody or something gave a reason to look at it before its predecessors are let go; see
    /// [`Suspicion`](crate::Suspicion). Whoever has looked and found nothing clears it.
    pub suspicious: bool,
    /// It must stay, whatever the rules say: a legal hold, a restore that is under way.
    pub held: bool,
    /// Its labels: names and values.
    pub labels: Vec<(String, String)>,
}

impl Candidate {
    /// A snapshot that is not suspicious, not held and has no labels.
    #[must_use]
    pub const fn new(id: SnapshotId, time: Timestamp, state: SnapshotState) -> Self {
        Self { id, time, state, suspicious: false, held: false, labels: Vec::new() }
    }

    /// This snapshot, suspicious or not.
    #[must_use]
    pub const fn with_suspicious(mut self, suspicious: bool) -> Self {
        self.suspicious = suspicious;
        self
    }

    /// This snapshot, held or not.
    #[must_use]
    pub const fn with_held(mut self, held: bool) -> Self {
        self.held = held;
        self
    }

    /// This snapshot with these labels.
    #[must_use]
    pub fn with_labels(mut self, labels: Vec<(String, String)>) -> Self {
        self.labels = labels;
        self
    }

    /// Whether it counts for rules: a state to restore to, and no reason to doubt it.
    pub(super) fn is_clean(&self) -> bool {
        !self.suspicious && self.state != SnapshotState::Checkpoint
    }

    pub(super) fn is_complete(&self) -> bool {
        self.state == SnapshotState::Complete
    }

    /// Whether fewer than so many days have passed since it was made. What is dated after `now` is of age zero.
    pub(super) fn is_younger(&self, now: Timestamp, days: u32) -> bool {
        let limit = now.seconds().checked_sub(i64::from(days) * 86_400);
        // A limit before the beginning of time is a limit that nothing has reached.
        days > 0 && limit.is_none_or(|seconds| self.time > Timestamp::new(seconds, now.nanos()))
    }
}

/// What is to become of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Decision {
    /// Which one it is.
    pub id: SnapshotId,
    /// Whether it stays. If not, it may go; nothing says that it must.
    pub keep: bool,
    /// Every reason to keep it, those that no setting changes first; empty if it may go.
    pub reasons: Vec<Reason>,
}

/// A reason to keep a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// It is held.
    Held,
    /// It is one of the newest clean ones, `floor_last` of which always stay.
    NewestClean,
    /// It is the newest clean one that is complete.
    NewestComplete,
    /// It is suspicious, but no clean one is newer.
    NewerThanClean,
    /// It is dated after the time of the decision.
    AfterNow,
    /// It is younger than `floor_days`.
    Floor,
    /// It is younger than `within_days`.
    Within,
    /// It has one of `labels`.
    Label,
    /// It is one of the newest clean ones: the first, the second ...
    Last(u32),
    /// It is the last one of its hour, which is the newest hour that has one, the second newest ...
    Hourly(u32),
    /// The same for days.
    Daily(u32),
    /// The same for weeks.
    Weekly(u32),
    /// The same for months.
    Monthly(u32),
    /// The same for years.
    Yearly(u32),
    /// No rule is set.
    NoRule,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held => f.write_str("held"),
            Self::NewestClean => f.write_str("newest clean"),
            Self::NewestComplete => f.write_str("newest complete"),
            Self::NewerThanClean => f.write_str("newer than every clean one"),
            Self::AfterNow => f.write_str("dated in the future"),
            Self::Floor => f.write_str("too young to be removed"),
            Self::Within => f.write_str("young enough"),
            Self::Label => f.write_str("labelled"),
            Self::Last(nth) => write!(f, "last {nth}"),
            Self::Hourly(nth) => write!(f, "hourly {nth}"),
            Self::Daily(nth) => write!(f, "daily {nth}"),
            Self::Weekly(nth) => write!(f, "weekly {nth}"),
            Self::Monthly(nth) => write!(f, "monthly {nth}"),
            Self::Yearly(nth) => write!(f, "yearly {nth}"),
            Self::NoRule => f.write_str("no rule is set"),
        }
    }
}
