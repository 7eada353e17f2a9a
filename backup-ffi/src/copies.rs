//! Copies of a repository in another store, and what is left of a damaged one.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use backup_core::{Head, Repository, SalvageOptions};

use crate::boundary::{Crossing, boundary};
use crate::error::backup_error;
use crate::kinds::backup_reached;
use crate::options::{Settings, backup_options};
use crate::problems::backup_problems;
use crate::progress::{backup_cancel, backup_progress_fn, watched};
use crate::repo::{backup_credential, backup_repo, c_array, head_text, read_head};
use crate::runtime::backup_runtime;
use crate::store::backup_store;
use crate::text::backup_names;

/// What a mirror did.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_mirror_result {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Objects that the repository consists of, and that the copy should have.
    pub objects: u64,
    /// Objects that were copied because the other store did not have them.
    pub copied_objects: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Objects of the other store that were not what they should be and are now.
    pub replaced_objects: u64,
    /// Objects of the other store that the repository no longer has and that were deleted there.
    pub deleted_objects: u64,
    /// Objects that are damaged here and were not copied, and such that are damaged there and were not replaced.
    pub findings: u64,
    /// The end of the log that the copy has now, as backup_head has it. Empty if it has none. NUL-terminated.
    pub head: [c_char; 96],
}

/// What is left of a repository, and what is not.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_salvage_result {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// 1 if the log is complete and nothing is known to be lost, else 0.
    pub whole: u32,
    /// 1 if nothing of the log that decides which snapshots there are is missing, as far as can be known; else 0.
    pub log_complete: u32,
    /// Whether the log reaches `known_head`, a `backup_reached`.
    pub known_head: u32,
    /// Log entries that were read.
    pub log_entries: u64,
    /// Checkpoints of the log that were read.
    pub checkpoints: u64,
    /// Snapshots that the log names and that read.
    pub snapshots: u64,
    /// Snapshots that read and of which nobody can say for sure that they belong to the repository.
    pub unconfirmed: u64,
    /// Snapshots that are still stored although the log says that they were removed.
    pub removed: u64,
    /// Segments of the index that were read.
    pub segments: u64,
    /// Packs that these name.
    pub packs: u64,
    /// Further packs, whose own directories were read in the place of segments.
    pub packs_rebuilt: u64,
    /// Chunks in the index, copies included.
    pub chunks: u64,
    /// Objects that should be there and are not, or do not read.
    pub findings: u64,
    /// The newest log entry that counts, as backup_head has it. Empty if there is none. NUL-terminated.
    pub head: [c_char; 96],
}

const _: () = assert!(size_of::<backup_mirror_result>() == 152);
const _: () = assert!(size_of::<backup_salvage_result>() == 192);

// SAFETY: `repr(C)`, begins with `struct_size`, holds numbers and an array of them.
unsafe impl Crossing for backup_mirror_result {
    const SIZE_MIN: usize = 152;
}

// SAFETY: `repr(C)`, begins with `struct_size`, holds numbers and an array of them.
unsafe impl Crossing for backup_salvage_result {
    const SIZE_MIN: usize = 192;
}

fn head_array(head: Option<Head>) -> [c_char; 96] {
    c_array(&head.map(head_text).unwrap_or_default())
}

/// Copies the repository to another store, or brings such a copy up to date. The copy is a repository of its own that opens with the same
/// keys; do not write to it.
///
/// Options (may be NULL): `check` (true, false), also read what the other store has already, and replace what is not the same: so a copy mends
/// where it came from; `delete` (true, false), also delete there what prunes have taken from here. `cancel`, `result`, `findings` and
/// `progress` may be NULL.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_mirror(
    repo: *const backup_repo,
    to: *const backup_store,
    options: *const backup_options,
    cancel: *const backup_cancel,
    result: *mut backup_mirror_result,
    findings: *mut *mut backup_problems,
    progress: backup_progress_fn,
    userdata: *mut c_void,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, to, options, cancel) = unsafe {
            (
                door.handle(repo, "repo")?,
                door.handle(to, "to")?,
                door.optional(options, "options")?,
                door.optional(cancel, "cancel")?,
            )
        };
        // SAFETY: the caller keeps the contract of the header.
        let (result, findings) =
            unsafe { (door.optional_fill(result, "result")?, door.optional_output(findings, "findings")?) };
        let mut settings = Settings::of(options);
        let mut run = repo.repository.mirror(&*to.store);
        if settings.take_parsed("check")? == Some(true) {
            run = run.check();
        }
        if settings.take_parsed("delete")? == Some(true) {
            run = run.delete();
        }
        settings.finish()?;
        let report = repo.runtime.run(watched!(run, cancel, progress, userdata).run())?;
        if let Some(result) = result {
            result.write(backup_mirror_result {
                struct_size: 0,
                reserved: 0,
                objects: report.objects,
                copied_objects: report.copied_objects,
                copied_bytes: report.copied_bytes,
                replaced_objects: report.replaced_objects,
                deleted_objects: report.deleted_objects,
                findings: report.findings.len() as u64,
                head: head_array(report.head),
            });
        }
        if let Some(findings) = findings {
            findings.give(backup_problems::of_findings(&report.findings));
        }
        Ok(())
    })
}

/// Opens what is left of a damaged repository, for reading only. Damage is no error: the result counts and `findings` names it.
///
/// What comes out can be listed, browsed, restored, drilled and verified; whatever would write is code 12. Options (may be NULL): `known_head`,
/// a text from backup_repo_head(): then the result says whether the log reaches it; `with_removed` (true, false), take snapshots too that
/// the log says were removed. `result`, `unconfirmed` and `removed` (ids of snapshots) and `findings` may be NULL. docs/recovery.md has more.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_salvage(
    runtime: *const backup_runtime,
    store: *const backup_store,
    options: *const backup_options,
    credential: *const backup_credential,
    out: *mut *mut backup_repo,
    result: *mut backup_salvage_result,
    unconfirmed: *mut *mut backup_names,
    removed: *mut *mut backup_names,
    findings: *mut *mut backup_problems,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (runtime, store, options, credential) = unsafe {
            (
                door.handle(runtime, "runtime")?,
                door.handle(store, "store")?,
                door.optional(options, "options")?,
                door.handle(credential, "credential")?,
            )
        };
        // SAFETY: the caller keeps the contract of the header.
        let (out, result) = unsafe { (door.output(out, "out")?, door.optional_fill(result, "result")?) };
        // SAFETY: the caller keeps the contract of the header.
        let (unconfirmed, removed, findings) = unsafe {
            (
                door.optional_output(unconfirmed, "unconfirmed")?,
                door.optional_output(removed, "removed")?,
                door.optional_output(findings, "findings")?,
            )
        };
        let mut settings = Settings::of(options);
        let mut how = SalvageOptions::default();
        how.known_head = settings.take("known_head")?.map(|text| read_head(&text)).transpose()?;
        how.with_removed = settings.take_parsed("with_removed")?.unwrap_or(false);
        settings.finish()?;
        let runtime = Arc::clone(runtime.shared());
        let salvaged =
            Repository::salvage(Arc::clone(&store.store), &credential.credential, runtime.env(), how);
        let (repository, report) = runtime.run(salvaged)?;
        if let Some(result) = result {
            let known_head = match report.known_head_reached {
                None => backup_reached::Unknown,
                Some(true) => backup_reached::Yes,
                Some(false) => backup_reached::No,
            };
            result.write(backup_salvage_result {
                struct_size: 0,
                whole: u32::from(report.is_whole()),
                log_complete: u32::from(report.log_complete),
                known_head: known_head as u32,
                log_entries: report.log_entries,
                checkpoints: report.checkpoints,
                snapshots: report.snapshots,
                unconfirmed: report.unconfirmed.len() as u64,
                removed: report.removed.len() as u64,
                segments: report.segments,
                packs: report.packs,
                packs_rebuilt: report.packs_rebuilt,
                chunks: report.chunks,
                findings: report.findings.len() as u64,
                head: head_array(report.head),
            });
        }
        if let Some(unconfirmed) = unconfirmed {
            unconfirmed.give(backup_names::of(&report.unconfirmed));
        }
        if let Some(removed) = removed {
            removed.give(backup_names::of(&report.removed));
        }
        if let Some(findings) = findings {
            findings.give(backup_problems::of_findings(&report.findings));
        }
        out.give(backup_repo::new(runtime, repository));
        Ok(())
    })
}
