//! Slowing down before the service refuses: what is left of a quota is spread over the time until it is renewed.
//!
//! SharePoint sends `RateLimit-Limit`, `-Remaining` and `-Reset` once four fifths of a minute's quota are used.

use std::time::Duration;

use backup_core::Timestamp;
use http::HeaderMap;

use crate::transport::{between, later};

/// Longest time until a reset that is believed, in seconds: the quotas are of minutes.
const RESET_SECONDS_MAX: u64 = 3_600;

/// The pace of one service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    /// When the quota is renewed; nothing holds after that.
    until: Option<Timestamp>,
    per_unit: Duration,
    next: Option<Timestamp>,
}

impl Pace {
    /// Learns from the headers of an answer, whatever its status.
    pub(crate) fn observe(&mut self, now: Timestamp, headers: &HeaderMap) {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
        let (Some(remaining), Some(reset)) = (number("ratelimit-remaining"), number("ratelimit-reset"))
        else {
            return;
        };
        let reset = Duration::from_secs(reset.min(RESET_SECONDS_MAX));
        let until = later(now, reset);
        self.until = Some(until);
        match u32::try_from(remaining).unwrap_or(u32::MAX) {
            0 => self.next = Some(until),
            remaining => {
                self.per_unit = reset / remaining;
                // A hold from an earlier answer that the quota has outlived is over.
                self.next = self.next.filter(|next| *next < until);
            }
        }
    }

    /// How long to wait before the next request.
    pub(crate) fn wait(&self, now: Timestamp) -> Option<Duration> {
        self.until.filter(|until| *until > now)?;
        self.next.map(|next| between(now, next)).filter(|wait| !wait.is_zero())
    }

    /// A request of so many units goes out.
    pub(crate) fn sent(&mut self, now: Timestamp, units: u32) {
        let Some(until) = self.until.filter(|until| *until > now) else {
            *self = Self::default();
            return;
        };
        let step = self.per_unit.saturating_mul(units);
        self.next = Some(later(self.next.map_or(now, |next| next.max(now)), step).min(until));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::new(1_800_000_000, 0);

    fn headers(remaining: u64, reset: u64) -> HeaderMap {
        [("ratelimit-limit", 1_250), ("ratelimit-remaining", remaining), ("ratelimit-reset", reset)]
            .map(|(name, value)| (name.parse().unwrap(), value.into()))
            .into_iter()
            .collect()
    }

    #[test]
    fn what_remains_is_spread_over_the_time_to_the_reset() {
        let mut pace = Pace::default();
        assert_eq!(pace.wait(NOW), None);
        pace.observe(NOW, &headers(10, 30));
        assert_eq!(pace.wait(NOW), None);
        pace.sent(NOW, 2);
        assert_eq!(pace.wait(NOW), Some(Duration::from_secs(6)));
        assert_eq!(pace.wait(later(NOW, Duration::from_secs(6))), None);
    }

    #[test]
    fn nothing_left_means_waiting_for_the_reset_and_no_longer() {
        let mut pace = Pace::default();
        pace.observe(NOW, &headers(0, 12));
        assert_eq!(pace.wait(NOW), Some(Duration::from_secs(12)));
        let after = later(NOW, Duration::from_secs(12));
        assert_eq!(pace.wait(after), None);
        pace.sent(after, 100);
        assert_eq!(pace.wait(after), None, "a renewed quota is not paced");
    }

    #[test]
    fn headers_that_are_none_change_nothing() {
        let mut pace = Pace::default();
        pace.observe(NOW, &HeaderMap::new());
        pace.observe(
            NOW,
            &[("ratelimit-remaining".parse().unwrap(), "many".parse().unwrap())].into_iter().collect(),
        );
        assert_eq!(pace, Pace::default());
    }

    proptest! {
        #[test]
        fn no_more_is_sent_than_remains_and_no_wait_reaches_past_the_reset(
            remaining in 0u64..500, reset in 1u64..300, units in 1u32..6,
        ) {
            let mut pace = Pace::default();
            pace.observe(NOW, &headers(remaining, reset));
            let (mut now, end) = (NOW, later(NOW, Duration::from_secs(reset)));
            let mut sent = 0;
            while now < end {
                match pace.wait(now) {
                    Some(wait) => {
                        now = later(now, wait);
                        prop_assert!(now <= end);
                    }
                    None => {
                        pace.sent(now, units);
                        sent += u64::from(units);
                        prop_assert!(sent < remaining + u64::from(units) + 1, "{sent} of {remaining}");
                    }
                }
            }
        }
    }
}
