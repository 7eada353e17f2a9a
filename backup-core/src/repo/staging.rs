//! What a run has found out, sorted by key, in little memory: full batches become compressed sorted runs.

use std::cmp::Reverse;
use std::collections::btree_map::Entry as Slot;
use std::collections::{BTreeMap, BinaryHeap};

use crate::error::{Error, Result};
use crate::format::wire::{Reader, Write};

/// Uncompressed bytes that are kept before they become a run.
const ACTIVE_BYTES_MAX: usize = 8 << 20;
/// Uncompressed bytes of one block of a run; one block per run is open while merging.
const BLOCK_BYTES: usize = 128 << 10;
const ZSTD_LEVEL: i32 = 1;

/// What is to become of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It gets this value.
    Put(Vec<u8>),
    /// It goes.
    Remove,
    /// It stays as the last snapshot has it.
    Keep,
}

/// A step; a weak one was inferred from a containing item and gives way to any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Staged {
    pub(super) step: Step,
    pub(super) weak: bool,
}

impl Staged {
    /// Which of two steps for one key counts, `self` being the older one.
    fn then(self, newer: Self) -> Self {
        if newer.weak && !self.weak { self } else { newer }
    }
}

/// Collects steps in any order and gives them back by key.
#[derive(Debug, Default)]
pub(super) struct Staging {
    active: BTreeMap<Vec<u8>, Staged>,
    active_bytes: usize,
    runs: Vec<Run>,
}

/// Sorted entries in compressed blocks, each with its uncompressed length.
#[derive(Debug, Default)]
struct Run {
    blocks: Vec<(usize, Box<[u8]>)>,
}

impl Staging {
    pub(super) fn is_empty(&self) -> bool {
        self.active.is_empty() && self.runs.is_empty()
    }

    /// Adds an explicit step; a later one for the same key replaces it.
    pub(super) fn add(&mut self, key: Vec<u8>, step: Step) -> Result<()> {
        self.insert(key, Staged { step, weak: false })
    }

    /// Adds a step that any explicit one overrides, wherever it comes.
    pub(super) fn add_weak(&mut self, key: Vec<u8>, step: Step) -> Result<()> {
        self.insert(key, Staged { step, weak: true })
    }

    fn insert(&mut self, key: Vec<u8>, staged: Staged) -> Result<()> {
        // 64 bytes stand for the map's own cost.
        self.active_bytes +=
            key.len() + 64 + if let Step::Put(value) = &staged.step { value.len() } else { 0 };
        match self.active.entry(key) {
            Slot::Vacant(slot) => drop(slot.insert(staged)),
            Slot::Occupied(mut slot) => {
                let older = slot.get().clone();
                slot.insert(older.then(staged));
            }
        }
        if self.active_bytes > ACTIVE_BYTES_MAX { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> Result<()> {
        let mut run = Run::default();
        let mut block = Vec::with_capacity(BLOCK_BYTES + 4_096);
        for (key, staged) in std::mem::take(&mut self.active) {
            block.bytes16(&key);
            block.u8(u8::from(staged.weak) << 4
                | match staged.step {
                    Step::Put(_) => 1,
                    Step::Remove => 2,
                    Step::Keep => 3,
                });
            if let Step::Put(value) = &staged.step {
                block.bytes32(value);
            }
            if block.len() >= BLOCK_BYTES {
                run.push(&mut block)?;
            }
        }
        if !block.is_empty() {
            run.push(&mut block)?;
        }
        self.active_bytes = 0;
        self.runs.push(run);
        Ok(())
    }

    /// All steps in ascending order of keys, each key once.
    pub(super) fn into_sorted(self) -> Result<Sorted> {
        let mut sources: Vec<Cursor> =
            self.runs.into_iter().map(|run| Cursor::Run(RunCursor::new(run))).collect();
        sources.push(Cursor::Active(self.active.into_iter()));
        let mut heap = BinaryHeap::with_capacity(sources.len());
        for (age, source) in sources.iter_mut().enumerate() {
            if let Some((key, staged)) = source.next()? {
                heap.push(Reverse(Head { key, age, staged }));
            }
        }
        Ok(Sorted { sources, heap })
    }
}

impl Run {
    fn push(&mut self, block: &mut Vec<u8>) -> Result<()> {
        let packed = zstd::bulk::compress(block, ZSTD_LEVEL)
            .map_err(|error| Error::bug("zstd failed").with_source(error))?;
        // What comes back has room for the worst case: kept that way, a run would take what it takes uncompressed.
        self.blocks.push((block.len(), packed.into_boxed_slice()));
        block.clear();
        Ok(())
    }
}

/// A merge of the runs; see [`Staging::into_sorted`].
pub(super) struct Sorted {
    sources: Vec<Cursor>,
    heap: BinaryHeap<Reverse<Head>>,
}

impl Sorted {
    pub(super) fn next(&mut self) -> Result<Option<(Vec<u8>, Staged)>> {
        let Some((key, mut staged)) = self.pop()? else { return Ok(None) };
        while self.heap.peek().is_some_and(|Reverse(head)| head.key == key) {
            if let Some((_, newer)) = self.pop()? {
                staged = staged.then(newer);
            }
        }
        Ok(Some((key, staged)))
    }

    /// The smallest key, of equal ones the oldest.
    fn pop(&mut self) -> Result<Option<(Vec<u8>, Staged)>> {
        let Some(Reverse(Head { key, age, staged })) = self.heap.pop() else { return Ok(None) };
        if let Some(source) = self.sources.get_mut(age)
            && let Some((key, staged)) = source.next()?
        {
            self.heap.push(Reverse(Head { key, age, staged }));
        }
        Ok(Some((key, staged)))
    }
}

struct Head {
    key: Vec<u8>,
    age: usize,
    staged: Staged,
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head {}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key).then(self.age.cmp(&other.age))
    }
}

enum Cursor {
    Run(RunCursor),
    Active(std::collections::btree_map::IntoIter<Vec<u8>, Staged>),
}

impl Cursor {
    fn next(&mut self) -> Result<Option<(Vec<u8>, Staged)>> {
        match self {
            Self::Run(run) => run.next(),
            Self::Active(entries) => Ok(entries.next()),
        }
    }
}

struct RunCursor {
    blocks: std::vec::IntoIter<(usize, Box<[u8]>)>,
    block: Vec<u8>,
    at: usize,
}

impl RunCursor {
    fn new(run: Run) -> Self {
        Self { blocks: run.blocks.into_iter(), block: Vec::new(), at: 0 }
    }

    fn next(&mut self) -> Result<Option<(Vec<u8>, Staged)>> {
        if self.at >= self.block.len() {
            let Some((len, packed)) = self.blocks.next() else { return Ok(None) };
            self.block = zstd::bulk::decompress(&packed, len)
                .map_err(|error| Error::bug("zstd failed").with_source(error))?;
            self.at = 0;
        }
        let mut reader = Reader::new(self.block.get(self.at..).unwrap_or_default(), "staged run");
        let before = reader.remaining();
        let key = reader.bytes16(usize::from(u16::MAX))?.to_vec();
        let kind = reader.u8()?;
        let step = match kind & 0xf {
            1 => Step::Put(reader.bytes32(usize::MAX)?.to_vec()),
            2 => Step::Remove,
            _ => Step::Keep,
        };
        self.at += before - reader.remaining();
        Ok(Some((key, Staged { step, weak: kind >> 4 != 0 })))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn steps_come_back_sorted_and_the_right_one_wins(
            steps in prop::collection::vec((0u8..20, 0u8..3, any::<bool>(), any::<bool>()), 0..200)
        ) {
            let mut staging = Staging::default();
            let mut expected: BTreeMap<Vec<u8>, Staged> = BTreeMap::new();
            for (number, (key, kind, weak, spill)) in steps.into_iter().enumerate() {
                let step = match kind { 0 => Step::Put(vec![number as u8; 3]), 1 => Step::Remove, _ => Step::Keep };
                let (key, staged) = (vec![key], Staged { step, weak });
                staging.insert(key.clone(), staged.clone()).unwrap();
                let strong = expected.get(&key).is_some_and(|old| !old.weak);
                if !(weak && strong) {
                    expected.insert(key, staged);
                }
                if spill {
                    staging.spill().unwrap();
                }
            }
            let mut sorted = staging.into_sorted().unwrap();
            let mut found = Vec::new();
            while let Some(entry) = sorted.next().unwrap() {
                found.push(entry);
            }
            prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
