//! Enumerating, following and reading a drive.

use std::collections::BTreeSet;

use backup_core::{ErrorKind, ItemKind, Source as _, Tag};
use backup_graph::sim::Route;

use crate::office::{Office, listen, read, run, seconds};

/// Whether what was heard is what the tenant holds: paths, and every file's bytes.
async fn assert_equal(office: &Office, source: &dyn backup_core::Source, heard: &crate::office::Heard) {
    let (paths, files) =
        office.tenant(|tenant, drive| (tenant.paths(drive).unwrap(), tenant.files(drive).unwrap()));
    assert_eq!(heard.paths(), paths.into_iter().collect::<BTreeSet<String>>());
    let files: BTreeSet<String> = files.into_iter().collect();
    for item in heard.items.values().filter(|item| item.kind == ItemKind::FILE) {
        let path = heard.path(item);
        assert!(files.contains(&path));
        let (bytes, ended) = read(source, item).await;
        ended.unwrap();
        assert_eq!(bytes, office.tenant(|tenant, drive| tenant.read_file(drive, &path).unwrap()), "{path}");
    }
}

#[test]
fn a_first_enumeration_equals_the_tenant_and_costs_its_pages_and_files() {
    run(async {
        let office = Office::with_documents(120);
        let source = office.source().with_page_entries(50);
        let heard = listen(&source, None).await.unwrap();
        assert!(heard.cursor.is_some() && !heard.reset && heard.problems == 0);
        assert_equal(&office, &source, &heard).await;

        let counters = office.simulation.counters();
        let pages = heard.items.len().div_ceil(50) as u64;
        let full =
            heard.items.values().filter(|item| item.kind == ItemKind::FILE && item.size() > 0).count() as u64;
        assert!(pages > 2 && full > 100);
        assert_eq!((counters.of(Route::Delta), counters.of(Route::Download)), (pages, full));
        assert_eq!(counters.total(), pages + full);
        assert_eq!(office.client.metrics().requests, pages + full);
        assert_eq!(counters.leaked_tokens, 0);
    });
}

#[test]
fn an_unchanged_drive_costs_one_request() {
    run(async {
        let office = Office::with_documents(20);
        let source = office.source();
        let heard = listen(&source, None).await.unwrap();
        office.simulation.reset_counters();
        let again = listen(&source, heard.cursor.as_ref()).await.unwrap();
        assert!(again.items.is_empty() && again.removed.is_empty() && !again.reset);
        assert_eq!(office.simulation.counters().total(), 1);
    });
}

#[test]
fn an_empty_page_ends_nothing() {
    run(async {
        let office = Office::with_documents(30);
        office.tenant(|tenant, _| tenant.rules_mut().empty_first_page = true);
        let source = office.source();
        let heard = listen(&source, None).await.unwrap();
        assert_equal(&office, &source, &heard).await;
    });
}

#[test]
fn changes_renames_moves_and_deletions_are_followed() {
    run(async {
        let office = Office::with_documents(40);
        office.write("Sales/plan.txt", *b"first");
        office.write("Sales/old/a.txt", *b"a");
        office.write("Sales/old/deep/b.txt", *b"b");
        office.write("Sales/stays.txt", *b"stays");
        let source = office.source().with_page_entries(3);
        let mut heard = listen(&source, None).await.unwrap();
        let plan_tag = heard.find("plan.txt").tag.clone();
        let stays_tag = heard.find("stays.txt").tag.clone();

        office.tenant(|tenant, drive| {
            tenant.write_file(drive, "Sales/plan.txt", &b"second"[..]).unwrap();
            tenant.rename(drive, "Sales/plan.txt", "Plan 2026.txt").unwrap();
            tenant.move_to(drive, "Sales/stays.txt", "Archive/2026").unwrap();
            tenant.delete(drive, "Sales/old").unwrap();
            tenant.write_file(drive, "Sales/ghost.txt", &b"boo"[..]).unwrap();
            tenant.delete(drive, "Sales/ghost.txt").unwrap();
            tenant.write_file(drive, "Sales/new.txt", &b"new"[..]).unwrap();
            tenant.rename(drive, "Sales", "Verkauf").unwrap();
        });
        let later = listen(&source, heard.cursor.as_ref()).await.unwrap();
        assert!(!later.reset);
        assert!(later.removed.len() >= 2, "the folder, and the ghost although it was never seen");
        assert_ne!(later.find("Plan 2026.txt").tag, plan_tag, "written");
        assert_eq!(later.find("stays.txt").tag, stays_tag, "moved only: not to be read again");
        assert_ne!(stays_tag, Tag::default());
        heard.apply(later);
        assert_equal(&office, &source, &heard).await;
    });
}

#[test]
fn a_forgotten_position_leads_to_a_reset_and_a_full_enumeration() {
    for with_location in [true, false] {
        run(async {
            let office = Office::with_documents(30);
            let source = office.source();
            let heard = listen(&source, None).await.unwrap();
            office.tenant(|tenant, drive| {
                tenant.rules_mut().resync_location = with_location;
                tenant.expire_cursors(drive).unwrap();
            });
            let again = listen(&source, heard.cursor.as_ref()).await.unwrap();
            assert!(again.reset);
            assert_equal(&office, &source, &again).await;
            let tags = |heard: &crate::office::Heard| -> Vec<Tag> {
                heard.items.values().map(|item| item.tag.clone()).collect()
            };
            assert_eq!(tags(&again), tags(&heard), "nothing would be downloaded again");
        });
    }
}

#[test]
fn a_position_of_another_endpoint_is_not_sent_the_token() {
    run(async {
        let office = Office::with_documents(5);
        let source = office.source();
        let heard = listen(&source, Some(&"https://evil.example/v1.0/drives/x/root/delta?token=1".into()))
            .await
            .unwrap();
        assert!(heard.reset);
        assert_equal(&office, &source, &heard).await;
    });
}

#[test]
fn a_drive_that_does_not_exist_ends_the_run() {
    run(async {
        let office = Office::empty();
        let source = backup_graph::DriveSource::new(office.client.clone(), "b!nothing");
        assert_eq!(listen(&source, None).await.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_file_without_a_fresh_address_is_asked_for_in_the_documented_ways() {
    run(async {
        let office = Office::empty();
        office.write("a.txt", *b"content");
        let source = office.source();
        // Read twice: the second time, the address that came with the listing is used up.
        let heard = listen(&source, None).await.unwrap();
        for _ in 0..2 {
            assert_eq!(read(&source, heard.find("a.txt")).await.0, b"content");
        }
        assert_eq!(office.simulation.counters().of(Route::Item), 1);
        // An address that is too old is not even tried.
        let heard = listen(&source, None).await.unwrap();
        office.timer.advance(seconds(3_000));
        assert_eq!(read(&source, heard.find("a.txt")).await.0, b"content");
        assert_eq!(office.simulation.counters().of(Route::Item), 2);
        // A service that gives no addresses redirects.
        office.tenant(|tenant, _| tenant.rules_mut().download_addresses = false);
        let heard = listen(&source, None).await.unwrap();
        let (bytes, ended) = read(&source, heard.find("a.txt")).await;
        ended.unwrap();
        assert_eq!(bytes, b"content");
        let counters = office.simulation.counters();
        assert_eq!((counters.of(Route::Content), counters.leaked_tokens), (1, 0));
    });
}

#[test]
fn a_file_that_vanished_is_not_found_and_other_streams_there_are_none() {
    run(async {
        let office = Office::empty();
        office.write("a.txt", *b"content");
        let source = office.source();
        let heard = listen(&source, None).await.unwrap();
        let item = heard.find("a.txt").clone();
        office.tenant(|tenant, drive| tenant.delete(drive, "a.txt").unwrap());
        assert_eq!(read(&source, &item).await.1.unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(source.open(&item, "mime").await.unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_real_folder_seeds_the_same_tree() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("one/two")).unwrap();
        std::fs::write(folder.path().join("one/two/größe.txt"), "in place").unwrap();
        std::fs::write(folder.path().join("empty"), "").unwrap();
        let office = Office::empty();
        let files = office.tenant(|tenant, drive| tenant.seed_from_dir(drive, folder.path()).unwrap());
        assert_eq!(files, 2);
        let source = office.source();
        let heard = listen(&source, None).await.unwrap();
        assert_equal(&office, &source, &heard).await;
        let modified = std::fs::metadata(folder.path().join("empty")).unwrap().modified().unwrap();
        let modified = backup_core::Timestamp::from(modified).seconds();
        assert_eq!(heard.find("empty").times.modified.unwrap().seconds(), modified);
    });
}
