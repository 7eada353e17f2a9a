//! What a tenant has: its users, groups and sites, and whose drives are whose.
//!
//! What it never does: change anything, or take a user without a drive for a failure.
//!
//! Who calls it: a program that wants to protect more than the drives whose ids it knows. Listings are streams, read a
//! page at a time, so a tenant of any size takes the memory of a page. Start with [`GraphClient::every_drive`].
//!
//! ```no_run
//! # use backup_graph::{DriveSource, GraphClient};
//! # use backup_graph::directory::{Found, OwnerKind};
//! # use futures_util::StreamExt as _;
//! # async fn protect(client: &GraphClient) -> backup_core::Result<()> {
//! let mut drives = client.every_drive(OwnerKind::ALL);
//! while let Some(found) = drives.next().await {
//!     match found? {
//!         Found::Drive { owner, drive } => {
//!             println!("{} of {}", drive.id, owner.name());
//!             let source = DriveSource::new(client.clone(), drive.id);
//!         }
//!         Found::Failed { owner, error } => eprintln!("{}: {error}", owner.name()),
//!         _ => {}
//!     }
//! }
//! # Ok(()) }
//! ```

mod changes;
mod values;
mod walk;

use backup_core::{Error, ErrorKind, Result};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::{Method, StatusCode};
use serde::de::DeserializeOwned;

pub use self::changes::DirectoryChange;
pub use self::values::{Drive, Group, Owner, OwnerKind, Site, User};
pub use self::walk::Found;

use self::values::Listed;
use crate::client::{Call, GraphClient, encode_segment, parse, refusal_of};
use crate::limits::{DIRECTORY_PAGE_ENTRIES, JSON_BYTES_MAX, PAGES_MAX};
use crate::transport::collect;
use crate::wire::{ErrorEnvelope, Page};

impl GraphClient {
    /// Every user, guests and disabled accounts included.
    ///
    /// Costs one request a page of 999. Needs `User.Read.All`: the basic permission shows neither sign-in name nor state.
    ///
    /// # Errors
    /// As for [`get`](Self::get); the stream ends with the first. `PermissionDenied` names the permission.
    pub fn users(&self) -> BoxStream<'_, Result<User>> {
        self.entries(&format!("/v1.0/users?{}&$top={DIRECTORY_PAGE_ENTRIES}", select::<User>()))
    }

    /// Every group; only those that [are unified](Group::is_unified) have a drive.
    ///
    /// Costs one request a page of 999. Needs `GroupMember.Read.All`.
    ///
    /// # Errors
    /// As for [`users`](Self::users).
    pub fn groups(&self) -> BoxStream<'_, Result<Group>> {
        self.entries(&format!("/v1.0/groups?{}&$top={DIRECTORY_PAGE_ENTRIES}", select::<Group>()))
    }

    /// Every site of every geography, those of groups and of persons included. The service may or may not list subsites:
    /// [`subsites`](Self::subsites) has them.
    ///
    /// Costs one request a page. Needs `Sites.Read.All`.
    ///
    /// # Errors
    /// As for [`users`](Self::users).
    pub fn sites(&self) -> BoxStream<'_, Result<Site>> {
        self.entries(&format!("/v1.0/sites/getAllSites?{}", select::<Site>()))
    }

    /// The sites directly below the site of this id.
    ///
    /// Costs one request a page. Needs `Sites.Read.All`.
    ///
    /// # Errors
    /// As for [`users`](Self::users); `NotFound` if there is no such site.
    pub fn subsites(&self, site: &str) -> BoxStream<'_, Result<Site>> {
        self.entries(&subsites_url(site))
    }

    /// The drives of the user, group or site of this id; a user's sign-in name is an id too. None for who has none.
    ///
    /// Costs one request a page, and mostly there is one. Needs `Files.Read.All`.
    ///
    /// # Errors
    /// As for [`users`](Self::users); `NotFound` if there is no such user, group or site.
    pub fn drives_of(&self, kind: OwnerKind, id: &str) -> BoxStream<'_, Result<Drive>> {
        let state = (Some(drives_url(kind, id)), 0u64);
        let pages = futures_util::stream::try_unfold(state, move |(next, count)| async move {
            let Some(url) = next else { return Ok(None) };
            if count >= PAGES_MAX {
                return Err(Error::new(ErrorKind::LimitExceeded, "the listing does not end"));
            }
            let page: Option<Page<Drive>> = match kind {
                OwnerKind::Site => Some(self.get(&url).await?),
                _ => self.unless_absent(&url).await?,
            };
            let Some(page) = page else { return Ok(None) };
            Ok(Some((page.value, (page.next_link, count + 1))))
        });
        entries_of(pages.boxed(), Drive::PERMISSION)
    }

    /// The entries of a listing, page after page.
    fn entries<'a, T: Listed + 'a>(&'a self, url: &str) -> BoxStream<'a, Result<T>> {
        entries_of(self.pages(url).map_ok(|page| page.value).boxed(), T::PERMISSION)
    }

    /// As [`get`](Self::get), but nothing if the answer says that there is no drive.
    async fn unless_absent<T: DeserializeOwned>(&self, url: &str) -> Result<Option<T>> {
        let mut attempt = 1;
        loop {
            let reply = self.call(Call::new(Method::GET, url)).await?;
            let (parts, body) = reply.response.into_parts();
            match collect(body, JSON_BYTES_MAX).await {
                Ok(body) if parts.status.is_client_error() || parts.status.is_server_error() => {
                    let envelope: ErrorEnvelope = serde_json::from_slice(&body).unwrap_or_default();
                    // Not the drive is missing, but who should have it.
                    let unknown = envelope.code() == "Request_ResourceNotFound";
                    if is_absent(parts.status, &envelope) && !unknown {
                        return Ok(None);
                    }
                    return Err(refusal_of(parts.status, &parts.headers, &body));
                }
                Ok(body) => return parse(&body).map(Some),
                Err(error) => self.pause(attempt, error).await?,
            }
            attempt += 1;
        }
    }
}

fn entries_of<'a, T: Send + 'a>(
    pages: BoxStream<'a, Result<Vec<T>>>,
    permission: &'static str,
) -> BoxStream<'a, Result<T>> {
    let entries = pages.map_ok(|page| futures_util::stream::iter(page.into_iter().map(Ok))).try_flatten();
    entries.map_err(move |error| named(error, permission)).boxed()
}

/// The error with the permission that would have helped, if one would have.
fn named(error: Error, permission: &str) -> Error {
    if error.kind() != ErrorKind::PermissionDenied || error.item().is_some() {
        return error;
    }
    error.with_item(format!("application permission {permission}"))
}

/// Whether an answer says that somebody has no drive: never made, no licence for one, or deleted.
///
/// Besides 404 the service answers 400 and 403 with a code or a text that says so.
fn is_absent(status: StatusCode, envelope: &ErrorEnvelope) -> bool {
    match status.as_u16() {
        404 => true,
        400 | 403 => {
            let message = envelope.message().to_ascii_lowercase();
            envelope.code().eq_ignore_ascii_case("ResourceNotFound")
                || message.contains("mysite")
                || message.contains("spo license")
        }
        _ => false,
    }
}

fn select<T: Listed>() -> String {
    format!("$select={}", T::SELECT)
}

fn drives_url(kind: OwnerKind, id: &str) -> String {
    format!("/v1.0/{}/{}/drives?{}", kind.segment(), encode_segment(id), select::<Drive>())
}

fn subsites_url(site: &str) -> String {
    format!("/v1.0/sites/{}/sites?{}", encode_segment(site), select::<Site>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_drive_is_told_from_no_permission() {
        let is_absent = |status: u16, body: &str| {
            is_absent(StatusCode::from_u16(status).unwrap(), &serde_json::from_str(body).unwrap())
        };
        for (status, body, expected) in [
            (404, r#"{"error":{"code":"ResourceNotFound","message":"User's mysite not found."}}"#, true),
            (404, "{}", true),
            (403, r#"{"error":{"code":"ResourceNotFound","message":""}}"#, true),
            (
                400,
                r#"{"error":{"code":"BadRequest","message":"Unable to retrieve user's mysite URL."}}"#,
                true,
            ),
            (400, r#"{"error":{"code":"BadRequest","message":"Tenant does not have a SPO license."}}"#, true),
            (403, r#"{"error":{"code":"accessDenied","message":"Access denied"}}"#, false),
            (400, r#"{"error":{"code":"invalidRequest","message":"no"}}"#, false),
            (423, r#"{"error":{"code":"ResourceNotFound","message":"mysite"}}"#, false),
            (500, r#"{"error":{"code":"ResourceNotFound"}}"#, false),
        ] {
            assert_eq!(is_absent(status, body), expected, "{status} {body}");
        }
    }
}
