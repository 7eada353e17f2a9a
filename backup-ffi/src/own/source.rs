//! Own sources.

use std::ffi::{c_char, c_void};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use backup_core::{
    Change, Collection, Content, Cursor, Error, ErrorKind, Item, ItemId, Problem, Result, Source, Stream,
};
use bytes::{Bytes, BytesMut};
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use super::calls::{self, Owned, Refusals, outcome, required, unwanted};
use super::reader::{backup_reader, streamed};
use crate::boundary::{Door, Handle, Incoming, Poison, boundary};
use crate::error::{backup_error, c_text};
use crate::folder::backup_source;
use crate::items::{ItemView, backup_bytes, backup_item, read_item};
use crate::options::{Settings, backup_options};

/// Changes that are sent on together; the rest waits no longer than this for more.
const BATCH: usize = 64;
const BATCH_WAIT: Duration = Duration::from_millis(20);
/// Content in a batch, in bytes.
const BATCH_BYTES: usize = 512 << 10;
/// Content that comes with items is copied into pieces of this length, as long as it takes at most an eighth of one: an allocation for each,
/// given back by another thread, takes longer than the copy.
const ROOM_BYTES: usize = 256 << 10;
/// Batches on their way.
const BATCHES: usize = 4;
/// Longest cursor, in bytes; the engine has the same bound.
const CURSOR_BYTES_MAX: usize = 65_536;

/// The functions of an own source. Each may block, and is called on threads of the library's that may, also on several at once. An error
/// that a function returns belongs to the library; NULL is success. What it is given lives as long as the call.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct backup_source_vtable {
    /// Size of this struct; set it before the call.
    pub struct_size: u32,
    /// 0.
    pub reserved: u32,
    /// Tells what changed since `cursor`, or everything there is if that is empty, through the backup_changes_ functions. Called once for
    /// each backup, on a thread of its own. An error ends the backup, and what was stored is kept for the next.
    pub changes: Option<
        unsafe extern "C" fn(
            object: *mut c_void,
            cursor: backup_bytes,
            out: *mut backup_changes,
        ) -> *mut backup_error,
    >,
    /// Gives the bytes of a stream of an item that was named, through backup_reader_push(). Not found means that it has vanished; canceled
    /// and unauthenticated end the backup; other errors concern this item only.
    pub open: Option<
        unsafe extern "C" fn(
            object: *mut c_void,
            item: *const backup_item,
            stream: *const c_char,
            out: *mut backup_reader,
        ) -> *mut backup_error,
    >,
    /// May be NULL. Pushes a cursor that covers what `cursor` does but for the items of these ids, or nothing if there is none. Must not
    /// block: it is called on the thread that made the backup's call.
    pub cursor_without: Option<
        unsafe extern "C" fn(
            object: *mut c_void,
            cursor: backup_bytes,
            missed: *const backup_bytes,
            missed_count: u64,
            out: *mut backup_reader,
        ) -> *mut backup_error,
    >,
    /// May be NULL. Frees `object`: the last call there is, on any thread, once the handle is freed and no other call is under way.
    pub release: Option<unsafe extern "C" fn(object: *mut c_void)>,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<backup_source_vtable>() == 40);

// SAFETY: `repr(C)`, begins with `struct_size`; functions that are zero are NULL.
unsafe impl Incoming for backup_source_vtable {
    const SIZE_MIN: usize = size_of::<Self>();
}

/// Where an own source tells its changes. Lives as long as the call that it was given to; any of its threads may use it.
#[derive(Debug)]
pub struct backup_changes {
    poison: Poison,
    refusals: Refusals,
    sender: mpsc::Sender<Message>,
    batch: Mutex<Batch>,
}

/// What waits to be sent on.
#[derive(Debug)]
struct Batch {
    changes: Vec<Change>,
    /// Content that came with them.
    bytes: usize,
    /// When the last batch was sent.
    sent: Instant,
    /// Where the next content goes.
    room: BytesMut,
}

impl Batch {
    fn new() -> Self {
        Self { changes: Vec::new(), bytes: 0, sent: Instant::now(), room: BytesMut::new() }
    }

    /// Content of the change that is pushed next.
    fn copy(&mut self, bytes: &[u8]) -> Bytes {
        self.bytes += bytes.len();
        if bytes.len() > ROOM_BYTES / 8 {
            return Bytes::copy_from_slice(bytes);
        }
        if self.room.capacity() < bytes.len() {
            self.room = BytesMut::with_capacity(ROOM_BYTES);
        }
        self.room.extend_from_slice(bytes);
        self.room.split().freeze()
    }

    /// All changes, and none are left.
    fn take(&mut self) -> Vec<Change> {
        (self.bytes, self.sent) = (0, Instant::now());
        std::mem::replace(&mut self.changes, Vec::with_capacity(BATCH))
    }
}

#[derive(Debug)]
enum Message {
    Batch(Vec<Change>),
    End(Result<()>),
}

impl Handle for backup_changes {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

impl backup_changes {
    fn batch(&self) -> MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, change: Change) -> Result<()> {
        let mut batch = self.batch();
        batch.changes.push(change);
        let full = batch.changes.len() >= BATCH || batch.bytes >= BATCH_BYTES;
        if !full && batch.sent.elapsed() < BATCH_WAIT {
            return Ok(());
        }
        self.send(batch.take())
    }

    fn send(&self, batch: Vec<Change>) -> Result<()> {
        self.sender.blocking_send(Message::Batch(batch)).map_err(|_| unwanted())
    }

    fn flush(&self) -> Result<()> {
        let rest = self.batch().take();
        if rest.is_empty() { Ok(()) } else { self.send(rest) }
    }
}

/// The work of a call that names a change.
fn emit<'a>(
    out: *const backup_changes,
    change: impl FnOnce(&Door<'a>, &backup_changes) -> Result<Change>,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let out = unsafe { door.handle(out, "out")? };
        out.refusals.note(change(door, out).and_then(|change| out.push(change)))
    })
}

/// The item is there, in this state. An item that is refused ends the backup, also if the source goes on.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_changes_upsert(
    out: *const backup_changes,
    item: *const backup_item,
) -> *mut backup_error {
    // SAFETY: the caller keeps the contract of the header.
    emit(out, |door, _| unsafe { read_item(door, item) }.map(Change::Upsert))
}

/// The item is there, in this state, and here is all that its first streams hold: `contents` has the bytes of the first `contents_count` of
/// them, in their order, and is copied. These streams are not opened for the backup, which costs a short item most of its time; a drill opens
/// them all the same. For content that is at hand when the item is named: rows, messages, small files. What is refused ends the backup, also
/// if the source goes on.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_changes_upsert_with(
    out: *const backup_changes,
    item: *const backup_item,
    contents: *const backup_bytes,
    contents_count: u64,
) -> *mut backup_error {
    emit(out, |door, out| {
        // SAFETY: the caller keeps the contract of the header.
        let item = unsafe { read_item(door, item) }?;
        if contents_count > item.streams.len() as u64 {
            return Err(wrong("argument `contents_count` is more than the item has streams"));
        }
        let read = |(number, stream): (usize, &Stream)| {
            // SAFETY: the caller keeps the contract of the header.
            let bytes = unsafe { door.element(contents, number, "contents")?.get(door, "contents")? };
            Ok((stream.name.clone(), out.batch().copy(bytes)))
        };
        let count = usize::try_from(contents_count).unwrap_or(usize::MAX);
        let contents = item.streams.iter().take(count).enumerate().map(read).collect::<Result<_>>()?;
        Ok(Change::UpsertWith(item, contents))
    })
}

/// The item of this id is gone, and what is below it, unless that is named otherwise.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_changes_remove(
    out: *const backup_changes,
    id: *const u8,
    id_len: usize,
) -> *mut backup_error {
    emit(out, |door, _| {
        // SAFETY: the caller keeps the contract of the header.
        let id = item_id(unsafe { door.bytes(id, id_len, "id") }?)?;
        Ok(Change::Remove(id.ok_or_else(|| wrong("argument `id` is empty"))?))
    })
}

/// The item of this id (nothing if that is not known either) and what is below it could not be looked at: what the last snapshot has is
/// kept, and the result names the problem. `place` is for people; `code` is a `backup_code`, `message` one line.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_changes_unreadable(
    out: *const backup_changes,
    id: *const u8,
    id_len: usize,
    place: *const c_char,
    code: u32,
    message: *const c_char,
) -> *mut backup_error {
    emit(out, |door, _| {
        // SAFETY: the caller keeps the contract of the header.
        let (id, place) = unsafe { (door.bytes(id, id_len, "id")?, door.text(place, "place")?) };
        // SAFETY: the caller keeps the contract of the header; the new error belongs to nobody else.
        let error = unsafe {
            door.text(message, "message")?;
            backup_error::take(crate::backup_error_new(code, message, std::ptr::null(), 0))
        };
        let error = error.unwrap_or_else(|| Error::new(ErrorKind::Extension, "no reason is given"));
        Ok(Change::Unreadable(Problem::new(item_id(id)?, place, error)))
    })
}

/// Everything that was named so far is covered by this cursor, at most 64 KiB of the source's own. The next backup begins with the last
/// one that was given.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_changes_cursor(
    out: *const backup_changes,
    cursor: *const u8,
    cursor_len: usize,
) -> *mut backup_error {
    emit(out, |door, _| {
        // SAFETY: the caller keeps the contract of the header.
        let cursor = unsafe { door.bytes(cursor, cursor_len, "cursor") }?;
        if !(1..=CURSOR_BYTES_MAX).contains(&cursor.len()) {
            return Err(wrong("argument `cursor` is empty or longer than 64 KiB"));
        }
        Ok(Change::Cursor(Cursor::from(cursor)))
    })
}

/// What follows is everything there is, although a cursor was given: the source does not know it, or not any more. What was named before
/// is forgotten.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_changes_reset(out: *const backup_changes) -> *mut backup_error {
    emit(out, |_, _| Ok(Change::Reset))
}

fn wrong(message: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

fn item_id(id: &[u8]) -> Result<Option<ItemId>> {
    match id.len() {
        0 => Ok(None),
        1..=ItemId::LEN_MAX => Ok(Some(ItemId::from(id))),
        _ => Err(wrong("argument `id` is longer than 1,024 bytes")),
    }
}

type Functions = Owned<backup_source_vtable>;

/// An own source as the engine sees it.
struct OwnSource {
    functions: Arc<Functions>,
    collection: Collection,
    concurrency: usize,
    labels: Vec<(String, String)>,
}

impl fmt::Debug for OwnSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnSource").field("collection", &self.collection).finish_non_exhaustive()
    }
}

/// Starts the enumeration; what it names comes through the channel.
fn enumerate(functions: Arc<Functions>, since: Option<Cursor>) -> mpsc::Receiver<Message> {
    let (sender, receiver) = mpsc::channel(BATCHES);
    let end = sender.clone();
    // Nobody waits for it: what it comes to is the last thing in the channel.
    drop(calls::spawn(move || {
        let batch = Mutex::new(Batch::new());
        let mut out =
            backup_changes { poison: Poison::default(), refusals: Refusals::default(), sender, batch };
        let result = required(functions.table.changes, "changes").and_then(|changes| {
            let cursor = backup_bytes::of(since.as_ref().map_or(&[], Cursor::as_bytes));
            // SAFETY: the function and its object belong together, and what is given lives through the call.
            unsafe { outcome(changes(functions.object(), cursor, &raw mut out)) }
        });
        let result = out.refusals.judge(result).and_then(|()| out.flush());
        let _ = end.blocking_send(Message::End(result));
        Ok(())
    }));
    receiver
}

/// The next changes; none at the end. A channel that ends without saying so would be an enumeration that is cut short.
async fn next(receiver: &mut mpsc::Receiver<Message>) -> Result<Option<Vec<Change>>> {
    match receiver.recv().await {
        Some(Message::Batch(batch)) => Ok(Some(batch)),
        Some(Message::End(result)) => result.map(|()| None),
        None => Err(Error::new(ErrorKind::Bug, "a call was dropped")),
    }
}

#[async_trait]
impl Source for OwnSource {
    fn collection(&self) -> Collection {
        self.collection.clone()
    }

    fn changes<'a>(&'a self, since: Option<&'a Cursor>) -> BoxStream<'a, Result<Change>> {
        enum At {
            Start(Arc<Functions>, Option<Cursor>),
            Under(mpsc::Receiver<Message>),
            End,
        }
        // Started when it is first asked, which is where there is a runtime.
        let start = At::Start(Arc::clone(&self.functions), since.cloned());
        // To the function no cursor and an empty one are the same, and no cursor of its own is empty: it tells everything.
        let reset = since.filter(|cursor| cursor.is_empty()).map(|_| Ok(Change::Reset));
        let batches = stream::unfold(start, |at| async move {
            let mut receiver = match at {
                At::Start(functions, since) => enumerate(functions, since),
                At::Under(receiver) => receiver,
                At::End => return None,
            };
            match next(&mut receiver).await {
                Ok(Some(batch)) => Some((batch.into_iter().map(Ok).collect(), At::Under(receiver))),
                Ok(None) => None,
                Err(error) => Some((vec![Err(error)], At::End)),
            }
        });
        stream::iter(reset).chain(batches.flat_map(stream::iter)).boxed()
    }

    fn cursor_without(&self, cursor: &Cursor, missed: &[ItemId]) -> Option<Cursor> {
        let without = self.functions.table.cursor_without?;
        let mut out = backup_reader::collecting(CURSOR_BYTES_MAX);
        let missed: Vec<_> = missed.iter().map(|id| backup_bytes::of(id.as_bytes())).collect();
        // SAFETY: the function and its object belong together, and what is given lives through the call.
        let result = unsafe {
            outcome(without(
                self.functions.object(),
                backup_bytes::of(cursor.as_bytes()),
                missed.as_ptr(),
                missed.len() as u64,
                &raw mut out,
            ))
        };
        // A source that cannot say it is asked for everything again, which loses nothing.
        let bytes = out.finish(result).ok().filter(|bytes| !bytes.is_empty())?;
        Some(Cursor::new(bytes))
    }

    async fn open<'a>(&'a self, item: &'a Item, stream: &'a str) -> Result<Content<'a>> {
        let Some(announced) = item.stream(stream) else {
            return Err(Error::new(ErrorKind::NotFound, "item has no such stream").with_item(stream));
        };
        let (functions, size) = (Arc::clone(&self.functions), announced.size);
        let (item, stream) = (item.clone(), c_text(stream));
        streamed(size, move |reader| {
            let open = required(functions.table.open, "open")?;
            let view = ItemView::new(&item);
            let item = view.c();
            // SAFETY: the function and its object belong together, and what is given lives through the call.
            unsafe {
                outcome(open(
                    functions.object(),
                    &raw const item,
                    stream.as_ptr(),
                    std::ptr::from_ref(reader).cast_mut(),
                ))
            }
        })
        .await
    }

    fn labels(&self) -> Vec<(String, String)> {
        self.labels.clone()
    }

    fn concurrency(&self) -> usize {
        self.concurrency
    }
}

/// How many calls may be under way at once, if the embedder asks for more.
pub(super) const CONCURRENCY_MAX: usize = 64;

pub(super) fn take_concurrency(settings: &mut Settings) -> Result<usize> {
    match settings.take_parsed::<usize>("concurrency")? {
        None => Ok(1),
        Some(count @ 1..=CONCURRENCY_MAX) => Ok(count),
        Some(_) => Err(wrong("option is not from 1 to 64").with_item("concurrency")),
    }
}

/// Makes a source of functions of your own: `object` is what they are called with.
///
/// `collection_id` names what is protected, unique within the repository and stable over years, at most 1,024 bytes; `collection_kind`
/// says what kind of thing it is, at most 64. Options (may be NULL): `concurrency`, how many streams are opened at once (1 to 64, default
/// 1); `label.` and a name, a label that every snapshot of it gets. If the call fails, `object` stays the caller's and is not released.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_source_new(
    vtable: *const backup_source_vtable,
    object: *mut c_void,
    collection_id: *const c_char,
    collection_kind: *const c_char,
    options: *const backup_options,
    out: *mut *mut backup_source,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (table, id) =
            unsafe { (door.take(vtable, "vtable")?, door.text(collection_id, "collection_id")?) };
        // SAFETY: the caller keeps the contract of the header.
        let (kind, options) =
            unsafe { (door.text(collection_kind, "collection_kind")?, door.optional(options, "options")?) };
        // SAFETY: the caller keeps the contract of the header.
        let out = unsafe { door.output(out, "out")? };
        required(table.changes, "changes")?;
        required(table.open, "open")?;
        if !(1..=1_024).contains(&id.len()) || !(1..=64).contains(&kind.len()) {
            return Err(wrong("a collection's id has 1 to 1,024 bytes and its kind 1 to 64"));
        }
        let mut settings = Settings::of(options);
        let concurrency = take_concurrency(&mut settings)?;
        let labels = settings.take_prefixed("label.");
        settings.finish()?;
        let functions = Arc::new(Owned::new(table, object, table.release));
        let collection = Collection::new(id, kind);
        out.give(backup_source::new(Arc::new(OwnSource { functions, collection, concurrency, labels })));
        Ok(())
    })
}
