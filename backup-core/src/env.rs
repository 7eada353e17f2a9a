//! What the engine asks of the world besides its store: the time, randomness, and where to compute.
//!
//! All three are arguments, so a test can replay a run to the byte. Feature `system` provides the real ones. Where lines for an operator go
//! is an argument too.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::logging::{LogLevel, Logger};
use crate::time::Timestamp;

/// Tells the time. No decision about what may go depends on it. Where a [policy of locks](crate::Repository::protect) is in force, locks are computed
/// from it, and it is held against the store's clock.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// Gives unpredictable bytes. Keys, salts and object names come from here.
pub trait Entropy: Send + Sync {
    /// Fills the buffer.
    ///
    /// # Errors
    /// If the system has no randomness to give; nothing is sealed then.
    fn fill(&self, bytes: &mut [u8]) -> Result<()>;
}

/// Runs what would hold up an async thread: computing, and reads of a source that block (see
/// [`Source::open_blocking`](crate::Source::open_blocking)). The engine hands over jobs of about a millisecond to 50 ms and never blocks a
/// job on another one.
pub trait Workers: Send + Sync {
    /// Runs the job soon, on any thread, also on this one.
    fn spawn(&self, job: Box<dyn FnOnce() + Send>);

    /// How many jobs can run at once, at least 1.
    fn parallelism(&self) -> usize;
}

/// The world as the engine sees it. Cloning shares it.
#[derive(Clone)]
pub struct Env {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    workers: Arc<dyn Workers>,
    logger: Option<Arc<dyn Logger>>,
}

impl Env {
    /// An environment of the caller's own making.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, workers: Arc<dyn Workers>) -> Self {
        Self { clock, entropy, workers, logger: None }
    }

    /// The system's clock and randomness, and a pool of as many std threads as the machine has cores. The pool is
    /// started by the first job and ends with the last clone of this environment.
    #[cfg(feature = "system")]
    #[must_use]
    pub fn system() -> Self {
        Self::new(Arc::new(system::SystemClock), Arc::new(system::SystemEntropy), Arc::new(system::pool()))
    }

    /// This environment with other workers.
    #[must_use]
    pub fn with_workers(mut self, workers: Arc<dyn Workers>) -> Self {
        self.workers = workers;
        self
    }

    /// This environment with somebody who takes the lines that the engine has for an operator; nobody does by default.
    #[must_use]
    pub fn with_logger(mut self, logger: Arc<dyn Logger>) -> Self {
        self.logger = Some(logger);
        self
    }

    /// Hands a line to the logger, if there is one that wants it.
    pub(crate) fn log(&self, level: LogLevel, line: impl FnOnce() -> String) {
        if let Some(logger) = self.logger.as_ref().filter(|logger| logger.wants(level)) {
            logger.log(level, &line());
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn random<const N: usize>(&self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.entropy.fill(&mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn parallelism(&self) -> usize {
        self.workers.parallelism().max(1)
    }

    /// Runs `job` on a worker.
    pub(crate) fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        self.workers.spawn(Box::new(job));
    }

    /// Runs `job` on a worker and resolves to its result.
    pub(crate) fn run<T, F>(&self, job: F) -> impl Future<Output = Result<T>> + Send + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce() -> Result<T> + Send + 'static,
    {
        let (sender, receiver) = futures_channel::oneshot::channel();
        self.spawn(move || {
            // A receiver that is gone means that the operation was dropped: the result is not wanted any more.
            let _ = sender.send(job());
        });
        async move { receiver.await.unwrap_or_else(|_| Err(Error::bug("a worker dropped its job"))) }
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("parallelism", &self.parallelism()).finish_non_exhaustive()
    }
}

/// Workers that run every job at once on the calling thread: for deterministic tests and single-threaded hosts.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct InlineWorkers;

impl InlineWorkers {
    /// The one value of this type.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Workers for InlineWorkers {
    fn spawn(&self, job: Box<dyn FnOnce() + Send>) {
        job();
    }

    fn parallelism(&self) -> usize {
        1
    }
}

#[cfg(feature = "system")]
mod system {
    use super::{Clock, Entropy, Error, Result, Timestamp, Workers};
    use crate::error::ErrorKind;
    use crate::threads::{ThreadPool, cores};

    pub(super) struct SystemClock;

    impl Clock for SystemClock {
        fn now(&self) -> Timestamp {
            std::time::SystemTime::now().into()
        }
    }

    pub(super) struct SystemEntropy;

    impl Entropy for SystemEntropy {
        fn fill(&self, bytes: &mut [u8]) -> Result<()> {
            getrandom::fill(bytes).map_err(|error| {
                Error::new(ErrorKind::Io, "the system gives no randomness").with_source(error)
            })
        }
    }

    pub(super) fn pool() -> ThreadPool {
        ThreadPool::new("backup-worker", cores())
    }

    impl Workers for ThreadPool {
        fn spawn(&self, job: Box<dyn FnOnce() + Send>) {
            self.spawn(job);
        }

        fn parallelism(&self) -> usize {
            cores()
        }
    }
}
