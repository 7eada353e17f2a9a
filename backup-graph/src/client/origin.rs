//! Where the token may go, and how texts become parts of addresses.

use backup_core::{Error, ErrorKind, Result};
use http::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Scheme, host and port, in a form that compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    pub(super) fn of(url: &str) -> Option<Self> {
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
pub(super) fn host_of(url: &str) -> String {
    Origin::of(url).map_or_else(|| "not an address".to_owned(), |origin| origin.host)
}

/// Encodes a text as one segment of a path or one value of a query.
pub(crate) fn encode_segment(text: &str) -> String {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, KEPT).to_string()
}
