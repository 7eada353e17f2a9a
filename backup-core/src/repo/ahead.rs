//! Reading a long stream ahead: what comes next is read by frames, some of them in one go, and opened and proven on workers, while the
//! caller has what came before. [`Ahead::next`] gives the bytes in order.

use std::collections::{HashSet, VecDeque};
use std::future::poll_fn;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, StreamExt};
use futures_util::{FutureExt, TryStreamExt};

use super::Inner;
use super::chunks::Opening;
use super::frames::{Frame, FrameKey, joined};
use crate::crypto::Class;
use crate::error::{Error, Result};
use crate::format::record::ChunkRef;

/// What a stream reads ahead at first, in bytes of plaintext, and at most once it had to be waited for.
const AHEAD_BYTES_MIN: u64 = 4 << 20;
const AHEAD_BYTES_MAX: u64 = 24 << 20;
/// What all streams of a repository read ahead together. Each of them may read a little all the same: none waits for another one.
const ALL_BYTES_MAX: u64 = 32 << 20;
const LONE_BYTES: u64 = 2 << 20;
/// Chunks of one frame that are proven together. A run of zeros is one chunk over and over.
const PIECES_MAX: usize = 1_024;

/// A chunk, and the part of it that is wanted.
pub(super) type Piece = (ChunkRef, Range<u64>);

/// A stream's bytes, read ahead.
pub(super) struct Ahead {
    inner: Arc<Inner>,
    pieces: BoxStream<'static, Result<Piece>>,
    /// The first piece that is not under way.
    next: Option<Piece>,
    /// Nothing comes after what is under way, but for this.
    end: Option<Result<()>>,
    /// Frames on their way, in the order of the stream.
    under_way: FuturesOrdered<BoxFuture<'static, Cut>>,
    /// Those that have come while something else was waited for.
    come: VecDeque<Cut>,
    /// What is to be given next.
    ready: VecDeque<Ready>,
    budget: Budget,
    /// What may be under way.
    window: u64,
}

/// Consecutive pieces of one frame, and their bytes, unless these cannot be had in this way.
struct Cut {
    pieces: Vec<Piece>,
    found: Option<Vec<Bytes>>,
    cost: u64,
}

/// The same before they are read. The frame is none where the index does not know the chunk as it should be.
struct Planned {
    frame: Option<(FrameKey, Frame)>,
    pieces: Vec<Piece>,
    /// Where each chunk begins in the frame.
    offsets: Vec<u32>,
}

impl Planned {
    fn cost(&self) -> u64 {
        self.frame.as_ref().map_or(0, |(_, frame)| cost_of(frame))
    }

    /// Whether the pieces are all of the frame.
    fn is_whole(&self, frame: &Frame) -> bool {
        let mut end = Some(0);
        for ((chunk, _), offset) in self.pieces.iter().zip(&self.offsets) {
            end = end.filter(|end| *end == u64::from(*offset)).map(|end| end + chunk.len);
        }
        end == Some(frame.span.raw_len.into())
    }

    /// The wanted parts of the chunks, if all of these are what their ids say. CPU-heavy.
    fn prove(&self, inner: &Inner, frame: &Bytes) -> Option<Vec<Bytes>> {
        let mut proven = HashSet::new();
        let pieces = self.pieces.iter().zip(&self.offsets);
        let found = pieces.map(|((chunk, part), offset)| {
            let start = *offset as usize;
            let end =
                start.checked_add(usize::try_from(chunk.len).ok()?).filter(|end| *end <= frame.len())?;
            let bytes = frame.slice(start..end);
            if proven.insert((chunk.id, *offset)) && !inner.is_chunk(Class::Data, chunk.id, &bytes).ok()? {
                return None;
            }
            Some(bytes.slice(usize::try_from(part.start).ok()?..usize::try_from(part.end).ok()?))
        });
        found.collect()
    }
}

enum Ready {
    Bytes(Bytes),
    /// To be had the long way, which looks for other copies and says what is wrong.
    Piece(Piece),
}

/// What a stream has under way, of what all may have.
struct Budget {
    inner: Arc<Inner>,
    mine: u64,
}

impl Budget {
    fn all(&self) -> &AtomicU64 {
        &self.inner.caches.ahead_bytes
    }

    fn take(&mut self, bytes: u64) {
        self.mine += bytes;
        self.all().fetch_add(bytes, Ordering::Relaxed);
    }

    fn give_back(&mut self, bytes: u64) {
        self.mine -= bytes;
        self.all().fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What this stream may have under way, if it would have `window` otherwise.
    fn limit(&self, window: u64) -> u64 {
        let others = self.all().load(Ordering::Relaxed).saturating_sub(self.mine);
        window.min(ALL_BYTES_MAX.saturating_sub(others)).max(LONE_BYTES)
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.give_back(self.mine);
    }
}

impl Ahead {
    pub(super) fn new(inner: Arc<Inner>, pieces: BoxStream<'static, Result<Piece>>) -> Self {
        Self {
            pieces,
            next: None,
            end: None,
            under_way: FuturesOrdered::new(),
            come: VecDeque::new(),
            ready: VecDeque::new(),
            budget: Budget { inner: Arc::clone(&inner), mine: 0 },
            window: AHEAD_BYTES_MIN,
            inner,
        }
    }

    /// The bytes of the next chunk; none at the end of the stream.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.ready.pop_front() {
                Some(Ready::Bytes(bytes)) => return Ok(Some(bytes)),
                Some(Ready::Piece((chunk, part))) => {
                    let inner = Arc::clone(&self.inner);
                    return self.alongside(fetch(&inner, chunk, part)).await.map(Some);
                }
                None => {}
            }
            self.fill().await;
            let Some(cut) = self.wait().await else {
                return match self.end.take() {
                    Some(Err(error)) => {
                        self.end = Some(Ok(()));
                        Err(error)
                    }
                    end => {
                        self.end = end;
                        Ok(None)
                    }
                };
            };
            self.budget.give_back(cut.cost);
            match cut.found {
                Some(found) => self.ready.extend(found.into_iter().map(Ready::Bytes)),
                None => self.ready.extend(cut.pieces.into_iter().map(Ready::Piece)),
            }
        }
    }

    /// The next frame's worth. If it has to be waited for, more may be under way from now on.
    async fn wait(&mut self) -> Option<Cut> {
        let (mut awaited, mut found) = (false, None);
        poll_fn(|context| {
            self.poll(context);
            found = self.come.pop_front();
            let done = found.is_some() || self.under_way.is_empty();
            awaited |= !done;
            if done { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        if awaited {
            self.window = (2 * self.window).min(AHEAD_BYTES_MAX);
        }
        found
    }

    /// Begins to read what comes next, once half of what may be under way has come: the more begins at once, the more is read together.
    async fn fill(&mut self) {
        let limit = self.budget.limit(self.window);
        if self.budget.mine > limit / 2 {
            return;
        }
        let mut planned: Vec<Planned> = Vec::new();
        let mut bytes = self.budget.mine;
        while let Some((chunk, part)) = self.piece().await {
            let state = self.inner.state();
            let place =
                state.index.locate(&chunk.id).next().filter(|place| u64::from(place.len) == chunk.len);
            let key = place.map(|place| (place.pack.id, place.frame.part));
            let offset = place.map_or(0, |place| place.offset);
            if let Some(last) = planned.last_mut()
                && last.frame.as_ref().map(|(key, _)| *key) == key
                && last.pieces.len() < PIECES_MAX
            {
                last.pieces.push((chunk, part));
                last.offsets.push(offset);
                continue;
            }
            let frame = place.and_then(|place| Frame::at(&self.inner, Class::Data, &place).ok());
            let one = Planned { frame: key.zip(frame), pieces: vec![(chunk, part)], offsets: vec![offset] };
            if bytes > 0 && bytes + one.cost() > limit || planned.len() >= PIECES_MAX {
                self.next = one.pieces.into_iter().next();
                break;
            }
            bytes += one.cost();
            planned.push(one);
        }
        self.begin(planned);
    }

    /// The next piece that is not under way; none if there is none, or it cannot be known.
    async fn piece(&mut self) -> Option<Piece> {
        if let Some(piece) = self.next.take() {
            return Some(piece);
        }
        if self.end.is_some() {
            return None;
        }
        let next = poll_fn(|context| {
            let next = self.pieces.try_poll_next_unpin(context);
            if next.is_pending() {
                self.poll(context);
            }
            next
        })
        .await;
        match next {
            Some(Ok(piece)) => return Some(piece),
            Some(Err(error)) => self.end = Some(Err(error)),
            None => self.end = Some(Ok(())),
        }
        None
    }

    /// Begins to read frames, those together that lie next to each other.
    fn begin(&mut self, planned: Vec<Planned>) {
        let caches = &self.inner.caches;
        let keys = planned.iter().map(|planned| planned.frame.as_ref().map(|(key, _)| *key));
        let known: Vec<Option<Opening>> = keys.map(|key| caches.opening(&key?)).collect();
        let missing = planned.iter().zip(&known).filter(|(_, known)| known.is_none());
        let missing = missing.filter_map(|(planned, _)| planned.frame.clone()).collect();
        // Held until whoever wants them has them.
        let opening = open_together(&self.inner, missing);
        for (planned, known) in planned.into_iter().zip(known) {
            self.push(planned, known);
        }
        drop(opening);
    }

    /// Puts pieces under way, whose frame is being opened.
    fn push(&mut self, planned: Planned, opening: Option<Opening>) {
        let cost = planned.cost();
        self.budget.take(cost);
        let Some((key, frame)) = planned.frame.clone() else {
            let cut = Cut { pieces: planned.pieces, found: None, cost };
            self.under_way.push_back(std::future::ready(cut).boxed());
            return;
        };
        let opening = opening.or_else(|| self.inner.caches.opening(&key));
        let inner = Arc::clone(&self.inner);
        let cut = async move {
            let pieces = planned.pieces.clone();
            let opened = match opening {
                Some(opening) => opening.await,
                None => None,
            };
            let Some(opened) = opened else { return Cut { pieces, found: None, cost } };
            if !planned.is_whole(&frame) {
                // Others may want the rest.
                inner.caches.keep(key, &opened);
            }
            let prover = Arc::clone(&inner);
            let found = inner.env.run(move || Ok(planned.prove(&prover, &opened))).await;
            Cut { pieces, found: found.unwrap_or_default(), cost }
        };
        self.under_way.push_back(cut.boxed());
    }

    /// Waits for something while what is under way goes on: it may hold what is waited for.
    async fn alongside<T>(&mut self, work: impl Future<Output = T> + Send) -> T {
        let mut work = std::pin::pin!(work);
        poll_fn(|context| {
            let done = work.as_mut().poll(context);
            if done.is_pending() {
                self.poll(context);
            }
            done
        })
        .await
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(Some(cut)) = self.under_way.poll_next_unpin(context) {
            self.come.push_back(cut);
        }
    }
}

/// Memory that a frame may take on its way.
fn cost_of(frame: &Frame) -> u64 {
    frame.span.raw_len.max(frame.span.sealed_len).into()
}

/// Begins to read these frames, those together that lie next to each other, and to open each. All goes on while one of them is polled.
fn open_together(inner: &Arc<Inner>, mut frames: Vec<(FrameKey, Frame)>) -> Vec<Opening> {
    frames.sort_unstable_by_key(|((pack, _), frame)| (*pack, frame.span.offset));
    frames.dedup_by_key(|(key, _)| *key);
    let mut opening = Vec::with_capacity(frames.len());
    let mut rest = frames.as_slice();
    while let Some(((pack, _), first)) = rest.first() {
        let (mut range, mut len) = (first.span.offset..first.span.end(), 1);
        for ((other, _), frame) in rest.iter().skip(1) {
            let Some(longer) = joined(&range, &frame.span).filter(|_| other == pack) else { break };
            (range, len) = (longer, len + 1);
        }
        let (reader, name, start) = (Arc::clone(inner), first.pack.name(), range.start);
        let read = async move { reader.read_pack(name, range).await.ok() }.boxed().shared();
        let (together, after) = rest.split_at(len);
        rest = after;
        for (key, frame) in together {
            let (read, env, frame) = (read.clone(), inner.env.clone(), frame.clone());
            let opened = async move {
                let read = read.await?;
                env.run(move || frame.open(&read, start)).await.ok()
            };
            opening.push(inner.caches.open(*key, opened.boxed()));
        }
    }
    opening
}

/// The long way to a piece: every place of its chunk is tried.
pub(super) async fn fetch(inner: &Inner, chunk: ChunkRef, part: Range<u64>) -> Result<Bytes> {
    let bytes = inner.chunk(Class::Data, chunk.id).await?;
    if bytes.len() as u64 != chunk.len {
        return Err(
            Error::corrupt("a chunk has another length than its item says").with_item(chunk.id.to_string())
        );
    }
    match (usize::try_from(part.start), usize::try_from(part.end)) {
        (Ok(start), Ok(end)) => Ok(bytes.slice(start..end)),
        _ => Err(Error::bug("a part lies outside its chunk")),
    }
}
