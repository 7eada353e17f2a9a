//! Several runs at once in one thread, in an order that somebody decides: one number replays one order.

use std::fmt;
use std::future::poll_fn;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::{FutureExt, StreamExt, stream};

use super::Operation;
use crate::error::Result;
use crate::store::{Created, Entry, Immutable, Key, Store};

/// A store each of whose calls lets others go first: between any two calls of one run, any number of another one's may happen.
///
/// Give one to every run that [`interleave`] is to mix, all over the same store. Workers must be inline
/// ([`environment`](super::environment)), so that nothing happens anywhere else.
#[derive(Clone)]
pub struct Yielding {
    inner: Arc<dyn Store>,
    yields: fn(Operation, &Key) -> bool,
}

impl Yielding {
    /// Yields before every call.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self::only(inner, |_, _| true)
    }

    /// Yields before calls of these kinds on these objects or prefixes only: fewer orders, where the others do not matter.
    #[must_use]
    pub fn only(inner: Arc<dyn Store>, yields: fn(Operation, &Key) -> bool) -> Self {
        Self { inner, yields }
    }

    async fn turn(&self, operation: Operation, key: &Key) {
        let mut asked = !(self.yields)(operation, key);
        poll_fn(|context: &mut Context<'_>| {
            if std::mem::replace(&mut asked, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

impl fmt::Debug for Yielding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Yielding").field(&self.inner).finish()
    }
}

#[async_trait]
impl Store for Yielding {
    async fn create(&self, key: &Key, data: Bytes) -> Result<Created> {
        self.turn(Operation::Create, key).await;
        self.inner.create(key, data).await
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        self.turn(Operation::Read, key).await;
        self.inner.read(key, range).await
    }

    async fn size(&self, key: &Key) -> Result<u64> {
        self.turn(Operation::Size, key).await;
        self.inner.size(key).await
    }

    fn list<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, Result<Entry>> {
        let turn = self.turn(Operation::List, prefix).into_stream().filter_map(|()| std::future::ready(None));
        turn.chain(stream::once(std::future::ready(())).flat_map(|()| self.inner.list(prefix))).boxed()
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.turn(Operation::Delete, key).await;
        self.inner.delete(key).await
    }

    /// The store behind, which does not yield.
    fn immutable(&self) -> Option<&dyn Immutable> {
        self.inner.immutable()
    }
}

/// Runs everything to its end. Before each step, `choose` is given how many runs are not done yet, and says which of them goes on, as a number
/// below that, modulo it. Results in the order of the runs.
pub fn interleave<T>(runs: Vec<BoxFuture<'_, T>>, mut choose: impl FnMut(usize) -> usize) -> Vec<T> {
    let mut results: Vec<Option<T>> = runs.iter().map(|_| None).collect();
    let mut going: Vec<_> = runs.into_iter().enumerate().collect();
    let mut context = Context::from_waker(Waker::noop());
    while !going.is_empty() {
        let chosen = choose(going.len()) % going.len();
        let done = going.get_mut(chosen).and_then(|(number, run)| match pin!(run).poll(&mut context) {
            Poll::Ready(result) => Some((*number, result)),
            Poll::Pending => None,
        });
        if let Some((number, result)) = done {
            drop(going.remove(chosen));
            if let Some(slot) = results.get_mut(number) {
                *slot = Some(result);
            }
        }
    }
    results.into_iter().flatten().collect()
}
