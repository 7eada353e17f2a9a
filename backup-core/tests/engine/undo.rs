//! Bringing back only what an attack changed or deleted, and streams that are read once.

use backup_core::{Conflict, ErrorKind, ItemKind, Stream};

use super::*;

fn office() -> MemorySource {
    let source = MemorySource::new("office");
    source.put_folder("0", None, "office");
    source.put_folder("a", Some("0"), "letters");
    source.put_folder("b", Some("0"), "plans");
    source.put_folder("c", Some("b"), "deep");
    for (id, parent, name) in
        [("1", "a", "kept"), ("2", "a", "changed"), ("3", "b", "moved"), ("4", "c", "below")]
    {
        source.put_file(id, Some(parent), name, format!("good {name}"));
    }
    source.put_file("5", Some("0"), "deleted", "good deleted");
    source
}

/// A sink that already holds what is there after the attack.
fn attacked(repo: &Repository) -> MemorySink {
    restored(repo)
}

#[test]
fn an_undo_brings_back_what_was_changed_moved_or_deleted_and_touches_nothing_else() {
    let repo = init(&MemoryStore::new());
    let source = office();
    let good = backup_whole(&repo, &source).snapshot;
    source.put_file("2", Some("a"), "changed", "ENCRYPTED");
    source.edit("3", |item| item.parent = Some("a".into()));
    source.edit("b", |item| item.name = "plans.locked".into());
    source.remove("5");
    source.put_file("6", Some("0"), "ransom note", "pay");
    let bad = backup_whole(&repo, &source).snapshot;

    let sink = attacked(&repo);
    let report = block_on(repo.restore(good, &sink).undo(bad).conflict(Conflict::Replace).run()).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let content = |path: &str| sink.content(path).map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
    assert_eq!(content("office/letters/changed").as_deref(), Some("good changed"));
    assert_eq!(content("office/plans/moved").as_deref(), Some("good moved"));
    assert_eq!(content("office/deleted").as_deref(), Some("good deleted"));
    // Unchanged by itself, but its path is gone with the folder that was renamed.
    assert_eq!(content("office/plans/deep/below").as_deref(), Some("good below"));
    assert_eq!(content("office/ransom note").as_deref(), Some("pay"), "an undo deletes nothing");
    // plans, deep, moved, below, deleted are new; changed was replaced; kept was not looked at.
    assert_eq!((report.created, report.replaced), (5, 3), "{report:?}");
}

#[test]
fn an_undo_of_nothing_restores_nothing_and_keeps_to_its_patterns() {
    let repo = init(&MemoryStore::new());
    let source = office();
    let good = backup_whole(&repo, &source).snapshot;
    let same = backup_whole(&repo, &source).snapshot;
    let sink = MemorySink::new();
    let report = block_on(repo.restore(good, &sink).undo(same).run()).unwrap();
    assert_eq!((report.created, report.replaced, sink.tree().len()), (0, 0, 0));

    source.remove("5");
    source.remove("2");
    let bad = backup_whole(&repo, &source).snapshot;
    let report = block_on(repo.restore(good, &sink).undo(bad).only("letters").run()).unwrap();
    let paths: Vec<_> = files(&sink).into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["office/letters/changed"], "{report:?}");
}

#[test]
fn an_undo_takes_snapshots_of_one_collection_only() {
    let repo = init(&MemoryStore::new());
    let good = backup_whole(&repo, &office()).snapshot;
    let other = backup_whole(&repo, &MemorySource::new("other")).snapshot;
    let error = block_on(repo.restore(good, &MemorySink::new()).undo(other).run()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[test]
fn an_immutable_stream_is_read_once_however_often_the_item_changes() {
    let repo = init(&MemoryStore::new());
    let source = MemorySource::new("versions");
    source.put_folder("0", None, "top");
    let file = |content: &'static [u8], versions: &[(&'static str, &'static [u8])]| {
        let streams = std::iter::once(("content", content)).chain(versions.iter().copied());
        let item = Item::new("1", Some("0".into()), "file", ItemKind::FILE);
        source.put(item, streams);
        let immutable = |item: &mut Item| {
            let streams = std::mem::take(&mut item.streams).into_iter();
            let mark = |stream: Stream| if stream.name == "content" { stream } else { stream.immutable() };
            item.streams = streams.map(mark).collect();
        };
        source.edit("1", immutable);
    };
    file(b"second", &[("version/1.0", b"first")]);
    backup_whole(&repo, &source);
    source.take_opened();
    file(b"third", &[("version/1.0", b"first"), ("version/2.0", b"second")]);
    let snapshot = backup_whole(&repo, &source).snapshot;
    let opened: Vec<String> = source.take_opened().into_iter().map(|(_, stream)| stream).collect();
    assert_eq!(opened, ["content", "version/2.0"]);

    // The same name with another length: the promise was broken, so the bytes are read.
    file(b"fourth", &[("version/1.0", b"rewritten"), ("version/2.0", b"second")]);
    backup_whole(&repo, &source);
    let opened: Vec<String> = source.take_opened().into_iter().map(|(_, stream)| stream).collect();
    assert_eq!(opened, ["content", "version/1.0"]);

    let sink = MemorySink::new();
    block_on(repo.restore(snapshot, &sink).run()).unwrap();
    let streams = &sink.tree()["top/file"].streams;
    assert_eq!((&streams["version/1.0"][..], &streams["version/2.0"][..]), (&b"first"[..], &b"second"[..]));
}
