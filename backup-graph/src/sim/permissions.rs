//! Requests about permissions: listed, given by invitation or by link, changed and taken.

use backup_core::Timestamp;
use bytes::Bytes;
use serde_json::{Value, json};

use super::answer::{Answered, Refusal, bytes, json};
use super::items::{Call, body_of};
use super::node::Identity;
use super::odata;
use super::sharing::{Grant, What, effective, permission};
use super::tenant::Tenant;
use crate::client::encode_segment;

/// Most recipients of one invitation.
const RECIPIENTS_MAX: usize = 500;

pub(super) fn list(tenant: &Tenant, call: &Call<'_>) -> Answered {
    let (node, drive) = (call.node(tenant)?, call.drive(tenant)?);
    let all = effective(drive, node);
    if let Some(id) = call.sub_id() {
        let found = all.iter().find(|(grant, _)| grant.id == id).ok_or_else(Refusal::not_found)?;
        return Ok(json(200, &permission(tenant, drive, found.0, found.1)));
    }
    let path = format!("drives/{}/items/{}/permissions", encode_segment(&drive.id), node.id);
    let entry = |index: usize| all.get(index).map(|(grant, from)| permission(tenant, drive, grant, *from));
    let body = odata::page(tenant, call.request, &path, "Collection(permission)", all.len(), entry)?;
    Ok(json(200, &body))
}

pub(super) fn change(tenant: &mut Tenant, call: &Call<'_>) -> Answered {
    match call.address.action.as_str() {
        "invite" => invite(tenant, call),
        "createLink" => create_link(tenant, call),
        _ => one(tenant, call),
    }
}

fn invite(tenant: &mut Tenant, call: &Call<'_>) -> Answered {
    let node = call.node(tenant)?;
    let (id, first) = (node.id.clone(), !node.is_unique());
    let body: Value = body_of(call.request)?;
    let recipients =
        body["recipients"].as_array().filter(|all| !all.is_empty() && all.len() <= RECIPIENTS_MAX);
    let recipients = recipients.ok_or_else(|| Refusal::invalid("Recipients are missing or too many."))?;
    let unknown =
        || Refusal::new(400, "noResolvedUsers", "One or more users could not be resolved in the directory.");
    let people: Option<Vec<Identity>> = recipients
        .iter()
        .map(|recipient| {
            let name = ["email", "objectId", "alias"].iter().find_map(|field| recipient[*field].as_str())?;
            tenant.directory.identity(name)
        })
        .collect();
    let people = people.ok_or_else(unknown)?;
    let roles = roles_of(&body)?;
    let expires = expiry(&body)?;
    if body["sendInvitation"] == true {
        tenant.mails_sent += people.len() as u64;
    }
    let grants: Vec<Grant> = people
        .into_iter()
        .map(|person| Grant {
            id: tenant.rng.identifier(24),
            roles: roles.clone(),
            expires,
            what: What::Direct(person),
        })
        .collect();
    let keep = body["retainInheritedPermissions"] != false;
    let mut ids = Vec::new();
    call.drive_mut(tenant)?.reshare(&id, call.now, |node| {
        // Only the first sharing of an item decides whether it goes on to inherit.
        node.inherits &= keep || !first;
        for grant in grants {
            match node.grants.iter_mut().find(|known| known.what == grant.what) {
                Some(known) => {
                    (known.roles, known.expires) = (grant.roles, grant.expires);
                    ids.push(known.id.clone());
                }
                None => {
                    ids.push(grant.id.clone());
                    node.grants.push(grant);
                }
            }
        }
    });
    let (node, drive) = (call.node(tenant)?, call.drive(tenant)?);
    let made = ids.iter().filter_map(|id| node.grants.iter().find(|grant| grant.id == *id));
    let value: Vec<Value> = made.map(|grant| permission(tenant, drive, grant, None)).collect();
    let context = format!("{}/v1.0/$metadata#Collection(permission)", tenant.hosts.graph);
    Ok(json(200, &json!({ "@odata.context": context, "value": value })))
}

fn create_link(tenant: &mut Tenant, call: &Call<'_>) -> Answered {
    let node = call.node(tenant)?;
    let (id, first) = (node.id.clone(), !node.is_unique());
    let body: Value = body_of(call.request)?;
    let kind = match body["type"].as_str() {
        Some(kind @ ("view" | "edit" | "embed")) => kind.to_owned(),
        _ => return Err(Refusal::invalid("The type of the link is unknown.")),
    };
    let scope = match body["scope"].as_str() {
        Some("anonymous") if !tenant.rules.external_sharing => {
            return Err(Refusal::new(403, "accessDenied", "Sharing with anybody is disabled."));
        }
        Some(scope @ ("anonymous" | "organization" | "users")) => scope.to_owned(),
        None => "organization".to_owned(),
        Some(_) => return Err(Refusal::invalid("The scope of the link is unknown.")),
    };
    let expires = expiry(&body)?;
    let password = body["password"].as_str().is_some_and(|password| !password.is_empty());
    let roles = vec![if kind == "edit" { "write" } else { "read" }.to_owned()];
    let what = What::Link { kind: kind.clone(), scope: scope.clone(), password, people: Vec::new() };
    let same = |grant: &&Grant| {
        matches!(&grant.what, What::Link { kind: known, scope: of, password: with, .. }
            if *known == kind && *of == scope && *with == password)
    };
    let existing = node.grants.iter().find(same).filter(|grant| grant.expires == expires);
    let (status, permission_id) = match existing {
        Some(grant) => (200, grant.id.clone()),
        None => {
            let permission_id = tenant.rng.identifier(24);
            let keep = body["retainInheritedPermissions"] != false;
            let grant = Grant { id: permission_id.clone(), roles, expires, what };
            call.drive_mut(tenant)?.reshare(&id, call.now, |node| {
                node.inherits &= keep || !first;
                node.grants.push(grant);
            });
            (201, permission_id)
        }
    };
    answer(tenant, call, &permission_id, status)
}

/// Changes or takes one permission.
fn one(tenant: &mut Tenant, call: &Call<'_>) -> Answered {
    let permission_id = call.sub_id().unwrap_or_default().to_owned();
    let (node, drive) = (call.node(tenant)?, call.drive(tenant)?);
    let id = node.id.clone();
    let found = effective(drive, node).into_iter().find(|(grant, _)| grant.id == permission_id);
    let (_, inherited) = found.ok_or_else(Refusal::not_found)?;
    if inherited.is_some() {
        return Err(Refusal::new(403, "accessDenied", "Inherited permissions cannot be changed here."));
    }
    if *call.request.method() == http::Method::DELETE {
        call.drive_mut(tenant)?
            .reshare(&id, call.now, |node| node.grants.retain(|grant| grant.id != permission_id));
        return Ok(bytes(204, Bytes::new(), "text/plain"));
    }
    let body: Value = body_of(call.request)?;
    let roles = if body["roles"].is_null() { None } else { Some(roles_of(&body)?) };
    let expires = expiry(&body)?;
    call.drive_mut(tenant)?.reshare(&id, call.now, |node| {
        for grant in node.grants.iter_mut().filter(|grant| grant.id == permission_id) {
            grant.roles = roles.clone().unwrap_or_else(|| grant.roles.clone());
            grant.expires = expires.or(grant.expires);
        }
    });
    answer(tenant, call, &permission_id, 200)
}

fn answer(tenant: &Tenant, call: &Call<'_>, id: &str, status: u16) -> Answered {
    let (node, drive) = (call.node(tenant)?, call.drive(tenant)?);
    let grant = node.grants.iter().find(|grant| grant.id == id).ok_or_else(Refusal::not_found)?;
    let mut body = permission(tenant, drive, grant, None);
    body["@odata.context"] = json!(format!("{}/v1.0/$metadata#permission", tenant.hosts.graph));
    Ok(json(status, &body))
}

fn roles_of(body: &Value) -> Result<Vec<String>, Refusal> {
    let roles = body["roles"].as_array().into_iter().flatten().map(|role| match role.as_str() {
        Some(role @ ("read" | "write" | "owner")) => Some(role.to_owned()),
        _ => None,
    });
    let roles: Option<Vec<String>> = roles.collect();
    roles
        .filter(|roles| !roles.is_empty())
        .ok_or_else(|| Refusal::invalid("The roles are missing or unknown."))
}

fn expiry(body: &Value) -> Result<Option<Timestamp>, Refusal> {
    match body["expirationDateTime"].as_str().filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => Timestamp::parse_rfc3339(text)
            .map(Some)
            .ok_or_else(|| Refusal::invalid("The expiration is not a time.")),
    }
}
