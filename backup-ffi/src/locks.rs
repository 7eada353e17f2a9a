//! Locks against whoever can delete: the policy, and keeping it up with the time.

use std::ffi::c_void;
use std::time::Duration;

use crate::boundary::{Crossing, boundary};
use crate::error::backup_error;
use crate::items::backup_time;
use crate::progress::{backup_cancel, backup_progress_fn, watched};
use crate::repo::backup_repo;
use crate::text::backup_names;

/// How a repository is locked, as the log says.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_protection {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// 1 if an extension of the locks is due, else 0.
    pub locks_due: u32,
    /// How long everything is locked ahead, in seconds; 0 if that is not the policy.
    pub period_seconds: u64,
    /// Until when everything that the snapshots need is locked at least. Not known without a policy, or before the first extension under it.
    pub locked_until: backup_time,
}

/// What an extension of locks did.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_extend_result {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Everything in use is locked at least until then. Not known without a policy.
    pub locked_until: backup_time,
    /// Objects whose lock was made longer; 0 if that was not due.
    pub extended_objects: u64,
    /// Objects that somebody has hidden or written over. Their first version was locked all the same: open the repository `as_of` an
    /// earlier time.
    pub tampered: u64,
}

const _: () = assert!(size_of::<backup_protection>() == 32);
const _: () = assert!(size_of::<backup_extend_result>() == 40);

// SAFETY: `repr(C)`, begins with `struct_size`, holds numbers.
unsafe impl Crossing for backup_protection {
    const SIZE_MIN: usize = 32;
}

// SAFETY: `repr(C)`, begins with `struct_size`, holds numbers.
unsafe impl Crossing for backup_extend_result {
    const SIZE_MIN: usize = 40;
}

/// Protects the repository against whoever can delete: from now on every writer locks what it stores, so that everything that a
/// snapshot needs is locked for so many seconds from its commit on. 0 ends that, which takes back no lock that is there.
///
/// **A lock cannot be taken back**: what is locked is paid for until the lock ends. Locks grow with time only if
/// backup_repo_extend_locks() is run. Costs one request for each object that there is. Code 27 if the store cannot lock; then nothing has changed.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_protect(
    repo: *const backup_repo,
    period_seconds: u64,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let repo = unsafe { door.handle(repo, "repo") }?;
        repo.runtime.run(repo.repository.protect(Duration::from_secs(period_seconds)))
    })
}

/// Fills `out` with how the repository is locked, as is known now. Costs no request.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_protection(
    repo: *const backup_repo,
    out: *mut backup_protection,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, out) = unsafe { (door.handle(repo, "repo")?, door.fill(out, "out")?) };
        out.write(backup_protection {
            struct_size: 0,
            locks_due: u32::from(repo.repository.locks_due()),
            period_seconds: repo.repository.protection().map_or(0, |period| period.as_secs()),
            locked_until: backup_time::of(repo.repository.locked_until()),
        });
        Ok(())
    })
}

/// Makes the locks of everything in use longer, if that is due. Run it once a day: it does nothing on nine days of ten.
///
/// `cancel`, `result`, `tampered` (names of objects that somebody has hidden or written over) and `progress` may be NULL.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_extend_locks(
    repo: *const backup_repo,
    cancel: *const backup_cancel,
    result: *mut backup_extend_result,
    tampered: *mut *mut backup_names,
    progress: backup_progress_fn,
    userdata: *mut c_void,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, cancel) = unsafe { (door.handle(repo, "repo")?, door.optional(cancel, "cancel")?) };
        // SAFETY: the caller keeps the contract of the header.
        let (result, tampered) =
            unsafe { (door.optional_fill(result, "result")?, door.optional_output(tampered, "tampered")?) };
        let run = repo.repository.extend_locks();
        let report = repo.runtime.run(watched!(run, cancel, progress, userdata).run())?;
        if let Some(result) = result {
            result.write(backup_extend_result {
                struct_size: 0,
                reserved: 0,
                locked_until: backup_time::of(report.locked_until),
                extended_objects: report.extended_objects,
                tampered: report.tampered.len() as u64,
            });
        }
        if let Some(tampered) = tampered {
            tampered.give(backup_names::of(&report.tampered));
        }
        Ok(())
    })
}
