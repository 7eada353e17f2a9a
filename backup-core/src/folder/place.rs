//! Bringing something finished under its real name: a temporary name beside it first, then one atomic rename.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use rustix::fs::{AtFlags, FileType, OFlags};
use rustix::io::Errno;

use super::write::mode;
use super::{Meta, failed};
use crate::error::{Error, ErrorKind, Result};
use crate::memory::restored_name;
use crate::sink::{Action, Conflict};

/// How many names are tried before a restored item gives up finding a free one.
pub(super) const NAMES_MAX: u32 = 10_000;

static COUNTER: AtomicU64 = AtomicU64::new(0);
/// Tells the names of several processes apart. Asked for once: a child that was forked off finds some of its names taken, and takes the next.
static PROCESS: LazyLock<u32> = LazyLock::new(std::process::id);

/// Something under a temporary name; removed again unless it was brought into place.
#[derive(Debug)]
pub(super) struct Temporary {
    dir: Arc<OwnedFd>,
    name: Vec<u8>,
    /// It has been renamed for certain, so nothing is left to remove.
    renamed: bool,
}

impl Temporary {
    /// Creates something with `make`, which gets a name and must refuse one that is taken.
    pub(super) fn make<T>(
        dir: &Arc<OwnedFd>,
        make: impl Fn(&OwnedFd, &[u8]) -> Result<T, Errno>,
    ) -> Result<(Self, T), Errno> {
        loop {
            let number = COUNTER.fetch_add(1, Ordering::Relaxed);
            let name = format!(".restoring-{}-{number}", *PROCESS).into_bytes();
            match make(dir, &name) {
                Ok(made) => return Ok((Self { dir: Arc::clone(dir), name, renamed: false }, made)),
                // Left behind by a restore that crashed.
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// A new, empty file.
    pub(super) fn file(dir: &Arc<OwnedFd>, bits: u32) -> Result<(Self, OwnedFd), Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Self::make(dir, |dir, name| rustix::fs::openat(dir, name, flags, mode(bits)))
    }

    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// Brings it under `name`, or what the policy makes of it. Returns the name and what was done.
    pub(super) fn publish(
        mut self,
        name: &[u8],
        conflict: Conflict,
        path: &[u8],
    ) -> Result<(Vec<u8>, Action)> {
        let wrong = |errno| failed("cannot bring the file into place", path, errno);
        match self.rename_to_free(name) {
            Ok(()) => return Ok((name.to_vec(), Action::Created)),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(wrong(errno)),
        }
        match conflict {
            Conflict::Skip => Ok((name.to_vec(), Action::Skipped)),
            Conflict::Replace => {
                self.clear_folder(name, path)?;
                rustix::fs::renameat(&self.dir, &*self.name, &self.dir, name).map_err(wrong)?;
                Ok((name.to_vec(), Action::Replaced))
            }
            Conflict::KeepBoth => {
                for attempt in 1..=NAMES_MAX {
                    let other = restored_name(name, attempt);
                    match self.rename_to_free(&other) {
                        Ok(()) => return Ok((other, Action::Renamed)),
                        Err(Errno::EXIST) => {}
                        Err(errno) => return Err(wrong(errno)),
                    }
                }
                Err(wrong(Errno::EXIST))
            }
        }
    }

    /// Removes an empty folder that is in the way. One that holds something stays: a restore destroys no tree.
    fn clear_folder(&self, name: &[u8], path: &[u8]) -> Result<()> {
        let there = match look(&self.dir, name) {
            Ok(Some(there)) => there,
            Ok(None) => return Ok(()),
            Err(errno) => return Err(failed("cannot look at what is in place of the file", path, errno)),
        };
        if there.kind != FileType::Directory {
            return Ok(());
        }
        match rustix::fs::unlinkat(&self.dir, name, AtFlags::REMOVEDIR) {
            Ok(()) => Ok(()),
            Err(errno) => {
                let error = Error::new(ErrorKind::AlreadyExists, "folder is in the place of the file");
                Err(error.with_item(super::show(path)).with_source(std::io::Error::from(errno)))
            }
        }
    }

    /// Renames without replacing anything.
    fn rename_to_free(&mut self, name: &[u8]) -> Result<(), Errno> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            use rustix::fs::RenameFlags;
            match rustix::fs::renameat_with(&self.dir, &*self.name, &self.dir, name, RenameFlags::NOREPLACE) {
                // File systems without this flag take the long way.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
                done => {
                    self.renamed = done.is_ok();
                    return done;
                }
            }
        }
        match rustix::fs::linkat(&self.dir, &*self.name, &self.dir, name, AtFlags::empty()) {
            // Dropping this removes the temporary name.
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => return Err(Errno::EXIST),
            Err(_) => {}
        }
        // No hard links here either: look, then rename. Only a file created in between could be replaced.
        if look(&self.dir, name)?.is_some() {
            return Err(Errno::EXIST);
        }
        rustix::fs::renameat(&self.dir, &*self.name, &self.dir, name)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.renamed {
            return;
        }
        // Often renamed all the same. Not so where two links to one file were renamed over each other: that does nothing.
        let _ = rustix::fs::unlinkat(&self.dir, &*self.name, AtFlags::empty());
    }
}

/// What is under this name, a symbolic link itself included.
pub(super) fn look(dir: &OwnedFd, name: &[u8]) -> Result<Option<Meta>, Errno> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(Meta::new(&stat))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}
