//! Requests to Microsoft Graph: token, waiting, paging, errors. Everything else of this crate talks through it.
//!
//! The token goes to the host of the base address and nowhere else: links that the service returns are followed only
//! within that host, and pre-authenticated addresses (downloads, uploads) are called without it.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backup_core::{Error, ErrorKind, Result, Timestamp};
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::auth::{Secret, TokenProvider};
use crate::batch::BatchRequest;
use crate::limits::{ERROR_BYTES_MAX, JSON_BYTES_MAX, PAGES_MAX};
use crate::throttle::{Answer, Fence, Patience, Verdict};
use crate::transport::{Body, Timer, Transport, collect};
use crate::wire::{ErrorEnvelope, Page};

/// The address of the global cloud.
pub const GLOBAL_GRAPH: &str = "https://graph.microsoft.com";
/// Microsoft gives traffic precedence that says who sends it, in this form.
const USER_AGENT: &str = concat!("NONISV|BackupEngine|backup-graph/", env!("CARGO_PKG_VERSION"));

/// A client of one Graph endpoint with one identity. Clones share connection, fence and counters.
#[derive(Clone)]
pub struct GraphClient {
    base: String,
    origin: Origin,
    scope: String,
    user_agent: HeaderValue,
    patience: Patience,
    transport: Arc<dyn Transport>,
    tokens: Arc<dyn TokenProvider>,
    timer: Arc<dyn Timer>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    fence: Mutex<Fence>,
    jitter: AtomicU64,
    requests: AtomicU64,
    inner_requests: AtomicU64,
    retries: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
    waits: AtomicU64,
    waited_ms: AtomicU64,
}

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
    /// Bytes of request bodies.
    pub bytes_sent: u64,
    /// Bytes of response bodies.
    pub bytes_received: u64,
    /// How often something had to wait because the service asked for it or failed.
    pub waits: u64,
    /// Time spent in these waits, summed over all requests.
    pub waited: Duration,
}

/// One request to be made, as often as it takes.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Bytes,
    repeat: bool,
    inner: u64,
}

/// The answer to a call, and which attempt got it: after a repeated one, an earlier may have had effect already.
pub(crate) struct Reply {
    pub(crate) response: Response<Body>,
    pub(crate) attempt: u32,
    pub(crate) token: Option<Secret>,
}

/// The answer to a listing.
#[derive(Debug)]
pub(crate) enum Listing<T> {
    /// A page.
    Value(T),
    /// The position is forgotten; where to start over, if the service said so.
    Forgotten(Error, Option<String>),
}

impl Call {
    pub(crate) fn new(method: Method, url: impl Into<String>) -> Self {
        Self {
            method,
            url: url.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            repeat: true,
            inner: 0,
        }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(crate) fn json(self, body: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_vec(body)
            .map_err(|error| Error::new(ErrorKind::Bug, "a request does not serialise").with_source(error))?;
        Ok(self.bytes(body.into(), HeaderValue::from_static("application/json")))
    }

    pub(crate) fn bytes(mut self, body: Bytes, content_type: HeaderValue) -> Self {
        self.body = body;
        self.header(header::CONTENT_TYPE, content_type)
    }

    /// Sends it again only where the service said that it did nothing; other failures are the caller's to judge.
    pub(crate) fn once(mut self) -> Self {
        self.repeat = false;
        self
    }

    /// Carries these requests.
    pub(crate) fn inner<'a>(mut self, requests: impl Iterator<Item = &'a BatchRequest>) -> Self {
        self.inner = requests.count() as u64;
        self
    }
}

impl GraphClient {
    /// A client of the endpoint `base_url`, such as [`GLOBAL_GRAPH`]; tokens are asked for its `.default` scope.
    ///
    /// # Errors
    /// `InvalidArgument` if `base_url` is not an `https` address; `http` is for this machine only.
    pub fn new(
        base_url: &str,
        transport: Arc<dyn Transport>,
        tokens: Arc<dyn TokenProvider>,
        timer: Arc<dyn Timer>,
    ) -> Result<Self> {
        let base = base_url.trim_end_matches('/').to_owned();
        let origin = Origin::for_secrets(&base)?;
        let shared = Shared {
            fence: Mutex::default(),
            jitter: AtomicU64::new(RandomState::new().hash_one(&base)),
            requests: AtomicU64::new(0),
            inner_requests: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            bytes_sent: AtomicU64::new(0),
            bytes_received: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            waited_ms: AtomicU64::new(0),
        };
        Ok(Self {
            scope: format!("{base}/.default"),
            base,
            origin,
            user_agent: HeaderValue::from_static(USER_AGENT),
            patience: Patience::default(),
            transport,
            tokens,
            timer,
            shared: Arc::new(shared),
        })
    }

    /// Names the program to Microsoft: `ISV|Company|Application/1.0` or `NONISV|Company|Application/1.0`.
    ///
    /// # Errors
    /// `InvalidArgument` if the text cannot be a header.
    pub fn with_user_agent(mut self, text: &str) -> Result<Self> {
        self.user_agent = HeaderValue::from_str(text)
            .map_err(|error| Error::new(ErrorKind::InvalidArgument, "not a user agent").with_source(error))?;
        Ok(self)
    }

    /// Another patience with a service that is busy or failing.
    #[must_use]
    pub fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Another scope to ask tokens for than the endpoint's own.
    #[must_use]
    pub fn with_scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = scope.into();
        self
    }

    /// What was done so far, over all clones.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Metrics {
            requests: load(&self.shared.requests),
            inner_requests: load(&self.shared.inner_requests),
            retries: load(&self.shared.retries),
            bytes_sent: load(&self.shared.bytes_sent),
            bytes_received: load(&self.shared.bytes_received),
            waits: load(&self.shared.waits),
            waited: Duration::from_millis(load(&self.shared.waited_ms)),
        }
    }

    /// GETs a JSON value. `url` is a path below the base address (`/v1.0/…`) or a link that the service returned.
    ///
    /// # Errors
    /// What the service answered; `Throttled` and `Unavailable` after patience ended; `PermissionDenied` for a link
    /// to another host.
    pub async fn get<T: DeserializeOwned>(&self, url: &str) -> Result<T> {
        self.json(Call::new(Method::GET, url)).await
    }

    /// POSTs a JSON value and reads the one that comes back.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn post<T: DeserializeOwned>(&self, url: &str, body: &(impl Serialize + Sync)) -> Result<T> {
        self.json(Call::new(Method::POST, url).json(body)?).await
    }

    /// PATCHes with a JSON value and reads the one that comes back.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn patch<T: DeserializeOwned>(&self, url: &str, body: &(impl Serialize + Sync)) -> Result<T> {
        self.json(Call::new(Method::PATCH, url).json(body)?).await
    }

    /// PUTs bytes and reads the JSON value that comes back.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn put<T: DeserializeOwned>(&self, url: &str, body: Bytes) -> Result<T> {
        self.json(
            Call::new(Method::PUT, url).bytes(body, HeaderValue::from_static("application/octet-stream")),
        )
        .await
    }

    /// DELETEs.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn delete(&self, url: &str) -> Result<()> {
        self.call(Call::new(Method::DELETE, url)).await?.success().await.map(drop)
    }

    /// All pages of a collection, one after the other.
    pub fn pages<'a, T: DeserializeOwned + Send + 'a>(&'a self, url: &str) -> BoxStream<'a, Result<Page<T>>> {
        let state = (Some(url.to_owned()), 0u64);
        futures_util::stream::try_unfold(state, move |(next, count)| async move {
            let Some(url) = next else { return Ok(None) };
            if count >= PAGES_MAX {
                return Err(Error::new(ErrorKind::LimitExceeded, "the listing does not end"));
            }
            let page: Page<T> = self.get(&url).await?;
            let next = page.next_link.clone();
            Ok(Some((page, (next, count + 1))))
        })
        .boxed()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.timer.now()
    }

    /// Whether a link stays within the host that may see the token.
    pub(crate) fn is_own(&self, url: &str) -> bool {
        url.starts_with('/') || Origin::of(url).is_some_and(|origin| origin == self.origin)
    }

    /// Calls and reads JSON. An answer that breaks off is asked for again.
    pub(crate) async fn json<T: DeserializeOwned>(&self, call: Call) -> Result<T> {
        let mut attempt = 1;
        loop {
            let reply = self.call(call.clone()).await?.success().await?;
            match collect(reply.response.into_body(), JSON_BYTES_MAX).await {
                Ok(body) => return parse(&body),
                Err(error) => self.pause(attempt, error).await?,
            }
            attempt += 1;
        }
    }

    /// As [`json`](Self::json), for listings whose position the service may have forgotten.
    pub(crate) async fn listing<T: DeserializeOwned>(&self, call: Call) -> Result<Listing<T>> {
        let mut attempt = 1;
        loop {
            let reply = self.call(call.clone()).await?;
            let location = reply.location();
            let broken = match reply.success().await {
                Ok(reply) => match reply.json().await {
                    Ok(value) => return Ok(Listing::Value(value)),
                    Err(error) => error,
                },
                Err(error) if error.kind() == ErrorKind::CursorExpired => {
                    return Ok(Listing::Forgotten(error, location));
                }
                Err(error) => return Err(error),
            };
            self.pause(attempt, broken).await?;
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
        if error.kind() != ErrorKind::Unavailable {
            return Err(error);
        }
        match self.judge(attempt, Answer::Broken) {
            Verdict::Wait { wait, .. } => {
                self.shared.retries.fetch_add(1, Ordering::Relaxed);
                self.sleep(wait).await;
                Ok(())
            }
            _ => Err(error),
        }
    }

    async fn repeat(&self, call: Call, own: bool) -> Result<Reply> {
        let mut attempt = 1;
        let mut refreshed = false;
        loop {
            self.pass_fence().await?;
            let (answer, token) = self.attempt(&call, own).await;
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
                        token => return Ok(Reply { response, attempt, token }),
                    }
                }
                Verdict::Wait { wait, told } => {
                    if told {
                        self.raise_fence(wait);
                    } else if !call.repeat {
                        return Err(failure(answer).await);
                    }
                    self.sleep(wait).await;
                }
                Verdict::GiveUp { retry_after: Some(wait) } => {
                    self.raise_fence(wait);
                    return Err(failure(answer).await.with_retry_after(wait));
                }
                Verdict::GiveUp { retry_after: None } => return Err(failure(answer).await),
            }
            self.shared.retries.fetch_add(1, Ordering::Relaxed);
            attempt += 1;
        }
    }

    /// One request and its answer, with the token that it carried.
    async fn attempt(&self, call: &Call, own: bool) -> (Result<Response<Body>>, Option<Secret>) {
        let token = match own {
            true => match self.tokens.token(&self.scope).await {
                Ok(token) => Some(token),
                Err(error) => return (Err(error), None),
            },
            false => None,
        };
        let request = match self.request(call, token.as_ref()) {
            Ok(request) => request,
            Err(error) => return (Err(error), token),
        };
        self.shared.requests.fetch_add(1, Ordering::Relaxed);
        self.shared.inner_requests.fetch_add(call.inner, Ordering::Relaxed);
        self.shared.bytes_sent.fetch_add(request.body().len() as u64, Ordering::Relaxed);
        let answer = self.transport.send(request).await;
        let shared = Arc::clone(&self.shared);
        let answer = answer.map(|response| {
            response.map(|body| {
                let count = move |piece: &Result<Bytes>| {
                    let bytes = piece.as_ref().map_or(0, Bytes::len) as u64;
                    shared.bytes_received.fetch_add(bytes, Ordering::Relaxed);
                };
                body.inspect(count).boxed()
            })
        });
        (answer, token)
    }

    fn request(&self, call: &Call, token: Option<&Secret>) -> Result<Request<Bytes>> {
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
        }
        Ok(request)
    }

    /// The service refused a token that it got.
    pub(crate) fn token_refused(&self, token: &Secret, _headers: Option<&HeaderMap>) {
        self.tokens.invalidate(token);
    }

    pub(crate) fn count_inner_retries(&self, count: u64) {
        self.shared.retries.fetch_add(count, Ordering::Relaxed);
    }

    /// The path of an address below the base address.
    pub(crate) fn path_of<'a>(&self, url: &'a str) -> Result<&'a str> {
        let path = if url.starts_with('/') { Some(url) } else { url.strip_prefix(&self.base) };
        path.ok_or_else(|| Error::new(ErrorKind::InvalidArgument, "not an address of this service"))
    }

    pub(crate) fn judge(&self, attempt: u32, answer: Answer<'_>) -> Verdict {
        self.patience.judge(self.now(), attempt, answer, self.random())
    }

    async fn pass_fence(&self) -> Result<()> {
        loop {
            let wait = self.shared.fence.lock().unwrap_or_else(PoisonError::into_inner).wait(self.now());
            match wait {
                None => return Ok(()),
                Some(wait) if wait > self.patience.wait_max => {
                    let error =
                        Error::new(ErrorKind::Throttled, "the service asked not to be called for a while");
                    return Err(error.with_retry_after(wait));
                }
                Some(wait) => self.sleep(wait).await,
            }
        }
    }

    pub(crate) fn raise_fence(&self, wait: Duration) {
        self.shared.fence.lock().unwrap_or_else(PoisonError::into_inner).raise(self.now(), wait);
    }

    pub(crate) async fn sleep(&self, wait: Duration) {
        self.shared.waits.fetch_add(1, Ordering::Relaxed);
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.shared.waited_ms.fetch_add(wait_ms, Ordering::Relaxed);
        self.timer.sleep(wait).await;
    }

    /// SplitMix64: spreads the retries of many clients, decides nothing else.
    fn random(&self) -> u64 {
        let mut z = self.shared.jitter.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl fmt::Debug for GraphClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GraphClient")
            .field("base", &self.base)
            .field("tokens", &self.tokens)
            .field("metrics", &self.metrics())
            .finish_non_exhaustive()
    }
}

impl Reply {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The reply if it is no refusal; what it says otherwise.
    pub(crate) async fn success(self) -> Result<Self> {
        if self.status().is_client_error() || self.status().is_server_error() {
            return Err(self.into_error().await);
        }
        Ok(self)
    }

    pub(crate) async fn json<T: DeserializeOwned>(self) -> Result<T> {
        parse(&collect(self.response.into_body(), JSON_BYTES_MAX).await?)
    }

    pub(crate) async fn into_error(self) -> Error {
        refusal(self.response).await
    }

    pub(crate) fn location(&self) -> Option<String> {
        self.response.headers().get(header::LOCATION)?.to_str().ok().map(str::to_owned)
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("status", &self.status())
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// Scheme, host and port, in a form that compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    fn of(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let default = match scheme.as_str() {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
        let port = authority.port_u16().unwrap_or(default);
        Some(Self { scheme, host: authority.host().to_ascii_lowercase(), port })
    }
}

impl Origin {
    /// Where secrets may be sent: over TLS, or without leaving this machine.
    pub(crate) fn for_secrets(url: &str) -> Result<Self> {
        let local = |origin: &Self| matches!(origin.host.as_str(), "localhost" | "127.0.0.1" | "[::1]");
        let origin = Self::of(url).filter(|origin| origin.scheme == "https" || local(origin));
        origin.ok_or_else(|| Error::new(ErrorKind::InvalidArgument, "not an https address").with_item(url))
    }
}

/// The host alone: paths and queries of such addresses carry credentials.
fn host_of(url: &str) -> String {
    Origin::of(url).map_or_else(|| "not an address".to_owned(), |origin| origin.host)
}

/// Encodes a text as one segment of a path or one value of a query.
pub(crate) fn encode_segment(text: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, KEPT).to_string()
}

pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| {
        Error::new(ErrorKind::Io, "the service's answer is not what its documentation says")
            .with_source(error)
    })
}

async fn failure(answer: Result<Response<Body>>) -> Error {
    match answer {
        Ok(response) => refusal(response).await,
        Err(error) => error,
    }
}

/// The service's error envelope as an error of the engine.
async fn refusal(response: Response<Body>) -> Error {
    let status = response.status();
    // A refusal whose text breaks off is a refusal all the same.
    let (parts, body) = response.into_parts();
    let body = collect(body, ERROR_BYTES_MAX).await.unwrap_or_default();
    refusal_of(status, &parts.headers, &body)
}

pub(crate) fn refusal_of(status: StatusCode, _headers: &HeaderMap, body: &[u8]) -> Error {
    let envelope: ErrorEnvelope = serde_json::from_slice(body).unwrap_or_default();
    let code = envelope.code().to_owned();
    let kind = match code.as_str() {
        "ResyncRequired" | "SyncStateNotFound" | "SyncStateInvalid" => ErrorKind::CursorExpired,
        "resyncChangesApplyDifferences" | "resyncChangesUploadDifferences" => ErrorKind::CursorExpired,
        _ => kind_of(status),
    };
    let what = if status == StatusCode::LOCKED { "the item is locked" } else { "the service refused" };
    Error::new(kind, format!("{what}: {} {code} ({})", status.as_u16(), envelope.line()))
}

fn kind_of(status: StatusCode) -> ErrorKind {
    match status.as_u16() {
        400 | 405 | 411 | 412 | 415 | 416 => ErrorKind::InvalidArgument,
        401 => ErrorKind::Unauthenticated,
        // 402: the service wants to be paid; 423: locked by somebody or by a retention policy.
        402 | 403 | 423 => ErrorKind::PermissionDenied,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::AlreadyExists,
        410 => ErrorKind::CursorExpired,
        // 424: another request of the same batch failed.
        424 => ErrorKind::Unavailable,
        413 => ErrorKind::LimitExceeded,
        429 | 509 => ErrorKind::Throttled,
        501 => ErrorKind::Unsupported,
        507 => ErrorKind::OutOfSpace,
        408 | 500.. => ErrorKind::Unavailable,
        _ => ErrorKind::Io,
    }
}
