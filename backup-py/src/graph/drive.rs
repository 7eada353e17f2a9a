//! Drives as sources and sinks.

use std::sync::Arc;

use backup_core::{Sink, Source};
use backup_graph::Versions;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::tenant::Tenant;
use crate::error::{OrRaise, invalid};
use crate::folder::{Turn, Turned};

/// One drive of a user, group or site to back up.
#[pyclass(frozen, module = "backup_py")]
pub(crate) struct DriveSource {
    source: Arc<dyn Source>,
    turn: Turn,
    recipe: Recipe,
}

/// A folder of a drive to restore to.
#[pyclass(frozen, module = "backup_py")]
pub(crate) struct DriveSink {
    sink: Arc<dyn Sink>,
    turn: Turn,
    recipe: Recipe,
}

/// What it was made from: what a pickle of it holds.
struct Recipe {
    tenant: Py<Tenant>,
    drive: String,
    keywords: Py<PyDict>,
}

type Arguments<'a, 'py> = ((&'a Py<Tenant>, &'a str), Bound<'py, PyDict>);

impl Recipe {
    fn arguments<'py>(&self, py: Python<'py>) -> PyResult<Arguments<'_, 'py>> {
        Ok(((&self.tenant, &self.drive), self.keywords.bind(py).copy()?))
    }
}

#[pymethods]
impl DriveSource {
    #[new]
    #[pyo3(signature = (
        tenant, drive, *, concurrency = None, range_bytes = None, page_entries = None, versions = None,
        permissions = false, fields = false
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn new<'py>(
        py: Python<'py>,
        tenant: Bound<'py, Tenant>,
        drive: &Bound<'py, PyAny>,
        concurrency: Option<usize>,
        range_bytes: Option<u64>,
        page_entries: Option<u32>,
        versions: Option<&Bound<'py, PyAny>>,
        permissions: bool,
        fields: bool,
    ) -> PyResult<Self> {
        let drive = drive_id(drive)?;
        let keywords = PyDict::new(py);
        keywords.set_item("concurrency", concurrency)?;
        keywords.set_item("range_bytes", range_bytes)?;
        keywords.set_item("page_entries", page_entries)?;
        keywords.set_item("versions", versions)?;
        keywords.set_item("permissions", permissions)?;
        keywords.set_item("fields", fields)?;
        let mut source = backup_graph::DriveSource::new(tenant.get().client().clone(), &drive)
            .with_versions(self::versions(versions)?)
            .with_permissions(permissions)
            .with_fields(fields);
        if let Some(files) = concurrency {
            source = source.with_concurrency(files);
        }
        if let Some(bytes) = range_bytes {
            source = source.with_range_bytes(bytes);
        }
        if let Some(entries) = page_entries {
            source = source.with_page_entries(entries);
        }
        let recipe = Recipe { tenant: tenant.unbind(), drive, keywords: keywords.unbind() };
        Ok(Self { source: Arc::new(source), turn: Turn::default(), recipe })
    }

    /// The id of the collection that this drive is.
    #[getter]
    fn collection(&self) -> String {
        self.source.collection().id
    }

    fn __repr__(&self) -> String {
        format!("DriveSource(collection={:?})", self.collection())
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<Arguments<'_, 'py>> {
        self.recipe.arguments(py)
    }
}

#[pymethods]
impl DriveSink {
    #[new]
    #[pyo3(signature = (
        tenant, drive, *, folder = None, concurrency = None, range_bytes = None, versions = false,
        permissions = false, fields = false
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn new<'py>(
        py: Python<'py>,
        tenant: Bound<'py, Tenant>,
        drive: &Bound<'py, PyAny>,
        folder: Option<&str>,
        concurrency: Option<usize>,
        range_bytes: Option<usize>,
        versions: bool,
        permissions: bool,
        fields: bool,
    ) -> PyResult<Self> {
        let drive = drive_id(drive)?;
        let keywords = PyDict::new(py);
        keywords.set_item("folder", folder)?;
        keywords.set_item("concurrency", concurrency)?;
        keywords.set_item("range_bytes", range_bytes)?;
        keywords.set_item("versions", versions)?;
        keywords.set_item("permissions", permissions)?;
        keywords.set_item("fields", fields)?;
        let mut sink = backup_graph::DriveSink::new(tenant.get().client().clone(), &drive, folder)
            .with_versions(versions)
            .with_permissions(permissions)
            .with_fields(fields);
        if let Some(items) = concurrency {
            sink = sink.with_concurrency(items);
        }
        if let Some(bytes) = range_bytes {
            sink = sink.with_range_bytes(bytes);
        }
        let recipe = Recipe { tenant: tenant.unbind(), drive, keywords: keywords.unbind() };
        Ok(Self { sink: Arc::new(sink), turn: Turn::default(), recipe })
    }

    fn __repr__(&self) -> String {
        format!("DriveSink({:?})", self.recipe.drive)
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<Arguments<'_, 'py>> {
        self.recipe.arguments(py)
    }
}

impl DriveSource {
    pub(crate) fn turned(&self) -> Turned<dyn Source> {
        Turned::source(&self.source, &self.turn)
    }
}

impl DriveSink {
    pub(crate) fn turned(&self) -> Turned<dyn Sink> {
        Turned::sink(&self.sink, &self.turn)
    }
}

/// A drive is named by its id, or by what a listing says of it.
fn drive_id(drive: &Bound<'_, PyAny>) -> PyResult<String> {
    if drive.is_instance_of::<PyString>() {
        return drive.extract();
    }
    drive.getattr(intern!(drive.py(), "id"))?.extract()
}

/// None, `"all"`, or a number of earlier versions.
fn versions(versions: Option<&Bound<'_, PyAny>>) -> PyResult<Versions> {
    let Some(versions) = versions else { return Ok(Versions::None) };
    if versions.is_instance_of::<PyString>() {
        return match versions.extract::<&str>()? {
            "all" => Ok(Versions::All),
            _ => Err(invalid("versions is None, \"all\" or a number")).or_raise(versions.py()),
        };
    }
    versions.extract().map(Versions::Newest)
}
