//! What a run costs, counted where it arrives: each bound is the formula of the least that is possible.

use backup_core::{BackupReport, Repository, SnapshotState, Source};
use backup_graph::DriveSink;
use backup_graph::sim::{Fault, Resync, Route};

use crate::office::{Office, newest, repository, run, seconds};

const PAGE_ENTRIES: u32 = 50;
const FILES: usize = 300;

/// 300 files in 10 folders, every tenth of them empty.
fn full_office() -> Office {
    let office = Office::empty();
    for number in 0..FILES {
        let content = if number % 10 == 0 { String::new() } else { format!("content of {number}") };
        office.write(&format!("folder {}/{number}.txt", number % 10), content);
    }
    office
}

fn pages(entries: usize) -> u64 {
    entries.div_ceil(PAGE_ENTRIES as usize).max(1) as u64
}

/// Root, folders and files.
const ITEMS: usize = 1 + 10 + FILES;
const FULL_FILES: u64 = (FILES - FILES / 10) as u64;

async fn backup(repository: &Repository, source: &dyn Source) -> BackupReport {
    let report = repository.backup(source).run().await.unwrap();
    assert_eq!(report.state, SnapshotState::Complete, "{:?}", report.problems);
    report
}

fn source(office: &Office) -> backup_graph::DriveSource {
    office.source().with_page_entries(PAGE_ENTRIES)
}

fn units(office: &Office) -> u64 {
    office.simulation.with(|tenant| tenant.resource_units())
}

/// An office whose drive is in a repository, and nothing counted yet.
async fn protected() -> (Office, Repository) {
    let (office, repository) = (full_office(), repository().await);
    backup(&repository, &source(&office)).await;
    office.simulation.reset_counters();
    (office, repository)
}

#[test]
fn a_first_run_costs_its_pages_and_one_request_for_each_file_that_is_not_empty() {
    run(async {
        let (office, repository) = (full_office(), repository().await);
        backup(&repository, &source(&office)).await;
        let counters = office.simulation.counters();
        let least = pages(ITEMS) + FULL_FILES;
        assert!(counters.total() * 100 <= least * 105, "{} of {least}", counters.total());
        // Two units for the first page, one for each that a link leads to, one for each file.
        let least = 2 + (pages(ITEMS) - 1) + FULL_FILES;
        assert!(units(&office) * 100 <= least * 105, "{} units of {least}", units(&office));
    });
}

#[test]
fn one_request_in_twenty_refused_costs_at_most_a_tenth_more() {
    for seed in 1..=5 {
        run(async {
            let (office, repository) = (full_office(), repository().await);
            office.simulation.script(|faults| faults.sometimes(seed, 50, Fault::Throttle(seconds(10))));
            backup(&repository, &source(&office)).await;
            let counters = office.simulation.counters();
            let least = pages(ITEMS) + FULL_FILES;
            assert!(counters.faults > 3, "seed {seed}");
            assert!(counters.total() * 100 <= least * 110, "seed {seed}: {} of {least}", counters.total());
            assert_eq!((counters.inside_window, counters.leaked_tokens), (0, 0), "seed {seed}");
        });
    }
}

/// Bug: behind ten thousand files that needed no download, every other file cost two requests. Mechanism: their addresses
/// filled the memory of addresses, and new ones were turned away until the old ones were stale. Fix: the oldest makes room.
#[test]
fn files_that_need_no_download_do_not_make_the_others_cost_more() {
    run(async {
        let (office, repository) = (Office::empty(), repository().await);
        let path = |number: usize| format!("folder {}/{number}", number / 500);
        for number in 0..10_100 {
            office.write(&path(number), format!("{}", number % 7));
        }
        let source = || office.source().with_page_entries(1_000);
        backup(&repository, &source()).await;
        office.tenant(|tenant, drive| tenant.expire_cursors(drive).unwrap());
        for number in 10_050..10_060 {
            office.write(&path(number), format!("new {number}"));
        }
        office.simulation.reset_counters();
        backup(&repository, &source()).await;
        let counters = office.simulation.counters();
        assert_eq!((counters.of(Route::Download), counters.of(Route::Item)), (10, 0));
    });
}

#[test]
fn a_large_file_costs_its_ranges_and_nothing_to_find_its_address() {
    run(async {
        let (office, repository) = (Office::empty(), repository().await);
        office.write("large.bin", vec![7; 300_000]);
        backup(&repository, &source(&office).with_range_bytes(64 << 10)).await;
        let ranges = 300_000u64.div_ceil(64 << 10);
        assert_eq!(office.simulation.counters().total(), pages(2) + ranges);
    });
}

#[test]
fn an_unchanged_drive_costs_one_request_and_one_unit() {
    run(async {
        let (office, repository) = protected().await;
        let before = units(&office);
        backup(&repository, &source(&office)).await;
        assert_eq!((office.simulation.counters().total(), units(&office) - before), (1, 1));
    });
}

#[test]
fn later_runs_cost_the_pages_of_changes_and_the_contents_that_changed() {
    run(async {
        let (office, repository) = protected().await;
        let mut changes = 0;
        for number in (0..FILES).step_by(3) {
            office.write(&format!("folder {}/{number}.txt", number % 10), format!("new content of {number}"));
            changes += 1;
        }
        let contents = changes as u64;
        for number in (1..FILES).step_by(30) {
            let path = format!("folder {}/{number}.txt", number % 10);
            office.tenant(|tenant, drive| tenant.delete(drive, &path).unwrap());
            changes += 1;
        }
        let report = backup(&repository, &source(&office)).await;
        assert_eq!(office.simulation.counters().total(), pages(changes) + contents);
        assert_eq!(report.stats.removed, 10);
    });
}

#[test]
fn renames_moves_and_permissions_download_nothing() {
    run(async {
        let (office, repository) = protected().await;
        office.simulation.with(|tenant| tenant.add_user("grace@contoso.example"));
        office.tenant(|tenant, drive| {
            tenant.rename(drive, "folder 1", "renamed").unwrap();
            tenant.rename(drive, "folder 2/2.txt", "two.txt").unwrap();
            tenant.move_to(drive, "folder 3", "folder 4").unwrap();
            tenant.move_to(drive, "folder 5/5.txt", "folder 6").unwrap();
            tenant.grant(drive, "folder 7", "grace@contoso.example", &["write"]).unwrap();
        });
        let report = backup(&repository, &source(&office)).await;
        assert_eq!((office.simulation.counters().total(), report.stats.bytes_read), (pages(5), 0));
        assert_eq!((report.stats.added, report.stats.removed), (0, 0));
    });
}

#[test]
fn a_forgotten_position_costs_a_full_listing_and_no_content_whatever_the_service_says() {
    for (resync, location) in [Resync::ApplyDifferences, Resync::UploadDifferences]
        .into_iter()
        .flat_map(|resync| [(resync, true), (resync, false)])
    {
        run(async {
            let (office, repository) = protected().await;
            office.tenant(|tenant, drive| {
                tenant.rules_mut().resync = resync;
                tenant.rules_mut().resync_location = location;
                tenant.expire_cursors(drive).unwrap();
            });
            let report = backup(&repository, &source(&office)).await;
            let counters = office.simulation.counters();
            // The link in `Location` keeps no page size: the service's own applies.
            let listing = if location { ITEMS.div_ceil(200) as u64 } else { pages(ITEMS) };
            assert_eq!(counters.total(), 1 + listing, "{resync:?}, {location}");
            assert_eq!((counters.of(Route::Download), report.stats.bytes_read), (0, 0));
            assert_eq!((report.stats.added, report.stats.changed, report.stats.removed), (0, 0, 0));
        });
    }
}

#[test]
fn permissions_cost_a_batch_for_twenty_items_that_have_their_own_and_nothing_for_the_rest() {
    run(async {
        let (office, repository) = protected().await;
        office.simulation.with(|tenant| tenant.add_user("grace@contoso.example"));
        for number in 0..45 {
            let path = format!("folder {}/{number}.txt", number % 10);
            office.tenant(|tenant, drive| {
                tenant.grant(drive, &path, "grace@contoso.example", &["read"]).map(drop).unwrap();
            });
        }
        let before = units(&office);
        backup(&repository, &source(&office).with_permissions(true)).await;
        let counters = office.simulation.counters();
        assert_eq!((counters.of(Route::Permissions), counters.of(Route::Batch)), (45, 45u64.div_ceil(20)));
        assert_eq!(counters.total(), pages(45) + 45u64.div_ceil(20));
        assert_eq!(units(&office) - before, pages(45) + 5 * 45);
    });
}

#[test]
fn a_restored_file_costs_two_requests_and_one_for_each_further_range_a_folder_one() {
    run(async {
        let (office, repository) = (Office::empty(), repository().await);
        let lengths = [0usize, 1, 1_000, 300_000, 330_000, 700_000];
        for (number, length) in lengths.into_iter().enumerate() {
            office.write(&format!("folder {number}/file"), vec![7; length]);
        }
        backup(&repository, &source(&office)).await;
        let (drive, _) = office.new_drive("restored@contoso.example");
        let range_bytes = 320 << 10;
        let sink = DriveSink::new(office.client.clone(), &drive, None).with_range_bytes(range_bytes);
        office.simulation.reset_counters();
        repository.restore(newest(&repository), &sink).run().await.unwrap();
        // Small: the content and its times. Large: a session, which takes the times along, and its ranges.
        let ranges = |length: usize| length.div_ceil(range_bytes).max(1) as u64;
        let files: u64 = lengths.into_iter().map(|length| 1 + ranges(length)).sum();
        let folders = lengths.len() as u64;
        assert_eq!(office.simulation.counters().total(), files + folders);
        assert_eq!(office.fingerprint(&drive), office.fingerprint(&office.drive));

        // Into folders that were there already: each is tried and then found. Large files are looked for first, as the service
        // would refuse a taken name only once all was sent.
        office.simulation.with(|tenant| {
            for path in tenant.files(&drive).unwrap() {
                tenant.delete(&drive, &path).unwrap();
            }
        });
        office.simulation.reset_counters();
        repository.restore(newest(&repository), &sink).run().await.unwrap();
        let looks = lengths.iter().filter(|length| **length > range_bytes).count() as u64;
        assert_eq!(office.simulation.counters().total(), files + 2 * folders + looks);
    });
}
