//! The key slots of a repository: several passphrases and keys, and changing them.

use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::convert::{cost, credential};
use crate::door::{promise, wait};
use crate::error::OrRaise;
use crate::reports;
use crate::repository::{Keyword, Repository};

#[pymethods]
impl Repository {
    /// The key slots that there are, in the order of their ids. One listing.
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let repository = self.shared().get().or_raise(py)?;
        let slots = wait(py, self.job(move || async move { repository.keys().await }))?;
        PyList::new(py, slots.iter().map(|slot| reports::key_slot(py, slot)).collect::<PyResult<Vec<_>>>()?)
    }

    /// Lets another passphrase or key open the repository too; its slot's id.
    #[pyo3(signature = (
        *, passphrase = None, raw_key = None, kdf_memory_kib = None, kdf_passes = None, kdf_lanes = None
    ))]
    fn add_key(
        &self,
        py: Python<'_>,
        passphrase: Keyword<'_, '_>,
        raw_key: Keyword<'_, '_>,
        kdf_memory_kib: Option<u32>,
        kdf_passes: Option<u32>,
        kdf_lanes: Option<u32>,
    ) -> PyResult<String> {
        let repository = self.shared().get().or_raise(py)?;
        let credential = credential(passphrase, raw_key)?.or_raise(py)?;
        let kdf = cost(kdf_memory_kib, kdf_passes, kdf_lanes).or_raise(py)?;
        let added = wait(py, self.job(move || async move { repository.add_key(&credential, kdf).await }))?;
        Ok(added.to_string())
    }

    /// Does what `add_key` does, for `await`.
    #[pyo3(signature = (
        *, passphrase = None, raw_key = None, kdf_memory_kib = None, kdf_passes = None, kdf_lanes = None
    ))]
    fn add_key_async<'py>(
        &self,
        py: Python<'py>,
        passphrase: Keyword<'_, 'py>,
        raw_key: Keyword<'_, 'py>,
        kdf_memory_kib: Option<u32>,
        kdf_passes: Option<u32>,
        kdf_lanes: Option<u32>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let repository = self.shared().get().or_raise(py)?;
        let credential = credential(passphrase, raw_key)?.or_raise(py)?;
        let kdf = cost(kdf_memory_kib, kdf_passes, kdf_lanes).or_raise(py)?;
        let job = self.job(move || async move { repository.add_key(&credential, kdf).await });
        promise(py, job, |py, added| Ok(added.to_string().into_pyobject(py)?.into_any().unbind()))
    }

    /// Takes a key slot away. Clients that have the repository open keep it open.
    fn remove_key(&self, py: Python<'_>, id: &str) -> PyResult<()> {
        let repository = self.shared().get().or_raise(py)?;
        let id = id.parse().map_err(|error: backup_core::Error| error.with_item(id)).or_raise(py)?;
        wait(py, self.job(move || async move { repository.remove_key(id).await }))
    }
}
