//! What happens to each call: a place, a token, the wait that is due, the request, and a judgement of the answer.
//!
//! The token is asked for before the last look at the fence, and nothing is awaited between that look and the request:
//! so none is sent inside a window, and none with a token that expired while it waited.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use backup_core::{Error, ErrorKind, LogLevel, Result, Timestamp};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use serde::de::DeserializeOwned;

use super::lanes::Permit;
use super::origin::host_of;
use super::refusal::{Refusal, failure};
use super::{Call, GraphClient, Listing, Origin, Reply, Shared, claims_of};
use crate::auth::Secret;
use crate::limits::MALFORMED_ANSWERS_MAX;
use crate::throttle::{Answer, Cause, Decision, Demand, Lane, Limiter, Verdict};
use crate::transport::{Body, between};

/// What all attempts of a call have in common.
struct Plan {
    call: Call,
    own: bool,
    lane: Lane,
    demand: Demand,
    request_id: String,
}

/// What came of an attempt.
enum Attempt {
    /// It was made, or failed on its way.
    Made(Result<Response<Body>>, Option<Secret>),
    /// It may not be made, and trying again now would not help.
    Refused(Error),
}

impl Shared {
    pub(super) fn limiter(&self) -> MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GraphClient {
    pub(crate) fn now(&self) -> Timestamp {
        self.timer.now()
    }

    /// Whether a link stays within the host that may see the token.
    pub(crate) fn is_own(&self, url: &str) -> bool {
        url.starts_with('/') || Origin::of(url).is_some_and(|origin| origin == self.origin)
    }

    /// Calls and reads JSON. An answer that breaks off is asked for again.
    pub(crate) async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T> {
        self.answer(call).await?.map_err(Refusal::into_error)
    }

    /// As [`json`](Self::json), for listings whose position the service may have forgotten.
    pub(crate) async fn listing<T: DeserializeOwned>(&self, call: Call) -> Result<Listing<T>> {
        let refusal = match self.answer(call).await? {
            Ok(value) => return Ok(Listing::Value(value)),
            Err(refusal) => refusal,
        };
        let location = refusal.location();
        match refusal.into_error() {
            error if error.kind() == ErrorKind::CursorExpired => Ok(Listing::Forgotten(error, location)),
            error => Err(error),
        }
    }

    /// As [`json`](Self::json), but a refusal is handed out as it came.
    pub(crate) async fn answer<T: DeserializeOwned>(&self, call: Call) -> Result<Result<T, Refusal>> {
        let mut attempt = 1;
        loop {
            let reply = match self.call(call.clone()).await?.accepted().await {
                Ok(reply) => reply,
                Err(refusal) => return Ok(Err(refusal)),
            };
            match reply.json().await {
                Ok(value) => return Ok(Ok(value)),
                Err(error) => self.pause(attempt, error).await?,
            }
            attempt += 1;
        }
    }

    /// Calls the service itself, with the token. Any status but a passing one is a reply.
    pub(crate) async fn call(&self, call: Call) -> Result<Reply> {
        if !self.is_own(&call.url) {
            // A link that leads elsewhere would carry the token there.
            let error = Error::new(ErrorKind::PermissionDenied, "the service's link leads to another host");
            return Err(error.with_item(host_of(&call.url)));
        }
        self.repeat(call, true).await
    }

    /// Calls a pre-authenticated address, without the token.
    pub(crate) async fn call_elsewhere(&self, call: Call) -> Result<Reply> {
        self.repeat(call, false).await
    }

    /// Waits before the next attempt after `error`, or returns it if it will not pass or was met too often.
    pub(crate) async fn pause(&self, attempt: u32, error: Error) -> Result<()> {
        let may_pass = match error.kind() {
            ErrorKind::Unavailable => true,
            // Not what it should be: something on the way may have cut or changed it.
            ErrorKind::Io => attempt < MALFORMED_ANSWERS_MAX,
            _ => false,
        };
        if !may_pass {
            return Err(error);
        }
        match self.judge(attempt, Answer::Broken) {
            Verdict::Wait { wait, .. } => {
                self.count_retries(1);
                self.sleep(wait, Cause::Backoff).await;
                Ok(())
            }
            _ => Err(error),
        }
    }

    async fn repeat(&self, call: Call, own: bool) -> Result<Reply> {
        let plan = self.plan(call, own);
        let mut attempt = 1;
        let (mut refreshed, mut doubted) = (false, false);
        loop {
            let (answer, token) = match self.attempt(&plan).await {
                Attempt::Made(answer, token) => (answer, token),
                Attempt::Refused(error) => return Err(error),
            };
            let verdict = match &answer {
                Ok(response) => self.judge(attempt, Answer::Response(response.status(), response.headers())),
                Err(error) if error.is_retryable() => self.judge(attempt, Answer::Broken),
                Err(_) => Verdict::Final,
            };
            match verdict {
                Verdict::Final => {
                    let response = answer?;
                    match token {
                        Some(token) if response.status() == StatusCode::UNAUTHORIZED && !refreshed => {
                            self.token_refused(&token, Some(response.headers()));
                            refreshed = true;
                        }
                        token
                            if response.status() == StatusCode::NOT_FOUND
                                && plan.call.present
                                && !doubted =>
                        {
                            let Verdict::Wait { wait, .. } = self.judge(attempt, Answer::Broken) else {
                                return Ok(Reply { response, attempt, token });
                            };
                            drop(response);
                            self.sleep(wait, Cause::Backoff).await;
                            doubted = true;
                        }
                        token => return Ok(Reply { response, attempt, token }),
                    }
                }
                Verdict::Wait { wait, told } => {
                    let did_nothing =
                        matches!(&answer, Ok(reply) if is_throttle(reply.status(), reply.headers()));
                    if told {
                        self.raise_fence(plan.demand, wait);
                    } else if !plan.call.repeat && !did_nothing {
                        return Err(failure(answer).await);
                    }
                    let named = answer.as_ref().err().and_then(Error::retry_after);
                    if named.is_some_and(|named| named > self.patience.wait_max) {
                        return Err(failure(answer).await);
                    }
                    // Gives its place back: nothing is open while it waits.
                    drop(answer);
                    let cause = if told || named.is_some() { Cause::RetryAfter } else { Cause::Backoff };
                    self.sleep(wait.max(named.unwrap_or_default()), cause).await;
                }
                Verdict::GiveUp { retry_after: Some(wait) } => {
                    self.raise_fence(plan.demand, wait);
                    return Err(failure(answer).await.with_retry_after(wait));
                }
                Verdict::GiveUp { retry_after: None } => return Err(failure(answer).await),
            }
            self.count_retries(1);
            attempt += 1;
        }
    }

    fn plan(&self, call: Call, own: bool) -> Plan {
        let is_get = call.method == Method::GET;
        let (lane, demand) = if own {
            let path = self.path_of(&call.url).unwrap_or_default();
            let content = is_get && path.split('?').next().is_some_and(|path| path.ends_with("/content"));
            let demand = call.demand.unwrap_or_else(|| Demand::of(&call.method, path));
            (if content { Lane::Download } else { Lane::Graph }, demand)
        } else {
            (if is_get { Lane::Download } else { Lane::Upload }, Demand::of_content(&call.method))
        };
        let (high, low) = (self.random(), self.random());
        // A UUID of version 4 and variant 1.
        let request_id = format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            0x8000 | ((low >> 48) & 0x3fff),
            low & 0xffff_ffff_ffff
        );
        Plan { call, own, lane, demand, request_id }
    }

    async fn attempt(&self, plan: &Plan) -> Attempt {
        let bytes = plan.call.body.len() as u64;
        let (permit, request, token) = loop {
            let permit = self.place(plan.lane).await;
            let token = match plan.own {
                true => match self.tokens.token(&self.scope).await {
                    Ok(token) => Some(token),
                    Err(error) => return Attempt::Made(Err(error), None),
                },
                false => None,
            };
            let request = match self.request(plan, token.as_ref()) {
                Ok(request) => request,
                Err(error) => return Attempt::Refused(error),
            };
            let decision = self.shared.limiter().ask(self.now(), plan.demand, bytes);
            match decision {
                Decision::Send => break (permit, request, token),
                Decision::Wait(wait, Cause::RetryAfter) if wait > self.patience.wait_max => {
                    let error =
                        Error::new(ErrorKind::Throttled, "the service asked not to be called for a while");
                    return Attempt::Refused(error.with_retry_after(wait));
                }
                Decision::Wait(wait, cause) => {
                    drop(permit);
                    self.sleep(wait, cause).await;
                }
            }
        };
        self.shared.counters.sent(plan.demand, plan.call.inner, bytes);
        let answer = self.transport.send(request).await;
        let answer = answer.map(|response| {
            self.learn(plan, &permit, &response);
            response.map(|body| self.watch(body, permit))
        });
        Attempt::Made(answer, token)
    }

    async fn place(&self, lane: Lane) -> Permit {
        let turn = self.shared.lanes.place(lane);
        let asked_at = self.now();
        let permit = turn.await;
        let waited = between(asked_at, self.now());
        if !waited.is_zero() {
            self.shared.counters.waited(waited, Cause::Concurrency);
        }
        permit
    }

    fn learn(&self, plan: &Plan, permit: &Permit, response: &Response<Body>) {
        self.shared.limiter().observe(self.now(), plan.demand, response.headers());
        if is_throttle(response.status(), response.headers()) {
            self.shared.counters.throttled(1);
            permit.refused();
        } else if !response.status().is_server_error() {
            permit.well();
        }
    }

    /// Counts what arrives, at the pace of the budget, and keeps the place until nothing more will.
    fn watch(&self, body: Body, permit: Permit) -> Body {
        let (shared, timer) = (Arc::clone(&self.shared), Arc::clone(&self.timer));
        let state = Some((body, permit, shared, timer));
        futures_util::stream::unfold(state, |state| async move {
            let (mut body, permit, shared, timer) = state?;
            match body.next().await? {
                Ok(piece) => {
                    let bytes = piece.len() as u64;
                    shared.counters.received(bytes);
                    let wait = shared.limiter().received(timer.now(), bytes);
                    if let Some(wait) = wait {
                        shared.counters.waited(wait, Cause::Budget);
                        timer.sleep(wait).await;
                    }
                    Some((Ok(piece), Some((body, permit, shared, timer))))
                }
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    fn request(&self, plan: &Plan, token: Option<&Secret>) -> Result<Request<Bytes>> {
        let call = &plan.call;
        let invalid = |error| Error::new(ErrorKind::InvalidArgument, "not an address").with_source(error);
        let url =
            if call.url.starts_with('/') { format!("{}{}", self.base, call.url) } else { call.url.clone() };
        let mut request = Request::builder()
            .method(call.method.clone())
            .uri(url)
            .body(call.body.clone())
            .map_err(invalid)?;
        let headers = request.headers_mut();
        headers.extend(call.headers.clone());
        headers.insert(header::USER_AGENT, self.user_agent.clone());
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose()))
                .map_err(|_| Error::new(ErrorKind::Unauthenticated, "the token cannot be a header"))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
            if let Ok(id) = HeaderValue::from_str(&plan.request_id) {
                headers.insert("client-request-id", id);
            }
        }
        Ok(request)
    }

    /// The service refused a token that it got; its answer may say what the next one must have.
    pub(crate) fn token_refused(&self, token: &Secret, headers: Option<&HeaderMap>) {
        match headers.and_then(claims_of) {
            Some(claims) => self.tokens.challenge(token, &claims),
            None => self.tokens.invalidate(token),
        }
    }

    /// The path of an address below the base address.
    pub(crate) fn path_of<'a>(&self, url: &'a str) -> Result<&'a str> {
        let rest = if url.starts_with('/') { Some(url) } else { url.strip_prefix(&self.base) };
        let rest = rest.or_else(|| {
            // Written otherwise, but the same place: in capitals, or with the port.
            let after = url.split_once("://")?.1;
            Origin::of(url).filter(|origin| *origin == self.origin)?;
            after.find('/').and_then(|at| after.get(at..))
        });
        let rest = rest.filter(|rest| rest.starts_with('/'));
        rest.ok_or_else(|| Error::new(ErrorKind::InvalidArgument, "not an address of this service"))
    }

    pub(crate) fn judge(&self, attempt: u32, answer: Answer<'_>) -> Verdict {
        self.patience.judge(self.now(), attempt, answer, self.random())
    }

    pub(crate) fn raise_fence(&self, demand: Demand, wait: Duration) {
        self.shared.limiter().raise_fence(self.now(), demand, wait);
    }

    pub(crate) fn count_retries(&self, count: u64) {
        self.shared.counters.repeated(count);
    }

    pub(crate) fn count_throttled(&self, count: u64) {
        self.shared.counters.throttled(count);
    }

    pub(crate) async fn sleep(&self, wait: Duration, cause: Cause) {
        self.shared.counters.waited(wait, cause);
        if let Some(logger) = self.logger.as_ref().filter(|logger| logger.wants(LogLevel::Debug)) {
            logger.log(LogLevel::Debug, &format!("waiting {:.1} s: {}", wait.as_secs_f64(), cause.text()));
        }
        self.timer.sleep(wait).await;
    }

    /// SplitMix64: spreads the retries of many clients and numbers requests, decides nothing else.
    fn random(&self) -> u64 {
        let mut z = self.shared.jitter.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Whether an answer asks for fewer requests. A 503 does if it names a time.
pub(crate) fn is_throttle(status: StatusCode, headers: &HeaderMap) -> bool {
    match status.as_u16() {
        429 | 509 => true,
        503 => headers.contains_key(header::RETRY_AFTER),
        _ => false,
    }
}
