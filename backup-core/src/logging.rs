//! What the engine tells an operator while it works: single lines, to whoever the [environment](crate::Env) names.
//!
//! Nothing depends on them. What a caller has to act on is in results and errors; a line says what happened on the way: who was quicker,
//! what was read again, what was taken away. There is no logger of the process: two environments have two, and by default there is none.

use std::fmt;

/// How much a line matters. Ordered: what matters most is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum LogLevel {
    /// Something is lost or damaged.
    Error = 1,
    /// Something did not go as it should, and the run goes on.
    Warning = 2,
    /// A run began, ended, or changed what belongs to the repository.
    Info = 3,
    /// Single steps, for whoever wonders what takes so long.
    Debug = 4,
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
        })
    }
}

/// Takes lines. Called from any thread, also from several at once, and in the middle of a run: it should return soon, must not panic, and
/// must not use the repository that calls.
///
/// A line may name items, objects and addresses of stores; it never holds a key, a token, a passphrase or content.
pub trait Logger: Send + Sync {
    /// Whether lines of this level are wanted; those that are not are not even put together. All are, unless this says otherwise.
    fn wants(&self, level: LogLevel) -> bool {
        let _ = level;
        true
    }

    /// Takes one line, without a line break.
    fn log(&self, level: LogLevel, line: &str);
}
