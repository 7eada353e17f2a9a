//! The class `Browser`: looking into a snapshot by path, by item, folder by folder, and into streams.

use std::sync::Arc;

use backup_core::{ErrorKind, Item, ItemId, Result, Stream};
use bytes::Bytes;
use futures_util::TryStreamExt;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::convert::{Target, refuse_pickle};
use crate::door::{Job, wait};
use crate::pages::Listing;
use crate::repository::Shared;
use crate::results;

/// What a file reads ahead, unless told otherwise.
const FILE_BUFFER_BYTES: usize = 1 << 20;

/// A read-only view of one snapshot.
#[pyclass(frozen, module = "backup_py")]
pub(crate) struct Browser {
    shared: Arc<Shared>,
    browser: backup_core::Browser,
}

#[pymethods]
impl Browser {
    /// What the snapshot says of itself.
    #[getter]
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.shared.check(py)?;
        results::info(py, &self.browser.info())
    }

    /// Iterates over what a folder holds, in bytewise order of names.
    #[pyo3(signature = (target = Target::Path(String::new())), text_signature = "($self, target='')")]
    fn list(&self, py: Python<'_>, target: Target) -> PyResult<Listing> {
        let browser = self.browser.clone();
        let listing = self.wait(py, move || async move { list(&browser, target).await })?;
        Ok(Listing::new(Arc::clone(&self.shared), listing))
    }

    /// Looks up one item.
    fn stat<'py>(&self, py: Python<'py>, target: Target) -> PyResult<Bound<'py, PyAny>> {
        let browser = self.browser.clone();
        let item = self.wait(py, move || async move { stat(&browser, target).await })?;
        results::item(py, &item)
    }

    /// The path of an item.
    fn path(&self, py: Python<'_>, target: Target) -> PyResult<String> {
        let browser = self.browser.clone();
        self.wait(py, move || async move { path(&browser, target).await })
    }

    /// Reads bytes of a stream.
    #[pyo3(signature = (target, *, stream = Stream::CONTENT.to_owned(), offset = 0, length = None),
           text_signature = "($self, target, *, stream='content', offset=0, length=None)")]
    fn read<'py>(
        &self,
        py: Python<'py>,
        target: Target,
        stream: String,
        offset: u64,
        length: Option<u64>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let browser = self.browser.clone();
        let pieces =
            self.wait(py, move || async move { read(&browser, target, &stream, offset, length).await })?;
        join(py, &pieces)
    }

    /// Opens a stream as a file.
    #[pyo3(signature = (target, *, stream = Stream::CONTENT.to_owned(), buffer_size = FILE_BUFFER_BYTES),
           text_signature = "($self, target, *, stream='content', buffer_size=1048576)")]
    fn open<'py>(
        this: &Bound<'py, Self>,
        target: Target,
        stream: String,
        buffer_size: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, browser, name) = (this.py(), this.get().browser.clone(), stream.clone());
        let (id, shown, size) = this.get().wait(py, move || async move {
            let shown = match &target {
                Target::Path(path) => Some(path.clone()),
                Target::Id(_) => None,
            };
            let id = resolve(&browser, target).await?;
            let size = size(&browser, &id, &name).await?;
            let shown = match shown {
                Some(path) => path,
                None => browser.item(&id).await?.name.to_string(),
            };
            Ok((id, shown, size))
        })?;
        let open = py.import(intern!(py, "backup_py.files"))?.getattr(intern!(py, "_open"))?;
        open.call1((this, PyBytes::new(py, id.as_bytes()), stream, size, shown, buffer_size))
    }

    fn __repr__(&self) -> String {
        format!("<backup_py.Browser of snapshot {}>", self.browser.info().summary.id)
    }

    fn __reduce__(&self) -> PyResult<()> {
        refuse_pickle("Browser", "it reads from an open repository; browse again where it is needed")
    }
}

impl Browser {
    pub(crate) fn new(shared: Arc<Shared>, browser: backup_core::Browser) -> Self {
        Self { shared, browser }
    }

    fn wait<T, F>(&self, py: Python<'_>, work: impl FnOnce() -> F + Send + 'static) -> PyResult<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + 'static,
    {
        wait(py, self.job(py, work)?)
    }

    pub(crate) fn job<T, F>(
        &self,
        py: Python<'_>,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> PyResult<Job<T>>
    where
        F: Future<Output = Result<T>> + 'static,
    {
        self.shared.check(py)?;
        Ok(Job::new(self.shared.poison(), work))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn inner(&self) -> backup_core::Browser {
        self.browser.clone()
    }
}

pub(crate) async fn list(browser: &backup_core::Browser, target: Target) -> Result<backup_core::Listing> {
    match target {
        Target::Path(path) => browser.list(&path).await,
        Target::Id(id) => {
            // What is not there has nothing below it, but is to be told from an empty folder.
            browser.item(&id).await?;
            browser.list_below(Some(&id)).await
        }
    }
}

pub(crate) async fn stat(browser: &backup_core::Browser, target: Target) -> Result<Item> {
    match target {
        Target::Path(path) => browser.stat(&path).await,
        Target::Id(id) => browser.item(&id).await,
    }
}

pub(crate) async fn path(browser: &backup_core::Browser, target: Target) -> Result<String> {
    let id = resolve(browser, target).await?;
    browser.path(&id).await
}

/// The pieces of a range.
pub(crate) async fn read(
    browser: &backup_core::Browser,
    target: Target,
    stream: &str,
    offset: u64,
    length: Option<u64>,
) -> Result<Vec<Bytes>> {
    let id = resolve(browser, target).await?;
    let range = match (offset, length) {
        (0, None) => None,
        (start, Some(length)) => Some(start..start.saturating_add(length)),
        (start, None) => Some(start..size(browser, &id, stream).await?.max(start)),
    };
    browser.read(&id, stream, range).await?.bytes.try_collect().await
}

/// Pieces as one object.
pub(crate) fn join<'py>(py: Python<'py>, pieces: &[Bytes]) -> PyResult<Bound<'py, PyBytes>> {
    let len = pieces.iter().map(Bytes::len).sum();
    PyBytes::new_with(py, len, |mut buffer| {
        for piece in pieces {
            let (head, rest) = buffer.split_at_mut_checked(piece.len()).unwrap_or_default();
            head.copy_from_slice(piece);
            buffer = rest;
        }
        Ok(())
    })
}

async fn resolve(browser: &backup_core::Browser, target: Target) -> Result<ItemId> {
    match target {
        Target::Path(path) => Ok(browser.stat(&path).await?.id),
        Target::Id(id) => Ok(id),
    }
}

async fn size(browser: &backup_core::Browser, id: &ItemId, stream: &str) -> Result<u64> {
    let item = browser.item(id).await?;
    let holder = match &item.hard_link {
        Some(target) => browser.item(target).await?,
        None => item,
    };
    let found = holder.stream(stream).and_then(|stream| stream.size);
    found.ok_or_else(|| {
        backup_core::Error::new(ErrorKind::NotFound, format!("the item has no stream {stream:?}"))
            .with_item(holder.name.to_string())
    })
}
