//! A folder as a source of items.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::dirs::Dirs;
use super::read::Reader;
use super::walk::Walk;
use super::{LONG_ID, Meta, ROOT_ID, ahead, failed, show, split};
use crate::error::{Error, ErrorKind, Result};
use crate::item::{Collection, Cursor, Item, ItemId, Name, Stream, Tag};
use crate::limits;
use crate::source::{BlockingContent, Change, Content, Source};

/// Files that are read at once: some batches of small ones for each of a few workers.
const CONCURRENCY: usize = 256;
/// Bytes that are read in one go.
const BATCH_BYTES: usize = 1 << 20;
/// Entries that are listed in one go.
const BATCH_ENTRIES: usize = 128;

/// The files below a local folder, enumerated in full on every run.
///
/// An unchanged file is not read again: its tag holds size, times and inode. The folder itself is the item `.`; an
/// item's id is its path relative to it, so a renamed file is a new item whose content is deduplicated.
///
/// A folder that is missing, or goes away during the walk, ends the run with an error: it never looks like a folder
/// whose files were all deleted. If the folder is a mount point, say so with [`require_mount_point`]: an unmounted disk
/// leaves an empty folder behind.
///
/// [`require_mount_point`]: Self::require_mount_point
#[derive(Debug)]
pub struct FolderSource {
    shared: Arc<Shared>,
    /// Set by each enumeration, used by the reads that follow it.
    dirs: Mutex<Option<Arc<Dirs>>>,
}

/// What the source and its walks have in common.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    path: PathBuf,
    collection: Option<String>,
    patterns: Vec<String>,
    exclude: GlobSet,
    pub(super) one_file_system: bool,
    mount_point: bool,
    /// Name and parent of folders and files whose path is too long to be an id.
    long: Arc<Mutex<HashMap<ItemId, (ItemId, Name)>>>,
}

impl FolderSource {
    /// The folder at `path`, which is made absolute but not looked at before the first enumeration.
    ///
    /// # Errors
    /// `InvalidArgument` if the path is empty.
    pub fn new(path: impl AsRef<Path>) -> Result<Self> {
        let path = std::path::absolute(path.as_ref())
            .map_err(|error| Error::invalid("not a path").with_source(error))?;
        let shared = Shared {
            path,
            collection: None,
            patterns: Vec::new(),
            exclude: GlobSet::empty(),
            one_file_system: false,
            mount_point: false,
            long: Arc::default(),
        };
        Ok(Self { shared: Arc::new(shared), dirs: Mutex::new(None) })
    }

    /// Leaves out what matches one of these glob patterns, and everything below it. A pattern without a slash matches
    /// names at any depth (`*.tmp`), one with a slash matches paths relative to the folder (`build/*.o`); `*` does not
    /// cross a slash, `**` does. What an earlier snapshot has of it counts as deleted.
    ///
    /// # Errors
    /// `InvalidArgument` naming the pattern that is not one.
    pub fn exclude<P: AsRef<str>>(mut self, patterns: impl IntoIterator<Item = P>) -> Result<Self> {
        let shared = Arc::make_mut(&mut self.shared);
        shared.patterns.extend(patterns.into_iter().map(|pattern| pattern.as_ref().to_owned()));
        let mut set = GlobSetBuilder::new();
        for pattern in &shared.patterns {
            let wrong = |error| Error::invalid("not a pattern").with_item(pattern.clone()).with_source(error);
            let bare = pattern.trim_end_matches('/');
            let anchored = match bare.strip_prefix('/') {
                Some(anchored) => anchored.to_owned(),
                None if bare.contains('/') => bare.to_owned(),
                None => format!("**/{bare}"),
            };
            set.add(GlobBuilder::new(&anchored).literal_separator(true).build().map_err(wrong)?);
        }
        shared.exclude =
            set.build().map_err(|error| Error::invalid("patterns are too many").with_source(error))?;
        Ok(self)
    }

    /// Whether to stay on the file system of the folder: mount points are then backed up as empty folders. Default: no.
    #[must_use]
    pub fn one_file_system(mut self, stay: bool) -> Self {
        Arc::make_mut(&mut self.shared).one_file_system = stay;
        self
    }

    /// Whether the folder has to be a mount point; if it is not, the run ends with `Unavailable`. Default: no.
    #[must_use]
    pub fn require_mount_point(mut self, required: bool) -> Self {
        Arc::make_mut(&mut self.shared).mount_point = required;
        self
    }

    /// Names the collection, for a folder that moves between machines or paths. Default: `folder:` and the absolute path.
    #[must_use]
    pub fn collection_id(mut self, id: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.shared).collection = Some(id.into());
        self
    }

    fn start(&self) -> Result<Walk> {
        let shared = &self.shared;
        let dirs = shared.open_root()?;
        let name = shared.path.as_os_str().as_bytes();
        let wrong = |errno| failed("cannot open the folder", name, errno);
        if shared.mount_point && !is_mount_point(&shared.path, &dirs).map_err(wrong)? {
            return Err(Error::new(ErrorKind::Unavailable, "nothing is mounted here").with_item(show(name)));
        }
        shared.long().clear();
        *self.lock() = Some(Arc::clone(&dirs));
        Ok(Walk::new(Arc::clone(shared), dirs))
    }

    /// The folder's handles of the last enumeration, or new ones.
    fn dirs(&self) -> Result<Arc<Dirs>> {
        let mut dirs = self.lock();
        if let Some(dirs) = &*dirs {
            return Ok(Arc::clone(dirs));
        }
        let opened = self.shared.open_root()?;
        *dirs = Some(Arc::clone(&opened));
        Ok(opened)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Dirs>>> {
        self.dirs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a file of the last walk, without following a link anywhere.
fn open(shared: &Shared, dirs: &Dirs, id: &ItemId, tag: &Tag) -> Result<Reader> {
    let path = shared.path_of(id)?;
    let (parent, name) = split(&path);
    let wrong = |errno| match errno {
        // A component has become a link or another kind of thing since it was listed.
        Errno::LOOP | Errno::NOTDIR => {
            Error::new(ErrorKind::ChangedWhileReading, "file was replaced by something else")
                .with_item(show(&path))
        }
        _ => failed("cannot open the file", &path, errno),
    };
    let dir = dirs.open(parent).map_err(wrong)?;
    // Should a pipe have taken the file's place, opening it must not wait for its other end.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::openat(dir, name, flags, Mode::empty()).map_err(wrong)?;
    Reader::new(file, &path, tag)
}

/// Bytes in a piece of a file; the end of a batch of them.
fn weight_of_piece(piece: &Result<Bytes>) -> usize {
    piece.as_ref().map_or(BATCH_BYTES, Bytes::len)
}

impl Shared {
    fn open_root(&self) -> Result<Arc<Dirs>> {
        let name = self.path.as_os_str().as_bytes();
        let opened = Dirs::open_root(&self.path);
        opened.map(Arc::new).map_err(|errno| failed("cannot open the folder", name, errno))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn root_name(&self) -> Name {
        // The file system's root has no name of its own.
        self.path.file_name().map_or_else(|| Name::from("/"), |name| name.as_bytes().into())
    }

    pub(super) fn is_excluded(&self, path: &[u8]) -> bool {
        !self.exclude.is_empty() && self.exclude.is_match(Path::new(OsStr::from_bytes(path)))
    }

    /// Keeps what cannot be told from an item's id.
    pub(super) fn remember(&self, id: &ItemId, parent: &ItemId, name: &Name) {
        self.long().insert(id.clone(), (parent.clone(), name.clone()));
    }

    fn path_of(&self, id: &ItemId) -> Result<Vec<u8>> {
        let mut names: Vec<Name> = Vec::new();
        let mut next = id.clone();
        {
            let long = self.long();
            while let Some((parent, name)) = long.get(&next) {
                names.push(name.clone());
                next = parent.clone();
            }
        }
        if next.as_bytes().starts_with(LONG_ID) {
            return Err(
                Error::new(ErrorKind::NotFound, "no such file in the last walk").with_item(id.to_string())
            );
        }
        let mut path =
            if next.as_bytes() == ROOT_ID.as_bytes() { Vec::new() } else { next.as_bytes().to_vec() };
        for name in names.iter().rev() {
            path = super::join(&path, name.as_bytes());
        }
        let escapes = |part: &[u8]| matches!(part, b"" | b"." | b"..") || part.contains(&0);
        if path.split(|byte| *byte == b'/').any(escapes) {
            return Err(Error::invalid("not a path below the folder").with_item(id.to_string()));
        }
        Ok(path)
    }

    fn long(&self) -> MutexGuard<'_, HashMap<ItemId, (ItemId, Name)>> {
        self.long.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_mount_point(path: &Path, dirs: &Dirs) -> Result<bool, Errno> {
    let here = Meta::new(&rustix::fs::fstat(dirs.root())?);
    let above = Meta::new(&rustix::fs::stat(path.join(".."))?);
    Ok(here.device != above.device || here.inode == above.inode)
}

#[async_trait]
impl Source for FolderSource {
    fn collection(&self) -> Collection {
        let id = self.shared.collection.clone().unwrap_or_else(|| {
            let path = self.shared.path.as_os_str().as_bytes();
            let id = format!("folder:{}", show(path));
            if id.len() <= limits::COLLECTION_ID_BYTES_MAX {
                id
            } else {
                format!("folder:blake3:{}", blake3::hash(path).to_hex())
            }
        });
        Collection::new(id, "folder")
    }

    fn changes<'a>(&'a self, since: Option<&'a Cursor>) -> BoxStream<'a, Result<Change>> {
        // There is no delta, so a cursor is somebody else's.
        let reset = since.map(|_| Ok(Change::Reset));
        let (walk, failure) = match self.start() {
            Ok(walk) => (Some(walk), None),
            Err(error) => (None, Some(Err(error))),
        };
        let first = reset.into_iter().chain(failure);
        let walk = walk.map(|walk| {
            // Nothing is looked at before somebody asks.
            let first = ahead::Batch { items: VecDeque::new(), rest: Some(walk) };
            ahead::stream(ahead::threads(), first, |_| 1, BATCH_ENTRIES)
        });
        let walk = walk.unwrap_or_else(|| futures_util::stream::empty().boxed());
        futures_util::stream::iter(first).chain(walk).boxed()
    }

    async fn open<'a>(&'a self, item: &'a Item, stream: &'a str) -> Result<Content<'a>> {
        if stream != Stream::CONTENT {
            return Err(Error::new(ErrorKind::NotFound, "files have one stream, content").with_item(stream));
        }
        let (shared, dirs) = (Arc::clone(&self.shared), self.dirs()?);
        let (id, tag) = (item.id.clone(), item.tag.clone());
        let threads = ahead::threads();
        // A small file is opened, read and checked in one go.
        let first = threads.run(move || {
            let reader = open(&shared, &dirs, &id, &tag)?;
            Ok::<_, Error>((reader.size(), ahead::take(reader, weight_of_piece, BATCH_BYTES)))
        });
        let (size, first) = first.await??;
        let bytes = ahead::stream(threads, first, weight_of_piece, BATCH_BYTES);
        Ok(Content::new(Some(size), bytes))
    }

    fn open_blocking(&self, item: &Item, stream: &str) -> Option<BlockingContent> {
        // Whatever is wrong with the rest is said by `open`, in the words of an error.
        let (stream, dirs) = (item.stream(stream)?, self.dirs().ok()?);
        let (shared, id, tag) = (Arc::clone(&self.shared), item.id.clone(), item.tag.clone());
        Some(BlockingContent::new(stream.size, move || open(&shared, &dirs, &id, &tag)))
    }

    fn concurrency(&self) -> usize {
        CONCURRENCY
    }
}
