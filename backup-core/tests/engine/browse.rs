//! Looking into snapshots: paths, folders, ranges, differences.

use backup_core::{Difference, ErrorKind, ItemId, MemorySource};
use futures_executor::block_on;
use proptest::prelude::*;

use super::*;

#[test]
fn paths_lead_to_items_and_back() {
    let repo = init(&MemoryStore::new());
    let id = backup_whole(&repo, &sample()).snapshot;
    let browser = block_on(repo.browse(id)).unwrap();
    for (path, item) in [("", "root"), ("docs", "docs"), ("/docs/a.txt", "a"), ("top.bin", "top")] {
        let found = block_on(browser.stat(path)).unwrap();
        assert_eq!(found.id, ItemId::from(item), "{path}");
        assert_eq!(block_on(browser.path(&found.id)).unwrap(), path.trim_start_matches('/'));
    }
    assert_eq!(block_on(browser.stat("docs/none")).unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(block_on(browser.item(&"none".into())).unwrap_err().kind(), ErrorKind::NotFound);
    let names: Vec<_> = block_on(async { browser.list("docs").await?.collect().await })
        .unwrap()
        .into_iter()
        .map(|item| (item.name.to_string(), item.size()))
        .collect();
    assert_eq!(names, [("a.txt".to_owned(), 5), ("b.txt".to_owned(), 4), ("empty".to_owned(), 0)]);
    assert_eq!(browser.info().stats.items, 8);
}

#[test]
fn a_folder_larger_than_a_batch_lists_every_item_once_in_order() {
    let source = MemorySource::new("memory:wide");
    source.put_folder("root", None, "root");
    for number in 0..1_000 {
        source.put_file(&format!("id-{number}"), Some("root"), format!("n{number:04}"), "x");
    }
    let repo = init(&MemoryStore::new());
    let id = backup_whole(&repo, &source).snapshot;
    let browser = block_on(repo.browse(id)).unwrap();
    let items = block_on(async { browser.list("").await?.collect().await }).unwrap();
    let names: Vec<_> = items.iter().map(|item| item.name.to_string()).collect();
    assert_eq!(names, (0..1_000).map(|n| format!("n{n:04}")).collect::<Vec<_>>());
}

#[test]
fn a_collection_with_several_tops_has_paths_from_their_names_on() {
    let source = MemorySource::new("memory:tops");
    source.put_folder("inbox", None, "inbox");
    source.put_folder("sent", None, "sent");
    source.put_file("m", Some("inbox"), "m.eml", "mail");
    let repo = init(&MemoryStore::new());
    let id = backup_whole(&repo, &source).snapshot;
    let browser = block_on(repo.browse(id)).unwrap();
    assert_eq!(block_on(browser.stat("inbox/m.eml")).unwrap().id, "m".into());
    assert_eq!(block_on(browser.path(&"m".into())).unwrap(), "inbox/m.eml");
    assert_eq!(block_on(async { browser.list("").await?.collect().await }).unwrap().len(), 2);
    assert!(block_on(browser.stat("")).is_err());
}

#[test]
fn differences_are_named_by_what_happened() {
    let source = sample();
    let repo = init(&MemoryStore::new());
    let before = backup_whole(&repo, &source).snapshot;
    source.put_file("a", Some("docs"), "a.txt", "alpha changed");
    source.edit("b", |item| item.name = "b-renamed.txt".into());
    source.remove("m");
    source.put_file("new", Some("mail"), "new.eml", "new");
    let after = backup_whole(&repo, &source).snapshot;
    let found = block_on(async { repo.diff(before, after).await?.collect().await }).unwrap();
    let mut summary: Vec<_> = found
        .iter()
        .map(|difference| match difference {
            Difference::Added(item) => format!("+ {}", item.name),
            Difference::Removed(item) => format!("- {}", item.name),
            Difference::Changed { before, after, content } => {
                format!("{} > {} {content}", before.name, after.name)
            }
            _ => String::new(),
        })
        .collect();
    summary.sort();
    assert_eq!(summary, ["+ new.eml", "- m\\xff.eml", "a.txt > a.txt true", "b.txt > b-renamed.txt false"]);
    assert!(block_on(async { repo.diff(after, after).await?.collect().await }).unwrap().is_empty());
}

#[test]
fn ranges_outside_a_stream_are_refused() {
    let repo = init(&MemoryStore::new());
    let id = backup_whole(&repo, &sample()).snapshot;
    let browser = block_on(repo.browse(id)).unwrap();
    let read = |range| block_on(browser.read(&"a".into(), "content", Some(range)));
    for range in [0..6, 6..6, 7..8, std::ops::Range { start: 3, end: 2 }] {
        assert_eq!(read(range).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    assert_eq!(block_on(read(5..5).unwrap().collect()).unwrap(), b"");
    assert_eq!(block_on(browser.read(&"a".into(), "none", None)).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn any_range_of_a_large_stream_is_what_was_there() {
    let content = noise(50 << 20, 4);
    let source = MemorySource::new("memory:ranges").with_piece_bytes(1 << 20);
    source.put_file("large", None, "large", content.clone());
    let repo = init(&MemoryStore::new());
    let id = backup_whole(&repo, &source).snapshot;
    let browser = block_on(repo.browse(id)).unwrap();
    proptest!(ProptestConfig::with_cases(60), |(start in 0usize..50 << 20, len in 0usize..3 << 20)| {
        let end = (start + len).min(content.len());
        let (id, range) = (ItemId::from("large"), start as u64..end as u64);
        let found = block_on(async { browser.read(&id, "content", Some(range)).await?.collect().await }).unwrap();
        prop_assert!(found == content[start..end]);
    });
}
