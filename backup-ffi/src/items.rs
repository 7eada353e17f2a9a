//! Items on their way over the border, in both directions.

use std::borrow::Cow;
use std::ffi::{CString, c_char};

use backup_core::{Error, ErrorKind, Item, ItemId, ItemKind, Name, Result, Stream, Tag, Times, Timestamp};

use crate::attributes::backup_attributes;
use crate::boundary::{Crossing, Door, Incoming};
use crate::error::c_text;

/// The size of a stream that is not known.
pub const BACKUP_SIZE_UNKNOWN: u64 = 0xFFFF_FFFF_FFFF_FFFF;
/// Flag of a stream: the source promises that bytes under this name never change. They are read once, even if the item's tag changes.
pub const BACKUP_STREAM_IMMUTABLE: u64 = 1;

/// Bytes of somebody else's. With a length of 0 the pointer is not looked at.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_bytes {
    /// Where they begin.
    pub bytes: *const u8,
    /// How many there are.
    pub len: u64,
}

impl backup_bytes {
    pub(crate) const fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.as_ptr(), len: bytes.len() as u64 }
    }

    /// # Safety
    /// The pointer is what the header says, for `'a`.
    pub(crate) unsafe fn get<'a>(self, door: &Door<'a>, name: &str) -> Result<&'a [u8]> {
        let len = usize::try_from(self.len).unwrap_or(usize::MAX);
        // SAFETY: the same promise.
        unsafe { door.bytes(self.bytes, len, name) }
    }
}

/// A point in time that may not be known.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_time {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub seconds: i64,
    /// Nanoseconds within the second.
    pub nanos: u32,
    /// 1 if it is known, 0 if not.
    pub known: u32,
}

impl backup_time {
    pub(crate) fn of(time: Option<Timestamp>) -> Self {
        time.map_or(Self { seconds: 0, nanos: 0, known: 0 }, |time| Self {
            seconds: time.seconds(),
            nanos: time.nanos(),
            known: 1,
        })
    }

    fn get(self, name: &str) -> Result<Option<Timestamp>> {
        match self {
            Self { known: 0, .. } => Ok(None),
            Self { nanos: 0..1_000_000_000, .. } => Ok(Some(Timestamp::new(self.seconds, self.nanos))),
            _ => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("argument `{name}` has too many nanoseconds"),
            )),
        }
    }
}

/// A named stream of bytes of an item. This struct does not grow.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_stream {
    /// "content", "mime", "version/3.0" and so on. At most 255 bytes.
    pub name: *const c_char,
    /// Length in bytes, or BACKUP_SIZE_UNKNOWN.
    pub size: u64,
    /// BACKUP_STREAM_IMMUTABLE, or 0.
    pub flags: u64,
}

/// One protected thing: a file, a folder, a mail and so on. What is not set (zero) is not there.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_item {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// What it is, a `backup_item_kind`.
    pub kind: u32,
    /// Identity within the collection, stable over renames where the service has such ids. 1 to 1,024 bytes.
    pub id: backup_bytes,
    /// The id of the containing item; nothing at the top.
    pub parent: backup_bytes,
    /// Name within the parent; need not be UTF-8. 1 to 1,024 bytes.
    pub name: backup_bytes,
    /// Version mark of the streams: two equal, non-empty ones mean that the streams have not changed. At most 256 bytes.
    pub tag: backup_bytes,
    /// For a further hard link: the id of the item that has the content. Such an item has no streams.
    pub hard_link: backup_bytes,
    /// When it was created.
    pub created: backup_time,
    /// When its content last changed.
    pub modified: backup_time,
    /// The streams, in the order in which they are to be restored.
    pub streams: *const backup_stream,
    /// How many streams there are.
    pub streams_count: u64,
    /// Technical attributes, together at most 64 KiB; may be NULL.
    pub attributes: *const backup_attributes,
    /// Attributes that a person would read, sealed like content, together at most 8 MiB; may be NULL.
    pub details: *const backup_attributes,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<backup_item>() == 152 && size_of::<backup_stream>() == 24);

// SAFETY: `repr(C)`, begins with `struct_size`, holds numbers and pointers; zeroed it is an item without an id.
unsafe impl Incoming for backup_item {
    const SIZE_MIN: usize = size_of::<Self>();
}

// SAFETY: as above.
unsafe impl Crossing for backup_item {
    const SIZE_MIN: usize = size_of::<Self>();
}

/// Streams of an item that are looked at; the engine has the same bound.
const STREAMS_MAX: u64 = 10_000;

/// The engine's form of an item.
///
/// # Safety
/// `item` and what it points to are what the header says.
pub(crate) unsafe fn read_item(door: &Door<'_>, item: *const backup_item) -> Result<Item> {
    // SAFETY: the same promise.
    let given = unsafe { door.take(item, "item") }?;
    // SAFETY: the same promise.
    let bytes = |field: backup_bytes, name| unsafe { field.get(door, name) };
    let id = |field: backup_bytes, name| {
        bytes(field, name).map(|bytes| Some(bytes).filter(|bytes| !bytes.is_empty()).map(ItemId::from))
    };
    let kind = u16::try_from(given.kind).ok().filter(|kind| *kind != 0).map(ItemKind::from_number);
    let kind = kind.ok_or_else(|| {
        Error::new(ErrorKind::InvalidArgument, format!("argument `kind` has no meaning for {}", given.kind))
    })?;
    let mut read = Item::new(
        ItemId::from(bytes(given.id, "id")?),
        id(given.parent, "parent")?,
        Name::from(bytes(given.name, "name")?),
        kind,
    );
    read.tag = Tag::from(bytes(given.tag, "tag")?);
    read.hard_link = id(given.hard_link, "hard_link")?;
    read.times = Times::new(given.created.get("created")?, given.modified.get("modified")?);
    if given.streams_count > STREAMS_MAX {
        return Err(Error::new(ErrorKind::InvalidArgument, "item's streams are more than 10,000"));
    }
    for number in 0..usize::try_from(given.streams_count).unwrap_or(0) {
        // SAFETY: the same promise.
        let stream = unsafe { door.element(given.streams, number, "streams") }?;
        // SAFETY: the same promise.
        let name = unsafe { door.text(stream.name, "stream name") }?;
        let size = Some(stream.size).filter(|size| *size != BACKUP_SIZE_UNKNOWN);
        let read_stream = Stream::new(name, size);
        read.streams.push(match stream.flags {
            0 => read_stream,
            BACKUP_STREAM_IMMUTABLE => read_stream.immutable(),
            other => {
                let message = format!("argument `flags` has no meaning for {other}");
                return Err(Error::new(ErrorKind::InvalidArgument, message));
            }
        });
    }
    // SAFETY: the same promise.
    let (attributes, details) =
        unsafe { (door.optional(given.attributes, "attributes")?, door.optional(given.details, "details")?) };
    if let Some(attributes) = attributes {
        read.attributes = attributes.to_core()?;
    }
    if let Some(details) = details {
        read.details = details.to_core()?;
    }
    read.validate()?;
    Ok(read)
}

/// An item in the form in which C reads it, and what that points to. Used on the thread that makes it.
pub(crate) struct ItemView<'a> {
    item: Cow<'a, Item>,
    names: Vec<CString>,
    streams: Vec<backup_stream>,
    attributes: Option<backup_attributes>,
    details: Option<backup_attributes>,
}

impl<'a> ItemView<'a> {
    pub(crate) fn new(item: &'a Item) -> Self {
        Self::of(Cow::Borrowed(item))
    }

    /// The view of an item that it owns.
    pub(crate) fn owned(item: Item) -> Self {
        Self::of(Cow::Owned(item))
    }

    fn of(item: Cow<'a, Item>) -> Self {
        let names: Vec<CString> = item.streams.iter().map(|stream| c_text(&stream.name)).collect();
        let streams = names.iter().zip(&item.streams).map(|(name, stream)| backup_stream {
            name: name.as_ptr(),
            size: stream.size.unwrap_or(BACKUP_SIZE_UNKNOWN),
            flags: if stream.immutable { BACKUP_STREAM_IMMUTABLE } else { 0 },
        });
        let streams = streams.collect();
        let some = |attributes: &backup_core::Attributes| {
            (!attributes.is_empty()).then(|| backup_attributes::from_core(attributes))
        };
        let (attributes, details) = (some(&item.attributes), some(&item.details));
        Self { item, names, streams, attributes, details }
    }

    /// What C sees; valid as long as this view.
    pub(crate) fn c(&self) -> backup_item {
        debug_assert_eq!(self.names.len(), self.streams.len());
        let id = |id: Option<&ItemId>| backup_bytes::of(id.map_or(&[], ItemId::as_bytes));
        let pointer = |attributes: &Option<backup_attributes>| {
            attributes.as_ref().map_or(std::ptr::null(), |attributes| &raw const *attributes)
        };
        backup_item {
            struct_size: size_of::<backup_item>() as u32,
            kind: u32::from(self.item.kind.number()),
            id: backup_bytes::of(self.item.id.as_bytes()),
            parent: id(self.item.parent.as_ref()),
            name: backup_bytes::of(self.item.name.as_bytes()),
            tag: backup_bytes::of(self.item.tag.as_bytes()),
            hard_link: id(self.item.hard_link.as_ref()),
            created: backup_time::of(self.item.times.created),
            modified: backup_time::of(self.item.times.modified),
            streams: self.streams.as_ptr(),
            streams_count: self.streams.len() as u64,
            attributes: pointer(&self.attributes),
            details: pointer(&self.details),
        }
    }
}
