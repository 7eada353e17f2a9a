//! An [`IndexCache`] of files that are mapped into memory.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::cache::{CacheEntry, IndexCache};
use crate::error::{Error, ErrorKind, Result};

/// Entries end with this.
const SUFFIX: &str = ".run";
/// What is being written ends with this.
const UNFINISHED: &str = ".part";
/// What has not been finished after this time never will be: its program is gone.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);

/// A directory with a file for each part of the index of one or more repositories. Files are mapped, so what is looked at often stays in memory as
/// long as the system has room, and no longer.
///
/// It may be shared by programs, deleted at any time, and lost: the engine makes anew what is not there. It belongs on a local
/// disk, and nobody else should be able to write to it; it is created for its owner alone. A file that another program cuts while it is
/// mapped ends this one (`SIGBUS`), as with every mapped file; the engine itself replaces files and never changes one.
///
/// ```
/// use std::sync::Arc;
/// use backup_core::{DirectoryCache, Options};
///
/// let place = tempfile::tempdir()?;
/// let mut options = Options::default();
/// options.index_cache = Some(Arc::new(DirectoryCache::open(place.path().join("index"))?));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct DirectoryCache {
    place: PathBuf,
}

impl DirectoryCache {
    /// A cache in this directory, which is made if need be.
    ///
    /// # Errors
    /// `Io` or `PermissionDenied` if it cannot be made or listed.
    pub fn open(place: impl Into<PathBuf>) -> Result<Self> {
        let cache = Self { place: place.into() };
        create_private(&cache.place).map_err(|error| failed("made", &cache.place, error))?;
        for file in cache.files()? {
            let name = file.file_name();
            if ends_with(&name, UNFINISHED) && is_abandoned(&file) {
                let _ = fs::remove_file(file.path());
            }
        }
        Ok(cache)
    }

    fn files(&self) -> Result<impl Iterator<Item = fs::DirEntry> + use<>> {
        let files = fs::read_dir(&self.place).map_err(|error| failed("listed", &self.place, error))?;
        Ok(files.filter_map(io::Result::ok))
    }

    /// Names come from the engine: hexadecimal digits and a hyphen.
    fn path(&self, name: &str, suffix: &str) -> PathBuf {
        self.place.join(format!("{name}{suffix}"))
    }
}

impl IndexCache for DirectoryCache {
    fn names(&self) -> Result<Vec<String>> {
        let name = |file: fs::DirEntry| Some(file.file_name().to_str()?.strip_suffix(SUFFIX)?.to_owned());
        Ok(self.files()?.filter_map(name).collect())
    }

    fn load(&self, name: &str) -> Result<Option<Bytes>> {
        let path = self.path(name, SUFFIX);
        match File::open(&path) {
            Ok(file) => map(&file).map(Some).map_err(|error| failed("read", &path, error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path, error)),
        }
    }

    fn create(&self, name: &str) -> Result<Box<dyn CacheEntry>> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let own = format!(".{}-{}{UNFINISHED}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let unfinished = self.path(name, &own);
        // A program of the same number may have left one behind.
        let _ = fs::remove_file(&unfinished);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&unfinished).map_err(|error| failed("made", &unfinished, error))?;
        Ok(Box::new(Unfinished { file, unfinished, finished: self.path(name, SUFFIX), done: false }))
    }

    fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name, SUFFIX);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removed", &path, error)),
            _ => Ok(()),
        }
    }
}

struct Unfinished {
    file: File,
    unfinished: PathBuf,
    finished: PathBuf,
    done: bool,
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl CacheEntry for Unfinished {
    // Not synced: after a crash of the system a file may be there with other bytes in it, which its hashes tell.
    fn finish(mut self: Box<Self>) -> Result<Bytes> {
        let bytes = map(&self.file).map_err(|error| failed("read", &self.unfinished, error))?;
        fs::rename(&self.unfinished, &self.finished)
            .map_err(|error| failed("made", &self.finished, error))?;
        self.done = true;
        Ok(bytes)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs::remove_file(&self.unfinished);
        }
    }
}

#[allow(unsafe_code, reason = "mapping a file is unsafe whatever the file is")]
fn map(file: &File) -> io::Result<Bytes> {
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the bytes must not change while they are mapped. Nobody of ours writes to a file after it is finished, only its owner can, and
    // the type's documentation says so. Bytes that somebody changed nevertheless would be read wrongly, not out of bounds.
    let mapped = unsafe { memmap2::Mmap::map(file)? };
    // What is looked up lies anywhere: reading ahead would only fill memory.
    #[cfg(unix)]
    let _ = mapped.advise(memmap2::Advice::Random);
    Ok(Bytes::from_owner(mapped))
}

fn create_private(place: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(place)
}

fn ends_with(name: &OsStr, suffix: &str) -> bool {
    name.to_str().is_some_and(|name| name.ends_with(suffix))
}

fn is_abandoned(file: &fs::DirEntry) -> bool {
    let changed = file.metadata().and_then(|metadata| metadata.modified()).ok();
    changed.and_then(|changed| changed.elapsed().ok()).is_some_and(|age| age > ABANDONED)
}

fn failed(how: &str, path: &Path, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::OutOfSpace,
        _ => ErrorKind::Io,
    };
    let message = format!("the index cache cannot be {how}");
    Error::new(kind, message).with_item(path.display().to_string()).with_source(error)
}
