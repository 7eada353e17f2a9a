//! Odd permissions: what is given back of them, what is left out, and what is named.

use backup_core::{Conflict, Repository, RestoreReport, SnapshotState};
use backup_graph::sim::{Route, Tenant};

use crate::office::{Office, newest, repository, run, seconds};

const GRACE: &str = "grace@contoso.example";
const LINUS: &str = "linus@contoso.example";

/// An office with a folder and a file in it, shared as told, in a repository with its permissions.
async fn protected(share: impl FnOnce(&mut Tenant, &str)) -> (Office, Repository) {
    let (office, repository) = (Office::empty(), repository().await);
    office.write("team/plan.txt", *b"the plan");
    office.simulation.with(|tenant| [GRACE, LINUS].iter().for_each(|name| drop(tenant.add_user(name))));
    office.tenant(share);
    let report = repository.backup(&office.source().with_permissions(true)).run().await.unwrap();
    assert_eq!(report.state, SnapshotState::Complete, "{:?}", report.problems);
    (office, repository)
}

/// Restores into another drive: how its file is shared, apart from its owner, and the report.
async fn restored(
    office: &Office,
    repository: &Repository,
    only: Option<&str>,
) -> (Vec<String>, RestoreReport) {
    let (drive, sink) = office.new_drive("restored@contoso.example");
    let sink = sink.with_permissions(true);
    office.simulation.reset_counters();
    let restore = repository.restore(newest(repository), &sink).conflict(Conflict::Replace);
    let restore = if let Some(path) = only { restore.only(path) } else { restore };
    let report = restore.run().await.unwrap();
    assert_eq!(office.simulation.with(|tenant| tenant.mails_sent()), 0);
    office.simulation.with(|tenant| {
        assert_eq!(tenant.read_file(&drive, "team/plan.txt").unwrap(), "the plan");
        (tenant.sharing(&drive, "team/plan.txt").unwrap(), report)
    })
}

/// The one thing that could not be given back.
fn only_problem(report: &RestoreReport) -> String {
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
    assert_eq!(report.problems[0].place, "team/plan.txt");
    report.problems[0].error.to_string()
}

#[test]
fn a_link_of_an_unknown_scope_is_named_and_the_rest_is_given() {
    run(async {
        let (office, repository) = protected(|tenant, drive| {
            tenant.share(drive, "team/plan.txt", "view", "neighbours", &[]).unwrap();
            tenant.share(drive, "team/plan.txt", "view", "organization", &[]).unwrap();
            tenant.grant(drive, "team/plan.txt", GRACE, &["write"]).unwrap();
        })
        .await;
        let (sharing, report) = restored(&office, &repository, None).await;
        assert!(only_problem(&report).contains("a sharing link could not be restored"), "{report:?}");
        assert_eq!(sharing, ["inherits", "link view organization []: read", &format!("user {GRACE}: write")]);
    });
}

#[test]
fn a_permission_that_does_not_say_whose_it_is_is_named_and_the_rest_is_given() {
    run(async {
        let (office, repository) = protected(|tenant, drive| {
            tenant.grant_nobody(drive, "team/plan.txt", &["write"]).unwrap();
            tenant.grant(drive, "team/plan.txt", GRACE, &["read"]).unwrap();
        })
        .await;
        let (sharing, report) = restored(&office, &repository, None).await;
        assert!(only_problem(&report).contains("does not say whose it is"), "{report:?}");
        assert_eq!(sharing, ["inherits", &format!("user {GRACE}: read")]);
    });
}

#[test]
fn what_a_folder_gives_is_not_given_again_to_what_lies_in_it() {
    run(async {
        let (office, repository) = protected(|tenant, drive| {
            tenant.grant(drive, "team", GRACE, &["write"]).unwrap();
            tenant.grant(drive, "team/plan.txt", LINUS, &["read"]).unwrap();
        })
        .await;
        for only in [None, Some("team/plan.txt")] {
            let (sharing, report) = restored(&office, &repository, only).await;
            assert!(report.problems.is_empty(), "{:?}", report.problems);
            assert_eq!(sharing, ["inherits", &format!("user {LINUS}: read")]);
            assert_eq!(office.simulation.counters().of(Route::Share), 2, "one for each that has its own");
            office.simulation.with(|tenant| {
                let drive = tenant.drive_of("restored@contoso.example").unwrap().to_owned();
                tenant.wipe(&drive).unwrap();
            });
        }
    });
}

#[test]
fn what_has_ended_is_not_given_again_and_what_ends_later_keeps_its_end() {
    run(async {
        let (office, repository) = protected(|tenant, drive| {
            let (file, now) = ("team/plan.txt", tenant.now());
            let at = |hours: i64| Some(backup_core::Timestamp::new(now.seconds() + hours * 3_600, 0));
            // One has ended already, one ends before the restore, one after it.
            for (kind, hours) in [("view", -1), ("edit", 1)] {
                let link = tenant.share(drive, file, kind, "anonymous", &[]).unwrap();
                tenant.expire_permission(drive, file, &link, at(hours)).unwrap();
            }
            let link = tenant.share(drive, file, "view", "organization", &[]).unwrap();
            tenant.expire_permission(drive, file, &link, at(48)).unwrap();
            let person = tenant.grant(drive, file, GRACE, &["read"]).unwrap();
            tenant.expire_permission(drive, file, &person, at(1)).unwrap();
        })
        .await;
        office.timer.advance(seconds(24 * 3_600));
        let (sharing, report) = restored(&office, &repository, None).await;
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        assert_eq!(sharing.len(), 2, "{sharing:?}");
        assert!(sharing[1].starts_with("link view organization []: read until "), "{sharing:?}");
        assert_eq!(office.simulation.counters().of(Route::Share), 1);
    });
}

#[test]
fn people_who_were_deleted_are_named_unless_they_were_owners_and_the_others_get_theirs() {
    run(async {
        let (office, repository) = protected(|tenant, drive| {
            for (name, role) in [("gone@contoso.example", "read"), ("boss@contoso.example", "owner")] {
                tenant.add_user(name);
                tenant.grant(drive, "team/plan.txt", name, &[role]).unwrap();
            }
            tenant.grant(drive, "team/plan.txt", GRACE, &["read"]).unwrap();
            // The drive's own owner too.
            for name in ["gone@contoso.example", "boss@contoso.example", "ada@contoso.example"] {
                tenant.remove_user(name).unwrap();
            }
        })
        .await;
        let (sharing, report) = restored(&office, &repository, None).await;
        assert!(only_problem(&report).contains("could not be resolved"), "{report:?}");
        assert_eq!(sharing, ["inherits", &format!("user {GRACE}: read")]);
    });
}
