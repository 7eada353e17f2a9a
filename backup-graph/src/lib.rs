//! Microsoft 365 through Microsoft Graph, as sources and restore targets of the backup engine.
//!
//! What it is: [`drive::DriveSource`] enumerates a OneDrive or SharePoint drive, follows its changes and reads its
//! files; [`drive::DriveSink`] puts files back into one. Both check what they transfer by the service's own hash, keep
//! the service's times, wait exactly as long as the service asks, and go on after broken connections. [`directory`]
//! finds the tenant's users, groups, sites and drives.
//!
//! What it never does: open a socket by itself (a [`Transport`] does), ask the time (a [`Timer`] does), follow a link
//! with the token to another host, print a token, or delete anything that it was not told to replace.
//!
//! Who calls it: a program that has a [`GraphClient`] and hands the source or the sink to the engine in `backup-core`.
//! With the feature `sim` the same program runs against [`sim`], a tenant in memory that keeps Microsoft's rules and
//! breaks on command.
//!
//! Read first: [`GraphClient`], then [`drive`].

pub mod auth;
mod batch;
mod client;
mod cloud;
pub mod directory;
pub mod drive;
mod hash;
mod limits;
#[cfg(feature = "sim")]
pub mod sim;
pub mod throttle;
pub mod transport;
mod wire;

#[doc(no_inline)]
pub use {bytes, http};

#[cfg(feature = "certificate")]
pub use auth::ClientCertificate;
pub use auth::{ClientSecret, Secret, StaticToken, TokenProvider};
pub use batch::{BatchReply, BatchRequest};
pub use client::{GLOBAL_GRAPH, GraphClient, Metrics};
pub use cloud::Cloud;
pub use drive::{DriveSink, DriveSource, Versions};
pub use hash::QuickXorHash;
#[cfg(feature = "reqwest")]
pub use transport::reqwest::{ReqwestTransport, TokioTimer};
pub use transport::{Body, Timer, Transport};
pub use wire::Page;
