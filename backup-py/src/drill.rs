//! Restore drills.

use std::sync::Arc;

use backup_core::{DrillReport, Sink, SnapshotId, Source};
use pyo3::prelude::*;

use crate::convert::{Cancel, snapshot_ids};
use crate::door::{Job, Link, promise, wait};
use crate::error::OrRaise;
use crate::folder::{self, Turned};
use crate::progress::CancelToken;
use crate::reports;
use crate::repository::{Callback, Keyword, Repository, Shared};
use crate::runs::{token, watch};
use crate::seams::Caller;

#[pymethods]
impl Repository {
    /// A restore drill: reads a random sample of items in full and says how many of all can be bad at most.
    #[pyo3(
        signature = (
            snapshots = None, *, items = None, confidence = 0.95, share = 0.01, seed = None, against = None,
            sink = None, cancel = None, on_progress = None
        ),
        text_signature = "($self, snapshots=None, *, items=None, confidence=0.95, share=0.01, seed=None, \
                          against=(), sink=None, cancel=None, on_progress=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn drill<'py>(
        &self,
        py: Python<'py>,
        snapshots: Option<Vec<String>>,
        items: Option<u64>,
        confidence: f64,
        share: f64,
        seed: Option<u64>,
        against: Keyword<'_, 'py>,
        sink: Keyword<'_, 'py>,
        cancel: Option<&Bound<'py, CancelToken>>,
        on_progress: Callback<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let what =
            Drill::new(py, snapshots, (items, confidence, share, seed), against, sink, Caller::Thread)?;
        reports::drill(py, &wait(py, drill(py, self.shared(), what, cancel, on_progress)?)?)
    }

    /// Does what `drill` does, for `await`.
    #[pyo3(
        signature = (
            snapshots = None, *, items = None, confidence = 0.95, share = 0.01, seed = None, against = None,
            sink = None, cancel = None, on_progress = None
        ),
        text_signature = "($self, snapshots=None, *, items=None, confidence=0.95, share=0.01, seed=None, \
                          against=(), sink=None, cancel=None, on_progress=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn drill_async<'py>(
        &self,
        py: Python<'py>,
        snapshots: Option<Vec<String>>,
        items: Option<u64>,
        confidence: f64,
        share: f64,
        seed: Option<u64>,
        against: Keyword<'_, 'py>,
        sink: Keyword<'_, 'py>,
        cancel: Option<&Bound<'py, CancelToken>>,
        on_progress: Callback<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let what =
            Drill::new(py, snapshots, (items, confidence, share, seed), against, sink, Caller::EventLoop)?;
        let job = drill(py, self.shared(), what, cancel, on_progress)?;
        promise(py, job, |py, report| reports::drill(py, &report).map(Bound::unbind))
    }
}

/// The arguments of `drill`.
struct Drill {
    snapshots: Option<Vec<SnapshotId>>,
    items: Option<u64>,
    confidence: f64,
    share: f64,
    seed: Option<u64>,
    against: Vec<Turned<dyn Source>>,
    sink: Option<Turned<dyn Sink>>,
}

impl Drill {
    fn new(
        py: Python<'_>,
        snapshots: Option<Vec<String>>,
        (items, confidence, share, seed): (Option<u64>, f64, f64, Option<u64>),
        against: Keyword<'_, '_>,
        sink: Keyword<'_, '_>,
        caller: Caller,
    ) -> PyResult<Self> {
        let snapshots = snapshots.map(|ids| snapshot_ids(&ids)).transpose().or_raise(py)?;
        let sources = against.map(|sources| sources.try_iter()).transpose()?;
        let against = sources
            .into_iter()
            .flatten()
            .map(|each| folder::source(&each?, caller))
            .collect::<PyResult<_>>()?;
        let sink = sink.map(|sink| folder::sink(sink, caller)).transpose()?;
        Ok(Self { snapshots, items, confidence, share, seed, against, sink })
    }
}

fn drill(
    py: Python<'_>,
    shared: &Arc<Shared>,
    what: Drill,
    cancel: Cancel<'_, '_>,
    on_progress: Callback<'_>,
) -> PyResult<Job<DrillReport>> {
    let repository = shared.get().or_raise(py)?;
    Job::run(shared.poison(), token(cancel), on_progress, move |Link { token, report }| async move {
        let mut sources = Vec::new();
        for source in &what.against {
            sources.push(source.take(&token).await?);
        }
        let sink = match &what.sink {
            Some(sink) => Some(sink.take(&token).await?),
            None => None,
        };
        let run = repository.drill().confidence(what.confidence).share(what.share);
        let mut run = watch!(run, token, report);
        if let Some(snapshots) = &what.snapshots {
            run = run.snapshots(snapshots);
        }
        if let Some(items) = what.items {
            run = run.items(items);
        }
        if let Some(seed) = what.seed {
            run = run.seed(seed);
        }
        for (source, _turn) in &sources {
            run = run.against(*source);
        }
        if let Some((sink, _turn)) = &sink {
            run = run.sink(*sink);
        }
        run.run().await
    })
}
