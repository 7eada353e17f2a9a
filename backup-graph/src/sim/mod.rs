//! A simulated Microsoft 365 tenant, at the seam of HTTP: the real client, paging, retries and resumption run against it.
//!
//! [`Tenant`] is the state and what its users (and attackers) do to it; [`handle`] answers requests as a pure function;
//! [`Simulation`] adds a script of faults and counts; [`SimTransport`] puts it behind [`Transport`](crate::Transport)
//! in the same process, and [`SimServer`] (feature `sim-server`) behind HTTP on the loopback interface; with the feature
//! `sim-tls` behind TLS, or as a proxy that takes the place of Microsoft's hosts.
//!
//! What it is not: a model of the service's speed, or of anything that its documentation does not say.

mod answer;
mod batch;
mod budget;
mod content;
mod copies;
mod delta;
mod directory;
mod documents;
mod drive;
mod faults;
mod fields;
mod hands;
#[cfg(feature = "sim-server")]
mod http;
mod items;
mod listing;
mod marks;
mod node;
mod odata;
mod permissions;
#[cfg(feature = "sim-tls")]
mod proxy;
mod rng;
mod route;
mod rules;
mod scopes;
mod seed;
mod server;
mod sharing;
mod sign_in;
mod sites;
mod tenant;
#[cfg(feature = "sim-tls")]
mod tls;
mod token;
mod transport;
mod upload;
mod versions;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::http::{Request, Response, header};
use backup_core::Timestamp;
use bytes::Bytes;

pub use faults::{Counters, Fault, Faults};
#[cfg(feature = "sim-server")]
pub use http::{Entrance, SimServer};
pub use node::Obstacle;
pub use route::Route;
pub use rules::{Budget, Hosts, Resync, Rules};
pub use server::handle;
pub use tenant::Tenant;
pub use transport::{SimTransport, VirtualTimer};

use answer::Refusal;

/// A tenant with a script of faults, shared between whoever serves it and whoever changes it. Clones are the same.
#[derive(Clone, Debug)]
pub struct Simulation {
    world: Arc<Mutex<World>>,
}

#[derive(Debug)]
struct World {
    tenant: Tenant,
    faults: Faults,
    counters: Counters,
    /// Until when requests are refused.
    window: Option<Timestamp>,
    /// The same of the issuer of tokens, which is a service of its own.
    token_window: Option<Timestamp>,
    /// Entries of a listing that come late.
    held: Vec<serde_json::Value>,
}

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// The connection is closed without an answer.
    Reset,
    /// The answer; its body ends after so many bytes if the number is given.
    Answer(Response<Bytes>, Option<usize>),
}

impl Simulation {
    /// This tenant, with nothing going wrong.
    #[must_use]
    pub fn new(tenant: Tenant) -> Self {
        let world = World {
            tenant,
            faults: Faults::new(),
            counters: Counters::default(),
            window: None,
            token_window: None,
            held: Vec::new(),
        };
        Self { world: Arc::new(Mutex::new(world)) }
    }

    /// Looks at the tenant or changes it, between two requests.
    pub fn with<R>(&self, how: impl FnOnce(&mut Tenant) -> R) -> R {
        how(&mut self.lock().tenant)
    }

    /// Changes the script of faults.
    pub fn script(&self, how: impl FnOnce(&mut Faults) -> &mut Faults) {
        how(&mut self.lock().faults);
    }

    /// What the service has seen so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.lock().counters.clone()
    }

    /// Starts counting anew.
    pub fn reset_counters(&self) {
        self.lock().counters = Counters::default();
    }

    pub(crate) fn deliver(&self, request: &Request<Bytes>, now: Timestamp) -> Delivery {
        self.lock().deliver(request, now)
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        // A test that panicked while it held the tenant must not take the others' report with it.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    fn deliver(&mut self, request: &Request<Bytes>, now: Timestamp) -> Delivery {
        self.judge(request, now, false)
    }

    /// A request inside a batch: its answer, and never a broken connection.
    fn inner(&mut self, request: &Request<Bytes>, now: Timestamp) -> Response<Bytes> {
        self.counters.inside_batches += 1;
        match self.judge(request, now, true) {
            Delivery::Answer(response, _) => response,
            Delivery::Reset => {
                Refusal::new(503, "serviceNotAvailable", "The service is not available. Try again.")
                    .into_response(&self.tenant)
            }
        }
    }

    fn judge(&mut self, request: &Request<Bytes>, now: Timestamp, inside: bool) -> Delivery {
        let route = route::route_of(&self.tenant.hosts, request);
        self.counters.count(route);
        let with_token = request.headers().contains_key(header::AUTHORIZATION);
        if with_token && route::is_content_host(&self.tenant.hosts, request) {
            self.counters.leaked_tokens += 1;
        }
        if let Some(until) = self.window_of(route).filter(|until| now < *until) {
            // Of a window that began within the batch its client could not know.
            self.counters.inside_window += u64::from(!inside);
            return self.throttled(route, now, crate::transport::between(now, until), false);
        }
        let fault = self.faults.next(route);
        self.counters.faults += u64::from(fault.is_some());
        let mut cut = None;
        let mut bend = None;
        match fault {
            None => {}
            Some(Fault::Throttle(wait)) => return self.throttled(route, now, wait, false),
            Some(Fault::ThrottleUntil(wait)) => return self.throttled(route, now, wait, true),
            Some(Fault::Status(status)) => {
                return self.refuse(Refusal::new(
                    status,
                    "serviceNotAvailable",
                    "The service is not available. Try again.",
                ));
            }
            Some(Fault::RevokeTokens) => self.tenant.revoke_tokens(),
            Some(Fault::ChallengeTokens) => {
                self.tenant.advance_to(now);
                self.tenant.challenge_tokens();
            }
            Some(Fault::Truncate(length)) => cut = Some(length),
            Some(Fault::Reset) => return Delivery::Reset,
            Some(Fault::LoseAnswer) => {
                self.answer(request, now);
                return Delivery::Reset;
            }
            Some(Fault::ExpireAddress) => {
                return self.refuse(Refusal::new(401, "unauthenticated", "The address has expired."));
            }
            // An answer within a batch cannot break on its own.
            Some(fault) => bend = Some(fault).filter(|_| !inside),
        }
        let mut response = self.answer(request, now);
        if route == Route::Delta {
            listing::deliver_held(&mut self.held, &mut response);
        }
        match bend {
            Some(Fault::Shorten(bytes)) => listing::resize(&mut response, |body| {
                body.truncate(body.len().saturating_sub(bytes));
            }),
            Some(Fault::Lengthen(bytes)) => listing::resize(&mut response, |body| {
                body.resize(body.len().saturating_add(bytes), 0);
            }),
            Some(fault) if route == Route::Delta => {
                listing::bend(&mut self.held, &mut response, &request.uri().to_string(), fault);
            }
            _ => {}
        }
        Delivery::Answer(response, cut)
    }

    fn answer(&mut self, request: &Request<Bytes>, now: Timestamp) -> Response<Bytes> {
        if batch::is_one(request) {
            return batch::serve(
                self,
                |world| &mut world.tenant,
                request,
                now,
                |world, inner| world.inner(inner, now),
            );
        }
        let response = server::one(&mut self.tenant, request, now);
        if response.status() == ::http::StatusCode::TOO_MANY_REQUESTS {
            // The budget is used up: until then, calls are a client's mistake.
            let seconds = response
                .headers()
                .get(header::RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.parse().ok());
            let until = crate::transport::later(now, Duration::from_secs(seconds.unwrap_or(0)));
            self.window = self.window.max(Some(until));
            self.counters.throttled += 1;
        }
        response
    }

    fn throttled(&mut self, route: Route, now: Timestamp, wait: Duration, as_date: bool) -> Delivery {
        // Whole seconds are all that the header can say; the window is never longer than what was said.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let until = crate::transport::later(now, Duration::from_secs(seconds));
        let window = self.window_of(route);
        *window = (*window).max(Some(crate::transport::later(now, wait)));
        let text = if as_date { http_date(until) } else { seconds.to_string() };
        let refusal = Refusal::new(429, "activityLimitReached", "Too many requests. Try again later.");
        self.refuse(refusal.with_header(header::RETRY_AFTER, &text))
    }

    fn window_of(&mut self, route: Route) -> &mut Option<Timestamp> {
        if route == Route::Token { &mut self.token_window } else { &mut self.window }
    }

    fn refuse(&mut self, refusal: Refusal) -> Delivery {
        Delivery::Answer(refusal.into_response(&self.tenant), None)
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, rounded up to a whole second.
fn http_date(time: Timestamp) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = time.seconds() + i64::from(time.nanos() > 0);
    let text = Timestamp::new(seconds, 0).to_string();
    let index =
        |from: usize, to: usize| text.get(from..to).and_then(|part| part.parse::<usize>().ok()).unwrap_or(0);
    let day = usize::try_from(seconds.div_euclid(86_400).rem_euclid(7)).unwrap_or(0);
    let (date, month) = (index(8, 10), MONTHS[index(5, 7).saturating_sub(1).min(11)]);
    format!(
        "{}, {date:02} {month} {:04} {} GMT",
        DAYS[day],
        index(0, 4),
        text.get(11..19).unwrap_or("00:00:00")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throttle::parse_http_date;

    #[test]
    fn dates_are_written_as_http_wants_them() {
        assert_eq!(http_date(Timestamp::new(784_111_777, 0)), "Sun, 06 Nov 1994 08:49:37 GMT");
        let odd = Timestamp::new(1_795_508_400, 1);
        assert_eq!(parse_http_date(&http_date(odd)), Some(Timestamp::new(1_795_508_401, 0)));
    }
}
