//! Files in memory that are backed up the way a folder is.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use backup_core::{BlockingContent, Change, Collection, Content, Cursor, Item, MemorySource, Result, Source};
use bytes::Bytes;
use futures_core::stream::BoxStream;

/// What one read gives.
const PIECE_BYTES: usize = 1 << 20;

/// Every run names all items, and streams are read by calls that block: those of a folder, without its files.
#[derive(Debug)]
pub struct Files {
    items: MemorySource,
    /// The bytes of each file, by id.
    bytes: Mutex<HashMap<String, Bytes>>,
}

impl Files {
    /// An empty folder, `root`, as the collection of this name.
    #[must_use]
    pub fn new(collection: &str) -> Self {
        let items = MemorySource::new(collection).without_delta().with_concurrency(256);
        items.put_folder("root", None, "root");
        Self { items, bytes: Mutex::default() }
    }

    /// Makes a folder in the root.
    pub fn put_folder(&self, id: &str) {
        self.items.put_folder(id, Some("root"), id);
    }

    /// Writes a file; one that is there gets new content and another tag.
    pub fn put(&self, id: &str, folder: &str, bytes: Vec<u8>) {
        let bytes = Bytes::from(bytes);
        self.items.put_file(id, Some(folder), format!("{id}.txt"), bytes.clone());
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), bytes);
    }
}

#[async_trait]
impl Source for Files {
    fn collection(&self) -> Collection {
        self.items.collection()
    }

    fn changes<'a>(&'a self, since: Option<&'a Cursor>) -> BoxStream<'a, Result<Change>> {
        self.items.changes(since)
    }

    async fn open<'a>(&'a self, item: &'a Item, stream: &'a str) -> Result<Content<'a>> {
        self.items.open(item, stream).await
    }

    fn open_blocking(&self, item: &Item, _: &str) -> Option<BlockingContent> {
        let id = std::str::from_utf8(item.id.as_bytes()).ok()?;
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner).get(id)?.clone();
        let pieces = (0..bytes.len()).step_by(PIECE_BYTES).map(move |at| {
            // Copied, as a read copies.
            Ok(Bytes::copy_from_slice(bytes.get(at..bytes.len().min(at + PIECE_BYTES)).unwrap_or_default()))
        });
        Some(BlockingContent::new(item.streams.first()?.size, || Ok(pieces)))
    }

    fn concurrency(&self) -> usize {
        self.items.concurrency()
    }
}
