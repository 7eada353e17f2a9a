//! When to send, when to wait and when to give up: pure decisions from (time, attempt, answer, random number).
//!
//! Microsoft's rule: whoever is told to wait and asks again earlier is counted on and finally blocked. So a wait that
//! one request was told holds for all requests of a client to that service: the [`Fence`]. Where no time was named,
//! waits grow exponentially with full jitter, so that many clients do not return in step.
//!
//! Start with [`Patience`] for what one request does, `limiter` for what all of them may do together, `cost` for the
//! table of services and units.

mod budget;
mod concurrency;
mod cost;
mod limiter;
mod pace;

pub use budget::Budget;
pub(crate) use concurrency::Concurrency;
pub(crate) use cost::Demand;
pub use cost::{Lane, Service};
pub(crate) use limiter::{Cause, Decision, Limiter};

use std::time::Duration;

use backup_core::Timestamp;
use http::{HeaderMap, StatusCode, header};

use crate::transport::{between, later};

/// How patient a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Patience {
    /// How often one request is sent, at most. The default is 8.
    pub attempts_max: u32,
    /// The longest single wait that is accepted; a service that asks for more ends the request with `Throttled` and
    /// the time to come back. The default is 15 minutes.
    pub wait_max: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { attempts_max: 8, wait_max: Duration::from_secs(15 * 60) }
    }
}

/// What came back from a request.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Answer<'a> {
    /// A response.
    Response(StatusCode, &'a HeaderMap),
    /// No response, or one that broke off.
    Broken,
}

/// What to do about an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Nothing to wait for: the answer stands.
    Final,
    /// Ask again after this time. `told` if the service named it.
    Wait {
        /// How long.
        wait: Duration,
        /// Whether the service named the time, so that it holds for all requests.
        told: bool,
    },
    /// Asked often enough, or told to wait too long.
    GiveUp {
        /// The time that the service named.
        retry_after: Option<Duration>,
    },
}

impl Patience {
    /// Judges the answer to the attempt of this number (from 1). `random` is any number, new for each call.
    #[must_use]
    pub fn judge(&self, now: Timestamp, attempt: u32, answer: Answer<'_>, random: u64) -> Verdict {
        let told = match answer {
            Answer::Response(status, headers) if is_passing(status) => asked_wait(now, headers),
            Answer::Response(..) => return Verdict::Final,
            Answer::Broken => None,
        };
        if attempt >= self.attempts_max || told.is_some_and(|wait| wait > self.wait_max) {
            return Verdict::GiveUp { retry_after: told };
        }
        match told {
            Some(wait) => Verdict::Wait { wait, told: true },
            None => Verdict::Wait { wait: backoff(attempt, random).min(self.wait_max), told: false },
        }
    }
}

/// Statuses that may pass by themselves. 509 is SharePoint's bandwidth limit.
fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504 | 509)
}

/// Full jitter over 1, 2, 4 ... 64 s, but never less than a tenth of a second: a zero wait would be a busy loop.
fn backoff(attempt: u32, random: u64) -> Duration {
    let ceiling_ms = 1_000u64 << attempt.saturating_sub(1).min(6);
    Duration::from_millis(100 + random % (ceiling_ms - 99))
}

/// The longer of `Retry-After` (seconds or a date) and `RateLimit-Reset` (seconds), if any is there.
pub(crate) fn asked_wait(now: Timestamp, headers: &HeaderMap) -> Option<Duration> {
    let text =
        |name| headers.get(name).and_then(|value: &header::HeaderValue| value.to_str().ok()).map(str::trim);
    let seconds =
        |text: &str| text.parse::<u32>().ok().map(|seconds| Duration::from_secs(u64::from(seconds)));
    let retry_after = text(header::RETRY_AFTER)
        .and_then(|text| seconds(text).or_else(|| parse_http_date(text).map(|date| between(now, date))));
    let reset = text(header::HeaderName::from_static("ratelimit-reset")).and_then(seconds);
    retry_after.max(reset)
}

/// Parses the one date form that HTTP allows to be sent: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) fn parse_http_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.split(' ');
    let (day, month, year) = (words.next()?, words.next()?, words.next()?);
    let (clock, zone) = (words.next()?, words.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    if zone != "GMT" {
        return None;
    }
    Timestamp::parse_rfc3339(&format!("{year}-{month:02}-{day}T{clock}Z"))
}

/// The time before which no request of a client is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fence {
    until: Option<Timestamp>,
}

impl Fence {
    /// How long a request has to wait now.
    #[must_use]
    pub fn wait(&self, now: Timestamp) -> Option<Duration> {
        self.until.map(|until| between(now, until)).filter(|wait| !wait.is_zero())
    }

    /// Holds all requests for `wait` from now on, unless they are held longer already.
    pub fn raise(&mut self, now: Timestamp, wait: Duration) {
        self.until = self.until.max(Some(later(now, wait)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::new(784_111_777, 0);

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn judge(status: u16, headers: &HeaderMap) -> Verdict {
        let answer = Answer::Response(StatusCode::from_u16(status).unwrap(), headers);
        Patience::default().judge(NOW, 1, answer, 0)
    }

    #[test]
    fn a_named_time_is_kept_in_whichever_form_it_comes() {
        let told = |seconds| Verdict::Wait { wait: Duration::from_secs(seconds), told: true };
        assert_eq!(judge(429, &headers(&[("retry-after", "17")])), told(17));
        assert_eq!(judge(503, &headers(&[("retry-after", "Sun, 06 Nov 1994 08:50:00 GMT")])), told(23));
        assert_eq!(judge(429, &headers(&[("retry-after", "5"), ("ratelimit-reset", "31")])), told(31));
        assert_eq!(judge(429, &headers(&[("ratelimit-reset", "3")])), told(3));
    }

    #[test]
    fn a_time_beyond_patience_is_reported_instead_of_waited() {
        let retry_after = Some(Duration::from_secs(7_200));
        assert_eq!(judge(429, &headers(&[("retry-after", "7200")])), Verdict::GiveUp { retry_after });
    }

    #[test]
    fn waits_without_a_named_time_grow_and_stay_bounded() {
        for attempt in 1..8u32 {
            for random in [0, 1, 12_345_678_901, u64::MAX] {
                let verdict = Patience::default().judge(NOW, attempt, Answer::Broken, random);
                let Verdict::Wait { wait, told: false } = verdict else { panic!("{verdict:?}") };
                assert!(
                    wait >= Duration::from_millis(100) && wait <= Duration::from_secs(1 << (attempt - 1))
                );
            }
        }
        assert_eq!(
            Patience::default().judge(NOW, 8, Answer::Broken, 0),
            Verdict::GiveUp { retry_after: None },
            "the eighth attempt is the last"
        );
    }

    #[test]
    fn answers_that_will_not_change_are_final() {
        for status in [200, 201, 206, 302, 400, 401, 403, 404, 409, 410, 412, 416, 423, 507] {
            assert_eq!(judge(status, &HeaderMap::new()), Verdict::Final, "{status}");
        }
    }

    #[test]
    fn a_fence_is_only_ever_raised() {
        let mut fence = Fence::default();
        fence.raise(NOW, Duration::from_secs(10));
        fence.raise(NOW, Duration::from_secs(5));
        assert_eq!(fence.wait(NOW), Some(Duration::from_secs(10)));
        assert_eq!(fence.wait(later(NOW, Duration::from_secs(10))), None);
    }
}
