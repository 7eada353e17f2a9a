//! Giving back the room of what no snapshot needs.

use std::ffi::c_void;
use std::time::Duration;

use crate::boundary::{Crossing, boundary};
use crate::error::backup_error;
use crate::options::{Settings, backup_options};
use crate::problems::backup_problems;
use crate::progress::{backup_cancel, backup_progress_fn, watched};
use crate::repo::backup_repo;

/// What a prune did, or would do.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_prune_result {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Snapshots and checkpoints of interrupted runs whose needs were marked.
    pub snapshots: u64,
    /// Packs in use before.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of these that no snapshot needed before; estimated from the share of each pack.
    pub unused_bytes: u64,
    /// The same afterwards.
    pub unused_bytes_after: u64,
    /// Packs that were condemned because nothing in them is needed.
    pub dead_packs: u64,
    /// Their bytes.
    pub dead_bytes: u64,
    /// Packs that were condemned after what is needed of them had been copied.
    pub copied_packs: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Objects that no log entry names, condemned as the remains of writers that are gone.
    pub stray_objects: u64,
    /// Their bytes.
    pub stray_bytes: u64,
    /// Objects condemned by this run or earlier ones that were deleted.
    pub deleted_objects: u64,
    /// Objects that the store did not let go yet; a later prune tries again.
    pub locked_objects: u64,
    /// Packs that were to be copied and could not be read in full. They stay as they are.
    pub findings: u64,
}

const _: () = assert!(size_of::<backup_prune_result>() == 120);

// SAFETY: `repr(C)`, begins with `struct_size`, holds numbers.
unsafe impl Crossing for backup_prune_result {
    const SIZE_MIN: usize = 120;
}

/// Gives back the room of what no snapshot needs. Safe beside backups, restores and other prunes.
///
/// Options (may be NULL): `grace_seconds`, how long what is young is left alone (default 86400; a shorter one endangers nothing, but
/// makes backups under way store some things again or fail with code 26); `unused_percent`, of the bytes that stay how many may be unused (default 10);
/// `dry_run` (true, false), only tell what would be done. `cancel`, `result`, `findings` and `progress` may be NULL.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_prune(
    repo: *const backup_repo,
    options: *const backup_options,
    cancel: *const backup_cancel,
    result: *mut backup_prune_result,
    findings: *mut *mut backup_problems,
    progress: backup_progress_fn,
    userdata: *mut c_void,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, options, cancel) = unsafe {
            (door.handle(repo, "repo")?, door.optional(options, "options")?, door.optional(cancel, "cancel")?)
        };
        // SAFETY: the caller keeps the contract of the header.
        let (result, findings) =
            unsafe { (door.optional_fill(result, "result")?, door.optional_output(findings, "findings")?) };
        let mut settings = Settings::of(options);
        let mut run = repo.repository.prune();
        if let Some(seconds) = settings.take_parsed("grace_seconds")? {
            run = run.grace(Duration::from_secs(seconds));
        }
        if let Some(percent) = settings.take_parsed("unused_percent")? {
            run = run.unused_percent(percent);
        }
        if settings.take_parsed("dry_run")? == Some(true) {
            run = run.dry_run();
        }
        settings.finish()?;
        let report = repo.runtime.run(watched!(run, cancel, progress, userdata).run())?;
        if let Some(result) = result {
            result.write(backup_prune_result {
                struct_size: 0,
                reserved: 0,
                snapshots: report.snapshots,
                packs: report.packs,
                bytes: report.bytes,
                unused_bytes: report.unused_bytes,
                unused_bytes_after: report.unused_bytes_after,
                dead_packs: report.dead_packs,
                dead_bytes: report.dead_bytes,
                copied_packs: report.copied_packs,
                copied_bytes: report.copied_bytes,
                stray_objects: report.stray_objects,
                stray_bytes: report.stray_bytes,
                deleted_objects: report.deleted_objects,
                locked_objects: report.locked_objects,
                findings: report.findings.len() as u64,
            });
        }
        if let Some(findings) = findings {
            findings.give(backup_problems::of_findings(&report.findings));
        }
        Ok(())
    })
}
