//! Reading and extending the log: what belongs to the repository, and the one commit point of every writer.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};

use super::Inner;
use super::early::{self, Early};
use crate::crypto::{Class, ObjectKind, ObjectName, SessionKeys, object_hash};
use crate::dedup::{Index, Run};
use crate::error::{Error, ErrorKind, Result};
use crate::format::log::{
    Checkpoint, Condemned, Event, Locks, LogEntry, ObjectRef, RepoConfig, SegmentRef, SnapshotRef,
};
use crate::format::{open_object, seal_object};
use crate::id::{ObjectHash, ObjectId, RepoId, SnapshotId};
use crate::limits;
use crate::logging::LogLevel;
use crate::store::{Created, Immutable, Key, Store};
use crate::time::Timestamp;

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
    /// Snapshots that must not be removed, ascending.
    pub(crate) held: Vec<SnapshotId>,
    /// What has been taken out of use and not been deleted yet.
    pub(crate) condemned: Vec<Condemned>,
    pub(crate) locks: Locks,
    /// Number of the newest entry that took something out of use: what a session has found before it may be gone.
    pub(crate) withdrawn: u64,
    /// All that was taken out of use since this program began to follow the log, deleted or not.
    pub(crate) gone: Arc<HashSet<ObjectName>>,
    pub(crate) index: Index,
    /// Number of the newest checkpoint object that is known.
    pub(super) checkpoint: u64,
}

impl State {
    /// Before anything has been read.
    pub(super) fn empty() -> Self {
        Self {
            head: Head { number: 0, hash: ObjectHash::from_bytes([0; 32]) },
            config: RepoConfig::new(RepoId::from_bytes([0; 16])),
            snapshots: Vec::new(),
            segments: Vec::new(),
            held: Vec::new(),
            condemned: Vec::new(),
            locks: Locks::default(),
            withdrawn: 0,
            gone: Arc::default(),
            index: Index::default(),
            checkpoint: 0,
        }
    }

    pub(super) fn has(&self, snapshot: SnapshotId) -> bool {
        self.snapshots.iter().any(|named| named.id() == snapshot)
    }

    pub(super) fn is_held(&self, snapshot: SnapshotId) -> bool {
        self.held.binary_search(&snapshot).is_ok()
    }

    /// All that the log names and has not taken out of use, as far as the index is loaded.
    pub(super) fn named_and_in_use(&self) -> HashSet<ObjectName> {
        let packs = self.index.packs().filter_map(Result::ok).map(|pack| ObjectName::Pack(pack.id));
        let segments = self.segments.iter().map(|segment| ObjectName::Segment(segment.object.id));
        let snapshots = self.snapshots.iter().map(|named| ObjectName::Snapshot(named.object.id));
        packs.chain(segments).chain(snapshots).collect()
    }

    /// Takes over what an entry says, all but the index.
    pub(super) fn apply(&mut self, entry: LogEntry, hash: ObjectHash) -> Result<()> {
        let number = entry.number;
        let wrong = |what: &str| Error::corrupt(what).with_item(ObjectName::Log(number).to_string());
        if number != self.head.number + 1 || entry.previous != self.head.hash {
            return Err(wrong("log entry does not follow the one before it"));
        }
        match entry.event {
            Event::Genesis(_) => return Err(wrong("log has a second genesis")),
            Event::Commit { snapshots, segments, .. } => {
                self.snapshots.extend(snapshots);
                self.segments.extend(segments);
            }
            Event::Remove(snapshots) => {
                let there: HashSet<_> = self.snapshots.iter().map(SnapshotRef::id).collect();
                let snapshots = snapshots.into_iter().filter(|id| there.contains(id));
                let objects = snapshots.map(|id| ObjectName::Snapshot(id.into())).collect();
                self.withdraw(number, entry.time, objects);
            }
            Event::Condemn { objects, segments } => {
                self.withdraw(number, entry.time, objects);
                self.segments.extend(segments);
            }
            Event::Delete(entries) => self.condemned.retain(|group| !entries.contains(&group.entry)),
            Event::Hold { held, snapshots } => {
                self.held.retain(|id| !snapshots.contains(id));
                if held {
                    self.held.extend(snapshots);
                    self.held.sort_unstable();
                    self.held.dedup();
                }
            }
            // What was true of the locks may not be what the new policy asks of them.
            Event::Protect(seconds) => self.locks = Locks { seconds, until: None },
            Event::Extended(until) => self.locks.until = self.locks.until.max(Some(until)),
        }
        self.head = Head { number, hash };
        Ok(())
    }

    /// Takes objects out of use. A snapshot that is held stays.
    fn withdraw(&mut self, entry: u64, time: Timestamp, mut objects: Vec<ObjectName>) {
        let held: HashSet<_> = self.held.iter().map(|id| ObjectName::Snapshot((*id).into())).collect();
        objects.retain(|object| !held.contains(object));
        let out: HashSet<_> = objects.iter().copied().collect();
        self.snapshots.retain(|snapshot| !out.contains(&ObjectName::Snapshot(snapshot.object.id)));
        self.segments.retain(|segment| !out.contains(&ObjectName::Segment(segment.object.id)));
        Arc::make_mut(&mut self.gone).extend(out);
        self.condemned.push(Condemned { entry, time, objects });
        self.withdrawn = entry;
    }
}

impl Inner {
    /// Reads the log and the index. With `anew`, nothing is taken from the index cache.
    pub(super) async fn load(&self, known: Option<Head>, anew: bool, early: Early) -> Result<State> {
        if self.salvaged.is_some() {
            return Ok(State::clone(&self.state()));
        }
        let mut state = self.load_log(known, early).await?;
        while let Err(error) = self.load_index_of(&mut state, anew).await {
            self.follow_past(&mut state, error).await?;
        }
        Ok(state)
    }

    /// Reads the log from its newest checkpoint on (`docs/format.md` 6.3); no index.
    pub(super) async fn load_log(&self, known: Option<Head>, mut early: Early) -> Result<State> {
        let listed = match early.take_checkpoints() {
            Some(listed) => listed,
            None => self.listed_numbers("checkpoint").await?,
        };
        let mut state = None;
        for number in listed.into_iter().rev() {
            let read = match early.object(ObjectName::Checkpoint(number)).flatten() {
                Some(bytes) => self.open_checkpoint(number, &bytes),
                None => self.read_checkpoint(number).await,
            };
            match read {
                Ok(checkpoint) => {
                    state = Some(State {
                        head: Head { number, hash: checkpoint.head },
                        config: checkpoint.config,
                        snapshots: checkpoint.snapshots,
                        segments: checkpoint.segments,
                        held: checkpoint.held,
                        condemned: checkpoint.condemned,
                        locks: checkpoint.locks,
                        checkpoint: number,
                        ..State::empty()
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
            None => self.load_genesis(&early).await?,
        };
        if let Some(known) = known {
            self.check_known_head(&state, known, &early).await?;
        }
        self.follow(&mut state, early).await?;
        if let Some(known) = known.filter(|known| known.number > state.head.number) {
            let message = format!(
                "the store shows log entry {} as its newest, but entry {} has been seen before",
                state.head.number, known.number
            );
            return Err(Error::new(ErrorKind::RolledBack, message));
        }
        Ok(state)
    }

    async fn load_index_of(&self, state: &mut State, anew: bool) -> Result<()> {
        state.index = self.load_index(&state.segments, anew).await?;
        Ok(())
    }

    /// Reads on if a segment is gone: perhaps a prune has put another one in its place. Else the error stands.
    async fn follow_past(&self, state: &mut State, error: Error) -> Result<()> {
        let before = state.withdrawn;
        if error.kind() == ErrorKind::Missing {
            self.follow_now(state).await?;
        }
        if state.withdrawn > before { Ok(()) } else { Err(error) }
    }

    async fn load_genesis(&self, early: &Early) -> Result<State> {
        let Some((entry, hash)) = self.read_log_early(0, early).await? else {
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
        let before = state.head.number;
        self.follow_now(&mut state).await?;
        if state.head.number > before {
            while let Err(error) = self.renew_index(&mut state).await {
                self.follow_past(&mut state, error).await?;
            }
        }
        Ok(state)
    }

    /// Brings the index in line with the segments that there are.
    async fn renew_index(&self, state: &mut State) -> Result<()> {
        let there: HashSet<ObjectId> = state.segments.iter().map(|segment| segment.object.id).collect();
        state.index.retain(|segment| there.contains(segment));
        let covered: HashSet<ObjectId> =
            state.index.runs().iter().flat_map(|run| run.covers()).copied().collect();
        let missing: Vec<_> =
            state.segments.iter().filter(|segment| !covered.contains(&segment.object.id)).copied().collect();
        self.add_segments(&mut state.index, &missing).await
    }

    /// Reads on, with nothing read before.
    async fn follow_now(&self, state: &mut State) -> Result<()> {
        let early = Early::list_after(&*self.store, state.head.number).await;
        self.follow(state, early).await
    }

    /// Reads on until an entry does not exist, and holds that against a listing. The index is left as it is.
    async fn follow(&self, state: &mut State, early: Early) -> Result<()> {
        // Listed before the entries are read: what others add meanwhile can then not look like a gap.
        let listed = match early.newest_listed() {
            Some(listed) => listed,
            None => self.listed_numbers("log").await?.into_iter().next_back().unwrap_or_default(),
        };
        // Those that must be there are read side by side, what comes after them one by one.
        let read = |number| -> BoxFuture<'_, Result<Option<(LogEntry, ObjectHash)>>> {
            Box::pin(self.read_log_early(number, &early))
        };
        let mut entries = stream::iter((state.head.number + 1..=listed).map(read)).buffered(LOG_READS);
        while let Some(Some((entry, hash))) = entries.next().await.transpose()? {
            state.apply(entry, hash)?;
        }
        drop(entries);
        while let Some((entry, hash)) = self.read_log_early(state.head.number + 1, &early).await? {
            state.apply(entry, hash)?;
        }
        if listed > state.head.number {
            return Err(Error::new(
                ErrorKind::Missing,
                "a log entry is gone although it or later ones are listed",
            )
            .with_item(ObjectName::Log(state.head.number + 1).to_string()));
        }
        Ok(())
    }

    /// Reads the whole log, entry by entry, and holds every checkpoint that is listed against it. Gives what is wrong.
    pub(super) async fn check_log(&self) -> Result<Vec<(ObjectName, Error)>> {
        let checkpoints = self.listed_numbers("checkpoint").await?;
        let (mut state, mut wrong) = (self.load_genesis(&Early::default()).await?, Vec::new());
        loop {
            let number = state.head.number;
            if checkpoints.binary_search(&number).is_ok() {
                let differs = || Error::corrupt("a checkpoint differs from the log that it folds");
                let found = self.read_checkpoint(number).await.and_then(|checkpoint| {
                    let same = checkpoint.head == state.head.hash
                        && checkpoint.config == state.config
                        && checkpoint.snapshots == state.snapshots
                        && checkpoint.segments == state.segments
                        && checkpoint.held == state.held
                        && checkpoint.condemned == state.condemned
                        && checkpoint.locks == state.locks;
                    if same { Ok(()) } else { Err(differs()) }
                });
                wrong.extend(found.err().map(|error| (ObjectName::Checkpoint(number), error)));
            }
            let Some((entry, hash)) = self.read_log(number + 1).await? else { return Ok(wrong) };
            state.apply(entry, hash)?;
        }
    }

    /// The entry that a client remembers must still be what it was.
    async fn check_known_head(&self, state: &State, known: Head, early: &Early) -> Result<()> {
        let hash = match self.read_log_early(known.number, early).await? {
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

    /// As [`read_log`](Self::read_log), for an entry that may have been read before.
    async fn read_log_early(&self, number: u64, early: &Early) -> Result<Option<(LogEntry, ObjectHash)>> {
        match early.object(ObjectName::Log(number)) {
            None => self.read_log(number).await,
            Some(None) => Ok(None),
            Some(Some(bytes)) => match self.open_log(number, &bytes) {
                // Perhaps only the download was bad.
                Err(error) if error.kind() == ErrorKind::Corrupt => self.read_log(number).await,
                opened => opened.map(Some),
            },
        }
    }

    pub(super) async fn read_log(&self, number: u64) -> Result<Option<(LogEntry, ObjectHash)>> {
        self.again_if_damaged(|| self.read_log_once(number)).await
    }

    pub(super) async fn read_log_once(&self, number: u64) -> Result<Option<(LogEntry, ObjectHash)>> {
        if number > limits::LOG_NUMBER_MAX {
            return Err(Error::limit("the log has more entries than the format allows"));
        }
        let name = ObjectName::Log(number);
        let bytes = match self.store.read(&name.key(), None).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        self.open_log(number, &bytes).map(Some)
    }

    /// An entry as it is stored.
    fn open_log(&self, number: u64, bytes: &Bytes) -> Result<(LogEntry, ObjectHash)> {
        let name = ObjectName::Log(number);
        let raw = open_object(self.id, &self.ring, name, bytes)?;
        let entry = LogEntry::decode(&raw, &self.ring).map_err(|error| error.with_item(name.to_string()))?;
        if entry.number != number {
            return Err(
                Error::corrupt("log entry has another number than its name").with_item(name.to_string())
            );
        }
        Ok((entry, object_hash(bytes)))
    }

    pub(super) async fn read_checkpoint(&self, number: u64) -> Result<Checkpoint> {
        let bytes = self.store.read(&ObjectName::Checkpoint(number).key(), None).await?;
        self.open_checkpoint(number, &bytes)
    }

    /// A checkpoint as it is stored.
    fn open_checkpoint(&self, number: u64, bytes: &Bytes) -> Result<Checkpoint> {
        let name = ObjectName::Checkpoint(number);
        let checkpoint = Checkpoint::decode(&open_object(self.id, &self.ring, name, bytes)?, &self.ring)?;
        if checkpoint.number == number && checkpoint.config.repo == self.id {
            Ok(checkpoint)
        } else {
            Err(Error::corrupt("checkpoint has another number than its name").with_item(name.to_string()))
        }
    }

    /// Numbers of the objects that a listing shows below `log` or `checkpoint`, ascending. Foreign names are ignored.
    pub(super) async fn listed_numbers(&self, prefix: &str) -> Result<Vec<u64>> {
        let listed = early::listed(&*self.store, prefix).await?;
        Ok(listed.into_iter().map(|(number, _)| number).collect())
    }

    /// Reads an object that the log names, and holds it against its length and hash there.
    pub(super) async fn read_named(&self, name: ObjectName, object: ObjectRef) -> Result<Bytes> {
        self.again_if_damaged(|| self.read_named_once(name, object)).await
    }

    /// What `read` gives. What is damaged is read a second time before anybody is told: perhaps only the download was bad.
    pub(super) async fn again_if_damaged<T, F>(&self, read: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        match read().await {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                self.env.log(LogLevel::Warning, || format!("{}: reading it again", described(&error)));
                read().await
            }
            read => read,
        }
    }

    async fn read_named_once(&self, name: ObjectName, object: ObjectRef) -> Result<Bytes> {
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

    /// Adds an entry after those that `state` knows. False, with `state` brought up to date, if somebody else was first: then whoever
    /// proposes the event has to look whether it is still right. `runs` are those of the segments that it adds.
    pub(super) async fn append(
        &self,
        keys: &SessionKeys,
        state: &mut State,
        event: Event,
        runs: &[Arc<Run>],
    ) -> Result<bool> {
        self.may_write()?;
        let number = state.head.number + 1;
        let name = ObjectName::Log(number);
        // The entry that sets a policy is locked by it.
        let locks = match &event {
            Event::Protect(seconds) => Locks { seconds: *seconds, until: None },
            _ => state.locks,
        };
        let entry = LogEntry { number, previous: state.head.hash, time: self.env.now(), event };
        let sealer = keys.begin(&self.env, name, Class::Meta)?;
        let bytes = Bytes::from(seal_object(&sealer, &entry.encode(&self.ring)?)?);
        if self.create_under(locks, name, bytes.clone()).await?.0 == Created::AlreadyPresent {
            self.env
                .log(LogLevel::Debug, || format!("{name} is somebody else's: what it says is read first"));
            *state = self.advance(state.clone()).await?;
            return Ok(false);
        }
        self.env.log(LogLevel::Info, || format!("{name}: {}", entry.event));
        let withdrawn = state.withdrawn;
        state.apply(entry, object_hash(&bytes))?;
        runs.iter().for_each(|run| state.index.add(Arc::clone(run)));
        if state.head.number >= state.checkpoint + CHECKPOINT_EVERY {
            self.write_checkpoint(keys, state).await;
        }
        // The entry is there whatever comes now: without an index for it, the state stays behind until it is refreshed.
        if state.withdrawn == withdrawn || self.renew_index(state).await.is_ok() {
            self.set_state(state.clone());
            self.settle_state().await;
        }
        Ok(true)
    }

    /// Adds an entry that is right whatever came before it, or none if `event` finds nothing to say any more.
    pub(super) async fn append_always(
        &self,
        event: impl Fn(&State) -> Option<Event> + Send,
    ) -> Result<Arc<State>> {
        self.may_write()?;
        let keys = SessionKeys::generate(&self.env, self.id, &self.ring)?;
        let mut state = State::clone(&self.state());
        while let Some(event) = event(&state)
            && !self.append(&keys, &mut state, event, &[]).await?
        {}
        Ok(Arc::new(state))
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
            held: state.held.clone(),
            condemned: state.condemned.clone(),
            locks: state.locks,
        };
        let name = ObjectName::Checkpoint(number);
        let bytes = checkpoint
            .encode(&self.ring)
            .and_then(|raw| seal_object(&keys.begin(&self.env, name, Class::Meta)?, &raw));
        let written = match bytes {
            Ok(bytes) => self.create_under(state.locks, name, bytes.into()).await.map(drop),
            Err(error) => Err(error),
        };
        match written {
            Ok(()) => state.checkpoint = number,
            Err(error) => {
                self.env.log(LogLevel::Warning, || format!("{name} was not written: {}", described(&error)))
            }
        }
    }
}

/// An error in one line, with what it concerns.
pub(super) fn described(error: &Error) -> String {
    match error.item() {
        Some(item) => format!("{item}: {error}"),
        None => error.to_string(),
    }
}

/// The number of a log entry or checkpoint; none for a name of another kind.
pub(super) fn number_of(key: &Key) -> Option<u64> {
    let (_, digits) =
        key.as_str().split_once('/').filter(|(kind, _)| matches!(*kind, "log" | "checkpoint"))?;
    let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    u64::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 16 && digits.bytes().all(is_digit))
}

/// Creates an object, locked until then if a time is given; recognises a success whose reply was lost.
pub(super) async fn create(
    store: &dyn Store,
    name: ObjectName,
    bytes: Bytes,
    locked: Option<(&dyn Immutable, Timestamp)>,
) -> Result<Created> {
    let key = name.key();
    let attempt = || match locked {
        Some((store, until)) => store.create_locked(&key, bytes.clone(), until),
        None => store.create(&key, bytes.clone()),
    };
    let mut unsure = None;
    for is_last in [false, true] {
        match attempt().await {
            Ok(Created::New) => return Ok(Created::New),
            // Perhaps a retry below us met the object that its own first attempt had made, or our first attempt has arrived at last.
            Ok(Created::AlreadyPresent) => {}
            Err(error) => unsure = unsure.or(Some(error)),
        }
        match (store.read(&key, None).await, unsure) {
            (Ok(present), _) if present == bytes => return Ok(Created::New),
            // Another writer's, or a torn one of ours: that shows when it is read.
            (Ok(_), _) if matches!(name.kind(), ObjectKind::Log | ObjectKind::Checkpoint) => {
                return Ok(Created::AlreadyPresent);
            }
            // Random names do not collide: bytes of somebody else under this one mean a broken or hostile store, or a
            // torn write, which must not be taken for the object.
            (Ok(_), _) => {
                let what = "the store holds other bytes than were written";
                return Err(Error::corrupt(what).with_item(name.to_string()));
            }
            // It did not arrive: once more, and then the caller has to know.
            (Err(error), Some(first)) if error.kind() == ErrorKind::NotFound && !is_last => {
                unsure = Some(first)
            }
            (Err(_), Some(first)) => return Err(first),
            (Err(error), None) => return Err(error),
        }
    }
    Err(unsure.unwrap_or_else(|| Error::bug("an object was neither created nor refused")))
}
