//! How the simulated service words its answers: JSON bodies, error envelopes, items.

use backup_core::Timestamp;
use bytes::Bytes;
use http::{Response, StatusCode, header};
use serde_json::{Map, Value, json};

use super::drive::{Drive, Node};
use super::tenant::Tenant;
use super::token;
use crate::client::encode_segment;
use crate::transport::later;

/// A refusal on its way out.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) message: &'static str,
    header: Option<(header::HeaderName, String)>,
}

impl Refusal {
    pub(super) fn new(status: u16, code: &'static str, message: &'static str) -> Self {
        Self { status, code, message, header: None }
    }

    pub(super) fn not_found() -> Self {
        Self::new(404, "itemNotFound", "The resource could not be found.")
    }

    pub(super) fn name_taken() -> Self {
        Self::new(409, "nameAlreadyExists", "Name already exists")
    }

    pub(super) fn invalid(message: &'static str) -> Self {
        Self::new(400, "invalidRequest", message)
    }

    pub(super) fn with_header(mut self, name: header::HeaderName, value: &str) -> Self {
        self.header = Some((name, value.to_owned()));
        self
    }

    pub(super) fn into_response(self, tenant: &mut Tenant) -> Response<Bytes> {
        let request_id = request_id(tenant);
        let date = tenant.now().to_string();
        let inner = json!({ "date": date.trim_end_matches('Z'), "request-id": request_id, "client-request-id": request_id });
        let body = json!({ "error": { "code": self.code, "message": self.message, "innerError": inner } });
        let mut response = json(self.status, &body);
        if let Some((name, Ok(value))) = self.header.map(|(name, value)| (name, value.parse())) {
            response.headers_mut().insert(name, value);
        }
        if let Ok(value) = request_id.parse() {
            response.headers_mut().insert("request-id", value);
        }
        response
    }
}

pub(super) type Answered = Result<Response<Bytes>, Refusal>;

pub(super) fn request_id(tenant: &mut Tenant) -> String {
    let (a, b) = (tenant.rng.below(1 << 32), tenant.rng.below(1 << 48));
    format!("{a:08x}-5a5a-4000-8000-{b:012x}")
}

pub(super) fn json(status: u16, body: &Value) -> Response<Bytes> {
    let mut response = bytes(status, body.to_string().into(), "application/json");
    // OData services name the flavour; clients must not depend on it.
    if let Ok(value) = "application/json;odata.metadata=minimal;odata.streaming=true;charset=utf-8".parse() {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}

pub(super) fn bytes(status: u16, body: Bytes, content_type: &'static str) -> Response<Bytes> {
    let length = body.len();
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CONTENT_LENGTH, header::HeaderValue::from(length));
    response
}

/// Which properties an answer has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape<'a> {
    /// `$select`, as it was asked; none for everything.
    pub(super) select: Option<&'a str>,
    /// In a delta listing there are no paths and no cTag.
    pub(super) delta: bool,
}

/// An item as `driveItem`.
pub(super) fn drive_item(tenant: &Tenant, drive: &Drive, node: &Node, shape: Shape<'_>) -> Value {
    let user = json!({ "user": { "displayName": drive.owner, "email": drive.owner } });
    let mut item = Map::new();
    let mut put = |name: &str, value: Value| {
        item.insert(name.to_owned(), value);
    };
    put("id", json!(node.id));
    put("name", json!(node.name));
    put("eTag", json!(format!("\"{{{}}},{}\"", node.id, node.version)));
    if !shape.delta {
        put("cTag", json!(format!("\"c:{{{}}},{}\"", node.id, node.content_version)));
    }
    put("size", json!(node.size()));
    put("createdDateTime", json!(node.created_here.to_string()));
    put("lastModifiedDateTime", json!(node.modified_here.to_string()));
    put("createdBy", user.clone());
    put("lastModifiedBy", user);
    let times = json!({ "createdDateTime": node.created.to_string(), "lastModifiedDateTime": node.modified.to_string() });
    put("fileSystemInfo", times);
    put("webUrl", json!(format!("{}/Documents/{}", tenant.hosts.content, encode_segment(&node.name))));
    match &node.parent {
        None => {
            put("root", json!({}));
            put("parentReference", json!({ "driveId": drive.id, "driveType": "business" }));
        }
        Some(parent) => {
            let mut reference = json!({ "driveId": drive.id, "driveType": "business", "id": parent });
            if !shape.delta {
                reference["path"] = json!(path_of(drive, parent));
            }
            put("parentReference", reference);
        }
    }
    if node.is_folder() {
        put("folder", json!({ "childCount": drive.children(&node.id).count() }));
    } else {
        put("file", json!({ "mimeType": mime_of(&node.name), "hashes": { "quickXorHash": node.hash } }));
        if tenant.rules.download_addresses {
            put("@microsoft.graph.downloadUrl", json!(download_address(tenant, drive, node, tenant.now())));
        }
    }
    if let Some(select) = shape.select {
        let wanted: Vec<&str> = select.split(',').map(str::trim).collect();
        item.retain(|name, _| {
            let download = name == "@microsoft.graph.downloadUrl" && wanted.contains(&"content.downloadUrl");
            // The id and the facets that say what an item is always come along.
            name == "id" || download || wanted.contains(&name.as_str())
        });
    }
    Value::Object(item)
}

/// An item that is gone: neither name nor cTag, as OneDrive for Business answers.
pub(super) fn deleted_item(drive: &Drive, id: &str) -> Value {
    json!({
        "id": id,
        "parentReference": { "driveId": drive.id, "driveType": "business" },
        "deleted": { "state": "deleted" },
    })
}

/// An address that gives the content without a token, for a while.
pub(super) fn download_address(tenant: &Tenant, drive: &Drive, node: &Node, now: Timestamp) -> String {
    let until = later(now, tenant.rules.download_life).seconds();
    let payload = format!("download|{}|{}|{until}", drive.id, node.id);
    format!("{}/_layouts/download?tempauth={}", tenant.hosts.content, token::seal(&tenant.key, &payload))
}

fn path_of(drive: &Drive, folder: &str) -> String {
    let mut names = Vec::new();
    let mut at = drive.node(folder);
    while let Some(node) = at.filter(|node| node.parent.is_some()) {
        names.push(encode_segment(&node.name));
        at = node.parent.as_deref().and_then(|parent| drive.node(parent));
    }
    names.reverse();
    let path = if names.is_empty() { String::new() } else { format!("/{}", names.join("/")) };
    format!("/drives/{}/root:{path}", drive.id)
}

fn mime_of(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension.to_lowercase()).as_deref() {
        Some("docx") => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        Some("xlsx") => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        Some("pptx") => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        Some("pdf") => "application/pdf",
        Some("txt" | "md") => "text/plain",
        Some("csv") => "text/csv",
        Some("html" | "htm") => "text/html",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}
