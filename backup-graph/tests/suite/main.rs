//! Everything that crosses the seam of HTTP, against the simulated tenant.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]
#![expect(clippy::clone_on_ref_ptr, reason = "the clones become trait objects where they are passed")]

mod auth;
#[cfg(feature = "azure-identity")]
mod azure;
mod backup;
mod batch;
mod client;
mod client_script;
mod complaints;
mod conformance;
mod counts;
mod directory;
#[cfg(feature = "sim-tls")]
mod entrances;
mod everywhere;
mod extras;
mod faults;
mod foreign;
mod loopback;
mod office;
mod refused;
mod restore;
mod roles;
mod sharing;
#[cfg(feature = "certificate")]
mod sign_in;
mod throttle;
