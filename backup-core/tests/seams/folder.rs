//! A folder out and back: everything that the module promises to keep is kept.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use backup_core::testkit::sink::{Found, ReadBack};
use backup_core::testkit::{sink, source};
use backup_core::{
    Action, Conflict, Content, Contents, ErrorKind, FolderSink, FolderSource, Item, ItemKind, Place, Result,
    Sink, Source, Stream, Tag, Value,
};
use futures_executor::block_on;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps};

use crate::copy::{copy, enumerate, read};

/// Older than any clock tick, so that tags do not depend on when the test runs.
fn age(path: &Path, seconds: i64, nanos: u32) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn mode(path: &Path, bits: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(bits)).unwrap();
}

/// A tree with one of everything.
fn populate(root: &Path) {
    fs::create_dir_all(root.join("docs/deep/er")).unwrap();
    fs::create_dir(root.join("empty folder")).unwrap();
    fs::write(root.join("docs/report.txt"), "quarterly").unwrap();
    fs::write(root.join("docs/zero"), "").unwrap();
    fs::write(root.join("docs/deep/er/big"), vec![0xa5; 3_000_001]).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"not utf-8 \xff\xfe")), "bytes").unwrap();
    fs::write(root.join("setuid"), "#!").unwrap();
    mode(&root.join("setuid"), 0o4751);
    mode(&root.join("docs/report.txt"), 0o640);
    fs::hard_link(root.join("docs/report.txt"), root.join("hard link")).unwrap();
    symlink("docs/report.txt", root.join("link")).unwrap();
    symlink("/nowhere/at all", root.join("dangling")).unwrap();
    fs::create_dir(root.join("read-only")).unwrap();
    fs::write(root.join("read-only/child"), "inside").unwrap();
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    sparse.write_all_at(b"head", 0).unwrap();
    sparse.write_all_at(&[1; 10_000], 33_333_333).unwrap();
    let mut seconds = 1_000_000_000;
    // From the bottom up, because creating an entry touches its folder.
    for path in [
        "docs/deep/er/big",
        "docs/deep/er",
        "docs/deep",
        "docs/report.txt",
        "docs/zero",
        "docs",
        "setuid",
        "link",
        "dangling",
        "read-only/child",
        "read-only",
        "sparse",
        "empty folder",
    ] {
        seconds += 1_000;
        age(&root.join(path), seconds, 123_456_789);
    }
    age(&root.join(OsStr::from_bytes(b"not utf-8 \xff\xfe")), -86_400, 1);
    mode(&root.join("read-only"), 0o555);
    mode(&root.join("docs"), 0o2775);
    age(root, 999_999_999, 999_999_999);
}

/// Items by id, without what belongs to this copy only (inode and change time are in the tag).
fn items(source: &FolderSource) -> BTreeMap<Vec<u8>, Item> {
    let (items, problems) = enumerate(source).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    items
        .into_iter()
        .map(|mut item| {
            item.tag = Tag::default();
            (item.id.as_bytes().to_vec(), item)
        })
        .collect()
}

#[test]
fn everything_survives_the_way_out_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("data"), folder.path().join("restored/data"));
    fs::create_dir(&from).unwrap();
    populate(&from);
    let source = FolderSource::new(&from).unwrap();
    let sink = FolderSink::new(&to).unwrap();
    assert_eq!(copy(&source, &sink, Conflict::Skip), [""; 0]);
    let restored = FolderSource::new(&to).unwrap();
    let (before, after) = (items(&source), items(&restored));
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    for (id, item) in &before {
        assert_eq!(after.get(id), Some(item), "{}", item.id);
        if !item.streams.is_empty() {
            assert_eq!(read(&source, item).unwrap(), read(&restored, item).unwrap(), "{}", item.id);
        }
    }
    let (one, two) =
        (fs::metadata(to.join("docs/report.txt")).unwrap(), fs::metadata(to.join("hard link")).unwrap());
    assert_eq!((one.ino(), one.nlink()), (two.ino(), 2), "hard links share their file");
    let sparse = fs::metadata(to.join("sparse")).unwrap();
    assert_eq!(sparse.len(), 64 << 20);
    assert!(sparse.blocks() * 512 < 1 << 20, "{} blocks", sparse.blocks());
    assert_eq!(before[&b"sparse"[..]].attributes.get("sparse"), Some(&Value::Bool(true)));
    assert_eq!(fs::read_link(to.join("dangling")).unwrap(), Path::new("/nowhere/at all"));
    let left = walk_names(&to).into_iter().filter(|name| name.contains(".restoring")).count();
    assert_eq!(left, 0, "no temporary names are left");
}

fn walk_names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        names.push(entry.file_name().to_string_lossy().into_owned());
        if entry.file_type().unwrap().is_dir() {
            names.extend(walk_names(&entry.path()));
        }
    }
    names
}

#[test]
fn items_come_sorted_parents_first_with_stable_ids() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b/x", "a/y", "a.txt", "A"] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    let source = FolderSource::new(folder.path()).unwrap();
    let (items, _) = enumerate(&source).unwrap();
    let ids: Vec<_> = items.iter().map(|item| item.id.to_string()).collect();
    assert_eq!(ids, [".", "A", "a", "a/y", "a.txt", "b", "b/x"]);
    let root = &items[0];
    assert_eq!((root.kind, &root.parent), (ItemKind::FOLDER, &None));
    assert_eq!(root.name.as_bytes(), folder.path().file_name().unwrap().as_bytes());
    assert_eq!(items[3].parent, Some("a".into()));
    let collection = source.collection();
    assert_eq!(collection.id, format!("folder:{}", folder.path().display()));
    assert_eq!(source.collection_id("laptop").collection().id, "laptop");
}

#[test]
fn an_unchanged_file_keeps_its_tag_and_a_changed_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "one").unwrap();
    let source = FolderSource::new(folder.path()).unwrap();
    let tag = || enumerate(&source).unwrap().0[1].tag.clone();
    let young = tag();
    std::thread::sleep(Duration::from_millis(50));
    let (first, second) = (tag(), tag());
    assert_eq!(first, second);
    assert!(young.as_bytes().starts_with(first.as_bytes()), "at most marked as young: {young}");
    // Same size, same modification time: the change time gives it away.
    fs::write(&path, "two").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(UNIX_EPOCH).unwrap();
    assert_ne!(tag(), first);
}

#[test]
fn paths_longer_than_the_system_takes_go_out_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fs::create_dir(&from).unwrap();
    let mut dir = rustix::fs::open(&from, OFlags::RDONLY, Mode::empty()).unwrap();
    let name = "d".repeat(100);
    for _ in 0..60 {
        rustix::fs::mkdirat(&dir, name.as_str(), Mode::RWXU).unwrap();
        dir = rustix::fs::openat(&dir, name.as_str(), OFlags::RDONLY, Mode::empty()).unwrap();
    }
    for number in 0..3 {
        let flags = OFlags::WRONLY | OFlags::CREATE;
        let file = rustix::fs::openat(&dir, format!("file {number}"), flags, Mode::RUSR).unwrap();
        rustix::io::write(&file, format!("content {number}").as_bytes()).unwrap();
    }
    let source = FolderSource::new(&from).unwrap();
    let (items, _) = enumerate(&source).unwrap();
    assert_eq!(items.len(), 1 + 60 + 3);
    let last = items.last().unwrap();
    assert!(last.id.as_bytes().starts_with(b"blake3:"), "{}", last.id);
    assert_eq!(last.parent.as_ref(), Some(&items[60].id));
    assert_eq!(read(&source, last).unwrap(), b"content 2");
    assert_eq!(copy(&source, &FolderSink::new(&to).unwrap(), Conflict::Skip), [""; 0]);
    let restored = FolderSource::new(&to).unwrap();
    let (again, _) = enumerate(&restored).unwrap();
    assert_eq!(again.last().unwrap().id, last.id);
    assert_eq!(read(&restored, again.last().unwrap()).unwrap(), b"content 2");
}

#[test]
fn what_is_excluded_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["keep/a.txt", "keep/b.tmp", "cache/x", "deep/cache/y", "build/o/1.o", "other/build/2.o"] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    let source = FolderSource::new(folder.path()).unwrap();
    let source = source.exclude(["*.tmp", "cache/"]).unwrap().exclude(["/build/**/*.o"]).unwrap();
    let (items, _) = enumerate(&source).unwrap();
    let ids: Vec<_> = items.iter().map(|item| item.id.to_string()).collect();
    assert_eq!(
        ids,
        [".", "build", "build/o", "deep", "keep", "keep/a.txt", "other", "other/build", "other/build/2.o"]
    );
    assert_eq!(source.exclude(["[a"]).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn the_source_suite_passes_on_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    populate(folder.path());
    block_on(source::conformance(&FolderSource::new(folder.path()).unwrap())).unwrap();
    let shared: std::sync::Arc<dyn Source> = std::sync::Arc::new(FolderSource::new(folder.path()).unwrap());
    block_on(source::conformance(&*shared)).unwrap();
}

/// Shows a folder to the sink suite.
struct Disk(std::path::PathBuf);

#[async_trait]
impl ReadBack for Disk {
    async fn tree(&self) -> Result<BTreeMap<String, Found>> {
        // The helpers bring an executor of their own, which refuses to run inside another.
        std::thread::scope(|scope| scope.spawn(|| look(&self.0)).join().unwrap())
    }
}

fn look(folder: &Path) -> Result<BTreeMap<String, Found>> {
    let source = FolderSource::new(folder)?;
    let (items, _) = enumerate(&source)?;
    let found = |item: &Item| {
        let first = item.hard_link.as_ref().and_then(|first| items.iter().find(|item| item.id == *first));
        match item.kind.is_container() {
            true => Ok(Found::container()),
            false => read(&source, first.unwrap_or(item)).map(Found::file),
        }
    };
    items.iter().skip(1).map(|item| Ok((item.id.to_string(), found(item)?))).collect()
}

#[test]
fn the_sink_suite_passes_on_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    block_on(sink::conformance(&FolderSink::new(folder.path()).unwrap(), &Disk(folder.path().to_owned())))
        .unwrap();
}

struct Text(&'static str);

impl Contents for Text {
    fn open<'a>(&'a self, _stream: &str) -> Result<Content<'a>> {
        Ok(Content::from_bytes(self.0))
    }
}

#[test]
fn conflict_policies_do_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::write(root.join("report.txt"), "mine").unwrap();
    fs::create_dir_all(root.join("full/x")).unwrap();
    fs::create_dir(root.join("bare")).unwrap();
    fs::write(root.join("notes"), "text").unwrap();
    fs::write(root.join("nothing"), "").unwrap();
    let sink = FolderSink::new(root).unwrap();
    let put = |name: &str, kind: ItemKind, conflict: Conflict| {
        let mut item = Item::new(name, Some("elsewhere".into()), name, kind);
        if kind == ItemKind::FILE {
            item.streams.push(Stream::new(Stream::CONTENT, None));
        }
        block_on(sink.put(&item, Place::new(None, conflict, None), &Text("restored")))
    };
    let content = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    let file = |name: &str, conflict| put(name, ItemKind::FILE, conflict);
    assert_eq!(file("report.txt", Conflict::Skip).unwrap().action, Action::Skipped);
    assert_eq!(content("report.txt"), "mine");
    for name in ["report (restored).txt", "report (restored 2).txt"] {
        let placement = file("report.txt", Conflict::KeepBoth).unwrap();
        assert_eq!((placement.action, placement.placed.as_bytes()), (Action::Renamed, name.as_bytes()));
        assert_eq!((content("report.txt"), content(name)), ("mine".to_owned(), "restored".to_owned()));
    }
    assert_eq!(file("report.txt", Conflict::Replace).unwrap().action, Action::Replaced);
    assert_eq!(content("report.txt"), "restored");
    assert_eq!(file("full", Conflict::Replace).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert!(root.join("full/x").is_dir());
    assert_eq!(file("bare", Conflict::Replace).unwrap().action, Action::Replaced);
    assert_eq!(content("bare"), "restored");
    let dir = |name: &str, conflict| put(name, ItemKind::FOLDER, conflict);
    for conflict in [Conflict::Skip, Conflict::Replace] {
        assert_eq!(dir("notes", conflict).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(content("notes"), "text");
    }
    assert_eq!(dir("notes", Conflict::KeepBoth).unwrap().placed.as_bytes(), b"notes (restored)");
    assert_eq!(dir("nothing", Conflict::Replace).unwrap().action, Action::Replaced);
    assert!(root.join("nothing").is_dir());
    assert_eq!(dir("full", Conflict::KeepBoth).unwrap().action, Action::Skipped, "entered");
}

#[test]
fn a_folder_that_was_there_keeps_its_attributes_unless_it_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    for root in [&from, &to] {
        fs::create_dir_all(root.join("shared")).unwrap();
    }
    mode(&from.join("shared"), 0o500);
    mode(&to.join("shared"), 0o711);
    mode(&to, 0o755);
    mode(&from, 0o750);
    let source = FolderSource::new(&from).unwrap();
    let bits = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(copy(&source, &FolderSink::new(&to).unwrap(), Conflict::Skip), [""; 0]);
    assert_eq!((bits(&to), bits(&to.join("shared"))), (0o755, 0o711));
    assert_eq!(copy(&source, &FolderSink::new(&to).unwrap(), Conflict::Replace), [""; 0]);
    assert_eq!((bits(&to), bits(&to.join("shared"))), (0o750, 0o500));
}

#[test]
fn items_that_a_folder_cannot_hold_whole_are_refused_unless_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut item = Item::new("v", Some("elsewhere".into()), "versions.txt", ItemKind::FILE);
    item.streams = vec![Stream::new("version/1.0", None), Stream::new(Stream::CONTENT, None)];
    let place = || Place::new(None, Conflict::Skip, None);
    let sink = FolderSink::new(folder.path()).unwrap();
    let refused = block_on(sink.put(&item, place(), &Text("now")));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
    let sink = FolderSink::new(folder.path()).unwrap().main_stream_only(true);
    block_on(sink.put(&item, place(), &Text("now"))).unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("versions.txt")).unwrap(), "now");
}
