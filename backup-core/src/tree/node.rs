//! Nodes and their bytes (`docs/format.md` 7.1).

use bytes::Bytes;

use super::TreeKind;
use crate::error::Result;
use crate::format::wire::{Reader, Write};
use crate::id::ChunkId;
use crate::limits;

/// Longest key: parent id and name with escapes, and item id, with their frames.
const KEY_BYTES_MAX: usize =
    2 + limits::ITEM_ID_BYTES_MAX + 2 * limits::NAME_BYTES_MAX + 2 + limits::ITEM_ID_BYTES_MAX;
pub(super) const HEAD_LEN: usize = 6;

/// A key and its value; parts of their node's memory, which they keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Bytes,
    pub(crate) value: Bytes,
}

/// A node below another: its last key, its id, and how many leaf entries it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) last_key: Bytes,
    pub(crate) id: ChunkId,
    pub(crate) count: u64,
}

impl Child {
    pub(super) fn weight(&self) -> usize {
        2 + self.last_key.len() + 40
    }
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entries {
    Leaf(Vec<Entry>),
    Inner(Vec<Child>),
}

/// One node, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) level: u8,
    pub(crate) entries: Entries,
    /// Length of its encoding.
    len: usize,
}

impl Node {
    /// Bytes that the decoded node takes in memory, roughly; for cache budgets.
    pub(crate) fn weight(&self) -> usize {
        let entries = match &self.entries {
            Entries::Leaf(entries) => size_of_val(entries.as_slice()),
            Entries::Inner(children) => size_of_val(children.as_slice()),
        };
        self.len + entries + 64
    }

    /// Decodes a node. It has a copy of the bytes, once: they are part of a frame, mostly, all of which they would keep.
    pub(crate) fn decode(tree: TreeKind, level: u8, encoded: &[u8]) -> Result<Self> {
        let own = Bytes::copy_from_slice(encoded);
        let mut r = Reader::new(&own, "tree node");
        if r.u8()? != tree.number() || r.u8()? != level {
            return Err(r.damage("belongs to another tree or level"));
        }
        let entries = if level == 0 {
            let count = r.count32(6)?;
            let mut entries: Vec<Entry> = Vec::with_capacity(count);
            for _ in 0..count {
                let key = own.slice_ref(r.bytes16(KEY_BYTES_MAX)?);
                let value = own.slice_ref(r.bytes32(limits::RECORD_BYTES_MAX)?);
                if entries.last().is_some_and(|last| last.key >= key) {
                    return Err(r.damage("is not sorted"));
                }
                entries.push(Entry { key, value });
            }
            Entries::Leaf(entries)
        } else {
            let count = r.count32(42)?;
            let mut children: Vec<Child> = Vec::with_capacity(count);
            for _ in 0..count {
                let last_key = own.slice_ref(r.bytes16(KEY_BYTES_MAX)?);
                let child = Child { last_key, id: ChunkId::from_bytes(r.array()?), count: r.u64()? };
                if children.last().is_some_and(|last| last.last_key >= child.last_key) {
                    return Err(r.damage("is not sorted"));
                }
                children.push(child);
            }
            Entries::Inner(children)
        };
        let empty = match &entries {
            Entries::Leaf(entries) => entries.is_empty(),
            Entries::Inner(children) => children.is_empty(),
        };
        if empty {
            return Err(r.damage("is empty"));
        }
        r.finish()?;
        Ok(Self { level, entries, len: own.len() })
    }
}

pub(super) fn begin(tree: TreeKind, level: u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 << 10);
    bytes.u8(tree.number());
    bytes.u8(level);
    bytes.u32(0);
    bytes
}

/// Length of an entry's encoding.
pub(super) const fn entry_len(key: &[u8], value: &[u8]) -> usize {
    6 + key.len() + value.len()
}

pub(super) fn push_entry(bytes: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    bytes.bytes16(key);
    bytes.bytes32(value);
}

pub(super) fn push_child(bytes: &mut Vec<u8>, child: &Child) {
    bytes.bytes16(&child.last_key);
    bytes.raw(child.id.as_bytes());
    bytes.u64(child.count);
}

/// Writes the number of entries into a finished node.
pub(super) fn finish(mut bytes: Vec<u8>, count: u32) -> Vec<u8> {
    if let Some(field) = bytes.get_mut(2..HEAD_LEN) {
        field.copy_from_slice(&count.to_le_bytes());
    }
    bytes
}
