//! A folder that moves while it is read, and targets and items that try to lead a restore astray.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use backup_core::{
    Change, Conflict, Content, Contents, ErrorKind, FolderSink, FolderSource, Item, ItemKind, Place, Placed,
    Result, Sink, Source, Stream, Value,
};
use futures_executor::block_on;
use futures_util::StreamExt;

use crate::copy::{copy, enumerate, read};

#[test]
fn a_file_that_changes_while_it_is_read_is_reported_after_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    fs::write(&path, vec![b'x'; 3 << 20]).unwrap();
    let source = FolderSource::new(folder.path()).unwrap();
    let item = enumerate(&source).unwrap().0.remove(1);
    for change in ["append", "cut", "same length"] {
        let (bytes, failure) = block_on(async {
            let mut content = source.open(&item, Stream::CONTENT).await.unwrap();
            let (mut bytes, mut failure) = (0, None);
            while let Some(piece) = content.bytes.next().await {
                match piece {
                    Ok(piece) => bytes += piece.len(),
                    Err(error) => failure = Some(error),
                }
                if bytes == 1 << 20 && failure.is_none() {
                    let mut file =
                        fs::File::options().append(change == "append").write(true).open(&path).unwrap();
                    match change {
                        "cut" => file.set_len(2 << 20).unwrap(),
                        _ => file.write_all(b"more").unwrap(),
                    }
                }
            }
            (bytes, failure)
        });
        let failure = failure.expect(change);
        assert_eq!(failure.kind(), ErrorKind::ChangedWhileReading, "{change}");
        assert!(bytes >= 2 << 20, "{change}: {bytes}");
    }
}

#[test]
fn a_file_that_was_replaced_delivers_its_bytes_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "old").unwrap();
    let source = FolderSource::new(folder.path()).unwrap();
    let item = enumerate(&source).unwrap().0.remove(1);
    fs::write(folder.path().join("new"), "new").unwrap();
    fs::rename(folder.path().join("new"), &path).unwrap();
    assert_eq!(read(&source, &item).unwrap_err().kind(), ErrorKind::ChangedWhileReading);
    fs::remove_file(&path).unwrap();
    assert_eq!(read(&source, &item).unwrap_err().kind(), ErrorKind::NotFound);
    fs::write(folder.path().join("secret"), "secret").unwrap();
    symlink("secret", &path).unwrap();
    assert_eq!(
        read(&source, &item).unwrap_err().kind(),
        ErrorKind::ChangedWhileReading,
        "links are not followed"
    );
}

#[test]
fn what_vanishes_during_the_walk_is_left_out_but_the_folder_itself_must_stay() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("b/c")).unwrap();
    for name in ["a", "b/c/d", "e", "f"] {
        fs::write(root.join(name), name).unwrap();
    }
    // The walk goes ahead of whoever reads, by a few hundred entries.
    for number in 0..1_000 {
        fs::write(root.join(format!("0-{number:03}")), "").unwrap();
    }
    let source = FolderSource::new(&root).unwrap();
    let mut changes = source.changes(None);
    let first = block_on(changes.next()).unwrap().unwrap();
    assert!(matches!(first, Change::Upsert(item) if item.parent.is_none()));
    fs::remove_file(root.join("e")).unwrap();
    fs::remove_dir_all(root.join("b")).unwrap();
    let rest: Vec<_> = block_on(changes.collect());
    let names = |rest: &[Result<Change>]| -> Vec<String> {
        rest.iter()
            .map(|change| match change {
                Ok(Change::Upsert(item)) => item.id.to_string(),
                other => format!("{other:?}"),
            })
            .filter(|name| !name.starts_with("0-"))
            .collect()
    };
    assert_eq!(names(&rest), ["a", "f"]);
    let mut changes = source.changes(None);
    block_on(changes.next()).unwrap().unwrap();
    fs::rename(&root, folder.path().join("moved")).unwrap();
    let rest: Vec<_> = block_on(changes.collect());
    assert_eq!(rest.last().unwrap().as_ref().unwrap_err().kind(), ErrorKind::NotFound, "moved away");
    let missing: Vec<_> = block_on(source.changes(None).collect());
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].as_ref().unwrap_err().kind(), ErrorKind::NotFound);
    let unmounted = FolderSource::new(folder.path()).unwrap().require_mount_point(true);
    assert_eq!(enumerate(&unmounted).unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(
        enumerate(&FolderSource::new("/").unwrap().require_mount_point(true).exclude(["*"]).unwrap()).is_ok()
    );
}

#[test]
fn special_files_are_reported_and_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let _socket = UnixListener::bind(folder.path().join("socket")).unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
    let (items, problems) = enumerate(&FolderSource::new(folder.path()).unwrap()).unwrap();
    assert_eq!(items.len(), 2);
    assert_eq!(problems, ["socket: special file is not backed up"]);
}

/// Set for the copy of this test program that runs without privileges.
const UNPRIVILEGED: &str = "BACKUP_SEAMS_UNPRIVILEGED";

#[test]
fn a_folder_that_may_not_be_listed_is_reported_and_the_walk_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let root = std::env::var_os(UNPRIVILEGED).map_or_else(|| folder.path().to_owned(), Into::into);
    let secret = root.join("secret");
    if std::env::var_os(UNPRIVILEGED).is_none() {
        fs::create_dir(&secret).unwrap();
        fs::write(secret.join("inside"), "x").unwrap();
        fs::write(root.join("visible"), "y").unwrap();
        fs::write(root.join("private"), "z").unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
        fs::set_permissions(root.join("private"), fs::Permissions::from_mode(0o000)).unwrap();
    }
    if fs::read_dir(&secret).is_ok() {
        // Rights do not bind the administrator, so the walk is done by somebody else.
        use std::os::unix::process::CommandExt;
        let program = std::env::current_exe().unwrap();
        let name = "folder_hostile::a_folder_that_may_not_be_listed_is_reported_and_the_walk_goes_on";
        let mut command = std::process::Command::new(program);
        match command.args(["--exact", name]).env(UNPRIVILEGED, &root).uid(65_534).gid(65_534).output() {
            Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
            Err(error) => println!("not tested, the program may not be run by others: {error}"),
        }
        return;
    }
    let source = FolderSource::new(&root).unwrap();
    let (mut ids, mut unreadable) = (Vec::new(), Vec::new());
    for change in block_on(source.changes(None).collect::<Vec<_>>()) {
        match change.unwrap() {
            Change::Upsert(item) => ids.push(item),
            Change::Unreadable(problem) => {
                unreadable.push((problem.id.unwrap().to_string(), problem.error.kind()))
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(unreadable, [("secret".to_owned(), ErrorKind::PermissionDenied)]);
    assert_eq!(ids.iter().map(|item| item.id.to_string()).collect::<Vec<_>>(), [".", "private", "visible"]);
    assert_eq!(read(&source, &ids[1]).unwrap_err().kind(), ErrorKind::PermissionDenied);
}

struct Text(&'static str);

impl Contents for Text {
    fn open<'a>(&'a self, _stream: &str) -> Result<Content<'a>> {
        Ok(Content::from_bytes(self.0))
    }
}

fn file(name: &str) -> Item {
    let mut item = Item::new(name, Some("elsewhere".into()), name, ItemKind::FILE);
    item.streams.push(Stream::new(Stream::CONTENT, None));
    item
}

fn folder_item(name: &str) -> Item {
    Item::new(name, Some("elsewhere".into()), name, ItemKind::FOLDER)
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn links_planted_in_the_target_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (outside, target) = (folder.path().join("outside"), folder.path().join("target"));
    fs::create_dir(&outside).unwrap();
    fs::create_dir(&target).unwrap();
    symlink(&outside, target.join("docs")).unwrap();
    symlink(outside.join("file"), target.join("file")).unwrap();
    let sink = FolderSink::new(&target).unwrap();
    let put = |item: &Item, parent: Option<&Placed>, conflict| {
        block_on(sink.put(item, Place::new(parent, conflict, None), &Text("restored")))
    };
    for conflict in [Conflict::Skip, Conflict::Replace] {
        assert_eq!(put(&folder_item("docs"), None, conflict).unwrap_err().kind(), ErrorKind::AlreadyExists);
    }
    // Not even by a handle that names it.
    let error = put(&file("planted"), Some(&Placed::new("docs")), Conflict::Skip).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    // A file takes the place of the link, it does not go through it.
    put(&file("file"), None, Conflict::Replace).unwrap();
    assert!(fs::symlink_metadata(target.join("file")).unwrap().is_file());
    // A folder that is swapped for a link after it was made.
    let made = put(&folder_item("swapped"), None, Conflict::Skip).unwrap().placed;
    fs::rename(target.join("swapped"), target.join("away")).unwrap();
    symlink(&outside, target.join("swapped")).unwrap();
    assert!(put(&file("planted"), Some(&made), Conflict::Skip).is_err());
    let mut item = folder_item("swapped");
    item.attributes.insert("mode".to_owned(), Value::Int(0o700));
    assert!(block_on(sink.close(&item, &made)).is_err());
    assert!(is_empty(&outside));
}

#[test]
fn names_and_handles_that_lead_out_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("target");
    let sink = FolderSink::new(&target).unwrap();
    for name in ["../x", "..", ".", "/x", "a/b", "a\0b"] {
        for item in [file(name), folder_item(name)] {
            let error =
                block_on(sink.put(&item, Place::new(None, Conflict::Replace, None), &Text("x"))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{name:?}");
        }
    }
    for handle in ["..", "../outside", "/etc", "a/../..", "a//b"] {
        let placed = Placed::new(handle);
        for place in
            [Place::new(Some(&placed), Conflict::Skip, None), Place::new(None, Conflict::Skip, Some(&placed))]
        {
            let error = block_on(sink.put(&file("x"), place, &Text("x"))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{handle:?}");
        }
    }
    let mut item = Item::new("l", Some("elsewhere".into()), "l", ItemKind::SYMLINK);
    let put = |item: &Item| block_on(sink.put(item, Place::new(None, Conflict::Skip, None), &Text("")));
    assert_eq!(put(&item).unwrap_err().kind(), ErrorKind::InvalidArgument, "a link without a target");
    item.attributes.insert("link_target".to_owned(), Value::Bytes(b"../../anywhere".to_vec()));
    put(&item).unwrap();
    assert!(put(&file("l")).unwrap().placed.as_bytes() == b"l");
    assert!(fs::symlink_metadata(target.join("l")).unwrap().is_symlink());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was made outside");
    assert_eq!(fs::read_dir(&target).unwrap().count(), 1);
}

#[test]
fn content_that_fails_leaves_no_file_of_any_name() {
    struct Broken;
    impl Contents for Broken {
        fn open<'a>(&'a self, _stream: &str) -> Result<Content<'a>> {
            let failure = backup_core::Error::new(ErrorKind::Corrupt, "frame does not open");
            let pieces = [Ok("half".into()), Err(failure)];
            Ok(Content::new(Some(8), Box::pin(futures_util::stream::iter(pieces))))
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let sink = FolderSink::new(folder.path()).unwrap();
    let place = Place::new(None, Conflict::Replace, None);
    assert_eq!(block_on(sink.put(&file("a"), place, &Broken)).unwrap_err().kind(), ErrorKind::Corrupt);
    assert!(is_empty(folder.path()));
    // Dropped half way: nothing stays either.
    struct Endless;
    impl Contents for Endless {
        fn open<'a>(&'a self, _stream: &str) -> Result<Content<'a>> {
            // More than is written in one go.
            let half = vec![b'h'; 2 << 20];
            let pieces = futures_util::stream::iter([Ok(half.into())]).chain(futures_util::stream::pending());
            Ok(Content::new(None, Box::pin(pieces)))
        }
    }
    let item = file("a");
    let mut put = sink.put(&item, place, &Endless);
    let waker = futures_util::task::noop_waker();
    let until = |empty: bool, what: &str, mut step: Box<dyn FnMut() + '_>| {
        for _ in 0..1_000 {
            step();
            if is_empty(folder.path()) == empty {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{what}");
    };
    let poll = || assert!(put.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
    until(false, "no temporary name while it is written", Box::new(poll));
    drop(put);
    until(true, "something stayed", Box::new(|| {}));
}

#[test]
fn an_item_that_looks_like_the_name_of_a_long_path_stays_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fs::create_dir_all(from.join("blake3:folder")).unwrap();
    fs::write(from.join("blake3:folder/blake3:file"), "content").unwrap();
    fs::write(from.join("blake3:x"), "y").unwrap();
    assert_eq!(
        copy(&FolderSource::new(&from).unwrap(), &FolderSink::new(&to).unwrap(), Conflict::Skip),
        [""; 0]
    );
    assert_eq!(fs::read_to_string(to.join("blake3:folder/blake3:file")).unwrap(), "content");
    assert_eq!(fs::read_to_string(to.join("blake3:x")).unwrap(), "y");
}
