//! Item records, content and attribute encodings (`docs/format.md` 7.2 and 7.3).

use super::wire::{Reader, Write};
use crate::error::{Error, Result};
use crate::id::ChunkId;
use crate::item::{Attributes, Item, ItemId, ItemKind, Name, Stream, Tag, Times, Value};
use crate::limits;

const RECORD_VERSION: u8 = 1;
const FLAG_CREATED: u8 = 1;
const FLAG_MODIFIED: u8 = 2;
const FLAG_HARD_LINK: u8 = 4;
const FLAG_DETAILS: u8 = 8;
const FLAG_INCONSISTENT: u8 = 16;
const CHUNK_LIST: u8 = 0x4c;

/// One entry of a content's list: a chunk (or chunk list) and the bytes that it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkRef {
    pub(crate) id: ChunkId,
    pub(crate) len: u64,
}

impl ChunkRef {
    const ENCODED_LEN: usize = 40;
}

/// Where the bytes of a stream are: chunks (depth 0), or chunk lists of the depth below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ContentRef {
    pub(crate) len: u64,
    pub(crate) depth: u8,
    pub(crate) refs: Vec<ChunkRef>,
}

impl ContentRef {
    fn write(&self, out: &mut Vec<u8>) {
        out.u64(self.len);
        out.u8(self.depth);
        write_refs(&self.refs, out);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self> {
        let (len, depth) = Self::read_head(r)?;
        let refs = read_refs(r, len)?;
        Ok(Self { len, depth, refs })
    }

    /// The same for whoever wants it checked, and its length.
    fn pass(r: &mut Reader<'_>) -> Result<u64> {
        let (len, _) = Self::read_head(r)?;
        let count = r.count32(ChunkRef::ENCODED_LEN)?;
        pass_refs(r, count, len, |_| {})?;
        Ok(len)
    }

    fn read_head(r: &mut Reader<'_>) -> Result<(u64, u8)> {
        let len = r.u64()?;
        let depth = r.u8()?;
        if usize::from(depth) > limits::CHUNK_LIST_LEVELS_MAX {
            return Err(r.damage("has content nested too deeply"));
        }
        Ok((len, depth))
    }
}

fn write_refs(refs: &[ChunkRef], out: &mut Vec<u8>) {
    out.len32(refs.len());
    for entry in refs {
        out.raw(entry.id.as_bytes());
        out.u64(entry.len);
    }
}

/// Reads a list of references that together cover exactly `len` bytes, none of them empty.
fn read_refs(r: &mut Reader<'_>, len: u64) -> Result<Vec<ChunkRef>> {
    let count = r.count32(ChunkRef::ENCODED_LEN)?;
    let mut refs = Vec::with_capacity(count);
    pass_refs(r, count, len, |entry| refs.push(entry))?;
    Ok(refs)
}

/// Reads so many references that together cover exactly `len` bytes, none of them empty, and hands them on.
fn pass_refs(r: &mut Reader<'_>, count: usize, len: u64, mut each: impl FnMut(ChunkRef)) -> Result<()> {
    let mut sum = 0u64;
    for _ in 0..count {
        let entry = ChunkRef { id: ChunkId::from_bytes(r.array()?), len: r.u64()? };
        sum = sum.checked_add(entry.len).ok_or_else(|| r.damage("has content lengths that overflow"))?;
        if entry.len == 0 {
            return Err(r.damage("has an empty chunk"));
        }
        each(entry);
    }
    if sum == len { Ok(()) } else { Err(r.damage("has content whose pieces do not add up")) }
}

/// A chunk list's bytes.
pub(crate) fn encode_chunk_list(depth: u8, refs: &[ChunkRef]) -> Vec<u8> {
    let mut out = Vec::with_capacity(6 + refs.len() * ChunkRef::ENCODED_LEN);
    out.u8(CHUNK_LIST);
    out.u8(depth);
    write_refs(refs, &mut out);
    out
}

/// Reads a chunk list of this depth that must cover `len` bytes.
pub(crate) fn decode_chunk_list(bytes: &[u8], depth: u8, len: u64) -> Result<Vec<ChunkRef>> {
    let mut r = Reader::new(bytes, "chunk list");
    if r.u8()? != CHUNK_LIST || r.u8()? != depth {
        return Err(r.damage("is not a chunk list of the expected depth"));
    }
    let refs = read_refs(&mut r, len)?;
    r.finish()?;
    Ok(refs)
}

/// What the items tree holds for an item.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) parent: Option<ItemId>,
    pub(crate) name: Name,
    pub(crate) kind: ItemKind,
    pub(crate) times: Times,
    pub(crate) tag: Tag,
    pub(crate) hard_link: Option<ItemId>,
    /// The content changed while it was read and may mix two states.
    pub(crate) inconsistent: bool,
    pub(crate) attributes: Attributes,
    pub(crate) details: Option<ContentRef>,
    pub(crate) streams: Vec<(String, ContentRef)>,
}

impl Record {
    /// The record of an item as it is, without details and streams.
    pub(crate) fn bare(item: Item) -> Self {
        Self {
            parent: item.parent,
            name: item.name,
            kind: item.kind,
            times: item.times,
            tag: item.tag,
            hard_link: item.hard_link,
            inconsistent: false,
            attributes: item.attributes,
            details: None,
            streams: Vec::new(),
        }
    }

    /// The item again; `details` were read separately.
    pub(crate) fn to_item(&self, id: ItemId, details: Attributes) -> Item {
        self.clone().into_item(id, details).0
    }

    /// The item again, and its streams; `details` were read separately.
    pub(crate) fn into_item(self, id: ItemId, details: Attributes) -> (Item, Vec<(String, ContentRef)>) {
        let mut item = Item::new(id, self.parent, self.name, self.kind);
        item.times = self.times;
        item.tag = self.tag;
        item.hard_link = self.hard_link;
        item.attributes = self.attributes;
        item.details = details;
        item.streams = streams_of(&self.streams);
        (item, self.streams)
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let (details, inconsistent) = (self.details.is_some(), self.inconsistent);
        let Self { parent, name, kind, times, tag, hard_link, .. } = self;
        let head = Head { parent, name, kind, times, tag, hard_link, details, inconsistent };
        encode(&head, &self.attributes, self.details.as_ref(), &self.streams)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes, "item record");
        let RawHead { parent, name, kind, flags, times, tag, hard_link } = RawHead::read(&mut r)?;
        let parent = Some(ItemId::from(parent)).filter(|id| !id.is_empty());
        let (name, tag, hard_link) = (Name::from(name), Tag::from(tag), hard_link.map(ItemId::from));
        let attributes = decode_attributes(r.bytes32(limits::ATTRIBUTES_BYTES_MAX)?)?;
        let details = (flags & FLAG_DETAILS != 0).then(|| ContentRef::read(&mut r)).transpose()?;
        let count = usize::from(r.u16()?);
        if count > limits::STREAMS_MAX {
            return Err(r.damage("has more streams than the format allows"));
        }
        let mut streams = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            let name = r.text16(limits::STREAM_NAME_BYTES_MAX)?.to_owned();
            streams.push((name, ContentRef::read(&mut r)?));
        }
        if !have_names_of_their_own(&streams) {
            return Err(r.damage("has streams without a name of their own"));
        }
        if hard_link.is_some() && !streams.is_empty() {
            return Err(r.damage("is a hard link with streams"));
        }
        r.finish()?;
        let inconsistent = flags & FLAG_INCONSISTENT != 0;
        Ok(Self { parent, name, kind, times, tag, hard_link, inconsistent, attributes, details, streams })
    }
}

fn have_names_of_their_own(streams: &[(String, ContentRef)]) -> bool {
    // Nearly all items have one stream at most.
    if let [] | [_] = streams {
        return streams.iter().all(|(name, _)| !name.is_empty());
    }
    let mut names: Vec<&str> = streams.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.is_sorted_by(|a, b| a < b) && names.first() != Some(&"")
}

/// The record of an item whose details and streams have been stored.
pub(crate) fn encode_record(
    item: &Item,
    details: Option<&ContentRef>,
    streams: &[(String, ContentRef)],
    inconsistent: bool,
) -> Result<Vec<u8>> {
    let Item { parent, name, kind, times, tag, hard_link, .. } = item;
    let head = Head { parent, name, kind, times, tag, hard_link, details: details.is_some(), inconsistent };
    encode(&head, &item.attributes, details, streams)
}

fn encode(
    head: &Head<'_>,
    attributes: &Attributes,
    details: Option<&ContentRef>,
    streams: &[(String, ContentRef)],
) -> Result<Vec<u8>> {
    let limit = |what| Error::limit(what).with_item(head.name.to_string());
    let mut out = Vec::with_capacity(512);
    head.write(&mut out);
    let start = out.len();
    out.u32(0);
    write_attributes(attributes, &mut out);
    let len = out.len() - start - size_of::<u32>();
    if len > limits::ATTRIBUTES_BYTES_MAX {
        return Err(limit("attributes of an item exceed 64 KiB"));
    }
    if let (Some(field), Ok(len)) = (out.get_mut(start..start + size_of::<u32>()), u32::try_from(len)) {
        field.copy_from_slice(&len.to_le_bytes());
    }
    if let Some(details) = details {
        details.write(&mut out);
    }
    out.len16(streams.len());
    for (name, content) in streams {
        out.bytes16(name.as_bytes());
        content.write(&mut out);
    }
    if out.len() > limits::RECORD_BYTES_MAX {
        return Err(limit("record of an item exceeds 4 MiB"));
    }
    out.shrink_to_fit();
    Ok(out)
}

/// What a record begins with, as it lies there.
struct RawHead<'a> {
    parent: &'a [u8],
    name: &'a [u8],
    kind: ItemKind,
    flags: u8,
    times: Times,
    tag: &'a [u8],
    hard_link: Option<&'a [u8]>,
}

impl<'a> RawHead<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self> {
        if r.u8()? != RECORD_VERSION {
            return Err(r.damage("has an unknown version"));
        }
        let parent = r.bytes16(ItemId::LEN_MAX)?;
        let name = r.bytes16(Name::LEN_MAX)?;
        let kind = ItemKind::from_number(r.u16()?);
        let flags = r.u8()?;
        if flags & !(FLAG_CREATED | FLAG_MODIFIED | FLAG_HARD_LINK | FLAG_DETAILS | FLAG_INCONSISTENT) != 0 {
            return Err(r.damage("has unknown flags"));
        }
        let has = |flag: u8| flags & flag != 0;
        let created = has(FLAG_CREATED).then(|| r.time()).transpose()?;
        let modified = has(FLAG_MODIFIED).then(|| r.time()).transpose()?;
        let tag = r.bytes16(Tag::LEN_MAX)?;
        let hard_link = has(FLAG_HARD_LINK).then(|| r.bytes16(ItemId::LEN_MAX)).transpose()?;
        Ok(Self { parent, name, kind, flags, times: Times::new(created, modified), tag, hard_link })
    }
}

/// What a record says of an item's place among the others, of its size and its version; nothing is allocated for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outline<'a> {
    parent: &'a [u8],
    name: &'a [u8],
    pub(crate) kind: ItemKind,
    pub(crate) tag: &'a [u8],
    pub(crate) inconsistent: bool,
    /// Bytes of all streams.
    pub(crate) size: u64,
}

impl<'a> Outline<'a> {
    pub(crate) fn of(record: &'a [u8]) -> Result<Self> {
        let mut r = Reader::new(record, "item record");
        let RawHead { parent, name, kind, flags, tag, .. } = RawHead::read(&mut r)?;
        r.bytes32(limits::ATTRIBUTES_BYTES_MAX)?;
        if flags & FLAG_DETAILS != 0 {
            ContentRef::pass(&mut r)?;
        }
        let mut size = 0u64;
        for _ in 0..r.u16()? {
            r.bytes16(limits::STREAM_NAME_BYTES_MAX)?;
            size = size.saturating_add(ContentRef::pass(&mut r)?);
        }
        r.finish()?;
        Ok(Self { parent, name, kind, tag, inconsistent: flags & FLAG_INCONSISTENT != 0, size })
    }

    /// What decides where the names tree has the item, and what it has of it.
    pub(crate) const fn place(&self) -> (&'a [u8], &'a [u8], ItemKind) {
        (self.parent, self.name, self.kind)
    }

    /// The item's key in the names tree.
    pub(crate) fn name_key(&self, id: &ItemId) -> Vec<u8> {
        let parent = Some(ItemId::from(self.parent)).filter(|id| !id.is_empty());
        name_key::of(parent.as_ref(), &Name::from(self.name), id)
    }
}

/// What a record begins with: all of it that has no length of its own.
struct Head<'a> {
    parent: &'a Option<ItemId>,
    name: &'a Name,
    kind: &'a ItemKind,
    times: &'a Times,
    tag: &'a Tag,
    hard_link: &'a Option<ItemId>,
    /// Whether there are details, and whether the content is doubtful.
    details: bool,
    inconsistent: bool,
}

impl Head<'_> {
    fn write(&self, out: &mut impl Write) {
        out.u8(RECORD_VERSION);
        out.bytes16(self.parent.as_ref().map_or(&[][..], ItemId::as_bytes));
        out.bytes16(self.name.as_bytes());
        out.u16(self.kind.number());
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.u8(flag(self.times.created.is_some(), FLAG_CREATED)
            | flag(self.times.modified.is_some(), FLAG_MODIFIED)
            | flag(self.hard_link.is_some(), FLAG_HARD_LINK)
            | flag(self.details, FLAG_DETAILS)
            | flag(self.inconsistent, FLAG_INCONSISTENT));
        self.times.created.into_iter().chain(self.times.modified).for_each(|time| out.time(time));
        out.bytes16(self.tag.as_bytes());
        if let Some(target) = self.hard_link {
            out.bytes16(target.as_bytes());
        }
    }
}

/// Whether an encoded record is that of an item without details, down to the tag, by which its streams are those of the item too. Nothing is
/// allocated for it: of most items in most runs, this is all that is asked.
///
/// # Errors
/// `Corrupt` if the record agrees with the item and then does not parse.
pub(crate) fn is_record_of(bytes: &[u8], item: &Item) -> Result<bool> {
    let Item { parent, name, kind, times, tag, hard_link, .. } = item;
    if !item.details.is_empty() || tag.is_empty() && !item.streams.is_empty() {
        return Ok(false);
    }
    let mut head = Comparison(Some(bytes));
    Head { parent, name, kind, times, tag, hard_link, details: false, inconsistent: false }.write(&mut head);
    let Comparison(Some(rest)) = head else { return Ok(false) };
    let mut r = Reader::new(rest, "item record");
    let mut attributes = Comparison(Some(r.bytes32(limits::ATTRIBUTES_BYTES_MAX)?));
    write_attributes(&item.attributes, &mut attributes);
    if attributes.0 != Some(&[]) || usize::from(r.u16()?) != item.streams.len() {
        return Ok(false);
    }
    for stream in &item.streams {
        if r.bytes16(limits::STREAM_NAME_BYTES_MAX)? != stream.name.as_bytes() {
            return Ok(false);
        }
        ContentRef::pass(&mut r)?;
    }
    r.finish()?;
    Ok(true)
}

/// Holds what is written against bytes instead of keeping it: the bytes that are left, as long as all was the same.
struct Comparison<'a>(Option<&'a [u8]>);

impl Write for Comparison<'_> {
    fn raw(&mut self, bytes: &[u8]) {
        self.0 = self.0.and_then(|rest| rest.strip_prefix(bytes));
    }
}

/// Streams as an item has them.
pub(crate) fn streams_of(streams: &[(String, ContentRef)]) -> Vec<Stream> {
    streams.iter().map(|(name, content)| Stream::new(name.clone(), Some(content.len))).collect()
}

/// Attributes as bytes, in the order of their names.
pub(crate) fn encode_attributes(attributes: &Attributes) -> Vec<u8> {
    let mut out = Vec::new();
    write_attributes(attributes, &mut out);
    out
}

/// The inverse of [`encode_attributes`].
pub(crate) fn decode_attributes(bytes: &[u8]) -> Result<Attributes> {
    let mut r = Reader::new(bytes, "attributes");
    let attributes = read_attributes(&mut r, 0)?;
    r.finish()?;
    Ok(attributes)
}

/// Refuses what [`encode_attributes`] cannot hold: names above 64 KiB, values nested deeper than 16.
pub(crate) fn check_attributes(attributes: &Attributes) -> Result<()> {
    fn check(value: &Value, depth: usize) -> Result<()> {
        match value {
            Value::List(_) | Value::Map(_) if depth >= limits::VALUE_DEPTH_MAX => {
                Err(Error::limit("an attribute is nested deeper than 16 levels"))
            }
            Value::List(values) => values.iter().try_for_each(|value| check(value, depth + 1)),
            Value::Map(map) => check_map(map, depth + 1),
            _ => Ok(()),
        }
    }
    fn check_map(map: &Attributes, depth: usize) -> Result<()> {
        match map.keys().find(|name| name.len() > usize::from(u16::MAX)) {
            Some(_) => Err(Error::limit("an attribute's name exceeds 64 KiB")),
            None => map.values().try_for_each(|value| check(value, depth)),
        }
    }
    check_map(attributes, 0)
}

fn write_attributes(attributes: &Attributes, out: &mut impl Write) {
    out.len32(attributes.len());
    for (name, value) in attributes {
        out.bytes16(name.as_bytes());
        write_value(value, out);
    }
}

fn write_value(value: &Value, out: &mut impl Write) {
    match value {
        Value::Bool(value) => out.u8(u8::from(*value)),
        Value::Int(value) => {
            out.u8(2);
            out.raw(&value.to_le_bytes());
        }
        Value::Float(value) => {
            out.u8(3);
            out.u64(value.to_bits());
        }
        Value::Text(text) => {
            out.u8(4);
            out.bytes32(text.as_bytes());
        }
        Value::Bytes(bytes) => {
            out.u8(5);
            out.bytes32(bytes);
        }
        Value::Time(time) => {
            out.u8(6);
            out.time(*time);
        }
        Value::List(values) => {
            out.u8(7);
            out.len32(values.len());
            values.iter().for_each(|value| write_value(value, out));
        }
        Value::Map(map) => {
            out.u8(8);
            write_attributes(map, out);
        }
    }
}

fn read_attributes(r: &mut Reader<'_>, depth: usize) -> Result<Attributes> {
    let count = r.count32(3)?;
    let mut attributes = Attributes::new();
    for _ in 0..count {
        let name = r.text16(usize::from(u16::MAX))?.to_owned();
        if attributes.last_key_value().is_some_and(|(last, _)| *last >= name) {
            return Err(r.damage("are not sorted"));
        }
        let value = read_value(r, depth)?;
        attributes.insert(name, value);
    }
    Ok(attributes)
}

fn read_value(r: &mut Reader<'_>, depth: usize) -> Result<Value> {
    let max = limits::DETAILS_BYTES_MAX;
    Ok(match r.u8()? {
        0 => Value::Bool(false),
        1 => Value::Bool(true),
        2 => Value::Int(i64::from_le_bytes(r.array()?)),
        3 => Value::Float(f64::from_bits(r.u64()?)),
        4 => {
            let text =
                std::str::from_utf8(r.bytes32(max)?).map_err(|_| r.damage("have text that is not UTF-8"))?;
            Value::Text(text.to_owned())
        }
        5 => Value::Bytes(r.bytes32(max)?.to_vec()),
        6 => Value::Time(r.time()?),
        7 | 8 if depth >= limits::VALUE_DEPTH_MAX => return Err(r.damage("are nested too deeply")),
        7 => {
            let count = r.count32(1)?;
            Value::List((0..count).map(|_| read_value(r, depth + 1)).collect::<Result<_>>()?)
        }
        8 => Value::Map(read_attributes(r, depth + 1)?),
        _ => return Err(r.damage("have a value of unknown type")),
    })
}

/// Keys of the names tree.
pub(crate) mod name_key {
    use super::{ItemId, Name, Result, Write};
    use crate::error::Error;

    /// What all keys below a parent begin with.
    pub(crate) fn below(parent: Option<&ItemId>) -> Vec<u8> {
        let mut key = Vec::with_capacity(96);
        key.bytes16(parent.map_or(&[][..], ItemId::as_bytes));
        key
    }

    /// What all keys of one name below a parent begin with.
    pub(crate) fn named(parent: Option<&ItemId>, name: &Name) -> Vec<u8> {
        let mut key = below(parent);
        for byte in name.as_bytes() {
            key.u8(*byte);
            if *byte == 0 {
                key.u8(0xff);
            }
        }
        key.raw(&[0, 1]);
        key
    }

    /// The key of one item.
    pub(crate) fn of(parent: Option<&ItemId>, name: &Name, id: &ItemId) -> Vec<u8> {
        let mut key = named(parent, name);
        key.raw(id.as_bytes());
        key
    }

    /// The name in a key below a parent (`prefix` as given by [`below`]).
    pub(crate) fn name(key: &[u8], prefix: &[u8]) -> Result<Name> {
        let damaged = || Error::corrupt("names tree has a key that does not parse");
        let mut rest = key.strip_prefix(prefix).ok_or_else(damaged)?;
        let mut name = Vec::new();
        loop {
            rest = match rest {
                [0, 1, ..] => return Ok(Name::from(name.as_slice())),
                [0, 0xff, rest @ ..] => {
                    name.push(0);
                    rest
                }
                [0, ..] | [] => return Err(damaged()),
                [byte, rest @ ..] => {
                    name.push(*byte);
                    rest
                }
            };
        }
    }

    /// What a key begins with that names its parent, and the parent.
    pub(crate) fn parent(key: &[u8]) -> Result<(&[u8], Option<ItemId>)> {
        let damaged = || Error::corrupt("names tree has a key that does not parse");
        let (len, rest) = key.split_first_chunk::<2>().ok_or_else(damaged)?;
        let id = rest.get(..usize::from(u16::from_le_bytes(*len))).ok_or_else(damaged)?;
        let prefix = key.get(..2 + id.len()).ok_or_else(damaged)?;
        Ok((prefix, Some(ItemId::from(id)).filter(|id| !id.is_empty())))
    }

    /// The item id at the end of a key below a parent (`prefix` as given by [`below`]).
    pub(crate) fn item_id(key: &[u8], prefix: &[u8]) -> Result<ItemId> {
        let damaged = || Error::corrupt("names tree has a key that does not parse");
        let mut rest = key.strip_prefix(prefix).ok_or_else(damaged)?;
        loop {
            rest = match rest {
                [0, 1, id @ ..] if !id.is_empty() => return Ok(ItemId::from(id)),
                [0, 0xff, rest @ ..] => rest,
                [0, ..] | [] => return Err(damaged()),
                [_, rest @ ..] => rest,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn sample() -> Record {
        let mut item = Item::new("id", Some("parent".into()), &b"na\0me\xff"[..], ItemKind::FILE);
        item.times = Times::new(Some(Timestamp::new(-7, 9)), Some(Timestamp::new(1 << 40, 0)));
        item.tag = "tag".into();
        item.attributes.insert("mode".into(), Value::Int(0o644));
        item.attributes.insert(
            "nested".into(),
            Value::List(vec![
                Value::Bool(true),
                Value::Float(-0.5),
                Value::Map([("t".into(), Value::Time(Timestamp::new(1, 2)))].into()),
                Value::Bytes(vec![0, 255]),
                Value::Text("text".into()),
            ]),
        );
        let refs = vec![
            ChunkRef { id: ChunkId::from_bytes([1; 32]), len: 5 },
            ChunkRef { id: ChunkId::from_bytes([2; 32]), len: 6 },
        ];
        let content = ContentRef { len: 11, depth: 1, refs };
        let streams = [("content".into(), content.clone()), ("empty".into(), ContentRef::default())];
        Record::decode(&encode_record(&item, Some(&content), &streams, false).unwrap()).unwrap()
    }

    #[test]
    fn what_is_said_of_a_record_without_decoding_it_is_what_decoding_says() {
        let mut record = sample();
        let bytes = record.encode().unwrap();
        let outline = Outline::of(&bytes).unwrap();
        assert_eq!(outline.place(), (&b"parent"[..], &b"na\0me\xff"[..], ItemKind::FILE));
        assert_eq!((outline.tag, outline.inconsistent, outline.size), (&b"tag"[..], false, 11));
        let item = record.to_item("id".into(), Attributes::new());
        assert!(!is_record_of(&bytes, &item).unwrap(), "it has details");
        record.details = None;
        let bytes = record.encode().unwrap();
        assert!(is_record_of(&bytes, &item).unwrap());
        let others: [fn(&mut Item); 9] = [
            |item| item.parent = None,
            |item| item.name = "name".into(),
            |item| item.kind = ItemKind::MESSAGE,
            |item| item.times.created = None,
            |item| item.tag = "tag 2".into(),
            |item| item.hard_link = Some("other".into()),
            |item| drop(item.attributes.insert("new".into(), Value::Bool(true))),
            |item| drop(item.details.insert("subject".into(), Value::Bool(true))),
            |item| drop(item.streams.pop()),
        ];
        for (number, change) in others.into_iter().enumerate() {
            let mut other = item.clone();
            change(&mut other);
            assert!(!is_record_of(&bytes, &other).unwrap(), "change {number}");
        }
        for (tag, inconsistent) in [("", false), ("tag", true)] {
            let (mut record, mut item) = (record.clone(), item.clone());
            (record.tag, record.inconsistent, item.tag) = (tag.into(), inconsistent, tag.into());
            assert!(
                !is_record_of(&record.encode().unwrap(), &item).unwrap(),
                "nothing vouches for its bytes"
            );
        }
        for len in 0..bytes.len() {
            assert!(
                Outline::of(&bytes[..len]).is_err() && is_record_of(&bytes[..len], &item).ok() != Some(true)
            );
        }
    }

    #[test]
    fn records_round_trip() {
        let record = sample();
        assert_eq!(Record::decode(&record.encode().unwrap()).unwrap(), record);
    }

    #[test]
    fn damaged_records_never_panic_and_cuts_are_refused() {
        let good = sample().encode().unwrap();
        for cut in 0..good.len() {
            assert!(Record::decode(&good[..cut]).is_err(), "cut at {cut}");
        }
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            if let Ok(record) = Record::decode(&bad) {
                assert_ne!(record, sample(), "bit {bit}");
            }
        }
    }

    #[test]
    fn name_keys_sort_like_names_and_give_the_id_back() {
        let names: [&[u8]; 6] = [b"a", b"a\0", b"a\0\x01", b"a\x01", b"ab", b"b"];
        let parent = ItemId::from("p");
        let keys: Vec<_> = names
            .iter()
            .map(|name| name_key::of(Some(&parent), &Name::from(*name), &"i\0d".into()))
            .collect();
        assert!(keys.is_sorted());
        for (key, name) in keys.iter().zip(names) {
            let below = name_key::below(Some(&parent));
            assert_eq!(name_key::item_id(key, &below).unwrap(), "i\0d".into());
            assert_eq!(name_key::name(key, &below).unwrap(), Name::from(name));
            assert_eq!(name_key::parent(key).unwrap(), (&below[..], Some(parent.clone())));
        }
        assert_eq!(name_key::parent(&name_key::of(None, &Name::from("a"), &"id".into())).unwrap().1, None);
    }
}
