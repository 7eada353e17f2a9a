//! Items that are being read, and how many may be at once.

use std::collections::HashMap;
use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::item::Outcome;
use crate::error::Result;
use crate::item::{Item, ItemId};

/// Bytes that the items may hold that are read at once, unless there is only one. A stream that is opened counts for no more than it holds in
/// memory while it is cut.
const BYTES_MAX: u64 = 8 << 20;
const BYTES_OF_STREAMS: u64 = 4 << 20;
/// Items without a call to the source that are under way at once. They wait for nothing but room in the pipeline, and more of them would only
/// wait in each other's way.
const WITHOUT_CALL_MAX: usize = 8;

/// An item as the source names it.
pub(super) struct Named {
    pub(super) item: Item,
    /// Streams whose bytes came with it.
    pub(super) given: Vec<(String, Bytes)>,
}

impl Named {
    /// The bytes of a stream, if they came with the item.
    pub(super) fn given(&self, stream: &str) -> Option<&Bytes> {
        self.given.iter().find_map(|(name, bytes)| (name == stream).then_some(bytes))
    }

    /// What reading it takes. Streams that are not announced count nothing: their source says how many items it wants to be read at once.
    pub(super) fn cost(&self) -> Cost {
        let (mut opens, mut opened) = (false, 0u64);
        for stream in self.item.streams.iter().filter(|stream| self.given(&stream.name).is_none()) {
            opens = true;
            opened = opened.saturating_add(stream.size.unwrap_or_default());
        }
        let given: u64 = self.given.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        Cost { opens, bytes: given + opened.min(BYTES_OF_STREAMS) }
    }
}

/// What an item takes while it is read.
pub(super) struct Cost {
    /// Some of its streams are to be opened.
    opens: bool,
    /// Memory.
    bytes: u64,
}

pub(super) struct Reading<'a> {
    /// How many items the source wants to be opened at once.
    concurrency: usize,
    under_way: FuturesUnordered<BoxFuture<'a, (ItemId, Result<Outcome>)>>,
    costs: HashMap<ItemId, Cost>,
    opening: usize,
    bytes: u64,
}

impl<'a> Reading<'a> {
    pub(super) fn new(concurrency: usize) -> Self {
        Self {
            concurrency: concurrency.max(1),
            under_way: FuturesUnordered::new(),
            costs: HashMap::new(),
            opening: 0,
            bytes: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether this item is being read.
    pub(super) fn has(&self, id: &ItemId) -> bool {
        self.costs.contains_key(id)
    }

    /// Whether one more has to wait.
    pub(super) fn is_full_for(&self, named: &Named) -> bool {
        let Cost { opens, bytes } = named.cost();
        let without_call = self.under_way.len() - self.opening;
        let many = if opens { self.opening >= self.concurrency } else { without_call >= WITHOUT_CALL_MAX };
        many || self.bytes > 0 && self.bytes + bytes > BYTES_MAX
    }

    /// Begins to read an item of this id and cost.
    pub(super) fn begin(
        &mut self,
        id: ItemId,
        cost: Cost,
        read: impl Future<Output = Result<Outcome>> + Send + 'a,
    ) {
        self.opening += usize::from(cost.opens);
        self.bytes += cost.bytes;
        self.costs.insert(id.clone(), cost);
        self.under_way.push(Box::pin(async move { (id, read.await) }));
    }

    /// Waits until one is read; for ever if there is none.
    pub(super) async fn next(&mut self) -> Result<(ItemId, Outcome)> {
        let (id, outcome) = poll_fn(|context| match self.under_way.poll_next_unpin(context) {
            Poll::Ready(Some(read)) => Poll::Ready(read),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        })
        .await;
        if let Some(cost) = self.costs.remove(&id) {
            self.opening -= usize::from(cost.opens);
            self.bytes -= cost.bytes;
        }
        Ok((id, outcome?))
    }
}
