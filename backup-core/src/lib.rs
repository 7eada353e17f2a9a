//! An embeddable backup engine: items from a [`Source`] become encrypted, deduplicated, compressed snapshots in a
//! [`Store`], and go back to a [`Sink`], one of them or all, as of any snapshot.
//!
//! What it is: a [`Repository`] that many writers may use at once, a format that is documented to the byte
//! (`docs/format.md`), and three small traits. Everything that leaves for the store is sealed with keys that the store
//! never sees; everything that comes back is checked before it is used.
//!
//! What it never does: start a runtime, open a socket, ask the time or the system's randomness (both are arguments, see
//! [`Env`]), take a lock, rely on a clock or on a listing, overwrite an object, or print.
//!
//! Who uses it: programs that bring their own schedule and user interface. `backup-graph` has sources and sinks for
//! Microsoft 365, `backup-ffi` and `backup-py` are the doors for C, C++ and Python.
//!
//! ```text
//!  Source ──items, bytes──► chunk · id · known? · frame · compress · seal · pack ──sealed objects──► Store
//!  Sink   ◄─items, bytes─── check · open · locate ◄───────────────────────────────sealed objects──── Store
//! ```
//!
//! # A whole round trip
//! ```
#![cfg_attr(not(feature = "system"), doc = "# /* needs feature `system`")]
//! # futures_executor::block_on(async {
//! use std::sync::Arc;
//!
//! use backup_core::{Credential, MemorySink, MemorySource, Repository, store::MemoryStore};
//!
//! let source = MemorySource::new("notes");
//! source.put_folder("0", None, "notes");
//! source.put_folder("1", Some("0"), "letters");
//! source.put_file("2", Some("1"), "hello.txt", "Dear reader");
//!
//! let passphrase = Credential::passphrase("correct horse battery staple");
//! let repository = Repository::init(Arc::new(MemoryStore::new()), &passphrase).await?;
//! let done = repository.backup(&source).run().await?;
//!
//! let sink = MemorySink::new();
//! repository.restore(done.snapshot, &sink).only("letters/**").run().await?;
//! assert_eq!(sink.content("notes/letters/hello.txt").unwrap(), "Dear reader");
//! # Ok::<_, backup_core::Error>(())
//! # }).unwrap();
#![cfg_attr(not(feature = "system"), doc = "# */")]
//! ```
//!
//! # Features
//! None is on by default, and none changes what another does.
//!
//! | feature | adds |
//! |---|---|
//! | `system` | [`Env`] with the system's clock, randomness and a pool of threads; `Repository::init` and `open` |
//! | `folder` | `FolderSource` and `FolderSink` (Unix) |
//! | `object-store` | `store::ObjectStoreAdapter` over any `object_store` implementation, `store::from_url` |
//! | `fs`, `s3`, `azure`, `gcs` | its back ends: local disk, Amazon S3, Azure Blob, Google Cloud Storage |
//! | `cache` | `DirectoryCache`: the index in mapped files, for repositories with millions of chunks |
//! | `testkit` | [conformance suites](testkit), a store that fails on command, time and randomness that repeat |
//!
//! # Speed
//! Two things are for the program to choose. Build it with `--cfg chacha20_avx512` among rustc's flags, on `x86_64`: sealing and opening are
//! 1.4 times as fast on processors with AVX-512, and as before on others. And an allocator such as jemalloc takes a tenth less time than
//! glibc's. Both with figures in `docs/decisions/0004-speed.md`.
//!
//! # Read first
//! [`Repository`], then [`Source`]; [`Error`] for the rules of errors; `docs/ARCHITECTURE.md` for the way of the data.

mod cache;
mod chunk;
mod compress;
mod crypto;
mod dedup;
mod env;
mod error;
#[cfg(all(feature = "folder", unix))]
mod folder;
mod format;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod id;
mod item;
mod limits;
mod logging;
#[cfg(feature = "cache")]
mod mapped;
mod memory;
mod parity;
pub mod policy;
mod progress;
mod repo;
mod retention;
mod sampling;
mod scrub;
mod secret;
mod sink;
mod source;
pub mod store;
#[cfg(feature = "testkit")]
pub mod testkit;
#[cfg(any(feature = "system", feature = "fs"))]
mod threads;
mod time;
mod tree;

pub use cache::{CacheEntry, IndexCache};
pub use crypto::KdfParams;
pub use env::{Clock, Entropy, Env, InlineWorkers, Workers};
pub use error::{Error, ErrorKind, Finding, Result};
#[cfg(all(feature = "folder", unix))]
pub use folder::{FolderSink, FolderSource};
pub use format::snapshot::{RecordedProblem, SnapshotState, SnapshotStats};
pub use id::{ChunkId, ObjectHash, ObjectId, PublicKey, RepoId, SessionId, SnapshotId};
pub use item::{Attributes, Collection, Cursor, Item, ItemId, ItemKind, Name, Stream, Tag, Times, Value};
pub use logging::{LogLevel, Logger};
#[cfg(feature = "cache")]
pub use mapped::DirectoryCache;
pub use memory::{MemorySink, MemorySource, ReadFault, Restored};
pub use policy::Policy;
pub use progress::{CancelToken, Control, Phase, Progress};
pub use repo::{
    BackupReport, BackupRun, Browser, Compression, Difference, Differences, DrillFinding, DrillReport,
    DrillRun, ExtendReport, ExtendRun, Head, KeySlot, Listing, MirrorReport, MirrorRun, Options,
    ParityReport, ParityRun, PruneReport, PruneRun, Repository, RestoreReport, RestoreRun, Retained,
    SalvageOptions, SalvageReport, SnapshotInfo, SnapshotSource, SnapshotSummary, Suspicion, VerifyLevel,
    VerifyReport, VerifyRun,
};
pub use retention::{Candidate, Decision, LabelMatch, Reason, Retention};
pub use scrub::{Damage, Repair, ScrubReport, ScrubRun, scrub};
pub use secret::{Credential, Passphrase, Secret};
pub use sink::{Action, BlockingPut, Conflict, Contents, Place, Placed, Placement, Sink};
pub use source::{BlockingContent, Change, Content, Problem, Source};
pub use store::{Created, Entry, Key, Store};
pub use time::Timestamp;

#[cfg(all(doctest, feature = "system"))]
#[doc = include_str!("../../README.md")]
struct Readme;
