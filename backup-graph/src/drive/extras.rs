//! What a listing does not carry: permissions and earlier versions. Asked for in batches, page by page of the listing.

use backup_core::{Error, Item, ItemId, Problem, Result, Stream, Value};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::item_address;
use super::wire::{DriveItem, INHERITS, PERMISSIONS, VERSIONS, value_of};
use crate::batch::{BatchReply, BatchRequest};
use crate::client::{GraphClient, encode_segment};
use crate::limits::VERSIONS_MAX;
use crate::wire::Page;

/// Streams with earlier versions are named this and the version's id: `version/3.0`.
pub(super) const VERSION_PREFIX: &str = "version/";

/// Which earlier versions of files are backed up.
///
/// Costs one listing for each file that is new or changed (twenty of them in one HTTP request), and one download for each
/// version that the repository has not yet: versions never change, so none is read twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Versions {
    /// The current content only.
    #[default]
    None,
    /// The current content and so many versions before it.
    Newest(u32),
    /// Every version that the service has, up to 5,000 a file.
    All,
}

/// What is asked for besides the listing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Policy {
    pub(super) versions: Versions,
    pub(super) permissions: bool,
    pub(super) fields: bool,
}

/// What was found out about one item.
#[derive(Debug, Default)]
pub(super) struct Extra {
    permissions: Option<Value>,
    inherits: bool,
    /// Oldest first.
    versions: Vec<Version>,
    problems: Vec<Error>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    id: String,
    size: Option<u64>,
    #[serde(flatten)]
    rest: serde_json::Map<String, Json>,
}

/// Which of an item's extras an answer is about.
enum About {
    Permissions(usize),
    Versions(usize),
}

impl Policy {
    /// Asks for the extras of the items of one page, in their order.
    pub(super) async fn extras(
        &self,
        client: &GraphClient,
        drive: &str,
        items: &[DriveItem],
    ) -> Result<Vec<Extra>> {
        let mut extras: Vec<Extra> = items.iter().map(|_| Extra::default()).collect();
        let (mut requests, mut about) = (Vec::new(), Vec::new());
        for (index, item) in items.iter().enumerate() {
            let address = item_address(drive, &item.id);
            if self.permissions && item.has_own_permissions() {
                requests.push(BatchRequest::get(format!("{address}/permissions")));
                about.push(About::Permissions(index));
            }
            if self.versions != Versions::None && item.has_versions() {
                requests.push(BatchRequest::get(format!("{address}/versions")));
                about.push(About::Versions(index));
            }
        }
        if requests.is_empty() {
            return Ok(extras);
        }
        for (about, reply) in about.into_iter().zip(client.batch(requests).await?) {
            let (About::Permissions(index) | About::Versions(index)) = about;
            let Some(extra) = extras.get_mut(index) else { continue };
            let result = match about {
                About::Permissions(_) => {
                    all::<Json>(client, &reply).await.map(|found| extra.take_permissions(found))
                }
                About::Versions(_) => all::<Version>(client, &reply)
                    .await
                    .map(|found| extra.take_versions(found, self.versions)),
            };
            // Vanished since the listing: the next delta says so.
            match result {
                Err(error) if error.kind() == backup_core::ErrorKind::NotFound => {}
                Err(error) => extra.problems.push(error),
                Ok(()) => {}
            }
        }
        Ok(extras)
    }
}

impl Extra {
    /// What the item's container gives to everything below it is not its own.
    fn take_permissions(&mut self, found: Vec<Json>) {
        let all = found.len();
        let is_own = |entry: &Json| entry.get("inheritedFrom").is_none_or(|from| !is_set(from));
        let own: Vec<Json> = found.into_iter().filter(is_own).collect();
        self.inherits = own.len() < all;
        self.permissions = value_of(Json::Array(own), 0);
    }

    /// The service lists the newest first, and the current content as the first of them.
    fn take_versions(&mut self, found: Vec<Version>, wanted: Versions) {
        let most = match wanted {
            Versions::None => 0,
            Versions::Newest(count) => usize::try_from(count).unwrap_or(VERSIONS_MAX).min(VERSIONS_MAX),
            Versions::All => VERSIONS_MAX,
        };
        self.versions = found.into_iter().skip(1).take(most).collect();
        self.versions.reverse();
    }

    /// Adds what was found to the item; what was not is a problem each.
    pub(super) fn apply(self, item: &mut Item) -> Vec<Problem> {
        if let Some(permissions) = self.permissions {
            item.details.insert(PERMISSIONS.to_owned(), permissions);
            item.details.insert(INHERITS.to_owned(), Value::Bool(self.inherits));
        }
        let mut streams = Vec::with_capacity(self.versions.len() + 1);
        let mut listed = Vec::with_capacity(self.versions.len());
        for version in self.versions {
            let stream = Stream::new(format!("{VERSION_PREFIX}{}", version.id), version.size).immutable();
            streams.push(stream);
            let mut facts = version.rest;
            facts.insert("id".to_owned(), version.id.into());
            listed.extend(value_of(Json::Object(facts), 0));
        }
        if !listed.is_empty() {
            item.details.insert(VERSIONS.to_owned(), Value::List(listed));
        }
        // In this order they are written back: every one becomes a version of the next.
        streams.append(&mut item.streams);
        item.streams = streams;
        let problem = |error: Error| {
            let error = error.with_item(item.name.to_string());
            Problem::new(None::<ItemId>, item.name.to_string(), error)
        };
        self.problems.into_iter().map(problem).collect()
    }
}

/// Where the bytes of an earlier version are to be had; none if the stream is not one.
pub(super) fn version_address(drive: &str, item: &str, stream: &str) -> Option<String> {
    let version = stream.strip_prefix(VERSION_PREFIX)?;
    Some(format!("{}/versions/{}", item_address(drive, item), encode_segment(version)))
}

fn is_set(reference: &Json) -> bool {
    reference.as_object().is_some_and(|facts| !facts.is_empty())
}

/// The first page from a batch and, where it says so, the pages after it.
async fn all<T: DeserializeOwned + Send>(client: &GraphClient, reply: &BatchReply) -> Result<Vec<T>> {
    let mut page: Page<T> = reply.json()?;
    let mut found = page.value;
    while let Some(next) = page.next_link {
        page = client.get(&next).await?;
        found.append(&mut page.value);
        if found.len() > VERSIONS_MAX {
            break;
        }
    }
    Ok(found)
}
