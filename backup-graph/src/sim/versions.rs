//! Earlier states of files: listed, read, made current again.

use backup_core::Result as Outcome;
use bytes::Bytes;
use http::header;
use serde_json::{Value, json};

use super::answer::{Answered, Refusal, bytes, download_address, json, put_header};
use super::items::{Call, changeable};
use super::node::{Node, Version};
use super::odata;
use super::tenant::Tenant;
use crate::client::encode_segment;

/// All states of a file, newest first; a folder has none.
pub(super) fn all(node: &Node) -> Value {
    let Some(content) = &node.content else { return json!([]) };
    let current = Version {
        number: node.content_version,
        content: content.clone(),
        modified_here: node.modified_here,
        modified_by: node.modified_by.clone(),
    };
    let newest_first = std::iter::once(&current).chain(node.history.iter().rev());
    newest_first.map(one).collect()
}

fn one(version: &Version) -> Value {
    json!({
        "id": Version::label(version.number),
        "lastModifiedDateTime": version.modified_here.to_string(),
        "lastModifiedBy": version.modified_by.to_json(),
        "size": version.content.len(),
    })
}

pub(super) fn list(tenant: &Tenant, call: &Call<'_>) -> Answered {
    let (node, drive) = (call.node(tenant)?, call.drive(tenant)?);
    let all = all(node);
    let all = all.as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(id) = call.sub_id() {
        let found = all.iter().find(|version| version["id"] == id);
        return Ok(json(200, found.ok_or_else(Refusal::not_found)?));
    }
    let path = format!("drives/{}/items/{}/versions", encode_segment(&drive.id), node.id);
    let context = "Collection(driveItemVersion)";
    let body = odata::page(tenant, call.request, &path, context, all.len(), |index| all.get(index).cloned())?;
    Ok(json(200, &body))
}

pub(super) fn content(tenant: &Tenant, call: &Call<'_>) -> Answered {
    let (node, number) = (call.node(tenant)?, number_of(tenant, call)?);
    let drive = call.drive(tenant)?;
    let mut response = bytes(302, Bytes::new(), "text/plain");
    let address = download_address(tenant, drive, node, Some(number), &call.application);
    put_header(&mut response, header::LOCATION, &address);
    Ok(response)
}

pub(super) fn restore(tenant: &mut Tenant, call: &Call<'_>) -> Answered {
    let (node, number) = (call.node(tenant)?, number_of(tenant, call)?);
    changeable(node)?;
    let id = node.id.clone();
    let former = node.history.iter().find(|version| version.number == number);
    if let Some(content) = former.map(|version| version.content.clone()) {
        call.drive_mut(tenant)?.set_content(&id, content, call.stamp());
    }
    Ok(bytes(204, Bytes::new(), "text/plain"))
}

/// The version that the address names, if the file has it.
fn number_of(tenant: &Tenant, call: &Call<'_>) -> Result<u32, Refusal> {
    let node = call.node(tenant)?;
    let label = call.sub_id().unwrap_or_default();
    let numbers = node.history.iter().map(|version| version.number).chain([node.content_version]);
    let mut named = numbers.filter(|number| Version::label(*number) == label);
    named.next().filter(|_| !node.is_folder()).ok_or_else(Refusal::not_found)
}

impl Tenant {
    /// All contents that a file has had, oldest first, the current one last.
    ///
    /// # Errors
    /// As for [`set_quota`](Self::set_quota), also if there is a folder at the path.
    pub fn contents(&self, drive: &str, path: &str) -> Outcome<Vec<Bytes>> {
        let current = self.read_file(drive, path)?;
        let node = self.node(drive, path)?;
        Ok(node.history.iter().map(|version| version.content.clone()).chain([current]).collect())
    }
}
