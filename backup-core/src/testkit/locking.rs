//! A strict store with versions and locks in memory: the reference of what [`Immutable`] promises, with an attacker's hands.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;

use crate::env::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Created, Entry, Immutable, Key, Protection, Store, Version};
use crate::time::Timestamp;

/// Objects with all their versions. Clones share them.
///
/// No version is ever changed, and none that is locked is ever deleted, whoever asks: there is no method that could. Time passes by the clock
/// that it is given.
#[derive(Clone)]
pub struct LockingStore {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
}

struct State {
    objects: BTreeMap<Key, Vec<Kept>>,
    protection: Protection,
    next: u64,
    locks: usize,
    ignores_locks: bool,
}

/// A version, oldest first; without content it is a marker.
struct Kept {
    id: u64,
    created: Timestamp,
    content: Option<Bytes>,
    locked: Option<Timestamp>,
}

impl Kept {
    fn is_locked(&self, now: Timestamp) -> bool {
        self.locked.is_some_and(|until| until > now)
    }
}

impl LockingStore {
    /// An empty store that keeps versions and locks objects that ask for it.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let state = State {
            objects: BTreeMap::new(),
            protection: Protection::new(true, true),
            next: 1,
            locks: 0,
            ignores_locks: false,
        };
        Self { state: Arc::new(Mutex::new(state)), clock }
    }

    /// What it says of itself from now on; it does not act on it.
    pub fn set_protection(&self, protection: Protection) {
        self.lock().protection = protection;
    }

    /// From now on it accepts locks and forgets them, as services do that do not know the header.
    pub fn ignore_locks(&self) {
        self.lock().ignores_locks = true;
    }

    /// How many locks were set or extended.
    #[must_use]
    pub fn locks_set(&self) -> usize {
        self.lock().locks
    }

    /// Bytes of all versions: what the owner pays for.
    #[must_use]
    pub fn bytes_kept(&self) -> u64 {
        let state = self.lock();
        let contents = state.objects.values().flatten().filter_map(|kept| kept.content.as_ref());
        contents.map(|content| content.len() as u64).sum()
    }

    /// The names that are not hidden, with the lock of their newest version.
    #[must_use]
    pub fn locks(&self) -> BTreeMap<Key, Option<Timestamp>> {
        let state = self.lock();
        let visible = |(key, versions): (&Key, &Vec<Kept>)| {
            let newest = versions.last().filter(|kept| kept.content.is_some())?;
            Some((key.clone(), newest.locked))
        };
        state.objects.iter().filter_map(visible).collect()
    }

    /// What an attacker does with every right there is: hides every object, and deletes each version for good that lets itself be deleted.
    /// Gives how many were deleted and how many withstood.
    pub fn attack(&self) -> (usize, usize) {
        let now = self.clock.now();
        let mut state = self.lock();
        let state = &mut *state;
        let (mut deleted, mut withstood) = (0, 0);
        for versions in state.objects.values_mut() {
            versions.retain(|kept| {
                let stays = kept.is_locked(now);
                if stays {
                    withstood += 1
                } else {
                    deleted += 1
                }
                stays
            });
            versions.push(Kept { id: state.next, created: now, content: None, locked: None });
            state.next += 1;
        }
        (deleted, withstood)
    }

    /// Puts another version over an object, as an attacker with the right to write can.
    pub fn overwrite(&self, key: &Key, data: Bytes) {
        self.push(&mut self.lock(), key, Some(data), None);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, state: &mut State, key: &Key, content: Option<Bytes>, locked: Option<Timestamp>) {
        let kept = Kept { id: state.next, created: self.clock.now(), content, locked };
        state.next += 1;
        state.objects.entry(key.clone()).or_default().push(kept);
    }

    fn put(&self, key: &Key, data: Bytes, until: Option<Timestamp>) -> Result<Created> {
        if until.is_some_and(|until| until <= self.clock.now()) {
            return Err(Error::invalid("a lock must end in the future").with_item(key.as_str()));
        }
        let mut state = self.lock();
        if state.newest(key).is_ok() {
            return Ok(Created::AlreadyPresent);
        }
        state.locks += usize::from(until.is_some());
        let until = until.filter(|_| !state.ignores_locks);
        self.push(&mut state, key, Some(data), until);
        Ok(Created::New)
    }
}

impl State {
    fn newest(&mut self, key: &Key) -> Result<&mut Kept> {
        let newest = self.objects.get_mut(key).and_then(|versions| versions.last_mut());
        newest.filter(|kept| kept.content.is_some()).ok_or_else(|| missing(key))
    }

    fn version(&mut self, key: &Key, version: Option<&str>) -> Result<&mut Kept> {
        let Some(version) = version else { return self.newest(key) };
        let mut versions = self.objects.get_mut(key).into_iter().flatten();
        versions
            .find(|kept| kept.content.is_some() && kept.id.to_string() == version)
            .ok_or_else(|| missing(key))
    }
}

fn missing(key: &Key) -> Error {
    Error::new(ErrorKind::NotFound, "no such object").with_item(key.as_str())
}

fn part(key: &Key, kept: &Kept, range: Option<Range<u64>>) -> Result<Bytes> {
    let content = kept.content.clone().ok_or_else(|| missing(key))?;
    let Some(range) = range else { return Ok(content) };
    match (usize::try_from(range.start), usize::try_from(range.end)) {
        (Ok(start), Ok(end)) if start <= end && end <= content.len() => Ok(content.slice(start..end)),
        _ => Err(Error::invalid("range lies outside the object").with_item(key.as_str())),
    }
}

impl fmt::Debug for LockingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockingStore({} names)", self.lock().objects.len())
    }
}

#[async_trait]
impl Store for LockingStore {
    async fn create(&self, key: &Key, data: Bytes) -> Result<Created> {
        self.put(key, data, None)
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        part(key, self.lock().newest(key)?, range)
    }

    async fn size(&self, key: &Key) -> Result<u64> {
        Ok(part(key, self.lock().newest(key)?, None)?.len() as u64)
    }

    fn list<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, Result<Entry>> {
        let state = self.lock();
        let visible = |(key, versions): (&Key, &Vec<Kept>)| {
            let newest = versions.last()?;
            let size = newest.content.as_ref()?.len() as u64;
            Some(Ok(Entry::new(key.clone(), size).with_modified(newest.created)))
        };
        let below = state.objects.iter().filter(|(key, _)| key.is_below(prefix));
        Box::pin(futures_util::stream::iter(below.filter_map(visible).collect::<Vec<_>>()))
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let mut state = self.lock();
        if state.newest(key).is_ok() {
            self.push(&mut state, key, None, None);
        }
        Ok(())
    }

    fn immutable(&self) -> Option<&dyn Immutable> {
        Some(self)
    }
}

#[async_trait]
impl Immutable for LockingStore {
    async fn protection(&self) -> Result<Protection> {
        Ok(self.lock().protection.clone())
    }

    async fn create_locked(&self, key: &Key, data: Bytes, until: Timestamp) -> Result<Created> {
        self.put(key, data, Some(until))
    }

    async fn extend(&self, key: &Key, version: Option<&str>, until: Timestamp) -> Result<()> {
        let mut state = self.lock();
        let ignores = state.ignores_locks;
        let kept = state.version(key, version)?;
        if !ignores {
            kept.locked = kept.locked.max(Some(until));
        }
        state.locks += 1;
        Ok(())
    }

    async fn locked_until(&self, key: &Key, version: Option<&str>) -> Result<Option<Timestamp>> {
        Ok(self.lock().version(key, version)?.locked)
    }

    fn versions<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, Result<Version>> {
        let state = self.lock();
        let mut all = Vec::new();
        for (key, versions) in state.objects.iter().filter(|(key, _)| key.is_below(prefix)) {
            // Newest first, as services do.
            all.extend(versions.iter().rev().map(|kept| {
                let (key, id) = (key.clone(), kept.id.to_string());
                Ok(match &kept.content {
                    Some(content) => Version::new(key, id, content.len() as u64, kept.created),
                    None => Version::marker(key, id, kept.created),
                })
            }));
        }
        Box::pin(futures_util::stream::iter(all))
    }

    async fn read_version(&self, key: &Key, version: &str, range: Option<Range<u64>>) -> Result<Bytes> {
        part(key, self.lock().version(key, Some(version))?, range)
    }

    async fn delete_version(&self, key: &Key, version: &str) -> Result<()> {
        let now = self.clock.now();
        let mut state = self.lock();
        let Some(versions) = state.objects.get_mut(key) else { return Ok(()) };
        let is_it = |kept: &Kept| kept.id.to_string() == version;
        if versions.iter().any(|kept| is_it(kept) && kept.is_locked(now)) {
            let message = "the version is locked";
            return Err(Error::new(ErrorKind::PermissionDenied, message).with_item(key.as_str()));
        }
        versions.retain(|kept| !is_it(kept));
        if versions.is_empty() {
            state.objects.remove(key);
        }
        Ok(())
    }
}
