//! The extension module `backup_py._backup`: the engine for Python.
//!
//! This crate converts: Python objects to calls, results to frozen dataclasses, errors and panics to exceptions. It
//! decides nothing about backups. Rules for it:
//!
//! - Whatever may take time is a `door::Job`, run by `door::wait` or `door::promise`. No other place blocks, starts a
//!   thread, catches panics or looks for signals; what comes from other threads passes `gate`.
//! - The engine's threads use no Python object: progress callbacks run on the caller's thread, or on the event loop's;
//!   sources, sinks and stores that are Python objects are served by threads of Python's own, see `seams`; so are tokens (`graph::token`). All that may
//!   pass through the engine's threads is `bytes` whose content they read, and exceptions that they carry.
//! - All classes are frozen and their methods may be called from any thread at any time, with or without a global lock.
//! - Results and exceptions are Python classes (`python/backup_py/`); `convert` and `error` make them by name.
//! - Documentation for users is in `_backup.pyi`; the doc comments of exported methods repeat its first lines, and a
//!   test compares them.
//!
//! Start reading at `repository`. How to add a method: docs/python.md.

mod awaited;
mod browse;
mod convert;
mod copies;
mod door;
mod drill;
mod error;
mod event_loop;
mod folder;
mod gate;
mod graph;
mod keys;
mod locks;
mod logging;
mod notebook;
mod pages;
mod policy;
mod progress;
mod repair;
mod reports;
mod repository;
mod results;
mod runs;
mod runtime;
mod seams;
mod store;

use pyo3::prelude::pymodule;

#[pymodule(gil_used = false, name = "_backup")]
mod backup_py {
    use pyo3::prelude::*;

    #[pymodule_export]
    use super::browse::Browser;
    #[pymodule_export]
    use super::copies::SnapshotSource;
    #[pymodule_export]
    use super::door::_panic_for_tests;
    #[pymodule_export]
    use super::folder::{FolderSink, FolderSource};
    #[pymodule_export]
    use super::graph::{DriveSink, DriveSource, Tenant};
    #[pymodule_export]
    use super::pages::{Differences, Listing};
    #[pymodule_export]
    use super::policy::Policy;
    #[pymodule_export]
    use super::progress::CancelToken;
    #[pymodule_export]
    use super::repair::{probe, probe_async, scrub, scrub_async, suspicions};
    #[pymodule_export]
    use super::repository::Repository;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::gate::install(module.py())?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
