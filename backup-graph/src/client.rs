//! Requests to Microsoft Graph: token, waiting, paging, errors. Everything else of this crate talks through it.
//!
//! The token goes to the host of the base address and nowhere else: links that the service returns are followed only
//! within that host, and pre-authenticated addresses (downloads, uploads) are called without it.
//!
//! Start with [`GraphClient`]; `send` is what happens to each call.

mod call;
mod lanes;
mod metrics;
mod origin;
mod refusal;
mod send;

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use backup_core::{Error, ErrorKind, Logger, Result};
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::StreamExt as _;
use http::{HeaderValue, Method};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::lanes::Lanes;
use self::metrics::Counters;
use crate::auth::TokenProvider;
use crate::cloud::Cloud;
use crate::limits::PAGES_MAX;
use crate::throttle::{Budget, Lane, Limiter, Patience};
use crate::transport::{Timer, Transport};
use crate::wire::Page;

pub(crate) use self::call::{Call, Listing, Reply, parse};
pub use self::metrics::Metrics;
pub(crate) use self::origin::{Origin, encode_segment};
pub(crate) use self::refusal::{Refusal, claims_of, refusal_of, with_permission};
pub(crate) use self::send::is_throttle;

/// The address of the global cloud; [`Cloud`] has the others.
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
    logger: Option<Arc<dyn Logger>>,
    shared: Arc<Shared>,
}

/// What clones share.
#[derive(Debug)]
struct Shared {
    limiter: Mutex<Limiter>,
    lanes: Lanes,
    jitter: AtomicU64,
    counters: Counters,
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
            limiter: Mutex::default(),
            lanes: Lanes::default(),
            jitter: AtomicU64::new(RandomState::new().hash_one(&base)),
            counters: Counters::default(),
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
            logger: None,
            shared: Arc::new(shared),
        })
    }

    /// A client of the Graph of this cloud; `tokens` must come from the same cloud's [authority](Cloud::authority).
    ///
    /// # Errors
    /// As for [`new`](Self::new), which a cloud's address does not meet.
    pub fn for_cloud(
        cloud: Cloud,
        transport: Arc<dyn Transport>,
        tokens: Arc<dyn TokenProvider>,
        timer: Arc<dyn Timer>,
    ) -> Result<Self> {
        Self::new(cloud.graph(), transport, tokens, timer)
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

    /// Somebody who is told of waits, with their cause; nobody is by default.
    #[must_use]
    pub fn with_logger(mut self, logger: Arc<dyn Logger>) -> Self {
        self.logger = Some(logger);
        self
    }

    /// Another scope to ask tokens for than the endpoint's own.
    #[must_use]
    pub fn with_scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = scope.into();
        self
    }

    /// Limits what all clones together may use; see [`set_budget`](Self::set_budget).
    #[must_use]
    pub fn with_budget(self, budget: Budget) -> Self {
        self.set_budget(budget);
        self
    }

    /// Limits from now on what all clones together may use: more at night, say. Requests under way go on.
    pub fn set_budget(&self, budget: Budget) {
        self.shared.limiter().set_budget(budget);
    }

    /// The most requests of a lane that all clones together have open; how many of these are used, the service's
    /// answers decide. The default is 32 for [`Lane::Graph`] and [`Lane::Download`], 16 for [`Lane::Upload`].
    ///
    /// A download counts until it is read to its end or dropped: whoever opens more of them than this before reading
    /// the first waits forever.
    #[must_use]
    pub fn with_concurrency_max(self, lane: Lane, requests: u32) -> Self {
        self.shared.lanes.set_limit_max(lane, requests);
        self
    }

    /// What was done so far, over all clones.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.shared.counters.metrics()
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
        self.pages_unless(url, |_| false)
    }

    /// As [`pages`](Self::pages), but a refusal for which `is_end` holds is the end of them and no error.
    pub(crate) fn pages_unless<'a, T: DeserializeOwned + Send + 'a>(
        &'a self,
        url: &str,
        is_end: impl Fn(&Refusal) -> bool + Send + Sync + 'a,
    ) -> BoxStream<'a, Result<Page<T>>> {
        let state = (Some(url.to_owned()), 0u64, is_end);
        futures_util::stream::try_unfold(state, move |(next, count, is_end)| async move {
            let Some(url) = next else { return Ok(None) };
            if count >= PAGES_MAX {
                return Err(Error::new(ErrorKind::LimitExceeded, "the listing does not end"));
            }
            let page: Page<T> = match self.answer(Call::new(Method::GET, url)).await? {
                Ok(page) => page,
                Err(refusal) if is_end(&refusal) => return Ok(None),
                Err(refusal) => return Err(refusal.into_error()),
            };
            let next = page.next_link.clone();
            Ok(Some((page, (next, count + 1, is_end))))
        })
        .boxed()
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
