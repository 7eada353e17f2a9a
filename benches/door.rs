//! What the C door costs: the same job from an own source in memory, through the engine and through the C functions, taking turns.
//!
//!   cargo run --release -p backup-ffi --example door [MIB] [ROUNDS]
//!
//! Prints one line of JSON: seconds (best of all rounds) and the ratio to Rust, for large items and for small ones, with bytes that are
//! copied (`push`), that are lent (`push_owned`), and that come with their items (`with`) on both sides. It gates nothing.

#![allow(unsafe_code, reason = "it calls C functions")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::undocumented_unsafe_blocks,
    reason = "handles come from calls above and all else lives to the end of `main`; a program that measures stops when something is wrong"
)]

use std::ffi::{c_char, c_void};
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use backup::*;
use backup_core::{
    Change, Collection, Content, Credential, Cursor, Env, Item, ItemKind, Options, Repository, Source,
    Stream, store,
};
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, stream};

/// What is pushed at once, in bytes.
const PIECE: usize = 256 << 10;
/// Items that are read at once.
const CONCURRENCY: usize = 4;

/// So many items of so many bytes, one after the other in one buffer.
#[derive(Clone, Debug)]
struct Job {
    bytes: Bytes,
    item: usize,
    /// Content comes with its item.
    along: bool,
}

impl Job {
    fn items(&self) -> usize {
        self.bytes.len() / self.item
    }

    fn content(&self, id: &[u8]) -> Bytes {
        let number: usize = std::str::from_utf8(id).unwrap().parse().unwrap();
        self.bytes.slice(number * self.item..(number + 1) * self.item)
    }
}

#[async_trait]
impl Source for Job {
    fn collection(&self) -> Collection {
        Collection::new("job", "bench")
    }

    fn changes<'a>(&'a self, _: Option<&'a Cursor>) -> BoxStream<'a, backup_core::Result<Change>> {
        let items = (0..self.items()).map(|number| {
            let mut item = Item::new(number.to_string(), None, number.to_string(), ItemKind::FILE);
            item.streams.push(Stream::new(Stream::CONTENT, Some(self.item as u64)));
            if !self.along {
                return Ok(Change::Upsert(item));
            }
            let content = self.content(item.id.as_bytes());
            Ok(Change::UpsertWith(item, vec![(Stream::CONTENT.to_owned(), content)]))
        });
        stream::iter(items).boxed()
    }

    async fn open<'a>(&'a self, item: &'a Item, _: &'a str) -> backup_core::Result<Content<'a>> {
        let mut rest = self.content(item.id.as_bytes());
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            pieces.push(Ok(rest.split_to(rest.len().min(PIECE))));
        }
        Ok(Content::new(Some(self.item as u64), stream::iter(pieces).boxed()))
    }

    fn concurrency(&self) -> usize {
        CONCURRENCY
    }
}

/// Seconds through the engine.
fn rust(runtime: &tokio::runtime::Runtime, job: &Job) -> f64 {
    runtime.block_on(async {
        let store = store::from_url("memory://", [("", ""); 0]).unwrap();
        let key = Credential::raw_key([7; 32]);
        let repository = Repository::init_with(store, &key, Env::system(), Options::default()).await.unwrap();
        let started = Instant::now();
        let done = repository.backup(job).run().await.unwrap();
        assert_eq!(done.stats.bytes, job.bytes.len() as u64);
        started.elapsed().as_secs_f64()
    })
}

fn good(error: *mut backup_error) {
    assert!(error.is_null(), "code {}", unsafe { backup_error_code(error) });
}

struct Object {
    job: Job,
    lend: bool,
}

unsafe extern "C" fn changes(
    object: *mut c_void,
    _: backup_bytes,
    out: *mut backup_changes,
) -> *mut backup_error {
    let job = unsafe { &(*object.cast::<Object>()).job };
    for number in 0..job.items() {
        let id = number.to_string();
        let stream = backup_stream { name: c"content".as_ptr(), size: job.item as u64, flags: 0 };
        let mut item: backup_item = unsafe { std::mem::zeroed() };
        item.struct_size = size_of::<backup_item>() as u32;
        item.kind = backup_item_kind::File as u32;
        item.id = backup_bytes { bytes: id.as_ptr(), len: id.len() as u64 };
        item.name = item.id;
        (item.streams, item.streams_count) = (&raw const stream, 1);
        let error = if job.along {
            let content = job.content(id.as_bytes());
            let content = backup_bytes { bytes: content.as_ptr(), len: content.len() as u64 };
            unsafe { backup_changes_upsert_with(out, &raw const item, &raw const content, 1) }
        } else {
            unsafe { backup_changes_upsert(out, &raw const item) }
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
    _: *const c_char,
    out: *mut backup_reader,
) -> *mut backup_error {
    let object = unsafe { &*object.cast::<Object>() };
    let id = unsafe { std::slice::from_raw_parts((*item).id.bytes, (*item).id.len as usize) };
    for piece in object.job.content(id).chunks(PIECE) {
        let (start, len) = (piece.as_ptr(), piece.len());
        // The buffer outlives the run: there is nothing to free.
        let error = match object.lend {
            true => unsafe { backup_reader_push_owned(out, start, len, None, null_mut()) },
            false => unsafe { backup_reader_push(out, start, len) },
        };
        if !error.is_null() {
            return error;
        }
    }
    null_mut()
}

/// Seconds through the C functions.
fn c(runtime: *const backup_runtime, job: &Job, lend: bool) -> f64 {
    let mut object = Object { job: job.clone(), lend };
    let vtable = backup_source_vtable {
        struct_size: size_of::<backup_source_vtable>() as u32,
        reserved: 0,
        changes: Some(changes),
        open: Some(open),
        cursor_without: None,
        release: None,
    };
    let (mut key, mut repo, mut source, mut options) = (null_mut(), null_mut(), null_mut(), null_mut());
    unsafe {
        good(backup_options_new(&raw mut options));
        good(backup_options_set(options, c"concurrency".as_ptr(), c"4".as_ptr()));
        good(backup_credential_raw_key([7; 32].as_ptr(), 32, &raw mut key));
        good(backup_repo_init(runtime, c"memory://".as_ptr(), null(), key, &raw mut repo));
        let object = (&raw mut object).cast();
        let (id, kind) = (c"job".as_ptr(), c"bench".as_ptr());
        good(backup_source_new(&raw const vtable, object, id, kind, options, &raw mut source));
        let mut done: backup_result = std::mem::zeroed();
        done.struct_size = size_of::<backup_result>() as u32;
        let started = Instant::now();
        good(backup_repo_backup(repo, source, null(), null(), &raw mut done, null_mut(), None, null_mut()));
        let seconds = started.elapsed().as_secs_f64();
        assert_eq!(done.bytes, job.bytes.len() as u64);
        backup_source_free(source);
        backup_repo_free(repo);
        backup_credential_free(key);
        backup_options_free(options);
        seconds
    }
}

/// The best of all rounds, which take turns so that what else the machine does hits all alike.
fn measure(job: &Job, rounds: usize) -> [f64; 5] {
    let ours = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut theirs = null_mut();
    good(unsafe { backup_runtime_new(2, &raw mut theirs) });
    let mut best = [f64::INFINITY; 5];
    let along = &Job { along: true, ..job.clone() };
    for _ in 0..rounds {
        let seconds = [
            rust(&ours, job),
            c(theirs, job, false),
            c(theirs, job, true),
            rust(&ours, along),
            c(theirs, along, false),
        ];
        for (best, seconds) in best.iter_mut().zip(seconds) {
            *best = best.min(seconds);
        }
    }
    unsafe { backup_runtime_free(theirs) };
    best
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|word| word.parse::<usize>().expect("a number"));
    let (mib, rounds) = (arguments.next().unwrap_or(1024), arguments.next().unwrap_or(5));
    let mut bytes = vec![0; mib << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    let bytes = Arc::new(Bytes::from(bytes));
    let report = [("items_of_1_mib", 1 << 20, mib << 20), ("items_of_4_kib", 4 << 10, (mib << 20) / 16)].map(
        |(name, item, len)| {
            let [rust, push, lent, rust_with, with] =
                measure(&Job { bytes: bytes.slice(..len), item, along: false }, rounds);
            format!(
                "\"{name}\":{{\"bytes\":{len},\"rust_s\":{rust:.3},\"push_s\":{push:.3},\"push_owned_s\":{lent:.3},\
                 \"rust_with_s\":{rust_with:.3},\"with_s\":{with:.3},\"push_ratio\":{:.3},\"push_owned_ratio\":{:.3},\
                 \"with_ratio\":{:.3}}}",
                push / rust,
                lent / rust,
                with / rust_with
            )
        },
    );
    println!("{{\"rounds\":{rounds},{}}}", report.join(","));
}
