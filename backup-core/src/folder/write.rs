//! Writing one file: its bytes, with holes where asked, then owner, mode and times.

use std::borrow::Borrow;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, RawMode, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;

use super::{Meta, attribute, failed, show};
use crate::error::{Error, ErrorKind, Result};
use crate::item::{Item, Value};

/// Zero runs of this length and alignment become holes in a sparse file, in bytes.
const HOLE_BYTES: u64 = 4096;
static ZEROS: [u8; HOLE_BYTES as usize] = [0; HOLE_BYTES as usize];

/// Writes one new, empty file from its beginning to its end.
pub(super) struct Writer<F> {
    file: F,
    offset: u64,
    sparse: bool,
    announced: Option<u64>,
}

impl<F: Borrow<OwnedFd>> Writer<F> {
    pub(super) fn new(file: F, looks: &Looks, announced: Option<u64>) -> Self {
        Self { file, offset: 0, sparse: looks.sparse, announced }
    }

    pub(super) fn file(&self) -> &OwnedFd {
        self.file.borrow()
    }

    /// Writes what comes next.
    pub(super) fn piece(&mut self, piece: &[u8], path: &[u8]) -> Result<()> {
        let write = if self.sparse { write_around_holes } else { write_at };
        write(self.file.borrow(), piece, self.offset)
            .map_err(|errno| failed("cannot write the file", path, errno))?;
        self.offset += piece.len() as u64;
        Ok(())
    }

    /// Everything has been written: is it as long as announced?
    pub(super) fn end(&self, path: &[u8]) -> Result<()> {
        if self.announced.is_some_and(|announced| announced != self.offset) {
            let error = Error::new(ErrorKind::SourceMismatch, "content is not as long as announced");
            return Err(error.with_item(show(path)));
        }
        if !self.sparse {
            return Ok(());
        }
        // A hole at the end is nothing but a length.
        rustix::fs::ftruncate(self.file.borrow(), self.offset)
            .map_err(|errno| failed("cannot write the file", path, errno))
    }
}

fn write_around_holes(file: &OwnedFd, mut bytes: &[u8], mut offset: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        // Runs of blocks that hold something are written in one go.
        let mut data = 0;
        let mut hole = 0;
        while data < bytes.len() {
            let rest = bytes.get(data..).unwrap_or_default();
            let to_boundary = HOLE_BYTES - (offset + data as u64) % HOLE_BYTES;
            let len = usize::try_from(to_boundary).unwrap_or(usize::MAX).min(rest.len());
            let block = rest.get(..len).unwrap_or_default();
            if ZEROS.get(..len) == Some(block) {
                hole = len;
                break;
            }
            data += len;
        }
        write_at(file, bytes.get(..data).unwrap_or_default(), offset)?;
        offset += (data + hole) as u64;
        bytes = bytes.get(data + hole..).unwrap_or_default();
    }
    Ok(())
}

fn write_at(file: &OwnedFd, mut bytes: &[u8], mut offset: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, offset) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => {
                offset += written as u64;
                bytes = bytes.get(written..).unwrap_or_default();
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// What an item wants to look like in a folder.
#[derive(Clone, Debug)]
pub(super) struct Looks {
    /// The mode that it had, if it says.
    pub(super) mode: Option<u32>,
    owner: Option<(Uid, Gid)>,
    times: Option<Timestamps>,
    /// It wants holes.
    sparse: bool,
}

impl Looks {
    pub(super) fn of(item: &Item) -> Self {
        let mode = item.attributes.get(attribute::MODE).and_then(Value::as_int);
        Self {
            mode: mode.and_then(|mode| u32::try_from(mode).ok()).map(|mode| mode & 0o7777),
            owner: owner_of(item),
            times: times_of(item),
            sparse: item.attributes.get(attribute::SPARSE) == Some(&Value::Bool(true)),
        }
    }
}

/// Permission bits as the system wants them.
#[allow(clippy::unnecessary_cast, clippy::cast_possible_truncation, reason = "16 or 32 bits, by platform")]
pub(super) const fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode((bits & 0o7777) as RawMode)
}

fn owner_of(item: &Item) -> Option<(Uid, Gid)> {
    let number = |name| u32::try_from(item.attributes.get(name)?.as_int()?).ok();
    // The highest number means "leave it" to the system and is nobody's.
    let known = |number: &u32| *number != u32::MAX;
    let uid = number(attribute::UID).filter(known)?;
    let gid = number(attribute::GID).filter(known)?;
    Some((Uid::from_raw(uid), Gid::from_raw(gid)))
}

#[allow(
    clippy::useless_conversion,
    clippy::unnecessary_fallible_conversions,
    reason = "the fields have another width on every platform"
)]
fn times_of(item: &Item) -> Option<Timestamps> {
    let modified = item.times.modified?;
    Some(Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: modified.seconds().try_into().ok()?,
            tv_nsec: modified.nanos().try_into().ok()?,
        },
    })
}

/// Sets owner, mode and times of an open file or folder, in this order: a change of owner clears setuid, and every
/// change may move the times. What is right since it was made, as `made` says, is left alone.
///
/// Setuid and setgid are set only together with the owner that they were meant for.
pub(super) fn set_attributes(
    file: &OwnedFd,
    made: &Meta,
    looks: &Looks,
    owner: bool,
    path: &[u8],
) -> Result<()> {
    let (mut owned, mut changed) = (false, false);
    if let Some((uid, gid)) = looks.owner.filter(|_| owner) {
        changed = (uid.as_raw(), gid.as_raw()) != (made.uid, made.gid);
        owned = !changed || rustix::fs::fchown(file, Some(uid), Some(gid)).is_ok();
    }
    if let Some(bits) = looks.mode {
        let allowed = if owned { bits } else { bits & 0o1777 };
        if changed || allowed != made.mode {
            rustix::fs::fchmod(file, mode(allowed))
                .map_err(|errno| failed("cannot set the mode", path, errno))?;
        }
    }
    if let Some(times) = &looks.times {
        rustix::fs::futimens(file, times).map_err(|errno| failed("cannot set the times", path, errno))?;
    }
    Ok(())
}

/// Sets owner and times of a symbolic link itself.
pub(super) fn set_link_attributes(
    dir: impl AsFd,
    name: &[u8],
    looks: &Looks,
    owner: bool,
    path: &[u8],
) -> Result<()> {
    if let Some((uid, gid)) = looks.owner.filter(|_| owner) {
        // A link's owner grants nothing, so failing to set it harms nobody.
        let _ = rustix::fs::chownat(&dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
    }
    if let Some(times) = &looks.times {
        match rustix::fs::utimensat(&dir, name, times, AtFlags::SYMLINK_NOFOLLOW) {
            // Some file systems keep no times of links.
            Ok(()) | Err(Errno::NOSYS | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(failed("cannot set the times", path, errno)),
        }
    }
    Ok(())
}
