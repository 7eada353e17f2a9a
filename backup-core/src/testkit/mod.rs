//! For embedders' own tests (feature `testkit`): what every implementation of a seam has to pass, storage that fails on
//! demand, and a world that repeats itself.
//!
//! - [`store::conformance`], [`source::conformance`], [`sink::conformance`] and [`cache::conformance`] run one implementation through the
//!   promises of its trait and name the first one that it breaks. They need no executor of a certain kind.
//! - [`immutable::conformance`] does so for stores that lock, and [`LockingStore`] is one, with an attacker's hands.
//! - [`FaultyStore`] wraps a store and makes chosen calls fail, lose their answer, tear, lie or come short.
//! - [`interleave`] mixes several runs step by step in a given order, with a [`Yielding`] store for each.
//! - [`imaginary`] fills an index with chunks that do not exist, to measure it.
//! - [`SeededEntropy`], [`FixedClock`] and [`environment`] make a run repeatable to the byte. Never use them to protect
//!   anything: their randomness is no secret.
//!
//! ```
//! use backup_core::{store::MemoryStore, testkit};
//!
//! # futures_executor::block_on(async {
//! testkit::store::conformance(&MemoryStore::new()).await.unwrap();
//! # });
//! ```

pub mod cache;
mod faulty;
pub mod imaginary;
pub mod immutable;
mod locking;
mod schedule;
pub mod sink;
pub mod source;
pub mod store;
mod world;

use std::fmt;
use std::sync::Arc;

pub use faulty::{Counters, Fault, FaultyStore, Operation};
pub use locking::LockingStore;
pub use schedule::{Yielding, interleave};
pub use world::{FixedClock, SeededEntropy, environment};

/// The same repository, as it is known now, over another store that holds the same objects: for tests that go on from one state thousands of
/// times. Costs no request. Without an index cache.
#[must_use]
pub fn over(
    repository: &crate::Repository,
    store: Arc<dyn crate::Store>,
    env: crate::Env,
) -> crate::Repository {
    repository.over(store, env)
}

/// A promise of a trait that an implementation does not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// The promise, as a sentence.
    pub promise: &'static str,
    /// What was seen instead.
    pub seen: String,
}

impl Failure {
    fn new(promise: &'static str, seen: impl Into<String>) -> Self {
        Self { promise, seen: seen.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken promise: {}; seen: {}", self.promise, self.seen)
    }
}

impl std::error::Error for Failure {}

/// Fails unless `kept`.
fn check(promise: &'static str, kept: bool, seen: impl FnOnce() -> String) -> Result<(), Failure> {
    if kept { Ok(()) } else { Err(Failure::new(promise, seen())) }
}

/// The value, where a call was promised to succeed.
fn succeed<T>(promise: &'static str, result: crate::Result<T>) -> Result<T, Failure> {
    result.map_err(|error| Failure::new(promise, format!("{error:?}")))
}

/// Fails unless the call failed with this kind of error.
fn fail_with<T>(
    promise: &'static str,
    kind: crate::ErrorKind,
    result: crate::Result<T>,
) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(Failure::new(promise, format!("{error:?} instead of kind {}", kind.code()))),
        Ok(_) => Err(Failure::new(promise, format!("success instead of an error of kind {}", kind.code()))),
    }
}

/// `len` bytes that differ from each other and between seeds, so that swapped or shifted pieces show.
fn painted(seed: u8, len: usize) -> bytes::Bytes {
    let mut bytes = vec![0; len];
    let mut output = blake3::Hasher::new().update(&[seed]).finalize_xof();
    output.fill(&mut bytes);
    bytes.into()
}
