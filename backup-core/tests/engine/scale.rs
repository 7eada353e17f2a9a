//! A million items: what a run costs is what changed.

use async_trait::async_trait;
use backup_core::testkit::FaultyStore;
use backup_core::{Change, Collection, Content, Cursor, Item, ItemKind, Result, Stream};
use futures_core::stream::BoxStream;
use futures_util::stream;

use super::*;

const ITEMS: u64 = 1_000_000;
const FOLDERS: u64 = 1_000;

/// Items that are made up as they are asked for. The cursor is the number of rounds of changes that it covers.
#[derive(Debug)]
struct Simulated {
    changed: Vec<u64>,
}

impl Simulated {
    fn item(number: u64, version: u32) -> Item {
        let folder = format!("01FOLDER{:08X}", number % FOLDERS);
        let id = format!("01ITEM{:016X}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut item = Item::new(id, Some(folder.into()), format!("document {number}.docx"), ItemKind::FILE);
        item.tag = format!("{number}-{version}").into();
        item.streams = vec![Stream::new("content", Some(8))];
        item
    }
}

#[async_trait]
impl Source for Simulated {
    fn collection(&self) -> Collection {
        Collection::new("simulated", "drive")
    }

    fn changes<'a>(&'a self, since: Option<&'a Cursor>) -> BoxStream<'a, Result<Change>> {
        if since.is_some() {
            let changes = self.changed.iter().map(|number| Ok(Change::Upsert(Self::item(*number, 1))));
            return Box::pin(stream::iter(changes.chain([Ok(Change::Cursor("1".into()))])));
        }
        let root = Item::new("root", None, "root", ItemKind::FOLDER);
        let folders = (0..FOLDERS).map(|number| {
            Item::new(
                format!("01FOLDER{number:08X}"),
                Some("root".into()),
                format!("folder {number}"),
                ItemKind::FOLDER,
            )
        });
        let items = (0..ITEMS).map(|number| Self::item(number, 0));
        let all = std::iter::once(root).chain(folders).chain(items).map(|item| Ok(Change::Upsert(item)));
        Box::pin(stream::iter(all.chain([Ok(Change::Cursor("0".into()))])))
    }

    async fn open<'a>(&'a self, item: &'a Item, _: &'a str) -> Result<Content<'a>> {
        let number = item
            .name
            .as_bytes()
            .iter()
            .filter(|b| b.is_ascii_digit())
            .fold(0u64, |n, d| n * 10 + u64::from(d - b'0'));
        // Contents repeat, as in a drive with many copies; what is measured here is the cost of the trees.
        Ok(Content::from_bytes((number % 1_000).to_le_bytes().to_vec()))
    }
}

#[test]
fn a_hundred_changes_among_a_million_items_cost_a_hundred_changes() {
    let memory = MemoryStore::new();
    let store = FaultyStore::new(Arc::new(memory.clone()));
    let repo = init_on(Arc::new(store.clone()));
    let first = backup_whole(&repo, &Simulated { changed: Vec::new() });
    assert_eq!(first.stats.items, ITEMS + FOLDERS + 1);
    drop(repo);

    // Opened again, so that nothing is cached.
    let repo = open_on(Arc::new(store.clone())).unwrap();
    let changed = (0..100).map(|number| number * 9_973 + 5).collect();
    let before = store.counters();
    let second = backup_whole(&repo, &Simulated { changed });
    let after = store.counters();
    assert_eq!((second.stats.changed, second.stats.added, second.stats.removed), (100, 0, 0));
    let (written, reads) = (after.bytes_written - before.bytes_written, after.reads - before.reads);
    let levels = block_on(repo.snapshot(second.snapshot)).unwrap();
    assert_eq!(levels.stats.items, ITEMS + FOLDERS + 1);
    println!("commit of 100 changes in {ITEMS} items: {written} bytes written, {reads} reads");
    assert!(written < 2_000_000, "{written} bytes written");
    // Each change is looked up by a path of nodes, and its neighbour may have to be read: at most two paths each, and
    // three levels above the leaves, most of whose nodes all paths share.
    assert!(reads < 100 * 2 + 150, "{reads} reads");

    let differences =
        block_on(async { repo.diff(first.snapshot, second.snapshot).await?.collect().await }).unwrap();
    assert_eq!(differences.len(), 100);
}
