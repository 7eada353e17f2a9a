//! Backup engine core (front page to be completed with the repository).

mod env;
mod error;
mod id;
mod item;
mod limits;
mod progress;
mod sink;
mod source;
pub mod store;
mod time;

pub use env::{Clock, Entropy, Env, InlineWorkers, Workers};
pub use error::{Error, ErrorKind, Result};
pub use id::{ChunkId, ObjectHash, ObjectId, RepoId, SessionId, SnapshotId};
pub use item::{Attributes, Collection, Cursor, Item, ItemId, ItemKind, Name, Stream, Tag, Times, Value};
pub use progress::{CancelToken, Control, Phase, Progress};
pub use sink::{Action, Conflict, Contents, Place, Placed, Placement, Sink};
pub use source::{Change, Content, Problem, Source};
pub use store::{Created, Entry, Key, Store};
pub use time::Timestamp;
