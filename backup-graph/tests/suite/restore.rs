//! Putting files back.

use backup_core::{Action, Conflict, ErrorKind, Item, ItemKind, Place, Sink as _, Stream, Times, Timestamp};
use backup_graph::sim::{Fault, Route};
use backup_graph::{DriveSink, QuickXorHash};

use crate::office::{InMemory, Office, copy, listen, newest, repository, run, seconds};

fn file(name: &str, content: &[u8]) -> (Item, InMemory) {
    let mut item = Item::new("some id", Some("some folder".into()), name, ItemKind::FILE);
    item.streams = vec![Stream::new(Stream::CONTENT, Some(content.len() as u64))];
    let time = |text| Timestamp::parse_rfc3339(text);
    item.times = Times::new(time("2019-05-06T07:08:09Z"), time("2020-02-03T04:05:06Z"));
    (item, InMemory(content.to_vec()))
}

/// Noise, so that swapped ranges show.
fn large(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

#[test]
fn a_restore_into_an_empty_drive_gives_the_same_fingerprint() {
    run(async {
        let office = Office::with_documents(80);
        let source = office.source();
        let heard = listen(&source, None).await.unwrap();
        let (drive, sink) = office.new_drive("restored@contoso.example");
        assert_ne!(office.fingerprint(&drive), office.fingerprint(&office.drive));
        let actions = copy(&source, &heard, &sink, Conflict::Skip).await;
        assert_eq!(actions.iter().filter(|action| **action == Action::Skipped).count(), 1, "the root itself");
        assert_eq!(office.fingerprint(&drive), office.fingerprint(&office.drive));
        let counters = office.simulation.counters();
        assert!(counters.of(Route::CreateSession) > 0 && counters.of(Route::PutContent) > 0);
        assert_eq!(counters.leaked_tokens, 0);
    });
}

#[test]
fn files_that_were_encrypted_are_replaced_in_place_and_what_is_right_is_left() {
    run(async {
        let office = Office::with_documents(40);
        let source = office.source();
        let heard = listen(&source, None).await.unwrap();
        let before = office.fingerprint(&office.drive);
        let (drive, sink) = office.new_drive("restored@contoso.example");
        copy(&source, &heard, &sink, Conflict::Skip).await;
        office.simulation.with(|tenant| tenant.overwrite_all(&drive).unwrap());
        assert_ne!(office.fingerprint(&drive), before);
        let heard = listen(&source, None).await.unwrap();
        let actions = copy(&source, &heard, &sink, Conflict::Replace).await;
        assert!(actions.iter().skip(1).all(|action| *action == Action::Replaced));
        assert_eq!(office.fingerprint(&drive), before);
        // A second restore with the default policy touches nothing.
        let heard = listen(&source, None).await.unwrap();
        let actions = copy(&source, &heard, &sink, Conflict::Skip).await;
        assert!(actions.iter().all(|action| *action == Action::Skipped));
        assert_eq!(office.fingerprint(&drive), before);
    });
}

#[test]
fn a_taken_name_is_left_replaced_or_evaded_as_told_for_small_and_large_files() {
    run(async {
        for length in [20, 5 << 20] {
            let office = Office::empty();
            office.write("report.docx", *b"mine");
            let sink = DriveSink::new(office.client.clone(), &office.drive, None);
            let content = large(length);
            let (item, contents) = file("report.docx", &content);
            let put =
                async |conflict| sink.put(&item, Place::new(None, conflict, None), &contents).await.unwrap();
            let read = |path: &str| office.tenant(|tenant, drive| tenant.read_file(drive, path).unwrap());

            assert_eq!(put(Conflict::Skip).await.action, Action::Skipped);
            assert_eq!(read("report.docx"), &b"mine"[..]);
            assert_eq!(put(Conflict::KeepBoth).await.action, Action::Renamed);
            assert_eq!(read("report.docx"), &b"mine"[..]);
            assert_eq!(read("report 1.docx"), content);
            let id = office.tenant(|tenant, drive| tenant.item_id(drive, "report.docx").unwrap());
            let replaced = put(Conflict::Replace).await;
            assert_eq!((replaced.action, replaced.placed.as_bytes()), (Action::Replaced, id.as_bytes()));
            assert_eq!(read("report.docx"), content);
        }
    });
}

#[test]
fn an_upload_in_several_ranges_survives_faults_in_the_middle() {
    let faults = [
        Fault::Reset,
        Fault::LoseAnswer,
        Fault::Status(503),
        Fault::Truncate(1),
        Fault::Throttle(seconds(20)),
        Fault::Status(500),
    ];
    for fault in faults {
        for nth in 1..=3 {
            run(async {
                let office = Office::empty();
                let sink =
                    DriveSink::new(office.client.clone(), &office.drive, None).with_range_bytes(2 << 20);
                let content = large((5 << 20) + 12_345);
                let (item, contents) = file("film.bin", &content);
                office.simulation.script(|faults| faults.on(Route::UploadRange, nth, fault));
                let put = sink.put(&item, Place::new(None, Conflict::Skip, None), &contents).await;
                assert_eq!(put.unwrap().action, Action::Created, "{fault:?} at range {nth}");
                let stored = office.tenant(|tenant, drive| tenant.read_file(drive, "film.bin").unwrap());
                assert!(stored == content, "{fault:?} at range {nth}");
                let counters = office.simulation.counters();
                assert_eq!((counters.leaked_tokens, counters.inside_window, counters.faults), (0, 0, 1));
                assert_eq!(counters.of(Route::CreateSession), 1, "{fault:?} at range {nth}: no second start");
            });
        }
    }
}

#[test]
fn answers_lost_on_the_way_do_not_turn_created_into_skipped() {
    run(async {
        let office = Office::empty();
        let sink = DriveSink::new(office.client.clone(), &office.drive, None);
        let (item, contents) = file("small.txt", b"small");
        office.simulation.script(|faults| {
            faults.on(Route::PutContent, 1, Fault::LoseAnswer).on(Route::CreateFolder, 1, Fault::LoseAnswer)
        });
        let put = sink.put(&item, Place::new(None, Conflict::Skip, None), &contents).await.unwrap();
        assert_eq!(put.action, Action::Created);
        let folder = Item::new("f", Some("r".into()), "folder", ItemKind::FOLDER);
        let put = sink.put(&folder, Place::new(None, Conflict::Skip, None), &contents).await.unwrap();
        assert_eq!(put.action, Action::Created);
    });
}

#[test]
fn a_full_drive_ends_the_restore_and_a_locked_item_does_not() {
    run(async {
        let office = Office::empty();
        office.tenant(|tenant, drive| tenant.set_quota(drive, Some(1_000_000)).unwrap());
        let sink = DriveSink::new(office.client.clone(), &office.drive, None);
        for length in [2 << 20, 6 << 20] {
            let (item, contents) = file("a.bin", &large(length));
            let error = sink.put(&item, Place::new(None, Conflict::Skip, None), &contents).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::OutOfSpace);
        }
        office.simulation.script(|faults| faults.on(Route::PutContent, 1, Fault::Status(423)));
        let (item, contents) = file("b.bin", b"b");
        let error = sink.put(&item, Place::new(None, Conflict::Skip, None), &contents).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.message().contains("locked"));
    });
}

#[test]
fn content_that_is_not_as_long_as_announced_is_not_left_behind() {
    run(async {
        let office = Office::empty();
        let sink = DriveSink::new(office.client.clone(), &office.drive, None);
        let lengths: [u64; 4] = [0, 1_000, 5 << 20, 10 << 20];
        for (length, announced) in lengths.into_iter().flat_map(|n| [(n + 1, n), (n, n + 1)]) {
            let (mut item, contents) = file("a.bin", &large(usize::try_from(length).unwrap()));
            item.streams = vec![Stream::new(Stream::CONTENT, Some(announced))];
            let error = sink.put(&item, Place::new(None, Conflict::Skip, None), &contents).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::SourceMismatch);
            assert!(office.tenant(|tenant, drive| tenant.paths(drive).unwrap().is_empty()));
        }
    });
}

#[test]
fn a_service_that_keeps_other_bytes_than_were_sent_is_reported() {
    run(async {
        let office = Office::empty();
        office.tenant(|tenant, _| tenant.rules_mut().enrich_office_files = true);
        let sink = DriveSink::new(office.client.clone(), &office.drive, None);
        for length in [100, 5 << 20] {
            for (name, kept) in [("a.docx", false), ("a.bin", true)] {
                let (item, contents) = file(name, &large(length));
                let put = sink.put(&item, Place::new(None, Conflict::Replace, None), &contents).await;
                assert_eq!(put.is_ok(), kept, "{name}");
                assert!(kept || put.unwrap_err().kind() == ErrorKind::SourceMismatch);
            }
        }
    });
}

#[test]
fn a_folder_replaces_a_file_of_its_name_only_if_told_and_a_file_never_a_folder() {
    run(async {
        let office = Office::empty();
        office.write("taken", *b"a file");
        office.write("full/inside.txt", *b"inside");
        let sink = DriveSink::new(office.client.clone(), &office.drive, None);
        let folder = Item::new("f", Some("r".into()), "taken", ItemKind::FOLDER);
        let put = async |item: &Item, conflict| {
            sink.put(item, Place::new(None, conflict, None), &InMemory(vec![1])).await.map(|put| put.action)
        };
        assert_eq!(put(&folder, Conflict::Skip).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(put(&folder, Conflict::KeepBoth).await.unwrap(), Action::Renamed);
        assert_eq!(office.tenant(|tenant, drive| tenant.read_file(drive, "taken").unwrap()), &b"a file"[..]);
        assert_eq!(put(&folder, Conflict::Replace).await.unwrap(), Action::Replaced);
        let (item, _) = file("full", &[1]);
        for conflict in [Conflict::Skip, Conflict::Replace] {
            assert_eq!(put(&item, conflict).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        }
        assert_eq!(put(&item, Conflict::KeepBoth).await.unwrap(), Action::Renamed);
        let paths = office.tenant(|tenant, drive| tenant.paths(drive).unwrap());
        assert_eq!(paths, ["full", "full/inside.txt", "full 1", "taken", "taken 1"]);
    });
}

#[test]
fn links_become_copies_and_what_a_drive_cannot_hold_is_said_so() {
    run(async {
        let office = Office::empty();
        let sink = DriveSink::new(office.client.clone(), &office.drive, None);
        let place = Place::new(None, Conflict::Skip, None);
        let mut link = Item::new("l", Some("r".into()), "link.txt", ItemKind::FILE);
        link.hard_link = Some("some id".into());
        sink.put(&link, place, &InMemory(large(5 << 20))).await.unwrap();
        let stored = office.tenant(|tenant, drive| tenant.read_file(drive, "link.txt").unwrap());
        assert_eq!(QuickXorHash::of(&stored), QuickXorHash::of(&large(5 << 20)));

        let symlink = Item::new("s", Some("r".into()), "symlink", ItemKind::SYMLINK);
        let nameless = Item::new("n", Some("r".into()), &b"\xff"[..], ItemKind::FILE);
        let escaping = Item::new("e", Some("r".into()), "..", ItemKind::FILE);
        for item in [symlink, nameless, escaping] {
            let error = sink.put(&item, place, &InMemory(Vec::new())).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
        }
    });
}

#[test]
fn a_restore_can_go_into_a_folder() {
    run(async {
        let office = Office::with_documents(15);
        let source = office.source();
        let heard = listen(&source, None).await.unwrap();
        let (drive, _) = office.new_drive("other@contoso.example");
        let folder =
            office.simulation.with(|tenant| tenant.make_folder(&drive, "Restored/2026 & more").unwrap());
        let sink = DriveSink::new(office.client.clone(), &drive, Some(&folder));
        copy(&source, &heard, &sink, Conflict::Skip).await;
        let below = office
            .simulation
            .with(|tenant| tenant.fingerprint_below(&drive, "Restored/2026 & more").unwrap());
        assert_eq!(below, office.fingerprint(&office.drive));
    });
}

#[test]
fn items_may_be_put_at_the_same_time_once_their_folder_is_there() {
    run(async {
        let office = Office::empty();
        let (drive, sink) = office.new_drive("restored@contoso.example");
        let sink = sink.with_range_bytes(320 << 10);
        let contents = InMemory(Vec::new());
        let folder = |name: &str| Item::new(name, Some("root".into()), name, ItemKind::FOLDER);
        let (one, two) = (folder("one"), folder("two"));
        let place = |parent| Place::new(parent, Conflict::Skip, None);
        let made = [
            sink.put(&one, place(None), &contents).await.unwrap().placed,
            sink.put(&two, place(None), &contents).await.unwrap().placed,
        ];
        let files: Vec<_> = (0..40usize)
            .map(|number| {
                file(&format!("{number}.bin"), &large([0, 10, 400_000, 700_000][number % 4] + number))
            })
            .collect();
        // Some requests are refused, some answers lost.
        office
            .simulation
            .script(|faults| faults.sometimes(3, 40, Fault::LoseAnswer).sometimes(3, 40, Fault::Status(503)));
        let puts = files
            .iter()
            .enumerate()
            .map(|(number, (item, contents))| sink.put(item, place(made.get(number % 2)), contents));
        let placed = futures_util::future::join_all(puts).await;
        for (item, placed) in [&one, &two].into_iter().zip(&made) {
            sink.close(item, placed).await.unwrap();
        }
        assert!(office.simulation.counters().faults > 5, "{:?}", office.simulation.counters());
        let mut ids = std::collections::BTreeSet::new();
        for placed in placed {
            let placed = placed.unwrap();
            assert_eq!(placed.action, Action::Created);
            assert!(ids.insert(placed.placed.as_bytes().to_vec()), "placed twice");
        }
        for (number, (_, contents)) in files.iter().enumerate() {
            let path = format!("{}/{number}.bin", ["one", "two"][number % 2]);
            let there = office.simulation.with(|tenant| tenant.read_file(&drive, &path).unwrap());
            assert!(there == contents.0, "{path}");
        }
        assert_eq!(office.simulation.with(|tenant| tenant.paths(&drive).unwrap().len()), 42, "no duplicates");
    });
}

#[test]
fn of_names_that_differ_only_in_capitals_one_is_kept_also_at_the_same_time() {
    run(async {
        let office = Office::empty();
        let (drive, sink) = office.new_drive("restored@contoso.example");
        let sink = sink.with_range_bytes(320 << 10);
        let folder = Item::new("f", Some("root".into()), "f", ItemKind::FOLDER);
        let place = |parent| Place::new(parent, Conflict::Skip, None);
        let made = sink.put(&folder, place(None), &InMemory(Vec::new())).await.unwrap().placed;
        for length in [10, 500_000] {
            let names = [format!("{length}.bin"), format!("{length}.BIN")];
            let files = names.map(|name| file(&name, &large(length + usize::from(name.ends_with('N')))));
            let puts = files.iter().map(|(item, contents)| sink.put(item, place(Some(&made)), contents));
            let mut actions: Vec<_> = futures_util::future::join_all(puts)
                .await
                .into_iter()
                .map(|placed| format!("{:?}", placed.unwrap().action))
                .collect();
            actions.sort();
            assert_eq!(actions, ["Created", "Skipped"], "{length}");
        }
        assert_eq!(office.simulation.with(|tenant| tenant.files(&drive).unwrap().len()), 2);
    });
}

#[test]
fn not_found_is_believed_only_when_it_is_said_twice() {
    run(async {
        for (route, times) in [
            (Route::PutContent, 1),
            (Route::PutContent, 2),
            (Route::CreateFolder, 1),
            (Route::CreateFolder, 2),
        ] {
            let office = Office::empty();
            office.write("folder/small.txt", *b"small");
            let repository = repository().await;
            repository.backup(&office.source()).run().await.unwrap();
            let (drive, sink) = office.new_drive("restored@contoso.example");
            office.simulation.script(|faults| {
                for nth in 1..=times {
                    faults.on(route, nth, Fault::Status(404));
                }
                faults
            });
            let report = repository.restore(newest(&repository), &sink).run().await.unwrap();
            let named: Vec<_> = report.problems.iter().map(|problem| problem.error.kind()).collect();
            if times == 2 {
                assert!(named.contains(&ErrorKind::NotFound), "{route:?}: {:?}", report.problems);
                let report = repository.restore(newest(&repository), &sink).run().await.unwrap();
                assert!(report.problems.is_empty(), "{route:?}: {:?}", report.problems);
            } else {
                assert_eq!(named, [], "{route:?}");
            }
            assert_eq!(office.fingerprint(&drive), office.fingerprint(&office.drive), "{route:?}, {times}");
        }
    });
}

#[test]
fn a_service_that_does_not_take_times_along_with_a_new_folder_is_told_them_afterwards() {
    run(async {
        let office = Office::empty();
        office.write("folder/file.txt", *b"text");
        office.tenant(|tenant, drive| {
            let time = |text| Timestamp::parse_rfc3339(text).unwrap();
            let (made, changed) = (time("2019-05-06T07:08:09Z"), time("2020-02-03T04:05:06Z"));
            tenant.set_times(drive, "folder", made, changed).unwrap();
            tenant.rules_mut().take_times_of_new_folders = false;
        });
        let repository = repository().await;
        repository.backup(&office.source()).run().await.unwrap();
        let (drive, sink) = office.new_drive("restored@contoso.example");
        office.simulation.reset_counters();
        repository.restore(newest(&repository), &sink).run().await.unwrap();
        assert_eq!(office.fingerprint(&drive), office.fingerprint(&office.drive));
        assert_eq!(office.simulation.counters().total(), 4, "the folder, the file, and the times of both");
    });
}
