//! Users, groups, sites and drives, as far as a backup needs them. What else the service says of them is ignored.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What comes in listings.
pub(super) trait Listed: DeserializeOwned + Send {
    /// The properties that are asked for.
    const SELECT: &'static str;
    /// The application permission with the fewest rights that shows them.
    const PERMISSION: &'static str;
}

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct User {
    /// The id, which stays when the user is renamed.
    pub id: String,
    /// The name to show.
    pub display_name: Option<String>,
    /// The sign-in name, such as `ada@contoso.com`.
    pub user_principal_name: Option<String>,
    /// The mail address.
    pub mail: Option<String>,
    /// Whether the user may sign in.
    pub account_enabled: Option<bool>,
    /// `Member` or `Guest`.
    pub user_type: Option<String>,
}

impl Listed for User {
    const SELECT: &'static str = "id,displayName,userPrincipalName,mail,accountEnabled,userType";
    const PERMISSION: &'static str = "User.Read.All";
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Group {
    /// The id, which stays when the group is renamed.
    pub id: String,
    /// The name to show.
    pub display_name: Option<String>,
    /// The mail address.
    pub mail: Option<String>,
    /// `Unified` for a Microsoft 365 group, `DynamicMembership` for one whose members follow from a rule.
    pub group_types: Option<Vec<String>>,
}

impl Group {
    /// Whether it is a Microsoft 365 group, which has a site and a drive. Others have members only.
    #[must_use]
    pub fn is_unified(&self) -> bool {
        self.group_types.as_ref().is_some_and(|types| types.iter().any(|name| name == "Unified"))
    }
}

impl Listed for Group {
    const SELECT: &'static str = "id,displayName,mail,groupTypes";
    const PERMISSION: &'static str = "GroupMember.Read.All";
}

/// A site or a subsite.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Site {
    /// The id: host name, id of the site collection and id of the site, separated by commas.
    pub id: String,
    /// The last part of the address.
    pub name: Option<String>,
    /// The name to show.
    pub display_name: Option<String>,
    /// Where people open it.
    pub web_url: Option<String>,
    /// Whether it is what a user's OneDrive is in.
    pub is_personal_site: Option<bool>,
}

impl Listed for Site {
    const SELECT: &'static str = "id,name,displayName,webUrl,isPersonalSite";
    const PERMISSION: &'static str = "Sites.Read.All";
}

/// A drive: a OneDrive or a document library.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Drive {
    /// The id, for [`DriveSource::new`](crate::DriveSource::new) and [`DriveSink::new`](crate::DriveSink::new).
    pub id: String,
    /// The name to show.
    pub name: Option<String>,
    /// `business` for a OneDrive, `documentLibrary` for a library.
    pub drive_type: Option<String>,
    /// Where people open it.
    pub web_url: Option<String>,
}

impl Listed for Drive {
    const SELECT: &'static str = "id,name,driveType,webUrl";
    const PERMISSION: &'static str = "Files.Read.All";
}

/// What kind of owner a drive has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OwnerKind {
    /// A user.
    User,
    /// A group.
    Group,
    /// A site.
    Site,
}

impl OwnerKind {
    /// Every kind.
    pub const ALL: &[Self] = &[Self::User, Self::Group, Self::Site];

    pub(super) const fn segment(self) -> &'static str {
        match self {
            Self::User => "users",
            Self::Group => "groups",
            Self::Site => "sites",
        }
    }
}

/// Whose a drive is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Owner {
    /// A user.
    User(User),
    /// A group.
    Group(Group),
    /// A site.
    Site(Site),
}

impl Owner {
    /// What kind of owner this is.
    #[must_use]
    pub const fn kind(&self) -> OwnerKind {
        match self {
            Self::User(_) => OwnerKind::User,
            Self::Group(_) => OwnerKind::Group,
            Self::Site(_) => OwnerKind::Site,
        }
    }

    /// The id of the user, group or site.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::User(user) => &user.id,
            Self::Group(group) => &group.id,
            Self::Site(site) => &site.id,
        }
    }

    /// What to call it: a user's sign-in name, the name of a group, the address of a site; the id if it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        let name = match self {
            Self::User(user) => user.user_principal_name.as_deref(),
            Self::Group(group) => group.display_name.as_deref(),
            Self::Site(site) => site.web_url.as_deref(),
        };
        name.unwrap_or_else(|| self.id())
    }
}
