//! Whole backups and whole restores.

use backup_core::{Attributes, Conflict, Item, ItemKind, MemorySink, MemorySource, Times, Timestamp, Value};
use futures_executor::block_on;
use proptest::prelude::*;

use super::*;

#[test]
fn everything_about_an_item_comes_back() {
    let source = MemorySource::new("memory:items");
    source.put_folder("root", None, "root");
    let mut item = Item::new(&b"id\0\xff"[..], Some("root".into()), &b"na\0me\xfe"[..], ItemKind::MESSAGE);
    item.times = Times::new(Some(Timestamp::new(-5, 999)), Some(Timestamp::new(1 << 34, 1)));
    item.attributes =
        Attributes::from([("mode".to_owned(), Value::Int(0o4755)), ("sparse".to_owned(), Value::Bool(true))]);
    item.details = Attributes::from([
        ("subject".to_owned(), Value::Text("Grüße".into())),
        (
            "to".to_owned(),
            Value::List(vec![Value::Text("a@example.org".into()), Value::Text("b@example.org".into())]),
        ),
    ]);
    source.put(item.clone(), [("mime", "MIME"), ("version/1.0", ""), ("version/2.0", "two")]);
    let repo = init(&MemoryStore::new());
    backup_whole(&repo, &source);
    let tree = restored(&repo).tree();
    let found = tree.values().find(|restored| restored.item.id == item.id).unwrap();
    assert_eq!(found.item.times, item.times);
    assert_eq!((&found.item.attributes, &found.item.details), (&item.attributes, &item.details));
    assert_eq!((&found.item.name, found.item.kind), (&item.name, item.kind));
    let streams: Vec<_> = found.streams.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
    assert_eq!(streams, [("mime", &b"MIME"[..]), ("version/1.0", b""), ("version/2.0", b"two")]);
}

#[test]
fn details_are_sealed_with_the_data_key_and_names_are_in_no_object_in_the_clear() {
    let store = MemoryStore::new();
    let source = sample();
    let repo = init(&store);
    backup_whole(&repo, &source);
    for (name, bytes) in store.objects() {
        for secret in [&b"alpha"[..], b"a.txt", b"docs", b"memory:sample"] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{name} shows {secret:?}");
        }
    }
}

#[test]
fn a_stream_of_many_chunks_is_listed_in_levels_and_comes_back() {
    let source = MemorySource::new("memory:large").with_piece_bytes(1 << 20);
    let content = noise(80 << 20, 9);
    source.put_folder("root", None, "root");
    source.put_file("large", Some("root"), "large.bin", content.clone());
    source.put_file("zeros", Some("root"), "zeros.bin", vec![0; 30 << 20]);
    let repo = init(&MemoryStore::new());
    let report = backup_whole(&repo, &source);
    assert!(report.stats.bytes_stored < (83 << 20), "zeros are stored once: {}", report.stats.bytes_stored);
    let sink = restored(&repo);
    assert!(sink.content("root/large.bin").or_else(|| sink.content("large.bin")).unwrap() == content);
}

#[test]
fn hard_links_come_back_as_links_and_stand_alone_when_their_holder_is_left_out() {
    let source = MemorySource::new("memory:links");
    source.put_folder("root", None, "root");
    let mut holder = Item::new("1", Some("root".into()), "holder", ItemKind::FILE);
    holder.attributes.insert("links".into(), Value::Int(3));
    source.put(holder, [("content", "shared bytes")]);
    for (id, name) in [("2", "second"), ("3", "third")] {
        let mut link = Item::new(id, Some("root".into()), name, ItemKind::FILE);
        link.hard_link = Some("1".into());
        source.put(link, [("", ""); 0]);
    }
    let repo = init(&MemoryStore::new());
    let id = backup_whole(&repo, &source).snapshot;
    let links = |except: &str| -> Vec<(String, Option<String>, Option<bytes::Bytes>)> {
        let sink = MemorySink::new();
        let mut run = repo.restore(id, &sink);
        if !except.is_empty() {
            run = run.except(except);
        }
        assert!(block_on(run.run()).unwrap().problems.is_empty());
        let files = sink.tree().into_iter().filter(|(_, r)| r.item.kind == ItemKind::FILE);
        files.map(|(path, r)| (path, r.link.clone(), r.streams.get("content").cloned())).collect()
    };
    let all = links("");
    assert_eq!(all.iter().filter(|(_, link, _)| link.is_some()).count(), 2, "{all:?}");
    let without = links("holder");
    assert_eq!(without.len(), 2);
    assert_eq!(without.iter().filter(|(_, link, _)| link.is_some()).count(), 1, "{without:?}");
    assert!(
        without
            .iter()
            .any(|(_, link, content)| link.is_none() && content.as_deref() == Some(b"shared bytes"))
    );
}

#[test]
fn filters_choose_by_path_and_bring_the_folders_above() {
    let repo = init(&MemoryStore::new());
    let id = backup_whole(&repo, &sample()).snapshot;
    let names = |only: &[&str], except: &[&str]| -> Vec<String> {
        let sink = MemorySink::new();
        let mut run = repo.restore(id, &sink);
        for pattern in only {
            run = run.only(*pattern);
        }
        for pattern in except {
            run = run.except(*pattern);
        }
        block_on(run.run()).unwrap();
        let mut names: Vec<_> = sink.tree().values().map(|r| r.item.name.to_string()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&["docs"], &[]), ["a.txt", "b.txt", "docs", "empty", "root"]);
    assert_eq!(names(&["docs/**"], &[]), ["a.txt", "b.txt", "docs", "empty", "root"]);
    assert_eq!(names(&["docs/*.txt"], &["**/b.*"]), ["a.txt", "docs", "root"]);
    assert_eq!(names(&["*.bin", "mail/"], &[]), ["m\\xff.eml", "mail", "root", "top.bin"]);
    assert_eq!(names(&["nothing"], &[]), [""; 0]);
    let wrong = block_on(repo.restore(id, &MemorySink::new()).only("a{").run()).unwrap_err();
    assert_eq!(wrong.kind().code(), 1);
}

#[test]
fn conflict_policies_reach_the_sink_and_are_counted() {
    let repo = init(&MemoryStore::new());
    let id = backup_whole(&repo, &sample()).snapshot;
    let sink = MemorySink::new();
    let run = |conflict| block_on(repo.restore(id, &sink).conflict(conflict).run()).unwrap();
    let first = run(Conflict::Skip);
    assert_eq!((first.created, first.skipped, first.bytes), (8, 0, 303_009));
    let second = run(Conflict::Skip);
    assert_eq!((second.created, second.skipped, second.bytes), (0, 8, 0));
    assert_eq!(run(Conflict::Replace).replaced, 8);
    assert_eq!(run(Conflict::KeepBoth).renamed, 5);
}

#[test]
fn one_item_that_cannot_be_put_does_not_stop_the_others() {
    let repo = init(&MemoryStore::new());
    let id = backup_whole(&repo, &sample()).snapshot;
    let sink = MemorySink::new();
    sink.inject("docs", backup_core::ErrorKind::PermissionDenied, 1);
    let report = block_on(repo.restore(id, &sink).run()).unwrap();
    assert_eq!(report.problems.len(), 1);
    assert_eq!(report.problems[0].place, "docs");
    assert_eq!(sink.tree().len(), 4, "what lies below is left out, the rest is there");
    sink.inject("mail", backup_core::ErrorKind::OutOfSpace, 1);
    let full = block_on(repo.restore(id, &sink).run()).unwrap_err();
    assert_eq!(full.kind(), backup_core::ErrorKind::OutOfSpace);
}

#[test]
fn two_collections_live_side_by_side_and_share_content() {
    let store = MemoryStore::new();
    let repo = init(&store);
    backup_whole(&repo, &sample());
    let other = MemorySource::new("memory:other");
    other.put_folder("r", None, "r");
    other.put_file("copy", Some("r"), "copy.bin", noise(300_000, 2));
    let report = backup_whole(&repo, &other);
    assert!(report.stats.bytes_stored < 20_000, "{}", report.stats.bytes_stored);
    assert_eq!(repo.snapshots().len(), 2);
    assert_eq!(repo.latest("memory:other").unwrap().id, report.snapshot);
    assert_eq!(repo.latest("memory:none"), None);
    let again = open(&store).unwrap();
    assert_eq!(again.snapshots(), repo.snapshots());
    assert_eq!(again.head(), repo.head());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Any tree of files, backed up in any three states, restores to the last one.
    #[test]
    fn any_history_restores_to_its_last_state(
        steps in prop::collection::vec((0u8..12, prop::option::weighted(0.75, (0usize..2_000, any::<u64>()))), 1..60),
        delta: bool,
    ) {
        let source = MemorySource::new("memory:any");
        let source = if delta { source } else { source.without_delta() };
        source.put_folder("root", None, "root");
        let store = MemoryStore::new();
        let repo = init(&store);
        let mut expected = std::collections::BTreeMap::new();
        for (number, (file, content)) in steps.iter().enumerate() {
            let id = format!("file-{file}");
            match content {
                Some((len, seed)) => {
                    let name = format!("name-{}", seed % 3 + u64::from(*file) * 3);
                    source.put_file(&id, Some("root"), name.clone(), noise(*len, *seed));
                    expected.insert(id, (name, noise(*len, *seed)));
                }
                None => {
                    source.remove(&id);
                    expected.remove(&id);
                }
            }
            if number % 20 == 19 {
                backup_whole(&repo, &source);
            }
        }
        backup_whole(&repo, &source);
        let found: std::collections::BTreeMap<_, _> = restored(&open(&store).unwrap())
            .tree()
            .into_values()
            .filter(|r| r.item.kind == ItemKind::FILE)
            .map(|r| (r.item.id.to_string(), (r.item.name.to_string(), r.streams["content"].to_vec())))
            .collect();
        prop_assert_eq!(found, expected);
        let report = block_on(repo.verify(backup_core::VerifyLevel::EveryByte).run()).unwrap();
        prop_assert!(report.is_sound(), "{:?}", report.findings);
    }
}

/// Bug: the future of a check could not move between threads, so no program on a runtime with several could await it in
/// a task. Mechanism: a closure that borrowed inside a stream. Whatever runs must be `Send`.
#[test]
fn every_operation_can_move_between_threads() {
    fn moves<T: Send>(_: T) {}
    let repo = init(&MemoryStore::new());
    let (source, sink) = (MemorySource::new("threads"), MemorySink::new());
    let snapshot = backup_whole(&repo, &source).snapshot;
    moves(repo.backup(&source).run());
    moves(repo.restore(snapshot, &sink).run());
    moves(repo.verify(backup_core::VerifyLevel::EveryByte).run());
    moves(repo.diff(snapshot, snapshot));
    moves(repo.browse(snapshot));
    moves(repo.refresh());
    moves(repo.prune().run());
    moves(repo.drill().against(&source).sink(&sink).run());
    let options = backup_core::SalvageOptions::default();
    moves(Repository::salvage(Arc::new(MemoryStore::new()), &key(), fresh_environment(), options));
    let copied = block_on(repo.as_source(snapshot)).unwrap();
    moves(repo.backup(&copied).run());
    moves(repo.remove(&[snapshot]));
    moves(repo.hold(&[snapshot]));
    moves(repo.retain(&[("threads", &backup_core::Retention::default())]));
}
