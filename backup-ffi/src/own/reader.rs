//! Bytes that a function of C pushes: on their way to the engine piece by piece, or collected.

use std::ffi::c_void;
use std::sync::{Mutex, PoisonError};

use backup_core::{Content, Error, ErrorKind, Result};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use super::calls::{self, Refusals, unwanted};
use crate::boundary::{Handle, Poison, boundary};
use crate::error::backup_error;

/// Small pushes are sent on together once they are so many bytes; larger ones are sent in pieces of at most so many.
const GATHER_BYTES: usize = 64 << 10;
const PIECE_BYTES: usize = 1 << 20;
/// Pieces on their way. With the two that both ends hold they bound the memory of a stream.
const PIECES: usize = 2;

/// Where a function of the embedder's pushes bytes. Lives as long as the call that it was given to.
#[derive(Debug)]
pub struct backup_reader {
    poison: Poison,
    refusals: Refusals,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    buffer: BytesMut,
    to: Target,
}

#[derive(Debug)]
enum Target {
    /// To whoever reads; `None` in the channel is the end.
    Channel(mpsc::Sender<Result<Option<Bytes>>>),
    /// Into the buffer, up to so many bytes.
    Buffer(usize),
}

impl Handle for backup_reader {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

impl backup_reader {
    fn new(to: Target) -> Self {
        let state = Mutex::new(State { buffer: BytesMut::new(), to });
        Self { poison: Poison::default(), refusals: Refusals::default(), state }
    }

    /// One that keeps at most so many bytes.
    pub(super) fn collecting(max: usize) -> Self {
        Self::new(Target::Buffer(max))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was pushed, if the function that pushed it has succeeded.
    pub(super) fn finish(&self, outcome: Result<()>) -> Result<Bytes> {
        self.refusals.judge(outcome)?;
        Ok(std::mem::take(&mut self.lock().buffer).freeze())
    }

    fn push(&self, bytes: &[u8]) -> Result<()> {
        let mut state = self.lock();
        match &state.to {
            Target::Buffer(max) => {
                if bytes.len() > max.saturating_sub(state.buffer.len()) {
                    let message = format!("more bytes were pushed than the {max} that can be here");
                    return Err(Error::new(ErrorKind::Extension, message));
                }
                state.buffer.extend_from_slice(bytes);
                Ok(())
            }
            Target::Channel(_) => {
                if bytes.len() < GATHER_BYTES {
                    state.buffer.extend_from_slice(bytes);
                    if state.buffer.len() < GATHER_BYTES {
                        return Ok(());
                    }
                    return state.flush();
                }
                state.flush()?;
                for piece in bytes.chunks(PIECE_BYTES) {
                    state.send(Bytes::copy_from_slice(piece))?;
                }
                Ok(())
            }
        }
    }

    fn push_owned(&self, bytes: Bytes) -> Result<()> {
        let mut state = self.lock();
        if matches!(state.to, Target::Buffer(_)) || bytes.len() < GATHER_BYTES {
            drop(state);
            return self.push(&bytes);
        }
        state.flush()?;
        state.send(bytes)
    }
}

impl State {
    fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = self.buffer.split().freeze();
        self.send(piece)
    }

    fn send(&self, piece: Bytes) -> Result<()> {
        match &self.to {
            Target::Channel(sender) => sender.blocking_send(Ok(Some(piece))).map_err(|_| unwanted()),
            Target::Buffer(_) => Err(Error::new(ErrorKind::Bug, "bytes are sent on that are collected")),
        }
    }
}

/// Runs `call` on a thread that may block, and gives what it pushes as it comes. Resolves with the first piece, so that what fails at
/// once fails here.
pub(super) async fn streamed(
    size: Option<u64>,
    call: impl FnOnce(&backup_reader) -> Result<()> + Send + 'static,
) -> Result<Content<'static>> {
    let (sender, mut receiver) = mpsc::channel(PIECES);
    let end = sender.clone();
    // Nobody waits for it: what it comes to is the last thing in the channel.
    drop(calls::spawn(move || {
        let reader = backup_reader::new(Target::Channel(sender));
        let outcome = reader.refusals.judge(call(&reader)).and_then(|()| reader.lock().flush());
        let _ = end.blocking_send(outcome.map(|()| None));
        Ok(())
    }));
    let first = next(&mut receiver).await?;
    let rest = stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        match next(&mut receiver).await {
            Ok(Some(piece)) => Some((Ok(piece), Some(receiver))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(match first {
        Some(piece) => Content::new(size, stream::once(async { Ok(piece) }).chain(rest).boxed()),
        None => Content::new(size, stream::empty().boxed()),
    })
}

async fn next(receiver: &mut mpsc::Receiver<Result<Option<Bytes>>>) -> Result<Option<Bytes>> {
    // A channel that ends without saying so would be content that is cut short.
    receiver.recv().await.unwrap_or_else(|| Err(Error::new(ErrorKind::Bug, "a call was dropped")))
}

/// Gives the next bytes, which are copied. Waits while the engine has enough. An error says that they are not wanted or cannot be:
/// the function should free what it holds and return that error.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_reader_push(
    reader: *const backup_reader,
    bytes: *const u8,
    bytes_len: usize,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let reader = unsafe { door.handle(reader, "reader")? };
        // SAFETY: the caller keeps the contract of the header.
        let bytes = unsafe { door.bytes(bytes, bytes_len, "bytes") };
        reader.refusals.note(bytes.and_then(|bytes| reader.push(bytes)))
    })
}

/// As backup_reader_push() without a copy: the bytes stay the library's until it calls `release` with `userdata`, once, on any thread,
/// also if the call fails. Worth while from 64 KiB on. They must not change; pieces of about 1 MiB are best, since all of it stays in memory.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_reader_push_owned(
    reader: *const backup_reader,
    bytes: *const u8,
    bytes_len: usize,
    release: Option<unsafe extern "C" fn(userdata: *mut c_void)>,
    userdata: *mut c_void,
) -> *mut backup_error {
    // Before anything can fail: from here on it is released.
    let lent = Lent { bytes, len: bytes_len, release, userdata };
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let reader = unsafe { door.handle(reader, "reader")? };
        // SAFETY: the caller keeps the contract of the header.
        let checked = unsafe { door.bytes(lent.bytes, lent.len, "bytes") }.map(drop);
        let lent = move || if lent.len == 0 { Bytes::new() } else { Bytes::from_owner(lent) };
        reader.refusals.note(checked.and_then(|()| reader.push_owned(lent())))
    })
}

/// Bytes of the embedder's with what frees them.
struct Lent {
    bytes: *const u8,
    len: usize,
    release: Option<unsafe extern "C" fn(*mut c_void)>,
    userdata: *mut c_void,
}

// SAFETY: the header asks that the bytes do not change and that any thread may release them.
unsafe impl Send for Lent {}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: checked before it is made `Bytes` of, and the caller promised that they stay until they are released.
        unsafe { std::slice::from_raw_parts(self.bytes, self.len) }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: promised by the caller; it happens once.
            unsafe { release(self.userdata) }
        }
    }
}
