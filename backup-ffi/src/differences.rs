//! What differs between two snapshots, item by item.

use std::ffi::c_char;
use std::sync::{Arc, Mutex, PoisonError};

use backup_core::{Difference, Differences, Item};

use crate::boundary::{Handle, Output, Poison, boundary, release};
use crate::entry::backup_entry;
use crate::error::backup_error;
use crate::kinds::backup_difference;
use crate::repo::backup_repo;
use crate::runtime::Runtime;

/// The differences between two snapshots, one at a time. Keeps what it needs of its repository and runtime.
#[derive(Debug)]
pub struct backup_differences {
    poison: Poison,
    runtime: Arc<Runtime>,
    differences: Mutex<Differences>,
}

impl Handle for backup_differences {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

/// Begins a comparison of two snapshots, named by their ids. Reads only what differs, as it is asked for.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_diff(
    repo: *const backup_repo,
    before: *const c_char,
    after: *const c_char,
    out: *mut *mut backup_differences,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, before) = unsafe { (door.handle(repo, "repo")?, door.text(before, "before")?) };
        // SAFETY: the caller keeps the contract of the header.
        let (after, out) = unsafe { (door.text(after, "after")?, door.output(out, "out")?) };
        let differences =
            Mutex::new(repo.runtime.run(repo.repository.diff(before.parse()?, after.parse()?))?);
        let runtime = Arc::clone(&repo.runtime);
        out.give(backup_differences { poison: Poison::default(), runtime, differences });
        Ok(())
    })
}

/// Gives the next difference, in order of item ids.
///
/// `kind` gets a `backup_difference`, BACKUP_DIFFERENCE_END if there is none any more. `before` and `after` (may be NULL) get the item
/// as the earlier and the later snapshot have it, and NULL where that one does not have it. After an error the comparison is over.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_differences_next(
    differences: *mut backup_differences,
    kind: *mut u32,
    before: *mut *mut backup_entry,
    after: *mut *mut backup_entry,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (differences, kind) =
            unsafe { (door.handle(differences, "differences")?, door.number(kind, "kind")?) };
        // SAFETY: the caller keeps the contract of the header.
        let (before, after) =
            unsafe { (door.optional_output(before, "before")?, door.optional_output(after, "after")?) };
        let mut all = differences.differences.lock().unwrap_or_else(PoisonError::into_inner);
        let (found, old, new) = match differences.runtime.run(all.next())? {
            None => (backup_difference::End, None, None),
            Some(Difference::Added(item)) => (backup_difference::Added, None, Some(item)),
            Some(Difference::Removed(item)) => (backup_difference::Removed, Some(item), None),
            Some(Difference::Changed { before, after, content: false }) => {
                (backup_difference::Changed, Some(before), Some(after))
            }
            Some(Difference::Changed { before, after, .. }) => {
                (backup_difference::Content, Some(before), Some(after))
            }
            Some(_) => (backup_difference::Other, None, None),
        };
        kind.write(found as u32);
        hand_over(before, old);
        hand_over(after, new);
        Ok(())
    })
}

fn hand_over(place: Option<Output<backup_entry>>, item: Option<Box<Item>>) {
    match (place, item) {
        (Some(place), Some(item)) => place.give(backup_entry::new(*item)),
        (Some(place), None) => place.give_none(),
        (None, _) => {}
    }
}

/// Frees a comparison.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_differences_free(differences: *mut backup_differences) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(differences) }
}
