//! The content of an item that is being put: Python asks for pieces, and the future of the put gets them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use backup_core::{Contents, Error, ErrorKind, Result};
use bytes::Bytes;
use futures_util::future::{Either, select};
use futures_util::stream::{BoxStream, StreamExt};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::error::{OrRaise, invalid};
use crate::gate;

type Reply<T> = oneshot::Sender<Result<T>>;

pub(super) enum Ask {
    Open { number: u64, stream: String, reply: Reply<Option<u64>> },
    Next { number: u64, reply: Reply<Option<Bytes>> },
    Close { number: u64 },
}

/// Python's end; `protocols.Contents` is what users see of it.
#[pyclass(frozen, module = "backup_py")]
pub(super) struct Reader {
    asks: UnboundedSender<Ask>,
    last: AtomicU64,
}

#[pymethods]
impl Reader {
    /// Opens a stream: its number and its length.
    fn open(&self, py: Python<'_>, stream: String) -> PyResult<(u64, Option<u64>)> {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let size = self.ask(py, |reply| Ask::Open { number, stream, reply })?;
        Ok((number, size))
    }

    /// The next piece, or none at the end.
    fn next<'py>(&self, py: Python<'py>, number: u64) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let piece = self.ask(py, |reply| Ask::Next { number, reply })?;
        Ok(piece.map(|piece| PyBytes::new(py, &piece)))
    }

    fn close(&self, number: u64) {
        // A put that is over has closed everything.
        let _ = self.asks.send(Ask::Close { number });
    }
}

impl Reader {
    pub(super) fn new() -> (Self, UnboundedReceiver<Ask>) {
        let (asks, asked) = unbounded_channel();
        (Self { asks, last: AtomicU64::new(1) }, asked)
    }

    fn ask<T: Send>(&self, py: Python<'_>, ask: impl FnOnce(Reply<T>) -> Ask) -> PyResult<T> {
        let (reply, replied) = oneshot::channel();
        let over = || Err(invalid("content can be read only while its item is being put"));
        if self.asks.send(ask(reply)).is_err() {
            return over().or_raise(py);
        }
        let answer = py.detach(|| {
            let answer = replied.blocking_recv();
            gate::stay_outside_at_the_end();
            answer
        });
        answer.unwrap_or_else(|_| over()).or_raise(py)
    }
}

/// Answers what is asked until the put is over.
pub(super) async fn serve<T>(
    put: impl Future<Output = Result<T>> + Unpin,
    mut asked: UnboundedReceiver<Ask>,
    contents: &dyn Contents,
) -> Result<T> {
    let mut open: HashMap<u64, BoxStream<'_, Result<Bytes>>> = HashMap::new();
    let mut broken = None;
    let mut put = put;
    let result = loop {
        let ask = match select(&mut put, Box::pin(asked.recv())).await {
            Either::Left((result, _)) => break result,
            Either::Right((ask, _)) => ask,
        };
        match ask {
            Some(Ask::Open { number, stream, reply }) => {
                let opened = contents.open(&stream).map(|content| {
                    open.insert(number, content.bytes);
                    content.size
                });
                let _ = reply.send(opened);
            }
            Some(Ask::Next { number, reply }) => {
                let piece = match open.get_mut(&number) {
                    Some(stream) => stream.next().await.transpose(),
                    None => Err(invalid("this content is closed")),
                };
                let _ = reply.send(piece.map_err(|error| {
                    let twin = Error::new(error.kind(), error.message());
                    let twin = match error.item() {
                        Some(item) => twin.with_item(item),
                        None => twin,
                    };
                    broken.get_or_insert(error);
                    twin
                }));
            }
            Some(Ask::Close { number }) => drop(open.remove(&number)),
            // Nobody can ask any more.
            None => break put.await,
        }
    };
    match (result, broken) {
        // A sink that does not mind that content is broken has put something else than the item.
        (Ok(_), Some(error)) if error.kind() != ErrorKind::InvalidArgument => Err(error),
        (result, _) => result,
    }
}
