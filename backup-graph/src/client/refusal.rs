//! What a refusal of the service means to the engine.

use backup_core::{Error, ErrorKind, Result};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};

use crate::limits::{CLAIMS_BYTES_MAX, ERROR_BYTES_MAX};
use crate::transport::{Body, collect};
use crate::wire::ErrorEnvelope;

/// What a refusal of something locked begins with: no permission would help.
const LOCKED: &str = "the item is locked";

/// A refusal as it came, for whoever has to look into it.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Refusal {
    pub(super) async fn of(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        // A refusal whose text breaks off is a refusal all the same.
        let body = collect(body, ERROR_BYTES_MAX).await.unwrap_or_default();
        Self { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    /// What it says; nothing if that cannot be read.
    pub(crate) fn envelope(&self) -> Option<ErrorEnvelope> {
        serde_json::from_slice(&self.body).ok()
    }

    pub(super) fn location(&self) -> Option<String> {
        location_of(&self.headers)
    }

    /// As an error of the engine.
    pub(crate) fn into_error(self) -> Error {
        refusal_of(self.status, &self.headers, &self.body)
    }
}

pub(super) async fn failure(answer: Result<Response<Body>>) -> Error {
    match answer {
        Ok(response) => Refusal::of(response).await.into_error(),
        Err(error) => error,
    }
}

/// The error with the application permission that would have helped, if one would have.
pub(crate) fn with_permission(error: Error, permission: &str) -> Error {
    if error.kind() != ErrorKind::PermissionDenied
        || error.item().is_some()
        || error.message().starts_with(LOCKED)
    {
        return error;
    }
    error.with_item(format!("application permission {permission}"))
}

pub(super) fn location_of(headers: &HeaderMap) -> Option<String> {
    headers.get(header::LOCATION)?.to_str().ok().map(str::to_owned)
}

pub(crate) fn refusal_of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Error {
    let envelope: ErrorEnvelope = serde_json::from_slice(body).unwrap_or_default();
    let code = envelope.code().to_owned();
    let kind = match code.as_str() {
        "ResyncRequired" | "SyncStateNotFound" | "SyncStateInvalid" => ErrorKind::CursorExpired,
        "resyncChangesApplyDifferences" | "resyncChangesUploadDifferences" => ErrorKind::CursorExpired,
        _ => kind_of(status),
    };
    let request_id = headers.get("request-id").and_then(|value| value.to_str().ok());
    let what = if status == StatusCode::LOCKED { LOCKED } else { "the service refused" };
    Error::new(kind, format!("{what}: {} {code} ({})", status.as_u16(), envelope.line(request_id)))
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

/// The claims that a refusal asks to be in the next token (continuous access evaluation), as JSON.
pub(crate) fn claims_of(headers: &HeaderMap) -> Option<String> {
    let challenges = headers.get_all(header::WWW_AUTHENTICATE).iter();
    challenges.filter_map(|value| value.to_str().ok()).find_map(|challenge| {
        let (claims, _) = challenge.split_once("claims=\"")?.1.split_once('"')?;
        if claims.len() > CLAIMS_BYTES_MAX {
            return None;
        }
        let text = claims.trim_end_matches('=');
        let bytes = URL_SAFE_NO_PAD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()?;
        String::from_utf8(bytes).ok().filter(|claims| claims.starts_with('{'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_from_whichever_challenge_has_them() {
        let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1604106651"}}}"#;
        let header = format!(
            r#"Bearer realm="", error="insufficient_claims", claims="{}", client_id="x""#,
            base64::engine::general_purpose::STANDARD.encode(claims)
        );
        let mut headers = HeaderMap::new();
        headers.append(header::WWW_AUTHENTICATE, "Basic realm=x".parse().unwrap());
        assert_eq!(claims_of(&headers), None);
        headers.append(header::WWW_AUTHENTICATE, header.parse().unwrap());
        assert_eq!(claims_of(&headers).as_deref(), Some(claims));
        for broken in ["claims=\"", "claims=\"!!\"", "claims=\"bm90IGpzb24\""] {
            let headers = [(header::WWW_AUTHENTICATE, broken.parse().unwrap())].into_iter().collect();
            assert_eq!(claims_of(&headers), None, "{broken}");
        }
    }
}
