//! Permissions, earlier versions and columns: out through a repository and back into another drive.

use backup_core::{Conflict, Repository, RestoreReport, SnapshotState, Source};
use backup_graph::sim::Route;
use backup_graph::{DriveSink, DriveSource, Versions};
use serde_json::json;

use crate::office::{Office, repository, run};

const PEOPLE: [&str; 2] = ["grace@contoso.example", "linus@contoso.example"];

async fn backup(repository: &Repository, source: &dyn Source) -> backup_core::BackupReport {
    let report = repository.backup(source).run().await.unwrap();
    assert_eq!(report.state, SnapshotState::Complete, "{:?}", report.problems);
    report
}

async fn restore(repository: &Repository, sink: &DriveSink) -> RestoreReport {
    let newest = repository.snapshots().last().unwrap().id;
    repository.restore(newest, sink).conflict(Conflict::Replace).run().await.unwrap()
}

/// An office with people to share with, and a shared folder with a file that is shared further.
fn shared() -> Office {
    let office = Office::empty();
    office.simulation.with(|tenant| PEOPLE.iter().for_each(|person| drop(tenant.add_user(person))));
    for path in ["plain.txt", "team/plan.txt", "team/inner/note.txt"] {
        office.write(path, path.as_bytes());
    }
    office.tenant(|tenant, drive| {
        tenant.grant(drive, "team", PEOPLE[0], &["write"]).unwrap();
        tenant.grant(drive, "team/plan.txt", PEOPLE[1], &["read"]).unwrap();
        tenant.share(drive, "team/plan.txt", "view", "organization", &[]).unwrap();
    });
    office
}

fn permissions_of(office: &Office) -> DriveSource {
    office.source().with_permissions(true)
}

#[test]
fn permissions_are_given_again_to_the_same_people_and_nobody_is_mailed() {
    run(async {
        let (office, repository) = (shared(), repository().await);
        backup(&repository, &permissions_of(&office)).await;
        let (drive, sink) = office.new_drive("restored@contoso.example");
        let report = restore(&repository, &sink.with_permissions(true)).await;
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        let sharing = |drive: &str, path: &str| {
            let mut lines = office.simulation.with(|tenant| tenant.sharing(drive, path).unwrap());
            lines.retain(|line| !line.contains("owner"));
            lines
        };
        for path in ["plain.txt", "team", "team/plan.txt", "team/inner/note.txt"] {
            assert_eq!(sharing(&drive, path), sharing(&office.drive, path), "{path}");
        }
        assert!(sharing(&drive, "team/plan.txt").len() >= 3, "{:?}", sharing(&drive, "team/plan.txt"));
        assert_eq!(office.simulation.with(|tenant| tenant.mails_sent()), 0);
    });
}

#[test]
fn permissions_cost_a_request_only_where_an_item_has_its_own() {
    run(async {
        let (office, repository) = (shared(), repository().await);
        backup(&repository, &office.source()).await;
        let plain = office.simulation.counters().total();
        office.simulation.reset_counters();
        let full = repository.backup(&permissions_of(&office)).full().run().await.unwrap();
        assert!(full.problems.is_empty());
        // One listing and one batch: content is known already.
        assert!(plain > 2 && office.simulation.counters().total() <= 2, "{:?}", office.simulation.counters());
        assert!(full.source["inner_requests"].as_int() >= Some(2), "{:?}", full.source);
    });
}

#[test]
fn a_permission_that_cannot_be_given_back_is_named_and_the_rest_is_restored() {
    run(async {
        let (office, repository) = (shared(), repository().await);
        office.tenant(|tenant, drive| {
            tenant.grant_site_group(drive, "team/plan.txt", "Visitors", &["read"]).map(drop).unwrap();
        });
        backup(&repository, &permissions_of(&office)).await;
        let (drive, sink) = office.new_drive("restored@contoso.example");
        let report = restore(&repository, &sink.with_permissions(true)).await;
        assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
        assert!(report.problems[0].error.to_string().contains("Visitors"), "{:?}", report.problems);
        let content = office.simulation.with(|tenant| tenant.read_file(&drive, "team/plan.txt").unwrap());
        assert_eq!(content, "team/plan.txt");
    });
}

#[test]
fn versions_come_back_in_their_order_and_each_is_downloaded_once() {
    run(async {
        let (office, repository) = (Office::empty(), repository().await);
        let source = office.source().with_versions(Versions::All);
        for text in ["first", "second", "third"] {
            office.write("report.txt", text.as_bytes());
        }
        backup(&repository, &source).await;
        office.write("report.txt", *b"fourth");
        office.simulation.reset_counters();
        let report = backup(&repository, &source).await;
        assert_eq!(
            report.stats.bytes_read,
            6 + 5,
            "the new content, and what was the content before as a version"
        );
        assert_eq!(office.simulation.counters().of(Route::Download), 2);

        let (drive, sink) = office.new_drive("restored@contoso.example");
        let report = restore(&repository, &sink.with_versions(true)).await;
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        let contents = office.simulation.with(|tenant| tenant.contents(&drive, "report.txt").unwrap());
        assert_eq!(contents, ["first", "second", "third", "fourth"]);
        assert_eq!(office.fingerprint(&drive), office.fingerprint(&office.drive));

        let (drive, sink) = office.new_drive("current@contoso.example");
        restore(&repository, &sink).await;
        let contents = office.simulation.with(|tenant| tenant.contents(&drive, "report.txt").unwrap());
        assert_eq!(contents, ["fourth"], "versions only where they are wanted");
    });
}

#[test]
fn the_newest_versions_are_those_before_the_content() {
    run(async {
        let (office, repository) = (Office::empty(), repository().await);
        for number in 1..=5 {
            office.write("report.txt", format!("text {number}"));
        }
        backup(&repository, &office.source().with_versions(Versions::Newest(2))).await;
        let (drive, sink) = office.new_drive("restored@contoso.example");
        restore(&repository, &sink.with_versions(true)).await;
        let contents = office.simulation.with(|tenant| tenant.contents(&drive, "report.txt").unwrap());
        assert_eq!(contents, ["text 3", "text 4", "text 5"]);
    });
}

#[test]
fn columns_of_a_library_are_filled_in_again() {
    run(async {
        let (office, repository) = (Office::empty(), repository().await);
        office.write("report.txt", *b"text");
        let values = json!({ "Project": "Moon" });
        let (drive, sink) = office.new_drive("restored@contoso.example");
        office.simulation.with(|tenant| {
            tenant.add_column(&office.drive, "Project").unwrap();
            tenant.add_column(&drive, "Project").unwrap();
            tenant.set_fields(&office.drive, "report.txt", values.as_object().unwrap()).unwrap();
        });
        backup(&repository, &office.source().with_fields(true)).await;
        let report = restore(&repository, &sink.with_fields(true)).await;
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        let fields = office.simulation.with(|tenant| tenant.fields(&drive, "report.txt").unwrap());
        assert_eq!(fields["Project"], "Moon");
    });
}

#[test]
fn a_large_file_comes_in_ranges_and_survives_broken_connections_and_expired_addresses() {
    run(async {
        let (office, repository) = (Office::empty(), repository().await);
        let content: Vec<u8> = (0..40_000_003u32).map(|i| (i % 251) as u8 ^ (i >> 17) as u8).collect();
        office.write("large.bin", content);
        office.simulation.script(|faults| {
            faults
                .on(Route::Download, 2, backup_graph::sim::Fault::Truncate(100_000))
                .on(Route::Download, 3, backup_graph::sim::Fault::Reset)
                .on(Route::Download, 5, backup_graph::sim::Fault::ExpireAddress)
        });
        let report = backup(&repository, &office.source()).await;
        assert_eq!(report.stats.bytes_read, 40_000_003);
        let counters = office.simulation.counters();
        assert!(counters.of(Route::Download) > 5 && counters.leaked_tokens == 0, "{counters:?}");
        let (drive, sink) = office.new_drive("restored@contoso.example");
        restore(&repository, &sink).await;
        assert_eq!(office.fingerprint(&drive), office.fingerprint(&office.drive));
    });
}
