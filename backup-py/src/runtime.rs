//! The one runtime of the process: network threads, clock, randomness and the threads that compute.
//!
//! It starts with the first call and is never torn down: interpreters end by ending the process. A child that was forked
//! off has none of its threads, so every call there is refused instead of waiting for ever.

use std::sync::{Arc, OnceLock};

use backup_core::{Env, Error, ErrorKind, Logger, Result};
use tokio::runtime::{Builder, Handle};

use crate::logging::Queue;

/// Network threads. They only shuffle bytes: computing and each run have threads of their own.
const THREADS: usize = 2;

struct Shared {
    process: u32,
    tokio: tokio::runtime::Runtime,
    env: Env,
    logger: Arc<dyn Logger>,
}

static SHARED: OnceLock<Option<Shared>> = OnceLock::new();

/// Where futures of the engine are polled.
pub(crate) fn handle() -> Result<Handle> {
    shared().map(|shared| shared.tokio.handle().clone())
}

/// Clock, randomness and workers for a repository.
pub(crate) fn env() -> Result<Env> {
    shared().map(|shared| shared.env.clone())
}

/// Who takes lines for an operator.
pub(crate) fn logger() -> Result<Arc<dyn Logger>> {
    shared().map(|shared| Arc::clone(&shared.logger))
}

fn shared() -> Result<&'static Shared> {
    let shared = SHARED.get_or_init(|| {
        let mut builder = Builder::new_multi_thread();
        let tokio = builder.worker_threads(THREADS).thread_name("backup-io").enable_all().build().ok()?;
        let logger: Arc<dyn Logger> = Arc::new(Queue::start().ok()?);
        let env = Env::system().with_logger(Arc::clone(&logger));
        Some(Shared { process: std::process::id(), tokio, env, logger })
    });
    let shared = shared.as_ref().ok_or_else(|| Error::new(ErrorKind::Io, "the system gives no threads"))?;
    if shared.process != std::process::id() {
        let message = "a forked process cannot use the threads of its parent: start processes with \"spawn\"";
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    Ok(shared)
}
