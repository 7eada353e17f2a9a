//! The list of snapshots.

use std::ffi::{CString, c_char};

use backup_core::{Error, ErrorKind, SnapshotSummary};

use crate::boundary::{Crossing, Handle, Poison, boundary, query, release};
use crate::error::{backup_error, c_text};
use crate::kinds::backup_state;
use crate::repo::{backup_repo, c_array};

/// A list of snapshots as they were when it was made.
#[derive(Debug)]
pub struct backup_snapshots {
    poison: Poison,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    summary: SnapshotSummary,
    collection: CString,
    kind: CString,
}

impl Handle for backup_snapshots {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

/// One snapshot. `collection` and `kind` live as long as the list.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_snapshot {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// How whole it is, a `backup_state`.
    pub state: u32,
    /// When its run began, in seconds since 1970-01-01T00:00:00Z, by the clock of the writer.
    pub created_seconds: i64,
    /// Nanoseconds within the second.
    pub created_nanos: u32,
    /// 0.
    pub reserved: u32,
    /// Its id, NUL-terminated.
    pub id: [c_char; 40],
    /// Id of what it is a state of, such as folder:/srv/data.
    pub collection: *const c_char,
    /// Kind of what it is a state of, such as folder.
    pub kind: *const c_char,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<backup_snapshot>() == 80);

// SAFETY: `repr(C)`, begins with `struct_size`, holds numbers, an array of them and pointers.
unsafe impl Crossing for backup_snapshot {
    const SIZE_MIN: usize = 64 + 2 * size_of::<*const c_char>();
}

/// Lists all snapshots in the order of their commits, after a look at what other writers have committed since.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_snapshots(
    repo: *const backup_repo,
    out: *mut *mut backup_snapshots,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, out) = unsafe { (door.handle(repo, "repo")?, door.output(out, "out")?) };
        repo.runtime.run(repo.repository.refresh())?;
        let entry = |summary: SnapshotSummary| {
            let (collection, kind) = (c_text(&summary.collection.id), c_text(&summary.collection.kind));
            Entry { summary, collection, kind }
        };
        let entries = repo.repository.snapshots().into_iter().map(entry).collect();
        out.give(backup_snapshots { poison: Poison::default(), entries });
        Ok(())
    })
}

/// How many snapshots there are. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_snapshots_count(snapshots: *const backup_snapshots) -> u64 {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { query(snapshots, 0, |snapshots| snapshots.entries.len() as u64) }
}

/// Fills `out` with the snapshot of this number, the oldest being 0.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_snapshots_at(
    snapshots: *const backup_snapshots,
    index: u64,
    out: *mut backup_snapshot,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (snapshots, out) = unsafe { (door.handle(snapshots, "snapshots")?, door.fill(out, "out")?) };
        let entry = usize::try_from(index).ok().and_then(|index| snapshots.entries.get(index));
        let entry =
            entry.ok_or_else(|| Error::new(ErrorKind::NotFound, "there are not so many snapshots"))?;
        out.write(backup_snapshot {
            struct_size: 0,
            state: backup_state::from(entry.summary.state) as u32,
            created_seconds: entry.summary.created.seconds(),
            created_nanos: entry.summary.created.nanos(),
            reserved: 0,
            id: c_array(&entry.summary.id.to_string()),
            collection: entry.collection.as_ptr(),
            kind: entry.kind.as_ptr(),
        });
        Ok(())
    })
}

/// Frees a list of snapshots.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_snapshots_free(snapshots: *mut backup_snapshots) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(snapshots) }
}
