//! Key slots: the passphrases and keys that open a repository.

use std::ffi::c_char;

use backup_core::{Error, ErrorKind, KeySlot, ObjectId};

use crate::boundary::{Crossing, Handle, Poison, boundary, query, release};
use crate::error::backup_error;
use crate::options::{Settings, backup_options};
use crate::repo::{backup_credential, backup_repo, c_array, kdf};
use crate::text::backup_text;

/// A list of key slots as they were when it was made.
#[derive(Debug)]
pub struct backup_keys {
    poison: Poison,
    slots: Vec<KeySlot>,
}

impl Handle for backup_keys {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

/// One key slot.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_key {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Its length in bytes.
    pub size: u64,
    /// Its id, NUL-terminated.
    pub id: [c_char; 40],
}

const _: () = assert!(size_of::<backup_key>() == 56);

// SAFETY: `repr(C)`, begins with `struct_size`, holds numbers and an array of them.
unsafe impl Crossing for backup_key {
    const SIZE_MIN: usize = 56;
}

/// Lists the key slots in order of their ids. One listing of the store.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_keys(
    repo: *const backup_repo,
    out: *mut *mut backup_keys,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, out) = unsafe { (door.handle(repo, "repo")?, door.output(out, "out")?) };
        let slots = repo.runtime.run(repo.repository.keys())?;
        out.give(backup_keys { poison: Poison::default(), slots });
        Ok(())
    })
}

/// Lets another passphrase or key open the repository too. `out` (may be NULL) gets the id of its slot.
///
/// Options (may be NULL): `kdf_memory_kib`, `kdf_passes`, `kdf_lanes`, the cost of stretching a passphrase. To change a passphrase, add the new
/// one, then remove the old one's slot. What is stored stays as it is: whoever has copied slot and passphrase before can still open it.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_add_key(
    repo: *const backup_repo,
    credential: *const backup_credential,
    options: *const backup_options,
    out: *mut *mut backup_text,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, credential) =
            unsafe { (door.handle(repo, "repo")?, door.handle(credential, "credential")?) };
        // SAFETY: the caller keeps the contract of the header.
        let (options, out) =
            unsafe { (door.optional(options, "options")?, door.optional_output(out, "out")?) };
        let mut settings = Settings::of(options);
        let kdf = kdf(&mut settings)?;
        settings.finish()?;
        let id = repo.runtime.run(repo.repository.add_key(&credential.credential, kdf))?;
        if let Some(out) = out {
            out.give(backup_text::new(&id.to_string()));
        }
        Ok(())
    })
}

/// Takes a key slot, named by its id, away. Clients that have the repository open keep it open. The last slot stays: code 1.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_remove_key(
    repo: *const backup_repo,
    id: *const c_char,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, id) = unsafe { (door.handle(repo, "repo")?, door.text(id, "id")?) };
        let id: ObjectId = id.parse()?;
        repo.runtime.run(repo.repository.remove_key(id))
    })
}

/// How many key slots there are. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_keys_count(keys: *const backup_keys) -> u64 {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { query(keys, 0, |keys| keys.slots.len() as u64) }
}

/// Fills `out` with the key slot of this number, the first being 0.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_keys_at(
    keys: *const backup_keys,
    index: u64,
    out: *mut backup_key,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (keys, out) = unsafe { (door.handle(keys, "keys")?, door.fill(out, "out")?) };
        let slot = usize::try_from(index).ok().and_then(|index| keys.slots.get(index));
        let slot = slot.ok_or_else(|| Error::new(ErrorKind::NotFound, "there are not so many key slots"))?;
        let id = c_array(&slot.id.to_string());
        out.write(backup_key { struct_size: 0, reserved: 0, size: slot.size, id });
        Ok(())
    })
}

/// Frees a list of key slots.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_keys_free(keys: *mut backup_keys) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(keys) }
}
