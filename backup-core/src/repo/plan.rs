//! Short items grouped by the frames that hold their content: a frame is read once, opened by one worker, and put by it wherever it is wanted.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_channel::oneshot;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::Inner;
use super::frames::{Frame, FrameKey, joined};
use crate::crypto::Class;
use crate::error::Result;
use crate::format::record::ContentRef;
use crate::id::ChunkId;
use crate::sink::{BlockingPut, Placement};

/// Items that are planned at once, and of these, how many wait before the first frame is read: what follows in the order of names wants much
/// the same frames. An item takes about a kilobyte.
const ITEMS_MAX: usize = 4_096;
const ITEMS_AHEAD: usize = 2_048;
/// Bytes of the items with content in several frames, at most: their parts are kept until the last one is there.
const SCATTERED_BYTES_MAX: u64 = 16 << 20;
/// Bytes that are being read, or have been read and are not put yet, while workers are what takes the time; and at most, while the store is.
const READING_BYTES_MIN: u64 = 8 << 20;
const READING_BYTES_MAX: u64 = 12 << 20;
/// Frames that wait for a worker or are being put, for each of them and one more.
const JOBS_OF_WORKER: usize = 2;
/// By so much the window opens and closes.
const READING_BYTES_STEP: u64 = 1 << 20;
/// Reads at once. It is their bytes that take memory; what many small revisions have left lies in many packs, a little in each.
const READS_MAX: usize = 32;
/// The window closes by a step after so many reads in a row that were not waited for.
const PATIENCE: usize = 32;
/// A frame is read beside its neighbour once so many items have been planned that did not want it.
const SETTLED_ITEMS: u64 = 512;
/// Items without content that go to a worker together.
const BARE_ITEMS: usize = 32;

/// How much may be read at once. Starts low, for memory, and follows what is being waited for.
#[derive(Debug)]
struct Window {
    bytes: u64,
    /// Reads that ended since the store was last waited for.
    unawaited: usize,
}

impl Window {
    const fn new() -> Self {
        Self { bytes: READING_BYTES_MIN, unawaited: 0 }
    }

    /// A read has ended. `awaited`: until then no worker had anything to do.
    fn ended(&mut self, awaited: bool) {
        self.unawaited = if awaited { 0 } else { self.unawaited + 1 };
        if awaited {
            self.bytes = (self.bytes + READING_BYTES_STEP).min(READING_BYTES_MAX);
        } else if self.unawaited == PATIENCE {
            (self.bytes, self.unawaited) = ((self.bytes - READING_BYTES_STEP).max(READING_BYTES_MIN), 0);
        }
    }
}

/// What became of a planned item. None: its content could not be had this way, and it has not been put.
pub(super) struct Done {
    pub(super) number: usize,
    pub(super) outcome: Option<Result<Placement>>,
}

/// What is to be read for items that wait, and what is under way.
pub(super) struct Plan {
    inner: Arc<Inner>,
    /// Frames that nobody has asked for yet.
    frames: BTreeMap<FrameKey, Wanted>,
    /// The same, as they were first wanted; and some that are no longer there.
    queue: VecDeque<FrameKey>,
    /// Items without content.
    bare: Vec<Share>,
    /// Shares in `frames` and `bare`.
    waiting: usize,
    /// Items that are planned and not done.
    items: usize,
    /// Items that were ever planned.
    planned: u64,
    scattered_bytes: u64,
    /// What has been read and waits for a worker.
    ready: VecDeque<Ready>,
    work: FuturesUnordered<BoxFuture<'static, Step>>,
    /// Jobs that workers have, each of which puts one item at a time.
    jobs: usize,
    /// Jobs that they may have: what the walk waits for must not wait behind many.
    jobs_max: usize,
    reads: usize,
    reading_bytes: u64,
    window: Window,
}

/// A frame and who wants what of it.
struct Wanted {
    frame: Frame,
    shares: Vec<Share>,
    /// [`Plan::planned`] when it was last wanted.
    wanted: u64,
}

impl Wanted {
    /// The frame with its part of what was read from `start` on.
    fn ready(self, read: &Result<Bytes>, start: u64) -> Ready {
        let Self { frame, shares, .. } = self;
        let (read, sealed_len) = (read.as_ref().ok().cloned(), frame.span.sealed_len);
        let open = move || frame.open(&read?, start).ok();
        Ready { shares, sealed_len, open: Box::new(open) }
    }
}

/// Shares for a worker, with what gives it the frame that they are of.
struct Ready {
    shares: Vec<Share>,
    sealed_len: u32,
    open: Box<dyn FnOnce() -> Option<Bytes> + Send>,
}

/// What one item wants of one frame.
struct Share {
    number: usize,
    want: Want,
}

enum Want {
    /// These chunks are all of the content.
    All(BlockingPut, Vec<Piece>),
    /// These chunks are a part of it, each with its number.
    Part(Arc<Scattered>, Vec<(usize, Piece)>),
}

#[derive(Clone, Copy)]
struct Piece {
    id: ChunkId,
    offset: u32,
    len: u32,
}

/// An item whose content lies in several frames.
struct Scattered {
    len: u64,
    gathered: Mutex<Gathered>,
}

struct Gathered {
    /// Taken by whoever brings the last part, or finds that one cannot be had.
    put: Option<BlockingPut>,
    pieces: Vec<Bytes>,
    missing: usize,
}

/// Something that went on.
enum Step {
    Read { frames: Vec<Wanted>, start: u64, read: Result<Bytes> },
    Put(Outcome),
}

impl Plan {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        let jobs_max = JOBS_OF_WORKER * (inner.env.parallelism() + 1);
        Self {
            inner,
            frames: BTreeMap::new(),
            queue: VecDeque::new(),
            bare: Vec::new(),
            waiting: 0,
            items: 0,
            planned: 0,
            scattered_bytes: 0,
            ready: VecDeque::new(),
            work: FuturesUnordered::new(),
            jobs: 0,
            jobs_max,
            reads: 0,
            reading_bytes: 0,
            window: Window::new(),
        }
    }

    /// Whether an item would have to wait until others are done.
    pub(super) fn is_full(&self) -> bool {
        self.items >= ITEMS_MAX || self.scattered_bytes >= SCATTERED_BYTES_MAX
    }

    /// Whether every item is done.
    pub(super) const fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// How many items may be being put at this moment.
    pub(super) const fn putting(&self) -> usize {
        self.jobs
    }

    /// Plans an item whose content is these chunks. False, and nothing is planned, if the index does not know all of them as they should be.
    pub(super) fn add(&mut self, number: usize, put: BlockingPut, content: &ContentRef) -> bool {
        let state = self.inner.state();
        let mut wanted: Vec<(FrameKey, Piece)> = Vec::with_capacity(content.refs.len());
        for chunk in &content.refs {
            let place = state.index.locate(&chunk.id).next();
            let Some(place) = place.filter(|place| u64::from(place.len) == chunk.len) else { return false };
            let key = (place.pack.id, place.frame.part);
            if !self.frames.contains_key(&key) {
                let Ok(frame) = Frame::at(&self.inner, Class::Data, &place) else { return false };
                self.frames.insert(key, Wanted { frame, shares: Vec::new(), wanted: self.planned });
                self.queue.push_back(key);
            }
            wanted.push((key, Piece { id: chunk.id, offset: place.offset, len: place.len }));
        }
        self.planned += 1;
        self.items += 1;
        let Some((first, _)) = wanted.first().copied() else {
            self.waiting += 1;
            self.bare.push(Share { number, want: Want::All(put, Vec::new()) });
            return true;
        };
        if wanted.iter().all(|(key, _)| *key == first) {
            let pieces = wanted.into_iter().map(|(_, piece)| piece).collect();
            self.want(first, Share { number, want: Want::All(put, pieces) });
            return true;
        }
        self.scattered_bytes += content.len;
        let gathered =
            Gathered { put: Some(put), pieces: vec![Bytes::new(); wanted.len()], missing: wanted.len() };
        let item = Arc::new(Scattered { len: content.len, gathered: Mutex::new(gathered) });
        let mut parts: BTreeMap<FrameKey, Vec<(usize, Piece)>> = BTreeMap::new();
        for (at, (key, piece)) in wanted.into_iter().enumerate() {
            parts.entry(key).or_default().push((at, piece));
        }
        for (key, pieces) in parts {
            self.want(key, Share { number, want: Want::Part(Arc::clone(&item), pieces) });
        }
        true
    }

    fn want(&mut self, key: FrameKey, share: Share) {
        if let Some(frame) = self.frames.get_mut(&key) {
            frame.wanted = self.planned;
            frame.shares.push(share);
            self.waiting += 1;
        }
    }

    /// Begins to read what is due: what was wanted first, as long as enough is planned beyond it; with `all`, whatever there is.
    /// Reading goes on only while [`poll`](Self::poll) is called.
    pub(super) fn pump(&mut self, all: bool) {
        if self.bare.len() >= BARE_ITEMS || all && !self.bare.is_empty() {
            let shares = std::mem::take(&mut self.bare);
            self.waiting -= shares.len();
            self.ready.push_back(Ready { shares, sealed_len: 0, open: Box::new(|| Some(Bytes::new())) });
        }
        while self.reads < READS_MAX
            && self.reading_bytes < self.window.bytes
            && (all || self.waiting >= ITEMS_AHEAD)
            && let Some(key) = self.queue.pop_front()
        {
            // Some have been read beside others, and a content that could not be planned may have left one that nobody wants.
            if let Some(frame) = self.frames.remove(&key).filter(|frame| !frame.shares.is_empty()) {
                self.read(key, frame, all);
            }
        }
    }

    /// As [`pump`](Self::pump), for whoever is about to wait: begins something if nothing is under way.
    pub(super) fn press(&mut self, all: bool) {
        self.pump(all);
        if self.work.is_empty() && self.ready.is_empty() {
            self.pump(true);
        }
    }

    /// Begins to read a frame, and those that lie beside it in its pack.
    fn read(&mut self, (pack, part): FrameKey, first: Wanted, all: bool) {
        let mut range = first.frame.span.offset..first.frame.span.end();
        let mut frames = vec![first];
        loop {
            let is_due = |frame: &Wanted| all || frame.wanted + SETTLED_ITEMS <= self.planned;
            let behind = self.frames.range((pack, part)..=(pack, u32::MAX)).next();
            let before = self.frames.range((pack, 0)..(pack, part)).next_back();
            let mut neighbours = behind.into_iter().chain(before);
            let next = neighbours.find_map(|(key, frame)| {
                let longer = joined(&range, &frame.frame.span)?;
                (is_due(frame) && !frame.shares.is_empty()).then_some((*key, longer))
            });
            let Some((key, longer)) = next else { break };
            frames.extend(self.frames.remove(&key));
            range = longer;
        }
        self.waiting -= frames.iter().map(|frame| frame.shares.len()).sum::<usize>();
        self.reading_bytes += frames.iter().map(|frame| u64::from(frame.frame.span.sealed_len)).sum::<u64>();
        self.reads += 1;
        let inner = Arc::clone(&self.inner);
        let work = async move {
            let name = frames.first().map(|frame| frame.frame.pack.name());
            let read = match name {
                Some(name) => inner.read_pack(name, range.clone()).await,
                None => Ok(Bytes::new()),
            };
            Step::Read { frames, start: range.start, read }
        };
        self.work.push(work.boxed());
    }

    /// Drives on what was begun, with so many items being put at once. Items that are done; pending while there are none, or nothing was
    /// begun.
    pub(super) fn poll(&mut self, room: usize, context: &mut Context<'_>) -> Poll<Vec<Done>> {
        loop {
            while self.jobs < room.min(self.jobs_max)
                && let Some(ready) = self.ready.pop_front()
            {
                self.jobs += 1;
                self.work.push(put(&self.inner, ready));
            }
            match self.work.poll_next_unpin(context) {
                Poll::Ready(Some(Step::Read { frames, start, read })) => {
                    self.reads -= 1;
                    self.window.ended(self.is_idle());
                    self.ready.extend(frames.into_iter().map(|frame| frame.ready(&read, start)));
                    self.pump(false);
                }
                Poll::Ready(Some(Step::Put(Outcome { done, scattered_bytes, sealed_len }))) => {
                    self.jobs -= 1;
                    self.items -= done.len();
                    self.scattered_bytes -= scattered_bytes;
                    self.reading_bytes -= u64::from(sealed_len);
                    self.pump(false);
                    if !done.is_empty() {
                        return Poll::Ready(done);
                    }
                }
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Whether no worker has anything to do.
    fn is_idle(&self) -> bool {
        self.jobs == 0 && self.ready.is_empty()
    }
}

/// Puts shares on a worker, once it has opened the frame that they are of.
fn put(inner: &Arc<Inner>, Ready { shares, sealed_len, open }: Ready) -> BoxFuture<'static, Step> {
    let (sender, receiver) = oneshot::channel();
    let outcome = Outcome { done: Vec::with_capacity(shares.len()), scattered_bytes: 0, sealed_len };
    let job = Job { inner: Arc::clone(inner), shares: shares.into_iter(), outcome, sender: Some(sender) };
    inner.env.spawn(move || job.run(open));
    // A job always answers.
    receiver.map(|outcome| Step::Put(outcome.unwrap_or_default())).boxed()
}

/// The shares of a frame on their way through a worker. What was not come to when it is dropped is done in vain: nothing is lost if a worker
/// panics or drops its job.
struct Job {
    inner: Arc<Inner>,
    shares: std::vec::IntoIter<Share>,
    outcome: Outcome,
    sender: Option<oneshot::Sender<Outcome>>,
}

#[derive(Default)]
struct Outcome {
    done: Vec<Done>,
    scattered_bytes: u64,
    sealed_len: u32,
}

impl Job {
    fn run(mut self, open: impl FnOnce() -> Option<Bytes>) {
        if self.is_wanted() {
            let frame = open();
            while self.is_wanted()
                && let Some(share) = self.shares.next()
            {
                self.put(share, frame.as_ref());
            }
        }
    }

    /// Whether anybody waits for it.
    fn is_wanted(&self) -> bool {
        self.sender.as_ref().is_some_and(|sender| !sender.is_canceled())
    }

    fn put(&mut self, Share { number, want }: Share, frame: Option<&Bytes>) {
        match want {
            Want::All(put, pieces) => {
                let content = frame.and_then(|frame| {
                    pieces.iter().map(|piece| piece.proven(&self.inner, frame)).collect::<Option<Vec<_>>>()
                });
                self.end(number, content.map(|content| (put, content)));
            }
            Want::Part(item, pieces) => {
                let found = frame.and_then(|frame| {
                    // Copied, so that a part does not keep the whole frame in memory.
                    let copy = |bytes: Bytes| Bytes::copy_from_slice(&bytes);
                    let found = pieces
                        .iter()
                        .map(|(at, piece)| piece.proven(&self.inner, frame).map(|bytes| (*at, copy(bytes))));
                    found.collect::<Option<Vec<_>>>()
                });
                if let Some(content) = item.bring(found) {
                    self.outcome.scattered_bytes += item.len;
                    self.end(number, content);
                }
            }
        }
    }

    /// Puts what is complete, and takes note of it; a content that cannot be had is noted as well.
    fn end(&mut self, number: usize, complete: Option<(BlockingPut, Vec<Bytes>)>) {
        // Noted before it is known, for the case of a panic.
        self.outcome.done.push(Done { number, outcome: None });
        let outcome = complete.map(|(put, content)| put.put(&content));
        if let Some(done) = self.outcome.done.last_mut() {
            done.outcome = outcome;
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        while let Some(share) = self.shares.next() {
            self.put(share, None);
        }
        if let Some(sender) = self.sender.take() {
            let _ = sender.send(std::mem::take(&mut self.outcome));
        }
    }
}

impl Piece {
    /// Its bytes, if they are what their id says.
    fn proven(&self, inner: &Inner, frame: &Bytes) -> Option<Bytes> {
        let start = self.offset as usize;
        let end = start.checked_add(self.len as usize).filter(|end| *end <= frame.len())?;
        let bytes = frame.slice(start..end);
        inner.is_chunk(Class::Data, self.id, &bytes).unwrap_or(false).then_some(bytes)
    }
}

impl Scattered {
    /// Brings some of the pieces, or says that they cannot be had. What is to be done then, if it is for the caller to do: to put the whole
    /// content, or to give up.
    #[expect(clippy::option_option, reason = "nothing to do, nothing to be had, or all of it")]
    fn bring(&self, found: Option<Vec<(usize, Bytes)>>) -> Option<Option<(BlockingPut, Vec<Bytes>)>> {
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(found) = found else { return gathered.put.take().map(|_| None) };
        for (at, bytes) in found {
            if let Some(piece) = gathered.pieces.get_mut(at) {
                *piece = bytes;
                gathered.missing -= 1;
            }
        }
        if gathered.missing > 0 {
            return None;
        }
        let put = gathered.put.take()?;
        Some(Some((put, std::mem::take(&mut gathered.pieces))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_opens_only_while_the_store_is_waited_for() {
        let mut window = Window::new();
        (0..100).for_each(|_| window.ended(false));
        assert_eq!(window.bytes, READING_BYTES_MIN);
        (0..100).for_each(|number| window.ended(number % 10 == 0));
        assert_eq!(window.bytes, READING_BYTES_MAX);
        (0..1_000).for_each(|_| window.ended(false));
        assert_eq!(window.bytes, READING_BYTES_MIN);
    }
}
