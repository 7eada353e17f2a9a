//! The seams from outside: every implementation in this crate passes the conformance suites, the suites catch
//! implementations that break a promise, and a folder survives the way out and back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests; clippy exempts only functions marked as such"
)]

mod cache;
#[cfg(any(feature = "s3", feature = "azure"))]
mod cloud;
mod copy;
mod faulty;
#[cfg(unix)]
mod folder;
#[cfg(unix)]
mod folder_hostile;
mod immutable;
mod probe;
mod sink;
mod source;
mod store;
