//! Parity over what is stored, and the check that mends with it and needs no secret.

use std::ffi::{CString, c_char, c_void};

use backup_core::{Damage, Error, ErrorKind, PublicKey, scrub};

use crate::boundary::{Crossing, Handle, Poison, boundary, query, release};
use crate::error::{backup_error, c_text};
use crate::kinds::backup_repair;
use crate::options::{Settings, backup_options};
use crate::problems::backup_problems;
use crate::progress::{backup_cancel, backup_progress_fn, watched};
use crate::repo::backup_repo;
use crate::runtime::backup_runtime;
use crate::store::backup_store;
use crate::text::backup_text;

/// A list of damaged objects.
#[derive(Debug)]
pub struct backup_damages {
    poison: Poison,
    entries: Vec<(CString, Damage)>,
}

impl Handle for backup_damages {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

/// What is protected now.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_parity_result {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Objects that parity protects now.
    pub objects: u64,
    /// Sets of parity that there are now.
    pub sets: u64,
    /// Sets that this run has made.
    pub new_sets: u64,
    /// Bytes of their parity.
    pub new_bytes: u64,
    /// Sets that were given up: what they protected is gone, or in another set now.
    pub dropped_sets: u64,
    /// Objects that are not what they should be. They are in no set.
    pub findings: u64,
}

/// What a scrub found and did.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_scrub_result {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// 1 if everything that is protected is what it was, now; else 0.
    pub sound: u32,
    /// Sets of parity that were checked.
    pub sets: u64,
    /// Objects that they protect.
    pub objects: u64,
    /// Objects of the repository that are listed and that no set protects.
    pub unprotected_objects: u64,
    /// Bytes read for the check; repairs read more.
    pub bytes_read: u64,
    /// Damaged objects, repaired or not.
    pub damages: u64,
    /// Sets that do not open, and repairs that failed.
    pub findings: u64,
}

/// One damaged object. The text lives as long as the list.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_damage {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// 1 if it is not there at all, else 0.
    pub missing: u32,
    /// How many of its blocks of 64 KiB are damaged; 0 if it is only longer than it was.
    pub bad_blocks: u64,
    /// How many blocks it has.
    pub blocks: u64,
    /// What became of it, a `backup_repair`.
    pub repair: u32,
    /// 0.
    pub reserved: u32,
    /// Its name in the store.
    pub object: *const c_char,
}

const _: () = assert!(size_of::<backup_parity_result>() == 56);
const _: () = assert!(size_of::<backup_scrub_result>() == 56);
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<backup_damage>() == 40);

// SAFETY: `repr(C)`, begins with `struct_size`, holds numbers.
unsafe impl Crossing for backup_parity_result {
    const SIZE_MIN: usize = 56;
}

// SAFETY: `repr(C)`, begins with `struct_size`, holds numbers.
unsafe impl Crossing for backup_scrub_result {
    const SIZE_MIN: usize = 56;
}

// SAFETY: `repr(C)`, begins with `struct_size`, holds numbers and a pointer.
unsafe impl Crossing for backup_damage {
    const SIZE_MIN: usize = 32 + size_of::<*const c_char>();
}

/// Adds Reed-Solomon parity for all objects that have none yet, so that a scrub finds and mends damage. Run it after backups and prunes;
/// it may run beside either.
///
/// Options (may be NULL): `parity` (1 to 32) and `members` (1 to 255), which go together: so many parity objects for every so many objects; 2
/// for 20 unless told otherwise. Reads what has no parity yet, once. `cancel`, `result`, `findings` and `progress` may be NULL.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_add_parity(
    repo: *const backup_repo,
    options: *const backup_options,
    cancel: *const backup_cancel,
    result: *mut backup_parity_result,
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
        let (parity, members) = (settings.take_parsed("parity")?, settings.take_parsed("members")?);
        settings.finish()?;
        let mut run = repo.repository.add_parity();
        match (parity, members) {
            (Some(parity), Some(members)) => run = run.redundancy(parity, members),
            (None, None) => {}
            _ => {
                let message = "options `parity` and `members` go together";
                return Err(Error::new(ErrorKind::InvalidArgument, message));
            }
        }
        let report = repo.runtime.run(watched!(run, cancel, progress, userdata).run())?;
        if let Some(result) = result {
            result.write(backup_parity_result {
                struct_size: 0,
                reserved: 0,
                objects: report.objects,
                sets: report.sets,
                new_sets: report.new_sets,
                new_bytes: report.new_bytes,
                dropped_sets: report.dropped_sets,
                findings: report.findings.len() as u64,
            });
        }
        if let Some(findings) = findings {
            findings.give(backup_problems::of_findings(&report.findings));
        }
        Ok(())
    })
}

/// Gives what the repository's signatures are checked with, as hexadecimal text: all that a scrub needs. No secret.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_public_key(
    repo: *const backup_repo,
    out: *mut *mut backup_text,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, out) = unsafe { (door.handle(repo, "repo")?, door.output(out, "out")?) };
        out.give(backup_text::new(&repo.repository.public_key()?.to_string()));
        Ok(())
    })
}

/// Checks everything that parity protects in a store, and mends it on request, without any secret. Damage is no error: the result counts
/// and `damages` names it.
///
/// `public_key` is a text from backup_repo_public_key(); nothing that it did not sign is believed. Options (may be NULL): `repair` (true, false),
/// put what can be computed in the place of what is damaged; two repairs of one store must not run at once. `cancel`, `result`, `damages`,
/// `findings` (sets that do not open, repairs that failed) and `progress` may be NULL.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_store_scrub(
    runtime: *const backup_runtime,
    store: *const backup_store,
    public_key: *const c_char,
    options: *const backup_options,
    cancel: *const backup_cancel,
    result: *mut backup_scrub_result,
    damages: *mut *mut backup_damages,
    findings: *mut *mut backup_problems,
    progress: backup_progress_fn,
    userdata: *mut c_void,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (runtime, store, key, options, cancel) = unsafe {
            (
                door.handle(runtime, "runtime")?,
                door.handle(store, "store")?,
                door.text(public_key, "public_key")?,
                door.optional(options, "options")?,
                door.optional(cancel, "cancel")?,
            )
        };
        // SAFETY: the caller keeps the contract of the header.
        let (result, damages, findings) = unsafe {
            (
                door.optional_fill(result, "result")?,
                door.optional_output(damages, "damages")?,
                door.optional_output(findings, "findings")?,
            )
        };
        let mut settings = Settings::of(options);
        let repair = settings.take_parsed("repair")? == Some(true);
        settings.finish()?;
        let key: PublicKey = key.parse()?;
        let env = runtime.shared().env();
        let mut run = scrub(&*store.store, key, &env);
        if repair {
            run = run.repair();
        }
        let report = runtime.shared().run(watched!(run, cancel, progress, userdata).run())?;
        if let Some(result) = result {
            result.write(backup_scrub_result {
                struct_size: 0,
                sound: u32::from(report.is_sound()),
                sets: report.sets,
                objects: report.objects,
                unprotected_objects: report.unprotected_objects,
                bytes_read: report.bytes_read,
                damages: report.damage.len() as u64,
                findings: report.findings.len() as u64,
            });
        }
        if let Some(findings) = findings {
            findings.give(backup_problems::of_findings(&report.findings));
        }
        if let Some(damages) = damages {
            let entries = report.damage.into_iter().map(|damage| (c_text(&damage.object), damage)).collect();
            damages.give(backup_damages { poison: Poison::default(), entries });
        }
        Ok(())
    })
}

/// How many damaged objects there are. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_damages_count(damages: *const backup_damages) -> u64 {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { query(damages, 0, |damages| damages.entries.len() as u64) }
}

/// Fills `out` with the damaged object of this number, the first being 0.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_damages_at(
    damages: *const backup_damages,
    index: u64,
    out: *mut backup_damage,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (damages, out) = unsafe { (door.handle(damages, "damages")?, door.fill(out, "out")?) };
        let entry = usize::try_from(index).ok().and_then(|index| damages.entries.get(index));
        let (object, damage) =
            entry.ok_or_else(|| Error::new(ErrorKind::NotFound, "there are not so many damaged objects"))?;
        out.write(backup_damage {
            struct_size: 0,
            missing: u32::from(damage.missing),
            bad_blocks: damage.bad_blocks,
            blocks: damage.blocks,
            repair: backup_repair::from(damage.repair) as u32,
            reserved: 0,
            object: object.as_ptr(),
        });
        Ok(())
    })
}

/// Frees a list of damaged objects.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_damages_free(damages: *mut backup_damages) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(damages) }
}
