//! The seam that items come in through. Implement [`Source`] for anything worth protecting.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;

use crate::error::{Error, Result};
use crate::item::{Attributes, Collection, Cursor, Item, ItemId};

/// One resource that can be enumerated, asked for its changes, and read.
///
/// The engine calls [`changes`](Self::changes) once per run and [`open`](Self::open) for every stream whose item's tag
/// differs from the last snapshot. The conformance suite in `testkit` (feature `testkit`) checks an implementation.
#[async_trait]
pub trait Source: fmt::Debug + Send + Sync {
    /// Which resource this is. The same resource has the same collection id for ever.
    fn collection(&self) -> Collection;

    /// Changes since `since`, or everything there is.
    ///
    /// - Without a cursor the stream is a full enumeration: what it does not name is gone.
    /// - With a cursor it names what changed since; the last mention of an id counts, order does not matter.
    /// - A source that cannot honour the cursor emits [`Change::Reset`] and then enumerates everything.
    /// - [`Change::Cursor`] says that everything emitted before it is covered; the last one is kept. A source without
    ///   delta (a plain folder) emits none and is enumerated in full each time.
    /// - An `Err` ends the run: the snapshot is not committed, what was stored is kept in a checkpoint.
    ///   What concerns one item only is a [`Change::Unreadable`].
    fn changes<'a>(&'a self, since: Option<&'a Cursor>) -> BoxStream<'a, Result<Change>>;

    /// A cursor that covers what `cursor` covers but for the items in `missed`: the next [`changes`](Self::changes) from it
    /// names these again, whether or not they have changed.
    ///
    /// The engine asks for one when content could not be had, or an item was `Unreadable`. Without one (the default) the
    /// run keeps the cursor that it began with, so that the next one names everything again. It also asks for items whose
    /// content ended with `SourceMismatch` and is not known to be what the source has; these do not hold the cursor.
    fn cursor_without(&self, cursor: &Cursor, missed: &[ItemId]) -> Option<Cursor> {
        let _ = (cursor, missed);
        None
    }

    /// Opens a stream of an item that this source has just emitted.
    ///
    /// # Errors
    /// `NotFound` if it has vanished since; `Throttled` and `Unavailable` are not retried by the engine: a source
    /// knows best how its service wants to be retried.
    async fn open<'a>(&'a self, item: &'a Item, stream: &'a str) -> Result<Content<'a>>;

    /// The same stream for sources whose reads block the thread that makes them, as those of files do. Where there is one, the engine
    /// takes it instead of [`open`](Self::open) and reads it on its workers, together with others if it is short: for a source of many
    /// small items that is several times as fast as a trip between threads for each.
    ///
    /// The default is none, right for whatever waits for a network.
    fn open_blocking(&self, item: &Item, stream: &str) -> Option<BlockingContent> {
        let _ = (item, stream);
        None
    }

    /// What the run has cost so far, by name: requests, retries, milliseconds waited ... Goes into the run's report as it is.
    fn metrics(&self) -> Attributes {
        Attributes::new()
    }

    /// Names and values that every snapshot of this source carries as labels, each of at most 1,024 bytes.
    fn labels(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// How many items the engine may read at once. More than one pays off where each read waits for a network.
    fn concurrency(&self) -> usize {
        1
    }
}

/// One step of a [`Source`]'s report.
#[derive(Debug)]
#[non_exhaustive]
pub enum Change {
    /// What follows is a full enumeration, although a cursor was given. What was emitted before is forgotten; a service
    /// may forget a cursor between two pages too.
    Reset,
    /// The item is there, in this state.
    Upsert(Item),
    /// The item is there, in this state, and here is all that some or all of its streams hold, by their names: these are not opened. For
    /// short content that is at hand when its item is named, as a row of a table or a message in a page of a listing is: an item then
    /// costs no call of its own. Whether it has changed is decided as for every item, and [`Source::open`] gives the same bytes to
    /// whoever asks later, as a drill does.
    UpsertWith(Item, Vec<(String, Bytes)>),
    /// The item is gone. Its descendants are gone too unless they are named otherwise.
    Remove(ItemId),
    /// The item (and what lies below it) could not be looked at: keep what the last snapshot had, and report it.
    Unreadable(Problem),
    /// Everything emitted so far is covered by this cursor.
    Cursor(Cursor),
}

/// Something that could not be backed up, restored or verified; the run goes on and the result names it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Problem {
    /// The item, where known.
    pub id: Option<ItemId>,
    /// Where it is, for people: a path or a name.
    pub place: String,
    /// What went wrong.
    pub error: Error,
}

impl Problem {
    /// A problem with the item `id` at `place`.
    pub fn new(id: Option<ItemId>, place: impl Into<String>, error: Error) -> Self {
        Self { id, place: place.into(), error }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.error)
    }
}

/// The bytes of one stream on their way.
#[non_exhaustive]
pub struct Content<'a> {
    /// Announced length in bytes, where known. The engine stores what arrives, whatever was announced.
    pub size: Option<u64>,
    /// The bytes, in order, in pieces of any length. A stream that ends with `ChangedWhileReading` or `SourceMismatch`
    /// has delivered all it could: the engine tries again and finally keeps the bytes and reports the item.
    pub bytes: BoxStream<'a, Result<Bytes>>,
}

impl<'a> Content<'a> {
    /// Content from a stream of pieces.
    #[must_use]
    pub fn new(size: Option<u64>, bytes: BoxStream<'a, Result<Bytes>>) -> Self {
        Self { size, bytes }
    }

    /// Content that is in memory already.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let size = u64::try_from(bytes.len()).ok();
        let pieces = if bytes.is_empty() { None } else { Some(Ok(bytes)) };
        Self { size, bytes: Box::pin(futures_util::stream::iter(pieces)) }
    }

    /// Everything in one buffer; for small content and tests.
    ///
    /// # Errors
    /// Whatever the stream reports.
    pub async fn collect(mut self) -> Result<Vec<u8>> {
        use futures_util::StreamExt;
        let mut all = Vec::new();
        while let Some(piece) = self.bytes.next().await {
            all.extend_from_slice(&piece?);
        }
        Ok(all)
    }
}

/// The bytes of one stream that are read by calls that block.
#[non_exhaustive]
pub struct BlockingContent {
    /// Announced length in bytes, where known.
    pub size: Option<u64>,
    open: Box<dyn FnOnce() -> Result<Pieces> + Send>,
}

/// Pieces of a stream as they are read, in order, of any length; what errors mean is said at [`Content::bytes`].
pub(crate) type Pieces = Box<dyn Iterator<Item = Result<Bytes>> + Send>;

impl BlockingContent {
    /// Content that `open` opens. It is called once, on a worker; its errors mean what those of [`Source::open`] do. Pieces should be of
    /// about 1 MiB at most.
    pub fn new<I>(size: Option<u64>, open: impl FnOnce() -> Result<I> + Send + 'static) -> Self
    where
        I: Iterator<Item = Result<Bytes>> + Send + 'static,
    {
        Self { size, open: Box::new(|| Ok(Box::new(open()?))) }
    }

    /// Opens it here and now, on this thread.
    ///
    /// # Errors
    /// Those of the source.
    pub fn open(self) -> Result<impl Iterator<Item = Result<Bytes>> + Send> {
        (self.open)()
    }
}

impl fmt::Debug for BlockingContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingContent").field("size", &self.size).finish_non_exhaustive()
    }
}

impl fmt::Debug for Content<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").field("size", &self.size).finish_non_exhaustive()
    }
}
