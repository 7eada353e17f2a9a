//! Whether a request may go out now: fences, paces and budgets together. Decides only; the client waits.

use std::time::Duration;

use backup_core::Timestamp;
use http::HeaderMap;

use super::Fence;
use super::budget::{Bucket, Budget};
use super::cost::{Demand, Service};
use super::pace::Pace;

/// Why a request waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The service named a time.
    RetryAfter,
    /// The last answer was a failure without a time.
    Backoff,
    /// What is left of the service's quota is spread.
    Pacing,
    /// The embedder's own limit.
    Budget,
    /// Enough requests are open.
    Concurrency,
}

impl Cause {
    /// Why something waits, for an operator.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::RetryAfter => "the service asks for it",
            Self::Backoff => "the service fails",
            Self::Pacing => "the service's quota is spread",
            Self::Budget => "the budget is used up",
            Self::Concurrency => "enough requests are open",
        }
    }
}

/// Whether to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Now; it is charged already.
    Send,
    /// Ask again after this time.
    Wait(Duration, Cause),
}

/// The state behind the decisions, for one application in one tenant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limiter {
    gates: [Gate; Service::ALL.len()],
    requests: Option<Bucket>,
    units: Option<Bucket>,
    bytes: Option<Bucket>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Gate {
    fence: Fence,
    pace: Pace,
}

impl Limiter {
    /// Sets the budget; what was used before is forgotten, fences are not.
    pub(crate) fn set_budget(&mut self, budget: Budget) {
        self.requests = budget.requests_per_hour.map(Bucket::new);
        self.units = budget.units_per_hour.map(Bucket::new);
        self.bytes = budget.bytes_per_hour.map(Bucket::new);
    }

    /// Whether this may be sent now, with so many bytes of body.
    pub(crate) fn ask(&mut self, now: Timestamp, demand: Demand, bytes: u64) -> Decision {
        let gates = || demand.services().filter_map(|(service, _)| self.gates.get(service as usize));
        if let Some(wait) = gates().filter_map(|gate| gate.fence.wait(now)).max() {
            return Decision::Wait(wait, Cause::RetryAfter);
        }
        if let Some(wait) = gates().filter_map(|gate| gate.pace.wait(now)).max() {
            return Decision::Wait(wait, Cause::Pacing);
        }
        let buckets = [&self.requests, &self.units, &self.bytes].into_iter().flatten();
        if let Some(wait) = buckets.filter_map(|bucket| bucket.wait(now)).max() {
            return Decision::Wait(wait, Cause::Budget);
        }
        for (service, units) in demand.services() {
            if let Some(gate) = self.gates.get_mut(service as usize) {
                gate.pace.sent(now, units);
            }
        }
        let charges = [
            (&mut self.requests, demand.requests()),
            (&mut self.units, demand.units()),
            (&mut self.bytes, bytes),
        ];
        for (bucket, count) in charges {
            if let Some(bucket) = bucket {
                bucket.charge(now, count);
            }
        }
        Decision::Send
    }

    /// Learns from the headers of an answer.
    pub(crate) fn observe(&mut self, now: Timestamp, demand: Demand, headers: &HeaderMap) {
        for (service, _) in demand.services() {
            if let Some(gate) = self.gates.get_mut(service as usize) {
                gate.pace.observe(now, headers);
            }
        }
    }

    /// The service named a time before which it is not to be called.
    pub(crate) fn raise_fence(&mut self, now: Timestamp, demand: Demand, wait: Duration) {
        for (service, _) in demand.services() {
            if let Some(gate) = self.gates.get_mut(service as usize) {
                gate.fence.raise(now, wait);
            }
        }
    }

    /// Bytes came in; how long to wait before more are read.
    pub(crate) fn received(&mut self, now: Timestamp, bytes: u64) -> Option<Duration> {
        let bucket = self.bytes.as_mut()?;
        bucket.charge(now, bytes);
        bucket.wait(now)
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use proptest::prelude::*;

    use super::*;
    use crate::transport::{between, later};

    const NOW: Timestamp = Timestamp::new(1_800_000_000, 0);
    const SECOND: Duration = Duration::from_secs(1);

    fn demand(path: &str) -> Demand {
        Demand::of(&Method::GET, path)
    }

    #[test]
    fn one_service_that_asks_to_wait_does_not_hold_another() {
        let mut limiter = Limiter::default();
        limiter.raise_fence(NOW, demand("/v1.0/drives/1"), SECOND * 10);
        let waits = Decision::Wait(SECOND * 10, Cause::RetryAfter);
        assert_eq!(limiter.ask(NOW, demand("/v1.0/sites/1"), 0), waits);
        assert_eq!(
            limiter.ask(NOW, Demand::of_content(&Method::GET), 0),
            waits,
            "content hosts are the same service"
        );
        assert_eq!(limiter.ask(NOW, demand("/v1.0/users"), 0), Decision::Send);
        let both = demand("/v1.0/users").and(demand("/v1.0/drives/1"));
        assert_eq!(limiter.ask(NOW, both, 0), waits, "a batch waits for the slowest");
    }

    #[test]
    fn each_budget_holds_on_its_own() {
        for (budget, cost) in [
            (Budget::unlimited().with_requests_per_hour(60), 60),
            (Budget::unlimited().with_units_per_hour(60), 30),
            (Budget::unlimited().with_bytes_per_hour(6_000), 60),
        ] {
            let mut limiter = Limiter::default();
            limiter.set_budget(budget);
            let (mut now, mut sent) = (NOW, 0);
            while between(NOW, now) < SECOND * 3_600 {
                match limiter.ask(now, demand("/v1.0/users"), 100) {
                    Decision::Send => sent += 1,
                    Decision::Wait(wait, cause) => {
                        assert_eq!(cause, Cause::Budget);
                        now = later(now, wait);
                    }
                }
            }
            assert!((cost..=cost + 1).contains(&sent), "{sent} {budget:?}");
        }
    }

    #[test]
    fn bytes_that_came_in_slow_the_reader_and_the_next_request() {
        let mut limiter = Limiter::default();
        assert_eq!(limiter.received(NOW, 1 << 40), None);
        limiter.set_budget(Budget::unlimited().with_bytes_per_hour(3_600));
        assert_eq!(limiter.received(NOW, 60), None);
        assert_eq!(limiter.received(NOW, 40), Some(SECOND * 40));
        assert_eq!(limiter.ask(NOW, demand(""), 0), Decision::Wait(SECOND * 40, Cause::Budget));
    }

    #[derive(Clone, Debug)]
    enum Event {
        Ask(usize),
        Told(usize, u64),
        Headers(usize, u64, u64),
        Pass(u64),
    }

    const PATHS: [&str; 4] = ["/v1.0/drives/1", "/v1.0/users", "/v1.0/teams/1", "/v1.0/users/1/messages"];

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => (0..4usize).prop_map(Event::Ask),
            1 => (0..4usize, 0..100u64).prop_map(|(at, wait)| Event::Told(at, wait)),
            1 => (0..4usize, 0..50u64, 0..60u64).prop_map(|(at, left, reset)| Event::Headers(at, left, reset)),
            2 => (0..40_000u64).prop_map(Event::Pass),
        ]
    }

    proptest! {
        #[test]
        fn nothing_is_ever_sent_inside_a_window_and_every_wait_ends(
            events in prop::collection::vec(event(), 0..300), per_hour in prop::option::of(1u64..10_000),
        ) {
            let mut limiter = Limiter::default();
            limiter.set_budget(Budget { requests_per_hour: per_hour, ..Budget::default() });
            let mut closed = [NOW; 4];
            let mut now = NOW;
            for event in events {
                match event {
                    Event::Pass(wait_ms) => now = later(now, Duration::from_millis(wait_ms)),
                    Event::Told(at, wait) => {
                        limiter.raise_fence(now, demand(PATHS[at]), SECOND * u32::try_from(wait).unwrap());
                        closed[at] = closed[at].max(later(now, Duration::from_secs(wait)));
                    }
                    Event::Headers(at, left, reset) => {
                        let headers = [("ratelimit-remaining", left), ("ratelimit-reset", reset)]
                            .map(|(name, value)| (name.parse().unwrap(), value.into()));
                        limiter.observe(now, demand(PATHS[at]), &headers.into_iter().collect());
                    }
                    Event::Ask(at) => {
                        let mut waits = 0;
                        while let Decision::Wait(wait, _) = limiter.ask(now, demand(PATHS[at]), 0) {
                            prop_assert!(!wait.is_zero());
                            now = later(now, wait);
                            waits += 1;
                            prop_assert!(waits <= 3, "fence, pace and budget each name their whole wait");
                        }
                        prop_assert!(now >= closed[at]);
                    }
                }
            }
        }
    }
}
