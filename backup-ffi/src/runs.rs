//! The operations that take long: backup, restore and check.

use std::ffi::{c_char, c_void};

use backup_core::SnapshotId;

use crate::attributes::backup_attributes;
use crate::boundary::{Crossing, boundary};
use crate::error::backup_error;
use crate::folder::{backup_sink, backup_source};
use crate::items::backup_time;
use crate::kinds::{backup_conflict, backup_level, backup_state, suspicion_flags};
use crate::options::{Settings, backup_options};
use crate::problems::backup_problems;
use crate::progress::{backup_cancel, backup_progress_fn, watched};
use crate::repo::{backup_repo, c_array};

/// What a backup did.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_result {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// How whole the snapshot is, a `backup_state`.
    pub state: u32,
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
    /// Bytes written to the store.
    pub bytes_stored: u64,
    /// Items that could not be read.
    pub problems: u64,
    /// Id of the snapshot, NUL-terminated.
    pub snapshot: [c_char; 40],
    /// Reasons to look at it before earlier ones are let go: a sum of `backup_suspicion` numbers, 0 for none. `removed`,
    /// `changed` and `previous_items` are its figures.
    pub suspicions: u32,
    /// 1 if an extension of the locks is due, else 0; see backup_repo_extend_locks().
    pub locks_due: u32,
    /// Items that the snapshot before had.
    pub previous_items: u64,
    /// Until when everything that the snapshot needs is locked at least, if that is the policy.
    pub locked_until: backup_time,
}

/// What a restore did.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_restore_result {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Items created where nothing was.
    pub created: u64,
    /// Items put in the place of others.
    pub replaced: u64,
    /// Items left alone because something was there.
    pub skipped: u64,
    /// Items created under another name.
    pub renamed: u64,
    /// Bytes handed to the sink.
    pub bytes: u64,
    /// Bytes read from the store.
    pub bytes_fetched: u64,
    /// Items that could not be restored.
    pub problems: u64,
}

/// What a check found.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_verify_result {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// 1 if nothing is wrong, else 0.
    pub sound: u32,
    /// Snapshots whose trees were walked.
    pub snapshots: u64,
    /// Items in all snapshots together.
    pub items: u64,
    /// Chunks that the index names.
    pub chunks: u64,
    /// Packs looked at.
    pub packs: u64,
    /// Bytes read from packs.
    pub bytes_read: u64,
    /// Things that are wrong.
    pub findings: u64,
}

const _: () = assert!(size_of::<backup_result>() == 144);
const _: () = assert!(size_of::<backup_restore_result>() == 64);
const _: () = assert!(size_of::<backup_verify_result>() == 56);

// SAFETY: `repr(C)`, begins with `struct_size`, holds numbers and an array of them.
unsafe impl Crossing for backup_result {
    const SIZE_MIN: usize = 112;
}

// SAFETY: `repr(C)`, begins with `struct_size`, holds numbers.
unsafe impl Crossing for backup_restore_result {
    const SIZE_MIN: usize = 64;
}

// SAFETY: `repr(C)`, begins with `struct_size`, holds numbers.
unsafe impl Crossing for backup_verify_result {
    const SIZE_MIN: usize = 56;
}

/// Backs up a source: a new snapshot.
///
/// Items that cannot be read are no error; the result counts and `problems` names them. Options (may be NULL):
/// `full` (true, false), enumerate everything although the source could tell what changed; `label.NAME`, a text of your
/// own that the snapshot keeps; `compression`, how much work goes into what is stored: `adaptive` (thorough where that pays, the default), `fast` or
/// `thorough`; `checkpoint_bytes`, stored bytes after which a crash loses nothing; `suspicious_percent`, from
/// which share of the items before on a loss or a change is reported as suspicious (default 25, above 100 for never).
/// `cancel`, `result`, `problems` and `progress` may be NULL. Several backups of one repository may run at once.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_backup(
    repo: *const backup_repo,
    source: *const backup_source,
    options: *const backup_options,
    cancel: *const backup_cancel,
    result: *mut backup_result,
    problems: *mut *mut backup_problems,
    progress: backup_progress_fn,
    userdata: *mut c_void,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, source, options, cancel) = unsafe {
            (
                door.handle(repo, "repo")?,
                door.handle(source, "source")?,
                door.optional(options, "options")?,
                door.optional(cancel, "cancel")?,
            )
        };
        // SAFETY: the caller keeps the contract of the header.
        let (result, problems) =
            unsafe { (door.optional_fill(result, "result")?, door.optional_output(problems, "problems")?) };
        let mut settings = Settings::of(options);
        let mut run = repo.repository.backup(&*source.source);
        if settings.take_parsed("full")? == Some(true) {
            run = run.full();
        }
        if let Some(bytes) = settings.take_parsed("checkpoint_bytes")? {
            run = run.checkpoint_every(bytes);
        }
        if let Some(percent) = settings.take_parsed("suspicious_percent")? {
            run = run.suspicious_percent(percent);
        }
        if let Some(compression) = settings.take_parsed("compression")? {
            run = run.compression(compression);
        }
        for (name, value) in settings.take_prefixed("label.") {
            run = run.label(name, value);
        }
        settings.finish()?;
        let report = repo.runtime.run(watched!(run, cancel, progress, userdata).run())?;
        if let Some(result) = result {
            let stats = report.stats;
            result.write(backup_result {
                struct_size: 0,
                state: backup_state::from(report.state) as u32,
                items: stats.items,
                bytes: stats.bytes,
                added: stats.added,
                changed: stats.changed,
                removed: stats.removed,
                bytes_read: stats.bytes_read,
                bytes_stored: stats.bytes_stored,
                problems: report.problems.len() as u64,
                snapshot: c_array(&report.snapshot.to_string()),
                suspicions: suspicion_flags(&report.suspicions),
                locks_due: u32::from(report.locks_due),
                previous_items: (stats.items + stats.removed).saturating_sub(stats.added),
                locked_until: backup_time::of(report.locked_until),
            });
        }
        if let Some(problems) = problems {
            problems.give(backup_problems::of_items(&report.problems));
        }
        Ok(())
    })
}

/// Restores a snapshot, named by its id, to a sink.
///
/// `conflict` is a `backup_conflict`. Options (may be NULL): `only` and `except`, any number of glob patterns of paths
/// to restore and to leave out; `undo`, the id of a later snapshot: only what that one has lost or changed is brought back. Items that cannot be restored are no error; the result counts and `problems` names them.
/// `cancel`, `result`, `problems` and `progress` may be NULL.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_restore(
    repo: *const backup_repo,
    snapshot: *const c_char,
    sink: *const backup_sink,
    conflict: u32,
    options: *const backup_options,
    cancel: *const backup_cancel,
    result: *mut backup_restore_result,
    problems: *mut *mut backup_problems,
    progress: backup_progress_fn,
    userdata: *mut c_void,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, snapshot, sink, options, cancel) = unsafe {
            (
                door.handle(repo, "repo")?,
                door.text(snapshot, "snapshot")?,
                door.handle(sink, "sink")?,
                door.optional(options, "options")?,
                door.optional(cancel, "cancel")?,
            )
        };
        // SAFETY: the caller keeps the contract of the header.
        let (result, problems) =
            unsafe { (door.optional_fill(result, "result")?, door.optional_output(problems, "problems")?) };
        let mut settings = Settings::of(options);
        let id: SnapshotId = snapshot.parse()?;
        let mut run =
            repo.repository.restore(id, &*sink.sink).conflict(backup_conflict::from_number(conflict)?);
        for pattern in settings.take_all("only") {
            run = run.only(pattern);
        }
        for pattern in settings.take_all("except") {
            run = run.except(pattern);
        }
        if let Some(later) = settings.take("undo")? {
            run = run.undo(later.parse().map_err(|error: backup_core::Error| error.with_item("undo"))?);
        }
        settings.finish()?;
        let report = repo.runtime.run(watched!(run, cancel, progress, userdata).run())?;
        if let Some(result) = result {
            result.write(backup_restore_result {
                struct_size: 0,
                reserved: 0,
                created: report.created,
                replaced: report.replaced,
                skipped: report.skipped,
                renamed: report.renamed,
                bytes: report.bytes,
                bytes_fetched: report.bytes_fetched,
                problems: report.problems.len() as u64,
            });
        }
        if let Some(problems) = problems {
            problems.give(backup_problems::of_items(&report.problems));
        }
        Ok(())
    })
}

/// Checks the repository. Damage is no error: the result counts and `findings` names it.
///
/// `level` is a `backup_level`. `cancel`, `result`, `findings` and `progress` may be NULL.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_verify(
    repo: *const backup_repo,
    level: u32,
    cancel: *const backup_cancel,
    result: *mut backup_verify_result,
    findings: *mut *mut backup_problems,
    progress: backup_progress_fn,
    userdata: *mut c_void,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, cancel) = unsafe { (door.handle(repo, "repo")?, door.optional(cancel, "cancel")?) };
        // SAFETY: the caller keeps the contract of the header.
        let (result, findings) =
            unsafe { (door.optional_fill(result, "result")?, door.optional_output(findings, "findings")?) };
        let run = repo.repository.verify(backup_level::from_number(level)?);
        let report = repo.runtime.run(watched!(run, cancel, progress, userdata).run())?;
        if let Some(result) = result {
            result.write(backup_verify_result {
                struct_size: 0,
                sound: u32::from(report.is_sound()),
                snapshots: report.snapshots,
                items: report.items,
                chunks: report.chunks,
                packs: report.packs,
                bytes_read: report.bytes_read,
                findings: report.findings.len() as u64,
            });
        }
        if let Some(findings) = findings {
            findings.give(backup_problems::of_findings(&report.findings));
        }
        Ok(())
    })
}

/// Tells what a source's last run has cost so far, by name: requests, retries, milliseconds waited and so on, as the source has them.
/// A folder has none.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_source_metrics(
    source: *const backup_source,
    out: *mut *mut backup_attributes,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (source, out) = unsafe { (door.handle(source, "source")?, door.output(out, "out")?) };
        out.give(backup_attributes::from_core(&source.source.metrics()));
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;
    use std::ptr::{null, null_mut};
    use std::sync::Arc;

    use async_trait::async_trait;
    use backup_core::{Change, Collection, Content, Cursor, Item, Result, Source};
    use futures_core::stream::BoxStream;

    use super::*;
    use crate::*;

    /// A source that breaks its promise in the worst way.
    #[derive(Debug)]
    struct Panicking;

    #[async_trait]
    impl Source for Panicking {
        fn collection(&self) -> Collection {
            Collection::new("panicking", "test")
        }

        fn changes<'a>(&'a self, _since: Option<&'a Cursor>) -> BoxStream<'a, Result<Change>> {
            panic!("source fell over")
        }

        async fn open<'a>(&'a self, _item: &'a Item, _stream: &'a str) -> Result<Content<'a>> {
            unreachable!("it has no items")
        }
    }

    #[test]
    fn a_panic_in_a_run_is_code_99_and_the_repository_is_not_used_again() {
        // SAFETY: all pointers are handles from calls above, or to locals; all are freed once.
        unsafe {
            let (mut runtime, mut credential, mut repo) = (null_mut(), null_mut(), null_mut());
            assert!(backup_runtime_new(1, &raw mut runtime).is_null());
            assert!(backup_credential_raw_key([7; 32].as_ptr(), 32, &raw mut credential).is_null());
            assert!(
                backup_repo_init(runtime, c"memory://".as_ptr(), null(), credential, &raw mut repo).is_null()
            );
            let source = backup_source::new(Arc::new(Panicking));
            let backup = || {
                let (result, problems) = (null_mut(), null_mut());
                backup_repo_backup(
                    repo,
                    &raw const source,
                    null(),
                    null(),
                    result,
                    problems,
                    None,
                    null_mut(),
                )
            };
            let error = backup();
            assert_eq!(backup_error_code(error), 99);
            let text = CStr::from_ptr(backup_error_message(error)).to_str().unwrap();
            assert!(text.contains("source fell over"), "{text}");
            backup_error_free(error);
            for _ in 0..2 {
                let mut list = null_mut();
                let error = backup_repo_snapshots(repo, &raw mut list);
                assert_eq!((backup_error_code(error), list.is_null()), (99, true));
                backup_error_free(error);
            }
            let mut other = null_mut();
            assert!(
                backup_repo_init(runtime, c"memory://".as_ptr(), null(), credential, &raw mut other)
                    .is_null()
            );
            backup_repo_free(other);
            backup_repo_free(repo);
            backup_credential_free(credential);
            backup_runtime_free(runtime);
        }
    }
}
