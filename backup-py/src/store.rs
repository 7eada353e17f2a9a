//! Stores: what an argument that is one means. Whoever adds another kind of store adds a kind of [`At`] here.

use std::sync::Arc;

use backup_core::{Result, Store, store};
use pyo3::prelude::*;

use crate::convert::{Pairs, address, is_address, pairs};
use crate::error::{OrRaise, invalid};
use crate::seams;

/// A store that a method was given, to be opened where its run is.
pub(crate) enum At {
    /// By its address.
    Url(String, Pairs),
    /// A Python object that is one.
    Object(Arc<dyn Store>),
}

impl At {
    /// The store that `url` and `options` name, or that `url` is. Nothing is looked at yet.
    pub(crate) fn new(url: &Bound<'_, PyAny>, options: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let options = pairs(options)?;
        if is_address(url)? {
            return Ok(Self::Url(address(url)?, options));
        }
        if !options.is_empty() {
            return Err(invalid("options are for stores with an address")).or_raise(url.py());
        }
        seams::store(url).map(Self::Object)
    }

    /// Opens it. May create a folder.
    pub(crate) fn open(self) -> Result<Arc<dyn Store>> {
        match self {
            Self::Url(url, options) => store::from_url(&url, options),
            Self::Object(store) => Ok(store),
        }
    }
}
