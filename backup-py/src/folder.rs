//! Sources and sinks. Local folders are the first; every other kind becomes a class of its own, one more arm in
//! [`source`] or [`sink`], and the methods that take them stay as they are. What is of no class of ours is one of `seams`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backup_core::{CancelToken, Result, Sink, Source};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::convert::{Patterns, patterns};
use crate::copies::SnapshotSource;
use crate::door::guard;
use crate::error::invalid;
use crate::graph::{DriveSink, DriveSource};
use crate::seams::{self, Caller};

/// A local folder to back up.
#[pyclass(frozen, module = "backup_py")]
pub(crate) struct FolderSource {
    source: Arc<dyn Source>,
    /// What it was made from, with the whole path: what a pickle of it holds.
    recipe: (PathBuf, SourceSettings),
    turn: Turn,
}

/// A local folder to restore to.
#[pyclass(frozen, module = "backup_py")]
pub(crate) struct FolderSink {
    path: PathBuf,
    restore_owner: bool,
    main_stream_only: bool,
    sink: Arc<dyn Sink>,
    turn: Turn,
}

#[pymethods]
impl FolderSource {
    #[new]
    #[pyo3(
        signature = (
            path, *, exclude = None, one_file_system = false, require_mount_point = false, collection_id = None
        ),
        text_signature = "(path, *, exclude=(), one_file_system=False, require_mount_point=False, \
                          collection_id=None)"
    )]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        exclude: Option<Patterns>,
        one_file_system: bool,
        require_mount_point: bool,
        collection_id: Option<String>,
    ) -> PyResult<Self> {
        let settings = SourceSettings {
            exclude: patterns(exclude),
            one_file_system,
            require_mount_point,
            collection_id,
        };
        let path = whole(path);
        let source = guard(py, || system::source(&path, &settings))?;
        Ok(Self { source, recipe: (path, settings), turn: Turn::default() })
    }

    /// The id of the collection that this folder is.
    #[getter]
    fn collection(&self) -> String {
        self.source.collection().id
    }

    fn __repr__(&self) -> String {
        format!("FolderSource(collection={:?})", self.collection())
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<((&PathBuf,), Bound<'py, PyDict>)> {
        let (path, settings) = &self.recipe;
        let keywords = PyDict::new(py);
        keywords.set_item("exclude", PyTuple::new(py, &settings.exclude)?)?;
        keywords.set_item("one_file_system", settings.one_file_system)?;
        keywords.set_item("require_mount_point", settings.require_mount_point)?;
        keywords.set_item("collection_id", settings.collection_id.as_ref())?;
        Ok(((path,), keywords))
    }
}

#[pymethods]
impl FolderSink {
    #[new]
    #[pyo3(signature = (path, *, restore_owner = true, main_stream_only = false))]
    fn new(py: Python<'_>, path: PathBuf, restore_owner: bool, main_stream_only: bool) -> PyResult<Self> {
        let path = whole(path);
        let sink = guard(py, || system::sink(&path, restore_owner, main_stream_only))?;
        Ok(Self { path, restore_owner, main_stream_only, sink, turn: Turn::default() })
    }

    fn __repr__(&self) -> String {
        format!("FolderSink({:?})", self.path)
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<((&PathBuf,), Bound<'py, PyDict>)> {
        let keywords = PyDict::new(py);
        keywords.set_item("restore_owner", self.restore_owner)?;
        keywords.set_item("main_stream_only", self.main_stream_only)?;
        Ok(((&self.path,), keywords))
    }
}

/// What a folder is backed up with.
struct SourceSettings {
    exclude: Vec<String>,
    one_file_system: bool,
    require_mount_point: bool,
    collection_id: Option<String>,
}

/// The path from the root on, which also means something to another process. One that the system refuses stays as it is: who
/// uses it says why.
fn whole(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

/// The source that a method was given: one of ours, or any object that is one.
pub(crate) fn source(object: &Bound<'_, PyAny>, caller: Caller) -> PyResult<Turned<dyn Source>> {
    if let Ok(snapshot) = object.cast::<SnapshotSource>() {
        return snapshot.get().turned(object.py());
    }
    if let Ok(drive) = object.cast::<DriveSource>() {
        return Ok(drive.get().turned());
    }
    if let Ok(folder) = object.cast::<FolderSource>() {
        let folder = folder.get();
        return Ok(Turned::source(&folder.source, &folder.turn));
    }
    Ok(Turned::source(&seams::source(object, caller)?, &Turn::default()))
}

/// The sink that a method was given: one of ours, or any object that is one.
pub(crate) fn sink(object: &Bound<'_, PyAny>, caller: Caller) -> PyResult<Turned<dyn Sink>> {
    if let Ok(drive) = object.cast::<DriveSink>() {
        return Ok(drive.get().turned());
    }
    if let Ok(folder) = object.cast::<FolderSink>() {
        let folder = folder.get();
        return Ok(Turned::sink(&folder.sink, &folder.turn));
    }
    Ok(Turned::sink(&seams::sink(object, caller)?, &Turn::default()))
}

/// How long to wait before a source or sink is said to be in use.
const MOMENT: Duration = Duration::from_millis(500);

/// Whose turn it is: sources and sinks serve one run at a time.
#[derive(Clone, Default)]
pub(crate) struct Turn {
    free: Arc<AsyncMutex<()>>,
    /// The token of the run that has it, or had it last.
    holder: Arc<Mutex<CancelToken>>,
}

/// A source or sink for the next run.
pub(crate) struct Turned<T: ?Sized> {
    thing: Arc<T>,
    turn: Turn,
    name: &'static str,
}

impl Turned<dyn Source> {
    pub(crate) fn source(source: &Arc<dyn Source>, turn: &Turn) -> Self {
        Self { thing: Arc::clone(source), turn: turn.clone(), name: "source" }
    }
}

impl Turned<dyn Sink> {
    pub(crate) fn sink(sink: &Arc<dyn Sink>, turn: &Turn) -> Self {
        Self { thing: Arc::clone(sink), turn: turn.clone(), name: "sink" }
    }
}

impl<T: Send + Sync + ?Sized> Turned<T> {
    /// Takes the turn until the guard is dropped. Waits for a run that is being canceled, and only for such a one: to
    /// wait for a run whose callback is calling would be to wait for ever. That an awaitable was canceled becomes known
    /// a moment later.
    pub(crate) async fn take(&self, token: &CancelToken) -> Result<(&T, OwnedMutexGuard<()>)> {
        let holder = || self.turn.holder.lock().unwrap_or_else(PoisonError::into_inner);
        let soon = tokio::time::timeout(MOMENT, Arc::clone(&self.turn.free).lock_owned()).await;
        let guard = match soon {
            Ok(guard) => guard,
            Err(_) if holder().is_canceled() => Arc::clone(&self.turn.free).lock_owned().await,
            Err(_) => return Err(invalid(format!("this {} is in use by another run", self.name))),
        };
        *holder() = token.clone();
        Ok((&*self.thing, guard))
    }
}

#[cfg(unix)]
mod system {
    use std::path::Path;
    use std::sync::Arc;

    use backup_core::{FolderSink, FolderSource, Result, Sink, Source};

    use super::SourceSettings;

    pub(super) fn source(path: &Path, settings: &SourceSettings) -> Result<Arc<dyn Source>> {
        let mut source = FolderSource::new(path)?
            .exclude(&settings.exclude)?
            .one_file_system(settings.one_file_system)
            .require_mount_point(settings.require_mount_point);
        if let Some(id) = &settings.collection_id {
            source = source.collection_id(id);
        }
        Ok(Arc::new(source))
    }

    pub(super) fn sink(path: &Path, restore_owner: bool, main_stream_only: bool) -> Result<Arc<dyn Sink>> {
        let sink = FolderSink::new(path)?.restore_owner(restore_owner).main_stream_only(main_stream_only);
        Ok(Arc::new(sink))
    }
}

#[cfg(not(unix))]
mod system {
    use std::path::Path;
    use std::sync::Arc;

    use backup_core::{Error, ErrorKind, Result, Sink, Source};

    use super::SourceSettings;

    pub(super) fn source(_path: &Path, _settings: &SourceSettings) -> Result<Arc<dyn Source>> {
        Err(no_folders())
    }

    pub(super) fn sink(_path: &Path, _owner: bool, _main_stream_only: bool) -> Result<Arc<dyn Sink>> {
        Err(no_folders())
    }

    fn no_folders() -> Error {
        Error::new(ErrorKind::Unsupported, "this system has no folder source and sink")
    }
}
