//! Own stores.

use std::ffi::{c_char, c_void};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use backup_core::{Created, Entry, Error, ErrorKind, Key, Result, Store, Timestamp};
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};

use super::calls::{self, Owned, Refusals, outcome, required};
use super::reader::backup_reader;
use crate::boundary::{Handle, Incoming, Poison, boundary};
use crate::error::{backup_error, c_text};
use crate::options::backup_options;
use crate::repo::{Mode, backup_credential, backup_repo, open_store};
use crate::runtime::backup_runtime;
use crate::store::backup_store;

/// The length of a range that goes to the end of an object.
pub const BACKUP_WHOLE: u64 = 0xFFFF_FFFF_FFFF_FFFF;

/// Longest object that is read whole, in bytes: docs/format.md has the bound of a pack, and nothing is longer.
const OBJECT_BYTES_MAX: usize = 1 << 30;
/// Most entries of one listing, which is kept in memory: more than a repository of a petabyte has.
const ENTRIES_MAX: usize = 100_000_000;

/// The functions of an own store: a flat map from names to bytes that never change. Each may block, and is called on threads of the
/// library's that may, on several at once. An error that a function returns belongs to the library; NULL is success. What it is given
/// lives as long as the call. Names have segments of a-z, 0-9, -, _ and . joined by /.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_store_vtable {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Creates an object if the name is free, atomically: of several calls for one name exactly one sets `out_created` to 1, the others
    /// to 0 and change nothing. When it returns, the bytes survive a power loss; before, no reader sees any.
    pub create: Option<
        unsafe extern "C" fn(
            object: *mut c_void,
            key: *const c_char,
            bytes: *const u8,
            bytes_len: usize,
            out_created: *mut u32,
        ) -> *mut backup_error,
    >,
    /// Pushes `len` bytes from `offset` on with backup_reader_push(), or the whole object if `len` is BACKUP_WHOLE (`offset` is 0 then).
    /// Not found if there is none; invalid argument for a range outside it.
    pub read: Option<
        unsafe extern "C" fn(
            object: *mut c_void,
            key: *const c_char,
            offset: u64,
            len: u64,
            out: *mut backup_reader,
        ) -> *mut backup_error,
    >,
    /// The length of an object in bytes. Not found if there is none.
    pub size: Option<
        unsafe extern "C" fn(
            object: *mut c_void,
            key: *const c_char,
            out_size: *mut u64,
        ) -> *mut backup_error,
    >,
    /// Names, with backup_entries_add(), the objects whose name is `prefix` or begins with `prefix` and a /, in any order.
    pub list: Option<
        unsafe extern "C" fn(
            object: *mut c_void,
            prefix: *const c_char,
            out: *mut backup_entries,
        ) -> *mut backup_error,
    >,
    /// Deletes an object; one that is not there is fine.
    pub remove: Option<unsafe extern "C" fn(object: *mut c_void, key: *const c_char) -> *mut backup_error>,
    /// May be NULL. Frees `object`: the last call there is, on any thread, once the handle and all repositories in the store are freed and
    /// no other call is under way.
    pub release: Option<unsafe extern "C" fn(object: *mut c_void)>,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<backup_store_vtable>() == 56);

// SAFETY: `repr(C)`, begins with `struct_size`; functions that are zero are NULL.
unsafe impl Incoming for backup_store_vtable {
    const SIZE_MIN: usize = size_of::<Self>();
}

/// Where an own store names objects. Lives as long as the call that it was given to.
#[derive(Debug, Default)]
pub struct backup_entries {
    poison: Poison,
    refusals: Refusals,
    entries: Mutex<Vec<Entry>>,
}

impl Handle for backup_entries {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

/// Names an object, its length in bytes, and when it was created in seconds since 1970-01-01T00:00:00Z by the store's clock (0: not
/// known). What is refused fails the listing, also if the function goes on.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_entries_add(
    entries: *const backup_entries,
    key: *const c_char,
    size: u64,
    modified_seconds: i64,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let entries = unsafe { door.handle(entries, "entries")? };
        // SAFETY: the caller keeps the contract of the header.
        let key = unsafe { door.text(key, "key") }.and_then(Key::new);
        let entry = Entry::new(entries.refusals.note(key)?, size);
        let entry = match modified_seconds {
            0 => entry,
            seconds => entry.with_modified(Timestamp::new(seconds, 0)),
        };
        let mut all = entries.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= ENTRIES_MAX {
            let endless = Error::new(ErrorKind::Extension, "the store's listing does not end");
            return entries.refusals.note(Err(endless));
        }
        all.push(entry);
        Ok(())
    })
}

type Functions = Owned<backup_store_vtable>;

/// An own store as the engine sees it.
struct OwnStore {
    functions: Arc<Functions>,
}

impl fmt::Debug for OwnStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnStore").field("functions", &self.functions).finish_non_exhaustive()
    }
}

impl OwnStore {
    /// Runs a call that concerns an object.
    async fn call<T: Send + 'static>(
        &self,
        key: &Key,
        call: impl FnOnce(&Functions, *const c_char) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (functions, key) = (Arc::clone(&self.functions), c_text(key.as_str()));
        calls::spawn(move || call(&functions, key.as_ptr())).await
    }
}

fn broken(message: impl Into<String>, key: &Key) -> Error {
    Error::new(ErrorKind::Extension, message).with_item(key.as_str())
}

#[async_trait]
impl Store for OwnStore {
    async fn create(&self, key: &Key, data: Bytes) -> Result<Created> {
        let created = self.call(key, move |functions, key| {
            let create = required(functions.table.create, "create")?;
            let mut created = u32::MAX;
            // SAFETY: the function and its object belong together, and what is given lives through the call.
            unsafe {
                outcome(create(functions.object(), key, data.as_ptr(), data.len(), &raw mut created))?;
            }
            Ok(created)
        });
        match created.await? {
            0 => Ok(Created::AlreadyPresent),
            1 => Ok(Created::New),
            _ => Err(broken("the store does not say whether it created the object", key)),
        }
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        let (offset, len) = match &range {
            None => (0, BACKUP_WHOLE),
            Some(range) if range.start > range.end || range.end - range.start > OBJECT_BYTES_MAX as u64 => {
                return Err(Error::new(ErrorKind::InvalidArgument, "range is none").with_item(key.as_str()));
            }
            Some(range) => (range.start, range.end - range.start),
        };
        let max = if range.is_some() { usize::try_from(len).unwrap_or(0) } else { OBJECT_BYTES_MAX };
        let bytes = self.call(key, move |functions, key| {
            let read = required(functions.table.read, "read")?;
            let mut out = backup_reader::collecting(max);
            // SAFETY: the function and its object belong together, and what is given lives through the call.
            let result = unsafe { outcome(read(functions.object(), key, offset, len, &raw mut out)) };
            out.finish(result)
        });
        let bytes = bytes.await?;
        if range.is_some() && bytes.len() < max {
            let message = format!("the store gave {} bytes of the {max} that were asked for", bytes.len());
            return Err(broken(message, key));
        }
        Ok(bytes)
    }

    async fn size(&self, key: &Key) -> Result<u64> {
        let size = self.call(key, |functions, key| {
            let size = required(functions.table.size, "size")?;
            let mut out = u64::MAX;
            // SAFETY: the function and its object belong together, and what is given lives through the call.
            unsafe { outcome(size(functions.object(), key, &raw mut out))? };
            Ok(out)
        });
        match size.await? {
            u64::MAX => Err(broken("the store does not say how long the object is", key)),
            size => Ok(size),
        }
    }

    fn list<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, Result<Entry>> {
        let listing = self.call(prefix, |functions, prefix| {
            let list = required(functions.table.list, "list")?;
            let mut out = backup_entries::default();
            // SAFETY: the function and its object belong together, and what is given lives through the call.
            let result = unsafe { outcome(list(functions.object(), prefix, &raw mut out)) };
            out.refusals.judge(result)?;
            Ok(out.entries.into_inner().unwrap_or_else(PoisonError::into_inner))
        });
        let entries = stream::once(async {
            match listing.await {
                Ok(entries) => entries.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            }
        });
        entries.flat_map(stream::iter).boxed()
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.call(key, |functions, key| {
            let remove = required(functions.table.remove, "remove")?;
            // SAFETY: the function and its object belong together, and what is given lives through the call.
            unsafe { outcome(remove(functions.object(), key)) }
        })
        .await
    }
}

/// Makes a store of functions of your own: `object` is what they are called with. All functions but `release` are needed. Whether they
/// keep the promises that safety needs is tried when a repository is created. If the call fails, `object` stays the caller's and is not
/// released.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_store_new(
    vtable: *const backup_store_vtable,
    object: *mut c_void,
    out: *mut *mut backup_store,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (table, out) = unsafe { (door.take(vtable, "vtable")?, door.output(out, "out")?) };
        required(table.create, "create")?;
        required(table.read, "read")?;
        required(table.size, "size")?;
        required(table.list, "list")?;
        required(table.remove, "remove")?;
        let functions = Arc::new(Owned::new(table, object, table.release));
        out.give(backup_store::new(Arc::new(OwnStore { functions })));
        Ok(())
    })
}

/// Creates a repository in a store and opens it. Options as for backup_repo_init(), but for those of its stores.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_init_store(
    runtime: *const backup_runtime,
    store: *const backup_store,
    options: *const backup_options,
    credential: *const backup_credential,
    out: *mut *mut backup_repo,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        unsafe { open_store(door, runtime, store, options, credential, out, Mode::Init) }
    })
}

/// Opens a repository in a store. Options as for backup_repo_open(), but for those of its stores.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_repo_open_store(
    runtime: *const backup_runtime,
    store: *const backup_store,
    options: *const backup_options,
    credential: *const backup_credential,
    out: *mut *mut backup_repo,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        unsafe { open_store(door, runtime, store, options, credential, out, Mode::Open) }
    })
}
