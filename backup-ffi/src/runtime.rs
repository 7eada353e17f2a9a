//! The runtime: the network's threads, the clock, randomness and the threads that compute, shared by its repositories.
//!
//! It is a handle of the embedder's, not a global: who has two of them has two sets of threads.

use std::fmt;
use std::sync::Arc;

use backup_core::{Env, Error, ErrorKind, Logger, Result};

use crate::boundary::{Handle, Output, Poison, boundary, release};
use crate::error::backup_error;
use crate::logging::Log;

/// Network threads where the caller does not say how many: they only shuffle bytes, computing has threads of its own.
const THREADS_DEFAULT: usize = 2;
const THREADS_MAX: usize = 256;

/// Threads for input and output and for computing.
#[derive(Debug)]
pub struct backup_runtime {
    poison: Poison,
    shared: Arc<Runtime>,
}

impl Handle for backup_runtime {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

impl backup_runtime {
    pub(crate) fn shared(&self) -> &Arc<Runtime> {
        &self.shared
    }
}

/// What repositories keep of a runtime, so that it may be freed before them.
pub(crate) struct Runtime {
    /// Only taken by `drop`.
    tokio: Option<tokio::runtime::Runtime>,
    env: Env,
    log: Arc<Log>,
}

impl Runtime {
    pub(crate) fn new(threads: u32) -> Result<Self> {
        let threads = match usize::try_from(threads).unwrap_or(usize::MAX) {
            0 => THREADS_DEFAULT,
            threads => threads.min(THREADS_MAX),
        };
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(threads).thread_name("backup-io").enable_all();
        let tokio = builder
            .build()
            .map_err(|error| Error::new(ErrorKind::Io, "the system gives no threads").with_source(error))?;
        let log = Arc::new(Log::default());
        let logger: Arc<dyn Logger> = Arc::<Log>::clone(&log);
        Ok(Self { tokio: Some(tokio), env: Env::system().with_logger(logger), log })
    }

    /// Clock, randomness and workers for a repository.
    pub(crate) fn env(&self) -> Env {
        self.env.clone()
    }

    /// Where lines for an operator go.
    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// The same, for what is not of a repository.
    pub(crate) fn logger(&self) -> Arc<dyn Logger> {
        Arc::<Log>::clone(&self.log)
    }

    /// Runs the work to its end on the calling thread.
    pub(crate) fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        if tokio::runtime::Handle::try_current().is_ok() {
            let message = "a call that blocks cannot be made from a callback";
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        match &self.tokio {
            Some(tokio) => tokio.block_on(work),
            None => Err(Error::new(ErrorKind::Bug, "the runtime is shut down")),
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // Inside a callback it may not wait for its own threads.
        if let Some(tokio) = self.tokio.take()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            tokio.shutdown_background();
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("env", &self.env).finish_non_exhaustive()
    }
}

/// Makes a runtime with `threads` threads for input and output (0: the library chooses). Computing has one thread per
/// processor besides, started when first needed.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_runtime_new(
    threads: u32,
    out: *mut *mut backup_runtime,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let out: Output<_> = unsafe { door.output(out, "out") }?;
        out.give(backup_runtime { poison: Poison::default(), shared: Arc::new(Runtime::new(threads)?) });
        Ok(())
    })
}

/// Frees a runtime. Its threads end with the last repository that uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_runtime_free(runtime: *mut backup_runtime) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(runtime) }
}
