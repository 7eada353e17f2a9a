//! What a client has done so far.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backup_core::{Attributes, Value};

use crate::throttle::{Cause, Demand};

/// What a client has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Requests sent, repeated ones included; token requests not included.
    pub requests: u64,
    /// Requests that were sent within batches, repeated ones included.
    pub inner_requests: u64,
    /// Requests sent again after a failure that may pass.
    pub retries: u64,
    /// Answers that asked for fewer requests, those within batches included.
    pub throttled: u64,
    /// Resource units spent, as estimated by the table of [`throttle`](crate::throttle).
    pub resource_units: u64,
    /// Bytes of request bodies.
    pub bytes_sent: u64,
    /// Bytes of response bodies.
    pub bytes_received: u64,
    /// How often something had to wait because the service asked for it or failed.
    pub waits: u64,
    /// Time spent in these waits, summed over all requests.
    pub waited: Duration,
    /// The part of `waited` for which the service named a time.
    pub waited_retry_after: Duration,
    /// The part of `waited` after failures without a time.
    pub waited_backoff: Duration,
    /// Time spent spreading what was left of the service's quota.
    pub waited_pacing: Duration,
    /// Time spent waiting for the embedder's budget.
    pub waited_budget: Duration,
    /// Time spent waiting for other requests to end.
    pub waited_concurrency: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    requests: AtomicU64,
    inner_requests: AtomicU64,
    retries: AtomicU64,
    throttled: AtomicU64,
    resource_units: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
    waits: AtomicU64,
    waited_ms: [AtomicU64; 5],
}

impl Counters {
    pub(super) fn sent(&self, demand: Demand, inner: u64, bytes: u64) {
        add(&self.requests, 1);
        add(&self.inner_requests, inner);
        add(&self.resource_units, demand.units());
        add(&self.bytes_sent, bytes);
    }

    pub(super) fn repeated(&self, count: u64) {
        add(&self.retries, count);
    }

    pub(super) fn throttled(&self, count: u64) {
        add(&self.throttled, count);
    }

    pub(super) fn received(&self, bytes: u64) {
        add(&self.bytes_received, bytes);
    }

    pub(super) fn waited(&self, wait: Duration, cause: Cause) {
        if matches!(cause, Cause::RetryAfter | Cause::Backoff) {
            add(&self.waits, 1);
        }
        if let Some(waited_ms) = self.waited_ms.get(cause as usize) {
            add(waited_ms, u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        }
    }

    pub(super) fn metrics(&self) -> Metrics {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let waited = |cause: Cause| {
            self.waited_ms
                .get(cause as usize)
                .map_or(Duration::ZERO, |counter| Duration::from_millis(load(counter)))
        };
        Metrics {
            requests: load(&self.requests),
            inner_requests: load(&self.inner_requests),
            retries: load(&self.retries),
            throttled: load(&self.throttled),
            resource_units: load(&self.resource_units),
            bytes_sent: load(&self.bytes_sent),
            bytes_received: load(&self.bytes_received),
            waits: load(&self.waits),
            waited: waited(Cause::RetryAfter).saturating_add(waited(Cause::Backoff)),
            waited_retry_after: waited(Cause::RetryAfter),
            waited_backoff: waited(Cause::Backoff),
            waited_pacing: waited(Cause::Pacing),
            waited_budget: waited(Cause::Budget),
            waited_concurrency: waited(Cause::Concurrency),
        }
    }
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Metrics {
    /// The figures by name, for a run's report.
    #[must_use]
    pub fn to_attributes(&self) -> Attributes {
        let ms = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let figures = [
            ("requests", self.requests),
            ("inner_requests", self.inner_requests),
            ("retries", self.retries),
            ("throttled", self.throttled),
            ("resource_units", self.resource_units),
            ("bytes_sent", self.bytes_sent),
            ("bytes_received", self.bytes_received),
            ("waits", self.waits),
            ("waited_ms", ms(self.waited)),
            ("waited_retry_after_ms", ms(self.waited_retry_after)),
            ("waited_backoff_ms", ms(self.waited_backoff)),
            ("waited_pacing_ms", ms(self.waited_pacing)),
            ("waited_budget_ms", ms(self.waited_budget)),
            ("waited_concurrency_ms", ms(self.waited_concurrency)),
        ];
        let value = |count: u64| Value::Int(i64::try_from(count).unwrap_or(i64::MAX));
        figures.into_iter().map(|(name, count)| (name.to_owned(), value(count))).collect()
    }
}
