//! Looking into snapshots without restoring them: by path, by id, folder by folder, and into streams at any offset.

use std::ffi::c_char;
use std::sync::{Arc, Mutex, PoisonError};

use backup_core::{Browser, ItemId, Listing, Result};
use futures_util::StreamExt;

use crate::boundary::{Door, Handle, Poison, boundary, release};
use crate::entry::backup_entry;
use crate::error::backup_error;
use crate::info::backup_info;
use crate::repo::backup_repo;
use crate::runtime::Runtime;
use crate::text::backup_text;

/// A read-only view of one snapshot. Keeps what it needs of its repository and runtime.
#[derive(Debug)]
pub struct backup_browser {
    poison: Poison,
    runtime: Arc<Runtime>,
    browser: Browser,
}

/// The items of a folder, a few at a time. Keeps what it needs of its browser.
#[derive(Debug)]
pub struct backup_listing {
    poison: Poison,
    runtime: Arc<Runtime>,
    listing: Mutex<Listing>,
}

impl Handle for backup_browser {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

impl Handle for backup_listing {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

/// # Safety
/// `id` is NULL or points to `len` bytes.
unsafe fn item_id(door: &Door<'_>, id: *const u8, len: usize) -> Result<ItemId> {
    // SAFETY: the same promise.
    unsafe { door.bytes(id, len, "id") }.map(ItemId::from)
}

/// Looks into a snapshot, named by its id, without restoring it. One request.
///
/// Paths are names joined by '/', and begin below the top: a collection with a single top item that is a folder has it as "", one
/// with several top items begins with their names.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_browse(
    repo: *const backup_repo,
    snapshot: *const c_char,
    out: *mut *mut backup_browser,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (repo, snapshot, out) = unsafe {
            (door.handle(repo, "repo")?, door.text(snapshot, "snapshot")?, door.output(out, "out")?)
        };
        let browser = repo.runtime.run(repo.repository.browse(snapshot.parse()?))?;
        out.give(backup_browser { poison: Poison::default(), runtime: Arc::clone(&repo.runtime), browser });
        Ok(())
    })
}

/// Tells what the snapshot says of itself. Costs no request.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_browser_info(
    browser: *const backup_browser,
    out: *mut *mut backup_info,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (browser, out) = unsafe { (door.handle(browser, "browser")?, door.output(out, "out")?) };
        out.give(backup_info::new(browser.browser.info()));
        Ok(())
    })
}

/// Gives the item at a path; of several with the same name, the one with the smallest id. Code 10 if there is none.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_browser_stat(
    browser: *const backup_browser,
    path: *const c_char,
    out: *mut *mut backup_entry,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (browser, path, out) =
            unsafe { (door.handle(browser, "browser")?, door.text(path, "path")?, door.output(out, "out")?) };
        out.give(backup_entry::new(browser.runtime.run(browser.browser.stat(path))?));
        Ok(())
    })
}

/// Gives the item with this id. Code 10 if there is none.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_browser_item(
    browser: *const backup_browser,
    id: *const u8,
    id_len: usize,
    out: *mut *mut backup_entry,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (browser, id, out) = unsafe {
            (door.handle(browser, "browser")?, item_id(door, id, id_len)?, door.output(out, "out")?)
        };
        out.give(backup_entry::new(browser.runtime.run(browser.browser.item(&id))?));
        Ok(())
    })
}

/// Begins a listing of what a folder holds, in bytewise order of names. Holds 256 items in memory at most, however many there are.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_browser_list(
    browser: *const backup_browser,
    path: *const c_char,
    out: *mut *mut backup_listing,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (browser, path, out) =
            unsafe { (door.handle(browser, "browser")?, door.text(path, "path")?, door.output(out, "out")?) };
        let listing = Mutex::new(browser.runtime.run(browser.browser.list(path))?);
        out.give(backup_listing {
            poison: Poison::default(),
            runtime: Arc::clone(&browser.runtime),
            listing,
        });
        Ok(())
    })
}

/// The same for what lies below the item with this id; without one (a length of 0), the top items.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_browser_list_below(
    browser: *const backup_browser,
    id: *const u8,
    id_len: usize,
    out: *mut *mut backup_listing,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (browser, id, out) = unsafe {
            (door.handle(browser, "browser")?, item_id(door, id, id_len)?, door.output(out, "out")?)
        };
        let id = (!id.is_empty()).then_some(id);
        let listing = Mutex::new(browser.runtime.run(browser.browser.list_below(id.as_ref()))?);
        out.give(backup_listing {
            poison: Poison::default(),
            runtime: Arc::clone(&browser.runtime),
            listing,
        });
        Ok(())
    })
}

/// Gives the path of the item with this id, for people: what is not UTF-8 in names is shown as \xNN.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_browser_path(
    browser: *const backup_browser,
    id: *const u8,
    id_len: usize,
    out: *mut *mut backup_text,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (browser, id, out) = unsafe {
            (door.handle(browser, "browser")?, item_id(door, id, id_len)?, door.output(out, "out")?)
        };
        out.give(backup_text::new(&browser.runtime.run(browser.browser.path(&id))?));
        Ok(())
    })
}

/// Reads bytes of a stream ("content" of a file) from `offset` on into `buffer`, and tells in `bytes_read` how many: fewer than
/// `buffer_len` only at the end of the stream, 0 from there on.
///
/// Fetches only what the range touches. Whoever reads a stream from beginning to end does well to ask for 1 MiB or more at a time, or to
/// restore it. After an error the buffer's content has no meaning. Several threads may read at once.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_browser_read(
    browser: *const backup_browser,
    id: *const u8,
    id_len: usize,
    stream: *const c_char,
    offset: u64,
    buffer: *mut u8,
    buffer_len: usize,
    bytes_read: *mut u64,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (browser, id, stream) = unsafe {
            (door.handle(browser, "browser")?, item_id(door, id, id_len)?, door.text(stream, "stream")?)
        };
        // SAFETY: the caller keeps the contract of the header.
        let (buffer, bytes_read) =
            unsafe { (door.buffer(buffer, buffer_len, "buffer")?, door.number(bytes_read, "bytes_read")?) };
        let wanted = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        browser.runtime.run(async {
            let len = browser.browser.read(&id, stream, None).await?.size.unwrap_or(0);
            let range = offset.min(len)..offset.saturating_add(wanted).min(len);
            if !range.is_empty() {
                let mut content = browser.browser.read(&id, stream, Some(range)).await?;
                while let Some(piece) = content.bytes.next().await {
                    buffer.write(&piece?);
                }
            }
            Ok(())
        })?;
        bytes_read.write(buffer.written() as u64);
        Ok(())
    })
}

/// Frees a browser.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_browser_free(browser: *mut backup_browser) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(browser) }
}

/// Gives the next item of a listing, NULL if there is none any more. After an error the same call may be tried again.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_listing_next(
    listing: *mut backup_listing,
    out: *mut *mut backup_entry,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (listing, out) = unsafe { (door.handle(listing, "listing")?, door.output(out, "out")?) };
        let mut items = listing.listing.lock().unwrap_or_else(PoisonError::into_inner);
        match listing.runtime.run(items.next())? {
            Some(item) => out.give(backup_entry::new(item)),
            None => out.give_none(),
        }
        Ok(())
    })
}

/// Frees a listing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_listing_free(listing: *mut backup_listing) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(listing) }
}
