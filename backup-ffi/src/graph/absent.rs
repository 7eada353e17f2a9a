//! What the functions do in a build without the feature `graph`.

use std::sync::Arc;

use backup_core::{Error, ErrorKind, Result, Sink, Source};

use super::{Found, Proof};
use crate::options::Settings;

/// There is none.
#[derive(Debug)]
pub(super) enum Client {}

pub(super) fn connect(proof: &Proof<'_>, _settings: Settings) -> Result<Client> {
    // Named as with the feature, so that one function of the door serves both.
    match *proof {
        Proof::Secret(_, _, _) | Proof::Certificate(_, _, _) | Proof::Token(_) => Err(Error::new(
            ErrorKind::Unsupported,
            "this library is built without Microsoft 365 (feature `graph`)",
        )),
    }
}

pub(super) async fn users(client: &Client) -> Result<Vec<Found>> {
    match *client {}
}

pub(super) async fn groups(client: &Client) -> Result<Vec<Found>> {
    match *client {}
}

pub(super) async fn sites(client: &Client) -> Result<Vec<Found>> {
    match *client {}
}

pub(super) async fn drives(client: &Client, _kind: u32, _owner: &str) -> Result<Vec<Found>> {
    match *client {}
}

pub(super) async fn every_drive(client: &Client) -> Result<Vec<Found>> {
    match *client {}
}

pub(super) fn drive_source(client: &Client, _drive: &str, _settings: Settings) -> Result<Arc<dyn Source>> {
    match *client {}
}

pub(super) fn drive_sink(
    client: &Client,
    _drive: &str,
    _folder: Option<&str>,
    _settings: Settings,
) -> Result<Arc<dyn Sink>> {
    match *client {}
}
