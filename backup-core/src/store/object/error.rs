//! From the errors of the `object_store` crate to ours: what happened, and whether the same call may succeed later.

use std::error::Error as StdError;
use std::io;

use ::object_store::Error as Foreign;

use super::Key;
use crate::error::{Error, ErrorKind};

/// What the crate calls its local back end in its own errors.
const LOCAL: &str = "LocalFileSystem";

/// Our error for `error`, which stays its cause. The crate keeps credentials and signed addresses out of its messages.
pub(super) fn convert(what: &str, key: &Key, error: Foreign) -> Error {
    Error::new(kind_of(&error), what).with_item(key.as_str()).with_source(error)
}

fn kind_of(error: &Foreign) -> ErrorKind {
    match error {
        Foreign::NotFound { .. } => ErrorKind::NotFound,
        Foreign::AlreadyExists { .. } | Foreign::Precondition { .. } | Foreign::NotModified { .. } => {
            ErrorKind::AlreadyExists
        }
        Foreign::PermissionDenied { .. } => ErrorKind::PermissionDenied,
        Foreign::Unauthenticated { .. } => ErrorKind::Unauthenticated,
        Foreign::NotImplemented { .. } | Foreign::NotSupported { .. } => ErrorKind::Unsupported,
        Foreign::InvalidPath { .. } | Foreign::UnknownConfigurationKey { .. } => ErrorKind::InvalidArgument,
        Foreign::Generic { store, source } => generic(store, source.as_ref()),
        _ => ErrorKind::Io,
    }
}

fn generic(store: &str, source: &(dyn StdError + 'static)) -> ErrorKind {
    let mut cause = Some(source);
    while let Some(error) = cause {
        if let Some(kind) = error.downcast_ref::<io::Error>().and_then(|error| from_io(store, error)) {
            return kind;
        }
        cause = error.source();
    }
    if store == LOCAL { ErrorKind::Io } else { from_text(&source.to_string()) }
}

fn from_io(store: &str, error: &io::Error) -> Option<ErrorKind> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(ErrorKind::OutOfSpace),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Some(ErrorKind::PermissionDenied)
        }
        io::ErrorKind::Unsupported => Some(ErrorKind::Unsupported),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory if store == LOCAL => Some(ErrorKind::NotFound),
        _ if store == LOCAL => Some(ErrorKind::Io),
        // A broken connection; the text above it may say more.
        _ => None,
    }
}

/// What an answer of our own asking says.
#[cfg(any(feature = "s3", feature = "azure"))]
pub(super) fn from_answer(status: u16, text: &str) -> ErrorKind {
    match status {
        401 => ErrorKind::Unauthenticated,
        403 => ErrorKind::PermissionDenied,
        // Azure, and MinIO, for what is locked.
        409 if text.contains("Immutab") => ErrorKind::PermissionDenied,
        400 if text.contains("ObjectLocked") || text.contains("WORM") => ErrorKind::PermissionDenied,
        404 => ErrorKind::NotFound,
        409 | 412 => ErrorKind::AlreadyExists,
        _ => from_text(&format!("status code: {status} {text}")),
    }
}

/// The crate hides the type that carries the HTTP status, so it is read from the text. What cannot be read is taken for
/// a fault of the network, which may pass.
fn from_text(text: &str) -> ErrorKind {
    let status = text.split("status code: ").nth(1).and_then(|rest| rest.get(..3)?.parse::<u16>().ok());
    match status {
        Some(400) if text.contains("ExpiredToken") || text.contains("InvalidToken") => {
            ErrorKind::Unauthenticated
        }
        Some(408) => ErrorKind::Unavailable,
        Some(429) => ErrorKind::Throttled,
        Some(503) if text.contains("SlowDown") || text.contains("ServerBusy") => ErrorKind::Throttled,
        Some(405 | 501) => ErrorKind::Unsupported,
        Some(507) => ErrorKind::OutOfSpace,
        Some(400..=499) => ErrorKind::Io,
        _ => ErrorKind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(store: &'static str, source: impl Into<Box<dyn StdError + Send + Sync>>) -> ErrorKind {
        let key = Key::known("pack/1".to_owned());
        convert("cannot create the object", &key, Foreign::Generic { store, source: source.into() }).kind()
    }

    #[test]
    fn a_full_disk_is_found_below_other_errors() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(kind(LOCAL, full()), ErrorKind::OutOfSpace);
        assert_eq!(kind(LOCAL, io::Error::other(full())), ErrorKind::Io, "a wrapper that hides its cause");
        let wrapped = Foreign::Generic { store: LOCAL, source: full().into() };
        assert_eq!(kind(LOCAL, wrapped), ErrorKind::OutOfSpace);
        assert_eq!(kind(LOCAL, io::Error::from(io::ErrorKind::InvalidData)), ErrorKind::Io);
    }

    #[test]
    fn network_faults_may_pass_and_refusals_do_not() {
        assert_eq!(kind("S3", "connection closed"), ErrorKind::Unavailable);
        assert_eq!(kind("S3", io::Error::from(io::ErrorKind::ConnectionReset)), ErrorKind::Unavailable);
        let server = |status: &str| kind("S3", format!("Server returned non-2xx status code: {status}"));
        assert_eq!(server("500 Internal Server Error: "), ErrorKind::Unavailable);
        assert_eq!(server("429 Too Many Requests: "), ErrorKind::Throttled);
        assert_eq!(server("503 Service Unavailable: <Code>SlowDown</Code>"), ErrorKind::Throttled);
        assert_eq!(server("501 Not Implemented: "), ErrorKind::Unsupported);
        assert_eq!(server("400 Bad Request: <Code>ExpiredToken</Code>"), ErrorKind::Unauthenticated);
        assert_eq!(server("400 Bad Request: "), ErrorKind::Io);
        assert!(!server("400 Bad Request: ").is_retryable() && server("500 x").is_retryable());
    }
}
