//! What a snapshot says of itself: figures, labels, problems, and what the figures say of an attack.

use std::ffi::{CString, c_char};
use std::ptr;

use backup_core::{Error, ErrorKind, SnapshotInfo, SnapshotStats, Suspicion};

use crate::boundary::{Crossing, Handle, Poison, boundary, query, release};
use crate::error::{backup_error, c_text};
use crate::kinds::suspicion_flags;
use crate::problems::backup_problems;
use crate::repo::backup_repo;
use crate::snapshots::{Listed, backup_snapshot};

/// All that a snapshot says of itself.
#[derive(Debug)]
pub struct backup_info {
    poison: Poison,
    summary: Listed,
    stats: SnapshotStats,
    parent: Option<CString>,
    labels: Vec<(CString, CString)>,
    info: SnapshotInfo,
}

impl Handle for backup_info {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

impl backup_info {
    pub(crate) fn new(info: SnapshotInfo) -> Self {
        Self {
            poison: Poison::default(),
            summary: Listed::new(info.summary.clone()),
            stats: info.stats,
            parent: info.parent.map(|id| c_text(&id.to_string())),
            labels: info.labels.iter().map(|(name, value)| (c_text(name), c_text(value))).collect(),
            info,
        }
    }
}

/// Figures of the run that made a snapshot.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_stats {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Items in the snapshot.
    pub items: u64,
    /// Bytes of content in the snapshot.
    pub bytes: u64,
    /// Items that the snapshot before did not have.
    pub added: u64,
    /// Items that differ from the snapshot before.
    pub changed: u64,
    /// Items that only the snapshot before had.
    pub removed: u64,
    /// Bytes of content read from the source.
    pub bytes_read: u64,
    /// Bytes written to the store up to the commit.
    pub bytes_stored: u64,
    /// Items that could not be read.
    pub problems: u64,
}

const _: () = assert!(size_of::<backup_stats>() == 72);

// SAFETY: `repr(C)`, begins with `struct_size`, holds numbers.
unsafe impl Crossing for backup_stats {
    const SIZE_MIN: usize = 72;
}

/// A name and a value of the embedder's own that a snapshot keeps. Both live as long as the info.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_label {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Its name.
    pub name: *const c_char,
    /// Its value.
    pub value: *const c_char,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<backup_label>() == 24);

// SAFETY: `repr(C)`, begins with `struct_size`, holds numbers and pointers.
unsafe impl Crossing for backup_label {
    const SIZE_MIN: usize = 8 + 2 * size_of::<*const c_char>();
}

/// Tells what a snapshot, named by its id, says of itself. One request.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_snapshot(
    repo: *const backup_repo,
    snapshot: *const c_char,
    out: *mut *mut backup_info,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, snapshot, out) = unsafe {
            (door.handle(repo, "repo")?, door.text(snapshot, "snapshot")?, door.output(out, "out")?)
        };
        let id = snapshot.parse()?;
        out.give(backup_info::new(repo.runtime.run(repo.repository.snapshot(id))?));
        Ok(())
    })
}

/// Fills `out` with what a list of snapshots says of it. `collection` and `kind` live as long as the info.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_info_summary(
    info: *const backup_info,
    out: *mut backup_snapshot,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (info, out) = unsafe { (door.handle(info, "info")?, door.fill(out, "out")?) };
        out.write(info.summary.c());
        Ok(())
    })
}

/// Fills `out` with the figures of its run.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_info_stats(
    info: *const backup_info,
    out: *mut backup_stats,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (info, out) = unsafe { (door.handle(info, "info")?, door.fill(out, "out")?) };
        let stats = info.stats;
        out.write(backup_stats {
            struct_size: 0,
            reserved: 0,
            items: stats.items,
            bytes: stats.bytes,
            added: stats.added,
            changed: stats.changed,
            removed: stats.removed,
            bytes_read: stats.bytes_read,
            bytes_stored: stats.bytes_stored,
            problems: stats.problems,
        });
        Ok(())
    })
}

/// The id of the snapshot that its run built on. NULL for NULL and if there was none; lives as long as the info.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_info_parent(info: *const backup_info) -> *const c_char {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        query(info, ptr::null(), |info| info.parent.as_ref().map_or(ptr::null(), |parent| parent.as_ptr()))
    }
}

/// How many labels it has. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_info_label_count(info: *const backup_info) -> u64 {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { query(info, 0, |info| info.labels.len() as u64) }
}

/// Fills `out` with the label of this number, the first being 0.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_info_label_at(
    info: *const backup_info,
    index: u64,
    out: *mut backup_label,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (info, out) = unsafe { (door.handle(info, "info")?, door.fill(out, "out")?) };
        let label = usize::try_from(index).ok().and_then(|index| info.labels.get(index));
        let (name, value) =
            label.ok_or_else(|| Error::new(ErrorKind::NotFound, "there are not so many labels"))?;
        out.write(backup_label { struct_size: 0, reserved: 0, name: name.as_ptr(), value: value.as_ptr() });
        Ok(())
    })
}

/// Lists the items that could not be read, the first 1,000 of them; backup_stats has their number.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_info_problems(
    info: *const backup_info,
    out: *mut *mut backup_problems,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (info, out) = unsafe { (door.handle(info, "info")?, door.output(out, "out")?) };
        out.give(backup_problems::of_recorded(&info.info.problems));
        Ok(())
    })
}

/// Judges the run by its figures: what touches at least 20 items and at least `percent` of those that the snapshot before had is
/// suspicious. The answer is a sum of `backup_suspicion` numbers; 0 for none, and for NULL. Backups ask with 25 unless told otherwise.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_info_suspicions(info: *const backup_info, percent: u32) -> u32 {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { query(info, 0, |info| suspicion_flags(&Suspicion::of(&info.stats, percent))) }
}

/// Frees an info.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_info_free(info: *mut backup_info) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(info) }
}
