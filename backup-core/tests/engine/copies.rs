//! Copies of snapshots in another repository, under other keys: the same in every respect, at the price of what differs.

use std::collections::BTreeMap;

use backup_core::{
    Attributes, ErrorKind, ItemKind, Key, ReadFault, Restored, SnapshotId, SnapshotSource, Timestamp, Value,
};
use futures_executor::block_on;
use futures_util::StreamExt;

use super::*;

/// A repository of its own, with another key and other randomness.
fn other_repository() -> Repository {
    let other = Credential::raw_key([9; 32]);
    let store = Arc::new(MemoryStore::new());
    block_on(Repository::init_with(store, &other, fresh_environment(), Options::default())).unwrap()
}

fn as_source(repo: &Repository, snapshot: SnapshotId) -> SnapshotSource {
    block_on(repo.as_source(snapshot)).unwrap()
}

fn tree(repo: &Repository, snapshot: SnapshotId) -> BTreeMap<String, Restored> {
    let sink = MemorySink::new();
    let report = block_on(repo.restore(snapshot, &sink).run()).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    sink.tree()
}

/// What an enumeration says, cursors and all.
fn changes(source: &SnapshotSource, since: Option<&Cursor>) -> Vec<Change> {
    block_on(source.changes(since).map(Result::unwrap).collect())
}

fn cursor_of(changes: &[Change]) -> Cursor {
    match changes.last() {
        Some(Change::Cursor(cursor)) => cursor.clone(),
        other => panic!("an enumeration that ends with {other:?}"),
    }
}

/// Copies, and tells how many streams were read for it.
fn copy(from: &Repository, snapshot: SnapshotId, to: &Repository) -> (BackupReport, usize) {
    let source = as_source(from, snapshot);
    let observed = Observed::new(&source, |_| ());
    let report = block_on(to.backup(&observed).run()).unwrap();
    (report, observed.opened.into_inner())
}

/// A collection with all that an item can have.
fn rich() -> MemorySource {
    let source = sample();
    let mut item = Item::new("rich", Some("docs".into()), "rich", ItemKind::MESSAGE);
    item.attributes.insert("mode".into(), Value::Int(0o640));
    item.attributes.insert("when".into(), Value::Time(Timestamp::new(1 << 33, 5)));
    item.details.insert("subject".into(), Value::Text("words".repeat(500)));
    item.details.insert("to".into(), Value::List(vec![Value::Text("a@b".into()), Value::Bool(true)]));
    source.put(item, [("mime", noise(70_000, 3)), ("attachment/1", noise(9, 4)), ("empty", Vec::new())]);
    let mut link = Item::new("hard", Some("mail".into()), "hard", ItemKind::FILE);
    link.hard_link = Some("a".into());
    source.put(link, std::iter::empty::<(String, Vec<u8>)>());
    let mut symlink = Item::new("soft", Some("mail".into()), "soft", ItemKind::SYMLINK);
    symlink.attributes = Attributes::from([("link_target".into(), Value::Bytes(b"../x".to_vec()))]);
    source.put(symlink, std::iter::empty::<(String, Vec<u8>)>());
    source
}

#[test]
fn a_chain_of_snapshots_is_copied_in_every_respect_and_only_what_changed_is_read() {
    let (source, from, to) = (rich(), init(&MemoryStore::new()), other_repository());
    let mut chain = vec![backup_whole(&from, &source).snapshot];
    source.put_file("a", Some("docs"), "a.txt", noise(200_000, 5));
    source.edit("b", |item| item.name = "renamed".into());
    source.remove("mail");
    chain.push(backup_whole(&from, &source).snapshot);
    source.put_folder("new", Some("root"), "new");
    source.put_file("late", Some("new"), "late", "late");
    chain.push(block_on(from.backup(&source).label("keep", "for ever").run()).unwrap().snapshot);

    let mut copies = Vec::new();
    for (number, snapshot) in chain.iter().enumerate() {
        let (report, read) = copy(&from, *snapshot, &to);
        assert_eq!(report.state, SnapshotState::Complete, "{:?}", report.problems);
        // Five with one stream, one with three; then the file that changed; then the new one.
        assert_eq!(read, [8, 1, 1][number], "snapshot {number}");
        copies.push(report.snapshot);
    }
    for (original, copy) in chain.iter().zip(&copies) {
        assert_eq!(tree(&to, *copy), tree(&from, *original));
        let (original, copy) =
            (block_on(from.snapshot(*original)).unwrap(), block_on(to.snapshot(*copy)).unwrap());
        assert_eq!(copy.summary.collection, original.summary.collection);
        assert_eq!((copy.stats.items, copy.stats.bytes), (original.stats.items, original.stats.bytes));
        assert_eq!(copy.stats.added, original.stats.added);
        assert_eq!(copy.stats.removed, original.stats.removed);
    }
    assert!(block_on(to.verify(backup_core::VerifyLevel::EveryByte).run()).unwrap().is_sound());
}

#[test]
fn a_snapshot_as_a_source_keeps_what_a_source_promises() {
    let (source, repo) = (rich(), init(&MemoryStore::new()));
    let snapshot = backup_whole(&repo, &source).snapshot;
    block_on(backup_core::testkit::source::conformance(&as_source(&repo, snapshot))).unwrap();
}

#[test]
fn the_same_snapshot_again_is_no_change_and_a_strange_cursor_is_a_reset() {
    let (source, from, to) = (rich(), init(&MemoryStore::new()), other_repository());
    let first = backup_whole(&from, &source).snapshot;
    copy(&from, first, &to);
    let (report, read) = copy(&from, first, &to);
    assert_eq!((read, report.stats.added, report.stats.changed, report.stats.removed), (0, 0, 0, 0));
    let own = as_source(&from, first);
    let cursor = cursor_of(&changes(&own, None));
    assert_eq!(changes(&own, Some(&cursor)).len(), 1, "the cursor alone");
    // The same collection, copied from the copy: the cursor is of another repository.
    let copied = to.snapshots().pop().unwrap().id;
    let further = as_source(&to, copied);
    assert!(matches!(changes(&further, Some(&cursor)).first(), Some(Change::Reset)));
    assert_eq!(changes(&further, Some(&cursor)).len(), source.len() + 2);
}

#[test]
fn a_copy_tells_its_origin_and_a_copy_of_a_copy_the_first_one() {
    let (source, from, to, third) =
        (sample(), init(&MemoryStore::new()), other_repository(), other_repository());
    let run = block_on(from.backup(&source).label("who", "me").run()).unwrap();
    let original = block_on(from.snapshot(run.snapshot)).unwrap();
    let copied = block_on(to.backup(&as_source(&from, run.snapshot)).label("reason", "move").run()).unwrap();
    let labels = block_on(to.snapshot(copied.snapshot)).unwrap().labels;
    let told: BTreeMap<_, _> = labels.into_iter().collect();
    let expected = [
        ("reason", "move".to_owned()),
        ("who", "me".to_owned()),
        ("origin.repository", from.id().to_string()),
        ("origin.snapshot", run.snapshot.to_string()),
        ("origin.created", original.summary.created.to_string()),
    ];
    assert_eq!(told, expected.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    let again = block_on(third.backup(&as_source(&to, copied.snapshot)).run()).unwrap();
    let again: BTreeMap<_, _> =
        block_on(third.snapshot(again.snapshot)).unwrap().labels.into_iter().collect();
    assert_eq!(again, told);
}

#[test]
fn what_lies_below_a_removed_folder_and_is_still_there_is_still_there_in_the_copy() {
    let (source, from, to) = (sample(), init(&MemoryStore::new()), other_repository());
    let tagged = |id: &str, parent: &str, kind| {
        let mut item = Item::new(id, Some(parent.into()), id, kind);
        item.tag = "the same".into();
        item
    };
    let none = std::iter::empty::<(String, Vec<u8>)>;
    let put = || {
        source.put(tagged("inner", "outer", ItemKind::FOLDER), none());
        source.put(tagged("leaf", "inner", ItemKind::FILE), [("content", "leaf")]);
    };
    source.put(tagged("outer", "root", ItemKind::FOLDER), none());
    put();
    source.put_file("moved", Some("outer"), "moved", "moved");
    let first = backup_whole(&from, &source).snapshot;
    copy(&from, first, &to);
    // The folder goes; what was in it is still said to be in it, unchanged, and one file is elsewhere.
    source.edit("moved", |item| item.parent = Some("root".into()));
    source.remove("outer");
    put();
    let second = backup_whole(&from, &source).snapshot;
    let (report, read) = copy(&from, second, &to);
    assert_eq!(read, 0);
    for (repo, snapshot) in [(&from, second), (&to, report.snapshot)] {
        let browser = block_on(repo.browse(snapshot)).unwrap();
        for id in ["inner", "leaf", "moved"] {
            assert!(block_on(browser.item(&id.into())).is_ok(), "{id}");
        }
        assert!(block_on(browser.item(&"outer".into())).is_err());
    }
    assert_eq!(report.stats.items, block_on(from.snapshot(second)).unwrap().stats.items);
}

#[test]
fn content_in_doubt_stays_in_doubt() {
    let (source, from, to) = (sample(), init(&MemoryStore::new()), other_repository());
    source.inject("top", "content", ReadFault::End(ErrorKind::SourceMismatch), 3);
    let run = backup(&from, &source);
    assert_eq!(run.problems.len(), 1);
    let (report, _) = copy(&from, run.snapshot, &to);
    assert_eq!(report.problems.len(), 1);
    assert_eq!(report.problems[0].id, Some("top".into()));
    assert_eq!(report.problems[0].error.kind(), ErrorKind::SourceMismatch);
    assert_eq!(tree(&to, report.snapshot), tree(&from, run.snapshot));
    let labels = block_on(to.snapshot(report.snapshot)).unwrap().labels;
    assert!(labels.is_empty(), "a source behind another one has no labels: {labels:?}");
}

#[test]
fn what_is_damaged_is_reported_and_named_again_once_it_is_mended() {
    let (store, source, to) = (MemoryStore::new(), sample(), other_repository());
    let from = init(&store);
    source.put_file("lost", Some("docs"), "lost", noise(5_000, 77));
    let first = backup_whole(&from, &source).snapshot;
    let before: Vec<Key> = store.objects().into_keys().collect();
    source.put_file("lost", Some("docs"), "lost", noise(400_000, 78));
    let second = backup_whole(&from, &source).snapshot;
    let added = store.objects().into_iter().filter(|(key, _)| !before.contains(key));
    // Packs say in their headers which class they are of: content is 1.
    let pack: Vec<_> =
        added.filter(|(key, bytes)| key.as_str().starts_with("pack/") && bytes[7] == 1).collect();
    let [(key, bytes)] = &pack[..] else { panic!("{} packs of content", pack.len()) };
    block_on(Store::delete(&store, key)).unwrap();
    let from = open(&store).unwrap();
    copy_whole(&from, first, &to);
    let run = |from: &Repository| block_on(to.backup(&as_source(from, second)).run()).unwrap();
    let report = run(&from);
    assert_eq!(report.state, SnapshotState::Incomplete);
    assert_eq!(report.problems.iter().map(|p| p.id.clone()).collect::<Vec<_>>(), [Some("lost".into())]);
    assert_eq!(report.problems[0].error.kind(), ErrorKind::Missing);
    // What the copy had of it is kept.
    assert_eq!(tree(&to, report.snapshot)["root/docs/lost"].streams["content"], noise(5_000, 77));
    store.overwrite(key.clone(), bytes.clone());
    let report = run(&open(&store).unwrap());
    assert_eq!((report.state, report.stats.changed), (SnapshotState::Complete, 1), "{:?}", report.problems);
    assert_eq!(tree(&to, report.snapshot), tree(&open(&store).unwrap(), second));
}

fn copy_whole(from: &Repository, snapshot: SnapshotId, to: &Repository) {
    let report = block_on(to.backup(&as_source(from, snapshot)).run()).unwrap();
    assert_eq!(report.state, SnapshotState::Complete, "{:?}", report.problems);
}
