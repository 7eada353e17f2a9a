//! One issuer and the tokens that it gave: asked once however many requests need one, kept until shortly before they
//! expire.
//!
//! No lock is held while the issuer is waited for: whoever comes meanwhile waits for the same answer, also where that
//! answer is a failure. If all who wait go away, the request ends with them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backup_core::{Error, ErrorKind, Result, Timestamp};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use http::{HeaderMap, Request, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Secret;
use crate::client::{Origin, encode_segment};
use crate::limits::{ISSUER_ANSWER_BYTES_MAX, TOKEN_SCOPES_MAX};
use crate::throttle::asked_wait;
use crate::transport::{Timer, Transport, between, collect, later};

/// A token is renewed this long before it expires, so that none expires on its way.
const RENEW_BEFORE: Duration = Duration::from_secs(120);

/// What is being asked of the issuer; many may wait for it.
type Asking = BoxFuture<'static, Result<Secret, Arc<Error>>>;

/// An issuer, as one application asks it.
pub(super) struct Issuer {
    authority: String,
    tenant: String,
    client_id: String,
    transport: Arc<dyn Transport>,
    timer: Arc<dyn Timer>,
    shelf: Mutex<BTreeMap<String, Slot>>,
    /// Until when the issuer asked to be left alone.
    closed_until: Mutex<Option<Timestamp>>,
}

/// What is known of one scope.
#[derive(Default)]
struct Slot {
    held: Option<Held>,
    /// What the next token must have, as the service said when it refused the last one.
    claims: Option<String>,
    under_way: Option<WeakShared<Asking>>,
}

struct Held {
    token: Secret,
    renew_at: Timestamp,
    /// Whether it may be given out. One that may not is remembered to recognise late complaints about it.
    good: bool,
}

#[derive(Deserialize)]
struct Issued {
    access_token: String,
    expires_in: u64,
}

#[derive(Deserialize)]
struct Refused {
    error: String,
    #[serde(default)]
    error_description: String,
}

/// A form on its way to the issuer, wiped when it has been sent.
struct Form(Zeroizing<String>);

impl AsRef<[u8]> for Form {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Issuer {
    pub(super) fn new(
        authority: String,
        tenant: String,
        client_id: String,
        transport: Arc<dyn Transport>,
        timer: Arc<dyn Timer>,
    ) -> Arc<Self> {
        let authority = authority.trim_end_matches('/').to_owned();
        Arc::new(Self {
            authority,
            tenant,
            client_id,
            transport,
            timer,
            shelf: Mutex::default(),
            closed_until: Mutex::default(),
        })
    }

    #[cfg(feature = "certificate")]
    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }

    #[cfg(feature = "certificate")]
    pub(super) fn now(&self) -> Timestamp {
        self.timer.now()
    }

    /// The address that tokens are asked from, which is also what a signed assertion is made out to.
    pub(super) fn endpoint(&self) -> String {
        format!("{}/{}/oauth2/v2.0/token", self.authority, encode_segment(&self.tenant))
    }

    /// A token for `scope`. `proof` gives the part of the form that proves who asks; it is called only if the issuer is.
    pub(super) async fn token(
        self: &Arc<Self>,
        scope: &str,
        continuous: bool,
        proof: impl FnOnce(&Self) -> Result<Zeroizing<String>> + Send,
    ) -> Result<Secret> {
        let asking = match self.begin(scope, continuous, proof)? {
            Ok(token) => return Ok(token),
            Err(asking) => asking,
        };
        asking.await.map_err(|error| again(&error))
    }

    /// The token that is held, or what to wait for.
    fn begin(
        self: &Arc<Self>,
        scope: &str,
        continuous: bool,
        proof: impl FnOnce(&Self) -> Result<Zeroizing<String>>,
    ) -> Result<Result<Secret, Shared<Asking>>> {
        let now = self.timer.now();
        let mut shelf = self.shelf();
        if shelf.len() >= TOKEN_SCOPES_MAX && !shelf.contains_key(scope) {
            shelf.clear();
        }
        let slot = shelf.entry(scope.to_owned()).or_default();
        if let Some(held) = slot.held.as_ref().filter(|held| held.good && now < held.renew_at) {
            return Ok(Ok(held.token.clone()));
        }
        let under_way = slot.under_way.as_ref().and_then(WeakShared::upgrade);
        if let Some(asking) = under_way.filter(|asking| asking.peek().is_none()) {
            return Ok(Err(asking));
        }
        if let Some(until) = self.closed_until().filter(|until| now < *until) {
            let error = Error::new(ErrorKind::Throttled, "the issuer asked not to be called for a while");
            return Err(error.with_retry_after(between(now, until)));
        }
        let challenge = slot.claims.clone();
        let claims = claims(continuous, challenge.as_deref());
        let request = self.request(scope, claims.as_deref(), &proof(self)?)?;
        let (issuer, scope) = (Arc::clone(self), scope.to_owned());
        let asking = async move { issuer.ask(scope, challenge, request).await.map_err(Arc::new) };
        let asking = asking.boxed().shared();
        slot.under_way = asking.downgrade();
        Ok(Err(asking))
    }

    fn request(&self, scope: &str, claims: Option<&str>, proof: &str) -> Result<Request<Bytes>> {
        Origin::for_secrets(&self.authority)?;
        let (client, scope) = (encode_segment(&self.client_id), encode_segment(scope));
        let claims = claims.map(|claims| format!("&claims={}", encode_segment(claims))).unwrap_or_default();
        let form = Zeroizing::new(format!(
            "grant_type=client_credentials&client_id={client}&scope={scope}{claims}&{proof}"
        ));
        Request::post(self.endpoint())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(Bytes::from_owner(Form(form)))
            .map_err(|error| {
                Error::new(ErrorKind::InvalidArgument, "not an authority's address").with_source(error)
            })
    }

    async fn ask(&self, scope: String, challenge: Option<String>, request: Request<Bytes>) -> Result<Secret> {
        let response = self.transport.send(request).await?;
        let (parts, body) = response.into_parts();
        let body = Zeroizing::new(collect(body, ISSUER_ANSWER_BYTES_MAX).await?.to_vec());
        if parts.status != StatusCode::OK {
            let now = self.timer.now();
            let error = refusal(now, parts.status, &parts.headers, &body);
            if let Some(wait) = error.retry_after() {
                *self.closed_until() = Some(later(now, wait));
            }
            return Err(error);
        }
        let issued: Issued = serde_json::from_slice(&body).map_err(|error| {
            Error::new(ErrorKind::Unavailable, "the issuer's answer is no token").with_source(error)
        })?;
        let lifetime = Duration::from_secs(issued.expires_in);
        // A token that lives shorter than the margin is used for half its life instead of never.
        let keep = lifetime.checked_sub(RENEW_BEFORE).filter(|keep| !keep.is_zero()).unwrap_or(lifetime / 2);
        let token = Secret::new(issued.access_token);
        let held = Held { token: token.clone(), renew_at: later(self.timer.now(), keep), good: true };
        let mut shelf = self.shelf();
        let slot = shelf.entry(scope).or_default();
        slot.held = Some(held);
        // What was demanded meanwhile, this token does not have.
        if slot.claims == challenge {
            slot.claims = None;
        }
        drop(shelf);
        Ok(token)
    }

    /// The service refused this token, and said which claims the next one must have if it said anything.
    pub(super) fn refused(&self, token: &Secret, challenge: Option<&str>) {
        for slot in self.shelf().values_mut() {
            let Some(held) = slot.held.as_mut().filter(|held| held.token.expose() == token.expose()) else {
                continue;
            };
            held.good = false;
            if let Some(challenge) = challenge {
                slot.claims = Some(challenge.to_owned());
            }
        }
    }

    fn shelf(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closed_until(&self) -> MutexGuard<'_, Option<Timestamp>> {
        self.closed_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names the fields that are no secret.
    pub(super) fn fields<'a, 'b: 'a>(&self, to: &mut fmt::DebugStruct<'a, 'b>) {
        to.field("authority", &self.authority)
            .field("tenant", &self.tenant)
            .field("client_id", &self.client_id);
    }
}

/// The parameter `claims`: what the service demanded, and that this client understands such demands if it shall say so.
fn claims(continuous: bool, challenge: Option<&str>) -> Option<String> {
    if !continuous {
        return challenge.map(str::to_owned);
    }
    let demanded = challenge.and_then(|text| serde_json::from_str(text).ok()).filter(Value::is_object);
    let mut claims: Value = demanded.unwrap_or_else(|| json!({}));
    if !claims["access_token"].is_object() {
        claims["access_token"] = json!({});
    }
    claims["access_token"]["xms_cc"] = json!({ "values": ["cp1"] });
    Some(claims.to_string())
}

fn refusal(now: Timestamp, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    let kind = match status.as_u16() {
        429 => ErrorKind::Throttled,
        408 | 500.. => ErrorKind::Unavailable,
        _ => ErrorKind::Unauthenticated,
    };
    let message = match serde_json::from_slice::<Refused>(body) {
        // The description's first line; the rest is trace ids.
        Ok(refused) => {
            let description = refused.error_description.lines().next().unwrap_or_default().to_owned();
            format!("the issuer refused: {} ({description})", refused.error)
        }
        Err(_) => format!("the issuer answered {status}"),
    };
    let error = Error::new(kind, message);
    match asked_wait(now, headers).filter(|_| error.is_retryable()) {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    }
}

/// The same failure for each who waited; its cause is the one that all share.
fn again(error: &Arc<Error>) -> Error {
    let mut copy = Error::new(error.kind(), error.message());
    if let Some(item) = error.item() {
        copy = copy.with_item(item);
    }
    if let Some(wait) = error.retry_after() {
        copy = copy.with_retry_after(wait);
    }
    match std::error::Error::source(error.as_ref()) {
        Some(_) => copy.with_source(Cause(Arc::clone(error))),
        None => copy,
    }
}

/// The cause of a failure that several wait for.
#[derive(Debug)]
struct Cause(Arc<Error>);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::error::Error::source(self.0.as_ref()) {
            Some(cause) => fmt::Display::fmt(cause, f),
            None => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl std::error::Error for Cause {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(self.0.as_ref())?.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_demanded_and_what_is_understood_go_together() {
        let demanded = r#"{"access_token":{"nbf":{"essential":true,"value":"1"}}}"#;
        assert_eq!(claims(false, None), None);
        assert_eq!(claims(false, Some(demanded)).as_deref(), Some(demanded));
        let both: Value = serde_json::from_str(&claims(true, Some(demanded)).unwrap()).unwrap();
        assert_eq!(both["access_token"]["nbf"]["value"], "1");
        assert_eq!(both["access_token"]["xms_cc"]["values"], json!(["cp1"]));
        for odd in ["{", "[]", "{\"access_token\":1}"] {
            let claims: Value = serde_json::from_str(&claims(true, Some(odd)).unwrap()).unwrap();
            assert_eq!(claims, json!({ "access_token": { "xms_cc": { "values": ["cp1"] } } }), "{odd}");
        }
    }
}
