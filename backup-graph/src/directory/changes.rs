//! Changes of users and groups since a position, so that new ones are found without listing all.

use backup_core::{Error, ErrorKind, Result};
use futures_core::stream::BoxStream;
use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::Value;

use super::values::Listed;
use super::{Group, User, entries_of, select};
use crate::client::GraphClient;
use crate::wire::Page;

/// One thing that happened in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DirectoryChange<T> {
    /// New or changed; the same one may come twice.
    Changed(T),
    /// The one of this id was deleted.
    Removed(String),
    /// Everything up to here was told: begin here next time. Comes last.
    Position(String),
}

#[derive(Deserialize)]
struct Removed {
    id: String,
    #[serde(rename = "@removed")]
    removed: Option<Value>,
}

impl GraphClient {
    /// What changed among the users since a position, or all of them without one.
    ///
    /// Costs one request a page. Needs `User.Read.All`. Positions are good for seven days.
    ///
    /// # Errors
    /// As for [`users`](Self::users); `CursorExpired` if the service forgot the position: begin without one.
    pub fn user_changes(&self, since: Option<&str>) -> BoxStream<'_, Result<DirectoryChange<User>>> {
        self.changes_of("users", since)
    }

    /// What changed among the groups since a position, or all of them without one.
    ///
    /// Costs one request a page. Needs `GroupMember.Read.All`. Positions are good for seven days.
    ///
    /// # Errors
    /// As for [`user_changes`](Self::user_changes).
    pub fn group_changes(&self, since: Option<&str>) -> BoxStream<'_, Result<DirectoryChange<Group>>> {
        self.changes_of("groups", since)
    }

    fn changes_of<T: Listed + 'static>(
        &self,
        segment: &str,
        since: Option<&str>,
    ) -> BoxStream<'_, Result<DirectoryChange<T>>> {
        let url = match since {
            Some(position) => position.to_owned(),
            None => format!("/v1.0/{segment}/delta?{}", select::<T>()),
        };
        let pages = self.pages::<Value>(&url).map(|page| page.and_then(read::<T>));
        entries_of(pages.boxed(), T::PERMISSION)
    }
}

fn read<T: Listed>(page: Page<Value>) -> Result<Vec<DirectoryChange<T>>> {
    let odd =
        |error| Error::new(ErrorKind::Io, "a change is not what its documentation says").with_source(error);
    let mut changes = Vec::new();
    for entry in page.value {
        let removed = Removed::deserialize(&entry).map_err(odd)?;
        changes.push(match removed.removed {
            Some(_) => DirectoryChange::Removed(removed.id),
            None => DirectoryChange::Changed(serde_json::from_value(entry).map_err(odd)?),
        });
    }
    changes.extend(page.delta_link.map(DirectoryChange::Position));
    Ok(changes)
}
