//! The index cache suite, and what a directory promises besides.

use std::fs;

use backup_core::testkit::cache::conformance;
use backup_core::{DirectoryCache, ErrorKind, IndexCache};

#[test]
fn a_directory_keeps_every_promise() {
    let place = tempfile::tempdir().unwrap();
    let below = place.path().join("made/when/needed");
    let cache = DirectoryCache::open(&below).unwrap();
    conformance(&cache).unwrap();
    assert_eq!(fs::read_dir(&below).unwrap().count(), 0, "the suite cleans up");
}

#[cfg(unix)]
#[test]
fn a_directory_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;

    let place = tempfile::tempdir().unwrap();
    let below = place.path().join("index");
    let cache = DirectoryCache::open(&below).unwrap();
    let mut entry = cache.create("name").unwrap();
    entry.write_all(b"bytes").unwrap();
    assert_eq!(entry.finish().unwrap(), "bytes");
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(below.clone()), mode(below.join("name.run"))), (0o700, 0o600));
}

#[test]
fn what_a_program_left_unfinished_is_cleared_away_once_it_is_old() {
    let place = tempfile::tempdir().unwrap();
    let (old, new) = (place.path().join("a.1-1.part"), place.path().join("b.1-2.part"));
    for path in [&old, &new] {
        fs::write(path, "half").unwrap();
    }
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(48 * 60 * 60);
    fs::File::options().write(true).open(&old).unwrap().set_modified(long_ago).unwrap();
    let cache = DirectoryCache::open(place.path()).unwrap();
    assert!(!old.exists() && new.exists());
    assert!(cache.names().unwrap().is_empty());
}

#[test]
fn a_place_that_is_no_directory_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert_eq!(DirectoryCache::open(file.path()).unwrap_err().kind(), ErrorKind::Io);
}
