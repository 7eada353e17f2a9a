//! The one error value of the engine, for Rust, C and Python alike.
//!
//! Rules: a kind is numbered and permanent (it is also the C code and the Python `.code`); the message is one
//! lower-case line without a full stop; `hint` says what to do next; `Display` never repeats the cause, which is in
//! `source()`. Input that is wrong gets an error and loses nothing; only a broken promise of our own is `Bug`.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// Shorthand for a result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as a stable number. Numbers are never reused; unknown numbers come only from newer versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u32)]
pub enum ErrorKind {
    /// An argument has no meaning here: an option that does not exist, a name that is too long.
    InvalidArgument = 1,
    /// The request is understood but this build, store or service cannot do it.
    Unsupported = 2,
    /// The caller cancelled. What was done so far is kept in a checkpoint.
    Canceled = 3,
    /// A bound of the format or of this engine was exceeded.
    LimitExceeded = 4,
    /// Something asked for by name is not there.
    NotFound = 10,
    /// Something that was to be created is there already.
    AlreadyExists = 11,
    /// The other side refused for lack of rights.
    PermissionDenied = 12,
    /// The other side asks for fewer requests; `retry_after` may say when to come back.
    Throttled = 13,
    /// The other side could not be reached or failed in a way that may pass.
    Unavailable = 14,
    /// No space is left where something was to be written.
    OutOfSpace = 15,
    /// The operating system or a library reported a failure that fits no other kind.
    Io = 16,
    /// The credentials for the service were refused or have expired.
    Unauthenticated = 17,
    /// No key slot opens with the given passphrase or key.
    WrongKey = 20,
    /// Stored bytes are not what was written: flipped, cut, swapped, renamed or replayed.
    Corrupt = 21,
    /// The repository was written by a newer version of the format.
    NewerFormat = 22,
    /// The store shows an older state than one that this client has seen.
    RolledBack = 23,
    /// There is no repository at this place.
    NotARepository = 24,
    /// An object that the repository needs is gone from the store.
    Missing = 25,
    /// A prune took away, while this run was under way, what the run relied on, and it could not be copied any more.
    Fenced = 26,
    /// The store does not do, or no longer does, what keeping data safe needs.
    /// The store does not do what keeping data safe needs: a probe found that out, and nothing was created.
    UnsafeStore = 27,
    /// The content changed while it was read; the copy may mix two states.
    ChangedWhileReading = 30,
    /// The content received is not what the source announced (length or provider hash).
    SourceMismatch = 31,
    /// The service forgot the cursor; a full enumeration is needed.
    CursorExpired = 32,
    /// An embedder's Source, Sink, Store or callback failed or broke its contract.
    Extension = 40,
    /// A promise of the engine's own code was broken. Please report it.
    Bug = 99,
}

impl ErrorKind {
    /// The permanent number: C error code, Python `.code`.
    #[must_use]
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Throttled | Self::Unavailable | Self::Fenced)
    }

    /// What a caller can do about it, in one line.
    #[must_use]
    pub const fn hint(self) -> &'static str {
        match self {
            Self::InvalidArgument => "correct the argument and call again",
            Self::Unsupported => "choose another option, or build with the feature that the message names",
            Self::Canceled => "run again: it continues from the checkpoint",
            Self::LimitExceeded => "split the input, or raise the limit if it is configurable",
            Self::NotFound => "check the name, or list what exists",
            Self::AlreadyExists => "open it instead, or choose another place",
            Self::PermissionDenied => "grant the right that the message names",
            Self::Throttled | Self::Unavailable => "call again later",
            Self::OutOfSpace => "free space and run again: nothing that was acknowledged is lost",
            Self::Io => "see the cause",
            Self::Unauthenticated => "renew the credentials",
            Self::WrongKey => "try the other passphrase or key, or a recovery slot",
            Self::Corrupt => {
                "run verify to see what is affected, then restore the object from a copy of the store"
            }
            Self::NewerFormat => "update this software",
            Self::RolledBack => "find out who restored or altered the store before you write to it",
            Self::NotARepository => "check the address, or create a repository there",
            Self::Missing => {
                "run verify to see what is affected, then bring the object back from a copy of the store"
            }
            Self::Fenced => "run again: what was stored is used, and what was taken away is read anew",
            Self::UnsafeStore => "see the message: the store does not do what keeping data safe needs",
            Self::ChangedWhileReading => "back it up again when it is quiet, or from a file system snapshot",
            Self::SourceMismatch => "compare with the source; the bytes received were kept",
            Self::CursorExpired => "run again without a cursor",
            Self::Extension => "see the cause: it comes from the embedding program",
            Self::Bug => "report it with the message and the cause",
        }
    }
}

/// An error: kind, one line, and where known the item, when to retry, and the cause.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    item: Option<String>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `message` is one lower-case line without a full stop.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), item: None, retry_after: None, source: None }))
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds the item (path, id or object name) that it is about.
    #[must_use]
    pub fn with_item(mut self, item: impl Into<String>) -> Self {
        self.0.item = Some(item.into());
        self
    }

    /// Adds how long to wait before trying again.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The line without kind and item.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The item (path, id or object name) that it is about, where known.
    #[must_use]
    pub fn item(&self) -> Option<&str> {
        self.0.item.as_deref()
    }

    /// How long the other side asked to wait, where it said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.kind.is_retryable()
    }

    /// What a caller can do about it, in one line.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        self.0.kind.hint()
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    pub(crate) fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    pub(crate) fn bug(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Bug, message)
    }

    pub(crate) fn limit(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::LimitExceeded, message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match &self.0.item {
            Some(item) => write!(f, ": {item}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {self}", self.0.kind.code())?;
        if let Some(wait) = self.0.retry_after {
            write!(f, " (retry after {wait:?})")?;
        }
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, "; caused by: {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::PermissionDenied => ErrorKind::PermissionDenied,
            Io::AlreadyExists => ErrorKind::AlreadyExists,
            Io::StorageFull | Io::QuotaExceeded => ErrorKind::OutOfSpace,
            Io::ConnectionRefused
            | Io::ConnectionReset
            | Io::ConnectionAborted
            | Io::TimedOut
            | Io::NotConnected => ErrorKind::Unavailable,
            _ => ErrorKind::Io,
        };
        Self::new(kind, error.to_string()).with_source(error)
    }
}

/// One thing that is wrong.
#[derive(Debug)]
#[non_exhaustive]
pub struct Finding {
    /// The object, chunk, snapshot or item.
    pub place: String,
    /// What is wrong with it.
    pub error: Error,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_one_line_and_never_repeats_the_cause() {
        let error = Error::new(ErrorKind::Corrupt, "frame does not open")
            .with_item("pack/ab/abcd")
            .with_source(std::io::Error::other("disk on fire"));
        assert_eq!(error.to_string(), "frame does not open: pack/ab/abcd");
        assert!(format!("{error:?}").contains("[21]") && format!("{error:?}").contains("disk on fire"));
        assert!(!error.is_retryable());
    }
}
