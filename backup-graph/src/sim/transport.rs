//! The simulation in the same process: requests become function calls, and time is virtual.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use backup_core::{Error, ErrorKind, Result, Timestamp};
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::{Delivery, Simulation};
use crate::transport::{Body, Timer, Transport, later};

/// Bodies arrive in pieces of this length, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// Delivers requests to a [`Simulation`] directly.
#[derive(Clone, Debug)]
pub struct SimTransport {
    simulation: Simulation,
    timer: Arc<dyn Timer>,
}

impl SimTransport {
    /// A way to this simulation; requests arrive at the time that `timer` tells.
    pub fn new(simulation: Simulation, timer: Arc<dyn Timer>) -> Self {
        Self { simulation, timer }
    }
}

#[async_trait]
impl Transport for SimTransport {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>> {
        match self.simulation.deliver(&request, self.timer.now()) {
            Delivery::Reset => Err(Error::new(ErrorKind::Unavailable, "the connection was reset")),
            Delivery::Answer(response, cut) => Ok(response.map(|body| pieces(body, cut))),
        }
    }
}

fn pieces(body: Bytes, cut: Option<usize>) -> Body {
    let cut = cut.filter(|cut| *cut < body.len());
    let body = body.slice(..cut.unwrap_or(body.len()));
    let count = body.len().div_ceil(PIECE_BYTES);
    let pieces = (0..count).map(move |index| {
        let start = index * PIECE_BYTES;
        Ok(body.slice(start..body.len().min(start + PIECE_BYTES)))
    });
    let broken = cut.map(|_| Err(Error::new(ErrorKind::Unavailable, "the connection broke off")));
    futures_util::stream::iter(pieces.chain(broken)).boxed()
}

/// A timer that does not wait: whoever sleeps lets the others run first and then moves the time on. Clones share the
/// time.
#[derive(Clone, Debug)]
pub struct VirtualTimer {
    now: Arc<Mutex<Timestamp>>,
}

impl VirtualTimer {
    /// A timer that stands at `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { now: Arc::new(Mutex::new(now)) }
    }

    /// Moves the time on.
    pub fn advance(&self, by: Duration) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        *now = later(*now, by);
    }
}

#[async_trait]
impl Timer for VirtualTimer {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn sleep(&self, wait: Duration) {
        let until = later(self.now(), wait);
        // What others do meanwhile happens before the time has passed, as it would in reality.
        let mut yielded = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        *now = until.max(*now);
    }
}
