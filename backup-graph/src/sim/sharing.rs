//! Who may see or change an item: direct grants, sharing links, what is inherited, and the `shared` facet.

use backup_core::{Error, ErrorKind, Result, Timestamp};
use serde_json::{Value, json};

use super::answer::path_of;
use super::drive::Drive;
use super::node::{Identity, Node};
use super::tenant::Tenant;
use crate::client::encode_segment;

/// One permission of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) id: String,
    pub(super) roles: Vec<String>,
    pub(super) expires: Option<Timestamp>,
    pub(super) what: What,
}

/// What kind of permission it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// To somebody directly.
    Direct(Identity),
    /// To somebody whom the service does not name any more.
    Nobody,
    /// To whoever has the address, or to those whom it was given.
    Link { kind: String, scope: String, password: bool, people: Vec<Identity> },
}

impl Grant {
    /// One line for people and for comparing: `user ada@contoso.example: write until 2027-01-01T00:00:00Z`.
    pub(super) fn line(&self) -> String {
        let who = |identity: &Identity| {
            let name = if identity.email.is_empty() { &identity.name } else { &identity.email };
            format!("{} {name}", identity.kind)
        };
        let mut line = match &self.what {
            What::Direct(identity) => who(identity),
            What::Nobody => "nobody".to_owned(),
            What::Link { kind, scope, password, people } => {
                let password = if *password { " with password" } else { "" };
                let mut people: Vec<String> = people.iter().map(who).collect();
                people.sort();
                format!("link {kind} {scope}{password} [{}]", people.join(", "))
            }
        };
        let mut roles = self.roles.clone();
        roles.sort();
        line.push_str(&format!(": {}", roles.join("+")));
        if let Some(expires) = self.expires {
            line.push_str(&format!(" until {expires}"));
        }
        line
    }
}

/// The permissions that hold for an item: its own, and those of the folders above it as far as they are inherited,
/// each with the folder that it comes from.
pub(super) fn effective<'a>(drive: &'a Drive, node: &'a Node) -> Vec<(&'a Grant, Option<&'a Node>)> {
    let mut all: Vec<_> = node.grants.iter().map(|grant| (grant, None)).collect();
    let mut at = node;
    while at.inherits {
        let Some(above) = at.parent.as_deref().and_then(|parent| drive.node(parent)) else { break };
        all.extend(above.grants.iter().map(|grant| (grant, Some(above))));
        at = above;
    }
    all
}

/// A permission as the service writes it.
pub(super) fn permission(tenant: &Tenant, drive: &Drive, grant: &Grant, from: Option<&Node>) -> Value {
    let mut body = json!({ "id": grant.id, "roles": grant.roles, "shareId": format!("u!{}", grant.id) });
    match &grant.what {
        What::Direct(identity) => {
            body["grantedToV2"] = identity.to_json();
            body["grantedTo"] = identity.to_json();
        }
        What::Nobody => {}
        What::Link { kind, scope, password, people } => {
            let address = format!("{}/:x:/g/{}", tenant.hosts.content, encode_segment(&grant.id));
            body["link"] =
                json!({ "type": kind, "scope": scope, "webUrl": address, "preventsDownload": false });
            body["hasPassword"] = json!(password);
            let people: Vec<Value> = people.iter().map(Identity::to_json).collect();
            body["grantedToIdentitiesV2"] = json!(people);
            body["grantedToIdentities"] = json!(people);
        }
    }
    if let Some(expires) = grant.expires {
        body["expirationDateTime"] = json!(expires.to_string());
    }
    if let Some(above) = from {
        body["inheritedFrom"] =
            json!({ "driveId": drive.id, "id": above.id, "path": path_of(drive, &above.id) });
    }
    body
}

/// The `shared` facet. In a hierarchical listing only the root and items with permissions of their own have one, and
/// an empty one says that nobody else has access; otherwise every item has one that somebody else can reach.
pub(super) fn facet(drive: &Drive, node: &Node, hierarchical: bool) -> Option<Value> {
    if hierarchical && !node.is_unique() {
        return None;
    }
    let others: Vec<&Grant> = match hierarchical {
        true => node.grants.iter().filter(|grant| !is_owner(drive, grant)).collect(),
        false => effective(drive, node)
            .into_iter()
            .map(|(grant, _)| grant)
            .filter(|grant| !is_owner(drive, grant))
            .collect(),
    };
    let scope = others.iter().map(|grant| match &grant.what {
        What::Direct(_) | What::Nobody => "users",
        What::Link { scope, .. } => scope.as_str(),
    });
    let widest = scope.max_by_key(|scope| match *scope {
        "anonymous" => 2,
        "organization" => 1,
        _ => 0,
    });
    match widest {
        Some(scope) => Some(json!({ "scope": scope })),
        None => hierarchical.then(|| json!({})),
    }
}

fn is_owner(drive: &Drive, grant: &Grant) -> bool {
    matches!(&grant.what, What::Direct(identity) if *identity == drive.owner)
}

impl Tenant {
    /// Gives a user or a group, named by id, sign-in name or mail address, access to an item: `roles` of `read`,
    /// `write` and `owner`. Returns the permission's id.
    ///
    /// # Errors
    /// `NotFound` if there is no such drive, nothing at the path, or nobody of that name. So for all that follow.
    pub fn grant(&mut self, drive: &str, path: &str, who: &str, roles: &[&str]) -> Result<String> {
        let unknown = || Error::new(ErrorKind::NotFound, "nobody of that name").with_item(who);
        let identity = self.directory.identity(who).ok_or_else(unknown)?;
        self.add_permission(drive, path, roles, None, What::Direct(identity))
    }

    /// Gives a group of the site itself access (`Visitors`, `Members` ...), which no directory knows and no
    /// invitation can name.
    ///
    /// # Errors
    /// As for [`grant`](Self::grant).
    pub fn grant_site_group(
        &mut self,
        drive: &str,
        path: &str,
        name: &str,
        roles: &[&str],
    ) -> Result<String> {
        let id = self.rng.below(1_000).to_string();
        let group = Identity { kind: "siteGroup", id, name: name.to_owned(), email: String::new() };
        self.add_permission(drive, path, roles, None, What::Direct(group))
    }

    /// A permission that does not say whose it is, as the service lists some whose account is gone.
    ///
    /// # Errors
    /// As for [`grant`](Self::grant).
    pub fn grant_nobody(&mut self, drive: &str, path: &str, roles: &[&str]) -> Result<String> {
        self.add_permission(drive, path, roles, None, What::Nobody)
    }

    /// Makes a sharing link: `kind` is `view` or `edit`, `scope` is `anonymous`, `organization` or `users`; `people` are
    /// those whom a link of scope `users` was given.
    ///
    /// # Errors
    /// As for [`grant`](Self::grant).
    pub fn share(
        &mut self,
        drive: &str,
        path: &str,
        kind: &str,
        scope: &str,
        people: &[&str],
    ) -> Result<String> {
        let unknown = |who: &&str| Error::new(ErrorKind::NotFound, "nobody of that name").with_item(*who);
        let people: Result<Vec<Identity>> =
            people.iter().map(|who| self.directory.identity(who).ok_or_else(|| unknown(who))).collect();
        let role = if kind == "view" { "read" } else { "write" };
        let (kind, scope) = (kind.to_owned(), scope.to_owned());
        let what = What::Link { kind, scope, password: false, people: people? };
        self.add_permission(drive, path, &[role], None, what)
    }

    /// Sets when a permission of the item ends.
    ///
    /// # Errors
    /// As for [`grant`](Self::grant).
    pub fn expire_permission(
        &mut self,
        drive: &str,
        path: &str,
        permission: &str,
        at: Option<Timestamp>,
    ) -> Result<()> {
        let id = self.node(drive, path)?.id.clone();
        let now = self.tick();
        self.drive_mut(drive)?.reshare(&id, now, |node| {
            node.grants
                .iter_mut()
                .filter(|grant| grant.id == permission)
                .for_each(|grant| grant.expires = at);
        });
        Ok(())
    }

    /// Takes a permission of its own from the item.
    ///
    /// # Errors
    /// As for [`grant`](Self::grant).
    pub fn revoke(&mut self, drive: &str, path: &str, permission: &str) -> Result<()> {
        let id = self.node(drive, path)?.id.clone();
        let now = self.tick();
        self.drive_mut(drive)?.reshare(&id, now, |node| node.grants.retain(|grant| grant.id != permission));
        Ok(())
    }

    /// Lets the item no longer inherit: nobody has access but by permissions of its own.
    ///
    /// # Errors
    /// As for [`grant`](Self::grant).
    pub fn stop_inheriting(&mut self, drive: &str, path: &str) -> Result<()> {
        let id = self.node(drive, path)?.id.clone();
        let now = self.tick();
        self.drive_mut(drive)?.reshare(&id, now, |node| node.inherits = false);
        Ok(())
    }

    /// The item's own permissions as lines of text that compare, such as `user ada@contoso.example: write`; first
    /// `inherits` or `does not inherit`.
    ///
    /// # Errors
    /// As for [`grant`](Self::grant).
    pub fn sharing(&self, drive: &str, path: &str) -> Result<Vec<String>> {
        let node = self.node(drive, path)?;
        let mut lines: Vec<String> = node.grants.iter().map(Grant::line).collect();
        lines.sort();
        lines.insert(0, if node.inherits { "inherits" } else { "does not inherit" }.to_owned());
        Ok(lines)
    }

    /// Mails that invitations would have sent so far. A restore must not send any.
    #[must_use]
    pub fn mails_sent(&self) -> u64 {
        self.mails_sent
    }

    fn add_permission(
        &mut self,
        drive: &str,
        path: &str,
        roles: &[&str],
        expires: Option<Timestamp>,
        what: What,
    ) -> Result<String> {
        let id = self.node(drive, path)?.id.clone();
        let permission = self.rng.identifier(24);
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        let grant = Grant { id: permission.clone(), roles, expires, what };
        let now = self.tick();
        self.drive_mut(drive)?.reshare(&id, now, |node| node.grants.push(grant));
        Ok(permission)
    }
}
