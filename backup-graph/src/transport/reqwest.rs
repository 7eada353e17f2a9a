//! [`Transport`] and [`Timer`] on reqwest and tokio: the one file of this crate that names them outside the simulator.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use backup_core::{Error, ErrorKind, Result, Timestamp};
use bytes::Bytes;
use futures_util::StreamExt as _;

use super::{Body, Timer, Transport};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a connection may be silent. Not a limit of the whole transfer: large files take as long as they take.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(120);

/// HTTP over reqwest, with TLS by rustls. Must be used within a tokio runtime.
#[derive(Clone, Debug)]
pub struct ReqwestTransport {
    client: reqwest::Client,
}

impl ReqwestTransport {
    /// A transport with its own connection pool, which honours the usual proxy variables of the environment and trusts
    /// whom this machine trusts.
    ///
    /// # Errors
    /// `Io` if TLS cannot be set up on this machine.
    pub fn new() -> Result<Self> {
        Self::build(Vec::new())
    }

    /// The same, and trusts further certificate authorities, given as certificates in PEM: that of a proxy which looks
    /// into TLS, or of a simulated tenant.
    ///
    /// Danger: whoever holds the private key of one of them can pose as Microsoft to this transport.
    ///
    /// # Errors
    /// `InvalidArgument` if this is not PEM, holds no certificate, or one that cannot be trusted.
    pub fn with_root_certificates(pem: &[u8]) -> Result<Self> {
        let invalid = |text| Error::new(ErrorKind::InvalidArgument, text);
        let roots = reqwest::Certificate::from_pem_bundle(pem)
            .map_err(|error| invalid("not certificates in PEM").with_source(error))?;
        if roots.is_empty() {
            return Err(invalid("no certificate in PEM"));
        }
        Self::build(roots).map_err(|error| invalid("the certificates cannot be trusted").with_source(error))
    }

    fn build(roots: Vec<reqwest::Certificate>) -> Result<Self> {
        let client = reqwest::Client::builder()
            // Followed by the client, which knows where the token may go.
            .redirect(reqwest::redirect::Policy::none())
            // Tried again by the client, which knows what the service asked for.
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(SILENCE_TIMEOUT)
            .tls_certs_merge(roots)
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Io, "the HTTP client cannot be set up").with_source(error)
            })?;
        Ok(Self { client })
    }
}

#[async_trait]
impl Transport for ReqwestTransport {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>> {
        let request = reqwest::Request::try_from(request.map(reqwest::Body::from)).map_err(|error| {
            Error::new(ErrorKind::InvalidArgument, "not an HTTP request").with_source(strip(error))
        })?;
        let response = self.client.execute(request).await;
        let mut response = response.map_err(|error| unavailable("the service did not answer", error))?;
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        let pieces = response.bytes_stream();
        let pieces =
            pieces.map(|piece| piece.map_err(|error| unavailable("the connection broke off", error)));
        let mut answer = http::Response::new(pieces.boxed());
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }
}

fn unavailable(message: &str, error: reqwest::Error) -> Error {
    Error::new(ErrorKind::Unavailable, message).with_source(strip(error))
}

/// Download addresses carry their own credentials, so they never enter an error text.
fn strip(error: reqwest::Error) -> reqwest::Error {
    error.without_url()
}

/// The system's clock and tokio's timer.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct TokioTimer;

impl TokioTimer {
    /// The one value of this type.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

#[async_trait]
impl Timer for TokioTimer {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }

    async fn sleep(&self, wait: Duration) {
        tokio::time::sleep(wait).await;
    }
}
