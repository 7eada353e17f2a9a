//! OneDrive and SharePoint drives: a [`DriveSource`] to back one up, a [`DriveSink`] to restore into one.
//!
//! A drive is enumerated and followed by delta listings: an unchanged drive costs one request, a first run costs its
//! pages and one download per file that is not empty. Files are checked by length and quickXorHash both ways.
//!
//! ```no_run
//! # #[cfg(feature = "reqwest")]
//! # fn example(secret: String) -> backup_core::Result<()> {
//! use std::sync::Arc;
//!
//! use backup_graph::auth::GLOBAL_AUTHORITY;
//! use backup_graph::{ClientSecret, DriveSource, GLOBAL_GRAPH, GraphClient, ReqwestTransport, Secret, TokioTimer};
//!
//! let (transport, timer) = (Arc::new(ReqwestTransport::new()?), Arc::new(TokioTimer::new()));
//! let (tenant, application, secret) = ("contoso.com", "the application's id", Secret::new(secret));
//! let tokens =
//!     ClientSecret::new(GLOBAL_AUTHORITY, tenant, application, secret, transport.clone(), timer.clone());
//! let client = GraphClient::new(GLOBAL_GRAPH, transport, Arc::new(tokens), timer)?;
//! let source = DriveSource::new(client, "b!-RIj2DuyvEyV1T4NlOaMHk8XkS_I8MdFlUCq1BlcjgmhRfAj3-Z8RY2VpuvV_tpd");
//! # Ok(())
//! # }
//! ```
//!
//! Permissions, earlier versions and the columns of the library are backed up on request: see
//! [`DriveSource::with_permissions`], [`with_versions`](DriveSource::with_versions) and
//! [`with_fields`](DriveSource::with_fields); [`DriveSink`] has the same switches for a restore.

mod download;
mod extras;
mod grants;
mod sink;
mod source;
mod transfer;
mod upload;
mod wire;

pub use extras::Versions;
pub use sink::DriveSink;
pub use source::DriveSource;

use crate::client::encode_segment;

/// The address of an item; `root` is the drive's root.
fn item_address(drive: &str, item: &str) -> String {
    let drive = encode_segment(drive);
    match item {
        "root" => format!("/v1.0/drives/{drive}/root"),
        item => format!("/v1.0/drives/{drive}/items/{}", encode_segment(item)),
    }
}

/// The address of what has this name in a folder, whether or not there is anything. A colon leads on from there.
fn child_address(drive: &str, folder: &str, name: &str) -> String {
    format!("{}:/{}", item_address(drive, folder), encode_segment(name))
}
