//! A store in memory, for tests and short-lived repositories.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;

use super::{Created, Entry, Key, Store};
use crate::error::{Error, ErrorKind, Result};

/// Objects in a map. Clones share the map, so a test can look behind an open repository's back.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<BTreeMap<Key, Bytes>>>);

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// All objects as they are now. Cheap: the bytes are shared.
    #[must_use]
    pub fn objects(&self) -> BTreeMap<Key, Bytes> {
        self.lock().clone()
    }

    /// Puts an object in place of whatever has its name: what hostile or broken storage does, and no engine call.
    pub fn overwrite(&self, key: Key, data: Bytes) {
        self.lock().insert(key, data);
    }

    /// A store of its own with the same objects.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.objects())))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &Key) -> Result<Bytes> {
        let found = self.lock().get(key).cloned();
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, "no such object").with_item(key.as_str()))
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryStore({} objects)", self.lock().len())
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn create(&self, key: &Key, data: Bytes) -> Result<Created> {
        use std::collections::btree_map::Entry as Slot;
        match self.lock().entry(key.clone()) {
            Slot::Occupied(_) => Ok(Created::AlreadyPresent),
            Slot::Vacant(slot) => {
                slot.insert(data);
                Ok(Created::New)
            }
        }
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        let data = self.find(key)?;
        let Some(range) = range else { return Ok(data) };
        match (usize::try_from(range.start), usize::try_from(range.end)) {
            (Ok(start), Ok(end)) if start <= end && end <= data.len() => Ok(data.slice(start..end)),
            _ => Err(Error::invalid("range lies outside the object").with_item(key.as_str())),
        }
    }

    async fn size(&self, key: &Key) -> Result<u64> {
        Ok(self.find(key)?.len() as u64)
    }

    fn list<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, Result<Entry>> {
        let entries: Vec<_> = self
            .lock()
            .iter()
            .filter(|(key, _)| key.is_below(prefix))
            .map(|(key, data)| Ok(Entry::new(key.clone(), data.len() as u64)))
            .collect();
        Box::pin(futures_util::stream::iter(entries))
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.lock().remove(key);
        Ok(())
    }
}
