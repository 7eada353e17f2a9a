//! Plain threads that share one queue, for work that would hold up an async thread: computing, and calls of the system.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::error::{Error, Result};

type Job = Box<dyn FnOnce() + Send>;

/// A pool of threads. They start with the first job and end with the pool. Jobs should be coarse enough that taking a lock for
/// each is no cost.
pub(crate) struct ThreadPool {
    name: &'static str,
    threads: usize,
    queue: OnceLock<Arc<Queue>>,
}

/// Jobs that wait for a thread. A condition rather than a channel: one job wakes one thread, and none if all are busy.
#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// Threads that wait for a job.
    idle: usize,
    /// Threads that have started.
    running: usize,
    /// No more jobs will come.
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job, once there is one; none when no more will come.
    fn next(&self) -> Option<Job> {
        let mut waiting = self.lock();
        loop {
            if let Some(job) = waiting.jobs.pop_front() {
                return Some(job);
            }
            if waiting.closed {
                return None;
            }
            waiting.idle += 1;
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            waiting.idle -= 1;
        }
    }
}

impl ThreadPool {
    /// So many threads, at least one, that are called `name-0`, `name-1` ...
    pub(crate) fn new(name: &'static str, threads: usize) -> Self {
        Self { name, threads: threads.max(1), queue: OnceLock::new() }
    }

    /// Runs the job soon.
    pub(crate) fn spawn(&self, job: Job) {
        let queue = self.queue.get_or_init(|| self.start());
        let mut waiting = queue.lock();
        if waiting.running == 0 {
            drop(waiting);
            return job();
        }
        waiting.jobs.push_back(job);
        let wake = waiting.idle > 0;
        drop(waiting);
        if wake {
            queue.changed.notify_one();
        }
    }

    /// Runs `job` soon and resolves to its result. It runs whether or not anybody waits for it.
    #[cfg_attr(
        not(any(feature = "fs", all(feature = "folder", unix))),
        expect(dead_code, reason = "only folders and disks wait this way")
    )]
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

    fn start(&self) -> Arc<Queue> {
        let queue = Arc::new(Queue::default());
        for number in 0..self.threads {
            let jobs = Arc::clone(&queue);
            // A thread that cannot start is made up for by the others; with none, `spawn` runs jobs on its caller's.
            let thread = std::thread::Builder::new().name(format!("{}-{number}", self.name));
            let started = thread.spawn(move || {
                while let Some(job) = jobs.next() {
                    // A panicking job drops its result sender, which its owner sees as an error.
                    drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)));
                }
            });
            queue.lock().running += usize::from(started.is_ok());
        }
        queue
    }
}

impl Drop for ThreadPool {
    /// What is waiting is still run.
    fn drop(&mut self) {
        if let Some(queue) = self.queue.get() {
            queue.lock().closed = true;
            queue.changed.notify_all();
        }
    }
}

impl std::fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ThreadPool").field("name", &self.name).field("threads", &self.threads).finish()
    }
}

/// Cores that this process may use.
#[cfg(feature = "system")]
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
