//! Typed attributes of items: names and values that may be nested, as a handle that both sides read and write.

use std::ffi::{CString, c_char};

use backup_core::{Attributes, Error, ErrorKind, Result, Timestamp, Value};

use crate::boundary::{Crossing, Door, Handle, Incoming, Poison, boundary, query, release};
use crate::error::{backup_error, c_text};
use crate::items::backup_bytes;
use crate::kinds::backup_type;

/// Deepest nesting of lists and maps; the engine's own bound is checked when an item enters a repository.
const DEPTH_MAX: usize = 16;

/// Names and values.
#[derive(Debug, Default)]
pub struct backup_attributes {
    poison: Poison,
    entries: std::sync::RwLock<Vec<Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    name: CString,
    value: Held,
}

/// A value in the form in which C reads it.
#[derive(Debug)]
enum Held {
    Plain(Value),
    List(Box<backup_attributes>),
    Map(Box<backup_attributes>),
}

impl Clone for Held {
    fn clone(&self) -> Self {
        match self {
            Self::Plain(value) => Self::Plain(value.clone()),
            Self::List(children) => Self::List(Box::new(children.copied())),
            Self::Map(children) => Self::Map(Box::new(children.copied())),
        }
    }
}

impl Handle for backup_attributes {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

/// One attribute. What of it counts is said at `backup_type`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_attribute {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// What the value is, a `backup_type`.
    pub r#type: u32,
    /// Its name; NULL in a list.
    pub name: *const c_char,
    /// A whole number, 0 or 1, or seconds.
    pub integer: i64,
    /// A floating-point number.
    pub number: f64,
    /// Text or bytes.
    pub bytes: backup_bytes,
    /// The values of a list or map.
    pub children: *const backup_attributes,
    /// Nanoseconds within the second.
    pub nanos: u32,
    /// 0.
    pub reserved: u32,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<backup_attribute>() == 64);

// SAFETY: `repr(C)`, begins with `struct_size`, holds numbers and pointers.
unsafe impl Crossing for backup_attribute {
    const SIZE_MIN: usize = size_of::<Self>();
}

// SAFETY: as above; zeroed it is an attribute without name and type.
unsafe impl Incoming for backup_attribute {
    const SIZE_MIN: usize = size_of::<Self>();
}

impl backup_attributes {
    fn of(entries: impl IntoIterator<Item = Entry>) -> Self {
        Self { poison: Poison::default(), entries: std::sync::RwLock::new(entries.into_iter().collect()) }
    }

    pub(crate) fn from_core(attributes: &Attributes) -> Self {
        Self::of(attributes.iter().map(|(name, value)| Entry { name: c_text(name), value: held(value) }))
    }

    fn copied(&self) -> Self {
        Self::of(self.read().iter().cloned())
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Vec<Entry>> {
        self.entries.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The engine's form of it.
    pub(crate) fn to_core(&self) -> Result<Attributes> {
        self.map(0)
    }

    fn map(&self, depth: usize) -> Result<Attributes> {
        let mut all = Attributes::new();
        for entry in self.read().iter() {
            all.insert(entry.name.to_string_lossy().into_owned(), entry.value.to_core(depth + 1)?);
        }
        Ok(all)
    }
}

impl Held {
    fn to_core(&self, depth: usize) -> Result<Value> {
        if depth > DEPTH_MAX {
            return Err(Error::new(ErrorKind::LimitExceeded, "attributes are nested more than 16 deep"));
        }
        Ok(match self {
            Self::Plain(value) => value.clone(),
            Self::Map(children) => Value::Map(children.map(depth)?),
            Self::List(children) => {
                let values: Result<_> =
                    children.read().iter().map(|entry| entry.value.to_core(depth + 1)).collect();
                Value::List(values?)
            }
        })
    }
}

fn held(value: &Value) -> Held {
    match value {
        Value::List(values) => {
            let entries = values.iter().map(|value| Entry { name: CString::default(), value: held(value) });
            Held::List(Box::new(backup_attributes::of(entries)))
        }
        Value::Map(map) => Held::Map(Box::new(backup_attributes::from_core(map))),
        plain => Held::Plain(plain.clone()),
    }
}

/// Makes an empty set of attributes.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_attributes_new(out: *mut *mut backup_attributes) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        unsafe { door.output(out, "out") }?.give(backup_attributes::default());
        Ok(())
    })
}

/// Adds an attribute; the one that had its name goes. For a list give no name (NULL): the value is appended. `children` are copied.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_attributes_put(
    attributes: *mut backup_attributes,
    attribute: *const backup_attribute,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (attributes, given) =
            unsafe { (door.handle(attributes, "attributes")?, door.take(attribute, "attribute")?) };
        let name = match given.name.is_null() {
            true => CString::default(),
            // SAFETY: the caller keeps the contract of the header.
            false => c_text(unsafe { door.text(given.name, "name") }?),
        };
        // SAFETY: the caller keeps the contract of the header.
        let value = unsafe { value(door, &given) }?;
        let mut entries = attributes.entries.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !given.name.is_null() {
            entries.retain(|entry| entry.name != name);
        }
        entries.push(Entry { name, value });
        Ok(())
    })
}

/// # Safety
/// The pointers in `given` are what the header says.
unsafe fn value(door: &Door<'_>, given: &backup_attribute) -> Result<Held> {
    // SAFETY: the same promise.
    let bytes = || unsafe { given.bytes.get(door, "bytes") };
    // SAFETY: the same promise.
    let children = || unsafe { door.handle(given.children, "children") };
    let number = given.r#type;
    Ok(match number {
        _ if number == backup_type::Bool as u32 => Held::Plain(Value::Bool(given.integer != 0)),
        _ if number == backup_type::Int as u32 => Held::Plain(Value::Int(given.integer)),
        _ if number == backup_type::Float as u32 => Held::Plain(Value::Float(given.number)),
        _ if number == backup_type::Text as u32 => {
            let text = std::str::from_utf8(bytes()?).map_err(|error| {
                Error::new(ErrorKind::InvalidArgument, "attribute is text and not UTF-8").with_source(error)
            })?;
            Held::Plain(Value::Text(text.to_owned()))
        }
        _ if number == backup_type::Bytes as u32 => Held::Plain(Value::Bytes(bytes()?.to_vec())),
        _ if number == backup_type::Time as u32 => {
            Held::Plain(Value::Time(Timestamp::new(given.integer, given.nanos.min(999_999_999))))
        }
        _ if number == backup_type::List as u32 => Held::List(Box::new(children()?.copied())),
        _ if number == backup_type::Map as u32 => Held::Map(Box::new(children()?.copied())),
        _ => {
            let message = format!("argument `type` has no meaning for {number}");
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
    })
}

/// How many attributes there are. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_attributes_count(attributes: *const backup_attributes) -> u64 {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { query(attributes, 0, |attributes| attributes.read().len() as u64) }
}

/// Fills `out` with the attribute of this number, the first being 0. What it points to lives until the attributes are changed or freed.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_attributes_at(
    attributes: *const backup_attributes,
    index: u64,
    out: *mut backup_attribute,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (attributes, out) = unsafe { (door.handle(attributes, "attributes")?, door.fill(out, "out")?) };
        let entries = attributes.read();
        let entry = usize::try_from(index).ok().and_then(|index| entries.get(index));
        let entry =
            entry.ok_or_else(|| Error::new(ErrorKind::NotFound, "there are not so many attributes"))?;
        out.write(shown(entry)?);
        Ok(())
    })
}

fn shown(entry: &Entry) -> Result<backup_attribute> {
    let mut shown = backup_attribute {
        struct_size: 0,
        r#type: 0,
        name: entry.name.as_ptr(),
        integer: 0,
        number: 0.0,
        bytes: backup_bytes::of(&[]),
        children: std::ptr::null(),
        nanos: 0,
        reserved: 0,
    };
    let kind = match &entry.value {
        Held::List(children) => {
            shown.children = &raw const **children;
            backup_type::List
        }
        Held::Map(children) => {
            shown.children = &raw const **children;
            backup_type::Map
        }
        Held::Plain(Value::Bool(value)) => {
            shown.integer = i64::from(*value);
            backup_type::Bool
        }
        Held::Plain(Value::Int(value)) => {
            shown.integer = *value;
            backup_type::Int
        }
        Held::Plain(Value::Float(value)) => {
            shown.number = *value;
            backup_type::Float
        }
        Held::Plain(Value::Text(value)) => {
            shown.bytes = backup_bytes::of(value.as_bytes());
            backup_type::Text
        }
        Held::Plain(Value::Bytes(value)) => {
            shown.bytes = backup_bytes::of(value);
            backup_type::Bytes
        }
        Held::Plain(Value::Time(value)) => {
            (shown.integer, shown.nanos) = (value.seconds(), value.nanos());
            backup_type::Time
        }
        Held::Plain(_) => {
            return Err(Error::new(ErrorKind::Unsupported, "this version has no name for the value's type"));
        }
    };
    shown.r#type = kind as u32;
    Ok(shown)
}

/// Frees attributes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_attributes_free(attributes: *mut backup_attributes) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(attributes) }
}
