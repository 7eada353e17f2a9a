//! What a tenant has: every user, group, site and drive, each once, and nobody's missing drive is a failure.

use std::collections::{BTreeMap, BTreeSet};

use backup_core::ErrorKind;
use backup_graph::directory::{DirectoryChange, Found, Owner, OwnerKind, User};
use backup_graph::sim::{Fault, Route, Tenant};
use futures_util::TryStreamExt as _;

use crate::office::{Office, run, seconds};

/// A tenant with everything that can have a drive, and who has none.
fn company() -> (Office, BTreeMap<String, OwnerKind>) {
    let office = Office::empty();
    let mut expected = BTreeMap::from([(office.drive.clone(), OwnerKind::User)]);
    office.simulation.with(|tenant| {
        expected.insert(tenant.add_drive("grace@contoso.example"), OwnerKind::User);
        // A second OneDrive of the same user: after a move, say.
        expected.insert(tenant.add_drive("grace@contoso.example"), OwnerKind::User);
        for guest in 0..3 {
            tenant.add_user(&format!("guest{guest}@contoso.example"));
        }
        expected.insert(tenant.add_group("Law").1, OwnerKind::Group);
        tenant.add_security_group("Printers");
        let mut site = None;
        // A chain of subsites, each with a library, and one without.
        for name in ["Projects", "Moon", "Lander", "Engine"] {
            let id = tenant.add_site(name, site.as_deref()).unwrap();
            expected.insert(tenant.add_library(&id, "Documents").unwrap(), OwnerKind::Site);
            site = Some(id);
        }
        let wide = tenant.add_site("Wide", None).unwrap();
        for number in 0..7 {
            expected
                .insert(tenant.add_library(&wide, &format!("Library {number}")).unwrap(), OwnerKind::Site);
            tenant.add_site(&format!("Below {number}"), Some(&wide)).unwrap();
        }
        tenant.rules_mut().page_entries = 3;
    });
    (office, expected)
}

/// Drives by id with the kind of their owner, and how many had none or were refused.
async fn search(office: &Office, kinds: &[OwnerKind]) -> (BTreeMap<String, OwnerKind>, usize, usize) {
    let (mut drives, mut none, mut failed) = (BTreeMap::new(), 0, 0);
    let all: Vec<Found> = office.client.every_drive(kinds).try_collect().await.unwrap();
    for found in all {
        match found {
            Found::Drive { owner, drive } => {
                assert!(drives.insert(drive.id.clone(), owner.kind()).is_none(), "{} came twice", drive.id);
                assert!(drive.name.is_some() && drive.drive_type.is_some() && drive.web_url.is_some());
            }
            Found::NoDrive { .. } => none += 1,
            _ => failed += 1,
        }
    }
    (drives, none, failed)
}

#[test]
fn users_groups_and_sites_are_listed_over_many_pages() {
    run(async {
        let (office, _) = company();
        office.simulation.with(|tenant| {
            (0..1_000).for_each(|number| drop(tenant.add_user(&format!("user{number}@contoso.example"))));
        });
        let users: Vec<User> = office.client.users().try_collect().await.unwrap();
        assert_eq!((users.len(), office.simulation.counters().of(Route::Users)), (1_005, 2));
        let ada =
            users.iter().find(|user| user.user_principal_name.as_deref() == Some("ada@contoso.example"));
        let ada = ada.unwrap();
        assert_eq!((ada.account_enabled, ada.user_type.as_deref()), (Some(true), Some("Member")));

        let groups: Vec<_> = office.client.groups().try_collect().await.unwrap();
        assert_eq!(groups.iter().map(|group| group.is_unified()).collect::<Vec<_>>(), [true, false]);

        office.simulation.reset_counters();
        let sites: Vec<_> = office.client.sites().try_collect().await.unwrap();
        // The root, two of users, one of a group, two others: subsites are listed below their parents.
        assert_eq!((sites.len(), office.simulation.counters().of(Route::Sites)), (6, 2));
        assert_eq!(sites.iter().filter(|site| site.is_personal_site == Some(true)).count(), 2);
        let wide = sites.iter().find(|site| site.display_name.as_deref() == Some("Wide")).unwrap();
        let below: Vec<_> = office.client.subsites(&wide.id).try_collect().await.unwrap();
        assert_eq!(below.len(), 7);
        let drives: Vec<_> = office.client.drives_of(OwnerKind::Site, &wide.id).try_collect().await.unwrap();
        assert_eq!(drives.iter().map(|drive| &drive.id).collect::<BTreeSet<_>>().len(), 7);
    });
}

#[test]
fn every_drive_is_found_exactly_once_with_its_first_owner() {
    run(async {
        for list_subsites in [false, true] {
            let (office, expected) = company();
            office.simulation.with(|tenant| tenant.rules_mut().list_subsites = list_subsites);
            let (drives, none, failed) = search(&office, OwnerKind::ALL).await;
            assert_eq!(drives, expected);
            // Three guests, the root site and seven sites without a library.
            assert_eq!((none, failed), (11, 0));
        }
    });
}

#[test]
fn who_asks_for_sites_alone_finds_what_users_and_groups_have_there() {
    run(async {
        let (office, expected) = company();
        let (drives, ..) = search(&office, &[OwnerKind::Site]).await;
        assert_eq!(drives.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        assert!(drives.values().all(|kind| *kind == OwnerKind::Site));
        // A user who is gone leaves a OneDrive behind.
        office.simulation.with(|tenant| tenant.remove_user("ada@contoso.example").unwrap());
        let (drives, ..) = search(&office, OwnerKind::ALL).await;
        assert_eq!(drives[&office.drive], OwnerKind::Site);
    });
}

#[test]
fn a_thousand_users_are_asked_in_fifty_batches() {
    run(async {
        let office = Office::empty();
        office.simulation.with(|tenant| {
            (1..1_000).for_each(|number| drop(tenant.add_drive(&format!("user{number}@contoso.example"))));
        });
        let (drives, none, failed) = search(&office, &[OwnerKind::User]).await;
        assert_eq!((drives.len(), none, failed), (1_000, 0, 0));
        let counters = office.simulation.counters();
        assert_eq!((counters.of(Route::Batch), counters.total()), (50, 52));
    });
}

#[test]
fn who_has_no_drive_is_no_failure_however_the_service_says_so() {
    run(async {
        for forbidden in [false, true] {
            let (office, expected) = company();
            office.simulation.with(|tenant| tenant.rules_mut().forbid_missing_drives = forbidden);
            let (drives, none, failed) = search(&office, &[OwnerKind::User, OwnerKind::Group]).await;
            let users = expected.values().filter(|kind| **kind != OwnerKind::Site).count();
            assert_eq!((drives.len(), none, failed), (users, 3, 0));
            let guest = office.client.drives_of(OwnerKind::User, "guest1@contoso.example");
            assert_eq!(guest.try_collect::<Vec<_>>().await.unwrap().len(), 0);
        }
    });
}

#[test]
fn who_is_not_there_is_not_found() {
    run(async {
        let (office, _) = company();
        for (kind, id) in [
            (OwnerKind::User, "nobody@contoso.example"),
            (OwnerKind::Group, "00000000-0000-4000-8000-000000000000"),
            (OwnerKind::Site, "contoso.sharepoint.com,1,2"),
        ] {
            let error = office.client.drives_of(kind, id).try_collect::<Vec<_>>().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{kind:?}");
        }
    });
}

#[test]
fn one_owner_that_is_refused_does_not_hide_the_others() {
    run(async {
        let (office, expected) = company();
        office.simulation.script(|faults| faults.on(Route::Drive, 2, Fault::Status(423)));
        let mut failed = Vec::new();
        let mut found = office.client.every_drive(OwnerKind::ALL);
        let mut drives = 0;
        while let Some(next) = found.try_next().await.unwrap() {
            match next {
                Found::Drive { .. } => drives += 1,
                Found::Failed { owner, error } => failed.push((owner, error)),
                _ => {}
            }
        }
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].1.kind(), ErrorKind::PermissionDenied);
        assert!(matches!(&failed[0].0, Owner::User(_)) && failed[0].0.name().contains('@'));
        // The second user's OneDrives are found through the personal site all the same.
        assert_eq!(drives, expected.len());
    });
}

#[test]
fn what_was_listed_before_a_page_failed_is_kept() {
    run(async {
        let (office, _) = company();
        // The libraries of the wide site come on three pages; the last of them is refused.
        let found: Vec<Found> = {
            let kinds = [OwnerKind::Site];
            office.simulation.script(|faults| faults.on(Route::Drive, 8, Fault::Status(423)));
            office.client.every_drive(&kinds).try_collect().await.unwrap()
        };
        let failed = found.iter().filter(|found| matches!(found, Found::Failed { .. })).count();
        let wide = found.iter().filter(|found| match found {
            Found::Drive { owner, .. } => owner.name().ends_with("/Wide"),
            _ => false,
        });
        assert_eq!((failed, wide.count()), (1, 6));
    });
}

#[test]
fn a_busy_service_is_waited_for_and_nothing_is_lost() {
    run(async {
        let (office, expected) = company();
        office.simulation.script(|faults| {
            faults
                .on(Route::Drive, 3, Fault::Throttle(seconds(17)))
                .on(Route::Sites, 4, Fault::Status(503))
                .on(Route::Users, 1, Fault::Throttle(seconds(5)))
                .on(Route::Batch, 2, Fault::Reset)
        });
        let (drives, _, failed) = search(&office, OwnerKind::ALL).await;
        assert_eq!((drives, failed), (expected, 0));
        assert_eq!(office.simulation.counters().inside_window, 0);
    });
}

async fn changes(office: &Office, since: Option<&str>) -> (BTreeSet<String>, BTreeSet<String>, String) {
    let (mut changed, mut removed, mut position) = (BTreeSet::new(), BTreeSet::new(), None);
    let all: Vec<_> = office.client.user_changes(since).try_collect().await.unwrap();
    for change in all {
        match change {
            DirectoryChange::Changed(user) => {
                changed.insert(user.user_principal_name.unwrap());
            }
            DirectoryChange::Removed(id) => {
                removed.insert(id);
            }
            DirectoryChange::Position(next) => position = Some(next),
            _ => {}
        }
    }
    (changed, removed, position.unwrap())
}

#[test]
fn changes_of_users_are_told_since_a_position() {
    run(async {
        let (office, _) = company();
        let (all, removed, position) = changes(&office, None).await;
        assert_eq!((all.len(), removed.len()), (5, 0));
        let (none, _, position) = changes(&office, Some(&position)).await;
        assert!(none.is_empty());
        let hands = |tenant: &mut Tenant| {
            let guest = tenant.add_user("guest0@contoso.example");
            tenant.remove_user("guest0@contoso.example").unwrap();
            tenant.add_user("new@contoso.example");
            guest
        };
        let guest = office.simulation.with(hands);
        let (changed, removed, _) = changes(&office, Some(&position)).await;
        assert_eq!(changed.into_iter().collect::<Vec<_>>(), ["new@contoso.example"]);
        assert_eq!(removed.into_iter().collect::<Vec<_>>(), [guest]);

        let forgotten = "https://graph.example/v1.0/users/delta?$deltatoken=gone";
        let error = office.client.user_changes(Some(forgotten)).try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CursorExpired);
        let groups: Vec<_> = office.client.group_changes(None).try_collect().await.unwrap();
        assert_eq!(groups.len(), 3);
    });
}
