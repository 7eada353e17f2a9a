//! From Python's arguments to the engine's.

use backup_core::{
    Conflict, Credential, Error, Head, ItemId, KdfParams, Result, Retention, SnapshotId, Timestamp,
    VerifyLevel,
};
use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyInt, PyMapping, PyString};
use zeroize::Zeroizing;

use crate::error::{OrRaise, invalid};
use crate::progress::CancelToken;

/// The argument `cancel`.
pub(crate) type Cancel<'a, 'py> = Option<&'a Bound<'py, CancelToken>>;

/// Names and values as text.
pub(crate) type Pairs = Vec<(String, String)>;

/// One pattern, or any number of them.
#[derive(FromPyObject)]
pub(crate) enum Patterns {
    #[pyo3(transparent)]
    One(String),
    #[pyo3(transparent)]
    Many(Many),
}

/// What can be iterated.
pub(crate) struct Many(Vec<String>);

impl<'py> FromPyObject<'_, 'py> for Many {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        object.try_iter()?.map(|pattern| pattern?.extract()).collect::<PyResult<_>>().map(Self)
    }
}

/// The patterns; none if there are none.
pub(crate) fn patterns(patterns: Option<Patterns>) -> Vec<String> {
    match patterns {
        None => Vec::new(),
        Some(Patterns::One(pattern)) => vec![pattern],
        Some(Patterns::Many(Many(patterns))) => patterns,
    }
}

/// The entries of a mapping from text to text.
pub(crate) fn pairs(mapping: Option<&Bound<'_, PyAny>>) -> PyResult<Pairs> {
    let Some(mapping) = mapping else { return Ok(Vec::new()) };
    mapping.cast::<PyMapping>()?.items()?.iter().map(|entry| entry.extract()).collect()
}

/// Whether this is an address, and not a store.
pub(crate) fn is_address(url: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(url.is_instance_of::<PyString>() || url.hasattr(intern!(url.py(), "__fspath__"))?)
}

/// An address: text, or a path.
pub(crate) fn address(url: &Bound<'_, PyAny>) -> PyResult<String> {
    let py = url.py();
    if url.is_instance_of::<PyString>() {
        return url.extract();
    }
    py.import(intern!(py, "os"))?.call_method1(intern!(py, "fspath"), (url,))?.extract()
}

/// What opens a repository: exactly one of the two.
pub(crate) fn credential(
    passphrase: Option<&Bound<'_, PyAny>>,
    raw_key: Option<&Bound<'_, PyAny>>,
) -> PyResult<Result<Credential>> {
    let wrong = |message: &str| Ok(Err(invalid(message)));
    match (passphrase, raw_key) {
        (Some(passphrase), None) => {
            let bytes = secret(passphrase, "passphrase", true)?;
            if bytes.is_empty() {
                wrong("passphrase is empty")
            } else {
                Ok(Ok(Credential::passphrase(&*bytes)))
            }
        }
        (None, Some(key)) => match secret(key, "raw_key", false)?.as_slice().try_into() {
            Ok(key) => Ok(Ok(Credential::raw_key(key))),
            Err(_) => wrong("a raw key has 32 bytes"),
        },
        (None, None) => wrong("passphrase or raw_key is needed"),
        (Some(_), Some(_)) => wrong("passphrase and raw_key exclude each other"),
    }
}

/// What stretching a passphrase costs; the default where nothing is said.
pub(crate) fn cost(memory_kib: Option<u32>, passes: Option<u32>, lanes: Option<u32>) -> Result<KdfParams> {
    let default = KdfParams::default();
    KdfParams::new(
        memory_kib.unwrap_or(default.memory_kib),
        passes.unwrap_or(default.passes),
        lanes.unwrap_or(default.lanes),
    )
}

/// Bytes that are wiped after use. The caller's object is his to wipe.
pub(crate) fn secret(object: &Bound<'_, PyAny>, name: &str, text: bool) -> PyResult<Zeroizing<Vec<u8>>> {
    let bytes = if let Ok(bytes) = object.cast::<PyBytes>() {
        bytes.as_bytes().to_vec()
    } else if let Ok(bytes) = object.cast::<PyByteArray>() {
        bytes.to_vec()
    } else if let (Ok(string), true) = (object.cast::<PyString>(), text) {
        string.to_str()?.as_bytes().to_vec()
    } else {
        let kinds = if text { "str, bytes or bytearray" } else { "bytes or bytearray" };
        return Err(PyTypeError::new_err(format!("{name} must be {kinds}")));
    };
    Ok(Zeroizing::new(bytes))
}

/// The head as text: what users keep and give back.
pub(crate) fn head_text(head: Head) -> String {
    format!("{}:{}", head.number, head.hash)
}

pub(crate) fn head(text: &str) -> Result<Head> {
    let parts =
        text.split_once(':').and_then(|(number, hash)| Some((number.parse().ok()?, hash.parse().ok()?)));
    let (number, hash) =
        parts.ok_or_else(|| invalid("not a text from Repository.head").with_item("known_head"))?;
    Ok(Head::new(number, hash))
}

pub(crate) fn snapshot_id(text: &str) -> Result<SnapshotId> {
    text.parse().map_err(|error: Error| error.with_item(text))
}

pub(crate) fn snapshot_ids(texts: &[String]) -> Result<Vec<SnapshotId>> {
    texts.iter().map(|text| snapshot_id(text)).collect()
}

pub(crate) fn conflict(text: &str) -> Result<Conflict> {
    match text {
        "skip" => Ok(Conflict::Skip),
        "replace" => Ok(Conflict::Replace),
        "keep_both" => Ok(Conflict::KeepBoth),
        _ => Err(invalid("conflict is one of skip, replace, keep_both").with_item(text)),
    }
}

/// A time: a `datetime` that has a time zone, or nanoseconds since 1970.
pub(crate) struct Time(pub(crate) Timestamp);

impl<'py> FromPyObject<'_, 'py> for Time {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        static NANOSECONDS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = object.py();
        let nanoseconds: i128 = if object.is_instance_of::<PyInt>() {
            object.extract()?
        } else {
            NANOSECONDS.import(py, "backup_py.results", "_nanoseconds")?.call1((object,))?.extract()?
        };
        let seconds = i64::try_from(nanoseconds.div_euclid(1_000_000_000))
            .map_err(|_| PyOverflowError::new_err("too many nanoseconds for a time"))?;
        let nanos = u32::try_from(nanoseconds.rem_euclid(1_000_000_000)).unwrap_or(0);
        Ok(Self(Timestamp::new(seconds, nanos)))
    }
}

/// Retentions by collection, from a mapping of mappings.
pub(crate) fn retentions(rules: &Bound<'_, PyAny>) -> PyResult<Vec<(String, Retention)>> {
    let py = rules.py();
    // Mappings that are no dictionaries are none to JSON.
    let collections = rules.cast::<PyMapping>().map_err(|_| PyTypeError::new_err("rules is a mapping"))?;
    let mut retentions = Vec::new();
    for entry in collections.items()?.iter() {
        let (collection, settings): (String, Bound<'_, PyAny>) = entry.extract()?;
        let settings = PyDict::from_sequence(&settings.call_method0(intern!(py, "items"))?)?;
        let text: String =
            py.import(intern!(py, "json"))?.call_method1(intern!(py, "dumps"), (settings,))?.extract()?;
        let retention = serde_json::from_str(&text)
            .map_err(|error| invalid(format!("not a retention: {error}")).with_item(&collection));
        retentions.push((collection, retention.or_raise(py)?));
    }
    Ok(retentions)
}

pub(crate) fn verify_level(text: &str) -> Result<VerifyLevel> {
    match text {
        "structure" => Ok(VerifyLevel::Structure),
        "every_byte" => Ok(VerifyLevel::EveryByte),
        _ => Err(invalid("level is one of structure, every_byte").with_item(text)),
    }
}

/// What names an item of a snapshot.
pub(crate) enum Target {
    Path(String),
    Id(ItemId),
}

impl<'py> FromPyObject<'_, 'py> for Target {
    type Error = PyErr;

    /// A path is text; an item is one from a listing or its id.
    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let py = object.py();
        if object.is_instance_of::<PyString>() {
            return object.extract().map(Self::Path);
        }
        let id = match object.cast::<PyBytes>() {
            Ok(id) => id.to_owned(),
            Err(_) => {
                let wrong =
                    || PyTypeError::new_err("expected a path (str), an Item, or the id of one (bytes)");
                let id = object.getattr(intern!(py, "id")).map_err(|_| wrong())?;
                id.cast_into::<PyBytes>().map_err(|_| wrong())?
            }
        };
        Ok(Self::Id(ItemId::from(id.as_bytes())))
    }
}

/// The answer of `__reduce__` of what holds something of this process.
pub(crate) fn refuse_pickle(class: &str, reason: &str) -> PyResult<()> {
    Err(PyTypeError::new_err(format!("a {class} cannot be pickled or copied: {reason}")))
}
