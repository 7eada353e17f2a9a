//! The engine's conformance suites over sources, sinks and stores that are C functions: each passes everything on to one of the engine's
//! own, so that every field of every call has crossed the border twice.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_void};
use std::ptr::{null, null_mut};
use std::sync::Arc;

use async_trait::async_trait;
use backup_core::store::MemoryStore;
use backup_core::testkit::{self, sink::Found, sink::ReadBack};
use backup_core::{
    Change, Conflict, Content, Contents, Created, Cursor, Error, ErrorKind, Item, ItemKind, Key, MemorySink,
    MemorySource, Place, Placed, Result, Sink, Source, Store, Stream, Timestamp, Value,
};
use bytes::Bytes;
use futures_executor::{block_on, block_on_stream};
use futures_util::{StreamExt, stream};

use super::source::backup_source_vtable;
use crate::boundary::boundary;
use crate::items::{ItemView, read_item};
use crate::*;

fn given(result: Result<()>) -> *mut backup_error {
    boundary(|_| result)
}

fn taken(error: *mut backup_error) -> Result<()> {
    // SAFETY: it comes from a call of the library and is taken once.
    unsafe { super::calls::outcome(error) }
}

/// The object that was boxed by `object`.
fn inner<'a, T: ?Sized>(object: *mut c_void) -> &'a T
where
    Box<T>: Sized,
{
    // SAFETY: every object of these tests is a `Box<Box<T>>`, alive until it is released.
    unsafe { &*object.cast::<Box<T>>() }
}

fn object<T: ?Sized>(value: Box<T>) -> *mut c_void {
    Box::into_raw(Box::new(value)).cast()
}

unsafe extern "C" fn release<T: ?Sized>(object: *mut c_void) {
    // SAFETY: made by `object` with the same type, released once.
    drop(unsafe { Box::from_raw(object.cast::<Box<T>>()) });
}

fn bytes<'a>(bytes: backup_bytes) -> &'a [u8] {
    match bytes.len {
        0 => &[],
        // SAFETY: the library promises that they live through the call.
        len => unsafe { std::slice::from_raw_parts(bytes.bytes, len as usize) },
    }
}

fn text<'a>(text: *const c_char) -> &'a str {
    // SAFETY: the library promises a NUL-terminated text that lives through the call.
    unsafe { CStr::from_ptr(text) }.to_str().unwrap()
}

fn item_of(item: *const backup_item) -> Result<Item> {
    let mut read = None;
    taken(boundary(|door| {
        // SAFETY: the item comes from the library and lives through the call.
        read = Some(unsafe { read_item(door, item) }?);
        Ok(())
    }))?;
    Ok(read.unwrap())
}

// Sources.

unsafe extern "C" fn changes(
    object: *mut c_void,
    cursor: backup_bytes,
    out: *mut backup_changes,
) -> *mut backup_error {
    let cursor = Some(Cursor::from(bytes(cursor))).filter(|cursor| !cursor.is_empty());
    for change in block_on_stream(inner::<dyn Source>(object).changes(cursor.as_ref())) {
        // SAFETY: the arguments live through the calls.
        let error = unsafe {
            match change {
                Err(error) => return given(Err(error)),
                Ok(Change::Reset) => backup_changes_reset(out),
                Ok(Change::Upsert(item)) => {
                    let view = ItemView::new(&item);
                    backup_changes_upsert(out, &raw const *Box::new(view.c()))
                }
                Ok(Change::UpsertWith(item, contents)) => {
                    let view = ItemView::new(&item);
                    let of = |stream: &Stream| contents.iter().find(|(name, _)| *name == stream.name);
                    let along = item.streams.iter().map_while(of);
                    let contents: Vec<_> = along.map(|(_, content)| backup_bytes::of(content)).collect();
                    let count = contents.len() as u64;
                    backup_changes_upsert_with(out, &raw const *Box::new(view.c()), contents.as_ptr(), count)
                }
                Ok(Change::Remove(id)) => {
                    backup_changes_remove(out, id.as_bytes().as_ptr(), id.as_bytes().len())
                }
                Ok(Change::Cursor(cursor)) => {
                    backup_changes_cursor(out, cursor.as_bytes().as_ptr(), cursor.as_bytes().len())
                }
                Ok(other) => panic!("not expected: {other:?}"),
            }
        };
        if !error.is_null() {
            return error;
        }
    }
    null_mut()
}

unsafe extern "C" fn open(
    object: *mut c_void,
    item: *const backup_item,
    stream: *const c_char,
    out: *mut backup_reader,
) -> *mut backup_error {
    unsafe extern "C" fn freed(userdata: *mut c_void) {
        // SAFETY: made below, released once.
        drop(unsafe { Box::from_raw(userdata.cast::<Bytes>()) });
    }
    given(item_of(item).and_then(|item| {
        let content = block_on(inner::<dyn Source>(object).open(&item, text(stream)))?;
        for (number, piece) in block_on_stream(content.bytes).enumerate() {
            let piece = Box::new(piece?);
            let (start, len) = (piece.as_ptr(), piece.len());
            // SAFETY: the bytes live through the call, or until they are released.
            taken(unsafe {
                match number % 2 {
                    0 => backup_reader_push(out, start, len),
                    _ => backup_reader_push_owned(out, start, len, Some(freed), Box::into_raw(piece).cast()),
                }
            })?;
        }
        Ok(())
    }))
}

fn own_source(source: impl Source + 'static) -> Box<backup_source> {
    let vtable = backup_source_vtable {
        struct_size: size_of::<backup_source_vtable>() as u32,
        reserved: 0,
        changes: Some(changes),
        open: Some(open),
        cursor_without: None,
        release: Some(release::<dyn Source>),
    };
    let mut out = null_mut();
    let object = object::<dyn Source>(Box::new(source));
    // SAFETY: the arguments live through the call; the handle is owned by the box from here on.
    unsafe {
        taken(backup_source_new(
            &raw const vtable,
            object,
            c"own".as_ptr(),
            c"test".as_ptr(),
            null(),
            &raw mut out,
        ))
        .unwrap();
        Box::from_raw(out)
    }
}

fn sample() -> MemorySource {
    let source = MemorySource::new("own").with_piece_bytes(100_000);
    source.put_folder("top", None, "top");
    source.put_file("a", Some("top"), "a", "first");
    source.put_file("empty", Some("top"), "empty", "");
    source.put_file("large", Some("top"), "large", vec![7; 3_000_000]);
    let mut rich = Item::new("rich", Some("top".into()), &b"not\xfftext"[..], ItemKind::from_number(0x8001));
    rich.attributes.insert("mode".into(), Value::Int(0o644));
    rich.attributes.insert("when".into(), Value::Time(Timestamp::new(-1, 5)));
    rich.details.insert("score".into(), Value::Float(0.5));
    rich.details.insert("raw".into(), Value::Bytes(vec![0, 255]));
    let nested = Value::Map([("b".to_owned(), Value::Bool(true))].into());
    rich.details.insert("list".into(), Value::List(vec![Value::Text("x\u{e9}".into()), nested]));
    rich.times = backup_core::Times::new(None, Some(Timestamp::new(1_700_000_000, 1)));
    source.put(rich, [("content", "one"), ("version/1", "two")]);
    for number in 0..500 {
        source.put_file(&format!("f{number}"), Some("top"), format!("f{number}"), format!("{number}"));
    }
    source
}

/// On the runtime of the library, as runs are.
fn on_runtime<T>(work: impl Future<Output = Result<T, testkit::Failure>>) -> T {
    let runtime = runtime::Runtime::new(1).unwrap();
    let work = async { Ok::<_, Error>(work.await) };
    runtime.run(work).unwrap().unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn own_sources_keep_every_promise() {
    let source = own_source(sample());
    on_runtime(testkit::source::conformance(&*source.source));
    // Without a runtime calls have threads of their own.
    block_on(testkit::source::conformance(&*source.source)).unwrap();
    let along = own_source(sample().with_contents_up_to(1 << 20));
    on_runtime(testkit::source::conformance(&*along.source));
    let without = own_source(sample().without_delta());
    on_runtime(testkit::source::conformance(&*without.source));
}

// Sinks.

struct Pulled(*const backup_contents);

// SAFETY: the library lets any thread use it.
unsafe impl Send for Pulled {}
// SAFETY: as above.
unsafe impl Sync for Pulled {}

struct Reading(*mut backup_content);

// SAFETY: one thread after the other is fine.
unsafe impl Send for Reading {}

impl Drop for Reading {
    fn drop(&mut self) {
        // SAFETY: it is freed once.
        unsafe { backup_content_free(self.0) }
    }
}

impl Contents for Pulled {
    fn open<'a>(&'a self, stream: &str) -> Result<Content<'a>> {
        let name = std::ffi::CString::new(stream).unwrap();
        let mut reading = null_mut();
        // SAFETY: the arguments live through the calls.
        let size = unsafe {
            taken(backup_contents_open(self.0, name.as_ptr(), &raw mut reading))?;
            backup_content_size(reading)
        };
        let pieces = stream::unfold(Some(Reading(reading)), |reading| async move {
            let reading = reading?;
            let (mut buffer, mut len) = (vec![0; 70_001], 0);
            // SAFETY: the buffer is as long as is said.
            let result = taken(unsafe {
                backup_content_read(reading.0, buffer.as_mut_ptr(), buffer.len(), &raw mut len)
            });
            match result {
                Err(error) => Some((Err(error), None)),
                Ok(()) if len == 0 => None,
                Ok(()) => {
                    buffer.truncate(len);
                    Some((Ok(Bytes::from(buffer)), Some(reading)))
                }
            }
        });
        Ok(Content::new(Some(size).filter(|size| *size != BACKUP_SIZE_UNKNOWN), pieces.boxed()))
    }
}

fn placed(bytes: backup_bytes) -> Option<Placed> {
    (!bytes.bytes.is_null()).then(|| Placed::new(self::bytes(bytes).to_vec()))
}

unsafe extern "C" fn put(
    object: *mut c_void,
    item: *const backup_item,
    place: *const backup_place,
    contents: *const backup_contents,
    out: *mut backup_placement,
) -> *mut backup_error {
    given(item_of(item).and_then(|item| {
        // SAFETY: the library promises that it lives through the call.
        let place = unsafe { &*place };
        let conflict = match place.conflict {
            0 => Conflict::Skip,
            1 => Conflict::Replace,
            _ => Conflict::KeepBoth,
        };
        let (parent, link) = (placed(place.parent), placed(place.link));
        let place = Place::new(parent.as_ref(), conflict, link.as_ref());
        let placement = block_on(inner::<dyn Sink>(object).put(&item, place, &Pulled(contents)))?;
        let bytes = placement.placed.as_bytes();
        // SAFETY: the arguments live through the call.
        taken(unsafe { backup_placement_set(out, placement.action as u32, bytes.as_ptr(), bytes.len()) })
    }))
}

unsafe extern "C" fn close(
    object: *mut c_void,
    item: *const backup_item,
    at: backup_bytes,
) -> *mut backup_error {
    given(
        item_of(item).and_then(|item| block_on(inner::<dyn Sink>(object).close(&item, &placed(at).unwrap()))),
    )
}

unsafe extern "C" fn finish(object: *mut c_void) -> *mut backup_error {
    given(block_on(inner::<dyn Sink>(object).finish()))
}

fn own_sink(sink: impl Sink + 'static) -> Box<backup_sink> {
    let vtable = backup_sink_vtable {
        struct_size: size_of::<backup_sink_vtable>() as u32,
        reserved: 0,
        put: Some(put),
        close: Some(close),
        finish: Some(finish),
        release: Some(release::<dyn Sink>),
    };
    let mut out = null_mut();
    // SAFETY: the arguments live through the call; the handle is owned by the box from here on.
    unsafe {
        taken(backup_sink_new(&raw const vtable, object::<dyn Sink>(Box::new(sink)), null(), &raw mut out))
            .unwrap();
        Box::from_raw(out)
    }
}

struct Back(MemorySink);

#[async_trait]
impl ReadBack for Back {
    async fn tree(&self) -> Result<BTreeMap<String, Found>> {
        let tree = self.0.tree();
        let found = tree.iter().map(|(path, there)| {
            let found = match (&there.link, there.item.kind.is_container()) {
                (_, true) => Found::container(),
                (Some(first), false) => Found::file(tree[first].streams[Stream::CONTENT].clone()),
                (None, false) => Found::file(there.streams.get(Stream::CONTENT).cloned().unwrap_or_default()),
            };
            (path.clone(), found)
        });
        Ok(found.collect())
    }
}

#[test]
fn own_sinks_keep_every_promise() {
    let memory = MemorySink::new();
    let sink = own_sink(memory.clone());
    on_runtime(testkit::sink::conformance(&*sink.sink, &Back(memory)));
    let memory = MemorySink::new();
    let sink = own_sink(memory.clone());
    block_on(testkit::sink::conformance(&*sink.sink, &Back(memory))).unwrap();
}

// Stores.

fn key(name: *const c_char) -> Key {
    Key::new(text(name)).unwrap()
}

unsafe extern "C" fn create(
    object: *mut c_void,
    name: *const c_char,
    start: *const u8,
    len: usize,
    out: *mut u32,
) -> *mut backup_error {
    let data = Bytes::copy_from_slice(bytes(backup_bytes { bytes: start, len: len as u64 }));
    given(block_on(inner::<dyn Store>(object).create(&key(name), data)).map(|created| {
        // SAFETY: the library promises that the place may be written to.
        unsafe { out.write(u32::from(created == Created::New)) }
    }))
}

unsafe extern "C" fn read(
    object: *mut c_void,
    name: *const c_char,
    offset: u64,
    len: u64,
    out: *mut backup_reader,
) -> *mut backup_error {
    let range = (len != BACKUP_WHOLE).then(|| offset..offset + len);
    given(block_on(inner::<dyn Store>(object).read(&key(name), range)).and_then(|data| {
        // SAFETY: the bytes live through the calls.
        data.chunks(1 << 20)
            .try_for_each(|piece| taken(unsafe { backup_reader_push(out, piece.as_ptr(), piece.len()) }))
    }))
}

unsafe extern "C" fn size(object: *mut c_void, name: *const c_char, out: *mut u64) -> *mut backup_error {
    // SAFETY: the library promises that the place may be written to.
    given(block_on(inner::<dyn Store>(object).size(&key(name))).map(|size| unsafe { out.write(size) }))
}

unsafe extern "C" fn list(
    object: *mut c_void,
    prefix: *const c_char,
    out: *mut backup_entries,
) -> *mut backup_error {
    let prefix = key(prefix);
    given(block_on_stream(inner::<dyn Store>(object).list(&prefix)).try_for_each(|entry| {
        let entry = entry?;
        let name = std::ffi::CString::new(entry.key.as_str()).unwrap();
        // SAFETY: the arguments live through the call.
        taken(unsafe { backup_entries_add(out, name.as_ptr(), entry.size, 0) })
    }))
}

unsafe extern "C" fn remove(object: *mut c_void, name: *const c_char) -> *mut backup_error {
    given(block_on(inner::<dyn Store>(object).delete(&key(name))))
}

fn own_store(store: impl Store + 'static) -> Box<backup_store> {
    let vtable = backup_store_vtable {
        struct_size: size_of::<backup_store_vtable>() as u32,
        reserved: 0,
        create: Some(create),
        read: Some(read),
        size: Some(size),
        list: Some(list),
        remove: Some(remove),
        release: Some(release::<dyn Store>),
    };
    let mut out = null_mut();
    // SAFETY: the arguments live through the call; the handle is owned by the box from here on.
    unsafe {
        taken(backup_store_new(&raw const vtable, object::<dyn Store>(Box::new(store)), &raw mut out))
            .unwrap();
        Box::from_raw(out)
    }
}

#[test]
fn own_stores_keep_every_promise() {
    let store = own_store(MemoryStore::new());
    on_runtime(testkit::store::conformance(&*store.store));
    block_on(testkit::store::conformance(&*store.store)).unwrap();
}

/// A whole life of a repository, all of it the embedder's own: what comes out is what went in, field by field.
#[test]
fn a_repository_lives_in_an_own_store() {
    let memory = sample();
    let (source, store) = (own_source(memory.clone()), own_store(MemoryStore::new()));
    let back = MemorySink::new();
    let sink = own_sink(back.clone());
    let (mut runtime, mut credential, mut repo) = (null_mut(), null_mut(), null_mut());
    // SAFETY: all pointers are handles from calls above, or to locals; all are freed once.
    unsafe {
        taken(backup_runtime_new(1, &raw mut runtime)).unwrap();
        taken(backup_credential_raw_key([7; 32].as_ptr(), 32, &raw mut credential)).unwrap();
        taken(backup_repo_init_store(runtime, &raw const *store, null(), credential, &raw mut repo)).unwrap();
        let mut done: backup_result = std::mem::zeroed();
        done.struct_size = size_of::<backup_result>() as u32;
        let backup = |repo, done: &mut backup_result| {
            let (source, done) = (&raw const *source, &raw mut *done);
            taken(backup_repo_backup(repo, source, null(), null(), done, null_mut(), None, null_mut()))
        };
        backup(repo, &mut done).unwrap();
        assert_eq!(done.items, memory.len() as u64);
        // The next one begins with the cursor, and reads nothing.
        memory.put_file("late", Some("top"), "late", "news");
        backup(repo, &mut done).unwrap();
        assert_eq!((done.added, done.bytes_read), (1, 4));
        let id = done.snapshot.as_ptr();
        let restored = backup_repo_restore(
            repo,
            id,
            &raw const *sink,
            0,
            null(),
            null(),
            null_mut(),
            null_mut(),
            None,
            null_mut(),
        );
        taken(restored).unwrap();
        assert!(back.is_finished());

        // And a copy of it in another place, as of the same snapshot.
        let (mut copy, mut copied) = (null_mut(), null_mut());
        taken(backup_repo_init(runtime, c"memory://".as_ptr(), null(), credential, &raw mut copy)).unwrap();
        taken(backup_repo_as_source(repo, id, &raw mut copied)).unwrap();
        backup_repo_free(repo);
        let mut second = done;
        let result = &raw mut second;
        taken(backup_repo_backup(copy, copied, null(), null(), result, null_mut(), None, null_mut()))
            .unwrap();
        assert_eq!((second.items, second.bytes), (done.items, done.bytes));
        let mut nothing = null_mut();
        let error = backup_repo_as_source(copy, c"no id".as_ptr(), &raw mut nothing);
        assert_eq!(taken(error).unwrap_err().kind(), ErrorKind::InvalidArgument);

        // Opened again, the repository is there.
        taken(backup_repo_open_store(runtime, &raw const *store, null(), credential, &raw mut repo)).unwrap();
        let mut snapshots = null_mut();
        taken(backup_repo_snapshots(repo, &raw mut snapshots)).unwrap();
        assert_eq!(backup_snapshots_count(snapshots), 2);
        backup_snapshots_free(snapshots);
        backup_source_free(copied);
        backup_repo_free(copy);
        backup_repo_free(repo);
        backup_credential_free(credential);
        backup_runtime_free(runtime);
    }
    let tree = back.tree();
    assert_eq!(tree.len(), memory.len());
    let rich = &tree["top/not\\xfftext"];
    let mut original = None;
    for change in block_on_stream(memory.changes(None)) {
        match change {
            Ok(Change::Upsert(item)) if item.id == "rich".into() => original = Some(item),
            _ => {}
        }
    }
    assert_eq!(Some(&rich.item), original.as_ref());
    assert_eq!(rich.streams["version/1"], "two");
}

/// Calls under way share the object; the last of them releases it.
#[test]
fn an_object_is_released_once() {
    let store = MemoryStore::new();
    let count = Arc::new(());
    #[derive(Debug)]
    struct Counted(MemoryStore, #[expect(dead_code, reason = "only counted")] Arc<()>);
    #[async_trait]
    impl Store for Counted {
        async fn create(&self, key: &Key, data: Bytes) -> Result<Created> {
            self.0.create(key, data).await
        }
        async fn read(&self, key: &Key, range: Option<std::ops::Range<u64>>) -> Result<Bytes> {
            self.0.read(key, range).await
        }
        async fn size(&self, key: &Key) -> Result<u64> {
            self.0.size(key).await
        }
        fn list<'a>(&'a self, prefix: &'a Key) -> stream::BoxStream<'a, Result<backup_core::Entry>> {
            self.0.list(prefix)
        }
        async fn delete(&self, key: &Key) -> Result<()> {
            self.0.delete(key).await
        }
    }
    let handle = own_store(Counted(store, Arc::clone(&count)));
    let shared = Arc::clone(&handle.store);
    drop(handle);
    assert_eq!(Arc::strong_count(&count), 2);
    block_on(shared.create(&Key::new("a").unwrap(), Bytes::new())).unwrap();
    drop(shared);
    assert_eq!(Arc::strong_count(&count), 1);
}
