//! An index of any size without the data: for measuring it (feature `testkit`).

use std::ops::Range;
use std::sync::Arc;

use super::session::Session;
use super::{Compression, Repository};
use crate::crypto::{Class, HEADER_LEN, Header, ObjectName};
use crate::error::Result;
use crate::format::pack::{ChunkSpan, FrameSpan};
use crate::format::segment::{PackInfo, Segment};
use crate::id::{ChunkId, ObjectHash, ObjectId};
use crate::limits;

/// As chunks of 64 KiB lie in frames of 1 MiB, and frames that halve in packs of 12 MiB.
const CHUNKS_OF_FRAME: u32 = 16;
const FRAMES_OF_PACK: u32 = 24;
const FRAME_BYTES: u32 = 512 << 10;

/// The id of an imaginary chunk.
pub(crate) fn id(number: u64) -> ChunkId {
    ChunkId::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

impl Repository {
    /// Commits segments that name chunks which are not stored, those with these numbers.
    pub(crate) async fn add_imaginary(&self, numbers: Range<u64>) -> Result<()> {
        let per_commit = limits::SEGMENT_ENTRIES_MAX as u64;
        let mut next = numbers.start;
        while next < numbers.end {
            let end = numbers.end.min(next + per_commit);
            let session = Session::begin(Arc::clone(&self.inner), Compression::default())?;
            // Only what is sealed tells one pack's header from another's.
            let name = ObjectName::Pack(ObjectId::from_bytes([0; ObjectId::LEN]));
            let header = *session.keys.begin(&self.inner.env, name, Class::Data)?.header();
            session.add_stored(segment(next..end, header));
            session.commit_stored(None).await?;
            next = end;
        }
        Ok(())
    }

    /// How many of these chunks the index knows.
    pub(crate) fn known_chunks(&self, ids: &[ChunkId]) -> usize {
        let state = self.inner.state();
        ids.iter().filter(|id| state.index.contains(id)).count()
    }
}

fn segment(numbers: Range<u64>, header: Header) -> Segment {
    let mut segment = Segment::default();
    let mut next = numbers.start;
    while next < numbers.end {
        let frame = |part: u32| FrameSpan {
            part,
            offset: HEADER_LEN as u64 + u64::from(part) * u64::from(FRAME_BYTES),
            sealed_len: FRAME_BYTES,
            raw_len: 1 << 20,
        };
        let frames: Vec<_> = (0..FRAMES_OF_PACK).map(frame).collect();
        let of_pack = (0..FRAMES_OF_PACK * CHUNKS_OF_FRAME).zip(next..numbers.end);
        let chunks: Vec<_> = of_pack
            .map(|(place, number)| ChunkSpan {
                id: id(number),
                frame: place / CHUNKS_OF_FRAME,
                offset: (place % CHUNKS_OF_FRAME) << 16,
                len: 1 << 16,
            })
            .collect();
        let mut pack = [0; ObjectId::LEN];
        pack.iter_mut().zip(next.to_be_bytes()).for_each(|(to, from)| *to = from);
        let info = PackInfo {
            id: ObjectId::from_bytes(pack),
            len: 16 << 20,
            hash: ObjectHash::from_bytes([0; 32]),
            header,
        };
        next += chunks.len() as u64;
        segment.add(info, &frames, &chunks);
    }
    segment
}
