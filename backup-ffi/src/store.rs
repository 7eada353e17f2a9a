//! Stores as handles, for what works on one beside a repository's own: checks without a key, copies, salvage, probes.

use std::ffi::c_char;
use std::sync::Arc;

use backup_core::Store;
use backup_core::store::{Probe, from_url, probe};

use crate::boundary::{Crossing, Handle, Poison, boundary, release};
use crate::error::backup_error;
use crate::kinds::{backup_contest, backup_effect};
use crate::options::{Settings, backup_options};
use crate::repo::backup_repo;
use crate::runtime::backup_runtime;

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

/// What a store was seen to do. Whatever would put data at risk is an error instead, code 27.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_probe {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// 1 if the store was probed; if it is 0, what follows says nothing.
    pub known: u32,
    /// How creations of one name by two at once end, a `backup_contest`.
    pub contest: u32,
    /// When a listing names what was created before it, a `backup_effect`.
    pub listing: u32,
    /// When a deletion takes effect, a `backup_effect`.
    pub deletion: u32,
    /// 1 if listings say when objects were created, else 0.
    pub tells_time: u32,
}

const _: () = assert!(size_of::<backup_probe>() == 24);

// SAFETY: `repr(C)`, begins with `struct_size`, holds numbers.
unsafe impl Crossing for backup_probe {
    const SIZE_MIN: usize = 24;
}

impl backup_probe {
    fn new(found: Option<&Probe>) -> Self {
        let none = Self { struct_size: 0, known: 0, contest: 0, listing: 0, deletion: 0, tells_time: 0 };
        found.map_or(none, |found| Self {
            struct_size: 0,
            known: 1,
            contest: backup_contest::from(found.contest) as u32,
            listing: backup_effect::from(found.listing) as u32,
            deletion: backup_effect::from(found.deletion) as u32,
            tells_time: u32::from(found.tells_time),
        })
    }
}

/// Opens the store at an address. Costs no request.
///
/// `url` as for backup_repo_init(). Options (may be NULL) are the store's (`aws_region`, `timeout` and so on), which refuses those that it
/// does not know.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_store_open(
    runtime: *const backup_runtime,
    url: *const c_char,
    options: *const backup_options,
    out: *mut *mut backup_store,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (runtime, url) = unsafe { (door.handle(runtime, "runtime")?, door.text(url, "url")?) };
        // SAFETY: the caller keeps the contract of the header.
        let (options, out) = unsafe { (door.optional(options, "options")?, door.output(out, "out")?) };
        let settings = Settings::of(options);
        let store = runtime.shared().run(async { from_url(url, settings.into_rest()) })?;
        out.give(backup_store::new(store));
        Ok(())
    })
}

/// Tries what a store does, and refuses one that is not safe for a repository: code 27. Creates two objects of 5 KB below probe/ and
/// deletes them again; 24 requests. Creating a repository does the same.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_store_probe(
    runtime: *const backup_runtime,
    store: *const backup_store,
    out: *mut backup_probe,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (runtime, store, out) = unsafe {
            (door.handle(runtime, "runtime")?, door.handle(store, "store")?, door.fill(out, "out")?)
        };
        let env = runtime.shared().env();
        let found = runtime.shared().run(probe(&*store.store, &env))?;
        out.write(backup_probe::new(Some(&found)));
        Ok(())
    })
}

/// Fills `out` with what the store was seen to do when this repository was created, or opened with the option `probe`. Costs no request.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_probe(
    repo: *const backup_repo,
    out: *mut backup_probe,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, out) = unsafe { (door.handle(repo, "repo")?, door.fill(out, "out")?) };
        out.write(backup_probe::new(repo.repository.probe()));
        Ok(())
    })
}

/// Frees a store. Operations that have it go on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_store_free(store: *mut backup_store) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(store) }
}
