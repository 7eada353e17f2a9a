//! Small jobs that go to a worker together: for a small file the trip to another thread costs more than all that is done with its bytes.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_channel::oneshot;
use futures_util::FutureExt;
use futures_util::future::{Fuse, PollFn};

use crate::env::Env;
use crate::error::{Error, Result};

/// A batch goes to a worker once its jobs are announced with so many bytes, or are so many.
const BATCH_BYTES: u64 = 512 << 10;
const BATCH_JOBS: usize = 32;

/// Collects jobs until they are worth a trip, or until nothing else can go on; see [`idle`](Self::idle).
pub(super) struct Batcher {
    env: Env,
    waiting: Mutex<Batch>,
}

#[derive(Default)]
struct Batch {
    jobs: Vec<Box<dyn FnOnce() + Send>>,
    bytes: u64,
}

impl Batcher {
    pub(super) fn new(env: Env) -> Self {
        Self { env, waiting: Mutex::default() }
    }

    /// Runs `job`, which has to do with so many bytes, and resolves to its result. It is not begun if nobody waits for it any more.
    pub(super) fn run<T, F>(&self, bytes: u64, job: F) -> impl Future<Output = Result<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let mut batch = self.lock();
        batch.bytes += bytes;
        batch.jobs.push(Box::new(move || {
            if !sender.is_canceled() {
                let _ = sender.send(job());
            }
        }));
        if batch.bytes >= BATCH_BYTES || batch.jobs.len() >= BATCH_JOBS {
            self.dispatch(batch);
        }
        async move { receiver.await.map_err(|_| Error::bug("a worker dropped its job")) }
    }

    /// Never ends. Poll it where nothing else can go on: jobs that wait for company then go without it.
    pub(super) fn idle(&self) -> Fuse<PollFn<impl FnMut(&mut Context<'_>) -> Poll<()>>> {
        futures_util::future::poll_fn(|_| {
            self.dispatch(self.lock());
            Poll::Pending
        })
        .fuse()
    }

    fn dispatch(&self, mut batch: MutexGuard<'_, Batch>) {
        let Batch { jobs, .. } = std::mem::take(&mut *batch);
        // A worker that runs jobs on its caller's thread may lead back here.
        drop(batch);
        if !jobs.is_empty() {
            self.env.spawn(move || jobs.into_iter().for_each(|job| job()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Batch> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
