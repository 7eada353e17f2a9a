//! `driveItem` as Graph writes it, and as an [`Item`] of the engine.

use backup_core::{
    Attributes, Change, Error, ErrorKind, Item, ItemId, ItemKind, Problem, Result, Stream, Tag, Times,
    Timestamp, Value,
};
use serde::{Deserialize, Serialize};

/// Detail with the item's own permissions, as the service writes them.
pub(super) const PERMISSIONS: &str = "permissions";
/// Detail that says whether the item has its container's permissions besides its own.
pub(super) const INHERITS: &str = "permissions_inherited";
/// Detail with what is known of the earlier versions, oldest first.
pub(super) const VERSIONS: &str = "versions";
/// Detail with the columns of the library that the item lies in.
pub(super) const FIELDS: &str = "fields";
/// Attribute of files in which the service has found malware.
pub(super) const MALWARE: &str = "malware";
/// Attribute with the hash that the service announces for a file's content.
pub(super) const QUICK_XOR_HASH: &str = "quick_xor_hash";
/// What is asked for of each item.
pub(super) const SELECT: &str = "id,name,size,eTag,cTag,createdDateTime,lastModifiedDateTime,fileSystemInfo,\
                                 parentReference,file,folder,package,remoteItem,root,deleted,description,createdBy,\
                                 lastModifiedBy,shared,malware,content.downloadUrl";

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DriveItem {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) size: Option<u64>,
    e_tag: Option<String>,
    c_tag: Option<String>,
    created_date_time: Option<String>,
    last_modified_date_time: Option<String>,
    file_system_info: Option<FileSystemInfo>,
    parent_reference: Option<ParentReference>,
    pub(super) file: Option<FileFacet>,
    pub(super) folder: Option<FolderFacet>,
    package: Option<PackageFacet>,
    remote_item: Option<serde_json::Value>,
    root: Option<serde_json::Value>,
    deleted: Option<serde_json::Value>,
    description: Option<String>,
    created_by: Option<IdentitySet>,
    last_modified_by: Option<IdentitySet>,
    /// With `hierarchicalsharing`, only what has permissions of its own carries this facet.
    shared: Option<serde_json::Value>,
    malware: Option<serde_json::Value>,
    list_item: Option<ListItem>,
    #[serde(rename = "@microsoft.graph.downloadUrl")]
    pub(super) download_url: Option<String>,
}

/// A client's own times, which survive a restore.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct FileSystemInfo {
    #[serde(skip_serializing_if = "Option::is_none")]
    created_date_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_modified_date_time: Option<String>,
}

impl FileSystemInfo {
    /// The item's times, if it has any.
    pub(super) fn of(times: Times) -> Option<Self> {
        let text = |time: Option<Timestamp>| time.map(|time| time.to_string());
        let info =
            Self { created_date_time: text(times.created), last_modified_date_time: text(times.modified) };
        (info != Self::default()).then_some(info)
    }
}

/// The columns of the library that the item lies in.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct ListItem {
    fields: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ParentReference {
    id: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct FileFacet {
    mime_type: Option<String>,
    hashes: Option<Hashes>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Hashes {
    quick_xor_hash: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct FolderFacet {
    pub(super) child_count: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PackageFacet {
    r#type: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct IdentitySet {
    user: Option<Identity>,
    application: Option<Identity>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Identity {
    display_name: Option<String>,
}

impl IdentitySet {
    fn name(self) -> Option<String> {
        let name = |identity: Option<Identity>| identity.and_then(|identity| identity.display_name);
        name(self.user).or_else(|| name(self.application))
    }
}

impl DriveItem {
    /// The announced hash; an empty one is none.
    pub(super) fn hash(&self) -> Option<&str> {
        let hashes = self.file.as_ref()?.hashes.as_ref()?;
        hashes.quick_xor_hash.as_deref().filter(|hash| !hash.is_empty())
    }

    pub(super) fn is_container(&self) -> bool {
        self.folder.is_some() || self.package.is_some() || self.root.is_some()
    }

    /// Whether the item has permissions of its own that are worth a request.
    pub(super) fn has_own_permissions(&self) -> bool {
        self.shared.is_some() && self.deleted.is_none()
    }

    /// Whether the item may have earlier versions.
    pub(super) fn has_versions(&self) -> bool {
        self.file.is_some() && self.deleted.is_none()
    }

    fn kind(&self) -> ItemKind {
        if self.package.is_some() {
            ItemKind::PACKAGE
        } else if self.is_container() {
            ItemKind::FOLDER
        } else if self.file.is_some() {
            ItemKind::FILE
        } else {
            // A shortcut to another drive's item, or something that is not known yet.
            ItemKind::OTHER
        }
    }

    /// Equal tags must mean equal bytes: the hash where there is one, the content's version mark where not, and the
    /// item's version mark, which changes too often, as the last resort.
    fn tag(&self) -> Tag {
        match (self.hash(), &self.c_tag, &self.e_tag) {
            (Some(hash), ..) => format!("x:{hash}:{}", self.size.unwrap_or(0)).into(),
            (None, Some(tag), _) => format!("c:{tag}").into(),
            (None, None, Some(tag)) => format!("e:{tag}").into(),
            (None, None, None) => Tag::default(),
        }
    }

    fn times(&self) -> Times {
        let own = self.file_system_info.as_ref();
        let time = |own: Option<&String>, service: &Option<String>| {
            own.or(service.as_ref()).and_then(|text| Timestamp::parse_rfc3339(text))
        };
        Times::new(
            time(own.and_then(|own| own.created_date_time.as_ref()), &self.created_date_time),
            time(own.and_then(|own| own.last_modified_date_time.as_ref()), &self.last_modified_date_time),
        )
    }

    /// Whether the item has these times, as exactly as the service keeps them.
    pub(super) fn has_times(&self, wanted: Times) -> bool {
        let own = self.times();
        let same = |wanted: Option<Timestamp>, own: Option<Timestamp>| {
            wanted.is_none_or(|wanted| own.is_some_and(|own| own.seconds() == wanted.seconds()))
        };
        same(wanted.created, own.created) && same(wanted.modified, own.modified)
    }

    fn into_item(mut self) -> Result<Item> {
        let parent = self.parent_reference.take().and_then(|parent| parent.id);
        let parent = if self.root.is_some() { None } else { parent.map(ItemId::from) };
        let name = self.name.take().ok_or_else(|| Error::new(ErrorKind::Io, "the item has no name"))?;
        let kind = self.kind();
        let mut item = Item::new(std::mem::take(&mut self.id), parent, name, kind);
        item.times = self.times();
        if kind == ItemKind::FILE {
            item.tag = self.tag();
            item.streams = vec![Stream::new(Stream::CONTENT, self.size)];
            text(&mut item.attributes, QUICK_XOR_HASH, self.hash().map(str::to_owned));
        }
        text(&mut item.attributes, "mime_type", self.file.and_then(|file| file.mime_type));
        text(&mut item.attributes, "package_type", self.package.and_then(|package| package.r#type));
        if self.malware.is_some() {
            item.attributes.insert(MALWARE.to_owned(), Value::Bool(true));
        }
        if let Some(fields) = self.list_item.and_then(|item| item.fields) {
            item.details.insert(FIELDS.to_owned(), map_of(fields, 0));
        }
        text(&mut item.attributes, "etag", self.e_tag);
        text(&mut item.attributes, "ctag", self.c_tag);
        // Nothing that differs from item to item without need: equal details are stored once, others cost an entry of the index
        // each, and memory while they are new.
        text(&mut item.details, "created_by", self.created_by.and_then(IdentitySet::name));
        text(&mut item.details, "last_modified_by", self.last_modified_by.and_then(IdentitySet::name));
        text(&mut item.details, "description", self.description);
        text(&mut item.details, "remote_item", self.remote_item.map(|remote| remote.to_string()));
        item.validate()?;
        Ok(item)
    }

    pub(super) fn into_change(self) -> Change {
        if self.deleted.is_some() {
            return Change::Remove(self.id.into());
        }
        let (id, place) =
            (ItemId::from(self.id.as_str()), self.name.clone().unwrap_or_else(|| self.id.clone()));
        match self.into_item() {
            Ok(item) => Change::Upsert(item),
            Err(error) => Change::Unreadable(Problem::new(Some(id), place, error)),
        }
    }
}

/// An entry of a listing. One that cannot be understood is reported and does not end the run.
pub(super) fn parse(entry: serde_json::Value) -> Result<DriveItem, Problem> {
    let id = entry.get("id").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let name = entry.get("name").and_then(serde_json::Value::as_str).unwrap_or(id.as_str()).to_owned();
    let problem = |error| Problem::new((!id.is_empty()).then(|| ItemId::from(id.as_str())), name, error);
    match serde_json::from_value::<DriveItem>(entry) {
        Ok(item) if !item.id.is_empty() => Ok(item),
        Ok(_) => Err(problem(Error::new(ErrorKind::Io, "the item has no id"))),
        Err(error) => {
            let message = "the item is not what the service's documentation says";
            Err(problem(Error::new(ErrorKind::Io, message).with_source(error)))
        }
    }
}

/// Nesting of JSON that is kept; what lies deeper is kept as text.
const JSON_DEPTH_MAX: usize = 12;

/// JSON as an attribute; null is left out.
pub(super) fn value_of(json: serde_json::Value, depth: usize) -> Option<Value> {
    use serde_json::Value as Json;
    Some(match json {
        Json::Null => return None,
        Json::Array(_) | Json::Object(_) if depth >= JSON_DEPTH_MAX => Value::Text(json.to_string()),
        Json::Bool(value) => Value::Bool(value),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => Value::Int(value),
            (None, Some(value)) => Value::Float(value),
            (None, None) => Value::Text(number.to_string()),
        },
        Json::String(text) => Value::Text(text),
        Json::Array(values) => {
            Value::List(values.into_iter().filter_map(|value| value_of(value, depth + 1)).collect())
        }
        Json::Object(map) => map_of(map, depth),
    })
}

fn map_of(map: serde_json::Map<String, serde_json::Value>, depth: usize) -> Value {
    let entries = map.into_iter().filter_map(|(name, value)| Some((name, value_of(value, depth + 1)?)));
    Value::Map(entries.collect())
}

/// The inverse of [`value_of`].
pub(super) fn json_of(value: &Value) -> serde_json::Value {
    use serde_json::Value as Json;
    match value {
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => Json::from(*value),
        Value::Float(value) => Json::from(*value),
        Value::Text(text) => Json::from(text.as_str()),
        Value::List(values) => values.iter().map(json_of).collect(),
        Value::Map(map) => map.iter().map(|(name, value)| (name.clone(), json_of(value))).collect(),
        _ => Json::Null,
    }
}

fn text(into: &mut Attributes, name: &str, value: Option<String>) {
    if let Some(value) = value {
        into.insert(name.to_owned(), Value::Text(value));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn change(entry: serde_json::Value) -> Change {
        parse(entry).unwrap().into_change()
    }

    #[test]
    fn a_file_keeps_its_own_times_and_is_tagged_by_its_hash() {
        let Change::Upsert(item) = change(json!({
            "id": "01A", "name": "report.docx", "size": 7, "cTag": "c1",
            "createdDateTime": "2026-01-01T00:00:00Z",
            "fileSystemInfo": { "lastModifiedDateTime": "2020-02-03T04:05:06Z" },
            "parentReference": { "driveId": "b!x", "id": "01R" },
            "file": { "mimeType": "text/plain", "hashes": { "quickXorHash": "SgAAAAAAAAAAAAAAAQAAAAAAAAA=" } },
            "createdBy": { "user": { "displayName": "Ada" } },
        })) else {
            panic!("not an item");
        };
        assert_eq!(item.parent, Some("01R".into()));
        assert_eq!(item.tag, "x:SgAAAAAAAAAAAAAAAQAAAAAAAAA=:7".into());
        assert_eq!(item.times.created, Timestamp::parse_rfc3339("2026-01-01T00:00:00Z"));
        assert_eq!(item.times.modified, Timestamp::parse_rfc3339("2020-02-03T04:05:06Z"));
        assert_eq!(item.details["created_by"].as_text(), Some("Ada"));
        assert_eq!(item.size(), 7);
    }

    #[test]
    fn a_deleted_item_needs_no_name_and_the_root_has_no_parent() {
        assert!(
            matches!(change(json!({ "id": "01A", "deleted": {} })), Change::Remove(id) if id == "01A".into())
        );
        let root = json!({ "id": "01R", "name": "root", "root": {}, "folder": {}, "parentReference": { "id": "01X" } });
        assert!(
            matches!(change(root), Change::Upsert(item) if item.parent.is_none() && item.kind == ItemKind::FOLDER)
        );
    }

    #[test]
    fn an_entry_that_makes_no_sense_is_a_problem_of_its_own() {
        let problem = parse(json!({ "id": "01A", "name": "x", "size": "large" })).unwrap_err();
        assert_eq!((problem.id, problem.place.as_str()), (Some("01A".into()), "x"));
        assert!(parse(json!({})).is_err());
        assert!(matches!(change(json!({ "id": "01A", "file": {} })), Change::Unreadable(_)));
    }
}
