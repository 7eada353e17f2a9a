//! Plain threads that share one queue, for work that would hold up an async thread: computing, and calls of the system.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};

use crate::error::{Error, Result};

type Job = Box<dyn FnOnce() + Send>;

/// A pool of threads. They start with the first job and end with the pool. Jobs should be coarse enough that taking a lock for
/// each is no cost.
pub(crate) struct ThreadPool {
    name: &'static str,
    threads: usize,
    queue: OnceLock<mpsc::Sender<Job>>,
}

impl ThreadPool {
    /// So many threads, at least one, that are called `name-0`, `name-1` ...
    pub(crate) fn new(name: &'static str, threads: usize) -> Self {
        Self { name, threads: threads.max(1), queue: OnceLock::new() }
    }

    /// Runs the job soon.
    pub(crate) fn spawn(&self, job: Job) {
        if let Err(mpsc::SendError(job)) = self.queue.get_or_init(|| self.start()).send(job) {
            job();
        }
    }

    /// Runs `job` soon and resolves to its result. It runs whether or not anybody waits for it.
    #[cfg_attr(not(all(feature = "folder", unix)), expect(dead_code, reason = "only folders wait this way"))]
    pub(crate) fn run<T, F>(&self, job: F) -> impl Future<Output = Result<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (sender, receiver) = futures_channel::oneshot::channel();
        self.spawn(Box::new(move || {
            // Whoever has stopped waiting does not want the result any more.
            let _ = sender.send(job());
        }));
        async move { receiver.await.map_err(|_| Error::bug("a thread dropped its job")) }
    }

    fn start(&self) -> mpsc::Sender<Job> {
        let (sender, receiver) = mpsc::channel::<Job>();
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..self.threads {
            let receiver = Arc::clone(&receiver);
            // A thread that cannot start is made up for by the others; with none, `spawn` runs jobs on its caller's.
            let _ = std::thread::Builder::new().name(format!("{}-{number}", self.name)).spawn(move || {
                loop {
                    let job = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    match job {
                        // A panicking job drops its result sender, which its owner sees as an error.
                        Ok(job) => drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(job))),
                        Err(_) => return,
                    }
                }
            });
        }
        sender
    }
}

impl std::fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ThreadPool").field("name", &self.name).field("threads", &self.threads).finish()
    }
}

/// Cores that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
