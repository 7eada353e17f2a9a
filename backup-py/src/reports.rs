//! From the engine's reports about the upkeep of a repository to the dataclasses of `reports.py`: a field more there is a
//! field more here.

use backup_core::store::{Contest, Deletion, Listed, Probe};
use backup_core::{
    Damage, DrillFinding, DrillReport, ExtendReport, KeySlot, MirrorReport, ParityReport, Repair,
    SalvageReport, ScrubReport, SnapshotId,
};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::convert::head_text;
use crate::results::{Object, findings, make, nanoseconds, tuple};

pub(crate) fn key_slot<'py>(py: Python<'py>, slot: &KeySlot) -> Object<'py> {
    make!(py, "backup_py.reports", KeySlot { id: slot.id.to_string(), size: slot.size })
}

pub(crate) fn probe<'py>(py: Python<'py>, probe: &Probe) -> Object<'py> {
    let contest = match probe.contest {
        Contest::Decided => "decided",
        Contest::LoserFails => "loser_fails",
        _ => "other",
    };
    let listing = match probe.listing {
        Listed::AtOnce => "at_once",
        Listed::Late => "late",
        _ => "other",
    };
    let deletion = match probe.deletion {
        Deletion::AtOnce => "at_once",
        Deletion::Late => "late",
        Deletion::Refused => "refused",
        _ => "other",
    };
    make!(
        py,
        "backup_py.reports",
        Probe { contest: contest, listing: listing, tells_time: probe.tells_time, deletion: deletion }
    )
}

pub(crate) fn extend<'py>(py: Python<'py>, report: &ExtendReport) -> Object<'py> {
    make!(
        py,
        "backup_py.reports",
        ExtendReport {
            locked_until_ns: report.locked_until.map(nanoseconds),
            extended_objects: report.extended_objects,
            tampered: PyTuple::new(py, &report.tampered)?,
        }
    )
}

pub(crate) fn parity<'py>(py: Python<'py>, report: &ParityReport) -> Object<'py> {
    make!(
        py,
        "backup_py.reports",
        ParityReport {
            objects: report.objects,
            sets: report.sets,
            new_sets: report.new_sets,
            new_bytes: report.new_bytes,
            dropped_sets: report.dropped_sets,
            findings: findings(py, &report.findings)?,
        }
    )
}

pub(crate) fn scrub<'py>(py: Python<'py>, report: &ScrubReport) -> Object<'py> {
    make!(
        py,
        "backup_py.reports",
        ScrubReport {
            sets: report.sets,
            objects: report.objects,
            unprotected_objects: report.unprotected_objects,
            bytes_read: report.bytes_read,
            damage: tuple(py, report.damage.iter().map(|damage| self::damage(py, damage)))?,
            findings: findings(py, &report.findings)?,
        }
    )
}

fn damage<'py>(py: Python<'py>, damage: &Damage) -> Object<'py> {
    let repair = match damage.repair {
        Repair::Possible => "possible",
        Repair::Done => "done",
        Repair::Impossible => "impossible",
        _ => "other",
    };
    make!(
        py,
        "backup_py.reports",
        Damage {
            object: &damage.object,
            missing: damage.missing,
            bad_blocks: damage.bad_blocks,
            blocks: damage.blocks,
            repair: repair,
        }
    )
}

pub(crate) fn mirror<'py>(py: Python<'py>, report: &MirrorReport) -> Object<'py> {
    make!(
        py,
        "backup_py.reports",
        MirrorReport {
            head: report.head.map(head_text),
            objects: report.objects,
            copied_objects: report.copied_objects,
            copied_bytes: report.copied_bytes,
            replaced_objects: report.replaced_objects,
            deleted_objects: report.deleted_objects,
            findings: findings(py, &report.findings)?,
        }
    )
}

pub(crate) fn drill<'py>(py: Python<'py>, report: &DrillReport) -> Object<'py> {
    let findings =
        |findings: &[DrillFinding]| tuple(py, findings.iter().map(|finding| drill_finding(py, finding)));
    make!(
        py,
        "backup_py.reports",
        DrillReport {
            snapshots: ids(py, &report.snapshots)?,
            lost_snapshots: findings(&report.lost_snapshots)?,
            population: report.population,
            sampled: report.sampled,
            streams: report.streams,
            bytes: report.bytes,
            bytes_fetched: report.bytes_fetched,
            failures: findings(&report.failures)?,
            compared: report.compared,
            differing: findings(&report.differing)?,
            changed: findings(&report.changed)?,
            problems: findings(&report.problems)?,
            seed: report.seed,
            confidence: report.confidence,
            most_bad: report.most_bad,
            most_bad_share: report.most_bad_share,
            text: report.to_string(),
        }
    )
}

fn drill_finding<'py>(py: Python<'py>, finding: &DrillFinding) -> Object<'py> {
    make!(
        py,
        "backup_py.reports",
        DrillFinding {
            snapshot: finding.snapshot.to_string(),
            number: finding.number,
            id: finding.id.as_ref().map(|id| PyBytes::new(py, id.as_bytes())),
            place: &finding.place,
            code: finding.code,
            message: &finding.message,
        }
    )
}

pub(crate) fn salvage<'py>(py: Python<'py>, report: &SalvageReport) -> Object<'py> {
    make!(
        py,
        "backup_py.reports",
        SalvageReport {
            log_entries: report.log_entries,
            checkpoints: report.checkpoints,
            log_complete: report.log_complete,
            head: report.head.map(head_text),
            known_head_reached: report.known_head_reached,
            snapshots: report.snapshots,
            unconfirmed: ids(py, &report.unconfirmed)?,
            removed: ids(py, &report.removed)?,
            segments: report.segments,
            packs: report.packs,
            packs_rebuilt: report.packs_rebuilt,
            chunks: report.chunks,
            findings: findings(py, &report.findings)?,
        }
    )
}

fn ids<'py>(py: Python<'py>, ids: &[SnapshotId]) -> PyResult<Bound<'py, PyTuple>> {
    PyTuple::new(py, ids.iter().map(ToString::to_string))
}
