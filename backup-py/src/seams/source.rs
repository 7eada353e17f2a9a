//! Sources that are Python objects.

use async_trait::async_trait;
use backup_core::{Attributes, Change, Collection, Content, Cursor, Error, Item, ItemId, Result, Source};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

use super::desk::Desk;
use super::{Caller, UNDER_WAY, concurrency, staffed, values};
use crate::convert::pairs;
use crate::results;

/// The engine works on no more than this at once.
const PIECE_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct ObjectSource {
    desk: Desk,
    collection: Collection,
    labels: Vec<(String, String)>,
    concurrency: usize,
    has_cursor_without: bool,
    has_metrics: bool,
}

impl ObjectSource {
    pub(super) fn new(object: &Bound<'_, PyAny>, caller: Caller) -> PyResult<Self> {
        let py = object.py();
        let concurrency = concurrency(object)?;
        Ok(Self {
            collection: values::collection(&object.getattr(intern!(py, "collection"))?)?,
            labels: pairs(object.getattr_opt(intern!(py, "labels"))?.as_ref())?,
            concurrency,
            has_cursor_without: object.hasattr(intern!(py, "cursor_without"))?,
            has_metrics: object.hasattr(intern!(py, "metrics"))?,
            desk: staffed(object, "source", caller, concurrency)?,
        })
    }
}

#[async_trait]
impl Source for ObjectSource {
    fn collection(&self) -> Collection {
        self.collection.clone()
    }

    fn changes<'a>(&'a self, since: Option<&'a Cursor>) -> BoxStream<'a, Result<Change>> {
        let since = since.cloned();
        self.desk.iterate(
            "changes",
            move |py| (since.as_ref().map(|cursor| PyBytes::new(py, cursor.as_bytes())),).into_pyobject(py),
            values::change,
        )
    }

    fn cursor_without(&self, cursor: &Cursor, missed: &[ItemId]) -> Option<Cursor> {
        if !self.has_cursor_without {
            return None;
        }
        let (cursor, missed) = (cursor.clone(), missed.to_vec());
        let answer = self.desk.call_and_wait(
            "cursor_without",
            move |py| {
                let missed = missed.iter().map(|id| PyBytes::new(py, id.as_bytes()));
                (PyBytes::new(py, cursor.as_bytes()), PyList::new(py, missed)?).into_pyobject(py)
            },
            |answer| answer.extract::<Option<Vec<u8>>>(),
        );
        // Without one the run keeps the cursor that it began with, which loses nothing.
        answer.ok().flatten().map(Cursor::new)
    }

    async fn open<'a>(&'a self, item: &'a Item, stream: &'a str) -> Result<Content<'a>> {
        let (asked, name) = (item.clone(), stream.to_owned());
        let running = self.desk.running("open");
        let opened = self.desk.call(
            "open",
            move |py| (results::item(py, &asked)?, name).into_pyobject(py),
            |answer| {
                let (size, pieces, number): (Option<u64>, Bound<'_, PyList>, Option<u64>) =
                    answer.extract()?;
                let running = number.map(running);
                let pieces =
                    pieces.iter().map(|piece| values::piece(&piece)).collect::<PyResult<Vec<_>>>()?;
                Ok((size, pieces, running))
            },
        );
        let (size, first, running) = opened.await.map_err(|error| name_it(error, item))?;
        let first = stream::iter(first.into_iter().map(Ok));
        let Some(running) = running else { return Ok(Content::new(size, short(first.boxed()))) };
        Ok(Content::new(size, short(first.chain(running.all(values::piece)).boxed())))
    }

    fn metrics(&self) -> Attributes {
        if !self.has_metrics {
            return Attributes::new();
        }
        let metrics = self.desk.call_and_wait(
            "metrics",
            |py| Ok(PyTuple::empty(py)),
            |answer| values::attributes(answer, 0),
        );
        metrics.unwrap_or_default()
    }

    fn labels(&self) -> Vec<(String, String)> {
        self.labels.clone()
    }

    fn concurrency(&self) -> usize {
        self.concurrency.max(UNDER_WAY)
    }
}

fn name_it(error: Error, item: &Item) -> Error {
    if error.item().is_some() { error } else { error.with_item(item.name.to_string()) }
}

/// The same bytes in pieces that are not too long.
fn short<'a>(pieces: BoxStream<'a, Result<Bytes>>) -> BoxStream<'a, Result<Bytes>> {
    let cut = |mut piece: Bytes| {
        let parts = std::iter::from_fn(move || {
            let part = piece.split_to(piece.len().min(PIECE_BYTES));
            (!part.is_empty()).then_some(Ok(part))
        });
        stream::iter(parts)
    };
    pieces.map_ok(cut).try_flatten().boxed()
}
