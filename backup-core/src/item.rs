//! What is backed up: items with typed attributes and named streams, whatever service they come from.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::limits;
use crate::time::Timestamp;

macro_rules! opaque {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(Bytes);

        impl $name {
            /// Takes the bytes as they are; the length is checked where the value enters a repository.
            pub fn new(bytes: impl Into<Bytes>) -> Self {
                Self(bytes.into())
            }

            /// The bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8] {
                &self.0
            }

            /// Whether there are no bytes.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }

            /// The longest value that a repository accepts, in bytes.
            pub const LEN_MAX: usize = $max;
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(Bytes::copy_from_slice(text.as_bytes()))
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(Bytes::from(text))
            }
        }

        impl From<&[u8]> for $name {
            fn from(bytes: &[u8]) -> Self {
                Self(Bytes::copy_from_slice(bytes))
            }
        }

        impl fmt::Display for $name {
            /// UTF-8 as it is; other bytes and control characters as `\xNN`.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for part in self.0.utf8_chunks() {
                    // Written up to each control character: nearly always all at once.
                    let mut plain = part.valid();
                    while let Some((at, control)) = plain.char_indices().find(|(_, c)| c.is_control()) {
                        f.write_str(plain.get(..at).unwrap_or_default())?;
                        write!(f, "\\x{:02x}", u32::from(control))?;
                        plain = plain.get(at + control.len_utf8()..).unwrap_or_default();
                    }
                    f.write_str(plain)?;
                    part.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
                }
                Ok(())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

opaque!(
    /// An item's identity within its collection: the service's own id, stable over renames where the service has such
    /// ids. At most 1,024 bytes, never empty.
    ItemId,
    limits::ITEM_ID_BYTES_MAX
);
opaque!(
    /// An item's name within its parent, as bytes: names need not be UTF-8. At most 1,024 bytes, never empty.
    Name,
    limits::NAME_BYTES_MAX
);
opaque!(
    /// The source's version mark of an item's streams (an ETag, a hash, size and times). Two equal, non-empty tags of
    /// one item mean: the streams have not changed, do not read them again. At most 256 bytes.
    Tag,
    limits::TAG_BYTES_MAX
);
opaque!(
    /// The source's delta position, opaque to the engine. At most 64 KiB. Committed only with the content it covers.
    Cursor,
    limits::CURSOR_BYTES_MAX
);

/// What an item is. An open set: numbers unknown to this version are kept and restored as they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemKind(u16);

impl ItemKind {
    /// Contains other items.
    pub const FOLDER: Self = Self(1);
    /// A file with a stream `content`.
    pub const FILE: Self = Self(2);
    /// A symbolic link; its target is the attribute `link_target`.
    pub const SYMLINK: Self = Self(3);
    /// A folder that its service treats as one thing (a OneNote notebook).
    pub const PACKAGE: Self = Self(4);
    /// A mail message with a stream `mime` or `export`.
    pub const MESSAGE: Self = Self(10);
    /// A calendar event.
    pub const EVENT: Self = Self(11);
    /// A contact.
    pub const CONTACT: Self = Self(12);
    /// An object of a directory service (user, group, policy ...).
    pub const DIRECTORY_OBJECT: Self = Self(20);
    /// Anything else; say what it is in an attribute. Embedders may use the numbers from 0x8000 on as they like.
    pub const OTHER: Self = Self(0x7fff);

    /// The kind with this number.
    #[must_use]
    pub const fn from_number(number: u16) -> Self {
        Self(number)
    }

    /// The number, as it is stored.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// Whether items of this kind contain others.
    #[must_use]
    pub const fn is_container(self) -> bool {
        matches!(self, Self::FOLDER | Self::PACKAGE)
    }
}

impl fmt::Debug for ItemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ItemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::FOLDER => f.write_str("folder"),
            Self::FILE => f.write_str("file"),
            Self::SYMLINK => f.write_str("symlink"),
            Self::PACKAGE => f.write_str("package"),
            Self::MESSAGE => f.write_str("message"),
            Self::EVENT => f.write_str("event"),
            Self::CONTACT => f.write_str("contact"),
            Self::DIRECTORY_OBJECT => f.write_str("directory-object"),
            Self::OTHER => f.write_str("other"),
            Self(number) => write!(f, "kind-{number}"),
        }
    }
}

/// A typed attribute value.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// Text.
    Text(String),
    /// Raw bytes.
    Bytes(Vec<u8>),
    /// A point in time.
    Time(Timestamp),
    /// Several values in order.
    List(Vec<Self>),
    /// Values by name.
    Map(Attributes),
}

impl Value {
    /// The whole number, if it is one.
    #[must_use]
    pub const fn as_int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The text, if it is text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(value) => Some(value),
            _ => None,
        }
    }

    /// The bytes, if it is bytes.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(value) => Some(value),
            _ => None,
        }
    }
}

/// Attributes by name, in the order of their names.
pub type Attributes = BTreeMap<String, Value>;

/// When an item came to be and changed, as its service says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Times {
    /// When it was created.
    pub created: Option<Timestamp>,
    /// When its content last changed.
    pub modified: Option<Timestamp>,
}

impl Times {
    /// Both times, where known.
    #[must_use]
    pub const fn new(created: Option<Timestamp>, modified: Option<Timestamp>) -> Self {
        Self { created, modified }
    }
}

/// A named stream of bytes of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stream {
    /// `content`, `mime`, `version/3.0` ... At most 255 bytes.
    pub name: String,
    /// Length in bytes: as announced (from a source; may be unknown), exact (from a snapshot).
    pub size: Option<u64>,
    /// The source promises that bytes under this name never change, such as those of an earlier version of a file. They are
    /// read once, even if the item's tag changes. Not stored; false in what a snapshot gives.
    pub immutable: bool,
}

impl Stream {
    /// The name of the stream that holds a file's bytes.
    pub const CONTENT: &'static str = "content";

    /// A stream of this name and announced length.
    pub fn new(name: impl Into<String>, size: Option<u64>) -> Self {
        Self { name: name.into(), size, immutable: false }
    }

    /// This stream with the promise that its bytes never change; see [`immutable`](Self::immutable).
    #[must_use]
    pub const fn immutable(mut self) -> Self {
        self.immutable = true;
        self
    }
}

/// One protected thing: a file, a folder, a mail ...
///
/// Ids, names, tags, times, `attributes` and sizes are sealed with the tree key, which a writer needs for incremental
/// runs; `details` and the streams are sealed with the data key. Put what a person would read into `details`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Item {
    /// Identity within the collection.
    pub id: ItemId,
    /// The containing item; none for the top.
    pub parent: Option<ItemId>,
    /// Name within the parent.
    pub name: Name,
    /// What it is.
    pub kind: ItemKind,
    /// Created and modified.
    pub times: Times,
    /// Version mark of the streams.
    pub tag: Tag,
    /// For a further hard link to a file: the item that holds the content. Such an item has no streams.
    pub hard_link: Option<ItemId>,
    /// Technical attributes (mode, owner, link target ...). Together at most 64 KiB.
    pub attributes: Attributes,
    /// Attributes that a person would read (subject, addresses, list fields ...), sealed like content. At most 8 MiB.
    pub details: Attributes,
    /// The streams, in the order in which they are to be restored.
    pub streams: Vec<Stream>,
}

impl Item {
    /// An item without times, attributes and streams.
    pub fn new(id: impl Into<ItemId>, parent: Option<ItemId>, name: impl Into<Name>, kind: ItemKind) -> Self {
        Self {
            id: id.into(),
            parent,
            name: name.into(),
            kind,
            times: Times::default(),
            tag: Tag::default(),
            hard_link: None,
            attributes: Attributes::new(),
            details: Attributes::new(),
            streams: Vec::new(),
        }
    }

    /// The stream of this name.
    #[must_use]
    pub fn stream(&self, name: &str) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.name == name)
    }

    /// Sum of the known stream lengths, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.streams.iter().filter_map(|stream| stream.size).fold(0, u64::saturating_add)
    }

    /// Checks the lengths of ids, name, tag and stream names; what comes from outside passes here once.
    ///
    /// # Errors
    /// `InvalidArgument` naming the field that is empty or too long, or a stream that occurs twice.
    pub fn validate(&self) -> Result<()> {
        let wrong =
            |what: &str| Err(Error::invalid(format!("item's {what}")).with_item(self.name.to_string()));
        let bad_id = |id: &ItemId| id.is_empty() || id.as_bytes().len() > ItemId::LEN_MAX;
        if bad_id(&self.id) || self.parent.iter().chain(&self.hard_link).any(bad_id) {
            return wrong("id is empty or longer than 1,024 bytes");
        }
        if self.parent.as_ref() == Some(&self.id) {
            return wrong("parent is the item itself");
        }
        if self.name.is_empty() || self.name.as_bytes().len() > Name::LEN_MAX {
            return wrong("name is empty or longer than 1,024 bytes");
        }
        if self.tag.as_bytes().len() > Tag::LEN_MAX {
            return wrong("tag is longer than 256 bytes");
        }
        if self.streams.len() > limits::STREAMS_MAX {
            return wrong("streams are more than 10,000");
        }
        if self.hard_link.is_some() && !self.streams.is_empty() {
            return wrong("hard link has streams of its own");
        }
        let bad_name = |name: &str| name.is_empty() || name.len() > limits::STREAM_NAME_BYTES_MAX;
        if self.streams.iter().any(|stream| bad_name(&stream.name)) {
            return wrong("stream name is empty or longer than 255 bytes");
        }
        // Nearly every item has one, and needs no list of their names.
        if self.streams.len() > 1 {
            let mut names: Vec<&str> = self.streams.iter().map(|stream| stream.name.as_str()).collect();
            names.sort_unstable();
            if names.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
                return wrong("streams share a name");
            }
        }
        Ok(())
    }
}

/// Which protected resource a source stands for: one mailbox, one drive, one folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Collection {
    /// Unique within the repository and stable over years (`drive:b!x7…`, `folder:/srv/data`). At most 1,024 bytes.
    pub id: String,
    /// The kind of resource (`drive`, `mailbox`, `folder` ...). At most 64 bytes.
    pub kind: String,
}

impl Collection {
    /// A collection of this id and kind.
    pub fn new(id: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { id: id.into(), kind: kind.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_text_are_shown_escaped() {
        assert_eq!(Name::from(&b"a\xffb\n\xc3\xa9"[..]).to_string(), "a\\xffb\\x0a\u{e9}");
    }

    #[test]
    fn items_out_of_bounds_are_refused() {
        let good = Item::new("id", None, "name", ItemKind::FILE);
        assert!(good.validate().is_ok());
        let mut item = good.clone();
        item.parent = Some("id".into());
        assert!(item.validate().is_err(), "own parent");
        let mut item = good.clone();
        item.streams = vec![Stream::new("content", None), Stream::new("content", None)];
        assert!(item.validate().is_err(), "stream twice");
        let long = Item::new("x".repeat(1025), None, "name", ItemKind::FILE);
        assert!(long.validate().is_err(), "long id");
    }
}
