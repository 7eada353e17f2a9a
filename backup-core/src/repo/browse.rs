//! Looking into a snapshot: by path, by id, folder by folder, and into streams at any offset.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use futures_util::future::{BoxFuture, join};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Inner, SnapshotInfo, content};
use crate::error::{Error, ErrorKind, Result};
use crate::format::record::{ContentRef, Record, name_key};
use crate::format::snapshot::Snapshot;
use crate::item::{Item, ItemId, Name};
use crate::limits;
use crate::source::Content;
use crate::tree::scan::Scan;
use crate::tree::{self, NodeSource, TreeKind};

/// A read-only view of one snapshot. Clones share it; methods may be called at the same time.
///
/// **Paths.** Names joined by `/`, beginning below the top: a collection with a single top item that is a folder (a
/// drive's or folder's root) has it as `""`; one with several top items (a mailbox's folders) begins with their names.
#[derive(Clone)]
pub struct Browser {
    pub(super) inner: Arc<Inner>,
    pub(super) snapshot: Arc<Snapshot>,
}

impl Browser {
    pub(super) fn new(inner: Arc<Inner>, snapshot: Snapshot) -> Self {
        Self { inner, snapshot: Arc::new(snapshot) }
    }

    /// What the snapshot says of itself. Costs nothing.
    #[must_use]
    pub fn info(&self) -> SnapshotInfo {
        self.inner.info(Snapshot::clone(&self.snapshot))
    }

    /// The item with this id. Reads one node per tree level, and its details.
    ///
    /// # Errors
    /// `NotFound` if the snapshot has no such item, or damage.
    pub async fn item(&self, id: &ItemId) -> Result<Item> {
        let record = self.record(id).await?;
        self.to_item(id.clone(), &record).await
    }

    /// The item at a path. Of several with the same name, the one with the smallest id.
    ///
    /// # Errors
    /// `NotFound` if there is none, or damage.
    pub async fn stat(&self, path: &str) -> Result<Item> {
        // The way to the record begins at the same node, whatever the path leads to.
        let (id, ()) = join(self.resolve(path), self.read_top_of_items()).await;
        match id? {
            Some(id) => self.item(&id).await,
            None => Err(Error::invalid("this snapshot has several top items, so the empty path names none")),
        }
    }

    /// What a folder holds, in bytewise order of names.
    ///
    /// # Errors
    /// `NotFound` if there is nothing at this path, or damage.
    pub async fn list(&self, path: &str) -> Result<Listing> {
        let id = self.resolve(path).await?;
        self.list_below(id.as_ref()).await
    }

    /// What lies below the item with this id; without one, the top items.
    ///
    /// # Errors
    /// Damage, or what the store reports.
    pub async fn list_below(&self, id: Option<&ItemId>) -> Result<Listing> {
        Ok(Listing {
            browser: self.clone(),
            prefix: name_key::below(id),
            after: None,
            buffer: Vec::new().into_iter(),
        })
    }

    /// Bytes of a stream. Reads only the frames that the range touches.
    ///
    /// # Errors
    /// `NotFound` for an item or stream that is not there, `InvalidArgument` for a range outside the stream.
    pub async fn read(
        &self,
        id: &ItemId,
        stream: &str,
        range: Option<Range<u64>>,
    ) -> Result<Content<'static>> {
        let mut record = self.record(id).await?;
        if let Some(target) = record.hard_link.take() {
            record = self.record(&target).await?;
        }
        let content = stream_of(&record, stream)?;
        let range = range.unwrap_or(0..content.len);
        content::read(Arc::clone(&self.inner), content, range)
    }

    /// The path of an item: names from below the top down.
    ///
    /// # Errors
    /// `NotFound` if the snapshot has no such item, or damage.
    pub async fn path(&self, id: &ItemId) -> Result<String> {
        let root = self.root().await?;
        let (mut names, mut at) = (Vec::new(), Some(id.clone()));
        while let Some(id) = at.filter(|id| Some(id) != root.as_ref()) {
            if names.len() > limits::PATH_DEPTH_MAX {
                return Err(Error::corrupt("an item lies deeper than any folder, or in itself")
                    .with_item(id.to_string()));
            }
            let record = self.record(&id).await?;
            names.push(record.name.to_string());
            at = record.parent;
        }
        names.reverse();
        Ok(names.join("/"))
    }

    /// The single top folder, if there is one: what paths begin below.
    pub(super) async fn root(&self) -> Result<Option<ItemId>> {
        let prefix = name_key::below(None);
        let mut scan = self.scan_names(&prefix).await?;
        let Some(first) = scan.next_below(&prefix).await? else { return Ok(None) };
        let id = name_key::item_id(&first.key, &prefix)?;
        let container = kind_of(&first.value).is_some_and(crate::item::ItemKind::is_container);
        if scan.next_below(&prefix).await?.is_some() {
            return Ok(None);
        }
        Ok(container.then_some(id))
    }

    /// The item at a path; none for the top of a snapshot with several top items.
    async fn resolve(&self, path: &str) -> Result<Option<ItemId>> {
        let mut at = self.root().await?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            at = Some(self.child(at.as_ref(), &Name::from(name)).await?.ok_or_else(|| {
                Error::new(ErrorKind::NotFound, "there is nothing at this path").with_item(path)
            })?);
        }
        Ok(at)
    }

    /// Reads the top of the items tree, for whoever wants it next. What is wrong with it is said to them.
    async fn read_top_of_items(&self) {
        if let Some(top) = self.snapshot.items.0 {
            let _ = self.inner.node(TreeKind::Items, top.level, top.id).await;
        }
    }

    async fn child(&self, parent: Option<&ItemId>, name: &Name) -> Result<Option<ItemId>> {
        let prefix = name_key::named(parent, name);
        let mut scan = self.scan_names(&prefix).await?;
        let found = scan.next_below(&prefix).await?;
        found.map(|entry| name_key::item_id(&entry.key, &name_key::below(parent))).transpose()
    }

    pub(super) async fn scan_names(&self, start: &[u8]) -> Result<Scan<'_>> {
        Scan::from(&*self.inner, TreeKind::Names, self.snapshot.names, start).await
    }

    pub(super) async fn record(&self, id: &ItemId) -> Result<Record> {
        let value = tree::find(&*self.inner, TreeKind::Items, self.snapshot.items, id.as_bytes()).await?;
        Record::decode(&value.ok_or_else(|| Self::no_item(id))?)
    }

    pub(super) fn no_item(id: &ItemId) -> Error {
        Error::new(ErrorKind::NotFound, "the snapshot has no such item").with_item(id.to_string())
    }

    pub(super) async fn to_item(&self, id: ItemId, record: &Record) -> Result<Item> {
        let details = content::details(&self.inner, record.details.as_ref()).await?;
        Ok(record.to_item(id, details))
    }
}

impl fmt::Debug for Browser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Browser").field("snapshot", &self.snapshot.id).finish_non_exhaustive()
    }
}

/// The items of a folder, a few at a time; see [`Browser::list`].
pub struct Listing {
    browser: Browser,
    prefix: Vec<u8>,
    after: Option<Vec<u8>>,
    buffer: std::vec::IntoIter<Item>,
}

impl Listing {
    /// Items looked up at a time, and of these at once.
    const BATCH: usize = 256;
    const READS: usize = 16;

    /// The next item, in bytewise order of names.
    ///
    /// # Errors
    /// Damage, or what the store reports.
    pub async fn next(&mut self) -> Result<Option<Item>> {
        if self.buffer.as_slice().is_empty() {
            self.fill().await?;
        }
        Ok(self.buffer.next())
    }

    /// All that is left.
    ///
    /// # Errors
    /// Damage, or what the store reports.
    pub async fn collect(mut self) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        while let Some(item) = self.next().await? {
            items.push(item);
        }
        Ok(items)
    }

    async fn fill(&mut self) -> Result<()> {
        let mut start = self.after.clone().unwrap_or_else(|| self.prefix.clone());
        if self.after.is_some() {
            // The smallest key after the last one given.
            start.push(0);
        }
        let (mut ids, mut after) = (Vec::new(), None);
        let mut scan = self.browser.scan_names(&start).await?;
        while ids.len() < Self::BATCH {
            let Some(entry) = scan.next_below(&self.prefix).await? else { break };
            ids.push(name_key::item_id(&entry.key, &self.prefix)?);
            after = Some(entry.key.to_vec());
        }
        drop(scan);
        let browser = &self.browser;
        let read = |id: ItemId| -> BoxFuture<'_, Result<Item>> {
            Box::pin(async move {
                browser.item(&id).await.map_err(|error| match error.kind() {
                    ErrorKind::NotFound => {
                        Error::corrupt("a name leads to no item").with_item(id.to_string())
                    }
                    _ => error,
                })
            })
        };
        let reads: Vec<_> = ids.into_iter().map(read).collect();
        let items: Vec<Item> = stream::iter(reads).buffered(Self::READS).try_collect().await?;
        self.after = after.or(self.after.take());
        self.buffer = items.into_iter();
        Ok(())
    }
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing").field("browser", &self.browser).finish_non_exhaustive()
    }
}

pub(super) fn kind_of(value: &[u8]) -> Option<crate::item::ItemKind> {
    value.try_into().ok().map(u16::from_le_bytes).map(crate::item::ItemKind::from_number)
}

pub(super) fn stream_of(record: &Record, stream: &str) -> Result<ContentRef> {
    content_of(&record.streams, stream).map_err(|error| error.with_item(record.name.to_string()))
}

pub(super) fn content_of(streams: &[(String, ContentRef)], stream: &str) -> Result<ContentRef> {
    let found = streams.iter().find(|(name, _)| name == stream);
    found
        .map(|(_, content)| content.clone())
        .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("the item has no stream {stream:?}")))
}
