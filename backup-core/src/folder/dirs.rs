//! Open directory handles below one folder, reached without following symbolic links.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::split;

/// How many directories are kept open. A walk works in one directory for a while, then in its neighbour; a restore in as many at once as
/// the files lie in that it has planned.
const OPEN_DIRS_MAX: usize = 64;

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
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    dirs: HashMap<Vec<u8>, Used>,
    /// Counts uses.
    clock: u64,
}

#[derive(Debug)]
struct Used {
    dir: Arc<OwnedFd>,
    /// When it was used last.
    at: u64,
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
        self.lock().dirs.remove(path);
    }

    fn cached(&self, path: &[u8]) -> Option<Arc<OwnedFd>> {
        let mut recent = self.lock();
        recent.clock += 1;
        let now = recent.clock;
        let used = recent.dirs.get_mut(path)?;
        used.at = now;
        Some(Arc::clone(&used.dir))
    }

    fn remember(&self, path: &[u8], dir: &Arc<OwnedFd>) {
        let mut recent = self.lock();
        if recent.dirs.len() >= OPEN_DIRS_MAX {
            // The older half: finding them is no work for every directory.
            let mut times: Vec<u64> = recent.dirs.values().map(|used| used.at).collect();
            let (_, middle, _) = times.select_nth_unstable(OPEN_DIRS_MAX / 2);
            let middle = *middle;
            recent.dirs.retain(|_, used| used.at >= middle);
        }
        recent.clock += 1;
        let at = recent.clock;
        recent.dirs.insert(path.to_vec(), Used { dir: Arc::clone(dir), at });
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
