//! Everything that crosses the seam of HTTP, against the simulated tenant.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]
#![expect(clippy::clone_on_ref_ptr, reason = "the clones become trait objects where they are passed")]

mod auth;
mod backup;
mod batch;
mod client;
mod client_script;
mod complaints;
mod conformance;
mod counts;
mod everywhere;
mod extras;
mod faults;
mod loopback;
mod office;
mod restore;
mod throttle;
