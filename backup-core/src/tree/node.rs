//! Nodes and their bytes (`docs/format.md` 7.1).

use super::TreeKind;
use crate::error::Result;
use crate::format::wire::{Reader, Write};
use crate::id::ChunkId;
use crate::limits;

/// Longest key: parent id and name with escapes, and item id, with their frames.
const KEY_BYTES_MAX: usize =
    2 + limits::ITEM_ID_BYTES_MAX + 2 * limits::NAME_BYTES_MAX + 2 + limits::ITEM_ID_BYTES_MAX;
pub(super) const HEAD_LEN: usize = 6;

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

impl Entry {
    pub(super) const fn weight(&self) -> usize {
        6 + self.key.len() + self.value.len()
    }
}

/// A node below another: its last key, its id, and how many leaf entries it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) last_key: Vec<u8>,
    pub(crate) id: ChunkId,
    pub(crate) count: u64,
}

impl Child {
    pub(super) const fn weight(&self) -> usize {
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
}

impl Node {
    /// Bytes that the decoded node takes in memory, roughly; for cache budgets.
    pub(crate) fn weight(&self) -> usize {
        match &self.entries {
            Entries::Leaf(entries) => entries.iter().map(|entry| entry.weight() + 48).sum::<usize>() + 64,
            Entries::Inner(children) => children.iter().map(|child| child.weight() + 24).sum::<usize>() + 64,
        }
    }

    pub(crate) fn decode(tree: TreeKind, level: u8, bytes: &[u8]) -> Result<Self> {
        let mut r = Reader::new(bytes, "tree node");
        if r.u8()? != tree.number() || r.u8()? != level {
            return Err(r.damage("belongs to another tree or level"));
        }
        let entries = if level == 0 {
            let count = r.count32(6)?;
            let mut entries: Vec<Entry> = Vec::with_capacity(count);
            for _ in 0..count {
                let key = r.bytes16(KEY_BYTES_MAX)?.to_vec();
                let value = r.bytes32(limits::RECORD_BYTES_MAX)?.to_vec();
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
                let last_key = r.bytes16(KEY_BYTES_MAX)?.to_vec();
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
        Ok(Self { level, entries })
    }
}

pub(super) fn begin(tree: TreeKind, level: u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 << 10);
    bytes.u8(tree.number());
    bytes.u8(level);
    bytes.u32(0);
    bytes
}

pub(super) fn push_entry(bytes: &mut Vec<u8>, entry: &Entry) {
    bytes.bytes16(&entry.key);
    bytes.bytes32(&entry.value);
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
