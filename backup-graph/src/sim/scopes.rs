//! Which application roles a request needs.
//!
//! Source: Microsoft's permissions.json (repository microsoftgraph/microsoft-graph-devx-content, of 7 August 2026), the
//! `Application` schemes of the paths. Any one of the roles suffices. Three deviations: `Sites.FullControl.All` includes
//! `Sites.ReadWrite.All`, as the delta page asks for it; sessions below `/drives` accept what their own page names and
//! not only `Sites.ReadWrite.All`; fields of a list item, which the file names only below `/sites`, need the same there
//! and here. Roles that no backup would ask for (device management, agents) are left out.

use super::answer::Refusal;
use super::route::{Address, Owner, Route};

/// What an application gets that is registered without naming roles.
pub(super) const DEFAULT: &[&str] =
    &["Files.ReadWrite.All", "Sites.ReadWrite.All", "Directory.Read.All", "User.Read.All", "Group.Read.All"];

const READ_FILES: &[&str] = &[
    "Files.Read.All",
    "Files.ReadWrite.All",
    "Sites.Read.All",
    "Sites.ReadWrite.All",
    "Sites.FullControl.All",
];
const WRITE_FILES: &[&str] = &["Files.ReadWrite.All", "Sites.ReadWrite.All", "Sites.FullControl.All"];
const WRITE_FIELDS: &[&str] = &["Sites.ReadWrite.All", "Sites.FullControl.All"];
const READ_SITES: &[&str] = &["Sites.Read.All", "Sites.ReadWrite.All", "Sites.FullControl.All"];
const READ_USERS: &[&str] = &[
    "User.ReadBasic.All",
    "User.Read.All",
    "User.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
];
/// Changes of users cannot be followed with the basic role.
const FOLLOW_USERS: &[&str] =
    &["User.Read.All", "User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"];
const READ_GROUPS: &[&str] = &[
    "Group.ReadBasic.All",
    "GroupMember.Read.All",
    "Group.Read.All",
    "Group.ReadWrite.All",
    "Directory.Read.All",
    "Directory.ReadWrite.All",
];

fn needed(route: Route, address: &Address) -> &'static [&'static str] {
    match route {
        Route::CreateFolder | Route::PutContent | Route::CreateSession | Route::Update | Route::Delete => {
            WRITE_FILES
        }
        Route::Copy | Route::Share | Route::RestoreVersion => WRITE_FILES,
        Route::SetFields => WRITE_FIELDS,
        Route::Sites => READ_SITES,
        Route::Users => match (&address.owner, address.action.as_str()) {
            (Owner::Groups | Owner::Group(_), _) => READ_GROUPS,
            (_, "delta") => FOLLOW_USERS,
            _ => READ_USERS,
        },
        _ => READ_FILES,
    }
}

/// Refuses a request that the roles do not cover.
pub(super) fn check(route: Route, address: &Address, roles: &[String]) -> Result<(), Refusal> {
    if needed(route, address).iter().any(|role| roles.iter().any(|given| given == role)) {
        return Ok(());
    }
    Err(if route == Route::Users {
        Refusal::new(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
    } else {
        Refusal::new(403, "accessDenied", "Either scp or roles claim need to be present in the token.")
    })
}
