//! The seam that restored items go out through. Implement [`Sink`] for anything that can take items back.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::{Error, Result};
use crate::item::Item;
use crate::source::Content;

/// A place that restored items are written to: the same service, another account, a folder, an archive.
///
/// The engine calls [`put`](Self::put) for each item, parents before children; [`close`](Self::close) for each
/// container once everything below it was put; [`finish`](Self::finish) once at the end.
/// The conformance suite in `testkit` (feature `testkit`) checks an implementation.
#[async_trait]
pub trait Sink: fmt::Debug + Send + Sync {
    /// Creates the item, following `place.conflict` where something of its name is there already.
    ///
    /// A container that is there already is entered whatever the policy says; its attributes are changed only by
    /// `Replace`. With `place.link` the item becomes a further hard link to what was placed there, or a copy where
    /// the target has no hard links; `contents` can be read either way.
    ///
    /// # Errors
    /// Concern this item only: the engine reports it and goes on, without what lies below it. `Canceled`, `OutOfSpace`
    /// and `Unauthenticated` end the restore.
    async fn put<'a>(
        &'a self,
        item: &'a Item,
        place: Place<'a>,
        contents: &'a dyn Contents,
    ) -> Result<Placement>;

    /// What puts the item by calls that block, for sinks whose calls do, as those of files. Where there is one, the engine takes it instead
    /// of [`put`](Self::put) for an item with one short stream, which it has fetched by then, and runs it on its workers, together with
    /// others: for many small items that is several times as fast as a trip between threads for each.
    ///
    /// The default is none, right for whatever waits for a network. None for a single item is right too, for example where it has to be
    /// looked at first whether the content is wanted.
    fn put_blocking(&self, item: &Item, place: Place<'_>) -> Option<BlockingPut> {
        let _ = (item, place);
        None
    }

    /// How many items the engine may put at once. More than one pays off where each waits for a network or a disk; containers are
    /// put before what lies below them all the same, and closed after it.
    fn concurrency(&self) -> usize {
        1
    }

    /// Everything below this container has been put: the moment to set its times and mode.
    ///
    /// # Errors
    /// Reported for this item only.
    async fn close(&self, item: &Item, placed: &Placed) -> Result<()> {
        let _ = (item, placed);
        Ok(())
    }

    /// Everything has been put. What was acknowledged is durable when this returns.
    ///
    /// # Errors
    /// End the restore.
    async fn finish(&self) -> Result<()> {
        Ok(())
    }
}

/// An item that is about to be put by calls that block; made by [`Sink::put_blocking`].
pub struct BlockingPut(Box<PutPieces>);

type PutPieces = dyn FnOnce(&[Bytes]) -> Result<Placement> + Send;

impl BlockingPut {
    /// An item that `put` puts. It is called once at most, on a worker, with the content of the item's only stream in order; its errors mean
    /// what those of [`Sink::put`] do.
    pub fn new(put: impl FnOnce(&[Bytes]) -> Result<Placement> + Send + 'static) -> Self {
        Self(Box::new(put))
    }

    /// Puts the item with this content here and now, on this thread.
    ///
    /// # Errors
    /// Those of the sink.
    pub fn put(self, content: &[Bytes]) -> Result<Placement> {
        (self.0)(content)
    }
}

impl fmt::Debug for BlockingPut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockingPut").finish_non_exhaustive()
    }
}

/// Where and how an item is to be put.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Place<'a> {
    /// What `put` returned for the containing item; none at the top of the restore.
    pub parent: Option<&'a Placed>,
    /// What to do if the name is taken.
    pub conflict: Conflict,
    /// What `put` returned for the item that this one is a hard link of.
    pub link: Option<&'a Placed>,
}

impl<'a> Place<'a> {
    /// A place below `parent`.
    #[must_use]
    pub const fn new(parent: Option<&'a Placed>, conflict: Conflict, link: Option<&'a Placed>) -> Self {
        Self { parent, conflict, link }
    }
}

/// What to do if the name is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum Conflict {
    /// Leave what is there. The default: a restore destroys nothing unless told to.
    #[default]
    Skip,
    /// Put the restored item in its place.
    Replace,
    /// Put the restored item beside it under another name, such as `report (restored).docx`.
    KeepBoth,
}

/// The sink's own handle of something it has put: an id, a path. Opaque to the engine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Placed(Bytes);

impl Placed {
    /// A handle with these bytes.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What became of an item.
#[derive(Debug)]
#[non_exhaustive]
pub struct Placement {
    /// The sink's handle of it (of what was there already, where skipped).
    pub placed: Placed,
    /// What was done.
    pub action: Action,
    /// What could not be restored of it although it was placed: a permission, an owner, an earlier version. The restore's
    /// report names each with the item's path.
    pub problems: Vec<Error>,
}

impl Placement {
    /// `action` was done; the result is known to the sink as `placed`.
    pub fn new(placed: impl Into<Bytes>, action: Action) -> Self {
        Self { placed: Placed::new(placed), action, problems: Vec::new() }
    }

    /// This placement with something that could not be restored of the item.
    #[must_use]
    pub fn with_problem(mut self, problem: Error) -> Self {
        self.problems.push(problem);
        self
    }
}

/// What a sink did with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// It was not there and was created.
    Created,
    /// It took the place of what was there.
    Replaced,
    /// What was there was left as it is.
    Skipped,
    /// It was created under another name.
    Renamed,
}

/// Lazy access to an item's streams while it is being put.
pub trait Contents: Send + Sync {
    /// The bytes of a stream named in `item.streams`. May be opened again, for a retry.
    ///
    /// # Errors
    /// `NotFound` if the item has no such stream.
    fn open<'a>(&'a self, stream: &str) -> Result<Content<'a>>;
}
