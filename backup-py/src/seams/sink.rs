//! Sinks that are Python objects.

use async_trait::async_trait;
use backup_core::{Conflict, Contents, Item, Place, Placed, Placement, Result, Sink};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use super::contents::{Reader, serve};
use super::desk::Desk;
use super::{Caller, UNDER_WAY, concurrency, staffed, values};
use crate::results;

#[derive(Debug)]
pub(super) struct ObjectSink {
    desk: Desk,
    concurrency: usize,
    has_close: bool,
    has_finish: bool,
}

impl ObjectSink {
    pub(super) fn new(object: &Bound<'_, PyAny>, caller: Caller) -> PyResult<Self> {
        let py = object.py();
        let concurrency = concurrency(object)?;
        Ok(Self {
            concurrency,
            has_close: object.hasattr(intern!(py, "close_container"))?,
            has_finish: object.hasattr(intern!(py, "finish"))?,
            desk: staffed(object, "sink", caller, concurrency)?,
        })
    }
}

#[async_trait]
impl Sink for ObjectSink {
    async fn put<'a>(
        &'a self,
        item: &'a Item,
        place: Place<'a>,
        contents: &'a dyn Contents,
    ) -> Result<Placement> {
        let conflict = match place.conflict {
            Conflict::Replace => "replace",
            Conflict::KeepBoth => "keep_both",
            _ => "skip",
        };
        let (parent, link) = (place.parent.cloned(), place.link.cloned());
        let (reader, asked) = Reader::new();
        let item = item.clone();
        let put = self.desk.call(
            "put",
            move |py| {
                let handle =
                    |placed: Option<&Placed>| placed.map(|placed| PyBytes::new(py, placed.as_bytes()));
                (results::item(py, &item)?, handle(parent.as_ref()), conflict, handle(link.as_ref()), reader)
                    .into_pyobject(py)
            },
            values::placement,
        );
        serve(put, asked, contents).await
    }

    fn concurrency(&self) -> usize {
        self.concurrency.max(UNDER_WAY)
    }

    async fn close(&self, item: &Item, placed: &Placed) -> Result<()> {
        if !self.has_close {
            return Ok(());
        }
        let (item, placed) = (item.clone(), placed.clone());
        let closed = self.desk.call(
            "close_container",
            move |py| (results::item(py, &item)?, PyBytes::new(py, placed.as_bytes())).into_pyobject(py),
            |_| Ok(()),
        );
        closed.await
    }

    async fn finish(&self) -> Result<()> {
        if !self.has_finish {
            return Ok(());
        }
        self.desk.call("finish", |py| Ok(PyTuple::empty(py)), |_| Ok(())).await
    }
}
