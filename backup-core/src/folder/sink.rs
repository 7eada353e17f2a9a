//! A folder as a place for restored items.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::dirs::{Dirs, LIST};
use super::place::{NAMES_MAX, Temporary, look};
use super::write::{is_sparse, mode, mode_of, set_attributes, set_link_attributes, write};
use super::{Meta, attribute, check_name, failed, join, show, split};
use crate::error::{Error, ErrorKind, Result};
use crate::item::{Item, ItemKind, Stream};
use crate::memory::restored_name;
use crate::sink::{Action, Conflict, Contents, Place, Placed, Placement, Sink};

/// Mode of a file or folder that is not finished, where its own is known: nobody else may look inside meanwhile.
const PRIVATE_FILE: u32 = 0o600;
const PRIVATE_FOLDER: u32 = 0o700;

/// Puts items below a local folder.
///
/// The top item of a restored folder (a folder without a parent) is the target itself; everything else goes below it
/// by name. Names that are not the name of one thing in one folder (`..`, with a slash ...) are refused. Symbolic
/// links that are already there are never followed: a folder that would have to go through one is an error.
///
/// A file is written under a temporary name (`.restoring-…`) and renamed once it is complete, so a crash leaves no
/// half file under a real name. Folders get their mode, owner and times when they are closed, so a read-only folder
/// can be filled. Durability comes with [`finish`](Sink::finish), which flushes whole file systems: flushing each of
/// many small files would take longer than writing them. (On systems other than Linux it starts the flush only.)
#[derive(Debug)]
pub struct FolderSink {
    path: PathBuf,
    dirs: Dirs,
    /// The target did not exist before, so its attributes are ours to set.
    fresh: bool,
    device: u64,
    owner: bool,
    main_stream_only: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Folders whose attributes are to be set when they are closed.
    pending: HashSet<Vec<u8>>,
    /// A directory on each further file system that was written to.
    devices: HashMap<u64, OwnedFd>,
}

impl FolderSink {
    /// The folder at `path`; it and what is missing above it are created.
    ///
    /// # Errors
    /// If it cannot be created or opened, or is no folder.
    pub fn new(path: impl AsRef<Path>) -> Result<Self> {
        let path = std::path::absolute(path.as_ref())
            .map_err(|error| Error::invalid("not a path").with_source(error))?;
        let name = path.as_os_str().as_bytes();
        let fresh = !path.exists();
        std::fs::create_dir_all(&path).map_err(|error| failed("cannot create the target", name, error))?;
        let wrong = |errno| failed("cannot open the target", name, errno);
        let dirs = Dirs::open_root(&path).map_err(wrong)?;
        let device = Meta::new(&rustix::fs::fstat(dirs.root()).map_err(wrong)?).device;
        Ok(Self { dirs, fresh, device, owner: true, main_stream_only: false, state: Mutex::default(), path })
    }

    /// Whether to restore owner and group. Only a privileged process can; for others, and where the system refuses,
    /// files belong to the process, and setuid and setgid bits are dropped. Default: yes.
    #[must_use]
    pub fn restore_owner(mut self, restore: bool) -> Self {
        self.owner = restore;
        self
    }

    /// Whether to leave out every stream but the main one, such as the older versions of a file, of which a folder
    /// can hold one. Default: no, such an item is refused as `Unsupported`, so that nothing is left out unnoticed.
    #[must_use]
    pub fn main_stream_only(mut self, only: bool) -> Self {
        self.main_stream_only = only;
        self
    }

    fn put_root(&self, conflict: Conflict) -> Placement {
        let (action, ours) = match conflict {
            _ if self.fresh => (Action::Created, true),
            Conflict::Replace => (Action::Replaced, true),
            _ => (Action::Skipped, false),
        };
        if ours {
            self.lock().pending.insert(Vec::new());
        }
        Placement::new(Vec::new(), action)
    }

    fn put_folder(&self, item: &Item, spot: &Spot<'_>, conflict: Conflict) -> Result<Placement> {
        let wrong = |errno| failed("cannot create the folder", &spot.path, errno);
        let bits = if mode_of(item).is_some() { PRIVATE_FOLDER } else { 0o777 };
        let create = |name: &[u8]| rustix::fs::mkdirat(&*spot.dir, name, mode(bits));
        let created = |name: &[u8], action| {
            let path = join(spot.parent, name);
            self.lock().pending.insert(path.clone());
            Ok(Placement::new(path, action))
        };
        match create(spot.name) {
            Ok(()) => return created(spot.name, Action::Created),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(wrong(errno)),
        }
        let there = look(&spot.dir, spot.name).map_err(wrong)?.ok_or_else(|| wrong(Errno::NOENT))?;
        if there.kind == FileType::Directory {
            if conflict != Conflict::Replace {
                return Ok(Placement::new(spot.path.clone(), Action::Skipped));
            }
            if there.mode & PRIVATE_FOLDER != PRIVATE_FOLDER {
                let open = rustix::fs::openat(&*spot.dir, spot.name, LIST | OFlags::NOFOLLOW, Mode::empty());
                open.and_then(|open| rustix::fs::fchmod(open, mode(there.mode | PRIVATE_FOLDER)))
                    .map_err(wrong)?;
            }
            return created(spot.name, Action::Replaced);
        }
        match conflict {
            Conflict::Replace if there.kind == FileType::RegularFile && there.size == 0 => {
                rustix::fs::unlinkat(&*spot.dir, spot.name, AtFlags::empty()).map_err(wrong)?;
                create(spot.name).map_err(wrong)?;
                created(spot.name, Action::Replaced)
            }
            Conflict::KeepBoth => {
                for attempt in 1..=NAMES_MAX {
                    let other = restored_name(spot.name, attempt);
                    match create(&other) {
                        Ok(()) => return created(&other, Action::Renamed),
                        Err(Errno::EXIST) => {}
                        Err(errno) => return Err(wrong(errno)),
                    }
                }
                Err(wrong(Errno::EXIST))
            }
            Conflict::Skip | Conflict::Replace => {
                let error =
                    Error::new(ErrorKind::AlreadyExists, "something else is in the place of the folder");
                Err(error.with_item(show(&spot.path)))
            }
        }
    }

    fn symlink(&self, item: &Item, spot: &Spot<'_>) -> Result<Temporary> {
        let target = item.attributes.get(attribute::LINK_TARGET).and_then(|value| {
            value
                .as_bytes()
                .or_else(|| value.as_text().map(str::as_bytes))
                .filter(|target| !target.is_empty())
        });
        let target = target.ok_or_else(|| {
            Error::invalid("symbolic link has no attribute link_target").with_item(show(&spot.path))
        })?;
        let (temporary, ()) =
            Temporary::make(&spot.dir, |dir, name| rustix::fs::symlinkat(target, dir, name))
                .map_err(|errno| failed("cannot create the symbolic link", &spot.path, errno))?;
        set_link_attributes(&*spot.dir, temporary.name(), item, self.owner, &spot.path)?;
        Ok(temporary)
    }

    /// A further link to what was placed; none where the target cannot have one.
    fn hard_link(&self, link: &Placed, spot: &Spot<'_>) -> Result<Option<Temporary>> {
        let (parent, name) = split(link.as_bytes());
        check_handle(link)?;
        let wrong = |errno| failed("cannot create the hard link", &spot.path, errno);
        let from = self.dirs.open(parent).map_err(wrong)?;
        let made = Temporary::make(&spot.dir, |dir, temporary| {
            rustix::fs::linkat(&*from, name, dir, temporary, AtFlags::empty())
        });
        match made {
            Ok((temporary, ())) => Ok(Some(temporary)),
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::MLINK | Errno::XDEV | Errno::NOSYS) => Ok(None),
            Err(errno) => Err(wrong(errno)),
        }
    }

    async fn file(&self, item: &Item, spot: &Spot<'_>, contents: &dyn Contents) -> Result<Temporary> {
        let stream = self.main_stream(item, &spot.path)?;
        let bits = if mode_of(item).is_some() { PRIVATE_FILE } else { 0o666 };
        let wrong = |errno| failed("cannot create the file", &spot.path, errno);
        let (temporary, file) = Temporary::file(&spot.dir, bits).map_err(wrong)?;
        let made = Meta::new(&rustix::fs::fstat(&file).map_err(wrong)?);
        if made.device != self.device {
            self.note_device(made.device, &spot.dir).map_err(wrong)?;
        }
        if let Some(stream) = stream {
            write(&file, contents.open(stream)?, is_sparse(item), &spot.path).await?;
        }
        set_attributes(&file, item, self.owner, &spot.path)?;
        Ok(temporary)
    }

    fn main_stream<'a>(&self, item: &'a Item, path: &[u8]) -> Result<Option<&'a str>> {
        let refuse = |reason| Err(Error::new(ErrorKind::Unsupported, reason).with_item(show(path)));
        match item.streams.as_slice() {
            // The content of a further hard link is that of the first.
            [] if item.hard_link.is_some() => Ok(Some(Stream::CONTENT)),
            [] if item.kind == ItemKind::FILE => Ok(None),
            [] => refuse("item has no stream, so there is nothing that a file could hold"),
            [only] => Ok(Some(&only.name)),
            [first, ..] if self.main_stream_only => {
                Ok(Some(item.stream(Stream::CONTENT).map_or(&first.name, |content| &content.name)))
            }
            _ => refuse("item has several streams, of which a folder can hold one"),
        }
    }

    fn note_device(&self, device: u64, dir: &OwnedFd) -> Result<(), Errno> {
        if let std::collections::hash_map::Entry::Vacant(slot) = self.lock().devices.entry(device) {
            slot.insert(rustix::fs::openat(dir, ".", LIST, Mode::empty())?);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where an item is to go.
struct Spot<'a> {
    parent: &'a [u8],
    dir: Arc<OwnedFd>,
    name: &'a [u8],
    path: Vec<u8>,
}

/// Handles are paths. One that this sink cannot have given out must not lead out of the target.
fn check_handle(placed: &Placed) -> Result<()> {
    let path = placed.as_bytes();
    if path.is_empty() { Ok(()) } else { path.split(|byte| *byte == b'/').try_for_each(check_name) }
}

#[async_trait]
impl Sink for FolderSink {
    async fn put<'a>(
        &'a self,
        item: &'a Item,
        place: Place<'a>,
        contents: &'a dyn Contents,
    ) -> Result<Placement> {
        if place.parent.is_none() && item.parent.is_none() && item.kind.is_container() {
            return Ok(self.put_root(place.conflict));
        }
        let name = item.name.as_bytes();
        check_name(name)?;
        place.parent.map_or(Ok(()), check_handle)?;
        let parent = place.parent.map_or(&[][..], Placed::as_bytes);
        let path = join(parent, name);
        let dir = self.dirs.open(parent).map_err(|errno| match errno {
            Errno::LOOP | Errno::NOTDIR => {
                let error =
                    Error::new(ErrorKind::AlreadyExists, "something else is in the place of a folder above");
                error.with_item(show(&path))
            }
            _ => failed("cannot enter the folder above", &path, errno),
        })?;
        let spot = Spot { parent, dir, name, path };
        if item.kind.is_container() {
            return self.put_folder(item, &spot, place.conflict);
        }
        if place.conflict == Conflict::Skip {
            // Seen before the content is fetched in vain; one that comes later is seen when it is brought into place.
            let there = look(&spot.dir, name)
                .map_err(|errno| failed("cannot look at the place", &spot.path, errno))?;
            if there.is_some() {
                return Ok(Placement::new(spot.path, Action::Skipped));
            }
        }
        let linked = match place.link {
            Some(link) => self.hard_link(link, &spot)?,
            None => None,
        };
        let temporary = match linked {
            Some(temporary) => temporary,
            None if item.kind == ItemKind::SYMLINK => self.symlink(item, &spot)?,
            None => self.file(item, &spot, contents).await?,
        };
        let (name, action) = temporary.publish(name, place.conflict, &spot.path)?;
        if action == Action::Replaced {
            self.dirs.forget(&spot.path);
        }
        Ok(Placement::new(join(spot.parent, &name), action))
    }

    async fn close(&self, item: &Item, placed: &Placed) -> Result<()> {
        let path = placed.as_bytes();
        if !self.lock().pending.remove(path) {
            return Ok(());
        }
        let wrong = |errno| failed("cannot open the folder to set its attributes", path, errno);
        let (parent, name) = split(path);
        let name = if path.is_empty() { b"." } else { name };
        let dir = self.dirs.open(parent).map_err(wrong)?;
        let folder = rustix::fs::openat(dir, name, LIST | OFlags::NOFOLLOW, Mode::empty()).map_err(wrong)?;
        set_attributes(&folder, item, self.owner, path)
    }

    async fn finish(&self) -> Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            let name = self.path.as_os_str().as_bytes();
            let wrong = |errno| failed("cannot flush the file system", name, errno);
            rustix::fs::syncfs(self.dirs.root()).map_err(wrong)?;
            self.lock().devices.values().try_for_each(|dir| rustix::fs::syncfs(dir).map_err(wrong))
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        {
            rustix::fs::sync();
            Ok(())
        }
    }
}
