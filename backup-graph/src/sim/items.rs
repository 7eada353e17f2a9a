//! Items of a drive: read, made, written, changed, deleted.

use backup_core::Timestamp;
use bytes::Bytes;
use http::{Request, header};
use serde_json::{Value, json};

use super::answer::{Answered, Refusal, Shape, bytes, drive_item, etag_of, json};
use super::drive::{Behavior, Drive};
use super::node::{Identity, Node, Obstacle, Scope, Stamp};
use super::odata;
use super::route::{Address, query};
use super::tenant::Tenant;
use super::upload;
use crate::client::encode_segment;

/// Largest file that a single request may write, in bytes.
const PUT_BYTES_MAX: usize = 250 << 20;

/// A request to something in a drive.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) request: &'a Request<Bytes>,
    /// The drive's id; there is such a drive.
    pub(super) drive: String,
    pub(super) address: Address,
    /// Who asks.
    pub(super) application: String,
    pub(super) now: Timestamp,
}

impl Call<'_> {
    pub(super) fn drive<'t>(&self, tenant: &'t Tenant) -> Result<&'t Drive, Refusal> {
        tenant.drives.get(&self.drive).ok_or_else(Refusal::not_found)
    }

    pub(super) fn drive_mut<'t>(&self, tenant: &'t mut Tenant) -> Result<&'t mut Drive, Refusal> {
        tenant.drives.get_mut(&self.drive).ok_or_else(Refusal::not_found)
    }

    /// What the address names, which must be there and to be seen.
    pub(super) fn node<'t>(&self, tenant: &'t Tenant) -> Result<&'t Node, Refusal> {
        let node = find(tenant, &self.drive, self.item(), self.path())?;
        match node.facets.refusal {
            Some((Scope::Item, status)) => Err(Refusal::lasting(status)),
            _ if node.facets.hidden => Err(Refusal::not_found()),
            _ => Ok(node),
        }
    }

    pub(super) fn item(&self) -> &str {
        self.address.item.as_deref().unwrap_or_default()
    }

    pub(super) fn path(&self) -> &str {
        self.address.path.as_deref().unwrap_or_default()
    }

    /// The id in the action: `permissions/{id}`, `versions/{id}/content`.
    pub(super) fn sub_id(&self) -> Option<&str> {
        self.address.action.split('/').nth(1)
    }

    pub(super) fn stamp(&self) -> Stamp {
        stamp_of(&self.application, self.now)
    }

    /// The item as the answer.
    pub(super) fn respond(&self, tenant: &Tenant, id: &str, status: u16) -> Answered {
        let drive = self.drive(tenant)?;
        let node = drive.node(id).ok_or_else(Refusal::not_found)?;
        let shape = match status {
            200 => Shape::of(self.request, &self.application),
            _ => Shape::all(&self.application),
        };
        let mut body = drive_item(tenant, drive, node, &shape);
        body["@odata.context"] = json!(format!("{}/v1.0/$metadata#driveItems/$entity", tenant.hosts.graph));
        Ok(json(status, &body))
    }

    /// `If-Match` and `If-None-Match`.
    fn precondition(&self, node: Option<&Node>) -> Result<(), Refusal> {
        let header = |name| self.request.headers().get(name).and_then(|value| value.to_str().ok());
        let etag = node.map(etag_of);
        let wanted = header(header::IF_MATCH).filter(|wanted| *wanted != "*");
        let failed = wanted.is_some_and(|wanted| etag.as_deref() != Some(wanted))
            || header(header::IF_NONE_MATCH).is_some_and(|unwanted| {
                etag.is_some() && (unwanted == "*" || etag.as_deref() == Some(unwanted))
            });
        if failed {
            return Err(Refusal::new(412, "preconditionFailed", "ETag does not match current item's value"));
        }
        Ok(())
    }
}

pub(super) fn stamp_of(application: &str, at: Timestamp) -> Stamp {
    Stamp { at, by: Some(Identity::application(application)) }
}

/// Refuses to change what is locked or held.
pub(super) fn changeable(node: &Node) -> Result<(), Refusal> {
    match node.facets.obstacle {
        None => Ok(()),
        Some(Obstacle::Locked) => {
            Err(Refusal::new(423, "resourceLocked", "The resource you are attempting to access is locked."))
        }
        Some(Obstacle::Record) => {
            Err(Refusal::new(403, "accessDenied", "The item is a record and cannot be changed."))
        }
        Some(Obstacle::Hold) => {
            Err(Refusal::new(403, "accessDenied", "The item is on hold or under a retention policy."))
        }
    }
}

pub(super) fn item(tenant: &Tenant, call: &Call<'_>) -> Answered {
    let id = call.node(tenant)?.id.clone();
    call.respond(tenant, &id, 200)
}

pub(super) fn retention_label(tenant: &Tenant, call: &Call<'_>) -> Answered {
    let node = call.node(tenant)?;
    let record = node.facets.obstacle == Some(Obstacle::Record);
    let body = match &node.facets.retention_label {
        None => json!({ "@odata.null": true }),
        Some(name) => json!({
            "@odata.context": format!("{}/v1.0/$metadata#itemRetentionLabel", tenant.hosts.graph),
            "name": name, "isLabelAppliedExplicitly": true,
            "retentionSettings": {
                "behaviorDuringRetentionPeriod": if record { "retainAsRecord" } else { "retain" },
                "isContentUpdateAllowed": !record, "isDeleteAllowed": false, "isRecordLocked": record,
            },
        }),
    };
    Ok(json(200, &body))
}

pub(super) fn children(tenant: &Tenant, call: &Call<'_>) -> Answered {
    let folder = call.node(tenant)?;
    let drive = call.drive(tenant)?;
    let shape = Shape::of(call.request, &call.application);
    let all: Vec<&Node> = drive.children(&folder.id).filter(|node| !node.facets.hidden).collect();
    let path = format!("drives/{}/items/{}/children", encode_segment(&drive.id), folder.id);
    let entry = |index: usize| all.get(index).map(|node| drive_item(tenant, drive, node, &shape));
    let body = odata::page(tenant, call.request, &path, "Collection(driveItem)", all.len(), entry)?;
    Ok(json(200, &body))
}

pub(super) fn create_folder(tenant: &mut Tenant, call: &Call<'_>) -> Answered {
    let parent = folder(tenant, &call.drive, call.item(), call.path())?;
    let body: Value = body_of(call.request)?;
    let package = body["package"]["type"].as_str().map(str::to_owned);
    let name = body["name"].as_str().filter(|_| body["folder"].is_object() || package.is_some());
    let name = checked(name.ok_or_else(|| Refusal::invalid("A name and a folder facet are needed."))?)?;
    let behavior = behavior(body["@microsoft.graph.conflictBehavior"].as_str(), Behavior::Fail)?;
    let (created, modified) =
        if tenant.rules.take_times_of_new_folders { times(&body) } else { (None, None) };
    let target = call.drive_mut(tenant)?;
    let made = target.create(&parent, name, None, behavior, call.stamp());
    let (id, _) = made.map_err(|_| Refusal::name_taken())?;
    target.set_times(&id, created, modified, call.stamp());
    if package.is_some() {
        target.change(&id, call.stamp(), |node| node.facets.package = package);
    }
    call.respond(tenant, &id, 201)
}

pub(super) fn put_content(tenant: &mut Tenant, call: &Call<'_>) -> Answered {
    if call.request.body().len() > PUT_BYTES_MAX {
        return Err(Refusal::new(413, "requestEntityTooLarge", "Use an upload session."));
    }
    let content = call.request.body().clone();
    let behavior =
        behavior(query(call.request, "@microsoft.graph.conflictBehavior").as_deref(), Behavior::Replace)?;
    room(tenant, &call.drive, content.len() as u64)?;
    let (parent, name) = if call.path().is_empty() {
        // Addressed by its own id: the content of a file that exists.
        let node = call.node(tenant)?;
        if node.is_folder() {
            return Err(Refusal::invalid("A folder has no content."));
        }
        (node.parent.clone().unwrap_or_default(), node.name.clone())
    } else {
        target_of(tenant, &call.drive, call.item(), call.path())?
    };
    let existing = call.drive(tenant)?.child(&parent, &name);
    call.precondition(existing)?;
    if let Some(node) = existing.filter(|_| behavior == Behavior::Replace) {
        changeable(node)?;
    }
    let content = tenant.stored(&name, content);
    let made = call.drive_mut(tenant)?.create(&parent, &name, Some(content), behavior, call.stamp());
    let (id, new) = made.map_err(|_| Refusal::name_taken())?;
    call.respond(tenant, &id, if new { 201 } else { 200 })
}

pub(super) fn create_session(tenant: &mut Tenant, call: &Call<'_>) -> Answered {
    let body: Value = if call.request.body().is_empty() { json!({}) } else { body_of(call.request)? };
    let properties = &body["item"];
    let behavior = behavior(properties["@microsoft.graph.conflictBehavior"].as_str(), Behavior::Replace)?;
    let size = properties["fileSize"].as_u64();
    room(tenant, &call.drive, size.unwrap_or(0))?;
    let (parent, name) = if call.path().is_empty() {
        let node = call.node(tenant)?;
        let parent = node.parent.clone().filter(|_| !node.is_folder());
        (parent.ok_or_else(|| Refusal::invalid("A folder has no content."))?, node.name.clone())
    } else {
        target_of(tenant, &call.drive, call.item(), call.path())?
    };
    if properties["name"].as_str().is_some_and(|given| given != name) {
        return Err(Refusal::invalid("The name differs from the one in the address."));
    }
    let existing = call.drive(tenant)?.child(&parent, &name);
    call.precondition(existing)?;
    if let Some(node) = existing.filter(|_| behavior == Behavior::Replace) {
        changeable(node)?;
    }
    let mut session = upload::Upload::new(&call.drive, &parent, &name, behavior, call.now);
    (session.created, session.modified) = times(properties);
    session.application.clone_from(&call.application);
    session.announced = size;
    session.defer_commit = body["deferCommit"] == true;
    let id = tenant.rng.identifier(40);
    let mut status = session.status();
    status["@odata.context"] =
        json!(format!("{}/v1.0/$metadata#microsoft.graph.uploadSession", tenant.hosts.graph));
    status["uploadUrl"] = json!(format!("{}/_api/upload/{id}", tenant.hosts.content));
    tenant.uploads.insert(id, session);
    Ok(json(200, &status))
}

pub(super) fn update(tenant: &mut Tenant, call: &Call<'_>) -> Answered {
    let body: Value = body_of(call.request)?;
    let node = call.node(tenant)?;
    call.precondition(Some(node))?;
    changeable(node)?;
    let (id, old_parent, old_name) = (node.id.clone(), node.parent.clone(), node.name.clone());
    let name = body["name"].as_str().map_or(Ok(old_name.as_str()), checked)?;
    let parent = match body["parentReference"]["id"].as_str() {
        Some(parent) => Some(folder(tenant, &call.drive, parent, "")?),
        None => old_parent.clone(),
    };
    let (created, modified) = times(&body);
    let target = call.drive_mut(tenant)?;
    if let Some(parent) =
        parent.filter(|parent| *parent != old_parent.unwrap_or_default() || name != old_name)
    {
        target.relocate(&id, &parent, name, call.stamp()).map_err(|_| Refusal::name_taken())?;
    }
    if created.is_some() || modified.is_some() {
        target.set_times(&id, created, modified, call.stamp());
    }
    if let Some(text) = body["description"].as_str() {
        target.change(&id, call.stamp(), |node| node.facets.description = Some(text.to_owned()));
    }
    call.respond(tenant, &id, 200)
}

pub(super) fn delete(tenant: &mut Tenant, call: &Call<'_>) -> Answered {
    let node = call.node(tenant)?;
    if node.parent.is_none() {
        return Err(Refusal::new(403, "accessDenied", "The root cannot be deleted."));
    }
    call.precondition(Some(node))?;
    let drive = call.drive(tenant)?;
    drive.below(node).try_for_each(changeable)?;
    let id = node.id.clone();
    call.drive_mut(tenant)?.remove(&id, call.now);
    Ok(bytes(204, Bytes::new(), "text/plain"))
}

pub(super) fn find<'a>(tenant: &'a Tenant, drive: &str, item: &str, path: &str) -> Result<&'a Node, Refusal> {
    tenant.drives.get(drive).and_then(|drive| drive.find(item, path)).ok_or_else(Refusal::not_found)
}

pub(super) fn folder(tenant: &Tenant, drive: &str, item: &str, path: &str) -> Result<String, Refusal> {
    let node = find(tenant, drive, item, path)?;
    if !node.is_folder() {
        return Err(Refusal::invalid("The parent is not a folder."));
    }
    Ok(node.id.clone())
}

/// Parent folder and name that a path addresses, whether or not there is anything.
pub(super) fn target_of(
    tenant: &Tenant,
    drive: &str,
    item: &str,
    path: &str,
) -> Result<(String, String), Refusal> {
    let (above, name) = path.trim_matches('/').rsplit_once('/').unwrap_or(("", path.trim_matches('/')));
    Ok((folder(tenant, drive, item, above)?, checked(name)?.to_owned()))
}

/// Names that SharePoint refuses.
pub(super) fn checked(name: &str) -> Result<&str, Refusal> {
    let bad = name.is_empty()
        || name.encode_utf16().count() > 255
        || name.contains(['"', '*', ':', '<', '>', '?', '/', '\\', '|'])
        || name.starts_with(' ')
        || name.ends_with([' ', '.']);
    if bad { Err(Refusal::invalid("The provided name cannot be used.")) } else { Ok(name) }
}

pub(super) fn room(tenant: &Tenant, drive: &str, more_bytes: u64) -> Result<(), Refusal> {
    let has_room = tenant.drives.get(drive).is_some_and(|drive| drive.has_room(more_bytes));
    if has_room {
        Ok(())
    } else {
        Err(Refusal::new(507, "quotaLimitReached", "Insufficient Space Available"))
    }
}

pub(super) fn behavior(text: Option<&str>, default: Behavior) -> Result<Behavior, Refusal> {
    match text {
        None => Ok(default),
        Some("fail") => Ok(Behavior::Fail),
        Some("replace") => Ok(Behavior::Replace),
        Some("rename") => Ok(Behavior::Rename),
        Some(_) => Err(Refusal::invalid("The conflict behavior is unknown.")),
    }
}

pub(super) fn times(body: &Value) -> (Option<Timestamp>, Option<Timestamp>) {
    // The service keeps whole seconds.
    let whole = |time: Timestamp| Timestamp::new(time.seconds(), 0);
    let time = |name| body["fileSystemInfo"][name].as_str().and_then(Timestamp::parse_rfc3339).map(whole);
    (time("createdDateTime"), time("lastModifiedDateTime"))
}

pub(super) fn body_of(request: &Request<Bytes>) -> Result<Value, Refusal> {
    serde_json::from_slice(request.body()).map_err(|_| Refusal::invalid("The body is not JSON."))
}
