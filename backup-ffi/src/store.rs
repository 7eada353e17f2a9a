//! Stores as handles.

use std::sync::Arc;

use backup_core::Store;

use crate::boundary::{Handle, Poison, release};

/// A place that holds named bytes.
#[derive(Debug)]
pub struct backup_store {
    poison: Poison,
    pub(crate) store: Arc<dyn Store>,
}

impl Handle for backup_store {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

impl backup_store {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { poison: Poison::default(), store }
    }
}

/// Frees a store. Operations that have it go on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_store_free(store: *mut backup_store) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(store) }
}
