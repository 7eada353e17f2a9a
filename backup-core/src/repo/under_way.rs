//! What a restore has begun and not ended: items that are being put, planned, or have failed once, and folders that are being closed.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::browse::content_of;
use super::plan::{Done, Plan};
use super::{Inner, content};
use crate::error::Result;
use crate::format::record::ContentRef;
use crate::item::{Item, ItemId};
use crate::sink::{Action, Conflict, Contents, Place, Placed, Placement, Sink};
use crate::source::Content;

/// Longest stream that is planned, in bytes.
const SMALL_BYTES: u64 = 1 << 20;
/// Bytes of the items that are put at once, at most, unless there is only one. An item counts for no more than is read ahead of it.
const PUTTING_BYTES_MAX: u64 = 16 << 20;
const PUTTING_BYTES_OF_ITEM: u64 = 8 << 20;

/// An item that is to be put.
pub(super) struct File {
    pub(super) item: Item,
    pub(super) contents: Stored,
    pub(super) path: String,
    /// The number of the folder that waits for it.
    pub(super) folder: Option<u64>,
    pub(super) parent: Option<Placed>,
    pub(super) link: Option<Placed>,
    /// The item that its content belongs to, where there may be links to it.
    pub(super) holder: Option<ItemId>,
}

impl File {
    /// Bytes of its streams.
    pub(super) fn size(&self) -> u64 {
        self.contents.streams.iter().fold(0, |sum, (_, content)| sum.saturating_add(content.len))
    }

    pub(super) const fn place(&self, conflict: Conflict) -> Place<'_> {
        Place::new(self.parent.as_ref(), conflict, self.link.as_ref())
    }

    /// Bytes that were written for it.
    pub(super) fn bytes(&self, placement: &Placement) -> u64 {
        if placement.action == Action::Skipped || self.link.is_some() { 0 } else { self.size() }
    }

    /// What became of it.
    pub(super) fn ended(self, outcome: Result<Placement>) -> Put {
        let bytes = outcome.as_ref().map_or(0, |placement| self.bytes(placement));
        let Self { item, path, folder, holder, .. } = self;
        Put { id: item.id, path, folder, bytes, memory: 0, holder, outcome }
    }
}

/// An item whose content is planned: what is said of it once it is put, and what finds it again if its content cannot be had as planned. The
/// item itself is not kept: thousands are planned at once, and nearly all of them are never asked for again.
pub(super) struct Planned {
    pub(super) id: ItemId,
    pub(super) path: String,
    pub(super) folder: Option<u64>,
    pub(super) parent: Option<Placed>,
    pub(super) holder: Option<ItemId>,
    size: u64,
}

impl Planned {
    fn of(file: File) -> Self {
        let size = file.size();
        let File { item, path, folder, parent, holder, .. } = file;
        Self { id: item.id, path, folder, parent, holder, size }
    }

    /// What became of it.
    fn ended(self, outcome: Result<Placement>) -> Put {
        let written = outcome.as_ref().is_ok_and(|placement| placement.action != Action::Skipped);
        let Self { id, path, folder, holder, size, .. } = self;
        Put { id, path, folder, bytes: if written { size } else { 0 }, memory: 0, holder, outcome }
    }
}

/// The streams of an item, for a sink.
pub(super) struct Stored {
    pub(super) inner: Arc<Inner>,
    pub(super) streams: Vec<(String, ContentRef)>,
}

impl Contents for Stored {
    fn open<'a>(&'a self, stream: &str) -> Result<Content<'a>> {
        let found = content_of(&self.streams, stream)?;
        let all = 0..found.len;
        content::read(Arc::clone(&self.inner), found, all)
    }
}

/// An item that has been put, or not.
pub(super) struct Put {
    pub(super) id: ItemId,
    pub(super) path: String,
    pub(super) folder: Option<u64>,
    /// Size of what was written, if it was.
    pub(super) bytes: u64,
    /// Memory that it was counted with.
    pub(super) memory: u64,
    pub(super) holder: Option<ItemId>,
    pub(super) outcome: Result<Placement>,
}

/// A folder that has been closed, or not.
pub(super) struct Closed {
    pub(super) id: ItemId,
    pub(super) path: String,
    pub(super) parent: Option<u64>,
    pub(super) outcome: Result<()>,
}

/// Something that has ended.
pub(super) enum Ended {
    Put(Put),
    Closed(Closed),
}

pub(super) struct UnderWay<'a> {
    sink: &'a dyn Sink,
    conflict: Conflict,
    plan: Plan,
    /// Items in the plan, by number, and numbers that are free again.
    planned: Vec<Option<Planned>>,
    free: Vec<usize>,
    /// Items whose content could not be had as planned: to be put the long way, which looks for other copies and says what is wrong.
    pub(super) failed: VecDeque<Planned>,
    putting: FuturesUnordered<BoxFuture<'a, Put>>,
    /// Memory that the items may need that are being put.
    putting_bytes: u64,
    closing: FuturesUnordered<BoxFuture<'a, Closed>>,
    /// What has ended while something else was waited for.
    ended: VecDeque<Ended>,
}

impl<'a> UnderWay<'a> {
    pub(super) fn new(inner: Arc<Inner>, sink: &'a dyn Sink, conflict: Conflict) -> Self {
        Self {
            sink,
            conflict,
            plan: Plan::new(inner),
            planned: Vec::new(),
            free: Vec::new(),
            failed: VecDeque::new(),
            putting: FuturesUnordered::new(),
            putting_bytes: 0,
            closing: FuturesUnordered::new(),
            ended: VecDeque::new(),
        }
    }

    /// Whether everything has ended, and been taken note of.
    pub(super) fn is_empty(&self) -> bool {
        self.plan.is_empty()
            && self.failed.is_empty()
            && self.putting.is_empty()
            && self.closing.is_empty()
            && self.ended.is_empty()
    }

    /// Whether as many items are planned as may be.
    pub(super) fn is_planned_out(&self) -> bool {
        self.plan.is_full()
    }

    /// Plans an item, if it is short and the sink can put it by calls that block; gives it back if not.
    pub(super) fn plan(&mut self, file: File) -> Option<File> {
        let [(_, content)] = file.contents.streams.as_slice() else { return Some(file) };
        // A further link has no content of its own.
        if content.depth > 0 || content.len > SMALL_BYTES || file.link.is_some() {
            return Some(file);
        }
        let Some(put) = self.sink.put_blocking(&file.item, file.place(self.conflict)) else {
            return Some(file);
        };
        let number = self.free.last().copied().unwrap_or(self.planned.len());
        if !self.plan.add(number, put, content) {
            return Some(file);
        }
        let planned = Some(Planned::of(file));
        match self.planned.get_mut(number) {
            Some(place) => *place = planned,
            None => self.planned.push(planned),
        }
        self.free.pop();
        self.plan.pump(false);
        None
    }

    /// Begins to put an item.
    pub(super) fn put(&mut self, file: File) {
        let (sink, conflict, memory) = (self.sink, self.conflict, memory_of(&file));
        self.putting_bytes += memory;
        let put = async move {
            let outcome = sink.put(&file.item, file.place(conflict), &file.contents).await;
            Put { memory, ..file.ended(outcome) }
        };
        self.putting.push(put.boxed());
    }

    /// Begins to close a folder, which `parent` waits for.
    pub(super) fn close(&mut self, item: Item, path: String, placed: Placed, parent: Option<u64>) {
        let sink = self.sink;
        let close = async move {
            let outcome = sink.close(&item, &placed).await;
            Closed { id: item.id, path, parent, outcome }
        };
        self.closing.push(close.boxed());
    }

    /// Waits for something while everything that is under way goes on. The walk waits for nothing in any other way: an item that is being put
    /// may hold what it waits for, a frame that is on its way or a place in a queue of the service, and holds it until it is polled.
    pub(super) async fn alongside<T>(&mut self, work: impl Future<Output = T> + Send) -> T {
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

    /// Lets what is under way go on, without waiting for it.
    pub(super) async fn glance(&mut self) {
        poll_fn(|context| {
            self.poll(context);
            Poll::Ready(())
        })
        .await;
    }

    /// Waits until something has ended or failed. With `all`, what is planned waits for no company; without, it does so only as
    /// long as something else is on its way.
    pub(super) async fn wait(&mut self, all: bool) {
        self.plan.press(all);
        poll_fn(|context| {
            self.poll(context);
            let ready = !self.ended.is_empty() || !self.failed.is_empty();
            if ready { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Waits until one more item may be put beside the others.
    pub(super) async fn room_for(&mut self, file: &File) {
        let memory = memory_of(file);
        poll_fn(|context| {
            self.poll(context);
            let puts = self.putting.len() + self.plan.putting();
            let fits = self.putting.is_empty() || self.putting_bytes + memory <= PUTTING_BYTES_MAX;
            if puts < self.concurrency() && fits { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Something that has ended and is to be taken note of.
    pub(super) fn take_ended(&mut self) -> Option<Ended> {
        self.ended.pop_front()
    }

    /// How many items the sink takes at once.
    fn concurrency(&self) -> usize {
        self.sink.concurrency().max(1)
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        while let Poll::Ready(Some(put)) = self.putting.poll_next_unpin(context) {
            self.putting_bytes -= put.memory;
            self.ended.push_back(Ended::Put(put));
        }
        while let Poll::Ready(Some(closed)) = self.closing.poll_next_unpin(context) {
            self.ended.push_back(Ended::Closed(closed));
        }
        let room = self.concurrency().saturating_sub(self.putting.len());
        while let Poll::Ready(done) = self.plan.poll(room, context) {
            for Done { number, outcome } in done {
                let Some(planned) = self.planned.get_mut(number).and_then(Option::take) else { continue };
                self.free.push(number);
                match outcome {
                    Some(outcome) => self.ended.push_back(Ended::Put(planned.ended(outcome))),
                    None => self.failed.push_back(planned),
                }
            }
        }
    }
}

/// Memory that an item may need while it is put.
fn memory_of(file: &File) -> u64 {
    file.size().min(PUTTING_BYTES_OF_ITEM)
}
