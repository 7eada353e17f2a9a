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

use backup_core::Result;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use http::StatusCode;

pub use self::changes::DirectoryChange;
pub use self::values::{Drive, Group, Owner, OwnerKind, Site, User};
pub use self::walk::Found;

use self::values::Listed;
use crate::client::{GraphClient, encode_segment, with_permission};
use crate::limits::DIRECTORY_PAGE_ENTRIES;
use crate::wire::ErrorEnvelope;

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
        let pages = self.pages_unless(&drives_url(kind, id), move |refusal| {
            // Not the drive is missing, but who should have it.
            let unknown = |envelope: &ErrorEnvelope| envelope.code() == "Request_ResourceNotFound";
            let envelope = refusal.envelope().filter(|envelope| !unknown(envelope));
            kind != OwnerKind::Site && envelope.is_some_and(|envelope| is_absent(refusal.status(), &envelope))
        });
        entries_of(pages.map_ok(|page| page.value).boxed(), Drive::PERMISSION)
    }

    /// The entries of a listing, page after page.
    fn entries<'a, T: Listed + 'a>(&'a self, url: &str) -> BoxStream<'a, Result<T>> {
        entries_of(self.pages(url).map_ok(|page| page.value).boxed(), T::PERMISSION)
    }
}

fn entries_of<'a, T: Send + 'a>(
    pages: BoxStream<'a, Result<Vec<T>>>,
    permission: &'static str,
) -> BoxStream<'a, Result<T>> {
    let entries = pages.map_ok(|page| futures_util::stream::iter(page.into_iter().map(Ok))).try_flatten();
    entries.map_err(move |error| with_permission(error, permission)).boxed()
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
