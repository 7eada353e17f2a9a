//! Permissions and sharing links on their way back, and the columns of a library. Nobody is mailed.
//!
//! What the service has no way to give back is a problem that the restore's report names: site groups, links with a
//! password, roles that an invitation cannot have.

use std::collections::BTreeMap;

use backup_core::{Error, ErrorKind, Item, Result, Timestamp};
use http::Method;
use serde_json::{Map, Value, json};

use super::item_address;
use super::sink::DriveSink;
use super::wire::{FIELDS, INHERITS, PERMISSIONS, json_of};
use crate::client::Call;

/// Columns that the service writes itself and refuses from others; those that begin with `_` or `@` besides.
const OWN_COLUMNS: [&str; 22] = [
    "id",
    "ContentType",
    "Created",
    "AuthorLookupId",
    "Modified",
    "EditorLookupId",
    "Attachments",
    "Edit",
    "LinkTitle",
    "LinkTitleNoMenu",
    "LinkFilename",
    "LinkFilenameNoMenu",
    "DocIcon",
    "FileLeafRef",
    "FileSizeDisplay",
    "ItemChildCount",
    "FolderChildCount",
    "AppAuthorLookupId",
    "AppEditorLookupId",
    "ParentVersionStringLookupId",
    "ParentLeafNameLookupId",
    "SelectTitle",
];

/// One invitation: these people get these roles until then.
type Invitation = (Vec<String>, Option<String>);

/// What is to be asked of the service for one item.
#[derive(Debug, Default)]
struct Plan {
    invitations: BTreeMap<Invitation, Vec<Value>>,
    links: Vec<Value>,
    problems: Vec<Error>,
}

impl Plan {
    /// What has ended by `now` gives nothing to anybody, and giving it again without its end would.
    fn of(permissions: &[Value], now: Timestamp) -> Self {
        let mut plan = Self::default();
        let has_ended = |permission: &&Value| {
            let end = permission["expirationDateTime"].as_str().and_then(Timestamp::parse_rfc3339);
            end.is_some_and(|end| end <= now)
        };
        permissions.iter().filter(|permission| !has_ended(permission)).for_each(|one| plan.add(one));
        plan
    }

    fn add(&mut self, permission: &Value) {
        let expires = permission["expirationDateTime"].as_str().map(str::to_owned);
        let mut roles: Vec<String> = texts(&permission["roles"]);
        roles.sort_unstable();
        let link = &permission["link"];
        match link["scope"].as_str() {
            Some("users") => {
                let role = if link["type"] == "edit" { "write" } else { "read" };
                let people = permission["grantedToIdentitiesV2"].as_array().cloned().unwrap_or_default();
                people.iter().for_each(|person| self.invite(person, vec![role.to_owned()], expires.clone()));
            }
            Some("existingAccess") => {}
            Some(scope) if permission["hasPassword"] == true => {
                self.cannot(format!(
                    "a link for {scope} has a password, which the service does not give out"
                ));
            }
            Some(scope) => {
                let mut body = json!({ "type": link["type"], "scope": scope });
                if let Some(expires) = expires {
                    body["expirationDateTime"] = expires.into();
                }
                self.links.push(body);
            }
            // Who owns the place where it is restored owns what is restored there.
            None if roles.iter().any(|role| role == "owner") => {}
            None if roles.is_empty() => self.cannot("a permission without a role cannot be given".to_owned()),
            None => {
                let person = [&permission["grantedToV2"], &permission["grantedTo"]];
                match person.into_iter().find(|person| person.is_object()) {
                    Some(person) => self.invite(person, roles, expires),
                    None => self.cannot("a permission does not say whose it is".to_owned()),
                }
            }
        }
    }

    fn invite(&mut self, person: &Value, roles: Vec<String>, expires: Option<String>) {
        let identity = ["user", "group"].into_iter().map(|kind| &person[kind]).find(|who| who.is_object());
        let Some(identity) = identity else {
            let name = person["siteGroup"]["displayName"].as_str().unwrap_or("unknown");
            return self.cannot(format!("the site group {name} cannot be invited"));
        };
        let recipient = match (identity["email"].as_str(), identity["id"].as_str()) {
            (Some(email), _) if !email.is_empty() => json!({ "email": email }),
            (_, Some(id)) => json!({ "objectId": id }),
            _ => return self.cannot("a permission is for somebody without an address".to_owned()),
        };
        let recipients = self.invitations.entry((roles, expires)).or_default();
        if !recipients.contains(&recipient) {
            recipients.push(recipient);
        }
    }

    fn cannot(&mut self, what: String) {
        self.problems.push(Error::new(ErrorKind::Unsupported, what));
    }
}

impl DriveSink {
    /// Gives the placed item its permissions and columns, as far as that is wanted; what could not be given.
    pub(super) async fn dress(&self, id: &str, item: &Item) -> Result<Vec<Error>> {
        let mut problems = Vec::new();
        if self.permissions
            && let Some(permissions) = item.details.get(PERMISSIONS)
        {
            let permissions = json_of(permissions);
            let permissions = permissions.as_array().map(Vec::as_slice).unwrap_or_default();
            let plan = Plan::of(permissions, self.client.now());
            // The first permission of its own parts an item from its container's, if they were parted.
            let retain = item.details.get(INHERITS).is_none_or(|inherits| json_of(inherits) == true);
            problems.extend(self.carry_out(id, plan, retain).await?);
        }
        if self.fields
            && let Some(fields) = item.details.get(FIELDS)
        {
            let fields = own_fields(json_of(fields));
            if !fields.is_empty() {
                let url = format!("{}/listItem/fields", item_address(&self.drive, id));
                let done = self.tell(Method::PATCH, &url, &Value::Object(fields)).await;
                problems.extend(forgive("columns", done)?);
            }
        }
        Ok(problems)
    }

    async fn carry_out(&self, id: &str, plan: Plan, retain: bool) -> Result<Vec<Error>> {
        let (address, mut problems) = (item_address(&self.drive, id), plan.problems);
        for ((roles, expires), recipients) in plan.invitations {
            let mut body = json!({
                "recipients": recipients,
                "roles": roles,
                "requireSignIn": true,
                "sendInvitation": false,
                "retainInheritedPermissions": retain,
            });
            if let Some(expires) = expires {
                body["expirationDateTime"] = expires.into();
            }
            let done = self.tell(Method::POST, &format!("{address}/invite"), &body).await;
            let failed = forgive("permissions", done)?;
            if failed.is_some() && recipients.len() > 1 {
                // One unknown person makes the service refuse all of them.
                for recipient in recipients {
                    body["recipients"] = json!([recipient]);
                    let done = self.tell(Method::POST, &format!("{address}/invite"), &body).await;
                    problems.extend(forgive("permissions", done)?);
                }
            } else {
                problems.extend(failed);
            }
        }
        for mut link in plan.links {
            link["retainInheritedPermissions"] = retain.into();
            let done = self.tell(Method::POST, &format!("{address}/createLink"), &link).await;
            problems.extend(forgive("a sharing link", done)?);
        }
        Ok(problems)
    }

    /// Says something about an item that was just written.
    async fn tell(&self, method: Method, url: &str, body: &Value) -> Result<()> {
        self.client.json::<Value>(Call::new(method, url).json(body)?.present()).await.map(drop)
    }
}

/// A refusal that concerns this alone becomes a problem; what would meet every further request too stays an error.
fn forgive(what: &str, done: Result<()>) -> Result<Option<Error>> {
    match done {
        Ok(()) => Ok(None),
        Err(error)
            if error.is_retryable()
                || matches!(error.kind(), ErrorKind::Unauthenticated | ErrorKind::Canceled) =>
        {
            Err(error)
        }
        Err(error) => {
            let message = format!("{what} could not be restored: {}", error.message());
            Ok(Some(Error::new(error.kind(), message).with_source(error)))
        }
    }
}

fn texts(list: &Value) -> Vec<String> {
    let values = list.as_array().map(Vec::as_slice).unwrap_or_default();
    values.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
}

/// The columns that people have filled in.
fn own_fields(fields: Value) -> Map<String, Value> {
    let Value::Object(mut fields) = fields else { return Map::new() };
    let own =
        |name: &str| !name.starts_with(['_', '@']) && !name.contains('@') && !OWN_COLUMNS.contains(&name);
    fields.retain(|name, _| own(name));
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(permissions: &[Value]) -> Plan {
        Plan::of(permissions, Timestamp::new(1_800_000_000, 0))
    }

    #[test]
    fn people_with_the_same_roles_are_invited_together_and_owners_not_at_all() {
        let person = |email: &str, role: &str| json!({ "roles": [role], "grantedToV2": { "user": { "email": email, "id": "1" } } });
        let plan = plan(&[
            person("ada@x", "read"),
            person("bob@x", "read"),
            person("bob@x", "read"),
            person("eve@x", "write"),
            person("boss@x", "owner"),
            json!({ "roles": ["read"], "grantedToV2": { "group": { "id": "g1" } }, "expirationDateTime": "2030-01-01T00:00:00Z" }),
        ]);
        let read = (vec!["read".to_owned()], None);
        assert_eq!(plan.invitations[&read], [json!({ "email": "ada@x" }), json!({ "email": "bob@x" })]);
        assert_eq!((plan.invitations.len(), plan.links.len(), plan.problems.len()), (3, 0, 0));
    }

    #[test]
    fn what_cannot_be_given_back_is_named() {
        let plan = plan(&[
            json!({ "roles": ["read"], "grantedToV2": { "siteGroup": { "displayName": "Members" } } }),
            json!({ "roles": [], "grantedToV2": { "user": { "email": "a@x" } } }),
            json!({ "roles": ["read"], "link": { "type": "view", "scope": "anonymous" }, "hasPassword": true }),
            json!({ "roles": ["read"] }),
        ]);
        assert_eq!((plan.problems.len(), plan.invitations.len(), plan.links.len()), (4, 0, 0));
        assert!(plan.problems[0].message().contains("Members"));
    }

    #[test]
    fn links_keep_type_scope_and_end_and_those_for_people_become_invitations() {
        let plan = plan(&[
            json!({ "link": { "type": "view", "scope": "anonymous" }, "expirationDateTime": "2030-01-01T00:00:00Z" }),
            json!({ "link": { "type": "edit", "scope": "organization" } }),
            json!({ "link": { "type": "edit", "scope": "anonymous" }, "expirationDateTime": "2027-01-15T08:00:00Z" }),
            json!({ "link": { "type": "edit", "scope": "users" }, "grantedToIdentitiesV2": [{ "user": { "email": "ada@x" } }] }),
        ]);
        assert_eq!(
            plan.links[0],
            json!({ "type": "view", "scope": "anonymous", "expirationDateTime": "2030-01-01T00:00:00Z" })
        );
        assert_eq!(plan.links[1], json!({ "type": "edit", "scope": "organization" }));
        assert_eq!(plan.invitations[&(vec!["write".to_owned()], None)], [json!({ "email": "ada@x" })]);
    }

    #[test]
    fn columns_of_the_service_itself_are_not_written_back() {
        let fields = json!({ "id": "7", "_UIVersionString": "1.0", "@odata.etag": "x", "Project": "Moon", "Modified": "now" });
        assert_eq!(own_fields(fields), json!({ "Project": "Moon" }).as_object().unwrap().clone());
    }
}
