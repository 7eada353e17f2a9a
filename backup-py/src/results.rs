//! From the engine's values to the dataclasses of `results.py`: a field more there is a field more here.

use backup_core::{
    Attributes, BackupReport, Collection, Difference, Finding, Item, Phase, Problem, Progress, PruneReport,
    RestoreReport, Retained, SnapshotInfo, SnapshotState, SnapshotStats, SnapshotSummary, Timestamp, Value,
    VerifyReport,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::error::exception;

pub(crate) type Object<'py> = PyResult<Bound<'py, PyAny>>;

/// Calls a class of `results.py`, or of the module that is named, with these keywords.
macro_rules! make {
    ($py:expr, $class:ident { $($field:ident: $value:expr),* $(,)? }) => {
        make!($py, "backup_py.results", $class { $($field: $value),* })
    };
    ($py:expr, $module:literal, $class:ident { $($field:ident: $value:expr),* $(,)? }) => {{
        static CLASS: pyo3::sync::PyOnceLock<Py<PyAny>> = pyo3::sync::PyOnceLock::new();
        let fields = pyo3::types::PyDict::new($py);
        $(fields.set_item(pyo3::intern!($py, stringify!($field)), $value)?;)*
        CLASS.import($py, $module, stringify!($class))?.call((), Some(&fields))
    }};
}
pub(crate) use make;

pub(crate) fn progress<'py>(py: Python<'py>, progress: &Progress) -> Object<'py> {
    let known = |total: u64| (total > 0).then_some(total);
    let phase = match progress.phase {
        Phase::Opening => "opening",
        Phase::Transferring => "transferring",
        Phase::Committing => "committing",
        Phase::Done => "done",
        _ => "other",
    };
    make!(
        py,
        Progress {
            phase: phase,
            items_done: progress.items_done,
            items_total: known(progress.items_total),
            bytes_done: progress.bytes_done,
            bytes_total: known(progress.bytes_total),
            bytes_stored: progress.bytes_stored,
            problems: progress.problems,
        }
    )
}

pub(crate) fn summary<'py>(py: Python<'py>, summary: &SnapshotSummary) -> Object<'py> {
    make!(
        py,
        SnapshotSummary {
            id: summary.id.to_string(),
            collection: collection(py, &summary.collection)?,
            created_ns: nanoseconds(summary.created),
            state: state(summary.state),
            suspicious: summary.suspicious,
            held: summary.held,
            confirmed: summary.confirmed,
        }
    )
}

pub(crate) fn info<'py>(py: Python<'py>, info: &SnapshotInfo) -> Object<'py> {
    let problems = info.problems.iter().map(|problem| {
        make!(py, RecordedProblem { place: &problem.place, code: problem.code, message: &problem.message })
    });
    let labels = PyDict::new(py);
    for (name, value) in &info.labels {
        labels.set_item(name, value)?;
    }
    make!(
        py,
        SnapshotInfo {
            id: info.summary.id.to_string(),
            collection: collection(py, &info.summary.collection)?,
            created_ns: nanoseconds(info.summary.created),
            state: state(info.summary.state),
            suspicious: info.summary.suspicious,
            held: info.summary.held,
            confirmed: info.summary.confirmed,
            parent: info.parent.map(|parent| parent.to_string()),
            stats: stats(py, &info.stats)?,
            problems: tuple(py, problems)?,
            labels: labels,
        }
    )
}

pub(crate) fn backup<'py>(py: Python<'py>, report: &BackupReport) -> Object<'py> {
    make!(
        py,
        BackupReport {
            snapshot: report.snapshot.to_string(),
            state: state(report.state),
            stats: stats(py, &report.stats)?,
            problems: problems(py, &report.problems)?,
            suspicions: PyTuple::new(py, report.suspicions.iter().map(ToString::to_string))?,
            locked_until_ns: report.locked_until.map(nanoseconds),
            locks_due: report.locks_due,
            source: attributes(py, &report.source)?,
        }
    )
}

pub(crate) fn restore<'py>(py: Python<'py>, report: &RestoreReport) -> Object<'py> {
    make!(
        py,
        RestoreReport {
            created: report.created,
            replaced: report.replaced,
            skipped: report.skipped,
            renamed: report.renamed,
            bytes: report.bytes,
            bytes_fetched: report.bytes_fetched,
            problems: problems(py, &report.problems)?,
        }
    )
}

pub(crate) fn findings<'py>(py: Python<'py>, findings: &[Finding]) -> PyResult<Bound<'py, PyTuple>> {
    let findings = findings
        .iter()
        .map(|finding| make!(py, Finding { place: &finding.place, error: exception(py, &finding.error)? }));
    tuple(py, findings)
}

pub(crate) fn prune<'py>(py: Python<'py>, report: &PruneReport) -> Object<'py> {
    make!(
        py,
        PruneReport {
            snapshots: report.snapshots,
            packs: report.packs,
            bytes: report.bytes,
            unused_bytes: report.unused_bytes,
            unused_bytes_after: report.unused_bytes_after,
            dead_packs: report.dead_packs,
            dead_bytes: report.dead_bytes,
            copied_packs: report.copied_packs,
            copied_bytes: report.copied_bytes,
            stray_objects: report.stray_objects,
            stray_bytes: report.stray_bytes,
            deleted_objects: report.deleted_objects,
            locked_objects: report.locked_objects,
            findings: findings(py, &report.findings)?,
        }
    )
}

/// Decisions by collection.
pub(crate) fn retained<'py>(py: Python<'py>, all: &[Retained]) -> PyResult<Bound<'py, PyDict>> {
    let by_collection = PyDict::new(py);
    for retained in all {
        let decisions = retained.decisions.iter().map(|decision| {
            let reasons: Vec<_> = decision.reasons.iter().map(ToString::to_string).collect();
            make!(
                py,
                Decision {
                    id: decision.id.to_string(),
                    keep: decision.keep,
                    reasons: PyTuple::new(py, reasons)?,
                }
            )
        });
        by_collection.set_item(&retained.collection, tuple(py, decisions)?)?;
    }
    Ok(by_collection)
}

pub(crate) fn verify<'py>(py: Python<'py>, report: &VerifyReport) -> Object<'py> {
    make!(
        py,
        VerifyReport {
            snapshots: report.snapshots,
            items: report.items,
            chunks: report.chunks,
            packs: report.packs,
            bytes_read: report.bytes_read,
            findings: findings(py, &report.findings)?,
        }
    )
}

pub(crate) fn item<'py>(py: Python<'py>, item: &Item) -> Object<'py> {
    let streams =
        item.streams.iter().map(|stream| make!(py, Stream { name: &stream.name, size: stream.size }));
    make!(
        py,
        Item {
            id: PyBytes::new(py, item.id.as_bytes()),
            parent: item.parent.as_ref().map(|id| PyBytes::new(py, id.as_bytes())),
            name: name(py, item.name.as_bytes())?,
            kind: item.kind.to_string(),
            created_ns: item.times.created.map(nanoseconds),
            modified_ns: item.times.modified.map(nanoseconds),
            tag: PyBytes::new(py, item.tag.as_bytes()),
            hard_link: item.hard_link.as_ref().map(|id| PyBytes::new(py, id.as_bytes())),
            attributes: attributes(py, &item.attributes)?,
            details: attributes(py, &item.details)?,
            streams: tuple(py, streams)?,
        }
    )
}

pub(crate) fn difference<'py>(py: Python<'py>, difference: &Difference) -> Object<'py> {
    let (kind, before, after, content) = match difference {
        Difference::Added(after) => ("added", None, Some(after), true),
        Difference::Removed(before) => ("removed", Some(before), None, true),
        Difference::Changed { before, after, content } => ("changed", Some(before), Some(after), *content),
        _ => ("other", None, None, false),
    };
    make!(
        py,
        Difference {
            kind: kind,
            before: before.map(|before| item(py, before)).transpose()?,
            after: after.map(|after| item(py, after)).transpose()?,
            content: content,
        }
    )
}

pub(crate) fn collection<'py>(py: Python<'py>, collection: &Collection) -> Object<'py> {
    make!(py, Collection { id: &collection.id, kind: &collection.kind })
}

fn stats<'py>(py: Python<'py>, stats: &SnapshotStats) -> Object<'py> {
    make!(
        py,
        SnapshotStats {
            items: stats.items,
            bytes: stats.bytes,
            added: stats.added,
            changed: stats.changed,
            removed: stats.removed,
            bytes_read: stats.bytes_read,
            bytes_stored: stats.bytes_stored,
            problems: stats.problems,
        }
    )
}

fn problems<'py>(py: Python<'py>, problems: &[Problem]) -> PyResult<Bound<'py, PyTuple>> {
    let problems = problems.iter().map(|problem| {
        make!(
            py,
            Problem {
                id: problem.id.as_ref().map(|id| PyBytes::new(py, id.as_bytes())),
                place: &problem.place,
                error: exception(py, &problem.error)?,
            }
        )
    });
    tuple(py, problems)
}

pub(crate) fn tuple<'py>(
    py: Python<'py>,
    values: impl Iterator<Item = PyResult<Bound<'py, PyAny>>>,
) -> PyResult<Bound<'py, PyTuple>> {
    PyTuple::new(py, values.collect::<PyResult<Vec<_>>>()?)
}

fn state(state: SnapshotState) -> &'static str {
    match state {
        SnapshotState::Complete => "complete",
        SnapshotState::Incomplete => "incomplete",
        SnapshotState::Checkpoint => "checkpoint",
        _ => "other",
    }
}

/// Bytes as text, as `os.fsdecode` does it on every system.
fn name<'py>(py: Python<'py>, bytes: &[u8]) -> Object<'py> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into_pyobject(py).map(Bound::into_any).map_err(PyErr::from),
        Err(_) => PyBytes::new(py, bytes).call_method1(intern!(py, "decode"), ("utf-8", "surrogateescape")),
    }
}

/// A `datetime` in UTC, which has microseconds.
pub(crate) fn datetime<'py>(py: Python<'py>, time: Timestamp) -> Object<'py> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    MAKE.import(py, "backup_py.results", "_time")?.call1((nanoseconds(time),))
}

pub(crate) fn nanoseconds(time: Timestamp) -> i128 {
    i128::from(time.seconds()) * 1_000_000_000 + i128::from(time.nanos())
}

pub(crate) fn attributes<'py>(py: Python<'py>, attributes: &Attributes) -> PyResult<Bound<'py, PyDict>> {
    let values = PyDict::new(py);
    for (name, attribute) in attributes {
        values.set_item(name, value(py, attribute)?)?;
    }
    Ok(values)
}

fn value<'py>(py: Python<'py>, value: &Value) -> Object<'py> {
    static TIME: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    Ok(match value {
        Value::Bool(value) => value.into_pyobject(py)?.to_owned().into_any(),
        Value::Int(value) => value.into_pyobject(py)?.into_any(),
        Value::Float(value) => value.into_pyobject(py)?.into_any(),
        Value::Text(value) => value.into_pyobject(py)?.into_any(),
        Value::Bytes(value) => PyBytes::new(py, value).into_any(),
        Value::Time(time) => {
            let make = TIME.import(py, "backup_py.results", "_time_value")?;
            make.call1((nanoseconds(*time), time.to_string()))?
        }
        Value::List(values) => {
            let values = values.iter().map(|each| self::value(py, each)).collect::<PyResult<Vec<_>>>()?;
            PyList::new(py, values)?.into_any()
        }
        Value::Map(values) => attributes(py, values)?.into_any(),
        _ => py.None().into_bound(py),
    })
}
