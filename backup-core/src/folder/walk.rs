//! The walk over a folder: parents first, names in the order of their bytes, one listing in memory per level.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::dirs::{Dirs, LIST};
use super::source::Shared;
use super::{Meta, attribute, failed, id_of, join, show};
use crate::error::{Error, ErrorKind, Result};
use crate::item::{Item, ItemId, ItemKind, Name, Stream, Tag, Times, Value};
use crate::limits;
use crate::source::{Change, Problem};
use crate::time::Timestamp;

/// Directory handles that the walk itself keeps; deeper down, those nearest to the root are opened again on the way
/// back, so that a deep tree does not exhaust the process's file handles.
const LEVELS_OPEN_MAX: usize = 32;
/// Two writes within this time may leave the same time stamp: the coarsest tick of a current Unix kernel.
const TICK_NANOS: i128 = 20_000_000;
/// The same on a file system that keeps whole seconds, or two of them.
const COARSE_TICK_NANOS: i128 = 2_000_000_000;

/// One directory that the walk is in.
struct Level {
    path: Vec<u8>,
    dir: Option<Arc<OwnedFd>>,
    /// Names not yet visited, last first.
    names: Vec<Vec<u8>>,
}

/// The state of one enumeration.
pub(super) struct Walk {
    shared: Arc<Shared>,
    dirs: Arc<Dirs>,
    levels: Vec<Level>,
    /// Hard links seen so far: the item that has the content, and how many further names are still to come.
    links: HashMap<(u64, u64), (ItemId, u64)>,
    device: u64,
    phase: Phase,
}

#[derive(PartialEq, Eq)]
enum Phase {
    Start,
    Below,
    Done,
}

#[expect(clippy::large_enum_variant, reason = "lives for one return; a box per file would cost more")]
enum Step {
    Emit(Change),
    Skip,
}

impl Walk {
    pub(super) fn new(shared: Arc<Shared>, dirs: Arc<Dirs>) -> Self {
        Self { shared, dirs, levels: Vec::new(), links: HashMap::new(), device: 0, phase: Phase::Start }
    }

    fn start(&mut self) -> Result<Change> {
        let root = Arc::clone(self.dirs.root());
        let stat =
            rustix::fs::fstat(&root).map_err(|errno| failed("cannot look at the folder", b"", errno))?;
        let meta = Meta::new(&stat);
        let names = list(&root).map_err(|errno| failed("cannot list the folder", b"", errno))?;
        self.device = meta.device;
        self.levels.push(Level { path: Vec::new(), dir: Some(root), names });
        Ok(Change::Upsert(item(b"", None, self.shared.root_name(), &meta)))
    }

    /// Whether the folder is still where it was: a disk that went away during the walk must not look like a folder
    /// with less in it.
    fn finish(&self) -> Result<()> {
        let gone = |errno| failed("folder went away during the walk", b"", errno);
        let now = Meta::new(&rustix::fs::stat(self.shared.path()).map_err(gone)?);
        let then = Meta::new(&rustix::fs::fstat(self.dirs.root()).map_err(gone)?);
        if now.file_id() != then.file_id() {
            return Err(Error::new(ErrorKind::ChangedWhileReading, "folder was replaced during the walk"));
        }
        Ok(())
    }

    fn step(&mut self) -> Option<Step> {
        let level = self.levels.last_mut()?;
        let Some(name) = level.names.pop() else {
            self.levels.pop();
            return Some(Step::Skip);
        };
        let path = join(&level.path, &name);
        if self.shared.is_excluded(&path) {
            return Some(Step::Skip);
        }
        let dir = match &level.dir {
            Some(dir) => Arc::clone(dir),
            None => match self.dirs.open(&level.path) {
                Ok(dir) => {
                    level.dir = Some(Arc::clone(&dir));
                    dir
                }
                Err(Errno::NOENT) => return Some(Step::Skip),
                Err(errno) => return Some(unreadable("cannot return to the folder", &path, errno)),
            },
        };
        Some(self.visit(&dir, &path, &name))
    }

    fn visit(&mut self, dir: &OwnedFd, path: &[u8], name: &[u8]) -> Step {
        let meta = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Meta::new(&stat),
            // Listed, then gone: as if it had never been there.
            Err(Errno::NOENT) => return Step::Skip,
            Err(errno) => return unreadable("cannot look at the file", path, errno),
        };
        match meta.kind {
            FileType::Directory => self.enter(dir, path, name, &meta),
            FileType::RegularFile => Step::Emit(Change::Upsert(self.file(path, name, &meta))),
            FileType::Symlink => match rustix::fs::readlinkat(dir, name, Vec::new()) {
                Ok(target) => {
                    let mut item = item(path, Some(&self.shared), name.into(), &meta);
                    let target = Value::Bytes(target.into_bytes());
                    item.attributes.insert(attribute::LINK_TARGET.to_owned(), target);
                    Step::Emit(Change::Upsert(item))
                }
                Err(Errno::NOENT) => Step::Skip,
                Err(errno) => unreadable("cannot read the symbolic link", path, errno),
            },
            _ => {
                let error = Error::new(ErrorKind::Unsupported, "special file is not backed up");
                problem(path, error)
            }
        }
    }

    fn enter(&mut self, dir: &OwnedFd, path: &[u8], name: &[u8], meta: &Meta) -> Step {
        let mut names = Vec::new();
        let mut handle = None;
        if self.levels.len() >= limits::PATH_DEPTH_MAX {
            return problem(path, Error::limit("folders are nested too deep"));
        }
        if !self.shared.one_file_system || meta.device == self.device {
            let opened = rustix::fs::openat(dir, name, LIST | OFlags::NOFOLLOW, Mode::empty());
            match opened.and_then(|opened| Ok((list(&opened)?, opened))) {
                Ok((listed, opened)) => {
                    names = listed;
                    handle = Some(Arc::new(opened));
                }
                Err(Errno::NOENT) => return Step::Skip,
                Err(errno) => return unreadable("cannot list the folder", path, errno),
            }
        }
        if !names.is_empty() {
            if let Some(distant) = self.levels.len().checked_sub(LEVELS_OPEN_MAX)
                && let Some(level) = self.levels.get_mut(distant).filter(|level| !level.path.is_empty())
            {
                level.dir = None;
            }
            self.levels.push(Level { path: path.to_vec(), dir: handle, names });
        }
        Step::Emit(Change::Upsert(item(path, Some(&self.shared), name.into(), meta)))
    }

    fn file(&mut self, path: &[u8], name: &[u8], meta: &Meta) -> Item {
        let mut item = item(path, Some(&self.shared), name.into(), meta);
        if meta.links > 1 {
            // Tells a restore that more names of this file are to come.
            let names = i64::try_from(meta.links).unwrap_or(i64::MAX);
            item.attributes.insert(attribute::LINKS.to_owned(), Value::Int(names));
            if let Some((first, left)) = self.links.get_mut(&meta.file_id()) {
                item.hard_link = Some(first.clone());
                *left = left.saturating_sub(1);
                if *left == 0 {
                    self.links.remove(&meta.file_id());
                }
                return item;
            }
            self.links.insert(meta.file_id(), (item.id.clone(), meta.links - 1));
        }
        if meta.is_sparse() {
            item.attributes.insert(attribute::SPARSE.to_owned(), Value::Bool(true));
        }
        item.tag = tag(meta);
        item.streams.push(Stream::new(Stream::CONTENT, Some(meta.size)));
        item
    }
}

impl Iterator for Walk {
    type Item = Result<Change>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.phase == Phase::Start {
            let first = self.start();
            self.phase = if first.is_ok() { Phase::Below } else { Phase::Done };
            return Some(first);
        }
        while self.phase == Phase::Below {
            match self.step() {
                Some(Step::Emit(change)) => return Some(Ok(change)),
                Some(Step::Skip) => {}
                None => {
                    self.phase = Phase::Done;
                    return self.finish().err().map(Err);
                }
            }
        }
        None
    }
}

/// All names in a directory, in descending order so that they can be taken from the end.
fn list(dir: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

fn item(path: &[u8], shared: Option<&Shared>, name: Name, meta: &Meta) -> Item {
    let kind = match meta.kind {
        FileType::Directory => ItemKind::FOLDER,
        FileType::Symlink => ItemKind::SYMLINK,
        _ => ItemKind::FILE,
    };
    let parent = shared.map(|shared| shared.parent_of(path));
    let mut item = Item::new(id_of(path), parent, name, kind);
    item.times = Times::new(None, Some(Timestamp::new(meta.modified.0, meta.modified.1)));
    for (name, value) in
        [(attribute::MODE, meta.mode), (attribute::UID, meta.uid), (attribute::GID, meta.gid)]
    {
        item.attributes.insert(name.to_owned(), Value::Int(value.into()));
    }
    item
}

/// The version mark. A file that was touched within the last tick could be touched again without a new time stamp, so
/// its mark is good for this run only and the next run reads it once more.
fn tag(meta: &Meta) -> Tag {
    let (modified, changed) = (meta.modified, meta.changed);
    let mut text = format!(
        "{}|{}.{:09}|{}.{:09}|{}|{}",
        meta.size, modified.0, modified.1, changed.0, changed.1, meta.inode, meta.device
    );
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos());
    let tick = if changed.1 == 0 && modified.1 == 0 { COARSE_TICK_NANOS } else { TICK_NANOS };
    let changed = i128::from(changed.0) * 1_000_000_000 + i128::from(changed.1);
    if i128::try_from(now).unwrap_or(i128::MAX) - changed < tick {
        text.push_str(&format!("|{now}"));
    }
    text.into()
}

fn problem(path: &[u8], error: Error) -> Step {
    Step::Emit(Change::Unreadable(Problem::new(Some(id_of(path)), show(path), error)))
}

fn unreadable(what: &str, path: &[u8], errno: Errno) -> Step {
    problem(path, failed(what, path, errno))
}
