//! A folder as a place for restored items.

use std::collections::HashMap;
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::dirs::{Dirs, LIST};
use super::place::{NAMES_MAX, Temporary, look};
use super::write::{Looks, Writer, mode, set_attributes, set_link_attributes};
use super::{Meta, ahead, attribute, check_name, failed, join, show, split};
use crate::error::{Error, ErrorKind, Result};
use crate::item::{Item, ItemKind, Name, Stream};
use crate::memory::restored_name;
use crate::sink::{Action, BlockingPut, Conflict, Contents, Place, Placed, Placement, Sink};
use crate::source::Content;

/// Items that are put at once: some batches of small files for each of a few workers.
const CONCURRENCY: usize = 256;
/// Files below this length, in bytes, are written in one go.
const SMALL_FILE_BYTES: usize = 1 << 20;
/// What of a longer file is in memory for the next write, in bytes, and about one piece more.
const WRITE_BYTES: usize = 4 << 20;
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
    target: Arc<Target>,
}

/// What the sink and the threads that write for it share.
#[derive(Debug)]
struct Target {
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
    pending: HashMap<Vec<u8>, Pending>,
    /// A directory on each further file system that was written to.
    devices: HashMap<u64, OwnedFd>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Pending {
    /// It was made by this restore, which so knows all that is in it.
    new: bool,
    /// Nobody else may look inside until it is closed.
    private: bool,
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
        let target = Target {
            dirs,
            fresh,
            device,
            owner: true,
            main_stream_only: false,
            state: Mutex::default(),
            path,
        };
        Ok(Self { target: Arc::new(target) })
    }

    /// Whether to restore owner and group. Only a privileged process can; for others, and where the system refuses,
    /// files belong to the process, and setuid and setgid bits are dropped. Default: yes.
    #[must_use]
    pub fn restore_owner(mut self, restore: bool) -> Self {
        self.settings(|target| target.owner = restore);
        self
    }

    /// Whether to leave out every stream but the main one, such as the older versions of a file, of which a folder
    /// can hold one. Default: no, such an item is refused as `Unsupported`, so that nothing is left out unnoticed.
    #[must_use]
    pub fn main_stream_only(mut self, only: bool) -> Self {
        self.settings(|target| target.main_stream_only = only);
        self
    }

    /// Changes settings; only while nothing has been put can nobody else have the target.
    fn settings(&mut self, change: impl FnOnce(&mut Target)) {
        if let Some(target) = Arc::get_mut(&mut self.target) {
            change(target);
        }
    }

    /// Runs what calls the system on a thread.
    async fn on_thread<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Target) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let target = Arc::clone(&self.target);
        ahead::threads().run(move || job(&target)).await?
    }
}

impl Target {
    fn put_root(&self, conflict: Conflict) -> Placement {
        let (action, ours) = match conflict {
            _ if self.fresh => (Action::Created, true),
            Conflict::Replace => (Action::Replaced, true),
            _ => (Action::Skipped, false),
        };
        if ours {
            let pending = Pending { new: self.fresh, private: false };
            self.lock().pending.insert(Vec::new(), pending);
        }
        Placement::new(Vec::new(), action)
    }

    fn put_folder(&self, looks: &Looks, spot: &Spot<'_>, conflict: Conflict) -> Result<Placement> {
        let wrong = |errno| failed("cannot create the folder", &spot.path, errno);
        let bits = if looks.mode.is_some() { PRIVATE_FOLDER } else { 0o777 };
        let create = |name: &[u8]| rustix::fs::mkdirat(&*spot.dir, name, mode(bits));
        let created = |name: &[u8], action| {
            let path = join(spot.parent, name);
            let new = matches!(action, Action::Created | Action::Renamed);
            let pending = Pending { new, private: new && bits == PRIVATE_FOLDER };
            self.lock().pending.insert(path.clone(), pending);
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

    fn symlink(&self, job: &Job, spot: &Spot<'_>) -> Result<Temporary> {
        let target = job.link_target.as_deref();
        let target = target.ok_or_else(|| {
            Error::invalid("symbolic link has no attribute link_target").with_item(show(&spot.path))
        })?;
        let (temporary, ()) =
            Temporary::make(&spot.dir, |dir, name| rustix::fs::symlinkat(target, dir, name))
                .map_err(|errno| failed("cannot create the symbolic link", &spot.path, errno))?;
        set_link_attributes(&*spot.dir, temporary.name(), &job.looks, self.owner, &spot.path)?;
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

    /// A new, empty file, to be written and then finished.
    fn create(&self, looks: &Looks, spot: &Spot<'_>) -> Result<(Temporary, OwnedFd, Meta)> {
        let bits = match looks.mode {
            Some(bits) if self.pending(spot.parent).private => bits & 0o777 | PRIVATE_FILE,
            Some(_) => PRIVATE_FILE,
            None => 0o666,
        };
        let wrong = |errno| failed("cannot create the file", &spot.path, errno);
        let (temporary, file) = Temporary::file(&spot.dir, bits).map_err(wrong)?;
        let made = Meta::new(&rustix::fs::fstat(&file).map_err(wrong)?);
        if made.device != self.device {
            self.note_device(made.device, &spot.dir).map_err(wrong)?;
        }
        Ok((temporary, file, made))
    }

    fn main_stream<'a>(&self, item: &'a Item, job: &Job) -> Result<Option<&'a str>> {
        let refuse = |reason| Err(Error::new(ErrorKind::Unsupported, reason).with_item(show(&job.path())));
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

    fn pending(&self, folder: &[u8]) -> Pending {
        self.lock().pending.get(folder).copied().unwrap_or_default()
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

/// What is to be put and where, for a thread.
#[derive(Clone)]
struct Job {
    name: Name,
    kind: ItemKind,
    looks: Looks,
    /// Where a symbolic link leads to.
    link_target: Option<Vec<u8>>,
    parent: Option<Placed>,
    conflict: Conflict,
    link: Option<Placed>,
}

impl Job {
    fn new(item: &Item, place: Place<'_>) -> Result<Self> {
        check_name(item.name.as_bytes())?;
        place.parent.map_or(Ok(()), check_handle)?;
        Ok(Self {
            name: item.name.clone(),
            kind: item.kind,
            looks: Looks::of(item),
            link_target: if item.kind == ItemKind::SYMLINK { link_target(item) } else { None },
            parent: place.parent.cloned(),
            conflict: place.conflict,
            link: place.link.cloned(),
        })
    }

    fn parent(&self) -> &[u8] {
        self.parent.as_ref().map_or(&[], Placed::as_bytes)
    }

    fn path(&self) -> Vec<u8> {
        join(self.parent(), self.name.as_bytes())
    }
}

/// Where a symbolic link leads to, if it says.
fn link_target(item: &Item) -> Option<Vec<u8>> {
    let target = item.attributes.get(attribute::LINK_TARGET)?;
    let target = target.as_bytes().or_else(|| target.as_text().map(str::as_bytes))?;
    Some(target.to_vec()).filter(|target| !target.is_empty())
}

impl Target {
    fn spot<'a>(&self, job: &'a Job) -> Result<Spot<'a>> {
        let path = job.path();
        let dir = self.dirs.open(job.parent()).map_err(|errno| match errno {
            Errno::LOOP | Errno::NOTDIR => {
                let error =
                    Error::new(ErrorKind::AlreadyExists, "something else is in the place of a folder above");
                error.with_item(show(&path))
            }
            _ => failed("cannot enter the folder above", &path, errno),
        })?;
        Ok(Spot { parent: job.parent(), dir, name: job.name.as_bytes(), path })
    }

    /// Puts what needs no content, or whose place is taken; none if content is to be written.
    fn put_without_content(&self, job: &Job) -> Result<Option<Placement>> {
        let spot = self.spot(job)?;
        if job.kind.is_container() {
            return self.put_folder(&job.looks, &spot, job.conflict).map(Some);
        }
        if job.conflict == Conflict::Skip {
            // Seen before the content is fetched in vain; one that comes later is seen when it is brought into place.
            let there = look(&spot.dir, spot.name)
                .map_err(|errno| failed("cannot look at the place", &spot.path, errno))?;
            if there.is_some() {
                return Ok(Some(Placement::new(spot.path, Action::Skipped)));
            }
        }
        let linked = match &job.link {
            Some(link) => self.hard_link(link, &spot)?,
            None => None,
        };
        let temporary = match linked {
            Some(temporary) => temporary,
            None if job.kind == ItemKind::SYMLINK => self.symlink(job, &spot)?,
            None => return Ok(None),
        };
        self.publish(temporary, job, &spot).map(Some)
    }

    /// Writes a file whose content is in memory.
    fn put_small(&self, job: &Job, pieces: &[Bytes], announced: Option<u64>) -> Result<Placement> {
        let spot = self.spot(job)?;
        let (temporary, file, made) = self.create(&job.looks, &spot)?;
        let mut writer = Writer::new(&file, &job.looks, announced);
        pieces.iter().try_for_each(|piece| writer.piece(piece, &spot.path))?;
        writer.end(&spot.path)?;
        self.finish_file(job, temporary, &file, &made, &spot)
    }

    fn finish_file(
        &self,
        job: &Job,
        temporary: Temporary,
        file: &OwnedFd,
        made: &Meta,
        spot: &Spot<'_>,
    ) -> Result<Placement> {
        set_attributes(file, made, &job.looks, self.owner, &spot.path)?;
        self.publish(temporary, job, spot)
    }

    fn publish(&self, temporary: Temporary, job: &Job, spot: &Spot<'_>) -> Result<Placement> {
        let (name, action) = temporary.publish(spot.name, job.conflict, &spot.path)?;
        if action == Action::Replaced {
            self.dirs.forget(&spot.path);
        }
        Ok(Placement::new(join(spot.parent, &name), action))
    }

    /// Whether [`put_without_content`](Self::put_without_content) has anything to say before content is fetched. Not so for a plain file
    /// that either replaces what is there or goes into a folder that this restore has made.
    fn has_to_look(&self, job: &Job) -> bool {
        let plain = !job.kind.is_container() && job.kind != ItemKind::SYMLINK && job.link.is_none();
        !plain || job.conflict == Conflict::Skip && !self.pending(job.parent()).new
    }

    fn close(&self, looks: &Looks, path: &[u8]) -> Result<()> {
        if self.lock().pending.remove(path).is_none() {
            return Ok(());
        }
        let wrong = |errno| failed("cannot open the folder to set its attributes", path, errno);
        let (parent, name) = split(path);
        let name = if path.is_empty() { b"." } else { name };
        let dir = self.dirs.open(parent).map_err(wrong)?;
        let folder = rustix::fs::openat(dir, name, LIST | OFlags::NOFOLLOW, Mode::empty()).map_err(wrong)?;
        let made = Meta::new(&rustix::fs::fstat(&folder).map_err(wrong)?);
        set_attributes(&folder, &made, looks, self.owner, path)
    }

    fn flush(&self) -> Result<()> {
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

/// Handles are paths. One that this sink cannot have given out must not lead out of the target.
fn check_handle(placed: &Placed) -> Result<()> {
    let path = placed.as_bytes();
    if path.is_empty() { Ok(()) } else { path.split(|byte| *byte == b'/').try_for_each(check_name) }
}

impl FolderSink {
    /// Writes a file as it comes. What comes while a thread writes is written next, all together.
    async fn put_large(&self, job: Job, first: Vec<Bytes>, mut rest: Content<'_>) -> Result<Placement> {
        rest.bytes = rest.bytes.fuse().boxed();
        let (job, announced) = (Arc::new(job), rest.size);
        let for_thread = Arc::clone(&job);
        let (mut open, temporary, made) = self
            .on_thread(move |target| {
                let spot = target.spot(&for_thread)?;
                let (temporary, file, made) = target.create(&for_thread.looks, &spot)?;
                Ok((Writer::new(file, &for_thread.looks, announced), temporary, made))
            })
            .await?;
        let mut pieces = first;
        while !pieces.is_empty() {
            let path = job.path();
            let write = self.on_thread(move |_| {
                pieces.iter().try_for_each(|piece| open.piece(piece, &path))?;
                Ok(open)
            });
            let (written, next) = meanwhile(write, &mut rest.bytes).await;
            open = written?;
            pieces = next?;
        }
        self.on_thread(move |target| {
            let spot = target.spot(&job)?;
            open.end(&spot.path)?;
            target.finish_file(&job, temporary, open.file(), &made, &spot)
        })
        .await
    }
}

/// Waits for `work`, and for at least one more piece; gives all that came by then. No piece: the stream has ended.
async fn meanwhile<T>(
    work: impl Future<Output = T> + Send,
    bytes: &mut BoxStream<'_, Result<Bytes>>,
) -> (T, Result<Vec<Bytes>>) {
    let (mut work, mut done) = (std::pin::pin!(work), None);
    let (mut pieces, mut len, mut end) = (Vec::new(), 0, None);
    let done = poll_fn(|context| {
        if done.is_none()
            && let Poll::Ready(outcome) = work.as_mut().poll(context)
        {
            done = Some(outcome);
        }
        while end.is_none() && len < WRITE_BYTES {
            match bytes.poll_next_unpin(context) {
                Poll::Ready(Some(Ok(piece))) => {
                    len += piece.len();
                    pieces.push(piece);
                }
                Poll::Ready(Some(Err(error))) => end = Some(Err(error)),
                Poll::Ready(None) => end = Some(Ok(())),
                Poll::Pending => break,
            }
        }
        match done.take() {
            Some(outcome) if len > 0 || end.is_some() => Poll::Ready(outcome),
            outcome => {
                done = outcome;
                Poll::Pending
            }
        }
    });
    let done = done.await;
    (done, end.unwrap_or(Ok(())).map(|()| pieces))
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
            return Ok(self.target.put_root(place.conflict));
        }
        let job = Job::new(item, place)?;
        if self.target.has_to_look(&job) {
            let look = job.clone();
            if let Some(placement) = self.on_thread(move |target| target.put_without_content(&look)).await? {
                return Ok(placement);
            }
        }
        let Some(stream) = self.target.main_stream(item, &job)? else {
            return self.on_thread(move |target| target.put_small(&job, &[], None)).await;
        };
        let mut content = contents.open(stream)?;
        let announced = content.size;
        let (mut pieces, mut len) = (Vec::new(), 0);
        while len < SMALL_FILE_BYTES
            && let Some(piece) = content.bytes.next().await
        {
            let piece = piece?;
            len += piece.len();
            pieces.push(piece);
        }
        if len >= SMALL_FILE_BYTES {
            return self.put_large(job, pieces, content).await;
        }
        self.on_thread(move |target| target.put_small(&job, &pieces, announced)).await
    }

    fn put_blocking(&self, item: &Item, place: Place<'_>) -> Option<BlockingPut> {
        // Whatever is wrong with the rest is said by `put`, in the words of an error.
        let job = Job::new(item, place).ok().filter(|job| !self.target.has_to_look(job))?;
        self.target.main_stream(item, &job).ok()??;
        let target = Arc::clone(&self.target);
        Some(BlockingPut::new(move |content| target.put_small(&job, content, None)))
    }

    async fn close(&self, item: &Item, placed: &Placed) -> Result<()> {
        let (looks, path) = (Looks::of(item), placed.as_bytes().to_vec());
        self.on_thread(move |target| target.close(&looks, &path)).await
    }

    async fn finish(&self) -> Result<()> {
        self.on_thread(Target::flush).await
    }

    fn concurrency(&self) -> usize {
        CONCURRENCY
    }
}
