//! One call and its answer.

use std::fmt;

use backup_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::refusal::{Refusal, location_of};
use crate::auth::Secret;
use crate::limits::JSON_BYTES_MAX;
use crate::throttle::Demand;
use crate::transport::{Body, collect};

/// One request to be made, as often as it takes.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) repeat: bool,
    pub(super) present: bool,
    pub(super) inner: u64,
    pub(super) demand: Option<Demand>,
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
            present: false,
            inner: 0,
            demand: None,
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

    /// Is about what the service has just said is there: "not found" is believed only when it is said twice. What was made
    /// a moment ago is not known everywhere in the service at once.
    pub(crate) fn present(mut self) -> Self {
        self.present = true;
        self
    }

    /// Asks for a variant of the answer; several preferences add up.
    #[allow(dead_code, reason = "the sources use it as their workloads need it")]
    pub(crate) fn prefer(mut self, preference: &'static str) -> Self {
        self.headers.append("prefer", HeaderValue::from_static(preference));
        self
    }

    /// Carries other requests, so many of them, which ask this.
    pub(crate) fn inner(mut self, demands: impl Iterator<Item = Demand>) -> Self {
        let mut sum = Demand::default();
        for demand in demands {
            self.inner += 1;
            sum = sum.and(demand);
        }
        self.demand = Some(sum);
        self
    }
}

impl Reply {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The reply if it is no refusal; what it says otherwise.
    pub(crate) async fn success(self) -> Result<Self> {
        self.accepted().await.map_err(Refusal::into_error)
    }

    /// As [`success`](Self::success), with the refusal as it came.
    pub(crate) async fn accepted(self) -> Result<Self, Refusal> {
        if self.status().is_client_error() || self.status().is_server_error() {
            return Err(Refusal::of(self.response).await);
        }
        Ok(self)
    }

    pub(crate) async fn json<T: DeserializeOwned>(self) -> Result<T> {
        parse(&collect(self.response.into_body(), JSON_BYTES_MAX).await?)
    }

    pub(crate) async fn into_error(self) -> Error {
        Refusal::of(self.response).await.into_error()
    }

    pub(crate) fn location(&self) -> Option<String> {
        location_of(self.response.headers())
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

pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|error| {
        Error::new(ErrorKind::Io, "the service's answer is not what its documentation says")
            .with_source(error)
    })
}
