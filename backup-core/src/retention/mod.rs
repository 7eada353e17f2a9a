//! Which snapshots of a collection stay and which may go: settings, a list of snapshots, a decision with its reasons.
//!
//! It removes nothing, reads nothing and never asks what time it is: the caller lists the snapshots in the order of the
//! log, says what time it is, and carries out what was decided. So a rehearsal is the same call as the real thing.
//! `docs/retention.md` is the page for embedders; start at [`Retention::decide`].

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::time::Timestamp;

mod calendar;
mod decision;
mod label;
#[cfg(test)]
mod tests;

use calendar::Period;
pub use decision::{Candidate, Decision, Reason};
pub use label::LabelMatch;

/// Longest distance from UTC at which days may begin, in minutes. Real ones reach from -12 to +14 hours.
const UTC_OFFSET_MINUTES_MAX: u32 = 18 * 60;
/// Most label rules of one retention.
const LABEL_RULES_MAX: usize = 1_000;

/// How long the snapshots of a collection are kept.
///
/// A snapshot stays if at least one rule keeps it. Rules that count (`last`, `hourly` ... `yearly`) see only *clean*
/// snapshots: those that are not suspicious. Somebody who encrypts what is protected thus cannot push the versions before
/// it out by making many new ones. As long as no rule is set, everything is kept; labels and floors are no rules, they
/// only add to what is kept.
///
/// As data it is an object whose absent fields have their defaults. An unknown field is refused: a rule that is
/// misspelled must not read as one that keeps nothing.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Retention {
    /// Keeps the newest so many clean snapshots, by the order of the log. Default 0.
    pub last: u32,
    /// Keeps the last clean snapshot of each of the newest so many hours that have one. Default 0. Here and below, one
    /// that is incomplete counts only if there is no complete one in its period.
    pub hourly: u32,
    /// The same for days. Default 0.
    pub daily: u32,
    /// The same for weeks, which begin on Monday. Default 0.
    pub weekly: u32,
    /// The same for months. Default 0.
    pub monthly: u32,
    /// The same for years. Default 0.
    pub yearly: u32,
    /// Keeps everything that is younger than so many days. Default 0.
    pub within_days: u32,
    /// Keeps every snapshot that has one of these labels, suspicious or not. Default none.
    pub labels: Vec<LabelMatch>,
    /// Nothing younger than so many days is ever removed, whatever the rules say. Default 7. At 0, whoever makes enough
    /// snapshots that pass for clean pushes the older ones out within a day.
    pub floor_days: u32,
    /// The newest so many clean snapshots are never removed, whatever the rules say. Default 1, and at least that.
    pub floor_last: u32,
    /// Minutes east of UTC at which hours, days, weeks, months and years begin. Default 0, at most 18 hours. Fixed, also
    /// over changes to and from summer time, so that the same list always gives the same decision.
    pub utc_offset_minutes: i32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            last: 0,
            hourly: 0,
            daily: 0,
            weekly: 0,
            monthly: 0,
            yearly: 0,
            within_days: 0,
            labels: Vec::new(),
            floor_days: 7,
            floor_last: 1,
            utc_offset_minutes: 0,
        }
    }
}

impl Retention {
    /// Keeps the newest `count` clean snapshots.
    #[must_use]
    pub const fn with_last(mut self, count: u32) -> Self {
        self.last = count;
        self
    }

    /// Keeps one snapshot an hour for the newest `count` hours that have one.
    #[must_use]
    pub const fn with_hourly(mut self, count: u32) -> Self {
        self.hourly = count;
        self
    }

    /// Keeps one snapshot a day for the newest `count` days that have one.
    #[must_use]
    pub const fn with_daily(mut self, count: u32) -> Self {
        self.daily = count;
        self
    }

    /// Keeps one snapshot a week for the newest `count` weeks that have one.
    #[must_use]
    pub const fn with_weekly(mut self, count: u32) -> Self {
        self.weekly = count;
        self
    }

    /// Keeps one snapshot a month for the newest `count` months that have one.
    #[must_use]
    pub const fn with_monthly(mut self, count: u32) -> Self {
        self.monthly = count;
        self
    }

    /// Keeps one snapshot a year for the newest `count` years that have one.
    #[must_use]
    pub const fn with_yearly(mut self, count: u32) -> Self {
        self.yearly = count;
        self
    }

    /// Keeps everything that is younger than so many days.
    #[must_use]
    pub const fn with_within_days(mut self, days: u32) -> Self {
        self.within_days = days;
        self
    }

    /// Keeps what has this label too.
    #[must_use]
    pub fn with_label(mut self, label: LabelMatch) -> Self {
        self.labels.push(label);
        self
    }

    /// Never removes what is younger than so many days.
    #[must_use]
    pub const fn with_floor_days(mut self, days: u32) -> Self {
        self.floor_days = days;
        self
    }

    /// Never removes the newest `count` clean snapshots.
    #[must_use]
    pub const fn with_floor_last(mut self, count: u32) -> Self {
        self.floor_last = count;
        self
    }

    /// Lets days begin so many minutes east of UTC.
    #[must_use]
    pub const fn with_utc_offset_minutes(mut self, minutes: i32) -> Self {
        self.utc_offset_minutes = minutes;
        self
    }

    /// Whether no rule is set, so that everything is kept.
    #[must_use]
    pub const fn keeps_everything(&self) -> bool {
        self.last == 0
            && self.hourly == 0
            && self.daily == 0
            && self.weekly == 0
            && self.monthly == 0
            && self.yearly == 0
            && self.within_days == 0
    }

    /// Checks the settings, best where they are entered: [`decide`](Self::decide) takes any.
    ///
    /// # Errors
    /// `InvalidArgument` naming the field.
    pub fn validate(&self) -> Result<()> {
        if self.floor_last == 0 {
            return Err(Error::invalid("floor_last is 0: the newest clean snapshot is always kept"));
        }
        if self.utc_offset_minutes.unsigned_abs() > UTC_OFFSET_MINUTES_MAX {
            return Err(Error::invalid("utc_offset_minutes is more than 18 hours"));
        }
        if self.labels.len() > LABEL_RULES_MAX {
            return Err(Error::invalid("labels are more than 1,000"));
        }
        self.labels.iter().try_for_each(LabelMatch::validate)
    }

    /// Decides for each of the snapshots of ONE collection whether it stays, and says why.
    ///
    /// `candidates` are in the order of the log, oldest first; the decisions are in the same order. `now` is best taken
    /// from where the times of the candidates come from, the store: a clock that is ahead makes everything look old.
    ///
    /// Whatever the settings and the times are:
    /// - what is held, the newest clean snapshot and the newest clean complete one stay;
    /// - what is not clean stays while it is newer than the newest clean one, and never counts for a rule;
    /// - what is dated after `now` stays and counts for no period: one of two clocks is wrong. So an earlier `now` never
    ///   removes more;
    /// - whoever removes only a part of what may go, and asks again at the same `now`, gets the same answer.
    ///
    /// ```
    /// use backup_core::{Candidate, Retention, SnapshotId, SnapshotState, Timestamp};
    ///
    /// let at = |day: u8| Timestamp::new(i64::from(day) * 86_400, 0);
    /// let candidates: Vec<_> = (1..=30)
    ///     .map(|day| Candidate::new(SnapshotId::from_bytes([day; 16]), at(day), SnapshotState::Complete))
    ///     .collect();
    /// let decisions = Retention::default().with_daily(10).decide(at(30), &candidates);
    /// assert_eq!(decisions.iter().filter(|decision| decision.keep).count(), 10);
    /// ```
    #[must_use]
    pub fn decide(&self, now: Timestamp, candidates: &[Candidate]) -> Vec<Decision> {
        let periods = [
            (Period::Hour, self.hourly),
            (Period::Day, self.daily),
            (Period::Week, self.weekly),
            (Period::Month, self.monthly),
            (Period::Year, self.yearly),
        ];
        let periods =
            periods.map(|(period, count)| (period, self.last_of_each(period, count, now, candidates)));
        let (mut clean, mut complete) = (0u32, false);
        let mut decisions = Vec::with_capacity(candidates.len());
        for (position, candidate) in candidates.iter().enumerate().rev() {
            let mut reasons = Vec::new();
            let mut keep_if = |applies: bool, reason: Reason| {
                if applies {
                    reasons.push(reason);
                }
            };
            keep_if(candidate.held, Reason::Held);
            if candidate.is_clean() {
                clean = clean.saturating_add(1);
                keep_if(clean <= self.floor_last.max(1), Reason::NewestClean);
                keep_if(candidate.is_complete() && !complete, Reason::NewestComplete);
                complete |= candidate.is_complete();
            } else {
                keep_if(clean == 0, Reason::NewerThanClean);
            }
            keep_if(candidate.time > now, Reason::AfterNow);
            keep_if(candidate.is_younger(now, self.floor_days), Reason::Floor);
            keep_if(candidate.is_younger(now, self.within_days), Reason::Within);
            keep_if(self.labels.iter().any(|label| label.fits(&candidate.labels)), Reason::Label);
            keep_if(candidate.is_clean() && clean <= self.last, Reason::Last(clean));
            for (period, last) in &periods {
                if let Some(nth) = last.get(&position) {
                    keep_if(true, reason(*period, *nth));
                }
            }
            keep_if(self.keeps_everything(), Reason::NoRule);
            decisions.push(Decision { id: candidate.id, keep: !reasons.is_empty(), reasons });
        }
        decisions.reverse();
        decisions
    }

    /// The positions of the snapshots that count for the newest `count` periods that have one, each with the number of its
    /// period, counted from the newest.
    ///
    /// The newest periods are those of the latest times, not those whose snapshots come last in the log: then what is
    /// taken from the list elsewhere cannot bring another period forward.
    fn last_of_each(
        &self,
        period: Period,
        count: u32,
        now: Timestamp,
        candidates: &[Candidate],
    ) -> BTreeMap<usize, u32> {
        if count == 0 {
            return BTreeMap::new();
        }
        let mut last: BTreeMap<i64, (usize, bool)> = BTreeMap::new();
        for (position, candidate) in candidates.iter().enumerate() {
            if !candidate.is_clean() || candidate.time > now {
                continue;
            }
            let this = (position, candidate.is_complete());
            let slot = last.entry(period.number(candidate.time, self.utc_offset_minutes)).or_insert(this);
            if candidate.is_complete() || !slot.1 {
                *slot = this;
            }
        }
        last.into_values().rev().zip(1..=count).map(|((position, _), nth)| (position, nth)).collect()
    }
}

/// Why the snapshot stays that counts for the `nth` newest period of a kind.
const fn reason(period: Period, nth: u32) -> Reason {
    match period {
        Period::Hour => Reason::Hourly(nth),
        Period::Day => Reason::Daily(nth),
        Period::Week => Reason::Weekly(nth),
        Period::Month => Reason::Monthly(nth),
        Period::Year => Reason::Yearly(nth),
    }
}
