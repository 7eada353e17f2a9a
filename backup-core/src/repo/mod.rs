//! The repository: the async shell that runs the pure parts over a [`Store`]. It spawns nothing and knows no runtime.

mod ahead;
mod backup;
mod batcher;
mod browse;
mod chunks;
mod commit;
mod content;
mod difference;
mod drill;
mod early;
mod extend;
mod frames;
#[cfg(feature = "testkit")]
pub(crate) mod imaginary;
mod index;
mod ingest;
mod keys;
mod locks;
mod log;
mod mirror;
mod pace;
mod parity;
mod pipeline;
mod plan;
mod prune;
mod references;
mod restore;
mod retain;
mod salvage;
mod session;
mod snapshot_source;
mod staging;
mod stored;
mod suspicion;
#[cfg(all(test, feature = "testkit"))]
mod tests;
mod trees;
mod under_way;
mod undo;
mod verify;
mod walk;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use bytes::Bytes;
use futures_util::future::{BoxFuture, join};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::cache::IndexCache;
use crate::chunk::Gear;
use crate::crypto::{Class, KdfParams, Keyring, ObjectName, SessionKeys, open_slot, seal_slot};
use crate::dedup::Index;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::format::log::{Event, LogEntry, RepoConfig, SnapshotRef};
use crate::format::snapshot::{RecordedProblem, Snapshot, SnapshotState, SnapshotStats};
use crate::format::{open_object, seal_object};
use crate::id::{ObjectHash, ObjectId, RepoId, SnapshotId};
use crate::item::Collection;
use crate::limits;
use crate::logging::LogLevel;
use crate::secret::Credential;
use crate::source::Source;
use crate::store::{Created, Key, Probe, Store, as_of, probe_at};
use crate::time::Timestamp;

pub use backup::{BackupReport, BackupRun};
pub use browse::{Browser, Listing};
pub use difference::{Difference, Differences};
pub use drill::{DrillFinding, DrillReport, DrillRun};
pub use extend::{ExtendReport, ExtendRun};
pub use keys::KeySlot;
pub use log::Head;
pub use mirror::{MirrorReport, MirrorRun};
pub use pace::Compression;
pub use parity::{ParityReport, ParityRun};
pub use prune::{PruneReport, PruneRun};
pub use restore::{RestoreReport, RestoreRun};
pub use retain::Retained;
pub use salvage::{SalvageOptions, SalvageReport};
pub use snapshot_source::SnapshotSource;
pub use suspicion::Suspicion;
pub use verify::{VerifyLevel, VerifyReport, VerifyRun};

use chunks::Caches;
use early::Early;
use index::Cache;
use locks::Proved;
use log::State;

/// Key slots read at the same time.
const SLOT_READS: usize = 8;

/// An open repository. Clones share it; all methods may be called at the same time.
///
/// See the [crate's front page](crate) for a whole example.
#[derive(Clone)]
pub struct Repository {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn Store>,
    env: Env,
    id: RepoId,
    ring: Keyring,
    state: RwLock<Arc<State>>,
    gear: OnceLock<Arc<Gear>>,
    caches: Arc<Caches>,
    cache: Option<Cache>,
    bytes_read: AtomicU64,
    proved: Proved,
    /// Open as of an earlier time.
    read_only: bool,
    probe: OnceLock<Probe>,
    /// It is what could be saved of a damaged repository: nothing is written, and the log is not read again.
    salvaged: Option<salvage::Salvaged>,
}

/// How to create or open a repository, beyond where and with which key.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Options {
    /// Cost of stretching the passphrase of the first slot (creation only).
    pub kdf: KdfParams,
    /// The head seen last time; an older or another log is then refused as [`ErrorKind::RolledBack`].
    pub known_head: Option<Head>,
    /// Where the index is kept for the next opening, which then reads only what others have committed since; `DirectoryCache`
    /// (feature `cache`) keeps it in files. Without one the whole index is read at every opening and held in memory, 47 bytes a chunk.
    pub index_cache: Option<Arc<dyn IndexCache>>,
    /// Opens the repository as it was at this time, by the store's clock, whatever was hidden, overwritten or added since; nothing can be
    /// written. For a store that keeps versions, after somebody has deleted what there was; see `docs/immutability.md`. `known_head` does not count then.
    pub as_of: Option<Timestamp>,
    /// Opening tries what the store does, as creating always does ([`probe`](crate::store::probe)), and refuses one that is unsafe. Costs 24
    /// calls and the right to write. Off by default: a store does not change its ways from one day to the next, and whoever
    /// opens a repository to restore from it need not be allowed to write. Worth it after a move to another service, gateway or file system.
    pub probe: bool,
}

/// A snapshot in a listing.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct SnapshotSummary {
    /// Its id.
    pub id: SnapshotId,
    /// What it is a state of.
    pub collection: Collection,
    /// When its run began, by the writer's clock.
    pub created: Timestamp,
    /// How whole it is.
    pub state: SnapshotState,
    /// Its run reported a [`Suspicion`].
    pub suspicious: bool,
    /// It must not be removed; see [`Repository::hold`].
    pub held: bool,
    /// The log says for sure that it is in use. Always so but in a [salvaged](Repository::salvage) repository, where it may be that it
    /// was removed, or never committed, and what says so is lost.
    pub confirmed: bool,
}

/// All that a snapshot says of itself.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct SnapshotInfo {
    /// Id, collection, time and state.
    pub summary: SnapshotSummary,
    /// The snapshot that its run built on.
    pub parent: Option<SnapshotId>,
    /// Figures of its run.
    pub stats: SnapshotStats,
    /// Items that could not be read, the first 1,000 of them.
    pub problems: Vec<RecordedProblem>,
    /// The embedder's own names and values.
    pub labels: Vec<(String, String)>,
}

impl Repository {
    /// Creates a repository in an empty store, with the system's clock, randomness and threads.
    ///
    /// # Errors
    /// `AlreadyExists` if there is one; else what the store reports.
    #[cfg(feature = "system")]
    pub async fn init(store: Arc<dyn Store>, credential: &Credential) -> Result<Self> {
        Self::init_with(store, credential, Env::system(), Options::default()).await
    }

    /// Opens a repository, with the system's clock, randomness and threads.
    ///
    /// # Errors
    /// `NotARepository`, `WrongKey`, `NewerFormat`, `Corrupt`, or what the store reports.
    #[cfg(feature = "system")]
    pub async fn open(store: Arc<dyn Store>, credential: &Credential) -> Result<Self> {
        Self::open_with(store, credential, Env::system(), Options::default()).await
    }

    /// Creates a repository in an empty store. Of two that try at once, one succeeds. Tries first what the store does
    /// ([`probe`](crate::store::probe)): nothing of the repository is written to one that is unsafe.
    ///
    /// # Errors
    /// `AlreadyExists` if there is one; `UnsafeStore` if backups would not be safe there; else what the store reports.
    pub async fn init_with(
        store: Arc<dyn Store>,
        credential: &Credential,
        env: Env,
        options: Options,
    ) -> Result<Self> {
        if options.as_of.is_some() {
            return Err(Error::invalid("nothing can be created as of an earlier time"));
        }
        let exists = || Error::new(ErrorKind::AlreadyExists, "there is a repository at this place already");
        match store.size(&ObjectName::Log(0).key()).await {
            Ok(_) => return Err(exists()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.is_retryable() => return Err(error),
            // A store that hides what is absent answers so for every name; the probe says that more clearly.
            Err(error) => {
                probe_at(&*store, env.random()?).await?;
                return Err(error);
            }
        }
        // What is left of a repository must not become part of another one.
        for prefix in ["log", "checkpoint"] {
            let prefix = Key::known(prefix.to_owned());
            let mut left = store.list(&prefix);
            if left.try_next().await?.is_some() {
                let message = "there are remains of a repository at this place";
                return Err(Error::new(ErrorKind::AlreadyExists, message));
            }
        }
        let id = RepoId::from_bytes(env.random()?);
        // The id is random and no secret, so it serves for the probe's name too.
        let found = probe_at(&*store, *id.as_bytes()).await?;
        let ring = Keyring::generate(&env)?;
        let slot = ObjectId::from_bytes(env.random()?);
        let bytes = seal_slot(&env, id, slot, &ring, credential, options.kdf)?;
        log::create(&*store, ObjectName::KeySlot(slot), bytes.into(), None).await?;

        let keys = SessionKeys::generate(&env, id, &ring)?;
        let event = Event::Genesis(RepoConfig::new(id));
        let entry = LogEntry { number: 0, previous: ObjectHash::from_bytes([0; 32]), time: env.now(), event };
        let sealer = keys.begin(&env, ObjectName::Log(0), Class::Meta)?;
        let bytes = Bytes::from(seal_object(&sealer, &entry.encode(&ring)?)?);
        // The first log entry is what makes it a repository; a slot without it belongs to nobody.
        if log::create(&*store, ObjectName::Log(0), bytes, None).await? == Created::AlreadyPresent {
            store.delete(&ObjectName::KeySlot(slot).key()).await?;
            return Err(exists());
        }
        let repository = Self::load(store, env, id, ring, options, Early::default()).await?;
        let _ = repository.inner.probe.set(found);
        Ok(repository)
    }

    /// Opens a repository.
    ///
    /// # Errors
    /// `NotARepository` if there is none, `WrongKey` if no slot opens, `NewerFormat` if it was written by a newer
    /// version, `RolledBack` if the store shows less than `options.known_head`, `Corrupt` or `Missing` for damage, `UnsafeStore` if
    /// `options.probe` was asked for and backups are not safe there.
    pub async fn open_with(
        store: Arc<dyn Store>,
        credential: &Credential,
        env: Env,
        options: Options,
    ) -> Result<Self> {
        let store = match options.as_of {
            Some(time) => as_of(store, time)?,
            None => store,
        };
        let known = options.known_head.filter(|_| options.as_of.is_none());
        let (slots, early) = join(key_slots(&*store), Early::list(&*store)).await;
        let (slots, mut early) = join(read_slots(&*store, slots?), early.read(&*store, known)).await;
        let (mut failure, mut seen) = (None, false);
        for (slot, bytes) in slots {
            seen = true;
            match bytes.and_then(|bytes| try_slot(slot, &bytes, credential)) {
                Ok(None) => {}
                Ok(Some((id, ring))) => {
                    let (store, early) = (Arc::clone(&store), std::mem::take(&mut early));
                    match Self::load(store, env.clone(), id, ring, options.clone(), early).await {
                        // A slot of a creation that lost a race opens, but the log is another repository's.
                        Err(error) if error.kind() == ErrorKind::Corrupt => failure = Some(error),
                        Ok(repository) if options.probe => {
                            let found = probe_at(&*repository.inner.store, env.random()?).await?;
                            let _ = repository.inner.probe.set(found);
                            return Ok(repository);
                        }
                        other => return other,
                    }
                }
                // A damaged slot does not keep the others from opening.
                Err(error) => failure = Some(error),
            }
        }
        Err(not_opened(failure, seen))
    }

    async fn load(
        store: Arc<dyn Store>,
        env: Env,
        id: RepoId,
        ring: Keyring,
        options: Options,
        early: Early,
    ) -> Result<Self> {
        let cache = options.index_cache.map(|entries| Cache::new(entries, id, &ring)).transpose()?;
        let inner =
            Inner { cache, read_only: options.as_of.is_some(), ..Inner::unread(store, env, id, ring) };
        // What has been seen may be from after that time.
        let known = options.known_head.filter(|_| options.as_of.is_none());
        let state = inner.load(known, false, early).await?;
        let gear = Gear::new(inner.ring.chunking()?, state.config.chunks)?;
        let _ = inner.gear.set(Arc::new(gear));
        inner.env.log(LogLevel::Info, || {
            let (snapshots, segments) = (state.snapshots.len(), state.segments.len());
            format!("opened at log entry {}: {snapshots} snapshots, {segments} segments", state.head.number)
        });
        inner.set_state(state);
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The same repository as it is known now, over another store that holds the same objects.
    #[cfg(feature = "testkit")]
    pub(crate) fn over(&self, store: Arc<dyn Store>, env: Env) -> Self {
        let Inner { id, ring, gear, read_only, .. } = &*self.inner;
        let inner = Inner {
            state: RwLock::new(self.inner.state()),
            gear: gear.clone(),
            read_only: *read_only,
            ..Inner::unread(store, env, *id, ring.clone())
        };
        Self { inner: Arc::new(inner) }
    }

    /// The repository's id.
    #[must_use]
    pub fn id(&self) -> RepoId {
        self.inner.id
    }

    /// What the store was seen to do when this repository was created, or opened with [`Options::probe`]; else nothing.
    #[must_use]
    pub fn probe(&self) -> Option<&Probe> {
        self.inner.probe.get()
    }

    /// The end of the log as known now; see [`Head`].
    #[must_use]
    pub fn head(&self) -> Head {
        self.inner.state().head
    }

    /// Reads what other writers have committed since.
    ///
    /// # Errors
    /// What the store reports, or damage of the log.
    pub async fn refresh(&self) -> Result<()> {
        self.inner.refresh().await.map(drop)
    }

    /// All snapshots in the order of their commits, without checkpoints. Costs no request.
    #[must_use]
    pub fn snapshots(&self) -> Vec<SnapshotSummary> {
        let state = self.inner.state();
        let whole = state.snapshots.iter().filter(|named| named.state != SnapshotState::Checkpoint);
        whole.map(|named| self.inner.summary(&state, named)).collect()
    }

    /// The newest snapshot of a collection.
    #[must_use]
    pub fn latest(&self, collection: &str) -> Option<SnapshotSummary> {
        let state = self.inner.state();
        let mut newest = state.snapshots.iter().rev();
        let newest = newest.find(|s| s.state != SnapshotState::Checkpoint && s.collection.id == collection);
        newest.map(|named| self.inner.summary(&state, named))
    }

    /// What a snapshot says of itself. One request.
    ///
    /// # Errors
    /// `NotFound` if there is no such snapshot, or damage.
    pub async fn snapshot(&self, id: SnapshotId) -> Result<SnapshotInfo> {
        let snapshot = self.inner.read_snapshot(id).await?;
        Ok(self.inner.info(snapshot))
    }

    /// Gives snapshots up. They are no longer listed, and a [prune](Self::prune) gives back what only they needed. Snapshots that are
    /// not there are passed over. One request.
    ///
    /// # Errors
    /// `PermissionDenied` if one of them is [held](Self::hold): then none is removed. What the store reports.
    pub async fn remove(&self, snapshots: &[SnapshotId]) -> Result<()> {
        self.refresh().await?;
        let held = |state: &State| snapshots.iter().find(|id| state.is_held(**id)).copied();
        let state = self.inner.append_always(|state| {
            let there: Vec<_> = snapshots.iter().filter(|id| state.has(**id)).copied().collect();
            (!there.is_empty() && held(state).is_none()).then_some(Event::Remove(there))
        });
        match held(&*state.await?) {
            None => Ok(()),
            Some(id) => {
                Err(Error::new(ErrorKind::PermissionDenied, "the snapshot is held, release it first")
                    .with_item(id.to_string()))
            }
        }
    }

    /// Keeps snapshots from being removed, by whatever rule or hand, until they are [released](Self::release): a legal hold.
    ///
    /// # Errors
    /// `NotFound` if one of them is not there: then none is held. What the store reports.
    pub async fn hold(&self, snapshots: &[SnapshotId]) -> Result<()> {
        self.set_held(snapshots, true).await
    }

    /// Lets snapshots be removed again.
    ///
    /// # Errors
    /// As [`hold`](Self::hold).
    pub async fn release(&self, snapshots: &[SnapshotId]) -> Result<()> {
        self.set_held(snapshots, false).await
    }

    async fn set_held(&self, snapshots: &[SnapshotId], held: bool) -> Result<()> {
        self.refresh().await?;
        let missing = |state: &State| snapshots.iter().find(|id| !state.has(**id)).copied();
        let state = self.inner.append_always(|state| {
            let change = snapshots.iter().any(|id| state.is_held(*id) != held);
            (change && missing(state).is_none()).then(|| Event::Hold { held, snapshots: snapshots.to_vec() })
        });
        match missing(&*state.await?) {
            None => Ok(()),
            Some(id) => {
                Err(Error::new(ErrorKind::NotFound, "there is no such snapshot").with_item(id.to_string()))
            }
        }
    }

    /// A backup of a source; `run` starts it.
    pub fn backup<'a>(&'a self, source: &'a dyn Source) -> BackupRun<'a> {
        BackupRun::new(self, source)
    }

    /// Looks into a snapshot without restoring it. One request.
    ///
    /// # Errors
    /// `NotFound` if there is no such snapshot, or damage.
    pub async fn browse(&self, id: SnapshotId) -> Result<Browser> {
        Ok(Browser::new(Arc::clone(&self.inner), self.inner.read_snapshot(id).await?))
    }

    /// What differs between two snapshots. Reads only what differs.
    ///
    /// # Errors
    /// `NotFound` if one of them is not there, or damage.
    pub async fn diff(&self, before: SnapshotId, after: SnapshotId) -> Result<Differences> {
        Ok(Differences::new(self.browse(before).await?, self.browse(after).await?))
    }

    /// A restore of a snapshot; `run` starts it.
    pub fn restore<'a>(&'a self, snapshot: SnapshotId, sink: &'a dyn crate::sink::Sink) -> RestoreRun<'a> {
        RestoreRun::new(self, snapshot, sink)
    }

    /// A check of the repository; `run` starts it.
    pub fn verify(&self, level: VerifyLevel) -> VerifyRun<'_> {
        VerifyRun::new(self, level)
    }
}

/// The key slots that are listed, in the order of their names.
async fn key_slots(store: &dyn Store) -> Result<Vec<ObjectId>> {
    let prefix = Key::known("keys".into());
    let mut slots: Vec<Key> = store.list(&prefix).map_ok(|entry| entry.key).try_collect().await?;
    slots.sort_unstable();
    // Each try may cost a passphrase's stretching; a store cannot make it cost more than this many.
    slots.truncate(limits::KEY_SLOTS_MAX);
    Ok(slots.iter().filter_map(|key| key.as_str().strip_prefix("keys/")?.parse().ok()).collect())
}

/// The slots as they are stored, in the same order: there are few, and which one opens is not known before.
async fn read_slots(store: &dyn Store, slots: Vec<ObjectId>) -> Vec<(ObjectId, Result<Bytes>)> {
    let read = |slot| -> BoxFuture<'_, _> {
        Box::pin(async move { (slot, store.read(&ObjectName::KeySlot(slot).key(), None).await) })
    };
    stream::iter(slots.into_iter().map(read)).buffered(SLOT_READS).collect().await
}

/// Repository and keys of a slot, if it opens.
fn try_slot(slot: ObjectId, bytes: &Bytes, credential: &Credential) -> Result<Option<(RepoId, Keyring)>> {
    open_slot(slot, bytes, credential)
        .map_err(|error| error.with_item(ObjectName::KeySlot(slot).key().as_str()))
}

/// Why nothing was opened: the trouble with one of the slots, if there was any.
fn not_opened(failure: Option<Error>, seen: bool) -> Error {
    match failure {
        Some(error) => error,
        None if seen => Error::new(ErrorKind::WrongKey, "no key slot opens with this passphrase or key"),
        None => Error::new(ErrorKind::NotARepository, "there is no repository at this place"),
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository")
            .field("id", &self.inner.id)
            .field("store", &self.inner.store)
            .finish_non_exhaustive()
    }
}

impl Inner {
    /// Nothing has been read of it yet.
    fn unread(store: Arc<dyn Store>, env: Env, id: RepoId, ring: Keyring) -> Self {
        Self {
            store,
            env,
            id,
            ring,
            state: RwLock::new(Arc::new(State::empty())),
            gear: OnceLock::new(),
            caches: Arc::default(),
            cache: None,
            bytes_read: AtomicU64::new(0),
            proved: Proved::default(),
            read_only: false,
            probe: OnceLock::new(),
            salvaged: None,
        }
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over a newer state; of two that race, the one that knows more stays.
    fn set_state(&self, state: State) {
        let mut current = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if current.head.number <= state.head.number {
            *current = Arc::new(state);
        }
    }

    /// Takes over what others have committed since; the number of the newest entry.
    async fn refresh(&self) -> Result<u64> {
        if self.salvaged.is_some() {
            return Ok(self.state().head.number);
        }
        let state = self.advance(State::clone(&self.state())).await?;
        let number = state.head.number;
        self.set_state(state);
        Ok(number)
    }

    /// Whether the log has taken something out of use after this entry.
    async fn has_withdrawn_since(&self, entry: u64) -> Result<bool> {
        self.refresh().await?;
        Ok(self.state().withdrawn > entry)
    }

    /// Another index for the same state. Nothing is done if the state has moved on meanwhile: what it has is as good, only longer.
    fn replace_index(&self, before: &Arc<State>, index: Index) {
        let mut current = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, before) {
            let mut state = State::clone(before);
            state.index = index;
            *current = Arc::new(state);
        }
    }

    fn info(&self, snapshot: Snapshot) -> SnapshotInfo {
        let state = self.state();
        let named = state.snapshots.iter().find(|named| named.id() == snapshot.id);
        SnapshotInfo {
            summary: SnapshotSummary {
                id: snapshot.id,
                collection: snapshot.collection,
                created: snapshot.created,
                state: snapshot.state,
                suspicious: named.is_some_and(|named| named.suspicious),
                held: state.is_held(snapshot.id),
                confirmed: self.is_confirmed(snapshot.id),
            },
            parent: snapshot.parent,
            stats: snapshot.stats,
            problems: snapshot.problems,
            labels: snapshot.labels,
        }
    }

    fn gear(&self) -> Result<&Arc<Gear>> {
        self.gear.get().ok_or_else(|| Error::bug("the repository has no gear table"))
    }

    fn count_read(&self, bytes: usize) {
        self.bytes_read.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    async fn read_snapshot(&self, id: SnapshotId) -> Result<Snapshot> {
        self.read_snapshot_in(&self.state(), id).await
    }

    /// One of the snapshots of a state, which may be ahead of ours.
    async fn read_snapshot_in(&self, state: &State, id: SnapshotId) -> Result<Snapshot> {
        let Some(named) = state.snapshots.iter().find(|snapshot| snapshot.id() == id) else {
            return Err(
                Error::new(ErrorKind::NotFound, "there is no such snapshot").with_item(id.to_string())
            );
        };
        self.read_snapshot_of(named).await
    }

    async fn read_snapshot_of(&self, named: &SnapshotRef) -> Result<Snapshot> {
        let name = ObjectName::Snapshot(named.object.id);
        let bytes = self.read_named(name, named.object).await?;
        let snapshot = Snapshot::decode(&open_object(self.id, &self.ring, name, &bytes)?)?;
        let is_named = snapshot.id == named.id()
            && snapshot.collection == named.collection
            && snapshot.created == named.created
            && snapshot.state == named.state
            && snapshot.items.count() == snapshot.names.count();
        if is_named {
            Ok(snapshot)
        } else {
            Err(Error::corrupt("snapshot is not the one that the log names").with_item(name.to_string()))
        }
    }

    fn summary(&self, state: &State, named: &SnapshotRef) -> SnapshotSummary {
        SnapshotSummary {
            id: named.id(),
            collection: named.collection.clone(),
            created: named.created,
            state: named.state,
            suspicious: named.suspicious,
            held: state.is_held(named.id()),
            confirmed: self.is_confirmed(named.id()),
        }
    }
}
