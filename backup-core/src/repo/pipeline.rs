//! From full frames to stored packs: compress and seal on workers, fill packs, upload. One future drives it all; nothing
//! is spawned, so dropping the future drops the work.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_channel::{mpsc, oneshot};
use futures_util::stream::{FuturesUnordered, StreamExt};
use futures_util::{FutureExt, future};

use super::Inner;
use super::pace::{Compression, Pace};
use super::session::Counters;
use crate::compress::Effort;
use crate::crypto::{Class, ObjectName, ObjectSealer, SessionKeys, object_hash};
use crate::error::{Error, Result};
use crate::format::pack::{ChunkSpan, FrameSpan, SealedFrame, close_pack, closed_len, seal_frame};
use crate::format::padme;
use crate::format::segment::{PackInfo, Segment};
use crate::id::{ChunkId, ObjectId};
use crate::time::Timestamp;

/// A pack is closed once it holds this many bytes, or a little earlier, where padding would add little.
const PACK_BYTES_MAX: usize = 12 << 20;
const PACK_BYTES_MIN: usize = 10 << 20;
/// One byte of padding for so many of the pack is little. Lengths are padded in steps of 1/32 to 1/64 (`docs/format.md` 5.2), so that closing
/// anywhere would cost 1 % on average.
const PADDING_SHARE: u64 = 512;
/// What a pack has room for at first. Its last frame may make it longer.
const PACK_ROOM_BYTES: usize = PACK_BYTES_MAX + (1 << 20);
/// Packs of one class that are filled at once, each frame going to one of them at random, so that the order of objects
/// says little about the order of files.
const OPEN_PACKS: usize = 2;
/// Packs on their way to the store at once while computing is what takes the time.
const UPLOADS_MIN: usize = 1;
/// The same while the store is what takes the time: they hold about 64 MiB, whatever the store's latency.
const UPLOADS_MAX: usize = (64 << 20) / PACK_BYTES_MAX;

/// Room for a pack that so many packs in a row did not need is given back to the system.
const PACKS_UNUSED_MAX: usize = 4;

/// The window closes by one after so many packs in a row that were not waited for. Uploads that began together end together, and only the
/// first of them finds everything waiting.
const PATIENCE: usize = 2 * UPLOADS_MAX;

/// How many packs may be on their way to the store. Starts low, for memory, and follows what is being waited for: a store that takes packs
/// faster than they are filled, as a local disk does, gets no more.
#[derive(Debug)]
struct Window {
    packs: usize,
    /// Packs stored since the store was last waited for.
    unawaited: usize,
}

impl Window {
    const fn new() -> Self {
        Self { packs: UPLOADS_MIN, unawaited: 0 }
    }

    /// A pack has been stored. `awaited`: until then nothing could go on.
    fn stored(&mut self, awaited: bool) {
        self.unawaited = if awaited { 0 } else { self.unawaited + 1 };
        if awaited {
            self.packs = (self.packs + 1).min(UPLOADS_MAX);
        } else if self.unawaited == PATIENCE {
            (self.packs, self.unawaited) = ((self.packs - 1).max(UPLOADS_MIN), 0);
        }
    }
}

/// Consecutive chunks of one class, to be compressed and sealed as one.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) class: Class,
    /// The chunks' bytes, in order, and their sum.
    pub(super) pieces: Vec<Bytes>,
    pub(super) len: usize,
    /// Id, offset and length of each chunk.
    pub(super) chunks: Vec<(ChunkId, u32, u32)>,
}

impl Frame {
    pub(super) const fn new(class: Class) -> Self {
        Self { class, pieces: Vec::new(), len: 0, chunks: Vec::new() }
    }

    /// Adds a chunk at the end.
    pub(super) fn push(&mut self, id: ChunkId, bytes: Bytes) -> Result<()> {
        let place = |len: usize| u32::try_from(len).map_err(|_| Error::bug("a frame exceeds 4 GiB"));
        self.chunks.push((id, place(self.len)?, place(bytes.len())?));
        self.len += bytes.len();
        self.pieces.push(bytes);
        Ok(())
    }
}

/// What a session sends down the pipeline.
#[derive(Debug)]
pub(super) enum Command {
    Frame(Frame),
    /// Nothing but trees will follow: packs of data go to the store as they are, and their room is given back.
    EndData,
    /// Store everything sent so far, then answer.
    Flush(oneshot::Sender<()>),
}

/// Packs that are stored and wait to be named by a segment. Outlives the pipeline, so that a run that fails later can
/// still commit what it has.
pub(super) type Stored = Arc<Mutex<Packs>>;

/// See [`Stored`].
pub(super) struct Packs {
    pub(super) segment: Segment,
    /// Until when each of them is locked at least.
    pub(super) locked: Option<Timestamp>,
}

impl Default for Packs {
    fn default() -> Self {
        Self { segment: Segment::default(), locked: Some(Timestamp::MAX) }
    }
}

struct OpenPack {
    sealer: Arc<ObjectSealer>,
    id: ObjectId,
    class: Class,
    bytes: Vec<u8>,
    frames: Vec<FrameSpan>,
    chunks: Vec<ChunkSpan>,
    next_part: u32,
    /// Frames that are being sealed for this pack.
    outstanding: usize,
    closing: bool,
}

impl OpenPack {
    /// Whether nothing more comes into it.
    const fn is_complete(&self) -> bool {
        self.closing && self.outstanding == 0
    }

    fn is_full(&self) -> bool {
        let len = self.bytes.len();
        let closed = closed_len(len, self.frames.len(), self.chunks.len());
        len >= PACK_BYTES_MAX || len >= PACK_BYTES_MIN && padme(closed) - closed <= closed / PADDING_SHARE
    }
}

/// A pack that has reached the store.
struct Uploaded {
    info: PackInfo,
    frames: Vec<FrameSpan>,
    chunks: Vec<ChunkSpan>,
    locked: Option<Timestamp>,
}

/// Room that was used, for what comes next: large blocks that come and go break an allocator's heap into pieces, and what comes back from
/// the system is filled with zeros first.
#[derive(Default)]
struct Rooms {
    /// Of packs that are stored.
    packs: Vec<Vec<u8>>,
    /// Packs stored since all of these were in use.
    since_used: usize,
    /// Of frames that are in their packs.
    frames: Vec<Vec<u8>>,
}

impl Rooms {
    fn take_pack(&mut self) -> Vec<u8> {
        let room = self.packs.pop().unwrap_or_default();
        if self.packs.is_empty() {
            self.since_used = 0;
        }
        room
    }

    /// Keeps it, unless there has been more than enough for a while.
    fn give_pack(&mut self, room: Vec<u8>) {
        self.since_used += 1;
        if self.since_used > PACKS_UNUSED_MAX {
            self.since_used = 0;
        } else {
            self.packs.push(room);
        }
    }
}

struct Sealed {
    pack: ObjectId,
    class: Class,
    part: u32,
    raw_len: usize,
    chunks: Vec<(ChunkId, u32, u32)>,
    frame: SealedFrame,
}

/// Runs until the sender is dropped; anything not flushed by then is given up.
pub(super) async fn run(
    inner: &Inner,
    keys: &SessionKeys,
    counters: &Counters,
    compression: Compression,
    stored: Stored,
    mut commands: mpsc::Receiver<Command>,
) -> Result<()> {
    let mut packs: Vec<OpenPack> = Vec::new();
    let mut rooms = Rooms::default();
    let mut sealing = FuturesUnordered::new();
    let mut uploads = FuturesUnordered::new();
    let mut flush: Option<oneshot::Sender<()>> = None;
    let mut data_ended = false;
    let sealing_max = inner.env.parallelism() + 1;
    let mut window = Window::new();
    let mut pace = Pace::new(compression);
    loop {
        if flush.is_some() && sealing.is_empty() {
            for pack in packs.drain(..) {
                uploads.push(upload(inner, pack));
            }
            if uploads.is_empty()
                && let Some(answer) = flush.take()
            {
                // The session may have been dropped meanwhile; then nobody waits.
                let _ = answer.send(());
            }
        }
        let free = flush.is_some() || uploads.len() < window.packs;
        let ready = flush.is_none() && sealing.len() < sealing_max && free;
        let next = if ready { commands.next().left_future() } else { future::pending().right_future() };
        futures_util::select_biased! {
            done = uploads.select_next_some() => {
                let (Uploaded { info, frames, chunks, locked }, room) = done?;
                counters.stored(info.len);
                window.stored(!free && sealing.is_empty());
                if let Some(room) = room.filter(|_| !data_ended) {
                    rooms.give_pack(room);
                }
                let mut stored = stored.lock().unwrap_or_else(PoisonError::into_inner);
                stored.segment.add(info, &frames, &chunks);
                stored.locked = stored.locked.min(locked);
            }
            sealed = sealing.select_next_some() => {
                let sealed: Sealed = sealed?;
                if sealed.class == Class::Data {
                    pace.ended(sealed.frame.is_compressed);
                }
                if let Some(lengths) = sealed.frame.tried {
                    pace.tried(lengths);
                }
                if let Some(pack) = place(&mut packs, &sealed) {
                    uploads.push(upload(inner, pack));
                }
                rooms.frames.push(sealed.frame.bytes);
            }
            command = next.fuse() => match command {
                Some(Command::Frame(frame)) => {
                    data_ended &= frame.class != Class::Data;
                    let effort = pace.next(frame.class);
                    sealing.push(dispatch(inner, keys, &mut packs, &mut rooms, frame, effort)?);
                }
                Some(Command::EndData) => {
                    data_ended = true;
                    rooms.packs.clear();
                    packs.iter_mut().for_each(|pack| pack.closing |= pack.class == Class::Data);
                    uploads.extend(packs.extract_if(.., |pack| pack.is_complete()).map(|pack| upload(inner, pack)));
                }
                Some(Command::Flush(answer)) => flush = Some(answer),
                None => return Ok(()),
            }
        }
    }
}

/// Chooses a pack for a frame and hands it to a worker.
fn dispatch(
    inner: &Inner,
    keys: &SessionKeys,
    packs: &mut Vec<OpenPack>,
    rooms: &mut Rooms,
    frame: Frame,
    effort: Effort,
) -> Result<impl Future<Output = Result<Sealed>> + Send + use<>> {
    let [choice] = inner.env.random::<1>()?;
    let mut open = packs.iter().enumerate().filter(|(_, pack)| pack.class == frame.class && !pack.closing);
    let at = match open.nth(usize::from(choice) % OPEN_PACKS).map(|(at, _)| at) {
        Some(at) => at,
        None => {
            let id = ObjectId::from_bytes(inner.env.random()?);
            let sealer = keys.begin(&inner.env, ObjectName::Pack(id), frame.class)?;
            // Trees seldom fill a pack.
            let mut bytes = Vec::new();
            if frame.class == Class::Data {
                bytes = rooms.take_pack();
                bytes.reserve(PACK_ROOM_BYTES);
            }
            bytes.extend_from_slice(&sealer.header().0);
            packs.push(OpenPack {
                sealer: Arc::new(sealer),
                id,
                class: frame.class,
                bytes,
                frames: Vec::new(),
                chunks: Vec::new(),
                next_part: 0,
                outstanding: 0,
                closing: false,
            });
            packs.len() - 1
        }
    };
    let Some(pack) = packs.get_mut(at) else { return Err(Error::bug("an open pack is gone")) };
    let (part, id, sealer) = (pack.next_part, pack.id, Arc::clone(&pack.sealer));
    pack.next_part += 1;
    pack.outstanding += 1;
    let room = rooms.frames.pop().unwrap_or_default();
    Ok(inner.env.run(move || {
        let Frame { class, pieces, len: raw_len, chunks } = frame;
        let frame = seal_frame(&sealer, part, &pieces, raw_len, effort, room)?;
        Ok(Sealed { pack: id, class, part, raw_len, chunks, frame })
    }))
}

/// Puts a sealed frame into its pack; gives the pack back once it is full and complete.
fn place(packs: &mut Vec<OpenPack>, sealed: &Sealed) -> Option<OpenPack> {
    let at = packs.iter().position(|pack| pack.id == sealed.pack)?;
    let pack = packs.get_mut(at)?;
    let frame = u32::try_from(pack.frames.len()).ok()?;
    pack.frames.push(FrameSpan {
        part: sealed.part,
        offset: pack.bytes.len() as u64,
        sealed_len: u32::try_from(sealed.frame.bytes.len()).ok()?,
        raw_len: u32::try_from(sealed.raw_len).ok()?,
    });
    pack.chunks.extend(sealed.chunks.iter().map(|(id, offset, len)| ChunkSpan {
        id: *id,
        frame,
        offset: *offset,
        len: *len,
    }));
    if pack.bytes.capacity() >= PACK_ROOM_BYTES {
        // Not by half as much again, as vectors grow: it is nearly full.
        pack.bytes.reserve_exact(sealed.frame.bytes.len());
    }
    pack.bytes.extend_from_slice(&sealed.frame.bytes);
    pack.outstanding -= 1;
    pack.closing |= pack.is_full();
    pack.is_complete().then(|| packs.swap_remove(at))
}

/// Closes a pack on a worker and stores it. The room it took comes back, unless the store still holds on to it.
async fn upload(inner: &Inner, mut pack: OpenPack) -> Result<(Uploaded, Option<Vec<u8>>)> {
    let (info, bytes, frames, chunks) = inner
        .env
        .run(move || {
            close_pack(&pack.sealer, &mut pack.bytes, &pack.frames, &pack.chunks)?;
            let info = PackInfo {
                id: pack.id,
                len: pack.bytes.len() as u64,
                hash: object_hash(&pack.bytes),
                header: *pack.sealer.header(),
            };
            Ok((info, Bytes::from(pack.bytes), pack.frames, pack.chunks))
        })
        .await?;
    let (_, locked) = inner.create(ObjectName::Pack(info.id), bytes.clone()).await?;
    let room = bytes.try_into_mut().ok().map(|room| {
        let mut room = Vec::from(room);
        room.clear();
        room
    });
    Ok((Uploaded { info, frames, chunks, locked }, room))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_that_is_not_needed_for_a_while_is_given_back() {
        let mut rooms = Rooms::default();
        // Two packs on their way at once, over and over: both rooms are kept.
        for _ in 0..100 {
            (0..2).for_each(|_| rooms.give_pack(Vec::new()));
            (0..2).for_each(|_| drop(rooms.take_pack()));
        }
        (0..2).for_each(|_| rooms.give_pack(Vec::new()));
        assert_eq!(rooms.packs.len(), 2);
        // One at a time from now on.
        for _ in 0..2 * PACKS_UNUSED_MAX {
            let room = rooms.take_pack();
            rooms.give_pack(room);
        }
        assert_eq!(rooms.packs.len(), 1);
    }

    #[test]
    fn the_window_opens_only_while_the_store_is_waited_for() {
        let mut window = Window::new();
        (0..100).for_each(|_| window.stored(false));
        assert_eq!(window.packs, UPLOADS_MIN);
        // Of those that end together, the first was waited for.
        for number in 0..100 {
            window.stored(number % UPLOADS_MAX == 0);
        }
        assert_eq!(window.packs, UPLOADS_MAX);
        const { assert!(UPLOADS_MAX * PACK_BYTES_MAX <= 64 << 20) };
        (0..100).for_each(|_| window.stored(false));
        assert_eq!(window.packs, UPLOADS_MIN);
    }
}
