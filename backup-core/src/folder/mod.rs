//! Source and sink over a local folder, with modes, owners, times, symbolic and hard links and sparse files (Unix).
//!
//! Every file is reached through open directory handles, component by component and without following symbolic links
//! (`openat`, `O_NOFOLLOW`). So a link that somebody plants into the tree while it is walked or restored leads nowhere,
//! and paths may be longer than the system's limit.
//!
//! Polling never waits for a disk. The engine reads files and writes small ones on its workers; everything else calls the system on threads of
//! the folders' own, at most eight in a process, which start with the first use.
//!
//! Not kept: extended attributes, access control lists, access times, device files, sockets and pipes. Windows is out
//! of scope: names, owners and links are different things there.

mod ahead;
mod dirs;
mod place;
mod read;
mod sink;
mod source;
mod tag;
mod walk;
mod write;

use rustix::fs::{FileType, Stat};

use crate::error::{Error, ErrorKind, Result};
use crate::item::{ItemId, Name};
use crate::limits;

pub use sink::FolderSink;
pub use source::FolderSource;

/// Id of the folder itself. No relative path is a lone dot.
const ROOT_ID: &str = ".";
/// What the id of an item begins with whose path is too long to be an id.
const LONG_ID: &[u8] = b"blake3:";

/// Names of the attributes that both sides agree on.
mod attribute {
    pub(super) const GID: &str = "gid";
    pub(super) const LINK_TARGET: &str = "link_target";
    pub(super) const MODE: &str = "mode";
    pub(super) const SPARSE: &str = "sparse";
    pub(super) const LINKS: &str = "links";
    pub(super) const UID: &str = "uid";
}

/// The id of the item at a path relative to the folder. Paths that look like the id of a long one are hashed too, so
/// that nobody can make two items share an id by choosing a name.
fn id_of(path: &[u8]) -> ItemId {
    if path.is_empty() {
        ROOT_ID.into()
    } else if is_id(path) {
        path.into()
    } else {
        [LONG_ID, blake3::hash(path).to_hex().as_bytes()].concat().as_slice().into()
    }
}

/// Whether a path, other than that of the folder itself, is an id as it stands.
fn is_id(path: &[u8]) -> bool {
    path.len() <= limits::ITEM_ID_BYTES_MAX && !path.starts_with(LONG_ID)
}

/// `name` below `parent`, both relative to the folder.
fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

/// The containing folder and the last name of a path.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (path.get(..slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default()),
        None => (&[], path),
    }
}

/// A path for people: the folder's own is a dot.
fn show(path: &[u8]) -> String {
    if path.is_empty() { ROOT_ID.to_owned() } else { Name::from(path).to_string() }
}

/// An error of the operating system about one path.
fn failed(what: &str, path: &[u8], cause: impl Into<std::io::Error>) -> Error {
    let cause = cause.into();
    let kind = match cause.kind() {
        std::io::ErrorKind::Unsupported => ErrorKind::Unsupported,
        other => Error::from(std::io::Error::from(other)).kind(),
    };
    Error::new(kind, what).with_item(show(path)).with_source(cause)
}

/// What the system says about a file, in one width on every platform.
#[derive(Clone, Copy, Debug)]
struct Meta {
    kind: FileType,
    /// Permission bits with setuid, setgid and sticky.
    mode: u32,
    uid: u32,
    gid: u32,
    size: u64,
    allocated: u64,
    links: u64,
    inode: u64,
    device: u64,
    modified: (i64, u32),
    changed: (i64, u32),
}

impl Meta {
    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        clippy::cast_lossless,
        reason = "the fields of `stat` have another width on every platform; none of them is negative but the seconds"
    )]
    fn new(stat: &Stat) -> Self {
        Self {
            kind: FileType::from_raw_mode(stat.st_mode as _),
            mode: stat.st_mode as u32 & 0o7777,
            uid: stat.st_uid as u32,
            gid: stat.st_gid as u32,
            size: stat.st_size as u64,
            allocated: (stat.st_blocks as u64).saturating_mul(512),
            links: stat.st_nlink as u64,
            inode: stat.st_ino as u64,
            device: stat.st_dev as u64,
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as u32),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as u32),
        }
    }

    const fn file_id(&self) -> (u64, u64) {
        (self.device, self.inode)
    }

    const fn is_sparse(&self) -> bool {
        self.allocated < self.size
    }

    /// Whether everything is as it was that moves when the content does.
    fn is_same_version(&self, before: &Self) -> bool {
        self.size == before.size
            && self.modified == before.modified
            && self.changed == before.changed
            && self.file_id() == before.file_id()
    }
}

/// Refuses what is not the name of one thing in one folder.
fn check_name(name: &[u8]) -> Result<()> {
    let reason = match name {
        b"" => "name is empty",
        b"." | b".." => "name would leave the folder",
        _ if name.contains(&b'/') => "name contains a slash",
        _ if name.contains(&0) => "name contains a zero byte",
        _ => return Ok(()),
    };
    Err(Error::invalid(reason).with_item(show(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_an_id_of_its_own() {
        assert_eq!(id_of(b""), ItemId::from("."));
        assert_eq!(id_of(b"a/b"), ItemId::from("a/b"));
        let long = [b'x'; 1025];
        let hashed = id_of(&long);
        assert!(hashed.as_bytes().starts_with(LONG_ID) && hashed.as_bytes().len() == LONG_ID.len() + 64);
        assert_ne!(id_of(hashed.as_bytes()), hashed, "a file whose name is that id is another item");
    }

    #[test]
    fn names_that_are_paths_are_refused() {
        for name in [&b""[..], b".", b"..", b"../x", b"/etc", b"a\0b"] {
            assert_eq!(check_name(name).unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
        assert!(check_name(b"...").is_ok() && check_name(b"a\\b\xff").is_ok());
    }

    #[test]
    fn paths_split_and_join() {
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"a"), (&b""[..], &b"a"[..]));
        assert_eq!(join(b"", b"a"), b"a");
        assert_eq!(join(b"a", b"b"), b"a/b");
    }
}
