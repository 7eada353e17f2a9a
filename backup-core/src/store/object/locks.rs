//! Locks and versions, which `object_store` does not know, by its own means: its requests, addresses, credentials and retries.
//!
//! The crate hands what we put into the `Extensions` of a call to the HTTP client below it, and lets us be in front of that client. A create that
//! carries a [`LockUntil`] gets the headers of a lock there, and a new signature. A look at an object that carries an [`Ask`] becomes another request
//! there altogether, and its answer is put aside for us. What a service calls all this is in `s3` and `azure`.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use ::object_store::client::{
    ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpService, ReqwestConnector,
};
use ::object_store::path::Path;
use ::object_store::{Extensions, GetOptions, HeaderMap, HeaderValue};
use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::ObjectStoreAdapter;
use super::error::{convert, from_answer};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Created, Immutable, Key, Protection, Version};
use crate::time::Timestamp;

/// Longest answer about versions: a thousand of them, with names of a kilobyte.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// What a service calls things.
#[async_trait]
pub(super) trait Service: fmt::Debug + Send + Sync + 'static {
    /// The headers that lock an object.
    fn lock(&self, until: Timestamp) -> Vec<(&'static str, String)>;

    /// Signs a request that is complete; what it carries of an earlier signature is of no use any more.
    async fn sign(&self, request: &mut HttpRequest) -> ::object_store::Result<()>;

    async fn protection(&self, asker: &Asker<'_>) -> Result<Protection>;

    async fn extend(&self, asker: &Asker<'_>, version: Option<&str>, until: Timestamp) -> Result<()>;

    async fn locked_until(&self, asker: &Asker<'_>, version: Option<&str>) -> Result<Option<Timestamp>>;

    /// One page of the versions of what begins with `prefix`, and where the next one begins.
    async fn versions(&self, asker: &Asker<'_>, prefix: &str, from: Option<Marker>) -> Result<Page>;

    async fn delete_version(&self, asker: &Asker<'_>, version: &str) -> Result<()>;
}

/// Query parameters that ask for the next page.
pub(super) type Marker = Vec<(&'static str, String)>;

pub(super) struct Page {
    /// Names as the service has them.
    pub(super) versions: Vec<(String, Found)>,
    pub(super) next: Option<Marker>,
}

/// A version under a name that may not be a key.
pub(super) struct Found {
    pub(super) id: String,
    pub(super) size: u64,
    pub(super) created: Timestamp,
    pub(super) hides: bool,
}

/// A service that locks, and the client in front of which we are.
#[derive(Clone, Debug)]
pub(super) struct Locks(pub(super) Arc<dyn Service>);

/// Asks the create that carries it for a lock.
#[derive(Clone, Copy)]
struct LockUntil(Timestamp);

/// Puts another request in the place of the one that carries it.
#[derive(Clone)]
struct Ask {
    method: &'static str,
    query: Marker,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    answer: Arc<OnceLock<Answer>>,
}

/// What a service answered.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// An error unless it says that all went well.
    pub(super) fn success(self, what: &str, asker: &Asker<'_>) -> Result<Self> {
        if (200..300).contains(&self.status) { Ok(self) } else { Err(self.failure(what, asker)) }
    }

    pub(super) fn failure(&self, what: &str, asker: &Asker<'_>) -> Error {
        let text = String::from_utf8_lossy(&self.body);
        let cause = format!("status code: {}: {}", self.status, text.chars().take(500).collect::<String>());
        Error::new(from_answer(self.status, &text), what).with_item(asker.key.as_str()).with_source(cause)
    }
}

/// Sends requests about one object, or about all of them.
pub(super) struct Asker<'a> {
    store: &'a ObjectStoreAdapter,
    key: &'a Key,
    path: Path,
}

impl Asker<'_> {
    /// The object's name.
    #[cfg(feature = "azure")]
    pub(super) fn key(&self) -> &str {
        self.key.as_str()
    }

    pub(super) async fn ask(&self, method: &'static str, query: Marker) -> Result<Answer> {
        self.ask_with(method, query, Vec::new(), Bytes::new()).await
    }

    /// Sends a request, repeated as the crate repeats reads. Whatever is not a passing fault is an answer.
    pub(super) async fn ask_with(
        &self,
        method: &'static str,
        query: Marker,
        headers: Vec<(&'static str, String)>,
        body: Bytes,
    ) -> Result<Answer> {
        let answer = Arc::new(OnceLock::new());
        let mut extensions = Extensions::new();
        extensions.insert(Ask { method, query, headers, body, answer: Arc::clone(&answer) });
        let options = GetOptions::new().with_extensions(extensions);
        let wrong = |error| convert("the store does not answer about locks", self.key, error);
        self.store.inner.get_opts(&self.path, options).await.map_err(wrong)?;
        Arc::into_inner(answer)
            .and_then(OnceLock::into_inner)
            .ok_or_else(|| Error::bug("a request about locks has passed us by"))
    }
}

/// Makes HTTP clients that we are in front of.
#[derive(Debug)]
pub(super) struct Connector(pub(super) Arc<dyn Service>);

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> ::object_store::Result<HttpClient> {
        let inner = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(InFront { inner, service: Arc::clone(&self.0) }))
    }
}

#[derive(Debug)]
struct InFront {
    inner: HttpClient,
    service: Arc<dyn Service>,
}

#[async_trait]
impl HttpService for InFront {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if let Some(ask) = request.extensions_mut().remove::<Ask>() {
            return self.ask(request, ask).await;
        }
        if let Some(LockUntil(until)) = request.extensions_mut().remove() {
            add_headers(&mut request, self.service.lock(until))?;
            self.service.sign(&mut request).await.map_err(unsent)?;
        }
        self.inner.execute(request).await
    }
}

impl InFront {
    async fn ask(&self, instead_of: HttpRequest, ask: Ask) -> Result<HttpResponse, HttpError> {
        let mut request = HttpRequest::new(HttpRequestBody::from(ask.body));
        *request.method_mut() = ask.method.parse().map_err(unsent)?;
        *request.uri_mut() = with_query(instead_of.uri(), &ask.query).parse().map_err(unsent)?;
        add_headers(&mut request, ask.headers)?;
        self.service.sign(&mut request).await.map_err(unsent)?;
        // Azure insists on it, and the client leaves it out where there is no body. Signatures treat it as if it were not there.
        if ask.method == "PUT" && request.body().is_empty() {
            request.headers_mut().insert("content-length", HeaderValue::from_static("0"));
        }
        let response = self.inner.execute(request).await?;
        let status = response.status().as_u16();
        if status == 429 || status >= 500 {
            // For the crate, which waits and comes back.
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let mut stream = body.bytes_stream();
        let mut whole = Vec::new();
        while let Some(piece) = stream.try_next().await? {
            whole.extend_from_slice(&piece);
            if whole.len() > ANSWER_BYTES_MAX {
                return Err(HttpError::new(
                    HttpErrorKind::Decode,
                    std::io::Error::other("answer is too long"),
                ));
            }
        }
        let answer = Answer { status, headers: parts.headers, body: whole.into() };
        // A repetition of what was answered already changes nothing.
        let _ = ask.answer.set(answer);
        // The crate is to take it for an object of no bytes.
        let mut nothing = HttpResponse::new(Bytes::new().into());
        for (name, value) in
            [("content-length", "0"), ("etag", "none"), ("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT")]
        {
            nothing.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        Ok(nothing)
    }
}

fn unsent(error: impl std::error::Error + Send + Sync + 'static) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, error)
}

fn add_headers(request: &mut HttpRequest, headers: Vec<(&'static str, String)>) -> Result<(), HttpError> {
    for (name, value) in headers {
        request.headers_mut().insert(name, HeaderValue::try_from(value).map_err(unsent)?);
    }
    Ok(())
}

/// An address with another query. What is not plain is written as `%41`.
fn with_query(address: &impl ToString, query: &[(&'static str, String)]) -> String {
    let address = address.to_string();
    let mut whole = address.split('?').next().unwrap_or_default().to_owned();
    for (number, (name, value)) in query.iter().enumerate() {
        whole.push(if number == 0 { '?' } else { '&' });
        whole.push_str(name);
        whole.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                whole.push(char::from(byte));
            } else {
                whole.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    whole
}

/// The next whole second: a lock may be longer, and services keep no fractions.
pub(super) fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::new(time.seconds().saturating_add(i64::from(time.nanos() > 0)), 0)
}

/// What a service answers in XML.
pub(super) fn parse<T: serde::de::DeserializeOwned>(answer: &Answer) -> Result<T> {
    let text = String::from_utf8_lossy(&answer.body);
    quick_xml::de::from_str(&text).map_err(|error| {
        Error::new(ErrorKind::Unsupported, "the store's answer about locks is not understood")
            .with_source(error)
    })
}

impl ObjectStoreAdapter {
    pub(super) fn with_locks(mut self, service: Arc<dyn Service>) -> Self {
        self.locks = Some(Locks(service));
        self
    }

    fn service(&self) -> Result<&dyn Service> {
        self.locks
            .as_ref()
            .map(|locks| &*locks.0)
            .ok_or_else(|| Error::bug("a store has forgotten its locks"))
    }

    fn about<'a>(&'a self, key: &'a Key) -> Result<Asker<'a>> {
        Ok(Asker { store: self, key, path: self.path(key)? })
    }

    /// About the bucket or container; `key` is for messages.
    fn about_all<'a>(&'a self, key: &'a Key) -> Asker<'a> {
        Asker { store: self, key, path: Path::default() }
    }

    async fn page<'a>(
        &'a self,
        prefix: &'a Key,
        from: Option<Marker>,
    ) -> Result<(Vec<Version>, Option<Marker>)> {
        let path = self.path(prefix)?;
        let page = self.service()?.versions(&self.about_all(prefix), path.as_ref(), from).await?;
        let versions = page.versions.into_iter().filter_map(|(name, found)| {
            let key = Self::key(&self.prefix, &Path::parse(name).ok()?)?;
            let Found { id, size, created, hides } = found;
            key.is_below(prefix).then_some(Version { key, id, size, created, hides })
        });
        Ok((versions.collect(), page.next))
    }
}

#[async_trait]
impl Immutable for ObjectStoreAdapter {
    async fn protection(&self) -> Result<Protection> {
        let key = Key::known("log".to_owned());
        self.service()?.protection(&self.about_all(&key)).await
    }

    async fn create_locked(&self, key: &Key, data: Bytes, until: Timestamp) -> Result<Created> {
        let mut extensions = Extensions::new();
        extensions.insert(LockUntil(whole_seconds(until)));
        self.put(key, data, extensions).await
    }

    async fn extend(&self, key: &Key, version: Option<&str>, until: Timestamp) -> Result<()> {
        let (service, about, until) = (self.service()?, self.about(key)?, whole_seconds(until));
        match service.extend(&about, version, until).await {
            // Perhaps it is locked for longer, which nobody may change.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                let locked = service.locked_until(&about, version).await;
                if locked.is_ok_and(|locked| locked >= Some(until)) { Ok(()) } else { Err(error) }
            }
            done => done,
        }
    }

    async fn locked_until(&self, key: &Key, version: Option<&str>) -> Result<Option<Timestamp>> {
        self.service()?.locked_until(&self.about(key)?, version).await
    }

    fn versions<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, Result<Version>> {
        let pages = stream::try_unfold(Some(None), move |from: Option<Option<Marker>>| async move {
            let Some(from) = from else { return Ok(None) };
            let (versions, next) = self.page(prefix, from).await?;
            Ok::<_, Error>(Some((stream::iter(versions.into_iter().map(Ok)), next.map(Some))))
        });
        pages.try_flatten().boxed()
    }

    async fn read_version(&self, key: &Key, version: &str, range: Option<Range<u64>>) -> Result<Bytes> {
        self.read_as(key, Some(version), range).await
    }

    async fn delete_version(&self, key: &Key, version: &str) -> Result<()> {
        match self.service()?.delete_version(&self.about(key)?, version).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}
