//! The list of snapshots.

use std::ffi::{CString, c_char};

use backup_core::{Error, ErrorKind, Result, SnapshotId, SnapshotSummary};

use crate::boundary::{Crossing, Door, Handle, Poison, boundary, query, release};
use crate::error::{backup_error, c_text};
use crate::kinds::backup_state;
use crate::repo::{backup_repo, c_array};

/// A list of snapshots as they were when it was made.
#[derive(Debug)]
pub struct backup_snapshots {
    poison: Poison,
    entries: Vec<Listed>,
}

/// A snapshot with its text in the form in which C reads it.
#[derive(Debug)]
pub(crate) struct Listed {
    summary: SnapshotSummary,
    collection: CString,
    kind: CString,
}

impl Listed {
    pub(crate) fn new(summary: SnapshotSummary) -> Self {
        let (collection, kind) = (c_text(&summary.collection.id), c_text(&summary.collection.kind));
        Self { summary, collection, kind }
    }

    /// What C sees; its texts live as long as this.
    pub(crate) fn c(&self) -> backup_snapshot {
        backup_snapshot {
            struct_size: 0,
            state: backup_state::from(self.summary.state) as u32,
            created_seconds: self.summary.created.seconds(),
            created_nanos: self.summary.created.nanos(),
            reserved: 0,
            id: c_array(&self.summary.id.to_string()),
            collection: self.collection.as_ptr(),
            kind: self.kind.as_ptr(),
            suspicious: u32::from(self.summary.suspicious),
            held: u32::from(self.summary.held),
            confirmed: u32::from(self.summary.confirmed),
            reserved2: 0,
        }
    }
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
    /// 1 if its run reported a `backup_suspicion`, else 0.
    pub suspicious: u32,
    /// 1 if it must not be removed, else 0; see backup_repo_hold().
    pub held: u32,
    /// 1 if the log says for sure that it is in use: always, but in a salvaged repository.
    pub confirmed: u32,
    /// 0.
    pub reserved2: u32,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<backup_snapshot>() == 96);

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
        let entries = repo.repository.snapshots().into_iter().map(Listed::new).collect();
        out.give(backup_snapshots { poison: Poison::default(), entries });
        Ok(())
    })
}

/// Lists the newest snapshot of a collection, after a look at what other writers have committed since. The list is empty if
/// there is none.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_latest(
    repo: *const backup_repo,
    collection: *const c_char,
    out: *mut *mut backup_snapshots,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, collection, out) = unsafe {
            (door.handle(repo, "repo")?, door.text(collection, "collection")?, door.output(out, "out")?)
        };
        repo.runtime.run(repo.repository.refresh())?;
        let entries = repo.repository.latest(collection).into_iter().map(Listed::new).collect();
        out.give(backup_snapshots { poison: Poison::default(), entries });
        Ok(())
    })
}

/// Reads what other writers have committed since. Calls that need that do it themselves; what costs no request, such as
/// backup_repo_head(), tells what is known.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_refresh(repo: *const backup_repo) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let repo = unsafe { door.handle(repo, "repo") }?;
        repo.runtime.run(repo.repository.refresh())
    })
}

/// Gives snapshots, named by their ids, up. They are no longer listed, and backup_repo_prune() gives back what only they needed.
/// Those that are not there are passed over. If one of them is held, none is removed: code 12.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_remove(
    repo: *const backup_repo,
    snapshots: *const *const c_char,
    snapshots_count: usize,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, ids) = unsafe { (door.handle(repo, "repo")?, ids(door, snapshots, snapshots_count)?) };
        repo.runtime.run(repo.repository.remove(&ids))
    })
}

/// Keeps snapshots, named by their ids, from being removed by whatever rule or hand, until they are released: a legal hold. If one of
/// them is not there, none is held: code 10.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_hold(
    repo: *const backup_repo,
    snapshots: *const *const c_char,
    snapshots_count: usize,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, ids) = unsafe { (door.handle(repo, "repo")?, ids(door, snapshots, snapshots_count)?) };
        repo.runtime.run(repo.repository.hold(&ids))
    })
}

/// Lets snapshots, named by their ids, be removed again. If one of them is not there, none is released: code 10.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_release(
    repo: *const backup_repo,
    snapshots: *const *const c_char,
    snapshots_count: usize,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, ids) = unsafe { (door.handle(repo, "repo")?, ids(door, snapshots, snapshots_count)?) };
        repo.runtime.run(repo.repository.release(&ids))
    })
}

/// # Safety
/// As for the functions that call it.
pub(crate) unsafe fn ids(
    door: &Door<'_>,
    snapshots: *const *const c_char,
    count: usize,
) -> Result<Vec<SnapshotId>> {
    // SAFETY: the same promise.
    let texts = unsafe { door.texts(snapshots, count, "snapshots") }?;
    texts.into_iter().map(|text| text.parse().map_err(|error: Error| error.with_item(text))).collect()
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
        out.write(entry.c());
        Ok(())
    })
}

/// Frees a list of snapshots.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_snapshots_free(snapshots: *mut backup_snapshots) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(snapshots) }
}
