//! Sources and sinks as handles. Local folders are the first; every other kind becomes one more constructor here or in
//! a file of its own, and the calls that take them stay as they are.

use std::ffi::c_char;
use std::path::Path;
use std::sync::Arc;

use backup_core::{Result, Sink, Source};

use crate::boundary::{Handle, Poison, boundary, release};
use crate::error::backup_error;
use crate::options::{Settings, backup_options};
use crate::runtime::Runtime;

/// Something that can be backed up.
#[derive(Debug)]
pub struct backup_source {
    poison: Poison,
    pub(crate) source: Arc<dyn Source>,
    /// What its connections need, if it has any.
    keeps: Option<Arc<Runtime>>,
}

/// Something that items can be restored to.
#[derive(Debug)]
pub struct backup_sink {
    poison: Poison,
    pub(crate) sink: Arc<dyn Sink>,
    /// What its connections need, if it has any.
    keeps: Option<Arc<Runtime>>,
}

impl Handle for backup_source {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

impl Handle for backup_sink {
    fn poison(&self) -> &Poison {
        &self.poison
    }
}

impl backup_source {
    pub(crate) fn new(source: Arc<dyn Source>) -> Self {
        Self { poison: Poison::default(), source, keeps: None }
    }

    /// The same with a runtime that lives as long.
    pub(crate) fn keeping(mut self, runtime: Arc<Runtime>) -> Self {
        self.keeps = Some(runtime);
        self
    }
}

impl backup_sink {
    pub(crate) fn new(sink: Arc<dyn Sink>) -> Self {
        Self { poison: Poison::default(), sink, keeps: None }
    }

    /// The same with a runtime that lives as long.
    pub(crate) fn keeping(mut self, runtime: Arc<Runtime>) -> Self {
        self.keeps = Some(runtime);
        self
    }
}

#[cfg(unix)]
fn folder_source(path: &Path, mut settings: Settings) -> Result<Arc<dyn Source>> {
    let mut source = backup_core::FolderSource::new(path)?.exclude(settings.take_all("exclude"))?;
    if let Some(stay) = settings.take_parsed("one_file_system")? {
        source = source.one_file_system(stay);
    }
    if let Some(required) = settings.take_parsed("require_mount_point")? {
        source = source.require_mount_point(required);
    }
    if let Some(id) = settings.take("collection_id")? {
        source = source.collection_id(id);
    }
    settings.finish()?;
    Ok(Arc::new(source))
}

#[cfg(unix)]
fn folder_sink(path: &Path, mut settings: Settings) -> Result<Arc<dyn Sink>> {
    let (owner, main) = (settings.take_parsed("restore_owner")?, settings.take_parsed("main_stream_only")?);
    settings.finish()?;
    let mut sink = backup_core::FolderSink::new(path)?;
    if let Some(restore) = owner {
        sink = sink.restore_owner(restore);
    }
    if let Some(only) = main {
        sink = sink.main_stream_only(only);
    }
    Ok(Arc::new(sink))
}

#[cfg(not(unix))]
fn folder_source(_path: &Path, _settings: Settings) -> Result<Arc<dyn Source>> {
    Err(no_folders())
}

#[cfg(not(unix))]
fn folder_sink(_path: &Path, _settings: Settings) -> Result<Arc<dyn Sink>> {
    Err(no_folders())
}

#[cfg(not(unix))]
fn no_folders() -> backup_core::Error {
    backup_core::Error::new(backup_core::ErrorKind::Unsupported, "this system has no folder source and sink")
}

/// Makes a source of a local folder. Serves one backup at a time.
///
/// Options (may be NULL): `exclude`, any number of glob patterns of what to leave out; `one_file_system` (true, false);
/// `require_mount_point` (true, false); `collection_id`, a name that stays when the folder moves.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_source_folder(
    path: *const c_char,
    options: *const backup_options,
    out: *mut *mut backup_source,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (path, options, out) = unsafe {
            (door.path(path, "path")?, door.optional(options, "options")?, door.output(out, "out")?)
        };
        out.give(backup_source::new(folder_source(path, Settings::of(options))?));
        Ok(())
    })
}

/// Makes a sink of a local folder, which is created if it is missing. Serves one restore at a time.
///
/// Options (may be NULL): `restore_owner` (true, false); `main_stream_only` (true, false).
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_sink_folder(
    path: *const c_char,
    options: *const backup_options,
    out: *mut *mut backup_sink,
) -> *mut backup_error {
    boundary(|door| {
        // SAFETY: the caller keeps the contract of the header.
        let (path, options, out) = unsafe {
            (door.path(path, "path")?, door.optional(options, "options")?, door.output(out, "out")?)
        };
        out.give(backup_sink::new(folder_sink(path, Settings::of(options))?));
        Ok(())
    })
}

/// Frees a source.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_source_free(source: *mut backup_source) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(source) }
}

/// Frees a sink.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn backup_sink_free(sink: *mut backup_sink) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { release(sink) }
}
