//! Blocking iterators as streams: a thread goes ahead by one batch of whoever reads.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use futures_core::stream::BoxStream;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};

use crate::error::Result;
use crate::threads::{ThreadPool, cores};

/// Threads at most, whatever the machine: more of them wait for the same disk.
const THREADS_MAX: usize = 8;
/// Room in a batch before it is known how many items it has.
const ROOM_MAX: usize = 256;

/// Threads that read and write folders, shared by all of them in this process. At least two: one that waits for a disk must not
/// hold up the rest.
pub(super) fn threads() -> Arc<ThreadPool> {
    static THREADS: OnceLock<Arc<ThreadPool>> = OnceLock::new();
    Arc::clone(
        THREADS.get_or_init(|| Arc::new(ThreadPool::new("backup-folder", cores().clamp(2, THREADS_MAX)))),
    )
}

/// What an iterator of results yielded until its batch was full, and the iterator, unless it has ended.
pub(super) struct Batch<I: Iterator> {
    pub(super) items: VecDeque<I::Item>,
    pub(super) rest: Option<I>,
}

/// Takes items until `full` says that their weights make a batch.
pub(super) fn take<I: Iterator>(mut iterator: I, weight: fn(&I::Item) -> usize, full: usize) -> Batch<I> {
    // Where each counts as one, there is room for all from the first.
    let (mut items, mut sum) = (VecDeque::with_capacity(full.min(ROOM_MAX)), 0);
    while sum < full {
        match iterator.next() {
            Some(item) => {
                sum += weight(&item);
                items.push_back(item);
            }
            None => return Batch { items, rest: None },
        }
    }
    Batch { items, rest: Some(iterator) }
}

/// The stream of a batch and of all that follows it. The iterator is advanced on `threads`; it is dropped with the stream.
pub(super) fn stream<I, T>(
    threads: Arc<ThreadPool>,
    first: Batch<I>,
    weight: fn(&I::Item) -> usize,
    full: usize,
) -> BoxStream<'static, Result<T>>
where
    I: Iterator<Item = Result<T>> + Send + 'static,
    T: Send + 'static,
{
    struct State<I: Iterator> {
        ready: VecDeque<I::Item>,
        next: Option<BoxFuture<'static, Result<Batch<I>>>>,
    }
    let advance =
        move |rest: Option<I>| rest.map(|rest| threads.run(move || take(rest, weight, full)).boxed());
    let state = State { ready: first.items, next: advance(first.rest) };
    futures_util::stream::unfold((state, advance), |(mut state, advance)| async move {
        loop {
            if let Some(item) = state.ready.pop_front() {
                return Some((item, (state, advance)));
            }
            match state.next.take()?.await {
                Ok(batch) => {
                    state.ready = batch.items;
                    state.next = advance(batch.rest);
                }
                Err(error) => return Some((Err(error), (state, advance))),
            }
        }
    })
    .boxed()
}
