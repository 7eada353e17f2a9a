//! The walk over a folder: parents first, names in the order of their bytes, one listing in memory per level.

use std::collections::HashMap;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::dirs::{Dirs, LIST};
use super::source::Shared;
use super::{Meta, attribute, failed, id_of, is_id, join, show, split, tag};
use crate::error::{Error, ErrorKind, Result};
use crate::item::{Item, ItemId, ItemKind, Name, Stream, Times, Value};
use crate::limits;
use crate::source::{Change, Problem};
use crate::time::Timestamp;

/// Directory handles that the walk itself keeps; deeper down, those nearest to the root are opened again on the way
/// back, so that a deep tree does not exhaust the process's file handles.
const LEVELS_OPEN_MAX: usize = 32;

/// One directory that the walk is in.
struct Level {
    path: Vec<u8>,
    id: ItemId,
    dir: Option<Arc<OwnedFd>>,
    /// Names not yet visited.
    names: Names,
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
    /// Room for the bytes of a tag.
    tag: Vec<u8>,
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
        let (levels, links) = (Vec::new(), HashMap::new());
        Self { shared, dirs, levels, links, device: 0, phase: Phase::Start, tag: Vec::new() }
    }

    fn start(&mut self) -> Result<Change> {
        let root = Arc::clone(self.dirs.root());
        let stat =
            rustix::fs::fstat(&root).map_err(|errno| failed("cannot look at the folder", b"", errno))?;
        let meta = Meta::new(&stat);
        let names = list(&root).map_err(|errno| failed("cannot list the folder", b"", errno))?;
        self.device = meta.device;
        let item = item(id_of(b""), None, self.shared.root_name(), &meta);
        self.levels.push(Level { path: Vec::new(), id: item.id.clone(), dir: Some(root), names });
        Ok(Change::Upsert(item))
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
        let Some(name) = level.names.next() else {
            self.levels.pop();
            return Some(Step::Skip);
        };
        let path = join(&level.path, name);
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
        Some(self.visit(&dir, path.into()))
    }

    fn visit(&mut self, dir: &OwnedFd, path: Bytes) -> Step {
        let (_, name) = split(&path);
        let meta = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Meta::new(&stat),
            // Listed, then gone: as if it had never been there.
            Err(Errno::NOENT) => return Step::Skip,
            Err(errno) => return unreadable("cannot look at the file", &path, errno),
        };
        match meta.kind {
            FileType::Directory => self.enter(dir, &path, &meta),
            FileType::RegularFile => Step::Emit(Change::Upsert(self.file(&path, &meta))),
            FileType::Symlink => match rustix::fs::readlinkat(dir, name, Vec::new()) {
                Ok(target) => {
                    let mut item = self.item(&path, &meta);
                    let target = Value::Bytes(target.into_bytes());
                    item.attributes.insert(attribute::LINK_TARGET.to_owned(), target);
                    Step::Emit(Change::Upsert(item))
                }
                Err(Errno::NOENT) => Step::Skip,
                Err(errno) => unreadable("cannot read the symbolic link", &path, errno),
            },
            _ => {
                let error = Error::new(ErrorKind::Unsupported, "special file is not backed up");
                problem(&path, error)
            }
        }
    }

    fn enter(&mut self, dir: &OwnedFd, path: &Bytes, meta: &Meta) -> Step {
        let mut names = Names::default();
        let mut handle = None;
        if self.levels.len() >= limits::PATH_DEPTH_MAX {
            return problem(path, Error::limit("folders are nested too deep"));
        }
        if !self.shared.one_file_system || meta.device == self.device {
            let (_, name) = split(path);
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
        let item = self.item(path, meta);
        if !names.is_empty() {
            if let Some(distant) = self.levels.len().checked_sub(LEVELS_OPEN_MAX)
                && let Some(level) = self.levels.get_mut(distant).filter(|level| !level.path.is_empty())
            {
                level.dir = None;
            }
            self.levels.push(Level { path: path.to_vec(), id: item.id.clone(), dir: handle, names });
        }
        Step::Emit(Change::Upsert(item))
    }

    /// The item at a path, which lies in the folder that the walk is in.
    fn item(&self, path: &Bytes, meta: &Meta) -> Item {
        let parent = self.levels.last().map(|level| level.id.clone());
        // The item's id and name are parts of one piece of memory.
        let (above, _) = split(path);
        let name = Name::new(path.slice(if above.is_empty() { 0 } else { above.len() + 1 }..));
        let id = if is_id(path) { ItemId::new(path.clone()) } else { id_of(path) };
        if let Some(parent) = parent.as_ref().filter(|_| !is_id(path)) {
            self.shared.remember(&id, parent, &name);
        }
        item(id, parent, name, meta)
    }

    fn file(&mut self, path: &Bytes, meta: &Meta) -> Item {
        let mut item = self.item(path, meta);
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
        item.tag = tag::of(meta, &mut self.tag);
        item.streams = vec![Stream::new(Stream::CONTENT, Some(meta.size))];
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

/// Names of a directory, in the order of their bytes: one piece of memory for all of them.
#[derive(Default)]
struct Names {
    bytes: Vec<u8>,
    /// Where each of them lies, in descending order so that they can be taken from the end.
    places: Vec<Range<usize>>,
}

impl Names {
    fn push(&mut self, name: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.places.push(start..self.bytes.len());
    }

    fn sort(&mut self) {
        let name = |place: &Range<usize>| self.bytes.get(place.clone()).unwrap_or_default();
        self.places.sort_unstable_by(|a, b| name(b).cmp(name(a)));
    }

    const fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    fn next(&mut self) -> Option<&[u8]> {
        self.bytes.get(self.places.pop()?)
    }
}

/// All names in a directory.
fn list(dir: &OwnedFd) -> Result<Names, Errno> {
    let mut names = Names::default();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn item(id: ItemId, parent: Option<ItemId>, name: Name, meta: &Meta) -> Item {
    let kind = match meta.kind {
        FileType::Directory => ItemKind::FOLDER,
        FileType::Symlink => ItemKind::SYMLINK,
        _ => ItemKind::FILE,
    };
    let mut item = Item::new(id, parent, name, kind);
    item.times = Times::new(None, Some(Timestamp::new(meta.modified.0, meta.modified.1)));
    for (name, value) in
        [(attribute::MODE, meta.mode), (attribute::UID, meta.uid), (attribute::GID, meta.gid)]
    {
        item.attributes.insert(name.to_owned(), Value::Int(value.into()));
    }
    item
}

fn problem(path: &[u8], error: Error) -> Step {
    Step::Emit(Change::Unreadable(Problem::new(Some(id_of(path)), show(path), error)))
}

fn unreadable(what: &str, path: &[u8], errno: Errno) -> Step {
    problem(path, failed(what, path, errno))
}
