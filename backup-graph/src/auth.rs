//! Bearer tokens: where they come from and how long they are kept. No token or secret is ever printed.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use backup_core::{Error, ErrorKind, Result, Timestamp};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::client::{Origin, encode_segment};
use crate::transport::{Timer, Transport, collect, later};

/// A token is renewed this long before it expires, so that none expires on its way.
const RENEW_BEFORE: Duration = Duration::from_secs(120);
/// Longest answer of a token endpoint, in bytes.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// Where the global cloud issues tokens.
pub const GLOBAL_AUTHORITY: &str = "https://login.microsoftonline.com";

/// A text that is wiped from memory when it is dropped, and never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself: for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Gives tokens for a service. Implement it to use your own credentials (a managed identity, a certificate, a broker).
#[async_trait]
pub trait TokenProvider: fmt::Debug + Send + Sync {
    /// A token for `scope` (such as `https://graph.microsoft.com/.default`), from memory where one is still good.
    ///
    /// # Errors
    /// `Unauthenticated` if the credentials are refused; `Unavailable` if the issuer does not answer.
    async fn token(&self, scope: &str) -> Result<Secret>;

    /// The service refused `token` although it had not expired: do not give it out again.
    fn invalidate(&self, token: &Secret);

    /// The service refused `token` and says which claims the next one must have: JSON that goes to the issuer as its
    /// parameter `claims` (continuous access evaluation: a password was changed, a policy applies).
    ///
    /// By default the token is not given out again, and the next one is asked for without claims.
    fn challenge(&self, token: &Secret, claims: &str) {
        let _ = claims;
        self.invalidate(token);
    }
}

/// One fixed token, from wherever. It is not renewed: once it expires, requests end with `Unauthenticated`.
#[derive(Clone, Debug)]
pub struct StaticToken {
    token: Secret,
}

impl StaticToken {
    /// This token for every scope.
    pub fn new(token: impl Into<String>) -> Self {
        Self { token: Secret::new(token) }
    }
}

#[async_trait]
impl TokenProvider for StaticToken {
    async fn token(&self, _scope: &str) -> Result<Secret> {
        Ok(self.token.clone())
    }

    fn invalidate(&self, _token: &Secret) {}
}

/// An application that proves itself by a client secret (OAuth 2.0 client credentials).
pub struct ClientSecret {
    authority: String,
    tenant: String,
    client_id: String,
    secret: Secret,
    transport: Arc<dyn Transport>,
    timer: Arc<dyn Timer>,
    held: Mutex<Option<Held>>,
}

struct Held {
    scope: String,
    token: Secret,
    renew_at: Timestamp,
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

impl ClientSecret {
    /// The application `client_id` of the directory `tenant`. `authority` is the issuer's address, such as
    /// [`GLOBAL_AUTHORITY`].
    pub fn new(
        authority: impl Into<String>,
        tenant: impl Into<String>,
        client_id: impl Into<String>,
        secret: Secret,
        transport: Arc<dyn Transport>,
        timer: Arc<dyn Timer>,
    ) -> Self {
        let authority = authority.into().trim_end_matches('/').to_owned();
        let (tenant, client_id) = (tenant.into(), client_id.into());
        Self { authority, tenant, client_id, secret, transport, timer, held: Mutex::new(None) }
    }

    fn held(&self, scope: &str) -> Option<Secret> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let held = held.as_ref().filter(|held| held.scope == scope && self.timer.now() < held.renew_at);
        held.map(|held| held.token.clone())
    }

    fn request(&self, scope: &str) -> Result<Request<Bytes>> {
        Origin::for_secrets(&self.authority)?;
        let form = Zeroizing::new(format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&scope={}",
            encode_segment(&self.client_id),
            encode_segment(self.secret.expose()),
            encode_segment(scope)
        ));
        let url = format!("{}/{}/oauth2/v2.0/token", self.authority, encode_segment(&self.tenant));
        Request::post(url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(Bytes::copy_from_slice(form.as_bytes()))
            .map_err(|error| {
                Error::new(ErrorKind::InvalidArgument, "not an authority's address").with_source(error)
            })
    }
}

#[async_trait]
impl TokenProvider for ClientSecret {
    async fn token(&self, scope: &str) -> Result<Secret> {
        if let Some(token) = self.held(scope) {
            return Ok(token);
        }
        // Several requests may get here at once and each fetch a token: harmless, and no lock is held while waiting.
        let response = self.transport.send(self.request(scope)?).await?;
        let status = response.status();
        let body = Zeroizing::new(collect(response.into_body(), ANSWER_BYTES_MAX).await?.to_vec());
        if status != StatusCode::OK {
            return Err(refusal(status, &body));
        }
        let issued: Issued = serde_json::from_slice(&body).map_err(|error| {
            Error::new(ErrorKind::Unavailable, "the issuer's answer is no token").with_source(error)
        })?;
        let lifetime = Duration::from_secs(issued.expires_in);
        // A token that lives shorter than the margin is used for half its life instead of never.
        let keep = lifetime.checked_sub(RENEW_BEFORE).filter(|keep| !keep.is_zero()).unwrap_or(lifetime / 2);
        let token = Secret::new(issued.access_token);
        let held =
            Held { scope: scope.to_owned(), token: token.clone(), renew_at: later(self.timer.now(), keep) };
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
        Ok(token)
    }

    fn invalidate(&self, token: &Secret) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.as_ref().is_some_and(|held| held.token.expose() == token.expose()) {
            *held = None;
        }
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSecret")
            .field("authority", &self.authority)
            .field("tenant", &self.tenant)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> Error {
    let kind = match status.as_u16() {
        429 => ErrorKind::Throttled,
        500.. => ErrorKind::Unavailable,
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
    Error::new(kind, message)
}
