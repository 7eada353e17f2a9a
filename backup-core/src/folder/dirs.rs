//! Open directory handles below one folder, reached without following symbolic links.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::split;

/// How many directories are kept open. Walks and restores work in one directory for a while, then in its neighbour.
const OPEN_DIRS_MAX: usize = 16;

/// Enough to enter a directory and create below it; on Linux even one that may not be listed.
#[cfg(any(target_os = "linux", target_os = "android"))]
const ENTER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const ENTER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// Enough to list a directory and change its mode and times.
pub(super) const LIST: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The folder and the directories below it that were used last.
#[derive(Debug)]
pub(super) struct Dirs {
    root: Arc<OwnedFd>,
    recent: Mutex<VecDeque<(Vec<u8>, Arc<OwnedFd>)>>,
}

impl Dirs {
    /// Opens the folder. Its own path is the caller's word and may contain symbolic links.
    pub(super) fn open_root(path: &Path) -> Result<Self, Errno> {
        let root = rustix::fs::open(path, LIST, Mode::empty())?;
        Ok(Self { root: Arc::new(root), recent: Mutex::default() })
    }

    pub(super) fn root(&self) -> &Arc<OwnedFd> {
        &self.root
    }

    /// The directory at `path`; `ELOOP` or `ENOTDIR` where a component is a symbolic link.
    pub(super) fn open(&self, path: &[u8]) -> Result<Arc<OwnedFd>, Errno> {
        // Up to the nearest directory that is open already, then down again one component at a time.
        let mut above = path;
        let mut dir = loop {
            if above.is_empty() {
                break Arc::clone(&self.root);
            }
            if let Some(dir) = self.cached(above) {
                break dir;
            }
            above = split(above).0;
        };
        let below = path.get(above.len()..).unwrap_or_default();
        if below.is_empty() {
            return Ok(dir);
        }
        for name in below.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            dir = Arc::new(rustix::fs::openat(&dir, name, ENTER | OFlags::NOFOLLOW, Mode::empty())?);
        }
        self.remember(path, &dir);
        Ok(dir)
    }

    /// Forgets the directory at `path`, which was just removed or replaced.
    pub(super) fn forget(&self, path: &[u8]) {
        self.lock().retain(|(cached, _)| cached != path);
    }

    fn cached(&self, path: &[u8]) -> Option<Arc<OwnedFd>> {
        let mut recent = self.lock();
        let position = recent.iter().position(|(cached, _)| cached == path)?;
        let entry = recent.remove(position)?;
        let dir = Arc::clone(&entry.1);
        recent.push_front(entry);
        Some(dir)
    }

    fn remember(&self, path: &[u8], dir: &Arc<OwnedFd>) {
        let mut recent = self.lock();
        recent.truncate(OPEN_DIRS_MAX - 1);
        recent.push_front((path.to_vec(), Arc::clone(dir)));
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Vec<u8>, Arc<OwnedFd>)>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
