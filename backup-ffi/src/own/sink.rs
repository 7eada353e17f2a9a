//! Own sinks.

use std::ffi::{c_char, c_void};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use backup_core::{Contents, Error, ErrorKind, Item, Place, Placed, Placement, Result, Sink};

use super::calls::{self, Owned, Refusals, outcome, required};
use super::contents::backup_contents;
use super::source::take_concurrency;
use crate::boundary::{Handle, Incoming, Poison, boundary};
use crate::error::backup_error;
use crate::folder::backup_sink;
use crate::items::{ItemView, backup_bytes, backup_item};
use crate::kinds::{backup_action, number_of_conflict};
use crate::options::{Settings, backup_options};

/// Longest name that a sink may give to what it has put, in bytes: the engine keeps one for each open folder.
const PLACED_BYTES_MAX: usize = 65_536;

/// Where and how an item is to be put.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_place {
    /// Size of this struct in the library.
    pub struct_size: u32,
    /// What to do if the name is taken, a `backup_conflict`; 0, leaving what is there, also for what a later version may add.
    pub conflict: u32,
    /// What the sink called the containing item; `bytes` is NULL at the top of the restore.
    pub parent: backup_bytes,
    /// For a further hard link: what the sink called the item that it is one of; otherwise `bytes` is NULL.
    pub link: backup_bytes,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<backup_place>() == 40);

/// The functions of an own sink. Each may block, and is called on threads of the library's that may, also on several at once if the sink
/// asks for that. An error that a function returns belongs to the library; NULL is success. What it is given lives as long as the call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_sink_vtable {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Creates the item with its streams, parents before children, and says with backup_placement_set() what became of it. An item whose
    /// content fails must leave nothing under its name. A container that is there already is entered, whatever `conflict` says. Errors
    /// concern this item and what is below it; canceled, out of space and unauthenticated end the restore.
    pub put: Option<
        unsafe extern "C" fn(
            object: *mut c_void,
            item: *const backup_item,
            place: *const backup_place,
            contents: *const backup_contents,
            out: *mut backup_placement,
        ) -> *mut backup_error,
    >,
    /// May be NULL. Everything below this container was put: the moment to set its times. `placed` is what the sink called it.
    pub close: Option<
        unsafe extern "C" fn(
            object: *mut c_void,
            item: *const backup_item,
            placed: backup_bytes,
        ) -> *mut backup_error,
    >,
    /// May be NULL. Everything was put. What was acknowledged is durable when this returns.
    pub finish: Option<unsafe extern "C" fn(object: *mut c_void) -> *mut backup_error>,
    /// May be NULL. Frees `object`: the last call there is, on any thread, once the handle is freed and no other call is under way.
    pub release: Option<unsafe extern "C" fn(object: *mut c_void)>,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<backup_sink_vtable>() == 40);

// SAFETY: `repr(C)`, begins with `struct_size`; functions that are zero are NULL.
unsafe impl Incoming for backup_sink_vtable {
    const SIZE_MIN: usize = size_of::<Self>();
}

/// Where an own sink says what became of an item. Lives as long as the call that it was given to.
#[derive(Debug, Default)]
pub struct backup_placement {
    poison: Poison,
    refusals: Refusals,
    said: Mutex<(Option<Placement>, Vec<Error>)>,
}

impl Handle for backup_placement {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

impl backup_placement {
    fn lock(&self) -> std::sync::MutexGuard<'_, (Option<Placement>, Vec<Error>)> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, outcome: Result<()>) -> Result<Placement> {
        self.refusals.judge(outcome)?;
        let (placement, problems) = std::mem::take(&mut *self.lock());
        let silent = || Error::new(ErrorKind::Extension, "the sink does not say what became of the item");
        Ok(problems.into_iter().fold(placement.ok_or_else(silent)?, Placement::with_problem))
    }
}

/// Says what became of the item: `action` is a `backup_action`; `placed` is what the sink calls it (an id, a path; at most 64 KiB), which it
/// is told again for what is below the item. The last call counts.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_placement_set(
    placement: *const backup_placement,
    action: u32,
    placed: *const u8,
    placed_len: usize,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let placement = unsafe { door.handle(placement, "placement")? };
        let said = || {
            let action = backup_action::from_number(action)?;
            // SAFETY: the caller keeps the contract of the header.
            let placed = unsafe { door.bytes(placed, placed_len, "placed") }?;
            if placed.len() > PLACED_BYTES_MAX {
                return Err(Error::new(
                    ErrorKind::InvalidArgument,
                    "argument `placed` is longer than 64 KiB",
                ));
            }
            Ok(Placement::new(placed.to_vec(), action))
        };
        placement.lock().0 = Some(placement.refusals.note(said())?);
        Ok(())
    })
}

/// Names something that could not be restored of an item that was placed all the same: `code` is a `backup_code`, `message` one line. The
/// restore's result lists it.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_placement_problem(
    placement: *const backup_placement,
    code: u32,
    message: *const c_char,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let placement = unsafe { door.handle(placement, "placement")? };
        // SAFETY: the caller keeps the contract of the header; the new error belongs to nobody else.
        let problem = unsafe {
            placement.refusals.note(door.text(message, "message"))?;
            backup_error::take(crate::backup_error_new(code, message, std::ptr::null(), 0))
        };
        placement.lock().1.extend(problem);
        Ok(())
    })
}

type Functions = Owned<backup_sink_vtable>;

/// An own sink as the engine sees it.
struct OwnSink {
    functions: Arc<Functions>,
    concurrency: usize,
}

impl fmt::Debug for OwnSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnSink").field("functions", &self.functions).finish_non_exhaustive()
    }
}

fn placed_bytes(placed: Option<&Placed>) -> backup_bytes {
    placed.map_or(backup_bytes { bytes: std::ptr::null(), len: 0 }, |placed| {
        backup_bytes::of(placed.as_bytes())
    })
}

#[async_trait]
impl Sink for OwnSink {
    async fn put<'a>(
        &'a self,
        item: &'a Item,
        place: Place<'a>,
        contents: &'a dyn Contents,
    ) -> Result<Placement> {
        let (pulled, served) = backup_contents::new(contents);
        let (functions, item) = (Arc::clone(&self.functions), item.clone());
        let (parent, link) = (place.parent.cloned(), place.link.cloned());
        let conflict = number_of_conflict(place.conflict);
        let call = calls::spawn(move || {
            let put = required(functions.table.put, "put")?;
            let view = ItemView::new(&item);
            let item = view.c();
            let place = backup_place {
                struct_size: size_of::<backup_place>() as u32,
                conflict,
                parent: placed_bytes(parent.as_ref()),
                link: placed_bytes(link.as_ref()),
            };
            let mut out = backup_placement::default();
            // SAFETY: the function and its object belong together, and what is given lives through the call.
            let result = unsafe {
                outcome(put(
                    functions.object(),
                    &raw const item,
                    &raw const place,
                    &raw const pulled,
                    &raw mut out,
                ))
            };
            out.finish(pulled.judge(result))
        });
        served.until(call).await
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }

    async fn close(&self, item: &Item, placed: &Placed) -> Result<()> {
        let Some(close) = self.functions.table.close else { return Ok(()) };
        let (functions, item, placed) = (Arc::clone(&self.functions), item.clone(), placed.clone());
        calls::spawn(move || {
            let view = ItemView::new(&item);
            let item = view.c();
            // SAFETY: the function and its object belong together, and what is given lives through the call.
            unsafe { outcome(close(functions.object(), &raw const item, placed_bytes(Some(&placed)))) }
        })
        .await
    }

    async fn finish(&self) -> Result<()> {
        let Some(finish) = self.functions.table.finish else { return Ok(()) };
        let functions = Arc::clone(&self.functions);
        // SAFETY: the function and its object belong together.
        calls::spawn(move || unsafe { outcome(finish(functions.object())) }).await
    }
}

/// Makes a sink of functions of your own: `object` is what they are called with.
///
/// Options (may be NULL): `concurrency`, how many items are put at once (1 to 64, default 1). If the call fails, `object` stays the
/// caller's and is not released.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_sink_new(
    vtable: *const backup_sink_vtable,
    object: *mut c_void,
    options: *const backup_options,
    out: *mut *mut backup_sink,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (table, options) = unsafe { (door.take(vtable, "vtable")?, door.optional(options, "options")?) };
        // SAFETY: the caller keeps the contract of the header.
        let out = unsafe { door.output(out, "out")? };
        required(table.put, "put")?;
        let mut settings = Settings::of(options);
        let concurrency = take_concurrency(&mut settings)?;
        settings.finish()?;
        let functions = Arc::new(Owned::new(table, object, table.release));
        out.give(backup_sink::new(Arc::new(OwnSink { functions, concurrency })));
        Ok(())
    })
}
