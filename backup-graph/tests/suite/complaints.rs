//! What users of other backup products have complained about, so that it does not happen here.

use std::collections::BTreeSet;

use async_trait::async_trait;
use backup_core::{
    BackupReport, Change, Collection, Conflict, Content, Cursor, ErrorKind, Item, Repository, Result,
    SnapshotState, Source, Value,
};
use backup_graph::DriveSource;
use backup_graph::sim::{Fault, Obstacle, Route};
use futures_core::stream::BoxStream;

use crate::office::{Office, newest, repository, run};

async fn backup(repository: &Repository, source: &dyn Source) -> BackupReport {
    let report = repository.backup(source).run().await.unwrap();
    assert_eq!(report.state, SnapshotState::Complete, "{:?}", report.problems);
    report
}

/// The newest snapshot, restored into an empty drive, is the drive.
async fn assert_equal(office: &Office, repository: &Repository) {
    let owner = format!("copy{}@contoso.example", office.simulation.counters().total());
    let (drive, sink) = office.new_drive(&owner);
    let report = repository.restore(newest(repository), &sink).run().await.unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let paths = |drive: &str| office.simulation.with(|tenant| tenant.paths(drive).unwrap());
    assert_eq!(paths(&drive), paths(&office.drive));
    assert_eq!(office.fingerprint(&drive), office.fingerprint(&office.drive));
}

/// A drive in a repository, then people at work, then the next run: equal to the drive, and what that run reported.
async fn follow(office: &Office, work: impl FnOnce(&Office)) -> BackupReport {
    let repository = repository().await;
    backup(&repository, &office.source()).await;
    work(office);
    office.simulation.reset_counters();
    let report = backup(&repository, &office.source()).await;
    assert_equal(office, &repository).await;
    report
}

#[test]
fn what_changed_and_went_while_the_position_was_forgotten_is_right_afterwards() {
    run(async {
        let office = Office::small();
        let report = follow(&office, |office| {
            office.write("Sales/0.txt", *b"changed");
            office.tenant(|tenant, drive| {
                tenant.delete(drive, "Legal").unwrap();
                tenant.expire_cursors(drive).unwrap();
            });
        })
        .await;
        assert_eq!((report.stats.bytes_read, report.stats.changed), (7, 1));
    });
}

#[test]
fn an_item_created_and_deleted_within_one_round_leaves_nothing() {
    run(async {
        let report = follow(&Office::small(), |office| {
            office.write("Sales/new/ghost.txt", *b"boo");
            office.tenant(|tenant, drive| tenant.delete(drive, "Sales/new").unwrap());
        })
        .await;
        assert_eq!((report.stats.added, report.stats.removed), (0, 0));
    });
}

#[test]
fn a_folder_deleted_and_made_again_under_its_name_has_only_what_is_new_in_it() {
    run(async {
        follow(&Office::small(), |office| {
            office.tenant(|tenant, drive| tenant.delete(drive, "Sales").unwrap());
            office.write("Sales/0.txt", *b"another file of the name");
            office.write("Sales/2026/later.txt", *b"later");
        })
        .await;
    });
}

#[test]
fn a_moved_subtree_moves_with_everything_below_it() {
    run(async {
        let report = follow(&Office::small(), |office| {
            office.tenant(|tenant, drive| {
                tenant.move_to(drive, "Sales/2026", "Archive/deep").unwrap();
                tenant.move_to(drive, "Archive", "Legal").unwrap();
                tenant.delete(drive, "Sales").unwrap();
            });
        })
        .await;
        assert_eq!(report.stats.bytes_read, 0);
    });
}

#[test]
fn a_renamed_folder_of_many_takes_them_along_although_no_listing_names_them() {
    run(async {
        let office = Office::empty();
        for number in 0..300 {
            office.write(&format!("many/below/{number}.txt"), format!("{number}"));
        }
        let report = follow(&office, |office| {
            office.tenant(|tenant, drive| tenant.rename(drive, "many", "multitude").unwrap());
        })
        .await;
        assert_eq!((report.stats.changed, report.stats.bytes_read), (1, 0));
    });
}

#[test]
fn a_drive_that_was_deleted_and_provisioned_anew_is_followed_from_its_new_root() {
    run(async {
        let office = Office::small();
        follow(&office, |office| {
            office.tenant(|tenant, drive| tenant.recreate(drive).unwrap());
            office.write("Sales/0.txt", *b"the first of the new drive");
        })
        .await;
    });
}

#[test]
fn a_drive_that_is_refused_or_not_found_ends_the_run_and_deletes_nothing() {
    for (status, kind) in [(403, ErrorKind::PermissionDenied), (404, ErrorKind::NotFound)] {
        for full in [false, true] {
            run(async {
                let (office, repository) = (Office::small(), repository().await);
                backup(&repository, &office.source()).await;
                let before = newest(&repository);
                office.simulation.script(|faults| faults.on(Route::Delta, 1, Fault::Status(status)));
                let source = office.source();
                let again = repository.backup(&source);
                let again = if full { again.full() } else { again };
                assert_eq!(again.run().await.unwrap_err().kind(), kind);
                assert_eq!(newest(&repository), before);
                assert_equal(&office, &repository).await;
            });
        }
    }
}

/// A source whose cursors have come to harm.
#[derive(Debug)]
struct Harmed(DriveSource, Cursor);

#[async_trait]
impl Source for Harmed {
    fn collection(&self) -> Collection {
        self.0.collection()
    }

    fn changes<'a>(&'a self, since: Option<&'a Cursor>) -> BoxStream<'a, Result<Change>> {
        self.0.changes(since.map(|_| &self.1))
    }

    async fn open<'a>(&'a self, item: &'a Item, stream: &'a str) -> Result<Content<'a>> {
        self.0.open(item, stream).await
    }
}

#[test]
fn a_malformed_position_leads_to_a_full_listing_without_downloads() {
    let address = "https://graph.example/v1.0/drives/b!x/root/delta?token=nonsense";
    for cursor in [&b"\xff\xfe"[..], b"nonsense", b"https://graph.example/", address.as_bytes()] {
        run(async {
            let (office, repository) = (Office::small(), repository().await);
            backup(&repository, &office.source()).await;
            let text = String::from_utf8_lossy(cursor).replace("b!x", &office.drive);
            let cursor = if cursor.starts_with(b"https") { Cursor::from(text) } else { Cursor::from(cursor) };
            let report = backup(&repository, &Harmed(office.source(), cursor)).await;
            assert_eq!(report.stats.bytes_read, 0);
            assert_equal(&office, &repository).await;
        });
    }
}

#[test]
fn a_position_that_the_service_calls_invalid_leads_to_a_full_listing() {
    run(async {
        let (office, repository) = (Office::small(), repository().await);
        backup(&repository, &office.source()).await;
        office.simulation.script(|faults| faults.on(Route::Delta, 1, Fault::Status(400)));
        let report = backup(&repository, &office.source()).await;
        assert_eq!((report.stats.bytes_read, report.stats.removed), (0, 0));
    });
}

#[test]
fn a_download_outlives_its_address() {
    run(async {
        let (office, repository) = (Office::small(), repository().await);
        office.simulation.script(|faults| {
            (2..8).fold(faults, |faults, nth| faults.on(Route::Download, nth * 2, Fault::ExpireAddress))
        });
        backup(&repository, &office.source().with_range_bytes(64 << 10)).await;
        assert_equal(&office, &repository).await;
        assert_eq!(office.simulation.counters().leaked_tokens, 0);
    });
}

#[test]
fn an_address_that_is_always_refused_costs_its_file_and_not_the_run() {
    run(async {
        let (office, repository) = (Office::empty(), repository().await);
        office.write("a.txt", *b"a");
        office.write("b.txt", *b"b");
        office.simulation.script(|faults| {
            (1..=3).fold(faults, |faults, nth| faults.on(Route::Download, nth, Fault::ExpireAddress))
        });
        let source = office.source().with_concurrency(1);
        let report = repository.backup(&source).run().await.unwrap();
        assert_eq!((report.state, report.problems.len()), (SnapshotState::Incomplete, 1));
        assert_eq!(report.problems[0].error.kind(), ErrorKind::Unavailable);
        // The next run asks for that file alone.
        office.simulation.reset_counters();
        backup(&repository, &source).await;
        let counters = office.simulation.counters();
        assert_eq!(
            (counters.of(Route::Delta), counters.of(Route::Item), counters.of(Route::Download)),
            (1, 1, 1)
        );
        assert_equal(&office, &repository).await;
    });
}

#[test]
fn a_listing_that_does_not_get_on_ends_the_run() {
    run(async {
        let (office, repository) = (Office::small(), repository().await);
        office.simulation.script(|faults| faults.from(2, Fault::RepeatPage));
        let error = repository.backup(&office.source()).run().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(office.simulation.counters().of(Route::Delta) < 20);
    });
}

#[test]
fn a_notebook_comes_back_whole_and_its_files_without_a_hash_are_followed() {
    run(async {
        let office = Office::empty();
        office.tenant(|tenant, drive| tenant.make_notebook(drive, "Notebook").unwrap());
        follow(&office, |office| office.write("Notebook/Quick Notes.one", *b"a second section")).await;
    });
}

#[test]
fn empty_files_come_back_and_are_never_asked_for() {
    run(async {
        let (office, repository) = (Office::empty(), repository().await);
        for name in ["empty.txt", "empty.docx", "empty.one"] {
            office.write(name, Vec::new());
        }
        backup(&repository, &office.source()).await;
        assert_eq!(office.simulation.counters().of(Route::Download), 0);
        assert_equal(&office, &repository).await;
    });
}

#[test]
fn a_file_with_malware_is_kept_and_marked() {
    run(async {
        let (office, repository) = (Office::empty(), repository().await);
        office.write("invoice.exe", *b"malicious");
        office.tenant(|tenant, drive| tenant.set_malware(drive, "invoice.exe", Some("EICAR")).unwrap());
        backup(&repository, &office.source()).await;
        let browser = repository.browse(newest(&repository)).await.unwrap();
        let item = browser.stat("invoice.exe").await.unwrap();
        assert_eq!(item.attributes.get("malware"), Some(&Value::Bool(true)));
        assert_equal(&office, &repository).await;
    });
}

#[test]
fn locked_and_held_files_are_named_and_the_rest_is_restored() {
    for (obstacle, words) in
        [(Obstacle::Locked, "locked"), (Obstacle::Record, "record"), (Obstacle::Hold, "hold")]
    {
        run(async {
            let (office, repository) = (Office::small(), repository().await);
            backup(&repository, &office.source()).await;
            let before = office.tenant(|tenant, drive| tenant.read_file(drive, "Sales/3.txt").unwrap());
            office.tenant(|tenant, drive| {
                tenant.overwrite_all(drive).unwrap();
                for path in ["Sales/0.txt", "film.bin"] {
                    tenant.set_obstacle(drive, path, Some(obstacle)).unwrap();
                }
            });
            let sink = backup_graph::DriveSink::new(office.client.clone(), &office.drive, None)
                .with_range_bytes(320 << 10);
            let restore = repository.restore(newest(&repository), &sink).conflict(Conflict::Replace);
            let report = restore.run().await.unwrap();
            let places: BTreeSet<&str> =
                report.problems.iter().map(|problem| problem.place.as_str()).collect();
            assert_eq!(places, BTreeSet::from(["Sales/0.txt", "film.bin"]), "{:?}", report.problems);
            for problem in &report.problems {
                assert_eq!(problem.error.kind(), ErrorKind::PermissionDenied);
                assert!(problem.error.to_string().contains(words), "{problem}");
            }
            assert_eq!(
                office.tenant(|tenant, drive| tenant.read_file(drive, "Sales/3.txt").unwrap()),
                before
            );
        });
    }
}

#[test]
fn a_service_that_writes_into_office_files_is_reported_and_the_files_are_left() {
    run(async {
        let (office, repository) = (Office::empty(), repository().await);
        office.write("report.docx", *b"as it was written");
        office.write("plain.txt", *b"plain");
        backup(&repository, &office.source()).await;
        office.tenant(|tenant, _| tenant.rules_mut().enrich_office_files = true);
        let (drive, sink) = office.new_drive("grace@contoso.example");
        let report = repository.restore(newest(&repository), &sink).run().await.unwrap();
        let kinds: Vec<_> =
            report.problems.iter().map(|problem| (problem.place.as_str(), problem.error.kind())).collect();
        assert_eq!(kinds, [("report.docx", ErrorKind::SourceMismatch)]);
        let paths = office.simulation.with(|tenant| tenant.paths(&drive).unwrap());
        assert_eq!(paths, ["plain.txt", "report.docx"]);
    });
}

#[test]
fn a_labelled_file_whose_hash_is_not_that_of_its_bytes_is_kept_and_does_not_hold_the_rest() {
    run(async {
        let (office, repository) = (Office::small(), repository().await);
        let wrong = "SgAAAAAAAAAAAAAAAQAAAAAAAAA=";
        office.tenant(|tenant, drive| tenant.announce_hash(drive, "Sales/0.txt", wrong).unwrap());
        let report = repository.backup(&office.source()).run().await.unwrap();
        let kinds: Vec<_> =
            report.problems.iter().map(|problem| (problem.place.as_str(), problem.error.kind())).collect();
        assert_eq!(kinds, [("0.txt", ErrorKind::SourceMismatch)]);
        assert_equal(&office, &repository).await;
        // A second look tells that nothing went wrong on the way: the changes, the item, its content, and what it is now.
        office.simulation.reset_counters();
        let report = repository.backup(&office.source()).run().await.unwrap();
        assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
        let counters = office.simulation.counters();
        assert_eq!((counters.of(Route::Download), counters.total()), (1, 4), "{counters:?}");
        // It is not read again and again: nothing has changed.
        office.simulation.reset_counters();
        backup(&repository, &office.source()).await;
        assert_eq!(office.simulation.counters().total(), 1);
        assert_equal(&office, &repository).await;
    });
}

#[test]
fn names_of_every_legal_character_come_back() {
    run(async {
        let (office, repository) = (Office::empty(), repository().await);
        let illegal = ['"', '*', ':', '<', '>', '?', '/', '\\', '|'];
        let ascii = (' '..='~').filter(|c| !illegal.contains(c));
        for (number, c) in ascii.chain("äßéñøЖ中한😀\u{301}\u{200d}".chars()).enumerate() {
            office.write(&format!("folder {c}x/{number}{c}{c}end"), format!("{number}"));
        }
        office.write(&format!("{}.txt", "n".repeat(251)), *b"as long as can be");
        backup(&repository, &office.source()).await;
        assert_equal(&office, &repository).await;
    });
}

#[test]
fn every_item_that_is_missing_has_a_reason_that_stays_with_the_snapshot() {
    run(async {
        let (office, repository) = (Office::small(), repository().await);
        office.simulation.script(|faults| {
            faults.on(Route::Download, 2, Fault::Status(403)).on(Route::Download, 3, Fault::Status(403)).on(
                Route::Download,
                4,
                Fault::Status(403),
            )
        });
        let report = repository.backup(&office.source().with_concurrency(1)).run().await.unwrap();
        assert_eq!(report.state, SnapshotState::Incomplete);
        let recorded = repository.snapshot(report.snapshot).await.unwrap().problems;
        let places: Vec<&str> = recorded.iter().map(|problem| problem.place.as_str()).collect();
        assert_eq!(places, report.problems.iter().map(|problem| problem.place.as_str()).collect::<Vec<_>>());
        assert!(
            recorded.iter().all(|problem| problem.code == ErrorKind::PermissionDenied.code()),
            "{recorded:?}"
        );
    });
}
