//! Many requests in one: Graph's `$batch`, which takes 20 at a time and answers each on its own, in any order.
//!
//! What it never does: lose a request, hand out another request's answer, or send a refused one again before the
//! longest time that any of them was told to wait. Each inner request counts against the service's limits as if it
//! had come alone; what is saved is round trips.
//!
//! Who calls it: [`GraphClient::batch`]. Start with [`Ledger`], which decides and does no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use backup_core::{Error, ErrorKind, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::client::{Call, GraphClient, is_throttle, parse, refusal_of};
use crate::limits::{BATCH_BYTES_MAX, BATCH_REQUESTS_MAX};
use crate::throttle::{Answer, Cause, Demand, Verdict};

const VERSION: &str = "/v1.0";

/// One request of a batch.
#[derive(Clone, Debug)]
pub struct BatchRequest {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Payload,
    after: Option<usize>,
}

#[derive(Clone, Debug)]
enum Payload {
    None,
    Json(Value),
    Bytes(Bytes),
}

/// The answer to one request of a batch.
#[derive(Clone, Debug)]
pub struct BatchReply {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
    retry_after: Option<Duration>,
}

impl BatchRequest {
    /// A request to `url`, a path below the base address that begins with `/v1.0/`.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: HeaderMap::new(), body: Payload::None, after: None }
    }

    /// A GET.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new(Method::GET, url)
    }

    /// Adds a header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Gives it a JSON body.
    ///
    /// # Errors
    /// `InvalidArgument` if the value does not serialise.
    pub fn with_json(mut self, body: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_value(body).map_err(|error| {
            Error::new(ErrorKind::InvalidArgument, "the body does not serialise").with_source(error)
        })?;
        self.body = Payload::Json(body);
        Ok(self.with_header(header::CONTENT_TYPE, HeaderValue::from_static("application/json")))
    }

    /// Gives it a body of bytes.
    #[must_use]
    pub fn with_bytes(mut self, body: Bytes, content_type: HeaderValue) -> Self {
        self.body = Payload::Bytes(body);
        self.with_header(header::CONTENT_TYPE, content_type)
    }

    /// Is carried out after the request at this index of the same call, which must stand before it. If that one fails,
    /// this one is answered 424.
    #[must_use]
    pub fn after(mut self, index: usize) -> Self {
        self.after = Some(index);
        self
    }

    fn demand(&self) -> Demand {
        Demand::of(&self.method, &format!("{VERSION}{}", self.url))
    }

    /// Whether carrying it out twice is the same as once.
    fn is_repeatable(&self) -> bool {
        self.method.is_idempotent()
    }

    fn bytes_estimate(&self) -> usize {
        let body = match &self.body {
            Payload::None => 0,
            Payload::Json(value) => value.to_string().len(),
            Payload::Bytes(bytes) => bytes.len() / 3 * 4 + 4,
        };
        let headers: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        body + headers + self.url.len() + 128
    }

    fn to_wire(&self, index: usize, depends_on: Option<usize>) -> Value {
        let mut wire = json!({ "id": id_of(index), "method": self.method.as_str(), "url": self.url });
        if !self.headers.is_empty() {
            let text = |value: &HeaderValue| Value::from(String::from_utf8_lossy(value.as_bytes()));
            let headers: Map<String, Value> =
                self.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
            wire["headers"] = headers.into();
        }
        match &self.body {
            Payload::None => {}
            Payload::Json(value) => wire["body"] = value.clone(),
            Payload::Bytes(bytes) => wire["body"] = STANDARD.encode(bytes).into(),
        }
        if let Some(other) = depends_on {
            wire["dependsOn"] = json!([id_of(other)]);
        }
        wire
    }
}

impl BatchReply {
    /// The status of this answer.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Its headers.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Its body as it came: JSON as it is, anything else as a text in base 64.
    #[must_use]
    pub const fn body(&self) -> &Value {
        &self.body
    }

    /// Reads the JSON value of a success.
    ///
    /// # Errors
    /// What the service answered to this one request; `Unavailable` for 424, which says that another one failed.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        self.success()?;
        let body = match &self.body {
            // Some services send JSON as text, in base 64 or not.
            Value::String(text) => STANDARD.decode(text).unwrap_or_else(|_| text.as_bytes().to_vec()),
            other => other.to_string().into_bytes(),
        };
        parse(&body)
    }

    /// Reads the bytes of a success.
    ///
    /// # Errors
    /// As for [`json`](Self::json); `Io` if the body is not bytes in base 64.
    pub fn bytes(&self) -> Result<Bytes> {
        self.success()?;
        let bytes = self.body.as_str().and_then(|text| STANDARD.decode(text).ok());
        bytes.map(Bytes::from).ok_or_else(|| Error::new(ErrorKind::Io, "the batched answer is not bytes"))
    }

    /// Whether it is a success, without reading its body.
    ///
    /// # Errors
    /// As for [`json`](Self::json).
    pub fn success(&self) -> Result<()> {
        if !self.status.is_client_error() && !self.status.is_server_error() {
            return Ok(());
        }
        let error = refusal_of(self.status, &self.headers, self.body.to_string().as_bytes());
        Err(match self.retry_after {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        })
    }
}

impl GraphClient {
    /// Makes many requests with few round trips and returns their answers in the order of the requests.
    ///
    /// Refusals of single requests are in their [`BatchReply`]; those that may pass are sent again first, as
    /// [`get`](Self::get) does. POST and PATCH are sent again only where the service said that it did nothing.
    ///
    /// ```no_run
    /// # use backup_graph::{BatchRequest, GraphClient};
    /// # async fn names(client: &GraphClient, users: &[String]) -> backup_core::Result<()> {
    /// let requests = users.iter().map(|id| BatchRequest::get(format!("/v1.0/users/{id}/drive"))).collect();
    /// for reply in client.batch(requests).await? {
    ///     let drive: serde_json::Value = reply.json()?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// `InvalidArgument` for an address that a batch cannot take. `Unavailable` if answers are missing or are nobody's,
    /// and otherwise as for [`get`](Self::get), where a whole batch was refused: what was sent before may have had effect.
    pub async fn batch(&self, requests: Vec<BatchRequest>) -> Result<Vec<BatchReply>> {
        let mut ledger = Ledger::new(self.localise(requests)?)?;
        loop {
            let round = ledger.next_round();
            if round.is_empty() {
                return ledger.finish();
            }
            let (answers, token) = self.send_round(&ledger, &round).await?;
            let outcome = ledger.settle(&round, answers.responses, |attempt, status, headers| {
                self.judge(attempt, Answer::Response(status, headers))
            })?;
            if outcome.refused_token
                && let Some(token) = token
            {
                self.token_refused(&token, outcome.challenge.as_ref());
            }
            self.count_retries(outcome.retries);
            self.count_throttled(outcome.throttled);
            for (index, wait) in &outcome.told {
                if let Some(request) = ledger.requests.get(*index) {
                    self.raise_fence(request.demand(), *wait);
                }
            }
            if let Some(wait) = outcome.wait {
                let cause = if outcome.told.is_empty() { Cause::Backoff } else { Cause::RetryAfter };
                self.sleep(wait, cause).await;
            }
        }
    }

    /// Addresses as a batch wants them: relative to the version.
    fn localise(&self, mut requests: Vec<BatchRequest>) -> Result<Vec<BatchRequest>> {
        for request in &mut requests {
            let path = self.path_of(&request.url)?;
            let rest = path.strip_prefix(VERSION).filter(|rest| rest.starts_with('/'));
            let rest = rest.ok_or_else(|| {
                Error::new(ErrorKind::InvalidArgument, "a batched address does not begin with /v1.0/")
            })?;
            request.url = rest.to_owned();
        }
        Ok(requests)
    }

    async fn send_round(&self, ledger: &Ledger, round: &[usize]) -> Result<(Answers, Option<crate::Secret>)> {
        let mut attempt = 1;
        loop {
            let mut call = Call::new(Method::POST, format!("{VERSION}/$batch")).json(&ledger.body(round))?;
            if !ledger.is_repeatable(round) {
                call = call.once();
            }
            let reply = self
                .call(call.inner(ledger.requests(round).map(BatchRequest::demand)))
                .await?
                .success()
                .await?;
            let token = reply.token.clone();
            match reply.json().await {
                Ok(answers) => return Ok((answers, token)),
                Err(error) if ledger.is_repeatable(round) => self.pause(attempt, error).await?,
                Err(error) => return Err(error),
            }
            attempt += 1;
        }
    }
}

#[derive(Debug, Deserialize)]
struct Answers {
    responses: Vec<WireReply>,
}

#[derive(Debug, Deserialize)]
struct WireReply {
    id: String,
    status: u16,
    #[serde(default)]
    headers: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    body: Value,
}

impl WireReply {
    fn into_reply(self) -> Option<BatchReply> {
        let mut headers = HeaderMap::new();
        for (name, value) in self.headers.unwrap_or_default() {
            let text = match value {
                Value::String(text) => text,
                other => other.to_string(),
            };
            // A header that is none is no reason to lose an answer.
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(&text)) {
                headers.insert(name, value);
            }
        }
        Some(BatchReply {
            status: StatusCode::from_u16(self.status).ok()?,
            headers,
            body: self.body,
            retry_after: None,
        })
    }
}

/// Which requests are still to be made, and what came of the others.
#[derive(Debug)]
struct Ledger {
    requests: Vec<BatchRequest>,
    entries: Vec<Entry>,
    pending: BTreeSet<usize>,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    attempts: u32,
    refreshed: bool,
    reply: Option<BatchReply>,
}

/// What to do before the next round.
#[derive(Debug, Default)]
struct Outcome {
    /// The longest wait of all.
    wait: Option<Duration>,
    /// The waits that the service named, and for which request.
    told: Vec<(usize, Duration)>,
    refused_token: bool,
    challenge: Option<HeaderMap>,
    retries: u64,
    throttled: u64,
}

fn id_of(index: usize) -> String {
    (index + 1).to_string()
}

fn broken(message: &str) -> Error {
    Error::new(ErrorKind::Unavailable, message)
}

impl Ledger {
    fn new(requests: Vec<BatchRequest>) -> Result<Self> {
        for (index, request) in requests.iter().enumerate() {
            if request.after.is_some_and(|other| other >= index) {
                return Err(Error::new(
                    ErrorKind::InvalidArgument,
                    "a batched request waits for a later one",
                ));
            }
        }
        let pending = (0..requests.len()).collect();
        Ok(Self { entries: vec![Entry::default(); requests.len()], requests, pending })
    }

    /// The indices of the next batch, lowest first: whoever waits for another comes with it or after it.
    fn next_round(&mut self) -> Vec<usize> {
        let mut round = Vec::new();
        let mut bytes = 0;
        let mut failed = Vec::new();
        for &index in &self.pending {
            let Some(request) = self.requests.get(index) else { continue };
            let fails = |other: usize| {
                failed.contains(&other) || self.reply(other).is_some_and(|reply| !reply.status.is_success())
            };
            if request.after.is_some_and(fails) {
                failed.push(index);
                continue;
            }
            bytes += request.bytes_estimate();
            if round.len() == BATCH_REQUESTS_MAX || (bytes > BATCH_BYTES_MAX && !round.is_empty()) {
                break;
            }
            round.push(index);
        }
        for index in failed {
            let reply = BatchReply {
                status: StatusCode::FAILED_DEPENDENCY,
                headers: HeaderMap::new(),
                body: Value::Null,
                retry_after: None,
            };
            self.settled(index, reply);
        }
        round
    }

    fn reply(&self, index: usize) -> Option<&BatchReply> {
        self.entries.get(index)?.reply.as_ref()
    }

    fn settled(&mut self, index: usize, reply: BatchReply) {
        self.pending.remove(&index);
        if let Some(entry) = self.entries.get_mut(index) {
            entry.reply = Some(reply);
        }
    }

    fn requests<'a>(&'a self, round: &'a [usize]) -> impl Iterator<Item = &'a BatchRequest> {
        round.iter().filter_map(|&index| self.requests.get(index))
    }

    fn is_repeatable(&self, round: &[usize]) -> bool {
        self.requests(round).all(BatchRequest::is_repeatable)
    }

    fn body(&self, round: &[usize]) -> Value {
        let wire = |&index: &usize| {
            let request = self.requests.get(index)?;
            Some(request.to_wire(index, request.after.filter(|other| round.contains(other))))
        };
        json!({ "requests": round.iter().filter_map(wire).collect::<Vec<_>>() })
    }

    /// Takes the answers of a round: each either stands or is asked for again.
    fn settle(
        &mut self,
        round: &[usize],
        answers: Vec<WireReply>,
        judge: impl Fn(u32, StatusCode, &HeaderMap) -> Verdict,
    ) -> Result<Outcome> {
        let mut replies = BTreeMap::new();
        for answer in answers {
            let index = round.iter().copied().find(|&index| id_of(index) == answer.id);
            let index =
                index.ok_or_else(|| broken("a batch was answered with an id that nobody asked for"))?;
            let reply = answer.into_reply().ok_or_else(|| broken("a batched answer has no status"))?;
            if replies.insert(index, reply).is_some() {
                return Err(broken("a batch was answered with one id twice"));
            }
        }
        if replies.len() != round.len() {
            return Err(broken("a batch was answered in part"));
        }
        let mut outcome = Outcome::default();
        for (index, mut reply) in replies {
            let repeatable = self.requests.get(index).is_some_and(BatchRequest::is_repeatable);
            let waits_for = self.requests.get(index).and_then(|request| request.after);
            let waits = waits_for.is_some_and(|other| self.pending.contains(&other));
            let Some(entry) = self.entries.get_mut(index) else { continue };
            entry.attempts += 1;
            outcome.throttled += u64::from(is_throttle(reply.status, &reply.headers));
            let again = match judge(entry.attempts, reply.status, &reply.headers) {
                _ if reply.status == StatusCode::FAILED_DEPENDENCY => waits,
                Verdict::Final if reply.status == StatusCode::UNAUTHORIZED && !entry.refreshed => {
                    entry.refreshed = true;
                    outcome.refused_token = true;
                    outcome.challenge = Some(reply.headers.clone());
                    true
                }
                Verdict::Final => false,
                Verdict::Wait { wait, told } => {
                    if told {
                        outcome.told.push((index, wait));
                    }
                    let again = told || repeatable || reply.status == StatusCode::TOO_MANY_REQUESTS;
                    if again {
                        outcome.wait = outcome.wait.max(Some(wait));
                    }
                    again
                }
                Verdict::GiveUp { retry_after } => {
                    outcome.told.extend(retry_after.map(|wait| (index, wait)));
                    reply.retry_after = retry_after;
                    false
                }
            };
            if again {
                outcome.retries += 1;
            } else {
                self.settled(index, reply);
            }
        }
        Ok(outcome)
    }

    fn finish(self) -> Result<Vec<BatchReply>> {
        let replies: Option<Vec<_>> = self.entries.into_iter().map(|entry| entry.reply).collect();
        replies.ok_or_else(|| Error::new(ErrorKind::Bug, "a batched request was forgotten"))
    }
}
