//! Stores: what an argument that names one means. Whoever adds another kind of store adds a kind of [`At`] here.

use std::sync::Arc;

use backup_core::{Result, Store, store};
use pyo3::prelude::*;

use crate::convert::{Pairs, address, pairs};

/// A store that a method was given, to be opened where its run is.
pub(crate) struct At {
    url: String,
    options: Pairs,
}

impl At {
    /// The store that `url` and `options` name. Nothing is looked at yet.
    pub(crate) fn new(url: &Bound<'_, PyAny>, options: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        Ok(Self { url: address(url)?, options: pairs(options)? })
    }

    /// Opens it. May create a folder.
    pub(crate) fn open(self) -> Result<Arc<dyn Store>> {
        store::from_url(&self.url, self.options)
    }
}
