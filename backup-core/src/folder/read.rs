//! The bytes of one file, in pieces, with holes delivered but not read.

use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use bytes::Bytes;
use rustix::buffer::spare_capacity;
use rustix::fs::FileType;
use rustix::io::Errno;

use super::{Meta, failed, show, tag};
use crate::error::{Error, ErrorKind, Result};
use crate::item::Tag;

/// Longest piece, in bytes.
const PIECE_BYTES: u64 = 1 << 20;

/// Reads a file that is open, as it was when it was opened. If it is another one at the end, the last piece is an error.
pub(super) struct Reader {
    file: OwnedFd,
    path: Vec<u8>,
    before: Meta,
    /// The tag names another file than the one that was opened.
    replaced: bool,
    offset: u64,
    /// End of the data or hole that `offset` is in.
    run: Run,
    done: bool,
}

#[derive(Clone, Copy)]
enum Run {
    Unknown,
    Data(u64),
    Hole(u64),
}

impl Reader {
    pub(super) fn new(file: OwnedFd, path: &[u8], tag: &Tag) -> Result<Self> {
        let stat =
            rustix::fs::fstat(&file).map_err(|errno| failed("cannot look at the file", path, errno))?;
        let before = Meta::new(&stat);
        if before.kind != FileType::RegularFile {
            let error = Error::new(ErrorKind::ChangedWhileReading, "file was replaced by something else");
            return Err(error.with_item(show(path)));
        }
        let replaced = tag::file_id(tag).is_some_and(|listed| listed != before.file_id());
        let run = if before.is_sparse() { Run::Unknown } else { Run::Data(before.size) };
        Ok(Self { file, path: path.to_vec(), before, replaced, offset: 0, run, done: false })
    }

    pub(super) const fn size(&self) -> u64 {
        self.before.size
    }

    fn changed(&self) -> Error {
        Error::new(ErrorKind::ChangedWhileReading, "file changed while it was read")
            .with_item(show(&self.path))
    }

    /// What the end of the file says about the whole of it.
    fn verdict(&self) -> Result<()> {
        let stat = rustix::fs::fstat(&self.file)
            .map_err(|errno| failed("cannot look at the file", &self.path, errno))?;
        let same = Meta::new(&stat).is_same_version(&self.before);
        if same && !self.replaced && self.offset == self.before.size { Ok(()) } else { Err(self.changed()) }
    }

    fn piece(&mut self) -> Result<Option<Bytes>> {
        loop {
            let left = self.before.size.saturating_sub(self.offset);
            let end = match self.run {
                _ if left == 0 => return Ok(None),
                Run::Data(end) | Run::Hole(end) if end <= self.offset => {
                    self.run = Run::Unknown;
                    continue;
                }
                Run::Unknown => {
                    self.run = find_run(&self.file, self.offset, self.before.size)
                        .map_err(|errno| failed("cannot find the holes of the file", &self.path, errno))?;
                    continue;
                }
                Run::Hole(end) => {
                    let zeros = zeros(end.min(self.before.size) - self.offset);
                    self.offset += zeros.len() as u64;
                    return Ok(Some(zeros));
                }
                Run::Data(end) => end,
            };
            let wanted = (end.min(self.before.size) - self.offset).min(PIECE_BYTES);
            let mut buffer = Vec::with_capacity(usize::try_from(wanted).unwrap_or(1));
            // The allocator may have given more than was asked for; what lies beyond the run is not wanted here.
            while (buffer.len() as u64) < wanted {
                let at = self.offset + buffer.len() as u64;
                match rustix::io::pread(&self.file, spare_capacity(&mut buffer), at) {
                    Ok(0) => break,
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(errno) => return Err(failed("cannot read the file", &self.path, errno)),
                }
            }
            buffer.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
            if buffer.is_empty() {
                // Shorter than it was.
                return Ok(None);
            }
            self.offset += buffer.len() as u64;
            return Ok(Some(buffer.into()));
        }
    }
}

impl Iterator for Reader {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let piece = self.piece().transpose();
        if let Some(Ok(_)) = piece {
            return piece;
        }
        self.done = true;
        piece.or_else(|| self.verdict().err().map(Err))
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "macos"))]
fn find_run(file: &OwnedFd, offset: u64, size: u64) -> Result<Run, Errno> {
    use rustix::fs::SeekFrom;
    match rustix::fs::seek(file, SeekFrom::Data(offset)) {
        Ok(data) if data > offset => Ok(Run::Hole(data)),
        Ok(_) => match rustix::fs::seek(file, SeekFrom::Hole(offset)) {
            Ok(hole) if hole > offset => Ok(Run::Data(hole)),
            // Only if the file is cut at this moment.
            Ok(_) => Ok(Run::Data(size)),
            Err(Errno::NXIO) => Ok(Run::Data(size)),
            Err(errno) => Err(errno),
        },
        // No data from here to the end.
        Err(Errno::NXIO) => Ok(Run::Hole(size)),
        // The file system does not know its holes.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Run::Data(size)),
        Err(errno) => Err(errno),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_os = "macos")))]
fn find_run(_file: &OwnedFd, _offset: u64, size: u64) -> Result<Run, Errno> {
    Ok(Run::Data(size))
}

/// Up to a piece of zeros, all of them the same memory.
fn zeros(len: u64) -> Bytes {
    static ZEROS: OnceLock<Bytes> = OnceLock::new();
    let piece = usize::try_from(PIECE_BYTES).unwrap_or(1);
    let all = ZEROS.get_or_init(|| vec![0; piece].into());
    all.slice(..usize::try_from(len).map_or(piece, |len| len.min(piece)))
}
