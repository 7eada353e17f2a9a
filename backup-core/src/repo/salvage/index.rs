//! The index, from all segments that read and, where these do not reach, from the packs themselves.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};

use super::{READS, SalvageReport};
use crate::crypto::{HEADER_LEN, Header, ObjectName, OpenedObject};
use crate::dedup::{Index, Run};
use crate::error::{Error, ErrorKind, Result};
use crate::format::log::SegmentRef;
use crate::format::pack::{FOOTER_LEN, open_directory, open_footer};
use crate::format::segment::{PackInfo, Segment};
use crate::format::{open_object, pack};
use crate::id::ObjectId;
use crate::limits;
use crate::repo::Inner;
use crate::repo::log::State;
use crate::repo::stored::Listed;

/// What is read of a pack's end in one go: nearly always all of the directory.
const TAIL_BYTES: u64 = 64 << 10;
/// Runs of single packs that are made one.
const RUNS_MERGED: usize = 256;

/// An index in the making.
#[derive(Default)]
struct Growing {
    index: Index,
    /// Runs of single packs. One run for several segments would lose the copies of a chunk but one.
    single: Vec<Arc<Run>>,
    /// Packs that are in it, with their lengths, and whether the log wants them to be there.
    packs: HashMap<ObjectId, (u64, bool)>,
}

impl Growing {
    /// Adds a segment without what is there already.
    fn add(&mut self, id: ObjectId, segment: Segment, wanted: bool) -> Result<u64> {
        let mut segment = if segment.packs.iter().any(|pack| self.packs.contains_key(&pack.id)) {
            segment.without(|pack| self.packs.contains_key(pack))
        } else {
            segment
        };
        if segment.packs.is_empty() {
            return Ok(0);
        }
        segment.sort();
        let packs = segment.packs.iter().map(|pack| (pack.id, (pack.len, wanted)));
        self.packs.extend(packs);
        self.single.push(Arc::new(Run::of_segment(id, &segment)?));
        if self.single.len() >= RUNS_MERGED {
            self.merge()?;
        }
        Ok(segment.packs.len() as u64)
    }

    fn merge(&mut self) -> Result<()> {
        let runs = std::mem::take(&mut self.single);
        if !runs.is_empty() {
            self.index.add(Arc::new(Run::merge(&runs)?));
        }
        Ok(())
    }
}

impl Inner {
    pub(super) async fn salvage_index(&self, state: &mut State, report: &mut SalvageReport) -> Result<()> {
        let listed = self.list_stored("pack", ObjectName::Pack).await?;
        let mut growing = Growing::default();
        self.named_segments(&mut *state, &mut growing, report).await?;
        self.other_segments(state, &mut growing, report).await?;
        self.find_lost_packs(state, &listed, &growing, report).await?;
        self.read_directories(state, &listed, &mut growing, report).await?;
        growing.merge()?;
        self.settle(&mut growing.index).await?;
        report.chunks = growing.index.chunks();
        state.index = growing.index;
        Ok(())
    }

    /// The segments that the log names; those that do not read are no longer named.
    async fn named_segments(
        &self,
        state: &mut State,
        growing: &mut Growing,
        report: &mut SalvageReport,
    ) -> Result<()> {
        let read = |named: SegmentRef| -> BoxFuture<'_, (SegmentRef, Result<Segment>)> {
            Box::pin(async move { (named, self.read_segment(named).await) })
        };
        let mut reads =
            stream::iter(std::mem::take(&mut state.segments).into_iter().map(read)).buffered(READS);
        while let Some((named, read)) = reads.next().await {
            match read {
                Ok(segment) => {
                    report.segments += 1;
                    report.packs += growing.add(named.object.id, segment, true)?;
                    state.segments.push(named);
                }
                Err(error) => report.lost(ObjectName::Segment(named.object.id), error)?,
            }
        }
        Ok(())
    }

    /// Segments that no readable log entry names. What they say is true of the packs that they name, whether or not these count.
    async fn other_segments(
        &self,
        state: &State,
        growing: &mut Growing,
        report: &mut SalvageReport,
    ) -> Result<()> {
        let named: HashSet<ObjectId> = state.segments.iter().map(|named| named.object.id).collect();
        let found: HashSet<String> = report.findings.iter().map(|finding| finding.place.clone()).collect();
        let listed = self.list_stored("segment", ObjectName::Segment).await?;
        let mut others: Vec<ObjectId> = listed.keys().filter_map(id_of).collect();
        others.retain(|id| !named.contains(id) && !found.contains(&ObjectName::Segment(*id).to_string()));
        // Those that were taken out of use come last: others say the same of newer packs.
        others.sort_unstable_by_key(|id| (state.gone.contains(&ObjectName::Segment(*id)), *id));
        let read = |id: ObjectId| -> BoxFuture<'_, (ObjectId, Result<Segment>)> {
            Box::pin(async move { (id, self.read_unnamed_segment(id).await) })
        };
        let mut reads = stream::iter(others.into_iter().map(read)).buffered(READS);
        while let Some((id, read)) = reads.next().await {
            match read {
                Ok(segment) => {
                    report.segments += 1;
                    report.packs += growing.add(id, segment, !report.log_complete)?;
                }
                Err(error) => report.lost(ObjectName::Segment(id), error)?,
            }
        }
        Ok(())
    }

    async fn read_unnamed_segment(&self, id: ObjectId) -> Result<Segment> {
        self.again_if_damaged(|| self.read_unnamed_segment_once(id)).await
    }

    async fn read_unnamed_segment_once(&self, id: ObjectId) -> Result<Segment> {
        let name = ObjectName::Segment(id);
        let bytes = self.store.read(&name.key(), None).await?;
        let raw = open_object(self.id, &self.ring, name, &bytes)?;
        drop(bytes);
        let decode = move || Segment::decode(&raw).map_err(|error| error.with_item(name.to_string()));
        self.env.run(decode).await
    }

    /// Takes note of packs that the index names and the store has not, or not in full length.
    async fn find_lost_packs(
        &self,
        state: &State,
        listed: &HashMap<ObjectName, Listed>,
        growing: &Growing,
        report: &mut SalvageReport,
    ) -> Result<()> {
        let mut packs: Vec<_> =
            growing.packs.iter().map(|(id, (len, wanted))| (*id, *len, *wanted)).collect();
        packs.sort_unstable_by_key(|(id, ..)| *id);
        for (id, len, wanted) in packs {
            let name = ObjectName::Pack(id);
            let found = match listed.get(&name) {
                Some(listed) if listed.len == len => continue,
                // A listing is a hint.
                _ => self.store.size(&name.key()).await,
            };
            let is_missed = wanted && !state.gone.contains(&name);
            match found {
                Ok(found) if found == len => {}
                Ok(found) => {
                    let message = format!("a pack has {found} bytes instead of {len}");
                    report.lost(name, Error::corrupt(message))?;
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    if is_missed {
                        report.lost(name, Error::new(ErrorKind::Missing, "a pack is gone"))?;
                    }
                }
                Err(error) => report.lost(name, error)?,
            }
        }
        Ok(())
    }

    /// Adds the packs that no segment names.
    async fn read_directories(
        &self,
        state: &State,
        listed: &HashMap<ObjectName, Listed>,
        growing: &mut Growing,
        report: &mut SalvageReport,
    ) -> Result<()> {
        let mut packs: Vec<(ObjectId, u64)> =
            listed.iter().filter_map(|(name, listed)| Some((id_of(name)?, listed.len))).collect();
        packs.retain(|(id, _)| !growing.packs.contains_key(id));
        packs.sort_unstable();
        let read = |(id, len): (ObjectId, u64)| -> BoxFuture<'_, (ObjectId, Result<Segment>)> {
            Box::pin(async move { (id, self.read_pack_directory(id, len).await) })
        };
        let mut reads = stream::iter(packs.into_iter().map(read)).buffered(READS);
        while let Some((id, read)) = reads.next().await {
            match read {
                Ok(segment) => report.packs_rebuilt += growing.add(id, segment, true)?,
                // It was to be deleted, or it is the torn rest of a run: nothing that the log wants.
                Err(error)
                    if error.kind() == ErrorKind::Corrupt && state.gone.contains(&ObjectName::Pack(id)) => {}
                Err(error) => report.lost(ObjectName::Pack(id), error)?,
            }
        }
        Ok(())
    }

    /// What a pack's own directory says, as the segment of this pack alone. Two or three ranged reads.
    async fn read_pack_directory(&self, id: ObjectId, len: u64) -> Result<Segment> {
        match self.read_pack_directory_once(id, len).await {
            // Perhaps only the download was bad, or the listing.
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                let len = self.store.size(&ObjectName::Pack(id).key()).await?;
                self.read_pack_directory_once(id, len).await
            }
            read => read,
        }
    }

    async fn read_pack_directory_once(&self, id: ObjectId, len: u64) -> Result<Segment> {
        let name = ObjectName::Pack(id);
        let bounds = (HEADER_LEN + FOOTER_LEN) as u64..=limits::PACK_BYTES_MAX;
        if !bounds.contains(&len) {
            return Err(Error::corrupt("pack has a length out of bounds").with_item(name.to_string()));
        }
        let head = self.read_pack(name, 0..HEADER_LEN as u64).await?;
        let (opened, _) = OpenedObject::open(self.id, &self.ring, name, &head)?;
        let from = len.saturating_sub(TAIL_BYTES).max(HEADER_LEN as u64);
        let tail = self.read_pack(name, from..len).await?;
        let footer = tail.get(tail.len().saturating_sub(FOOTER_LEN)..).unwrap_or_default();
        let place = open_footer(&opened, len, footer)?;
        let directory = match place.start.checked_sub(from).and_then(|start| usize::try_from(start).ok()) {
            Some(start) => {
                let sealed = tail.get(start..tail.len().saturating_sub(FOOTER_LEN)).unwrap_or_default();
                open_directory(&opened, place.start, sealed)?
            }
            None => {
                let sealed = self.read_pack(name, place.clone()).await?;
                open_directory(&opened, place.start, &sealed)?
            }
        };
        let header: [u8; HEADER_LEN] =
            head.as_ref().try_into().map_err(|_| Error::bug("a header has another length"))?;
        let info = PackInfo { id, len, hash: PackInfo::HASH_UNKNOWN, header: Header(header) };
        let pack::Directory { frames, chunks } = directory;
        let mut segment = Segment::default();
        segment.add(info, &frames, &chunks);
        Ok(segment)
    }
}

fn id_of(name: &ObjectName) -> Option<ObjectId> {
    match name {
        ObjectName::Pack(id) | ObjectName::Segment(id) => Some(*id),
        _ => None,
    }
}
