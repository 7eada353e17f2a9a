//! Hard links, and what becomes of those whose file is lost.
//!
//! Found by an independent reader of the format: links came back as separate files, because the folder source did not
//! say how many names a file has; and one link whose file could not be read ended the whole restore, because the link
//! was committed without it.

use backup_core::{ErrorKind, FolderSink, FolderSource, ItemKind, ReadFault, VerifyLevel};

use super::*;

#[cfg(unix)]
#[test]
fn hard_links_of_a_folder_share_their_file_after_a_restore() {
    use std::os::unix::fs::MetadataExt;
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::create_dir(from.path().join("sub")).unwrap();
    std::fs::write(from.path().join("a"), "content").unwrap();
    std::fs::hard_link(from.path().join("a"), from.path().join("sub/b")).unwrap();
    std::fs::write(from.path().join("alone"), "content").unwrap();
    let repo = init(&MemoryStore::new());
    let snapshot = backup_whole(&repo, &FolderSource::new(from.path()).unwrap()).snapshot;
    let report = block_on(repo.restore(snapshot, &FolderSink::new(to.path()).unwrap()).run()).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let inode = |name: &str| std::fs::metadata(to.path().join(name)).unwrap().ino();
    assert_eq!(inode("a"), inode("sub/b"));
    assert_ne!(inode("a"), inode("alone"));
}

fn linked() -> MemorySource {
    let source = MemorySource::new("links");
    source.put_folder("0", None, "top");
    source.put_file("1", Some("0"), "holder", "content");
    let mut link = Item::new("2", Some("0".into()), "link", ItemKind::FILE);
    link.hard_link = Some("1".into());
    source.put(link, Vec::<(&str, &str)>::new());
    source.put_file("3", Some("0"), "other", "other");
    source
}

#[test]
fn a_link_whose_file_cannot_be_read_is_reported_and_not_committed() {
    let repo = init(&MemoryStore::new());
    let source = linked();
    source.inject("1", "content", ReadFault::Open(ErrorKind::PermissionDenied), 1);
    let report = backup(&repo, &source);
    assert_eq!((report.state, report.problems.len(), report.stats.items), (SnapshotState::Incomplete, 2, 2));
    assert!(block_on(repo.verify(VerifyLevel::EveryByte).run()).unwrap().is_sound());
    assert_eq!(files(&restored(&repo)), [("top/other".to_owned(), b"other".to_vec())]);
    // Once the file can be read, both are there.
    let full = block_on(repo.backup(&source).full().run()).unwrap();
    assert_eq!((full.state, full.stats.items), (SnapshotState::Complete, 4));
}

#[test]
fn a_link_to_a_file_that_is_not_there_is_found_by_verify_and_costs_a_restore_only_itself() {
    let repo = init(&MemoryStore::new());
    let source = linked();
    backup_whole(&repo, &source);
    // A source that removes the file and keeps the link breaks its contract; the engine keeps what it can.
    source.remove("1");
    let snapshot = backup_whole(&repo, &source).snapshot;
    let sink = MemorySink::new();
    let report = block_on(repo.restore(snapshot, &sink).run()).unwrap();
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
    assert_eq!(files(&sink), [("top/other".to_owned(), b"other".to_vec())]);
    let check = block_on(repo.verify(VerifyLevel::Structure).run()).unwrap();
    assert_eq!(check.findings.len(), 1, "{:?}", check.findings);
}

#[test]
fn items_without_a_path_are_counted_in_the_report_of_a_restore() {
    let repo = init(&MemoryStore::new());
    let source = MemorySource::new("orphans");
    source.put_folder("0", None, "top");
    source.put_file("1", Some("0"), "here", "here");
    source.put_file("2", Some("gone"), "orphan", "orphan");
    let snapshot = backup(&repo, &source).snapshot;
    let report = block_on(repo.restore(snapshot, &MemorySink::new()).run()).unwrap();
    assert_eq!((report.created, report.problems.len()), (2, 1), "{:?}", report.problems);
}
