//! Whatever goes wrong at whichever request: a backup is the drive or says what it lacks, a restore is complete or says
//! what it lacks, and the next run completes both.

use std::collections::BTreeSet;

use backup_core::{BackupReport, Conflict, Repository, Result, SnapshotState};
use backup_graph::sim::{Fault, Faults, Route};
use backup_graph::{DriveSink, DriveSource, Versions};

use crate::office::{Office, newest, repository, run, seconds};

/// What can go wrong with a request; the last four with a page of a listing.
const FAULTS: [Fault; 17] = [
    Fault::Throttle(seconds(20)),
    Fault::ThrottleUntil(seconds(20)),
    Fault::Status(429),
    Fault::Status(503),
    Fault::Status(504),
    Fault::Status(404),
    Fault::RevokeTokens,
    Fault::Reset,
    Fault::LoseAnswer,
    Fault::Truncate(50),
    Fault::Shorten(7),
    Fault::Lengthen(7),
    Fault::ExpireAddress,
    Fault::RepeatEntries,
    Fault::ReverseEntries,
    Fault::EmptyPage,
    Fault::RepeatPage,
];
const UPLOAD_RANGE_BYTES: usize = 320 << 10;

/// The fault meets the request of this number, or that one and all after it.
#[derive(Clone, Copy, Debug)]
struct Case {
    nth: u64,
    fault: Fault,
    for_ever: bool,
}

impl Case {
    /// All cases of a run that makes these requests.
    fn all(order: &[Route]) -> Vec<Self> {
        let mut cases = Vec::new();
        for (nth, route) in (1..).zip(order) {
            for fault in FAULTS.into_iter().filter(|fault| concerns(*fault, *route)) {
                cases.extend([false, true].map(|for_ever| Self { nth, fault, for_ever }));
            }
        }
        cases
    }

    fn arm(self, faults: &mut Faults) -> &mut Faults {
        if self.for_ever { faults.from(self.nth, self.fault) } else { faults.at(self.nth, self.fault) }
    }
}

/// Whether the fault can do anything to such a request.
fn concerns(fault: Fault, route: Route) -> bool {
    let elsewhere = matches!(route, Route::Download | Route::UploadRange | Route::UploadStatus);
    match fault {
        Fault::ExpireAddress => elsewhere,
        Fault::RevokeTokens => !elsewhere,
        Fault::RepeatEntries | Fault::ReverseEntries | Fault::EmptyPage | Fault::RepeatPage => {
            route == Route::Delta
        }
        _ => true,
    }
}

type Verdict = Result<(), String>;

fn ensure(kept: bool, what: impl FnOnce() -> String) -> Verdict {
    if kept { Ok(()) } else { Err(what()) }
}

/// Tries every case, and says which ones failed.
async fn try_all(what: &str, cases: Vec<Case>, attempt: impl AsyncFn(Case) -> Verdict) {
    let mut failures = Vec::new();
    let count = cases.len();
    for case in cases {
        if let Err(failure) = attempt(case).await {
            failures.push(format!("{case:?}: {failure}"));
        }
    }
    assert!(failures.is_empty(), "{what}, {} of {count}:\n{}", failures.len(), failures.join("\n"));
}

fn source_of(office: &Office) -> DriveSource {
    let source = office.source().with_page_entries(6).with_range_bytes(64 << 10);
    source.with_permissions(true).with_versions(Versions::All)
}

/// No request inside a window, no token where it does not belong.
fn ensure_polite(office: &Office) -> Verdict {
    let counters = office.simulation.counters();
    let mistakes = (counters.inside_window, counters.leaked_tokens);
    ensure(mistakes == (0, 0), || format!("inside a window, with a leaked token: {mistakes:?}"))
}

/// The fault is over, and what the service was told to wait for has passed.
fn lift(office: &Office) {
    office.simulation.script(Faults::clear);
    office.timer.advance(seconds(3_600));
}

/// Names of the files that the newest snapshot has not as the drive has them.
async fn lacking(office: &Office, repository: &Repository) -> Result<BTreeSet<String>, String> {
    let (drive, sink) =
        office.new_drive(&format!("copy{}@contoso.example", office.simulation.counters().total()));
    let report =
        repository.restore(newest(repository), &sink).run().await.map_err(|error| error.to_string())?;
    ensure(report.problems.is_empty(), || format!("restoring: {:?}", report.problems))?;
    if office.fingerprint(&drive) == office.fingerprint(&office.drive) {
        return Ok(BTreeSet::new());
    }
    let mut lacking = BTreeSet::new();
    office.simulation.with(|tenant| {
        for path in tenant.files(&office.drive).unwrap() {
            let same = tenant.read_file(&drive, &path).ok() == tenant.read_file(&office.drive, &path).ok();
            let name = path.rsplit('/').next().unwrap_or_default();
            lacking.extend((!same).then(|| name.to_owned()));
        }
        for path in tenant.paths(&drive).unwrap() {
            let more = tenant.item_id(&office.drive, &path).is_err();
            lacking.extend(more.then(|| format!("{path} is too much")));
        }
    });
    ensure(!lacking.is_empty(), || "the drives differ, but no file does".to_owned())?;
    Ok(lacking)
}

/// Whether a run, ended by a fault or not, says the truth about what is in the repository.
async fn ensure_honest(
    office: &Office,
    repository: &Repository,
    before: usize,
    ended: Result<BackupReport>,
) -> Verdict {
    let snapshots =
        || repository.snapshots().iter().filter(|named| named.state != SnapshotState::Checkpoint).count();
    let Ok(report) = ended else {
        return ensure(snapshots() == before, || "a run that failed left a snapshot".to_owned());
    };
    let lacking = lacking(office, repository).await?;
    let named: BTreeSet<String> = report.problems.iter().map(|problem| problem.place.clone()).collect();
    ensure((report.state == SnapshotState::Complete) == named.is_empty(), || format!("{:?}", report.state))?;
    ensure(lacking.is_subset(&named), || format!("lacks {lacking:?}, names {named:?}"))?;
    // An item that is there was named for something else of it: an earlier version, a permission, a doubt.
    let whole = report.problems.iter().filter(|problem| !lacking.contains(&problem.place));
    let vain: Vec<_> = whole.filter(|problem| problem.id.is_some()).collect();
    ensure(vain.is_empty(), || format!("names what it has: {vain:?}"))
}

/// Runs without faults until nothing is left to do: at once, and then one request says that nothing changed.
async fn ensure_mended(office: &Office, repository: &Repository) -> Verdict {
    let source = source_of(office);
    let report =
        repository.backup(&source).run().await.map_err(|error| format!("the next run: {error:?}"))?;
    ensure(report.state == SnapshotState::Complete, || format!("the next run: {:?}", report.problems))?;
    let lacking = lacking(office, repository).await?;
    ensure(lacking.is_empty(), || format!("the next run lacks {lacking:?}"))?;
    office.simulation.reset_counters();
    let last = repository.backup(&source_of(office)).run().await.map_err(|error| error.to_string())?;
    let (requests, stats) = (office.simulation.counters().total(), last.stats);
    ensure((requests, stats.added, stats.changed, stats.removed) == (1, 0, 0, 0), || {
        format!("the run after: {requests} requests, {stats:?}")
    })
}

/// Requests of a backup without faults.
async fn order_of(office: &Office, repository: &Repository) -> Vec<Route> {
    office.simulation.reset_counters();
    let report = repository.backup(&source_of(office)).run().await.unwrap();
    assert_eq!(report.state, SnapshotState::Complete, "{:?}", report.problems);
    office.simulation.counters().order
}

#[test]
fn a_first_backup_that_meets_a_fault_at_any_request_is_the_drive_or_says_what_it_lacks_and_is_mended_by_the_next()
 {
    run(async {
        let order = order_of(&Office::small(), &repository().await).await;
        assert!(order.len() > 30, "{order:?}");
        try_all("first backup", Case::all(&order), async |case| {
            let (office, repository) = (Office::small(), repository().await);
            office.simulation.script(|faults| case.arm(faults));
            let ended = repository.backup(&source_of(&office)).run().await;
            ensure_polite(&office)?;
            let once =
                !case.for_ever && ended.as_ref().is_ok_and(|report| report.state != SnapshotState::Complete);
            lift(&office);
            ensure_honest(&office, &repository, 0, ended).await?;
            ensure(!once || case.fault == Fault::Status(404), || "a single fault leaves a gap".to_owned())?;
            ensure_mended(&office, &repository).await
        })
        .await;
    });
}

/// What people do between two runs.
fn work(office: &Office) {
    office.write("Sales/0.txt", *b"written again");
    office.write("Legal/new.txt", *b"a new contract");
    office.write("report.docx", *b"the fourth");
    office.tenant(|tenant, drive| {
        tenant.rename(drive, "Sales/2026", "Sales of 2026").unwrap();
        tenant.move_to(drive, "Legal/2.txt", "Archive").unwrap();
        tenant.delete(drive, "Legal/5.txt").unwrap();
        tenant.write_file(drive, "film.bin", vec![9; 300_000]).unwrap();
    });
}

#[test]
fn an_incremental_backup_that_meets_a_fault_at_any_request_never_moves_past_what_it_has_not_stored() {
    run(async {
        let (office, repository_of_none) = (Office::small(), repository().await);
        order_of(&office, &repository_of_none).await;
        work(&office);
        let order = order_of(&office, &repository_of_none).await;
        assert!(order.len() > 10, "{order:?}");
        try_all("incremental backup", Case::all(&order), async |case| {
            let (office, repository) = (Office::small(), repository().await);
            order_of(&office, &repository).await;
            work(&office);
            office.simulation.script(|faults| case.arm(faults));
            let ended = repository.backup(&source_of(&office)).run().await;
            ensure_polite(&office)?;
            lift(&office);
            ensure_honest(&office, &repository, 1, ended).await?;
            ensure_mended(&office, &repository).await
        })
        .await;
    });
}

fn sink_of(office: &Office) -> DriveSink {
    let sink = DriveSink::new(office.client.clone(), &office.drive, None);
    sink.with_range_bytes(UPLOAD_RANGE_BYTES).with_permissions(true)
}

/// A drive to restore into, among people who know the one that was backed up.
fn target() -> Office {
    let office = Office::empty();
    office.simulation.with(|tenant| tenant.add_user("grace@contoso.example"));
    office
}

async fn try_restores(conflict: Conflict) {
    let (office, repository) = (Office::small(), repository().await);
    order_of(&office, &repository).await;
    let snapshot = newest(&repository);
    let whole = target();
    let report = repository.restore(snapshot, &sink_of(&whole)).conflict(conflict).run().await.unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let order = whole.simulation.counters().order;
    assert!(
        order.len() >= 30 && order.contains(&Route::UploadRange) && order.contains(&Route::Share),
        "{order:?}"
    );
    let paths: BTreeSet<String> =
        office.tenant(|tenant, drive| tenant.paths(drive).unwrap()).into_iter().collect();

    try_all("restore", Case::all(&order), async |case| {
        let target = target();
        target.simulation.script(|faults| case.arm(faults));
        let ended = repository.restore(snapshot, &sink_of(&target)).conflict(conflict).run().await;
        ensure_polite(&target)?;
        lift(&target);
        let found: BTreeSet<String> =
            target.tenant(|tenant, drive| tenant.paths(drive).unwrap()).into_iter().collect();
        ensure(found.is_subset(&paths), || format!("too much: {:?}", found.difference(&paths)))?;
        let equal = || target.fingerprint(&target.drive) == office.fingerprint(&office.drive);
        if let Ok(report) = &ended {
            ensure(equal() || !report.problems.is_empty(), || "differs and does not say so".to_owned())?;
            let named = |path: &str| report.problems.iter().any(|problem| path.starts_with(&problem.place));
            let silent: Vec<_> = paths.difference(&found).filter(|path| !named(path)).collect();
            ensure(silent.is_empty(), || format!("lacks {silent:?}, names {:?}", report.problems))?;
            ensure(case.for_ever || equal(), || format!("a single fault: {:?}", report.problems))?;
        }
        // An issuer that knows no such tenant is not asked again.
        let unknown =
            case.fault == Fault::Status(404) && order.get(case.nth as usize - 1) == Some(&Route::Token);
        ensure(case.for_ever || unknown || ended.is_ok(), || format!("a single fault: {ended:?}"))?;
        let again = repository.restore(snapshot, &sink_of(&target)).conflict(Conflict::Replace).run().await;
        let again = again.map_err(|error| format!("again: {error:?}"))?;
        ensure(again.problems.is_empty(), || format!("again: {:?}", again.problems))?;
        ensure(equal(), || "the drives differ after the second restore".to_owned())
    })
    .await;
}

#[test]
fn a_restore_that_meets_a_fault_at_any_request_is_complete_or_says_what_it_lacks_and_makes_no_duplicates() {
    run(try_restores(Conflict::Skip));
}

#[test]
fn a_replacing_restore_that_meets_a_fault_at_any_request_is_complete_or_says_what_it_lacks() {
    run(try_restores(Conflict::Replace));
}
