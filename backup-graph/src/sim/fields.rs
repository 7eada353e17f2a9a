//! The library's side of an item: the list item with its fields, and the columns that there are.

use backup_core::Result as Outcome;
use serde_json::{Map, Value, json};

use super::answer::{Answered, Refusal, etag_of, json};
use super::drive::Drive;
use super::items::{Call, body_of, changeable};
use super::node::Node;
use super::odata::{self, Expand, expansions};
use super::route::query;
use super::tenant::Tenant;
use crate::client::encode_segment;

/// Fields that the service alone writes.
const READ_ONLY: &[&str] = &[
    "id",
    "ContentType",
    "Created",
    "Modified",
    "AuthorLookupId",
    "EditorLookupId",
    "FileLeafRef",
    "FileSizeDisplay",
    "DocIcon",
];

/// An item as `listItem`, with the fields if they are asked for.
pub(super) fn list_item(tenant: &Tenant, drive: &Drive, node: &Node, asked: &Expand) -> Value {
    let mut item = Map::new();
    item.insert("@odata.etag".to_owned(), json!(etag_of(node)));
    item.insert("id".to_owned(), json!(node.ordinal.to_string()));
    item.insert("eTag".to_owned(), json!(etag_of(node)));
    item.insert("createdDateTime".to_owned(), json!(node.created_here.to_string()));
    item.insert("lastModifiedDateTime".to_owned(), json!(node.modified_here.to_string()));
    item.insert("createdBy".to_owned(), node.created_by.to_json());
    item.insert("lastModifiedBy".to_owned(), node.modified_by.to_json());
    let (id, name) = if node.is_folder() { ("0x0120", "Folder") } else { ("0x0101", "Document") };
    item.insert("contentType".to_owned(), json!({ "id": id, "name": name }));
    let address = format!("{}/Documents/{}", tenant.hosts.content, encode_segment(&node.name));
    item.insert("webUrl".to_owned(), json!(address));
    let reference = json!({ "id": node.parent, "siteId": tenant.directory.root_site_id() });
    item.insert("parentReference".to_owned(), reference);
    odata::select(&mut item, asked.select.as_deref());
    if let Some(fields) = asked.expand.iter().find(|expand| expand.name == "fields") {
        item.insert("fields".to_owned(), fields_of(drive, node, fields.select.as_deref()));
    }
    Value::Object(item)
}

fn fields_of(drive: &Drive, node: &Node, select: Option<&str>) -> Value {
    let mut fields = node.fields.clone();
    let mut put = |name: &str, value: Value| {
        fields.insert(name.to_owned(), value);
    };
    put("@odata.etag", json!(etag_of(node)));
    put("id", json!(node.ordinal.to_string()));
    put("FileLeafRef", json!(node.name));
    put("ContentType", json!(if node.is_folder() { "Folder" } else { "Document" }));
    put("Created", json!(node.created.to_string()));
    put("Modified", json!(node.modified.to_string()));
    let lookup = |name: &str| json!((6 + name.len() + drive.name.len()).to_string());
    put("AuthorLookupId", lookup(&node.created_by.name));
    put("EditorLookupId", lookup(&node.modified_by.name));
    if !node.is_folder() {
        put("FileSizeDisplay", json!(node.size().to_string()));
    }
    odata::select(&mut fields, select);
    Value::Object(fields)
}

pub(super) fn read(tenant: &Tenant, call: &Call<'_>) -> Answered {
    let drive = call.drive(tenant)?;
    if call.address.item.is_none() {
        return library(tenant, call, drive);
    }
    let node = call.node(tenant)?;
    if node.parent.is_none() {
        return Err(Refusal::not_found());
    }
    let expand = query(call.request, "$expand").or_else(|| query(call.request, "expand"));
    let asked = Expand {
        name: String::new(),
        select: query(call.request, "$select"),
        expand: expand.map(|text| expansions(&text)).unwrap_or_default(),
    };
    let (mut body, context) = if call.address.action.ends_with("fields") {
        (fields_of(drive, node, asked.select.as_deref()), "fieldValueSet")
    } else {
        (list_item(tenant, drive, node, &asked), "listItem")
    };
    body["@odata.context"] = json!(format!("{}/v1.0/$metadata#{context}/$entity", tenant.hosts.graph));
    Ok(json(200, &body))
}

/// The list behind the drive, and its columns.
fn library(tenant: &Tenant, call: &Call<'_>, drive: &Drive) -> Answered {
    let column = |name: &String| json!({ "id": name, "name": name, "displayName": name, "readOnly": false, "text": {} });
    let context = |what: &str| format!("{}/v1.0/$metadata#{what}", tenant.hosts.graph);
    match call.address.action.as_str() {
        "list" => {
            let list =
                json!({ "template": "documentLibrary", "hidden": false, "contentTypesEnabled": false });
            let body = json!({
                "@odata.context": context("lists/$entity"), "id": drive.id, "name": drive.name,
                "displayName": drive.name, "createdDateTime": drive.created.to_string(), "list": list,
            });
            Ok(json(200, &body))
        }
        "list/columns" => {
            let path = format!("drives/{}/list/columns", encode_segment(&drive.id));
            let entry = |index: usize| drive.columns.get(index).map(column);
            let count = drive.columns.len();
            let body =
                odata::page(tenant, call.request, &path, "Collection(columnDefinition)", count, entry)?;
            Ok(json(200, &body))
        }
        _ => Err(Refusal::not_found()),
    }
}

pub(super) fn update(tenant: &mut Tenant, call: &Call<'_>) -> Answered {
    let (node, drive) = (call.node(tenant)?, call.drive(tenant)?);
    changeable(node)?;
    let id = node.id.clone();
    let body: Value = body_of(call.request)?;
    let Value::Object(values) = body else { return Err(Refusal::invalid("The body is not an object.")) };
    let values: Map<String, Value> = values.into_iter().filter(|(name, _)| !name.contains('@')).collect();
    for name in values.keys() {
        if READ_ONLY.contains(&name.as_str()) {
            return Err(Refusal::invalid("Field is read-only"));
        }
        if !drive.columns.contains(name) {
            return Err(Refusal::invalid("Field is not recognized"));
        }
    }
    call.drive_mut(tenant)?.change(&id, call.stamp(), |node| assign(&mut node.fields, values));
    let (node, drive) = (call.node(tenant)?, call.drive(tenant)?);
    Ok(json(200, &fields_of(drive, node, None)))
}

/// Null empties a field.
fn assign(fields: &mut Map<String, Value>, values: Map<String, Value>) {
    for (name, value) in values {
        if value.is_null() {
            fields.remove(&name);
        } else {
            fields.insert(name, value);
        }
    }
}

impl Tenant {
    /// Adds a column to the drive's library. `Title` is there from the start.
    ///
    /// # Errors
    /// `NotFound` if there is no such drive.
    pub fn add_column(&mut self, drive: &str, name: &str) -> Outcome<()> {
        let drive = self.drive_mut(drive)?;
        if !drive.columns.iter().any(|known| known == name) {
            drive.columns.push(name.to_owned());
        }
        Ok(())
    }

    /// Sets fields of an item; columns that are missing are added, null empties a field.
    ///
    /// # Errors
    /// As for [`set_quota`](Self::set_quota).
    pub fn set_fields(&mut self, drive: &str, path: &str, values: &Map<String, Value>) -> Outcome<()> {
        for name in values.keys() {
            self.add_column(drive, name)?;
        }
        let id = self.node(drive, path)?.id.clone();
        let now = self.tick();
        self.drive_mut(drive)?.change(&id, now.into(), |node| assign(&mut node.fields, values.clone()));
        Ok(())
    }

    /// The fields that somebody set; those that the service fills in do not count.
    ///
    /// # Errors
    /// As for [`set_quota`](Self::set_quota).
    pub fn fields(&self, drive: &str, path: &str) -> Outcome<Map<String, Value>> {
        Ok(self.node(drive, path)?.fields.clone())
    }
}
