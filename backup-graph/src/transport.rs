//! The only way out of this crate: HTTP requests through [`Transport`], waiting through [`Timer`].
//!
//! Both are traits, so the same client runs on any runtime, against a simulated tenant, and in virtual time.

#[cfg(feature = "reqwest")]
pub mod reqwest;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use backup_core::{Result, Timestamp};
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::StreamExt as _;

/// A response's body, in pieces as they arrive.
pub type Body = BoxStream<'static, Result<Bytes>>;

/// Sends one HTTP request and returns the answer, whatever its status.
///
/// An implementation must not follow redirects, must not retry, and must not add credentials: all three are decided
/// above it, where it is known which host may see the token.
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends the request. The body of the response is read later, piece by piece.
    ///
    /// # Errors
    /// `Unavailable` if no response came. A body that breaks off yields `Unavailable` too, also where it is merely
    /// shorter than its `Content-Length`.
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>>;
}

/// Tells the time and waits.
#[async_trait]
pub trait Timer: fmt::Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Returns once `wait` has passed.
    async fn sleep(&self, wait: Duration);
}

/// Reads a body to its end, but not more than `bytes_max`.
///
/// # Errors
/// What the transport reports; `LimitExceeded` for a longer body.
pub(crate) async fn collect(mut body: Body, bytes_max: usize) -> Result<Bytes> {
    let mut all = Vec::new();
    while let Some(piece) = body.next().await {
        let piece = piece?;
        if all.len() + piece.len() > bytes_max {
            let message = format!("the service's answer is longer than {bytes_max} bytes");
            return Err(backup_core::Error::new(backup_core::ErrorKind::LimitExceeded, message));
        }
        all.extend_from_slice(&piece);
    }
    Ok(all.into())
}

/// `time` plus `wait`, saturating.
pub(crate) fn later(time: Timestamp, wait: Duration) -> Timestamp {
    let nanos = u64::from(time.nanos()) + u64::from(wait.subsec_nanos());
    let carry = i64::from(nanos >= 1_000_000_000);
    let seconds = i64::try_from(wait.as_secs()).unwrap_or(i64::MAX);
    let nanos = u32::try_from(nanos % 1_000_000_000).unwrap_or(0);
    Timestamp::new(time.seconds().saturating_add(seconds).saturating_add(carry), nanos)
}

/// How long it is from `from` to `to`; zero if `to` has passed.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> Duration {
    let nanos = |time: Timestamp| i128::from(time.seconds()) * 1_000_000_000 + i128::from(time.nanos());
    u64::try_from((nanos(to) - nanos(from)).max(0)).map_or(Duration::MAX, Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_add_up_over_the_second() {
        let time = Timestamp::new(10, 900_000_000);
        let after = later(time, Duration::from_millis(1_200));
        assert_eq!(after, Timestamp::new(12, 100_000_000));
        assert_eq!(between(time, after), Duration::from_millis(1_200));
        assert_eq!(between(after, time), Duration::ZERO);
    }
}
