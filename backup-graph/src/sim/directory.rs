//! Users and groups, and whose drives are whose.

use std::collections::BTreeMap;

use backup_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use super::answer::{Answered, Refusal, bytes, json};
use super::drive::Drive;
use super::node::Identity;
use super::odata::{self, PAGE_ENTRIES_MAX};
use super::rng::Rng;
use super::route::{Address, Owner, query};
use super::sites::{self, Site};
use super::tenant::Tenant;
use super::token;
use crate::client::encode_segment;

/// Properties of a user that come only if they are selected.
const USER_MORE: [&str; 3] = ["accountEnabled", "userType", "createdDateTime"];

/// Everything that is not a drive.
#[derive(Debug, Default)]
pub(super) struct Directory {
    users: Vec<Entity>,
    groups: Vec<Entity>,
    pub(super) sites: Vec<Site>,
    /// Drives by the id of their user, group or site.
    drives: BTreeMap<String, Vec<String>>,
    users_log: Vec<String>,
    groups_log: Vec<String>,
}

/// A user or a group.
#[derive(Clone, Debug)]
struct Entity {
    identity: Identity,
    value: Value,
}

impl Directory {
    /// Whoever has this id, sign-in name or mail address.
    pub(super) fn identity(&self, name: &str) -> Option<Identity> {
        let named =
            |entity: &&Entity| entity.identity.id == name || entity.identity.email.eq_ignore_ascii_case(name);
        self.users.iter().chain(&self.groups).find(named).map(|entity| entity.identity.clone())
    }

    fn of(&self, users: bool) -> (&[Entity], &[String]) {
        if users { (&self.users, &self.users_log) } else { (&self.groups, &self.groups_log) }
    }
}

impl Tenant {
    /// Adds a user without a drive, if there is none of this sign-in name. Returns the user's id.
    pub fn add_user(&mut self, name: &str) -> String {
        if let Some(known) = self.directory.identity(name) {
            return known.id;
        }
        let id = guid(&mut self.rng);
        let identity =
            Identity { kind: "user", id: id.clone(), name: name.to_owned(), email: name.to_owned() };
        let value = json!({
            "id": id, "displayName": name, "userPrincipalName": name, "mail": name, "givenName": null,
            "surname": null, "jobTitle": null, "mobilePhone": null, "officeLocation": null,
            "preferredLanguage": null, "businessPhones": [], "accountEnabled": true, "userType": "Member",
            "createdDateTime": self.now().to_string(),
        });
        self.directory.users.push(Entity { identity, value });
        self.directory.users_log.push(id.clone());
        id
    }

    /// Removes a user from the directory. Drives and permissions stay, as they do in reality for a while.
    ///
    /// # Errors
    /// `NotFound` if there is no such user.
    pub fn remove_user(&mut self, name: &str) -> Result<()> {
        let unknown = || Error::new(ErrorKind::NotFound, "no such user").with_item(name);
        let id = self.directory.identity(name).ok_or_else(unknown)?.id;
        self.directory.users.retain(|user| user.identity.id != id);
        self.directory.users_log.push(id);
        Ok(())
    }

    /// Adds a group with an empty drive. Returns the ids of the group and of the drive.
    pub fn add_group(&mut self, name: &str) -> (String, String) {
        let id = guid(&mut self.rng);
        let alias: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let email = format!("{}@contoso.example", alias.to_lowercase());
        let identity =
            Identity { kind: "group", id: id.clone(), name: name.to_owned(), email: email.clone() };
        let value = json!({
            "id": id, "displayName": name, "mail": email, "mailNickname": alias, "mailEnabled": true,
            "securityEnabled": false, "groupTypes": ["Unified"], "visibility": "Private", "description": null,
            "createdDateTime": self.now().to_string(),
        });
        self.directory.groups.push(Entity { identity: identity.clone(), value });
        self.directory.groups_log.push(id.clone());
        let drive = self.new_drive(identity.clone(), "Documents", "documentLibrary");
        self.directory.sites.push(Site::of_group(&identity, &alias));
        (id, drive)
    }

    /// Adds a security group, which has no drive. Returns its id.
    pub fn add_security_group(&mut self, name: &str) -> String {
        let id = guid(&mut self.rng);
        let identity =
            Identity { kind: "group", id: id.clone(), name: name.to_owned(), email: String::new() };
        let value = json!({
            "id": id, "displayName": name, "mail": null, "mailNickname": name, "mailEnabled": false,
            "securityEnabled": true, "groupTypes": [], "visibility": null, "description": null,
            "createdDateTime": self.now().to_string(),
        });
        self.directory.groups.push(Entity { identity, value });
        self.directory.groups_log.push(id.clone());
        id
    }

    /// Adds a user with an empty drive, or a drive for a user who is there, and returns the drive's id.
    pub fn add_drive(&mut self, owner: &str) -> String {
        let id = self.add_user(owner);
        let identity = Identity { kind: "user", id, name: owner.to_owned(), email: owner.to_owned() };
        let site = Site::of_user(&identity);
        if !self.directory.sites.iter().any(|known| known.id == site.id) {
            self.directory.sites.push(site);
        }
        self.new_drive(identity, "OneDrive", "business")
    }

    /// The id of the first drive of a user or a group (by sign-in name, mail address or id) or of a site (by id).
    #[must_use]
    pub fn drive_of(&self, owner: &str) -> Option<&str> {
        let (person, site) = (self.directory.identity(owner), self.directory.site(owner));
        let id = person.map(|person| person.id).or_else(|| site.map(Site::drives_of))?;
        self.directory.drives.get(&id)?.first().map(String::as_str)
    }

    pub(super) fn new_drive(&mut self, owner: Identity, name: &str, kind: &'static str) -> String {
        let id = format!("b!{}", self.rng.identifier(64));
        let rng = Rng::new(self.rng.next());
        let of = owner.id.clone();
        let mut drive = Drive::new(id.clone(), owner, rng, self.now());
        name.clone_into(&mut drive.name);
        drive.kind = kind;
        self.drives.insert(id.clone(), drive);
        self.directory.drives.entry(of).or_default().push(id.clone());
        id
    }
}

pub(super) fn guid(rng: &mut Rng) -> String {
    let (a, b, c) = (rng.below(1 << 32), rng.below(1 << 16), rng.below(1 << 48));
    format!("{a:08x}-{b:04x}-4000-8000-{c:012x}")
}

/// The drive that an address starts from.
pub(super) fn drive_of(tenant: &Tenant, owner: &Owner) -> Result<String, Refusal> {
    if let Owner::Drive(id) = owner {
        return tenant.drives.contains_key(id).then(|| id.clone()).ok_or_else(Refusal::not_found);
    }
    let id = owner_id(tenant, owner)?;
    let first = tenant.directory.drives.get(&id).and_then(|drives| drives.first());
    let missing = match owner {
        Owner::User(_) => no_drive(tenant),
        _ => Refusal::not_found(),
    };
    first.cloned().ok_or(missing)
}

fn no_drive(tenant: &Tenant) -> Refusal {
    let status = if tenant.rules.forbid_missing_drives { 403 } else { 404 };
    Refusal::new(status, "ResourceNotFound", "User's mysite not found.")
}

fn owner_id(tenant: &Tenant, owner: &Owner) -> Result<String, Refusal> {
    let missing = || Refusal::new(404, "Request_ResourceNotFound", "The resource does not exist.");
    match owner {
        Owner::User(name) | Owner::Group(name) => {
            let kind = if matches!(owner, Owner::User(_)) { "user" } else { "group" };
            let found = tenant.directory.identity(name).filter(|found| found.kind == kind);
            Ok(found.ok_or_else(missing)?.id)
        }
        Owner::Site(name) => Ok(tenant.directory.site(name).ok_or_else(Refusal::not_found)?.drives_of()),
        _ => Err(missing()),
    }
}

/// Requests to users, groups and sites themselves.
pub(super) fn serve(tenant: &Tenant, request: &Request<Bytes>, address: &Address) -> Answered {
    let owner = &address.owner;
    match (owner, address.action.as_str()) {
        (Owner::Users | Owner::Groups, "") => collection(tenant, request, owner),
        (Owner::Users | Owner::Groups, "$count") => {
            let count = tenant.directory.of(*owner == Owner::Users).0.len().to_string();
            Ok(bytes(200, count.into(), "text/plain"))
        }
        (Owner::Users | Owner::Groups, "delta") => changes(tenant, request, owner, address.token.as_deref()),
        (Owner::User(_) | Owner::Group(_), "") => {
            let (id, users) = (owner_id(tenant, owner)?, matches!(owner, Owner::User(_)));
            let found = tenant.directory.of(users).0.iter().find(|entity| entity.identity.id == id);
            let found = found.ok_or_else(Refusal::not_found)?;
            let context = if users { "users/$entity" } else { "groups/$entity" };
            Ok(json(200, &with_context(tenant, context, shaped(&found.value, request))))
        }
        (Owner::User(_) | Owner::Group(_) | Owner::Site(_), "drives") => drives(tenant, request, owner),
        // A search finds subsites too.
        (Owner::Sites, "") => sites::all(tenant, request, true),
        (Owner::Sites, "getAllSites") => sites::all(tenant, request, tenant.rules.list_subsites),
        (Owner::Site(name), "sites") => sites::below(tenant, request, name),
        (Owner::Site(name), "") => sites::one(tenant, name),
        _ => Err(Refusal::new(400, "BadRequest", "Resource not found for the segment.")),
    }
}

pub(super) fn with_context(tenant: &Tenant, context: &str, mut body: Value) -> Value {
    body["@odata.context"] = json!(format!("{}/v1.0/$metadata#{context}", tenant.hosts.graph));
    body
}

/// A directory object with what is selected, or with what comes unasked.
fn shaped(value: &Value, request: &Request<Bytes>) -> Value {
    let mut value = value.clone();
    let select = query(request, "$select");
    if let Some(object) = value.as_object_mut() {
        match &select {
            Some(_) => odata::select(object, select.as_deref()),
            None => USER_MORE.iter().for_each(|name| {
                object.remove(*name);
            }),
        }
    }
    value
}

fn collection(tenant: &Tenant, request: &Request<Bytes>, owner: &Owner) -> Answered {
    let users = *owner == Owner::Users;
    let path = if users { "users" } else { "groups" };
    let filter = query(request, "$filter");
    let mut found = Vec::new();
    for entity in tenant.directory.of(users).0 {
        if filter.as_ref().map_or(Ok(true), |filter| odata::passes(filter, &entity.value))? {
            found.push(entity);
        }
    }
    let entry = |index: usize| found.get(index).map(|entity: &&Entity| shaped(&entity.value, request));
    Ok(json(200, &odata::page(tenant, request, path, path, found.len(), entry)?))
}

/// A round of changes of users or groups. The first is everything that there is.
fn changes(tenant: &Tenant, request: &Request<Bytes>, owner: &Owner, token: Option<&str>) -> Answered {
    let users = *owner == Owner::Users;
    let path = if users { "users" } else { "groups" };
    let (all, log) = tenant.directory.of(users);
    let invalid = || Refusal::new(410, "syncStateNotFound", "The delta token is unknown or expired.");
    let opened = |text: String| -> Option<Vec<usize>> {
        let payload = token::open(&tenant.key, &text)?;
        payload.strip_prefix(path)?.split('|').skip(1).map(|number| number.parse().ok()).collect()
    };
    let given = query(request, "$deltatoken").or_else(|| token.map(str::to_owned));
    // Where in the round, since when (everything if none), and until when.
    let (skip, since, until) = match (query(request, "$skiptoken"), given.as_deref()) {
        (Some(text), _) => match opened(text).as_deref() {
            Some(&[skip, until]) => (skip, None, until),
            Some(&[skip, since, until]) => (skip, Some(since), until),
            _ => return Err(invalid()),
        },
        (None, Some("latest")) => (0, Some(log.len()), log.len()),
        (None, Some(text)) => match opened(text.to_owned()).as_deref() {
            Some(&[since]) => (0, Some(since), log.len()),
            _ => return Err(invalid()),
        },
        (None, None) => (0, None, log.len()),
    };
    let value_of = |id: &String| match all.iter().find(|entity| entity.identity.id == *id) {
        Some(entity) => shaped(&entity.value, request),
        None => json!({ "id": id, "@removed": { "reason": "changed" } }),
    };
    let ids: Vec<&String> = match since {
        None => all.iter().map(|entity| &entity.identity.id).collect(),
        Some(since) => {
            let mut ids: Vec<&String> = log.get(since..until).unwrap_or_default().iter().collect();
            ids.sort();
            ids.dedup();
            ids
        }
    };
    let top = query(request, "$top").and_then(|top| top.parse().ok()).unwrap_or(tenant.rules.page_entries);
    let end = skip.saturating_add(top.clamp(1, PAGE_ENTRIES_MAX)).min(ids.len());
    let value: Vec<Value> = ids.get(skip..end).unwrap_or_default().iter().map(|id| value_of(id)).collect();
    let mut body = with_context(tenant, path, json!({ "value": value }));
    let select = query(request, "$select")
        .map_or_else(String::new, |select| format!("&$select={}", encode_segment(&select)));
    let top =
        query(request, "$top").map_or_else(String::new, |top| format!("&$top={}", encode_segment(&top)));
    let link = |name: &str, payload: &str| {
        let token = token::seal(&tenant.key, &format!("{path}|{payload}"));
        json!(format!("{}/v1.0/{path}/delta?{name}={token}{select}{top}", tenant.hosts.graph))
    };
    if end < ids.len() {
        let payload =
            since.map_or_else(|| format!("{end}|{until}"), |since| format!("{end}|{since}|{until}"));
        body["@odata.nextLink"] = link("$skiptoken", &payload);
    } else {
        body["@odata.deltaLink"] = link("$deltatoken", &until.to_string());
    }
    Ok(json(200, &body))
}

fn drives(tenant: &Tenant, request: &Request<Bytes>, owner: &Owner) -> Answered {
    let id = owner_id(tenant, owner)?;
    let ids = tenant.directory.drives.get(&id).map(Vec::as_slice).unwrap_or_default();
    if ids.is_empty() && matches!(owner, Owner::User(_)) {
        return Err(no_drive(tenant));
    }
    let (kind, name) = match owner {
        Owner::User(name) => ("users", name),
        Owner::Group(name) => ("groups", name),
        Owner::Site(name) => ("sites", name),
        _ => return Err(Refusal::not_found()),
    };
    let path = format!("{kind}/{}/drives", encode_segment(name));
    let select = query(request, "$select");
    let entry = |index: usize| {
        let mut body = drive_json(tenant, tenant.drives.get(ids.get(index)?)?);
        if let Some(drive) = body.as_object_mut() {
            odata::select(drive, select.as_deref());
        }
        Some(body)
    };
    Ok(json(200, &odata::page(tenant, request, &path, "drives", ids.len(), entry)?))
}

pub(super) fn drive_itself(tenant: &Tenant, drive: &str) -> Answered {
    let drive = tenant.drives.get(drive).ok_or_else(Refusal::not_found)?;
    Ok(json(200, &with_context(tenant, "drives/$entity", drive_json(tenant, drive))))
}

fn drive_json(tenant: &Tenant, drive: &Drive) -> Value {
    let used = drive.used_bytes();
    let total = drive.quota_bytes.unwrap_or(1 << 40);
    json!({
        "id": drive.id, "driveType": drive.kind, "name": drive.name, "owner": drive.owner.to_json(),
        "createdDateTime": drive.created.to_string(), "lastModifiedDateTime": drive.created.to_string(),
        "webUrl": format!("{}/Documents", tenant.hosts.content),
        "quota": {
            "total": total, "used": used, "remaining": total.saturating_sub(used), "deleted": 0, "state": "normal",
        },
    })
}
