//! Copies that the service makes itself: asked for, accepted, and watched at an address of their own.
//!
//! The real service works for a while; here a copy is done when it has been accepted. What went wrong with the name is
//! told where the copy is watched, as the service's documentation has it.

use bytes::Bytes;
use http::{Request, header};
use serde_json::{Value, json};

use super::answer::{Answered, Refusal, bytes, json, put_header};
use super::drive::Behavior;
use super::items::{Call, behavior, body_of, checked, folder, room};
use super::node::Node;
use super::route::query;
use super::tenant::Tenant;
use super::token;

/// Where copies are watched, on the host of pre-authenticated addresses.
pub(super) const MONITOR: &str = "/_api/monitor/";

/// What is to be made: below which of the items before it (none for the topmost), its name, its content.
type Plan = Vec<(Option<usize>, String, Option<Bytes>)>;

/// Copies a file, or a folder with everything below it, within a drive or into another one.
pub(super) fn begin(tenant: &mut Tenant, call: &Call<'_>) -> Answered {
    let body: Value = if call.request.body().is_empty() { json!({}) } else { body_of(call.request)? };
    let target = &body["parentReference"];
    let drive = target["driveId"].as_str().unwrap_or(&call.drive).to_owned();
    let node = call.node(tenant)?;
    let parent = match target["id"].as_str() {
        Some(parent) => folder(tenant, &drive, parent, "")?,
        None => node.parent.clone().filter(|_| drive == call.drive).ok_or_else(Refusal::not_found)?,
    };
    let name = body["name"].as_str().map_or(Ok(node.name.as_str()), checked)?.to_owned();
    let behavior =
        behavior(query(call.request, "@microsoft.graph.conflictBehavior").as_deref(), Behavior::Fail)?;
    let plan = plan(tenant, call, node, name)?;
    let size: usize = plan.iter().filter_map(|(.., content)| content.as_ref().map(Bytes::len)).sum();
    room(tenant, &drive, size as u64)?;
    let outcome = carry_out(tenant, call, &drive, &parent, behavior, plan)?;
    let payload = outcome.map_or_else(|| "copy|".to_owned(), |id| format!("copy|{id}"));
    let mut response = bytes(202, Bytes::new(), "text/plain");
    let address = format!("{}{MONITOR}{}", tenant.hosts.content, token::seal(&tenant.key, &payload));
    put_header(&mut response, header::LOCATION, &address);
    Ok(response)
}

/// How a copy is getting on: it is done, or failed because of its name.
pub(super) fn status(tenant: &Tenant, sealed: &str) -> Answered {
    let payload = token::open(&tenant.key, sealed);
    let id = payload.as_deref().and_then(|payload| payload.strip_prefix("copy|"));
    Ok(match id.ok_or_else(Refusal::not_found)? {
        "" => json(
            200,
            &json!({
                "operation": "itemCopy", "status": "failed", "percentageComplete": 100.0,
                "error": { "code": "nameAlreadyExists", "message": "Name already exists" },
            }),
        ),
        id => json(
            200,
            &json!({
                "operation": "itemCopy", "status": "completed", "percentageComplete": 100.0, "resourceId": id,
            }),
        ),
    })
}

/// Whether somebody asks how a copy is getting on.
pub(super) fn watched<B>(request: &Request<B>) -> Option<&str> {
    request.uri().path().strip_prefix(MONITOR)
}

fn plan(tenant: &Tenant, call: &Call<'_>, top: &Node, name: String) -> Result<Plan, Refusal> {
    let drive = call.drive(tenant)?;
    let mut plan: Plan = vec![(None, name, top.content.clone())];
    let mut open = vec![(0, top.id.clone())];
    while let Some((index, id)) = open.pop() {
        for child in drive.children(&id).filter(|child| !child.facets.hidden) {
            open.push((plan.len(), child.id.clone()));
            plan.push((Some(index), child.name.clone(), child.content.clone()));
        }
    }
    Ok(plan)
}

/// The id of the copy; none if its name is taken.
fn carry_out(
    tenant: &mut Tenant,
    call: &Call<'_>,
    drive: &str,
    parent: &str,
    behavior: Behavior,
    plan: Plan,
) -> Result<Option<String>, Refusal> {
    let stamp = call.stamp();
    let drive = tenant.drives.get_mut(drive).ok_or_else(Refusal::not_found)?;
    let mut made: Vec<String> = Vec::new();
    for (above, name, content) in plan {
        let above = above.and_then(|index| made.get(index)).map_or(parent, String::as_str);
        match drive.create(above, &name, content, behavior, stamp.clone()) {
            Ok((id, _)) => made.push(id),
            Err(_) => return Ok(None),
        }
    }
    Ok(made.into_iter().next())
}
