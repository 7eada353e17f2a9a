//! An item of a snapshot as a handle: what browsing and comparing hand over.

use std::fmt;

use backup_core::Item;

use crate::boundary::{Handle, Poison, boundary, release};
use crate::error::backup_error;
use crate::items::{ItemView, backup_item};

/// An item of a snapshot. Belongs to the caller, and needs neither browser nor repository any more.
pub struct backup_entry {
    poison: Poison,
    view: ItemView<'static>,
}

impl fmt::Debug for backup_entry {
    /// Names and attributes are the embedder's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("backup_entry").finish_non_exhaustive()
    }
}

impl Handle for backup_entry {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

impl backup_entry {
    pub(crate) fn new(item: Item) -> Self {
        Self { poison: Poison::default(), view: ItemView::owned(item) }
    }
}

/// Fills `out` with the item. Sizes of its streams are exact. What `out` points to lives as long as the entry.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_entry_item(
    entry: *const backup_entry,
    out: *mut backup_item,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (entry, out) = unsafe { (door.handle(entry, "entry")?, door.fill(out, "out")?) };
        out.write(entry.view.c());
        Ok(())
    })
}

/// Frees an entry.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_entry_free(entry: *mut backup_entry) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(entry) }
}
