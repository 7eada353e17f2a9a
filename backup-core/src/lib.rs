//! Backup engine core (front page to be completed with the repository).

mod chunk;
mod compress;
mod crypto;
mod dedup;
mod env;
mod error;
#[cfg(all(feature = "folder", unix))]
mod folder;
mod format;
mod id;
mod item;
mod limits;
mod memory;
mod progress;
mod repo;
mod secret;
mod sink;
mod source;
pub mod store;
#[cfg(feature = "testkit")]
pub mod testkit;
mod time;
mod tree;

pub use crypto::KdfParams;
pub use env::{Clock, Entropy, Env, InlineWorkers, Workers};
pub use error::{Error, ErrorKind, Result};
#[cfg(all(feature = "folder", unix))]
pub use folder::{FolderSink, FolderSource};
pub use format::snapshot::{RecordedProblem, SnapshotState, SnapshotStats};
pub use id::{ChunkId, ObjectHash, ObjectId, RepoId, SessionId, SnapshotId};
pub use item::{Attributes, Collection, Cursor, Item, ItemId, ItemKind, Name, Stream, Tag, Times, Value};
pub use memory::{MemorySink, MemorySource, ReadFault, Restored};
pub use progress::{CancelToken, Control, Phase, Progress};
pub use repo::{
    BackupReport, BackupRun, Browser, Difference, Differences, Finding, Head, Listing, Options, Repository,
    RestoreReport, RestoreRun, SnapshotInfo, SnapshotSummary, VerifyLevel, VerifyReport, VerifyRun,
};
pub use secret::{Credential, Passphrase, Secret};
pub use sink::{Action, Conflict, Contents, Place, Placed, Placement, Sink};
pub use source::{Change, Content, Problem, Source};
pub use store::{Created, Entry, Key, Store};
pub use time::Timestamp;
