//! Stores that are Python objects.

use std::ops::Range;

use async_trait::async_trait;
use backup_core::store::{Created, Entry, Key};
use backup_core::{Error, Result, Store};
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use super::desk::Desk;
use super::{Caller, concurrency, staffed, values};

#[derive(Debug)]
pub(super) struct ObjectStore {
    desk: Desk,
}

impl ObjectStore {
    pub(super) fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        // A store outlives the call that it was given to, and with it the event loop.
        Ok(Self { desk: staffed(object, "store", Caller::Thread, concurrency(object)?)? })
    }
}

fn named(key: &Key) -> impl for<'py> FnOnce(Python<'py>) -> PyResult<Bound<'py, PyTuple>> + Send + 'static {
    let key = key.to_string();
    move |py| (key,).into_pyobject(py)
}

fn about(key: &Key) -> impl Fn(Error) -> Error {
    |error| if error.item().is_some() { error } else { error.with_item(key.as_str()) }
}

#[async_trait]
impl Store for ObjectStore {
    async fn create(&self, key: &Key, data: Bytes) -> Result<Created> {
        let name = key.to_string();
        let created = self.desk.call(
            "create",
            move |py| (name, PyBytes::new(py, &data)).into_pyobject(py),
            |answer| answer.extract::<bool>(),
        );
        let created = created.await.map_err(about(key))?;
        Ok(if created { Created::New } else { Created::AlreadyPresent })
    }

    async fn read(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        let name = key.to_string();
        let (start, end) = range.map_or((0, None), |range| (range.start, Some(range.end)));
        let read = self.desk.call("read", move |py| (name, start, end).into_pyobject(py), values::piece);
        read.await.map_err(about(key))
    }

    async fn size(&self, key: &Key) -> Result<u64> {
        self.desk.call("size", named(key), |answer| answer.extract::<u64>()).await.map_err(about(key))
    }

    fn list<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, Result<Entry>> {
        self.desk.iterate("list", named(prefix), values::entry).map_err(about(prefix)).boxed()
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.desk.call("delete", named(key), |_| Ok(())).await.map_err(about(key))
    }
}
