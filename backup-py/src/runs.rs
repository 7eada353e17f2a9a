//! The operations that take long, as jobs that both `x` and `x_async` run.

use std::sync::Arc;
use std::time::Duration;

use backup_core::{
    BackupReport, Compression, Conflict, PruneReport, RestoreReport, Retained, Sink, SnapshotId, Source,
    VerifyLevel, VerifyReport,
};
use pyo3::prelude::*;

use crate::convert::{Cancel, Pairs, retentions};
use crate::door::{Job, Link};
use crate::error::OrRaise;
use crate::folder::Turned;
use crate::repository::Shared;

/// The arguments of `backup`.
pub(crate) struct Backup {
    pub(crate) source: Turned<dyn Source>,
    pub(crate) labels: Pairs,
    pub(crate) full: bool,
    pub(crate) checkpoint_bytes: Option<u64>,
    pub(crate) suspicious_percent: u32,
    pub(crate) compression: Compression,
}

/// The arguments of `restore`.
pub(crate) struct Restore {
    pub(crate) snapshot: SnapshotId,
    pub(crate) sink: Turned<dyn Sink>,
    pub(crate) only: Vec<String>,
    pub(crate) except: Vec<String>,
    pub(crate) conflict: Conflict,
    pub(crate) undo: Option<SnapshotId>,
}

/// A run with its token and, if anybody wants to know, its report.
macro_rules! watch {
    ($run:expr, $token:ident, $report:ident) => {{
        let run = $run.cancel_token(&$token);
        match $report {
            Some(report) => run.on_progress(report),
            None => run,
        }
    }};
}
pub(crate) use watch;

pub(crate) fn backup(
    py: Python<'_>,
    shared: &Arc<Shared>,
    what: Backup,
    cancel: Cancel<'_, '_>,
    on_progress: Option<Bound<'_, PyAny>>,
) -> PyResult<Job<BackupReport>> {
    let repository = shared.get().or_raise(py)?;
    Job::run(shared.poison(), token(cancel), on_progress, move |Link { token, report }| async move {
        let (source, _turn) = what.source.take(&token).await?;
        let run = repository.backup(source).suspicious_percent(what.suspicious_percent);
        let run = run.compression(what.compression);
        let mut run = watch!(run, token, report);
        if what.full {
            run = run.full();
        }
        if let Some(bytes) = what.checkpoint_bytes {
            run = run.checkpoint_every(bytes);
        }
        for (name, value) in what.labels {
            run = run.label(name, value);
        }
        run.run().await
    })
}

pub(crate) fn restore(
    py: Python<'_>,
    shared: &Arc<Shared>,
    what: Restore,
    cancel: Cancel<'_, '_>,
    on_progress: Option<Bound<'_, PyAny>>,
) -> PyResult<Job<RestoreReport>> {
    let repository = shared.get().or_raise(py)?;
    Job::run(shared.poison(), token(cancel), on_progress, move |Link { token, report }| async move {
        let (sink, _turn) = what.sink.take(&token).await?;
        let run = repository.restore(what.snapshot, sink).conflict(what.conflict);
        let mut run = watch!(run, token, report);
        if let Some(later) = what.undo {
            run = run.undo(later);
        }
        for pattern in what.only {
            run = run.only(pattern);
        }
        for pattern in what.except {
            run = run.except(pattern);
        }
        run.run().await
    })
}

pub(crate) fn verify(
    py: Python<'_>,
    shared: &Arc<Shared>,
    level: VerifyLevel,
    cancel: Cancel<'_, '_>,
    on_progress: Option<Bound<'_, PyAny>>,
) -> PyResult<Job<VerifyReport>> {
    let repository = shared.get().or_raise(py)?;
    Job::run(shared.poison(), token(cancel), on_progress, move |Link { token, report }| async move {
        watch!(repository.verify(level), token, report).run().await
    })
}

pub(crate) fn retain(
    py: Python<'_>,
    shared: &Arc<Shared>,
    rules: &Bound<'_, PyAny>,
    dry_run: bool,
) -> PyResult<Job<Vec<Retained>>> {
    let repository = shared.get().or_raise(py)?;
    let rules = retentions(rules)?;
    Ok(Job::new(shared.poison(), move || async move {
        let rules: Vec<_> = rules.iter().map(|(id, retention)| (id.as_str(), retention)).collect();
        if dry_run { repository.decide(&rules).await } else { repository.retain(&rules).await }
    }))
}

/// The arguments of `prune`.
#[derive(Clone, Copy)]
pub(crate) struct Prune {
    pub(crate) grace: Option<Duration>,
    pub(crate) unused_percent: u32,
    pub(crate) dry: bool,
}

pub(crate) fn prune(
    py: Python<'_>,
    shared: &Arc<Shared>,
    what: Prune,
    cancel: Cancel<'_, '_>,
    on_progress: Option<Bound<'_, PyAny>>,
) -> PyResult<Job<PruneReport>> {
    let repository = shared.get().or_raise(py)?;
    Job::run(shared.poison(), token(cancel), on_progress, move |Link { token, report }| async move {
        let mut run = watch!(repository.prune().unused_percent(what.unused_percent), token, report);
        if let Some(grace) = what.grace {
            run = run.grace(grace);
        }
        if what.dry {
            run = run.dry_run();
        }
        run.run().await
    })
}

pub(crate) fn token(cancel: Cancel<'_, '_>) -> Option<backup_core::CancelToken> {
    cancel.map(|token| token.get().inner())
}
