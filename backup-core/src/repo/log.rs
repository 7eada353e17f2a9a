//! Reading and extending the log: what belongs to the repository, and the one commit point of every writer.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};

use super::Inner;
use crate::crypto::{Class, ObjectKind, ObjectName, SessionKeys, object_hash};
use crate::dedup::{Index, Run};
use crate::error::{Error, ErrorKind, Result};
use crate::format::log::{Checkpoint, Event, LogEntry, ObjectRef, RepoConfig, SegmentRef, SnapshotRef};
use crate::format::{open_object, seal_object};
use crate::id::{ObjectHash, RepoId, SessionId};
use crate::limits;
use crate::store::{Created, Key, Store};

/// A checkpoint is written after this many entries, so that opening reads a bounded part of the log.
const CHECKPOINT_EVERY: u64 = 64;
/// Log entries read at the same time while opening.
const LOG_READS: usize = 16;

/// The end of the log as a client saw it. Keep it outside the store and give it back at the next open: then a store that
/// shows an older state, or another one, is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Head {
    /// Number of the newest entry.
    pub number: u64,
    /// Hash of the newest entry's object.
    pub hash: ObjectHash,
}

impl Head {
    /// A head remembered from an earlier session.
    #[must_use]
    pub const fn new(number: u64, hash: ObjectHash) -> Self {
        Self { number, hash }
    }
}

/// The repository as of one log entry. Immutable; a newer one replaces it.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) head: Head,
    pub(crate) config: RepoConfig,
    pub(crate) snapshots: Vec<SnapshotRef>,
    pub(crate) segments: Vec<SegmentRef>,
    pub(crate) index: Index,
    /// Number of the newest checkpoint object that is known.
    checkpoint: u64,
}

impl State {
    /// Before anything has been read.
    pub(super) fn empty() -> Self {
        Self {
            head: Head { number: 0, hash: ObjectHash::from_bytes([0; 32]) },
            config: RepoConfig::new(RepoId::from_bytes([0; 16])),
            snapshots: Vec::new(),
            segments: Vec::new(),
            index: Index::default(),
            checkpoint: 0,
        }
    }

    /// Takes over what an entry says; its segments are loaded by the caller.
    fn apply(&mut self, entry: LogEntry, hash: ObjectHash) -> Result<Vec<SegmentRef>> {
        if entry.number != self.head.number + 1 || entry.previous != self.head.hash {
            return Err(Error::corrupt("log entry does not follow the one before it")
                .with_item(ObjectName::Log(entry.number).to_string()));
        }
        let Event::Commit { snapshots, segments, .. } = entry.event else {
            return Err(Error::corrupt("log has a second genesis")
                .with_item(ObjectName::Log(entry.number).to_string()));
        };
        self.head = Head { number: entry.number, hash };
        self.snapshots.extend(snapshots);
        self.segments.extend_from_slice(&segments);
        Ok(segments)
    }
}

impl Inner {
    /// Reads the log from its newest checkpoint on (`docs/format.md` 6.3). With `anew`, nothing is taken from the index cache.
    pub(super) async fn load(&self, known: Option<Head>, anew: bool) -> Result<State> {
        let listed = self.listed_numbers("checkpoint").await?;
        let mut state = None;
        for number in listed.into_iter().rev() {
            match self.read_checkpoint(number).await {
                Ok(checkpoint) => {
                    state = Some(State {
                        head: Head { number, hash: checkpoint.head },
                        config: checkpoint.config,
                        snapshots: checkpoint.snapshots,
                        segments: checkpoint.segments,
                        index: Index::default(),
                        checkpoint: number,
                    });
                    break;
                }
                // A listing is a hint: what it shows may be gone, or not be ours. Older checkpoints serve as well.
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corrupt) => {}
                Err(error) => return Err(error),
            }
        }
        let mut state = match state {
            Some(state) => state,
            None => self.load_genesis().await?,
        };
        if let Some(known) = known {
            self.check_known_head(&state, known).await?;
        }
        self.follow(&mut state).await?;
        if let Some(known) = known.filter(|known| known.number > state.head.number) {
            let message = format!(
                "the store shows log entry {} as its newest, but entry {} has been seen before",
                state.head.number, known.number
            );
            return Err(Error::new(ErrorKind::RolledBack, message));
        }
        state.index = self.load_index(&state.segments, anew).await?;
        Ok(state)
    }

    async fn load_genesis(&self) -> Result<State> {
        let Some((entry, hash)) = self.read_log(0).await? else {
            if self.listed_numbers("log").await?.is_empty() {
                return Err(Error::new(ErrorKind::NotARepository, "the log has no first entry"));
            }
            return Err(Error::new(
                ErrorKind::Missing,
                "the first log entry is gone although later ones are listed",
            ));
        };
        match entry {
            LogEntry { number: 0, event: Event::Genesis(config), .. } if config.repo == self.id => {
                Ok(State { head: Head { number: 0, hash }, config, ..State::empty() })
            }
            _ => Err(Error::corrupt("the first log entry does not create a repository")),
        }
    }

    /// Takes over what has been committed since.
    pub(super) async fn advance(&self, mut state: State) -> Result<State> {
        let fresh = self.follow(&mut state).await?;
        self.add_segments(&mut state.index, &fresh).await?;
        Ok(state)
    }

    /// Reads on until an entry does not exist, and holds that against a listing. The segments of the entries are left to be loaded.
    async fn follow(&self, state: &mut State) -> Result<Vec<SegmentRef>> {
        // Listed before the entries are read: what others add meanwhile can then not look like a gap.
        let listed = self.listed_numbers("log").await?.into_iter().next_back().unwrap_or_default();
        let mut fresh = Vec::new();
        // Those that must be there are read side by side, what comes after them one by one.
        let read = |number| -> BoxFuture<'_, Result<Option<(LogEntry, ObjectHash)>>> {
            Box::pin(self.read_log(number))
        };
        let mut entries = stream::iter((state.head.number + 1..=listed).map(read)).buffered(LOG_READS);
        while let Some(Some((entry, hash))) = entries.next().await.transpose()? {
            fresh.extend(state.apply(entry, hash)?);
        }
        drop(entries);
        while let Some((entry, hash)) = self.read_log(state.head.number + 1).await? {
            fresh.extend(state.apply(entry, hash)?);
        }
        if listed > state.head.number {
            return Err(Error::new(
                ErrorKind::Missing,
                "a log entry is gone although it or later ones are listed",
            )
            .with_item(ObjectName::Log(state.head.number + 1).to_string()));
        }
        Ok(fresh)
    }

    /// Reads the whole log, entry by entry, and holds every checkpoint that is listed against it. Gives what is wrong.
    pub(super) async fn check_log(&self) -> Result<Vec<(ObjectName, Error)>> {
        let checkpoints = self.listed_numbers("checkpoint").await?;
        let (mut state, mut wrong) = (self.load_genesis().await?, Vec::new());
        loop {
            let number = state.head.number;
            if checkpoints.binary_search(&number).is_ok() {
                let differs = || Error::corrupt("a checkpoint differs from the log that it folds");
                let found = self.read_checkpoint(number).await.and_then(|checkpoint| {
                    let same = checkpoint.head == state.head.hash
                        && checkpoint.config == state.config
                        && checkpoint.snapshots == state.snapshots
                        && checkpoint.segments == state.segments;
                    if same { Ok(()) } else { Err(differs()) }
                });
                wrong.extend(found.err().map(|error| (ObjectName::Checkpoint(number), error)));
            }
            let Some((entry, hash)) = self.read_log(number + 1).await? else { return Ok(wrong) };
            state.apply(entry, hash)?;
        }
    }

    /// The entry that a client remembers must still be what it was.
    async fn check_known_head(&self, state: &State, known: Head) -> Result<()> {
        let hash = match self.read_log(known.number).await? {
            Some((_, hash)) => Some(hash),
            // Nothing removes log entries in this version: without this one, what follows may be another history.
            None if known.number <= state.head.number => {
                let message = format!("log entry {}, which has been seen before, is gone", known.number);
                return Err(Error::new(ErrorKind::RolledBack, message));
            }
            None => None,
        };
        match hash {
            Some(hash) if hash != known.hash => Err(Error::new(
                ErrorKind::RolledBack,
                format!("log entry {} is not the one that has been seen before", known.number),
            )),
            _ => Ok(()),
        }
    }

    async fn read_log(&self, number: u64) -> Result<Option<(LogEntry, ObjectHash)>> {
        if number > limits::LOG_NUMBER_MAX {
            return Err(Error::limit("the log has more entries than the format allows"));
        }
        let name = ObjectName::Log(number);
        let bytes = match self.store.read(&name.key(), None).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let raw = open_object(self.id, &self.ring, name, &bytes)?;
        let entry = LogEntry::decode(&raw, &self.ring).map_err(|error| error.with_item(name.to_string()))?;
        if entry.number != number {
            return Err(
                Error::corrupt("log entry has another number than its name").with_item(name.to_string())
            );
        }
        Ok(Some((entry, object_hash(&bytes))))
    }

    async fn read_checkpoint(&self, number: u64) -> Result<Checkpoint> {
        let name = ObjectName::Checkpoint(number);
        let bytes = self.store.read(&name.key(), None).await?;
        let checkpoint = Checkpoint::decode(&open_object(self.id, &self.ring, name, &bytes)?, &self.ring)?;
        if checkpoint.number == number && checkpoint.config.repo == self.id {
            Ok(checkpoint)
        } else {
            Err(Error::corrupt("checkpoint has another number than its name").with_item(name.to_string()))
        }
    }

    /// Numbers of the objects that a listing shows below `log` or `checkpoint`, ascending. Foreign names are ignored.
    async fn listed_numbers(&self, prefix: &str) -> Result<Vec<u64>> {
        let prefix = Key::known(prefix.to_owned());
        let mut numbers = Vec::new();
        let mut entries = self.store.list(&prefix);
        while let Some(entry) = entries.next().await {
            let entry = entry?;
            let name =
                entry.key.as_str().strip_prefix(prefix.as_str()).and_then(|rest| rest.strip_prefix('/'));
            let digits = |name: &&str| {
                name.len() == 16 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            };
            numbers.extend(name.filter(digits).and_then(|name| u64::from_str_radix(name, 16).ok()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Reads an object that the log names, and holds it against its length and hash there.
    pub(super) async fn read_named(&self, name: ObjectName, object: ObjectRef) -> Result<Bytes> {
        let bytes = self.store.read(&name.key(), None).await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::new(ErrorKind::Missing, "an object that the log names is gone")
                .with_item(name.to_string()),
            _ => error,
        })?;
        if bytes.len() as u64 != object.len || object_hash(&bytes) != object.hash {
            return Err(
                Error::corrupt("object is not the one that the log names").with_item(name.to_string())
            );
        }
        Ok(bytes)
    }

    /// Commits: adds one log entry naming what a session has written. Everything named is in the store already.
    pub(super) async fn commit(
        &self,
        keys: &SessionKeys,
        session: SessionId,
        snapshots: Vec<SnapshotRef>,
        segments: Vec<SegmentRef>,
        runs: Vec<Arc<Run>>,
    ) -> Result<()> {
        let mut state = State::clone(&self.state());
        loop {
            let number = state.head.number + 1;
            let name = ObjectName::Log(number);
            let event = Event::Commit { session, snapshots: snapshots.clone(), segments: segments.clone() };
            let entry = LogEntry { number, previous: state.head.hash, time: self.env.now(), event };
            let sealer = keys.begin(&self.env, name, Class::Meta)?;
            let bytes = Bytes::from(seal_object(&sealer, &entry.encode(&self.ring)?)?);
            match create(&*self.store, name, bytes.clone()).await? {
                Created::New => {
                    state.apply(entry, object_hash(&bytes))?;
                    runs.iter().for_each(|run| state.index.add(Arc::clone(run)));
                    break;
                }
                // Another writer was first: take over what it committed and try the next number.
                Created::AlreadyPresent => state = self.advance(state).await?,
            }
        }
        if state.head.number >= state.checkpoint + CHECKPOINT_EVERY {
            self.write_checkpoint(keys, &mut state).await;
        }
        self.set_state(state);
        self.settle_state().await;
        Ok(())
    }

    /// Folds the log. Failing to do so loses nothing: opening reads more entries until somebody succeeds.
    async fn write_checkpoint(&self, keys: &SessionKeys, state: &mut State) {
        let number = state.head.number;
        let checkpoint = Checkpoint {
            number,
            head: state.head.hash,
            config: state.config,
            snapshots: state.snapshots.clone(),
            segments: state.segments.clone(),
        };
        let name = ObjectName::Checkpoint(number);
        let bytes = checkpoint
            .encode(&self.ring)
            .and_then(|raw| seal_object(&keys.begin(&self.env, name, Class::Meta)?, &raw));
        if let Ok(bytes) = bytes
            && self.store.create(&name.key(), bytes.into()).await.is_ok()
        {
            state.checkpoint = number;
        }
    }
}

/// Creates an object; recognises a success whose reply was lost.
pub(super) async fn create(store: &dyn Store, name: ObjectName, bytes: Bytes) -> Result<Created> {
    let key = name.key();
    let first = store.create(&key, bytes.clone()).await;
    let unsure = match first {
        Ok(Created::New) => return Ok(Created::New),
        // Perhaps a retry below us met the object that its own first attempt had made.
        Ok(Created::AlreadyPresent) => None,
        Err(error) => Some(error),
    };
    match (store.read(&key, None).await, unsure) {
        (Ok(present), _) if present == bytes => Ok(Created::New),
        (Ok(_), None) if matches!(name.kind(), ObjectKind::Log | ObjectKind::Checkpoint) => {
            Ok(Created::AlreadyPresent)
        }
        // Random names do not collide: bytes of somebody else under this one mean a broken or hostile store, or a
        // torn write, which must not be taken for the object.
        (Ok(_), Some(_)) if matches!(name.kind(), ObjectKind::Log) => {
            // Whether it is another writer's entry or a torn one of ours shows when it is read.
            Ok(Created::AlreadyPresent)
        }
        (Ok(_), _) => {
            Err(Error::corrupt("the store holds other bytes than were written").with_item(name.to_string()))
        }
        // It did not arrive: once more, and then the caller has to know.
        (Err(error), Some(_)) if error.kind() == ErrorKind::NotFound => store.create(&key, bytes).await,
        (Err(_), Some(first)) => Err(first),
        (Err(error), None) => Err(error),
    }
}
