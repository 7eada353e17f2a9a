//! An item of a simulated drive: what the service keeps of it, and who did what to it when.

use backup_core::Timestamp;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::sharing::Grant;

/// Somebody or something that the service names: a user, a group, an application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    /// `user`, `group`, `application`, `siteGroup` ..., as the property is called.
    pub(super) kind: &'static str,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) email: String,
}

impl Identity {
    pub(super) fn application(id: &str) -> Self {
        Self {
            kind: "application",
            id: id.to_owned(),
            name: format!("Application {id}"),
            email: String::new(),
        }
    }

    /// As an `identitySet`.
    pub(super) fn to_json(&self) -> Value {
        let mut one = json!({ "id": self.id, "displayName": self.name });
        if !self.email.is_empty() {
            one["email"] = json!(self.email);
        }
        json!({ self.kind: one })
    }
}

/// When something is done, and by whom; by nobody in particular means by the drive's owner.
#[derive(Clone, Debug)]
pub(super) struct Stamp {
    pub(super) at: Timestamp,
    pub(super) by: Option<Identity>,
}

impl From<Timestamp> for Stamp {
    fn from(at: Timestamp) -> Self {
        Self { at, by: None }
    }
}

/// A state of a file's content.
#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) number: u32,
    pub(super) content: Bytes,
    pub(super) modified_here: Timestamp,
    pub(super) modified_by: Identity,
}

impl Version {
    /// `3.0`
    pub(super) fn label(number: u32) -> String {
        format!("{number}.0")
    }
}

/// Why an item must not be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// Somebody has the file open or checked out: changes are answered 423.
    Locked,
    /// It was declared a record: changes are answered 403.
    Record,
    /// It is on hold: changes are answered 403.
    Hold,
}

/// What may be special about an item.
#[derive(Clone, Debug, Default)]
pub(super) struct Facets {
    /// The scanner's words.
    pub(super) malware: Option<String>,
    /// `oneNote`: a folder that must be treated as one thing.
    pub(super) package: Option<String>,
    pub(super) obstacle: Option<Obstacle>,
    pub(super) retention_label: Option<String>,
    /// The application lost the permission to see it.
    pub(super) hidden: bool,
    pub(super) description: Option<String>,
    /// The length that the service announces, where it is not that of the content.
    pub(super) announced_size: Option<u64>,
    /// What is answered to whoever asks for the content, or for anything of the item.
    pub(super) refusal: Option<(Scope, u16)>,
}

/// How much of an item is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Content,
    Item,
}

/// An item of a drive, as the service keeps it.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) id: String,
    pub(super) parent: Option<String>,
    pub(super) name: String,
    /// None for a folder.
    pub(super) content: Option<Bytes>,
    /// The hash that the service announces: that of the content, unless a test wants the service to be wrong.
    pub(super) hash: String,
    /// The client's times (`fileSystemInfo`).
    pub(super) created: Timestamp,
    pub(super) modified: Timestamp,
    /// The service's times.
    pub(super) created_here: Timestamp,
    pub(super) modified_here: Timestamp,
    pub(super) created_by: Identity,
    pub(super) modified_by: Identity,
    /// Counts every change.
    pub(super) version: u32,
    /// Counts changes of the content.
    pub(super) content_version: u32,
    /// Earlier contents, oldest first.
    pub(super) history: Vec<Version>,
    /// The item's own permissions.
    pub(super) grants: Vec<Grant>,
    /// Whether the permissions of the folders above count here too.
    pub(super) inherits: bool,
    /// Columns of the library.
    pub(super) fields: Map<String, Value>,
    pub(super) facets: Facets,
    /// Position in a full enumeration, and the number of the list item.
    pub(super) ordinal: u64,
}

impl Node {
    pub(super) fn is_folder(&self) -> bool {
        self.content.is_none()
    }

    pub(super) fn size(&self) -> u64 {
        self.content.as_ref().map_or(0, Bytes::len) as u64
    }

    /// Whether the item has a permission scope of its own.
    pub(super) fn is_unique(&self) -> bool {
        !self.inherits || !self.grants.is_empty() || self.parent.is_none()
    }

    /// The service computes no hash of OneNote's files.
    pub(super) fn announces_hash(&self) -> bool {
        let name = self.name.to_lowercase();
        !(name.ends_with(".one") || name.ends_with(".onetoc2"))
    }
}
