//! A store that fails on demand.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;

use crate::error::{Error, ErrorKind, Result};
use crate::store::{Created, Entry, Immutable, Key, Protection, Store, Version};
use crate::time::Timestamp;

/// A kind of call to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// Any of the following, counted together.
    Any,
    /// [`Store::create`].
    Create,
    /// [`Store::read`].
    Read,
    /// [`Store::size`].
    Size,
    /// [`Store::list`].
    List,
    /// [`Store::delete`].
    Delete,
    /// [`Immutable::extend`]. The other calls of that trait count as those of [`Store`] that they are like.
    Lock,
}

/// What goes wrong. A fault that has no meaning for the call that it hits counts as [`Before`](Self::Before) with
/// `Unavailable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The call fails and has done nothing.
    Before(ErrorKind),
    /// The call is carried out, then its answer is lost.
    After(ErrorKind),
    /// Create: only so many bytes of the object arrive, and the call fails.
    Torn(usize),
    /// Create: only so many bytes of the object arrive, and the call succeeds. What no store should do and some did.
    TornSilently(usize),
    /// Create: the call fails with `Unavailable`, and is carried out all the same just before one of the next calls of any kind: the one after so
    /// many others. What a request does that was given up and is still on its way.
    Late(usize),
    /// Create: the call is carried out twice, and the answer is that of the second time. What clients do that try again by themselves.
    Twice,
    /// Create and delete: the call succeeds and has done nothing.
    Lost,
    /// Read: the last so many bytes are missing from the answer, which is otherwise fine.
    Short(usize),
    /// Read: this bit of the answer is the wrong way round (counted modulo its length).
    Flip(u64),
    /// Size: the length is reported wrong by this much.
    Off(i64),
    /// List: the answer ends well after so many objects, although there are more. None at all with 0.
    Partial(usize),
    /// List: the answer fails after so many objects.
    Cut(usize, ErrorKind),
    /// List: the objects of the last so many creates are not shown yet.
    Stale(usize),
}

/// How often a [`FaultyStore`] was called, and what went through it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Calls of [`Store::create`].
    pub creates: usize,
    /// Calls of [`Store::read`].
    pub reads: usize,
    /// Calls of [`Store::size`].
    pub sizes: usize,
    /// Calls of [`Store::list`].
    pub lists: usize,
    /// Calls of [`Store::delete`].
    pub deletes: usize,
    /// Calls of [`Immutable::extend`].
    pub locks: usize,
    /// Bytes handed to create.
    pub bytes_written: u64,
    /// Bytes answered by read.
    pub bytes_read: u64,
    /// Calls that a fault has hit.
    pub faults: usize,
}

impl Counters {
    /// Calls of any kind.
    #[must_use]
    pub const fn calls(&self) -> usize {
        self.creates + self.reads + self.sizes + self.lists + self.deletes + self.locks
    }
}

/// Wraps a store and makes chosen calls go wrong. Clones share script and counters, so a test keeps one handle and
/// gives away the other.
///
/// ```
/// use std::sync::Arc;
/// use backup_core::{ErrorKind, Key, Store, store::MemoryStore};
/// use backup_core::testkit::{Fault, FaultyStore, Operation};
///
/// # futures_executor::block_on(async {
/// let store = FaultyStore::new(Arc::new(MemoryStore::new()));
/// store.inject(Operation::Create, 1, 1, Fault::After(ErrorKind::Unavailable)); // the second create loses its answer
/// let (first, second) = (Key::new("log/1").unwrap(), Key::new("log/2").unwrap());
/// assert!(store.create(&first, "x".into()).await.is_ok());
/// assert!(store.create(&second, "x".into()).await.is_err());
/// assert!(store.size(&second).await.is_ok(), "it is there all the same");
/// # });
/// ```
#[derive(Clone)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    counters: Counters,
    seen: HashMap<Operation, usize>,
    rules: Vec<Rule>,
    created: Vec<Key>,
    late: Vec<LateCreate>,
}

/// A create that is still on its way.
struct LateCreate {
    calls: usize,
    key: Key,
    data: Bytes,
    until: Option<Timestamp>,
}

struct Rule {
    operation: Operation,
    calls: Range<usize>,
    fault: Fault,
}

impl FaultyStore {
    /// A store that works until told otherwise.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, state: Arc::default() }
    }

    /// From the `nth` call of this kind on (the first since the store was made is 0), `times` calls go wrong. The rule
    /// that was given first wins. `usize::MAX` times is for ever.
    pub fn inject(&self, operation: Operation, nth: usize, times: usize, fault: Fault) {
        let rule = Rule { operation, calls: nth..nth.saturating_add(times), fault };
        self.lock().rules.push(rule);
    }

    /// The next call of this kind goes wrong.
    pub fn inject_next(&self, operation: Operation, fault: Fault) {
        let next = self.lock().seen.get(&operation).copied().unwrap_or(0);
        self.inject(operation, next, 1, fault);
    }

    /// Everything works from now on; the counters go on.
    pub fn heal(&self) {
        self.lock().rules.clear();
    }

    /// What has happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.lock().counters
    }

    /// The store behind.
    #[must_use]
    pub fn inner(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, operation: Operation) -> Option<Fault> {
        let mut state = self.lock();
        let counters = &mut state.counters;
        match operation {
            Operation::Create => counters.creates += 1,
            Operation::Read => counters.reads += 1,
            Operation::Size => counters.sizes += 1,
            Operation::List => counters.lists += 1,
            Operation::Delete => counters.deletes += 1,
            Operation::Lock => counters.locks += 1,
            Operation::Any => {}
        }
        let mut count = |operation| {
            let seen = state.seen.entry(operation).or_default();
            *seen += 1;
            *seen - 1
        };
        let (this, any) = (count(operation), count(Operation::Any));
        let hit = state.rules.iter().find(|rule| {
            (rule.operation == operation && rule.calls.contains(&this))
                || (rule.operation == Operation::Any && rule.calls.contains(&any))
        });
        let fault = hit.map(|rule| rule.fault);
        state.counters.faults += usize::from(fault.is_some());
        fault
    }

    async fn put(&self, key: &Key, data: Bytes, until: Option<Timestamp>) -> Result<Created> {
        let fault = self.arrive(Operation::Create).await;
        self.lock().counters.bytes_written += data.len() as u64;
        let part = |len: usize| data.slice(..len.min(data.len()));
        let (data, answer) = match fault {
            None => (data, None),
            Some(Fault::After(kind)) => (data, Some(Err(failure(kind)))),
            Some(Fault::Torn(len)) => (part(len), Some(Err(failure(ErrorKind::Unavailable)))),
            Some(Fault::TornSilently(len)) => (part(len), None),
            Some(Fault::Lost) => return Ok(Created::New),
            Some(Fault::Late(calls)) => {
                self.lock().late.push(LateCreate { calls, key: key.clone(), data, until });
                return Err(failure(ErrorKind::Unavailable));
            }
            Some(Fault::Twice) => {
                self.carry_out(key, data.clone(), until).await?;
                (data, None)
            }
            Some(fault) => return Err(failure(kind_before(fault))),
        };
        let created = self.carry_out(key, data, until).await;
        answer.unwrap_or(created)
    }

    async fn carry_out(&self, key: &Key, data: Bytes, until: Option<Timestamp>) -> Result<Created> {
        let created = match (until, self.inner.immutable()) {
            (Some(until), Some(store)) => store.create_locked(key, data, until).await,
            _ => self.inner.create(key, data).await,
        };
        if matches!(created, Ok(Created::New)) {
            self.lock().created.push(key.clone());
        }
        created
    }

    /// Counts a call, after what was late and arrives before it.
    async fn arrive(&self, operation: Operation) -> Option<Fault> {
        let due: Vec<LateCreate> = {
            let mut state = self.lock();
            let due = state.late.extract_if(.., |late| late.calls == 0).collect();
            state.late.iter_mut().for_each(|late| late.calls -= 1);
            due
        };
        for LateCreate { key, data, until, .. } in due {
            // Nobody hears what became of it.
            let _ = self.carry_out(&key, data, until).await;
        }
        self.enter(operation)
    }

    /// Lets a call through, or not.
    async fn pass<T>(&self, operation: Operation, call: impl Future<Output = Result<T>>) -> Result<T> {
        match self.arrive(operation).await {
            None => call.await,
            Some(Fault::After(kind)) => call.await.and(Err(failure(kind))),
            Some(fault) => Err(failure(kind_before(fault))),
        }
    }

    fn immutable_inner(&self) -> Result<&dyn Immutable> {
        self.inner.immutable().ok_or_else(|| Error::new(ErrorKind::Unsupported, "the store does not lock"))
    }
}

fn failure(kind: ErrorKind) -> Error {
    Error::new(kind, "injected fault")
}

/// What is left for a fault that a call knows nothing of.
const fn kind_before(fault: Fault) -> ErrorKind {
    match fault {
        Fault::Before(kind) => kind,
        _ => ErrorKind::Unavailable,
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultyStore({:?})", self.inner)
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn create(&self, key: &Key, data: Bytes) -> Result<Created> {
        self.put(key, data, None).await
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        let fault = self.arrive(Operation::Read).await;
        if !matches!(fault, None | Some(Fault::After(_) | Fault::Short(_) | Fault::Flip(_))) {
            return Err(failure(fault.map_or(ErrorKind::Unavailable, kind_before)));
        }
        let mut bytes = self.inner.read(key, range).await?;
        match fault {
            Some(Fault::After(kind)) => return Err(failure(kind)),
            Some(Fault::Short(missing)) => bytes.truncate(bytes.len().saturating_sub(missing)),
            Some(Fault::Flip(bit)) if !bytes.is_empty() => {
                let mut flipped = bytes.to_vec();
                let bit = bit % (flipped.len() as u64 * 8);
                if let Some(byte) = usize::try_from(bit / 8).ok().and_then(|at| flipped.get_mut(at)) {
                    *byte ^= 1 << (bit % 8);
                }
                bytes = flipped.into();
            }
            _ => {}
        }
        self.lock().counters.bytes_read += bytes.len() as u64;
        Ok(bytes)
    }

    async fn size(&self, key: &Key) -> Result<u64> {
        match self.arrive(Operation::Size).await {
            None => self.inner.size(key).await,
            Some(Fault::After(kind)) => self.inner.size(key).await.and(Err(failure(kind))),
            Some(Fault::Off(by)) => Ok(self.inner.size(key).await?.saturating_add_signed(by)),
            Some(fault) => Err(failure(kind_before(fault))),
        }
    }

    fn list<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, Result<Entry>> {
        let whole = || self.inner.list(prefix);
        match self.enter(Operation::List) {
            None => whole(),
            Some(Fault::Partial(entries)) => Box::pin(whole().take(entries)),
            Some(Fault::Cut(entries, kind)) => {
                let end = futures_util::stream::iter([Err(failure(kind))]);
                Box::pin(whole().take(entries).chain(end))
            }
            Some(Fault::After(kind)) => {
                Box::pin(whole().chain(futures_util::stream::iter([Err(failure(kind))])))
            }
            Some(Fault::Stale(creates)) => {
                let hidden: Vec<Key> = self.lock().created.iter().rev().take(creates).cloned().collect();
                let shown = move |entry: &Result<Entry>| {
                    let visible = !entry.as_ref().is_ok_and(|entry| hidden.contains(&entry.key));
                    std::future::ready(visible)
                };
                Box::pin(whole().filter(shown))
            }
            Some(fault) => Box::pin(futures_util::stream::iter([Err(failure(kind_before(fault)))])),
        }
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        match self.arrive(Operation::Delete).await {
            None => self.inner.delete(key).await,
            Some(Fault::After(kind)) => self.inner.delete(key).await.and(Err(failure(kind))),
            Some(Fault::Lost) => Ok(()),
            Some(fault) => Err(failure(kind_before(fault))),
        }
    }

    fn immutable(&self) -> Option<&dyn Immutable> {
        self.inner.immutable().map(|_| self as _)
    }
}

#[async_trait]
impl Immutable for FaultyStore {
    async fn protection(&self) -> Result<Protection> {
        self.pass(Operation::Size, self.immutable_inner()?.protection()).await
    }

    async fn create_locked(&self, key: &Key, data: Bytes, until: Timestamp) -> Result<Created> {
        self.put(key, data, Some(until)).await
    }

    async fn extend(&self, key: &Key, version: Option<&str>, until: Timestamp) -> Result<()> {
        self.pass(Operation::Lock, self.immutable_inner()?.extend(key, version, until)).await
    }

    async fn locked_until(&self, key: &Key, version: Option<&str>) -> Result<Option<Timestamp>> {
        self.pass(Operation::Size, self.immutable_inner()?.locked_until(key, version)).await
    }

    fn versions<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, Result<Version>> {
        match (self.enter(Operation::List), self.immutable_inner()) {
            (None, Ok(store)) => store.versions(prefix),
            (_, Err(error)) => Box::pin(futures_util::stream::iter([Err(error)])),
            (Some(fault), _) => Box::pin(futures_util::stream::iter([Err(failure(kind_before(fault)))])),
        }
    }

    async fn read_version(&self, key: &Key, version: &str, range: Option<Range<u64>>) -> Result<Bytes> {
        self.pass(Operation::Read, self.immutable_inner()?.read_version(key, version, range)).await
    }

    async fn delete_version(&self, key: &Key, version: &str) -> Result<()> {
        self.pass(Operation::Delete, self.immutable_inner()?.delete_version(key, version)).await
    }
}
