//! Writing one file: its bytes, with holes where asked, then owner, mode and times.

use std::os::fd::{AsFd, OwnedFd};

use futures_util::StreamExt;
use rustix::fs::{AtFlags, Gid, Mode, RawMode, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::Errno;

use super::{attribute, failed, show};
use crate::error::{Error, ErrorKind, Result};
use crate::item::{Item, Value};
use crate::source::Content;

/// Zero runs of this length and alignment become holes in a sparse file, in bytes.
const HOLE_BYTES: u64 = 4096;
static ZEROS: [u8; HOLE_BYTES as usize] = [0; HOLE_BYTES as usize];

/// Writes everything that `content` delivers into a new, empty file.
pub(super) async fn write(file: &OwnedFd, mut content: Content<'_>, sparse: bool, path: &[u8]) -> Result<()> {
    let wrong = |errno| failed("cannot write the file", path, errno);
    let mut offset = 0u64;
    while let Some(piece) = content.bytes.next().await {
        let piece = piece?;
        if sparse {
            write_around_holes(file, &piece, offset).map_err(wrong)?;
        } else {
            write_at(file, &piece, offset).map_err(wrong)?;
        }
        offset += piece.len() as u64;
    }
    if content.size.is_some_and(|announced| announced != offset) {
        let error = Error::new(ErrorKind::SourceMismatch, "content is not as long as announced");
        return Err(error.with_item(show(path)));
    }
    // A hole at the end is nothing but a length.
    if sparse { rustix::fs::ftruncate(file, offset).map_err(wrong) } else { Ok(()) }
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

/// Whether the item wants holes.
pub(super) fn is_sparse(item: &Item) -> bool {
    item.attributes.get(attribute::SPARSE) == Some(&Value::Bool(true))
}

/// The mode that the item had, if it says.
pub(super) fn mode_of(item: &Item) -> Option<u32> {
    let mode = item.attributes.get(attribute::MODE)?.as_int()?;
    u32::try_from(mode).ok().map(|mode| mode & 0o7777)
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
/// change may move the times.
///
/// Setuid and setgid are set only together with the owner that they were meant for.
pub(super) fn set_attributes(file: &OwnedFd, item: &Item, owner: bool, path: &[u8]) -> Result<()> {
    let owned = owner
        && owner_of(item).is_some_and(|(uid, gid)| rustix::fs::fchown(file, Some(uid), Some(gid)).is_ok());
    if let Some(bits) = mode_of(item) {
        let allowed = if owned { bits } else { bits & 0o1777 };
        rustix::fs::fchmod(file, mode(allowed))
            .map_err(|errno| failed("cannot set the mode", path, errno))?;
    }
    if let Some(times) = times_of(item) {
        rustix::fs::futimens(file, &times).map_err(|errno| failed("cannot set the times", path, errno))?;
    }
    Ok(())
}

/// Sets owner and times of a symbolic link itself.
pub(super) fn set_link_attributes(
    dir: impl AsFd,
    name: &[u8],
    item: &Item,
    owner: bool,
    path: &[u8],
) -> Result<()> {
    if let Some((uid, gid)) = owner_of(item).filter(|_| owner) {
        // A link's owner grants nothing, so failing to set it harms nobody.
        let _ = rustix::fs::chownat(&dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW);
    }
    if let Some(times) = times_of(item) {
        match rustix::fs::utimensat(&dir, name, &times, AtFlags::SYMLINK_NOFOLLOW) {
            // Some file systems keep no times of links.
            Ok(()) | Err(Errno::NOSYS | Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(failed("cannot set the times", path, errno)),
        }
    }
    Ok(())
}
