//! The simulated service as a pure function from request to response.
//!
//! It knows nothing of connections and faults: those are laid over it. Rules and key casing follow Microsoft's
//! documentation of the drive API.

use backup_core::Timestamp;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header};
use serde_json::{Value, json};

use super::answer::{Answered, Refusal, Shape, bytes, download_address, drive_item, json};
use super::delta;
use super::drive::{Behavior, Node};
use super::route::{Address, is_content_host, query};
use super::tenant::Tenant;
use super::{token, upload};
use crate::client::encode_segment;
use crate::transport::later;

/// Largest file that a single request may write, in bytes.
const PUT_BYTES_MAX: usize = 250 << 20;

/// Answers one request. The tenant's clock is moved on to `now`.
pub fn handle(tenant: &mut Tenant, request: &Request<Bytes>, now: Timestamp) -> Response<Bytes> {
    tenant.advance_to(now);
    let now = tenant.now();
    let answer = if is_content_host(&tenant.hosts, request) {
        content_host(tenant, request, now)
    } else if request.uri().path().ends_with("/oauth2/v2.0/token") {
        Ok(issue(tenant, request, now))
    } else {
        authorise(tenant, request, now).and_then(|()| graph(tenant, request, now))
    };
    answer.unwrap_or_else(|refusal| refusal.into_response(tenant))
}

/// The token endpoint. Its errors have a form of their own.
fn issue(tenant: &mut Tenant, request: &Request<Bytes>, now: Timestamp) -> Response<Bytes> {
    let form = String::from_utf8_lossy(request.body()).replace('+', "%20");
    let form = Request::get(format!("/?{form}")).body(()).unwrap_or_default();
    let field = |name| query(&form, name).unwrap_or_default();
    let refuse = |code: &str, text: &str| json(401, &json!({ "error": code, "error_description": text }));
    let own_path = request.uri().path().starts_with(&format!("/{}/", tenant.id));
    if *request.method() != Method::POST || !own_path {
        return refuse("invalid_request", "AADSTS90002: Tenant not found.");
    }
    if field("grant_type") != "client_credentials" || !field("scope").ends_with("/.default") {
        return refuse("unsupported_grant_type", "AADSTS70003: The grant type or scope is not supported.");
    }
    if tenant.applications.get(&field("client_id")).is_none_or(|secret| *secret != field("client_secret")) {
        return refuse("invalid_client", "AADSTS7000215: Invalid client secret provided.");
    }
    let token = format!("sim.{}", tenant.rng.identifier(48));
    let life = tenant.rules.token_life;
    tenant.tokens.insert(token.clone(), later(now, life));
    json(200, &json!({ "token_type": "Bearer", "expires_in": life.as_secs(), "access_token": token }))
}

fn authorise<B>(tenant: &Tenant, request: &Request<B>, now: Timestamp) -> Result<(), Refusal> {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = given.and_then(|value| value.strip_prefix("Bearer "));
    match token.and_then(|token| tenant.tokens.get(token)) {
        Some(expires) if now < *expires => Ok(()),
        Some(_) => Err(Refusal::new(
            401,
            "InvalidAuthenticationToken",
            "Lifetime validation failed, the token is expired.",
        )),
        None => Err(Refusal::new(401, "InvalidAuthenticationToken", "Access token is empty or invalid.")),
    }
}

fn graph(tenant: &mut Tenant, request: &Request<Bytes>, now: Timestamp) -> Answered {
    let unknown = || Refusal::new(400, "BadRequest", "Resource not found for the segment.");
    let address = Address::parse(request.uri().path()).ok_or_else(unknown)?;
    let drive = match (&address.drive, &address.user) {
        (Some(drive), _) => drive.clone(),
        (None, Some(user)) => tenant.drive_of(user).ok_or_else(Refusal::not_found)?.to_owned(),
        (None, None) => return Err(unknown()),
    };
    if !tenant.drives.contains_key(&drive) {
        return Err(Refusal::not_found());
    }
    let Some(item) = address.item.as_deref() else {
        return if *request.method() == Method::GET { drive_itself(tenant, &drive) } else { Err(unknown()) };
    };
    let path = address.path.as_deref().unwrap_or_default();
    match (request.method().as_str(), address.action.as_str()) {
        ("GET", "delta") => delta::page(tenant, &drive, request),
        ("GET", "") => {
            let id = find(tenant, &drive, item, path)?.id.clone();
            respond(tenant, &drive, &id, 200, query(request, "$select").as_deref())
        }
        ("GET", "children") => children(tenant, &drive, item, path, request),
        ("GET", "content") => {
            let node = find(tenant, &drive, item, path)?;
            if node.is_folder() {
                return Err(Refusal::invalid("A folder has no content."));
            }
            let drive = tenant.drives.get(&drive).ok_or_else(Refusal::not_found)?;
            let mut response = bytes(302, Bytes::new(), "text/plain");
            if let Ok(location) = download_address(tenant, drive, node, now).parse() {
                response.headers_mut().insert(header::LOCATION, location);
            }
            Ok(response)
        }
        ("POST", "children") => create_folder(tenant, &drive, item, path, request, now),
        ("PUT", "content") => put_content(tenant, &drive, item, path, request, now),
        ("POST", "createUploadSession") => create_session(tenant, &drive, item, path, request, now),
        ("PATCH", "") => update(tenant, &drive, item, path, request, now),
        ("DELETE", "") => {
            let node = find(tenant, &drive, item, path)?;
            if node.parent.is_none() {
                return Err(Refusal::new(403, "accessDenied", "The root cannot be deleted."));
            }
            let id = node.id.clone();
            tenant.drives.get_mut(&drive).ok_or_else(Refusal::not_found)?.remove(&id);
            Ok(bytes(204, Bytes::new(), "text/plain"))
        }
        _ => Err(Refusal::new(405, "notAllowed", "The method is not allowed here.")),
    }
}

fn drive_itself(tenant: &Tenant, drive: &str) -> Answered {
    let drive = tenant.drives.get(drive).ok_or_else(Refusal::not_found)?;
    let used = drive.used_bytes();
    let total = drive.quota_bytes.unwrap_or(1 << 40);
    let quota =
        json!({ "total": total, "used": used, "remaining": total.saturating_sub(used), "state": "normal" });
    let owner = json!({ "user": { "displayName": drive.owner, "email": drive.owner } });
    let body = json!({
        "@odata.context": format!("{}/v1.0/$metadata#drives/$entity", tenant.hosts.graph),
        "id": drive.id, "driveType": "business", "name": "OneDrive", "owner": owner, "quota": quota,
    });
    Ok(json(200, &body))
}

fn children(tenant: &Tenant, drive: &str, item: &str, path: &str, request: &Request<Bytes>) -> Answered {
    let folder = find(tenant, drive, item, path)?;
    let drive = tenant.drives.get(drive).ok_or_else(Refusal::not_found)?;
    let skip = match query(request, "$skiptoken") {
        None => 0,
        Some(text) => token::open(&tenant.key, &text)
            .and_then(|payload| payload.strip_prefix("skip|")?.parse::<usize>().ok())
            .ok_or_else(|| Refusal::invalid("The skip token is invalid."))?,
    };
    let top =
        query(request, "$top").and_then(|top| top.parse().ok()).unwrap_or(tenant.rules.page_entries).max(1);
    let select = query(request, "$select");
    let shape = Shape { select: select.as_deref(), delta: false };
    let all: Vec<&Node> = drive.children(&folder.id).collect();
    let page: Vec<Value> =
        all.iter().skip(skip).take(top).map(|node| drive_item(tenant, drive, node, shape)).collect();
    let mut body = json!({
        "@odata.context": format!("{}/v1.0/$metadata#Collection(driveItem)", tenant.hosts.graph),
        "value": page,
    });
    if skip + top < all.len() {
        let position = token::seal(&tenant.key, &format!("skip|{}", skip + top));
        let select =
            select.map_or_else(String::new, |select| format!("&$select={}", encode_segment(&select)));
        let (graph, drive, id) = (&tenant.hosts.graph, encode_segment(&drive.id), &folder.id);
        let link = format!(
            "{graph}/v1.0/drives/{drive}/items/{id}/children?$top={top}{select}&$skiptoken={position}"
        );
        body["@odata.nextLink"] = json!(link);
    }
    Ok(json(200, &body))
}

fn create_folder(
    tenant: &mut Tenant,
    drive: &str,
    item: &str,
    path: &str,
    request: &Request<Bytes>,
    now: Timestamp,
) -> Answered {
    let parent = folder(tenant, drive, item, path)?;
    let body: Value = body_of(request)?;
    let name = body["name"].as_str().filter(|_| body["folder"].is_object());
    let name = checked(name.ok_or_else(|| Refusal::invalid("A name and a folder facet are needed."))?)?;
    let behavior = behavior(body["@microsoft.graph.conflictBehavior"].as_str(), Behavior::Fail)?;
    let (created, modified) = times(&body);
    let target = tenant.drives.get_mut(drive).ok_or_else(Refusal::not_found)?;
    let (id, _) = target.create(&parent, name, None, behavior, now).map_err(|_| Refusal::name_taken())?;
    target.set_times(&id, created, modified, now);
    respond(tenant, drive, &id, 201, None)
}

fn put_content(
    tenant: &mut Tenant,
    drive: &str,
    item: &str,
    path: &str,
    request: &Request<Bytes>,
    now: Timestamp,
) -> Answered {
    if request.body().len() > PUT_BYTES_MAX {
        return Err(Refusal::new(413, "requestEntityTooLarge", "Use an upload session."));
    }
    let content = request.body().clone();
    let behavior =
        behavior(query(request, "@microsoft.graph.conflictBehavior").as_deref(), Behavior::Replace)?;
    room(tenant, drive, content.len() as u64)?;
    if path.is_empty() {
        // Addressed by its own id: the content of a file that exists.
        let id = find(tenant, drive, item, path)?.id.clone();
        let target = tenant.drives.get_mut(drive).ok_or_else(Refusal::not_found)?;
        target.set_content(&id, content, now);
        return respond(tenant, drive, &id, 200, None);
    }
    let (parent, name) = target_of(tenant, drive, item, path)?;
    let content = tenant.stored(&name, content);
    let target = tenant.drives.get_mut(drive).ok_or_else(Refusal::not_found)?;
    let made = target.create(&parent, &name, Some(content), behavior, now);
    let (id, new) = made.map_err(|_| Refusal::name_taken())?;
    respond(tenant, drive, &id, if new { 201 } else { 200 }, None)
}

fn create_session(
    tenant: &mut Tenant,
    drive: &str,
    item: &str,
    path: &str,
    request: &Request<Bytes>,
    now: Timestamp,
) -> Answered {
    let body: Value = if request.body().is_empty() { json!({}) } else { body_of(request)? };
    let properties = &body["item"];
    let behavior = behavior(properties["@microsoft.graph.conflictBehavior"].as_str(), Behavior::Replace)?;
    if let Some(size) = properties["fileSize"].as_u64() {
        room(tenant, drive, size)?;
    }
    let (parent, name) = target_of(tenant, drive, item, path)?;
    if properties["name"].as_str().is_some_and(|given| given != name) {
        return Err(Refusal::invalid("The name differs from the one in the address."));
    }
    let mut session = upload::Upload::new(drive, &parent, &name, behavior, now);
    (session.created, session.modified) = times(properties);
    let id = tenant.rng.identifier(40);
    let mut status = session.status();
    status["@odata.context"] =
        json!(format!("{}/v1.0/$metadata#microsoft.graph.uploadSession", tenant.hosts.graph));
    status["uploadUrl"] = json!(format!("{}/_api/upload/{id}", tenant.hosts.content));
    tenant.uploads.insert(id, session);
    Ok(json(200, &status))
}

fn update(
    tenant: &mut Tenant,
    drive: &str,
    item: &str,
    path: &str,
    request: &Request<Bytes>,
    now: Timestamp,
) -> Answered {
    let body: Value = body_of(request)?;
    let node = find(tenant, drive, item, path)?;
    let (id, old_parent, old_name) = (node.id.clone(), node.parent.clone(), node.name.clone());
    let name = body["name"].as_str().map_or(Ok(old_name.as_str()), checked)?;
    let parent = match body["parentReference"]["id"].as_str() {
        Some(parent) => Some(folder(tenant, drive, parent, "")?),
        None => old_parent.clone(),
    };
    let (created, modified) = times(&body);
    let target = tenant.drives.get_mut(drive).ok_or_else(Refusal::not_found)?;
    if let Some(parent) =
        parent.filter(|parent| *parent != old_parent.unwrap_or_default() || name != old_name)
    {
        target.relocate(&id, &parent, name, now).map_err(|_| Refusal::name_taken())?;
    }
    if created.is_some() || modified.is_some() {
        target.set_times(&id, created, modified, now);
    }
    respond(tenant, drive, &id, 200, None)
}

/// Downloads and uploads: the address is the permission, and a token does not belong here.
fn content_host(tenant: &mut Tenant, request: &Request<Bytes>, now: Timestamp) -> Answered {
    if request.headers().contains_key(header::AUTHORIZATION) {
        return Err(Refusal::new(401, "unauthenticated", "Pre-authenticated addresses take no token."));
    }
    if let Some(id) = request.uri().path().strip_prefix("/_api/upload/") {
        return upload::serve(tenant, id, request, now);
    }
    let expired = || Refusal::new(401, "unauthenticated", "The address has expired.");
    let payload =
        query(request, "tempauth").and_then(|text| token::open(&tenant.key, &text)).ok_or_else(expired)?;
    let mut fields = payload.split('|').skip(1);
    let mut field = || fields.next().unwrap_or_default();
    let (drive, id, until) = (field(), field(), field().parse::<i64>().unwrap_or(0));
    if now.seconds() >= until {
        return Err(expired());
    }
    let node = tenant.drives.get(drive).and_then(|drive| drive.node(id)).ok_or_else(Refusal::not_found)?;
    let content = node.content.clone().ok_or_else(Refusal::not_found)?;
    let length = content.len();
    let range = if tenant.rules.ignore_range { None } else { range_of(request.headers()) };
    match range {
        None => Ok(bytes(200, content, "application/octet-stream")),
        Some((first, _)) if first >= length => {
            let refusal = Refusal::new(416, "invalidRange", "The range is outside the content.");
            Err(refusal.with_header(header::CONTENT_RANGE, &format!("bytes */{length}")))
        }
        Some((first, last)) => {
            let end = last.map_or(length, |last| (last + 1).clamp(first, length));
            let mut response = bytes(206, content.slice(first..end), "application/octet-stream");
            if let Ok(value) = format!("bytes {first}-{}/{length}", end.saturating_sub(1)).parse() {
                response.headers_mut().insert(header::CONTENT_RANGE, value);
            }
            Ok(response)
        }
    }
}

fn range_of(headers: &HeaderMap) -> Option<(usize, Option<usize>)> {
    let (first, last) = headers.get(header::RANGE)?.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()))
}

fn respond(tenant: &Tenant, drive: &str, id: &str, status: u16, select: Option<&str>) -> Answered {
    let drive = tenant.drives.get(drive).ok_or_else(Refusal::not_found)?;
    let node = drive.node(id).ok_or_else(Refusal::not_found)?;
    let mut body = drive_item(tenant, drive, node, Shape { select, delta: false });
    body["@odata.context"] = json!(format!("{}/v1.0/$metadata#driveItems/$entity", tenant.hosts.graph));
    Ok(json(status, &body))
}

fn find<'a>(tenant: &'a Tenant, drive: &str, item: &str, path: &str) -> Result<&'a Node, Refusal> {
    tenant.drives.get(drive).and_then(|drive| drive.find(item, path)).ok_or_else(Refusal::not_found)
}

fn folder(tenant: &Tenant, drive: &str, item: &str, path: &str) -> Result<String, Refusal> {
    let node = find(tenant, drive, item, path)?;
    if !node.is_folder() {
        return Err(Refusal::invalid("The parent is not a folder."));
    }
    Ok(node.id.clone())
}

/// Parent folder and name that a path addresses, whether or not there is anything.
fn target_of(tenant: &Tenant, drive: &str, item: &str, path: &str) -> Result<(String, String), Refusal> {
    let (above, name) = path.trim_matches('/').rsplit_once('/').unwrap_or(("", path.trim_matches('/')));
    Ok((folder(tenant, drive, item, above)?, checked(name)?.to_owned()))
}

/// Names that SharePoint refuses.
fn checked(name: &str) -> Result<&str, Refusal> {
    let bad = name.is_empty()
        || name.encode_utf16().count() > 255
        || name.contains(['"', '*', ':', '<', '>', '?', '/', '\\', '|'])
        || name.starts_with(' ')
        || name.ends_with([' ', '.']);
    if bad { Err(Refusal::invalid("The provided name cannot be used.")) } else { Ok(name) }
}

fn room(tenant: &Tenant, drive: &str, more_bytes: u64) -> Result<(), Refusal> {
    let has_room = tenant.drives.get(drive).is_some_and(|drive| drive.has_room(more_bytes));
    if has_room {
        Ok(())
    } else {
        Err(Refusal::new(507, "quotaLimitReached", "Insufficient Space Available"))
    }
}

fn behavior(text: Option<&str>, default: Behavior) -> Result<Behavior, Refusal> {
    match text {
        None => Ok(default),
        Some("fail") => Ok(Behavior::Fail),
        Some("replace") => Ok(Behavior::Replace),
        Some("rename") => Ok(Behavior::Rename),
        Some(_) => Err(Refusal::invalid("The conflict behavior is unknown.")),
    }
}

fn times(body: &Value) -> (Option<Timestamp>, Option<Timestamp>) {
    let time = |name| body["fileSystemInfo"][name].as_str().and_then(Timestamp::parse_rfc3339);
    (time("createdDateTime"), time("lastModifiedDateTime"))
}

fn body_of(request: &Request<Bytes>) -> Result<Value, Refusal> {
    serde_json::from_slice(request.body()).map_err(|_| Refusal::invalid("The body is not JSON."))
}
