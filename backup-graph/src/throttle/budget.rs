//! What the embedder allows, as buckets that fill evenly: a backup shares the tenant's quota with everybody's work.

use std::time::Duration;

use backup_core::Timestamp;

use crate::transport::{between, later};

/// How much a client may use, over all its clones. Nothing is limited unless told.
///
/// Up to one minute's worth may be used at once; after that, use is spread evenly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budget {
    /// Requests, those within batches counted singly.
    pub requests_per_hour: Option<u64>,
    /// Resource units, as estimated by [`cost`](crate::throttle::Service).
    pub units_per_hour: Option<u64>,
    /// Bytes of request and response bodies. Responses are slowed down while they are read.
    pub bytes_per_hour: Option<u64>,
}

impl Budget {
    /// No limit at all.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self { requests_per_hour: None, units_per_hour: None, bytes_per_hour: None }
    }

    /// At most so many requests an hour.
    #[must_use]
    pub const fn with_requests_per_hour(mut self, count: u64) -> Self {
        self.requests_per_hour = Some(count);
        self
    }

    /// At most so many resource units an hour.
    #[must_use]
    pub const fn with_units_per_hour(mut self, count: u64) -> Self {
        self.units_per_hour = Some(count);
        self
    }

    /// At most so many bytes an hour.
    #[must_use]
    pub const fn with_bytes_per_hour(mut self, count: u64) -> Self {
        self.bytes_per_hour = Some(count);
        self
    }
}

const HOUR_NANOS: u64 = 3_600_000_000_000;
/// What may be used ahead of an even spread.
const AHEAD: Duration = Duration::from_secs(60);
/// The farthest that one charge moves a bucket: whoever charges more has made a mistake or pays later.
const CHARGE_SECONDS_MAX: u64 = 30 * 24 * 3_600;

/// One allowance. Charging is always possible and may leave a debt; whoever asks waits until the debt is small.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    per_hour: u64,
    /// When everything charged so far would have been used at an even pace.
    even: Option<Timestamp>,
}

impl Bucket {
    pub(crate) const fn new(per_hour: u64) -> Self {
        Self { per_hour: if per_hour == 0 { 1 } else { per_hour }, even: None }
    }

    /// How long to wait before anything more is used.
    pub(crate) fn wait(&self, now: Timestamp) -> Option<Duration> {
        let ahead = between(now, self.even?);
        ahead.checked_sub(AHEAD).filter(|wait| !wait.is_zero())
    }

    pub(crate) fn charge(&mut self, now: Timestamp, count: u64) {
        let nanos = u128::from(count) * u128::from(HOUR_NANOS) / u128::from(self.per_hour);
        let longest = Duration::from_secs(CHARGE_SECONDS_MAX);
        let time = u64::try_from(nanos).map_or(longest, Duration::from_nanos).min(longest);
        self.even = Some(later(self.even.map_or(now, |even| even.max(now)), time));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::new(1_800_000_000, 0);

    #[test]
    fn an_hour_has_room_for_the_budget_and_one_minute_ahead() {
        let mut bucket = Bucket::new(60);
        let mut now = NOW;
        let mut used = 0;
        while between(NOW, now) < Duration::from_secs(3_600) {
            match bucket.wait(now) {
                Some(wait) => now = later(now, wait),
                None => {
                    bucket.charge(now, 1);
                    used += 1;
                }
            }
        }
        assert_eq!(used, 61);
    }

    #[test]
    fn a_debt_is_waited_for_and_not_forgiven() {
        let mut bucket = Bucket::new(3_600);
        bucket.charge(NOW, 3_600);
        assert_eq!(bucket.wait(NOW), Some(Duration::from_secs(3_540)));
        bucket.charge(NOW, u64::MAX);
        assert!(bucket.wait(NOW).unwrap() <= Duration::from_secs(CHARGE_SECONDS_MAX + 3_600));
        assert!(Bucket::new(0).wait(NOW).is_none());
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_its_share_plus_what_may_be_ahead(
            per_hour in 1u64..100_000,
            charges in prop::collection::vec((0u64..2_000, 1u64..50), 1..200),
        ) {
            let mut bucket = Bucket::new(per_hour);
            let mut now = NOW;
            let mut uses = Vec::new();
            for (pause_ms, count) in charges {
                now = later(now, Duration::from_millis(pause_ms));
                if let Some(wait) = bucket.wait(now) {
                    now = later(now, wait);
                    prop_assert_eq!(bucket.wait(now), None, "the wait named is enough");
                }
                bucket.charge(now, count);
                uses.push((now, count));
            }
            for (index, (start, _)) in uses.iter().enumerate() {
                let mut sum = 0u128;
                for (end, count) in &uses[index..] {
                    let window = between(*start, *end) + AHEAD;
                    // What is used last may overdraw; everything before it fits.
                    let share = u128::from(per_hour) * window.as_nanos() / u128::from(HOUR_NANOS);
                    prop_assert!(sum <= share + 1);
                    sum += u128::from(*count);
                }
            }
        }
    }
}
