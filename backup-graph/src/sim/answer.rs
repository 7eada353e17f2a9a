//! How the simulated service words its answers: JSON bodies, error envelopes, items.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use serde_json::{Map, Value, json};

use super::drive::Drive;
use super::node::Node;
use super::odata::{self, Expand, expansions};
use super::route::{prefers, query};
use super::tenant::Tenant;
use super::{fields, sharing, token, versions};
use crate::client::encode_segment;
use crate::transport::later;

/// A refusal on its way out.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) message: &'static str,
    headers: Vec<(header::HeaderName, String)>,
}

impl Refusal {
    pub(super) fn new(status: u16, code: &'static str, message: &'static str) -> Self {
        Self { status, code, message, headers: Vec::new() }
    }

    /// An item that is refused until further notice.
    pub(super) fn lasting(status: u16) -> Self {
        let code = match status {
            403 => "accessDenied",
            404 => "itemNotFound",
            _ => "serviceNotAvailable",
        };
        Self::new(status, code, "The item cannot be had.")
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
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn into_response(self, tenant: &Tenant) -> Response<Bytes> {
        let (request_id, client_id) = &tenant.answering;
        let date = tenant.now().to_string();
        let inner = json!({ "date": date.trim_end_matches('Z'), "request-id": request_id, "client-request-id": client_id });
        let body = json!({ "error": { "code": self.code, "message": self.message, "innerError": inner } });
        let mut response = json(self.status, &body);
        for (name, value) in self.headers {
            put_header(&mut response, name, &value);
        }
        put_ids(tenant, &mut response);
        response
    }
}

/// Sets a header, if the text can be one.
pub(super) fn put_header(response: &mut Response<Bytes>, name: header::HeaderName, value: &str) {
    if let Ok(value) = value.parse() {
        response.headers_mut().insert(name, value);
    }
}

/// Begins to answer: gives the answer its id, and remembers the one that the client gave.
pub(super) fn open<B>(tenant: &mut Tenant, request: &http::Request<B>) {
    tenant.answers += 1;
    let digest = token::mac(&tenant.key, &format!("answer {}", tenant.answers));
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().to_owned();
    let id = [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-");
    let given = request.headers().get("client-request-id").and_then(|value| value.to_str().ok());
    let client_id = given.map_or_else(|| id.clone(), str::to_owned);
    tenant.answering = (id, client_id);
}

/// The ids of the answer as headers.
pub(super) fn put_ids(tenant: &Tenant, response: &mut Response<Bytes>) {
    put_header(response, header::HeaderName::from_static("request-id"), &tenant.answering.0);
    put_header(response, header::HeaderName::from_static("client-request-id"), &tenant.answering.1);
}

pub(super) type Answered = Result<Response<Bytes>, Refusal>;

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
#[derive(Clone, Debug, Default)]
pub(super) struct Shape {
    /// `$select`, as it was asked; none for everything.
    pub(super) select: Option<String>,
    pub(super) expand: Vec<Expand>,
    /// In a delta listing there are no paths and no cTag.
    pub(super) delta: bool,
    /// Sharing is told only where it differs from the folder's.
    pub(super) hierarchical: bool,
    /// Whom a download address is made for.
    pub(super) application: String,
}

impl Shape {
    /// What the request asks for.
    pub(super) fn of<B>(request: &http::Request<B>, application: &str) -> Self {
        let expand = query(request, "$expand").or_else(|| query(request, "expand"));
        Self {
            select: query(request, "$select").or_else(|| query(request, "select")),
            expand: expand.map(|text| expansions(&text)).unwrap_or_default(),
            delta: false,
            hierarchical: prefers(request, "hierarchicalsharing"),
            application: application.to_owned(),
        }
    }

    /// Everything, for the answer to a change.
    pub(super) fn all(application: &str) -> Self {
        Self { application: application.to_owned(), ..Self::default() }
    }
}

/// An item as `driveItem`.
pub(super) fn drive_item(tenant: &Tenant, drive: &Drive, node: &Node, shape: &Shape) -> Value {
    let mut item = Map::new();
    let mut put = |name: &str, value: Value| {
        item.insert(name.to_owned(), value);
    };
    let etag = etag_of(node);
    put("@odata.etag", json!(etag));
    put("id", json!(node.id));
    put("name", json!(node.name));
    put("eTag", json!(etag));
    if !shape.delta {
        put("cTag", json!(format!("\"c:{{{}}},{}\"", node.id, node.content_version)));
    }
    put("size", json!(node.facets.announced_size.unwrap_or_else(|| node.size())));
    put("createdDateTime", json!(node.created_here.to_string()));
    put("lastModifiedDateTime", json!(node.modified_here.to_string()));
    put("createdBy", node.created_by.to_json());
    put("lastModifiedBy", node.modified_by.to_json());
    let times = json!({ "createdDateTime": node.created.to_string(), "lastModifiedDateTime": node.modified.to_string() });
    put("fileSystemInfo", times);
    put("webUrl", json!(format!("{}/Documents/{}", tenant.hosts.content, encode_segment(&node.name))));
    match &node.parent {
        None => {
            put("root", json!({}));
            put("parentReference", json!({ "driveId": drive.id, "driveType": drive.kind }));
        }
        Some(parent) => {
            let mut reference = json!({ "driveId": drive.id, "driveType": drive.kind, "id": parent });
            if !shape.delta {
                reference["path"] = json!(path_of(drive, parent));
            }
            put("parentReference", reference);
        }
    }
    if node.is_folder() {
        match &node.facets.package {
            Some(kind) => put("package", json!({ "type": kind })),
            None => put("folder", json!({ "childCount": drive.children(&node.id).count() })),
        }
    } else {
        let mut file = json!({ "mimeType": mime_of(&node.name) });
        if node.announces_hash() {
            file["hashes"] = json!({ "quickXorHash": node.hash });
        }
        put("file", file);
        if tenant.rules.download_addresses {
            put(
                "@microsoft.graph.downloadUrl",
                json!(download_address(tenant, drive, node, None, &shape.application)),
            );
        }
    }
    if let Some(text) = &node.facets.malware {
        put("malware", json!({ "description": text }));
    }
    if let Some(text) = &node.facets.description {
        put("description", json!(text));
    }
    if let Some(facet) = sharing::facet(drive, node, shape.hierarchical) {
        put("shared", facet);
    }
    odata::select(&mut item, shape.select.as_deref());
    for expand in &shape.expand {
        let value = match expand.name.as_str() {
            "listItem" => fields::list_item(tenant, drive, node, expand),
            "permissions" => sharing::effective(drive, node)
                .into_iter()
                .map(|(grant, from)| sharing::permission(tenant, drive, grant, from))
                .collect(),
            "versions" => versions::all(node),
            "retentionLabel" => match &node.facets.retention_label {
                Some(name) => json!({ "name": name }),
                None => Value::Null,
            },
            _ => continue,
        };
        item.insert(expand.name.clone(), value);
    }
    Value::Object(item)
}

pub(super) fn etag_of(node: &Node) -> String {
    format!("\"{{{}}},{}\"", node.id, node.version)
}

/// An item that is gone: neither name nor cTag, as OneDrive for Business answers.
pub(super) fn deleted_item(drive: &Drive, id: &str) -> Value {
    json!({
        "id": id,
        "parentReference": { "driveId": drive.id, "driveType": drive.kind },
        "deleted": { "state": "deleted" },
    })
}

/// An address that gives the content without a token, for a while: that of an earlier version if its number is given.
pub(super) fn download_address(
    tenant: &Tenant,
    drive: &Drive,
    node: &Node,
    version: Option<u32>,
    application: &str,
) -> String {
    let until = later(tenant.now(), tenant.rules.download_life).seconds();
    let version = version.map_or_else(String::new, |number| number.to_string());
    let payload = format!("download|{}|{}|{version}|{until}|{application}", drive.id, node.id);
    format!("{}/_layouts/download?tempauth={}", tenant.hosts.content, token::seal(&tenant.key, &payload))
}

pub(super) fn path_of(drive: &Drive, folder: &str) -> String {
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
