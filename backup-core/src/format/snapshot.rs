//! Snapshots (`docs/format.md` 6.4).

use super::wire::{Reader, Write};
use crate::error::{Error, Result};
use crate::id::{ChunkId, SessionId, SnapshotId};
use crate::item::{Collection, Cursor};
use crate::limits;
use crate::time::Timestamp;

/// How whole a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub enum SnapshotState {
    /// Everything that the source named is in it.
    Complete,
    /// The run went through, but some items could not be read; the snapshot names them.
    Incomplete,
    /// What an interrupted run left: a help for the next run, no state to restore to.
    Checkpoint,
}

impl SnapshotState {
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Complete => 1,
            Self::Incomplete => 2,
            Self::Checkpoint => 3,
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        match reader.u8()? {
            1 => Ok(Self::Complete),
            2 => Ok(Self::Incomplete),
            3 => Ok(Self::Checkpoint),
            _ => Err(reader.damage("has an unknown state")),
        }
    }
}

/// The top of a tree; of an empty one, nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Root(pub(crate) Option<Top>);

/// The top node of a tree that is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Top {
    pub(crate) level: u8,
    pub(crate) id: ChunkId,
    pub(crate) count: u64,
}

impl Root {
    pub(crate) const fn count(&self) -> u64 {
        match &self.0 {
            Some(top) => top.count,
            None => 0,
        }
    }

    fn write(self, out: &mut Vec<u8>) {
        match self.0 {
            None => out.u8(0),
            Some(top) => {
                out.u8(top.level + 1);
                out.raw(top.id.as_bytes());
                out.u64(top.count);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        match reader.u8()? {
            0 => Ok(Self(None)),
            levels if usize::from(levels) <= limits::TREE_LEVELS_MAX => Ok(Self(Some(Top {
                level: levels - 1,
                id: ChunkId::from_bytes(reader.array()?),
                count: reader.u64()?,
            }))),
            _ => Err(reader.damage("has a tree with too many levels")),
        }
    }
}

/// Figures of the run that made a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct SnapshotStats {
    /// Items in the snapshot.
    pub items: u64,
    /// Bytes of all streams in the snapshot.
    pub bytes: u64,
    /// Items that the previous snapshot did not have.
    pub added: u64,
    /// Items that differ from the previous snapshot.
    pub changed: u64,
    /// Items that only the previous snapshot had.
    pub removed: u64,
    /// Bytes of content read from the source.
    pub bytes_read: u64,
    /// Bytes written to the store up to the commit.
    pub bytes_stored: u64,
    /// Items that could not be read.
    pub problems: u64,
}

/// A problem as a snapshot remembers it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct RecordedProblem {
    /// Path or name of the item.
    pub place: String,
    /// The error's number ([`ErrorKind::code`](crate::ErrorKind::code)).
    pub code: u32,
    /// The error's line.
    pub message: String,
}

/// Most problems that a snapshot names one by one; their number is always exact.
pub(crate) const PROBLEMS_LISTED_MAX: usize = 1_000;

impl RecordedProblem {
    /// Takes place and line, cut to what the format holds.
    pub(crate) fn new(place: &str, error: &Error) -> Self {
        let cut = |text: &str| text[..text.floor_char_boundary(limits::PROBLEM_TEXT_BYTES_MAX)].to_owned();
        Self { place: cut(place), code: error.kind().code(), message: cut(&error.to_string()) }
    }
}

/// The stored record of one committed state.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) id: SnapshotId,
    pub(crate) session: SessionId,
    pub(crate) collection: Collection,
    pub(crate) parent: Option<SnapshotId>,
    pub(crate) created: Timestamp,
    pub(crate) state: SnapshotState,
    pub(crate) cursor: Option<Cursor>,
    pub(crate) items: Root,
    pub(crate) names: Root,
    pub(crate) stats: SnapshotStats,
    pub(crate) problems: Vec<RecordedProblem>,
    pub(crate) labels: Vec<(String, String)>,
}

impl Snapshot {
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let mut raw = Vec::with_capacity(1024);
        raw.raw(self.id.as_bytes());
        raw.raw(self.session.as_bytes());
        write_collection(&mut raw, &self.collection)?;
        raw.u8(u8::from(self.parent.is_some()));
        raw.raw(self.parent.map_or([0; 16], |parent| *parent.as_bytes()).as_slice());
        raw.time(self.created);
        raw.u8(self.state.number());
        let cursor = self.cursor.as_ref().map_or(&[][..], Cursor::as_bytes);
        if cursor.len() > limits::CURSOR_BYTES_MAX {
            return Err(Error::limit("the source's cursor is longer than 64 KiB"));
        }
        raw.bytes32(cursor);
        self.items.write(&mut raw);
        self.names.write(&mut raw);
        let s = &self.stats;
        for figure in
            [s.items, s.bytes, s.added, s.changed, s.removed, s.bytes_read, s.bytes_stored, s.problems]
        {
            raw.u64(figure);
        }
        let listed = self.problems.get(..PROBLEMS_LISTED_MAX).unwrap_or(&self.problems);
        raw.len32(listed.len());
        for problem in listed {
            raw.bytes16(problem.place.as_bytes());
            raw.u32(problem.code);
            raw.bytes16(problem.message.as_bytes());
        }
        raw.len16(self.labels.len());
        for (name, value) in &self.labels {
            if name.len() > limits::LABEL_BYTES_MAX || value.len() > limits::LABEL_BYTES_MAX {
                return Err(Error::limit("a label is longer than 1,024 bytes").with_item(name.clone()));
            }
            raw.bytes16(name.as_bytes());
            raw.bytes16(value.as_bytes());
        }
        Ok(raw)
    }

    pub(crate) fn decode(raw: &[u8]) -> Result<Self> {
        let mut r = Reader::new(raw, "snapshot");
        let id = SnapshotId::from_bytes(r.array()?);
        let session = SessionId::from_bytes(r.array()?);
        let collection = read_collection(&mut r)?;
        let has_parent = r.u8()?;
        let parent = SnapshotId::from_bytes(r.array()?);
        let parent = match has_parent {
            0 => None,
            1 => Some(parent),
            _ => return Err(r.damage("has a parent flag other than 0 and 1")),
        };
        let created = r.time()?;
        let state = SnapshotState::read(&mut r)?;
        let cursor =
            Some(Cursor::from(r.bytes32(limits::CURSOR_BYTES_MAX)?)).filter(|cursor| !cursor.is_empty());
        let (items, names) = (Root::read(&mut r)?, Root::read(&mut r)?);
        let stats = SnapshotStats {
            items: r.u64()?,
            bytes: r.u64()?,
            added: r.u64()?,
            changed: r.u64()?,
            removed: r.u64()?,
            bytes_read: r.u64()?,
            bytes_stored: r.u64()?,
            problems: r.u64()?,
        };
        let count = r.count32(8)?;
        let mut problems = Vec::with_capacity(count);
        for _ in 0..count {
            let place = r.text16(limits::PROBLEM_TEXT_BYTES_MAX)?.to_owned();
            problems.push(RecordedProblem {
                place,
                code: r.u32()?,
                message: r.text16(limits::PROBLEM_TEXT_BYTES_MAX)?.to_owned(),
            });
        }
        let mut labels = Vec::new();
        for _ in 0..r.u16()? {
            labels.push((
                r.text16(limits::LABEL_BYTES_MAX)?.to_owned(),
                r.text16(limits::LABEL_BYTES_MAX)?.to_owned(),
            ));
        }
        r.finish()?;
        Ok(Self {
            id,
            session,
            collection,
            parent,
            created,
            state,
            cursor,
            items,
            names,
            stats,
            problems,
            labels,
        })
    }
}

pub(crate) fn write_collection(out: &mut Vec<u8>, collection: &Collection) -> Result<()> {
    let (id, kind) = (collection.id.as_bytes(), collection.kind.as_bytes());
    if id.is_empty()
        || id.len() > limits::COLLECTION_ID_BYTES_MAX
        || kind.len() > limits::COLLECTION_KIND_BYTES_MAX
    {
        return Err(Error::invalid("collection id must have 1 to 1,024 bytes, its kind at most 64"));
    }
    out.bytes16(id);
    out.bytes16(kind);
    Ok(())
}

pub(crate) fn read_collection(reader: &mut Reader<'_>) -> Result<Collection> {
    let id = reader.text16(limits::COLLECTION_ID_BYTES_MAX)?.to_owned();
    if id.is_empty() {
        return Err(reader.damage("has a collection without an id"));
    }
    let kind = reader.text16(limits::COLLECTION_KIND_BYTES_MAX)?.to_owned();
    Ok(Collection::new(id, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Found by libFuzzer: a snapshot that was read could not be written again.
    #[test]
    fn a_collection_without_an_id_is_neither_written_nor_read() {
        let mut raw = Vec::new();
        assert!(write_collection(&mut raw, &Collection::new("", "kind")).is_err());
        raw.bytes16(b"");
        raw.bytes16(b"kind");
        assert!(read_collection(&mut Reader::new(&raw, "test")).is_err());
    }
}
