//! Content that a function of C pulls: the engine reads it where it always does, and hands it over piece by piece.

use std::collections::HashMap;
use std::ffi::c_char;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use backup_core::{Content, Contents, Error, ErrorKind, Result};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::{self, Either};
use tokio::sync::{mpsc, oneshot};

use super::calls::{Refusals, unwanted};
use crate::boundary::{Handle, Poison, boundary, query, release};
use crate::error::backup_error;
use crate::items::BACKUP_SIZE_UNKNOWN;

/// What the function asks of the engine's side.
enum Request {
    Open { id: u64, stream: String, reply: oneshot::Sender<Result<(Option<u64>, Option<Bytes>)>> },
    Next { id: u64, reply: oneshot::Sender<Result<Option<Bytes>>> },
    Close { id: u64 },
}

/// The streams of an item that is being put. Lives as long as the call that it was given to.
#[derive(Debug)]
pub struct backup_contents {
    poison: Poison,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    requests: mpsc::Sender<Request>,
    refusals: Refusals,
    ids: AtomicU64,
}

impl Handle for backup_contents {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

/// The engine's end.
pub(super) struct Served<'a> {
    contents: &'a dyn Contents,
    requests: mpsc::Receiver<Request>,
    open: HashMap<u64, Content<'a>>,
}

impl backup_contents {
    pub(super) fn new(contents: &dyn Contents) -> (Self, Served<'_>) {
        let (sender, requests) = mpsc::channel(1);
        let shared = Shared { requests: sender, refusals: Refusals::default(), ids: AtomicU64::new(0) };
        let served = Served { contents, requests, open: HashMap::new() };
        (Self { poison: Poison::default(), shared: Arc::new(shared) }, served)
    }

    /// What a function that says `outcome` has come to: content that failed and was not opened again is a failure.
    pub(super) fn judge(&self, outcome: Result<()>) -> Result<()> {
        self.shared.refusals.judge(outcome)
    }
}

impl Served<'_> {
    /// Answers until `call` is done.
    pub(super) async fn until<T>(mut self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        let mut call = std::pin::pin!(call);
        loop {
            let request = match future::select(&mut call, std::pin::pin!(self.requests.recv())).await {
                Either::Left((result, _)) => return result,
                Either::Right((request, _)) => request,
            };
            match request {
                Some(request) => self.answer(request).await,
                None => return call.await,
            }
        }
    }

    async fn answer(&mut self, request: Request) {
        // Whoever asked waits for the reply; if it does not any more, there is nobody to tell.
        match request {
            Request::Open { id, stream, reply } => {
                let answer = match self.contents.open(&stream) {
                    Ok(mut content) => {
                        let size = content.size;
                        let first = content.bytes.next().await.transpose();
                        self.open.insert(id, content);
                        first.map(|first| (size, first))
                    }
                    Err(error) => Err(error),
                };
                let _ = reply.send(answer);
            }
            Request::Next { id, reply } => {
                let answer = match self.open.get_mut(&id) {
                    Some(content) => content.bytes.next().await.transpose(),
                    None => Err(Error::new(ErrorKind::Bug, "content is read that is not open")),
                };
                let _ = reply.send(answer);
            }
            Request::Close { id } => drop(self.open.remove(&id)),
        }
    }
}

impl Shared {
    fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<Result<T>>) -> Request) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.requests.blocking_send(request(reply)).map_err(|_| unwanted())?;
        answer.blocking_recv().map_err(|_| unwanted())?
    }
}

/// A stream that is being read. Belongs to the caller.
#[derive(Debug)]
pub struct backup_content {
    poison: Poison,
    shared: Arc<Shared>,
    id: u64,
    size: u64,
    state: Mutex<Reading>,
}

#[derive(Debug)]
struct Reading {
    /// What has arrived and was not taken yet.
    piece: Bytes,
    ended: bool,
}

impl Handle for backup_content {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

impl Drop for backup_content {
    fn drop(&mut self) {
        // May be a moment too late, and then all of it is closed anyway.
        let _ = self.shared.requests.try_send(Request::Close { id: self.id });
    }
}

/// Opens a stream of the item; it may be opened again, for another try. `out` goes to backup_content_free(), and reads nothing any more
/// once the function has returned.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_contents_open(
    contents: *const backup_contents,
    stream: *const c_char,
    out: *mut *mut backup_content,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (contents, stream, out) = unsafe {
            (door.handle(contents, "contents")?, door.text(stream, "stream")?, door.output(out, "out")?)
        };
        let shared = &contents.shared;
        // Another try: what failed before is of no account.
        shared.refusals.forget();
        let id = shared.ids.fetch_add(1, Ordering::Relaxed);
        let opened = shared.ask(|reply| Request::Open { id, stream: stream.to_owned(), reply });
        // A stream that the item does not have is a question that was answered, no failure of its content.
        let opened = match opened {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(error),
            other => shared.refusals.note(other),
        };
        let (size, first) = opened?;
        let state = Reading { ended: first.is_none(), piece: first.unwrap_or_default() };
        out.give(backup_content {
            poison: Poison::default(),
            shared: Arc::clone(shared),
            id,
            size: size.unwrap_or(BACKUP_SIZE_UNKNOWN),
            state: Mutex::new(state),
        });
        Ok(())
    })
}

/// The length of the stream in bytes, or BACKUP_SIZE_UNKNOWN. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_content_size(content: *const backup_content) -> u64 {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { query(content, 0, |content| content.size) }
}

/// Copies the next bytes into `buffer`, at most `buffer_len` of them, and says in `out_len` how many: 0 only at the end. Waits for them.
/// After an error there is nothing more to read; the item has failed unless the stream is opened again and read well.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_content_read(
    content: *mut backup_content,
    buffer: *mut u8,
    buffer_len: usize,
    out_len: *mut usize,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (content, out_len) =
            unsafe { (door.handle(content, "content")?, door.number(out_len, "out_len")?) };
        // SAFETY: the caller keeps the contract of the header.
        let buffer = unsafe { door.buffer(buffer, buffer_len, "buffer") }?;
        let mut reading = content.state.lock().unwrap_or_else(PoisonError::into_inner);
        while reading.piece.is_empty() && !reading.ended {
            let shared = &content.shared;
            match shared.refusals.note(shared.ask(|reply| Request::Next { id: content.id, reply })) {
                Ok(Some(piece)) => reading.piece = piece,
                Ok(None) => reading.ended = true,
                Err(error) => {
                    reading.ended = true;
                    return Err(error);
                }
            }
        }
        let len = buffer.len().min(reading.piece.len());
        if len == 0 && !reading.ended {
            return Err(Error::new(ErrorKind::InvalidArgument, "argument `buffer_len` is 0"));
        }
        buffer.write(&reading.piece.split_to(len));
        out_len.write(len);
        Ok(())
    })
}

/// Frees content. It need not be read to its end.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_content_free(content: *mut backup_content) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(content) }
}
