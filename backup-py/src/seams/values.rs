//! From the values that Python objects give to the engine's.

use std::sync::LazyLock;

use backup_core::{
    Action, Attributes, Change, Collection, Cursor, Error, Item, ItemId, ItemKind, Name, Placement, Problem,
    Stream, Tag, Timestamp, Value, store,
};
use bytes::Bytes;
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBool, PyBytes, PyDateTime, PyFloat, PyInt, PyList, PyMapping, PyMemoryView, PyString, PyTuple,
};

use crate::error::failed;

/// How deep attributes may nest; the engine's bound on their bytes is the real one.
const DEPTH_MAX: usize = 64;

type Any<'a, 'py> = &'a Bound<'py, PyAny>;

/// Bytes without a copy: a `bytes` object never changes. `_seams.py` makes one of every other buffer.
pub(super) fn piece(object: Any<'_, '_>) -> PyResult<Bytes> {
    Ok(Bytes::from_owner(object.cast::<PyBytes>()?.extract::<PyBackedBytes>()?))
}

pub(super) fn collection(object: Any<'_, '_>) -> PyResult<Collection> {
    let py = object.py();
    let text = |name| -> PyResult<String> { object.getattr(name)?.extract() };
    match (text(intern!(py, "id")), text(intern!(py, "kind"))) {
        (Ok(id), Ok(kind)) => Ok(Collection::new(id, kind)),
        _ => Err(PyTypeError::new_err("collection must be a backup_py.Collection with two texts")),
    }
}

/// One step of an enumeration.
pub(super) fn change(object: Any<'_, '_>) -> PyResult<Change> {
    static KINDS: PyOnceLock<Py<PyTuple>> = PyOnceLock::new();
    let py = object.py();
    let kinds = KINDS.get_or_try_init(py, || -> PyResult<_> {
        let protocols = py.import(intern!(py, "backup_py.protocols"))?;
        let names = ["Upsert", "Remove", "Cursor", "Reset", "Unreadable"];
        let kinds = names.iter().map(|name| protocols.getattr(*name)).collect::<PyResult<Vec<_>>>()?;
        Ok(PyTuple::new(py, kinds)?.unbind())
    })?;
    let mut is = kinds.bind(py).iter().map(|kind| object.is_instance(&kind));
    let mut next = || is.next().unwrap_or(Ok(false));
    if next()? {
        let item = item(&object.getattr(intern!(py, "item"))?)?;
        let along = object.getattr(intern!(py, "contents"))?;
        if along.is_none() {
            Ok(Change::Upsert(item))
        } else {
            Ok(Change::UpsertWith(item, contents(&along)?))
        }
    } else if next()? {
        id(&object.getattr(intern!(py, "id"))?).map(Change::Remove)
    } else if next()? {
        let cursor = raw(&object.getattr(intern!(py, "cursor"))?, "a cursor")?;
        Ok(Change::Cursor(Cursor::new(cursor)))
    } else if next()? {
        Ok(Change::Reset)
    } else if next()? {
        let place: String = object.getattr(intern!(py, "place"))?.extract()?;
        let about = object.getattr(intern!(py, "id"))?;
        let about = if about.is_none() { None } else { Some(id(&about)?) };
        Ok(Change::Unreadable(Problem::new(about, place, reason(&object.getattr(intern!(py, "error"))?)?)))
    } else {
        let class = object.get_type().name()?;
        Err(PyTypeError::new_err(format!(
            "changes must give Upsert, Remove, Cursor, Reset or Unreadable, not {class}"
        )))
    }
}

/// What an item's streams hold, by their names.
fn contents(object: Any<'_, '_>) -> PyResult<Vec<(String, Bytes)>> {
    let wrong = |_| PyTypeError::new_err("contents must be a mapping of bytes");
    let items = object.cast::<PyMapping>().map_err(wrong)?.items()?;
    let read = |entry: Bound<'_, PyAny>| -> PyResult<(String, Bytes)> {
        let (name, bytes): (String, Bound<'_, PyAny>) = entry.extract()?;
        // Copied: content that is short is not worth a lock when it is let go.
        let bytes = match bytes.cast::<PyBytes>() {
            Ok(bytes) => Bytes::copy_from_slice(bytes.as_bytes()),
            Err(_) => {
                let copied = PyMemoryView::from(&bytes)?.call_method0(intern!(bytes.py(), "tobytes"))?;
                Bytes::copy_from_slice(copied.cast::<PyBytes>()?.as_bytes())
            }
        };
        Ok((name, bytes))
    };
    items.iter().map(read).collect()
}

/// The engine's error for an exception that is a value.
fn reason(object: Any<'_, '_>) -> PyResult<Error> {
    if !object.is_instance_of::<pyo3::exceptions::PyBaseException>() {
        return Err(PyTypeError::new_err("error must be an exception"));
    }
    Ok(failed(object.py(), "the source", PyErr::from_value(object.clone())))
}

fn id(object: Any<'_, '_>) -> PyResult<ItemId> {
    raw(object, "an id").map(ItemId::new)
}

fn raw(object: Any<'_, '_>, what: &str) -> PyResult<Bytes> {
    match object.cast::<PyBytes>() {
        Ok(bytes) => Ok(Bytes::copy_from_slice(bytes.as_bytes())),
        Err(_) => {
            let class = object.get_type().name()?;
            Err(PyTypeError::new_err(format!("{what} must be bytes, not {class}")))
        }
    }
}

/// A name as bytes: text, whose escapes become what they stand for.
fn name(object: Any<'_, '_>) -> PyResult<Name> {
    let py = object.py();
    if let Ok(text) = object.cast::<PyString>() {
        if let Ok(text) = text.to_str() {
            return Ok(Name::from(text));
        }
        let bytes = text.call_method1(intern!(py, "encode"), ("utf-8", "surrogateescape"))?;
        return raw(&bytes, "a name").map(Name::new);
    }
    raw(object, "a name that is no text").map(Name::new)
}

fn kind(text: &str) -> PyResult<ItemKind> {
    static NAMED: LazyLock<Vec<(String, ItemKind)>> = LazyLock::new(|| {
        let kinds = [
            ItemKind::FILE,
            ItemKind::FOLDER,
            ItemKind::SYMLINK,
            ItemKind::PACKAGE,
            ItemKind::MESSAGE,
            ItemKind::EVENT,
            ItemKind::CONTACT,
            ItemKind::DIRECTORY_OBJECT,
            ItemKind::OTHER,
        ];
        kinds.into_iter().map(|kind| (kind.to_string(), kind)).collect()
    });
    let number =
        || text.strip_prefix("kind-").and_then(|number| number.parse().ok()).map(ItemKind::from_number);
    let found = NAMED.iter().find_map(|(name, kind)| (name == text).then_some(*kind)).or_else(number);
    found.ok_or_else(|| PyValueError::new_err(format!("there is no kind {text:?} of items")))
}

pub(super) fn item(object: Any<'_, '_>) -> PyResult<Item> {
    let py = object.py();
    if !object.hasattr(intern!(py, "streams"))? {
        let class = object.get_type().name()?;
        return Err(PyTypeError::new_err(format!("an item must be a backup_py.Item, not {class}")));
    }
    let optional = |name| -> PyResult<Option<ItemId>> {
        let value = object.getattr(name)?;
        if value.is_none() { Ok(None) } else { id(&value).map(Some) }
    };
    let text: String = object.getattr(intern!(py, "kind"))?.extract()?;
    let mut item = Item::new(
        id(&object.getattr(intern!(py, "id"))?)?,
        optional(intern!(py, "parent"))?,
        name(&object.getattr(intern!(py, "name"))?)?,
        kind(&text)?,
    );
    item.times.created = time(&object.getattr(intern!(py, "created_ns"))?)?;
    item.times.modified = time(&object.getattr(intern!(py, "modified_ns"))?)?;
    item.tag = Tag::new(raw(&object.getattr(intern!(py, "tag"))?, "a tag")?);
    item.hard_link = optional(intern!(py, "hard_link"))?;
    item.attributes = attributes(&object.getattr(intern!(py, "attributes"))?, 0)?;
    item.details = attributes(&object.getattr(intern!(py, "details"))?, 0)?;
    for each in object.getattr(intern!(py, "streams"))?.try_iter()? {
        let each = each?;
        let name: String = each.getattr(intern!(py, "name"))?.extract()?;
        let stream = Stream::new(name, each.getattr(intern!(py, "size"))?.extract()?);
        let immutable: bool = each.getattr(intern!(py, "immutable"))?.extract()?;
        item.streams.push(if immutable { stream.immutable() } else { stream });
    }
    item.validate().map_err(|error| PyValueError::new_err(error.to_string()))?;
    Ok(item)
}

/// Nanoseconds since 1970.
pub(super) fn time(object: Any<'_, '_>) -> PyResult<Option<Timestamp>> {
    if object.is_none() {
        return Ok(None);
    }
    let nanoseconds: i128 = object.extract()?;
    let seconds = i64::try_from(nanoseconds.div_euclid(1_000_000_000));
    let nanos = u32::try_from(nanoseconds.rem_euclid(1_000_000_000));
    match (seconds, nanos) {
        (Ok(seconds), Ok(nanos)) => Ok(Some(Timestamp::new(seconds, nanos))),
        _ => Err(PyOverflowError::new_err("a time is out of range")),
    }
}

pub(super) fn attributes(object: Any<'_, '_>, depth: usize) -> PyResult<Attributes> {
    let mapping =
        object.cast::<PyMapping>().map_err(|_| PyTypeError::new_err("attributes must be a mapping"))?;
    let entries = mapping.items()?;
    let mut attributes = Attributes::new();
    for entry in entries.iter() {
        let (name, each): (String, Bound<'_, PyAny>) = entry.extract()?;
        attributes.insert(name, value(&each, depth)?);
    }
    Ok(attributes)
}

fn value(object: Any<'_, '_>, depth: usize) -> PyResult<Value> {
    if depth > DEPTH_MAX {
        return Err(PyValueError::new_err("attributes are nested too deep"));
    }
    let several = |values: Bound<'_, PyAny>| -> PyResult<Value> {
        let values = values.try_iter()?.map(|each| value(&each?, depth + 1));
        values.collect::<PyResult<_>>().map(Value::List)
    };
    // A bool is an int, too.
    if let Ok(yes) = object.cast::<PyBool>() {
        Ok(Value::Bool(yes.is_true()))
    } else if object.is_instance_of::<PyInt>() {
        object.extract().map(Value::Int)
    } else if object.is_instance_of::<PyFloat>() {
        object.extract().map(Value::Float)
    } else if object.is_instance_of::<PyString>() {
        object.extract().map(Value::Text)
    } else if let Ok(bytes) = object.cast::<PyBytes>() {
        Ok(Value::Bytes(bytes.as_bytes().to_vec()))
    } else if object.is_instance_of::<PyDateTime>() {
        let py = object.py();
        let nanoseconds =
            py.import(intern!(py, "backup_py.results"))?.getattr(intern!(py, "_nanoseconds"))?;
        let time = time(&nanoseconds.call1((object,))?)?;
        time.map(Value::Time).ok_or_else(|| PyTypeError::new_err("a time is None"))
    } else if object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>() {
        several(object.clone())
    } else if object.cast::<PyMapping>().is_ok() {
        attributes(object, depth + 1).map(Value::Map)
    } else {
        let class = object.get_type().name()?;
        Err(PyTypeError::new_err(format!("an attribute cannot be a {class}")))
    }
}

/// What became of an item.
pub(super) fn placement(object: Any<'_, '_>) -> PyResult<Placement> {
    let py = object.py();
    let wrong = || PyTypeError::new_err("put must return a backup_py.Placement or None");
    let action: String = object.getattr(intern!(py, "action")).map_err(|_| wrong())?.extract()?;
    let action = match action.as_str() {
        "created" => Action::Created,
        "replaced" => Action::Replaced,
        "skipped" => Action::Skipped,
        "renamed" => Action::Renamed,
        _ => return Err(PyValueError::new_err("action is one of created, replaced, skipped, renamed")),
    };
    let placed = raw(&object.getattr(intern!(py, "placed"))?, "placed")?;
    let mut placement = Placement::new(placed, action);
    for problem in object.getattr(intern!(py, "problems"))?.try_iter()? {
        placement = placement.with_problem(reason(&problem?)?);
    }
    Ok(placement)
}

/// One object of a listing.
pub(super) fn entry(object: Any<'_, '_>) -> PyResult<store::Entry> {
    let py = object.py();
    let wrong = || PyTypeError::new_err("list must give backup_py.Entry");
    let key: String = object.getattr(intern!(py, "key")).map_err(|_| wrong())?.extract()?;
    let key = store::Key::new(key).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let size = object.getattr(intern!(py, "size")).map_err(|_| wrong())?.extract()?;
    let modified = time(&object.getattr(intern!(py, "modified_ns")).map_err(|_| wrong())?)?;
    let entry = store::Entry::new(key, size);
    Ok(match modified {
        Some(modified) => entry.with_modified(modified),
        None => entry,
    })
}
