//! Busy services, broken connections, wrong bytes.

use backup_core::{Change, ErrorKind, Source as _};
use backup_graph::sim::{Fault, Route};
use backup_graph::throttle::Patience;
use futures_util::StreamExt as _;

use crate::office::{Office, listen, read, run, seconds};

#[test]
fn no_request_is_made_inside_a_window_whichever_form_names_it() {
    run(async {
        for fault in [Fault::Throttle(seconds(30)), Fault::ThrottleUntil(seconds(45))] {
            let office = Office::with_documents(30);
            office
                .simulation
                .script(|faults| faults.on(Route::Delta, 2, fault).on(Route::Download, 5, fault));
            let source = office.source().with_page_entries(20);
            let heard = listen(&source, None).await.unwrap();
            for item in heard.items.values().filter(|item| !item.streams.is_empty()) {
                read(&source, item).await.1.unwrap();
            }
            let (counters, metrics) = (office.simulation.counters(), office.client.metrics());
            assert_eq!((counters.inside_window, counters.faults), (0, 2));
            assert_eq!((metrics.waits, metrics.retries), (2, 2));
            assert!(metrics.waited >= seconds(60) && metrics.waited <= seconds(92), "{:?}", metrics.waited);
        }
    });
}

#[test]
fn one_request_told_to_wait_holds_the_others_too() {
    run(async {
        let office = Office::with_documents(30);
        let source = office.source();
        let heard = listen(&source, None).await.unwrap();
        office.simulation.script(|faults| faults.on(Route::Download, 3, Fault::Throttle(seconds(60))));
        let files: Vec<_> = heard.items.values().filter(|item| item.size() > 0).collect();
        let reads = futures_util::stream::iter(files)
            .map(|item| read(&source, item))
            .buffer_unordered(source.concurrency());
        let ends: Vec<_> = reads.collect().await;
        assert!(ends.iter().all(|(_, end)| end.is_ok()));
        assert_eq!(office.simulation.counters().inside_window, 0);
    });
}

#[test]
fn a_wait_beyond_patience_is_an_error_that_says_when_to_come_back() {
    run(async {
        let office = Office::with_documents(5);
        office.simulation.script(|faults| faults.on(Route::Delta, 1, Fault::Throttle(seconds(7_200))));
        let source = office.source();
        for _ in 0..2 {
            let error = listen(&source, None).await.unwrap_err();
            assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Throttled, Some(seconds(7_200))));
        }
        let counters = office.simulation.counters();
        assert_eq!((counters.total(), counters.inside_window), (1, 0), "the second was not even sent");
        office.timer.advance(seconds(7_200));
        assert!(listen(&source, None).await.is_ok());
    });
}

#[test]
fn failures_that_pass_are_waited_for_and_those_that_stay_are_reported() {
    run(async {
        let office = Office::with_documents(5);
        office.simulation.script(|faults| {
            for (nth, fault) in
                (1..).zip([Fault::Status(503), Fault::Status(504), Fault::Reset, Fault::Truncate(100)])
            {
                faults.on(Route::Delta, nth, fault);
            }
            faults
        });
        let source = office.source();
        assert_eq!(
            listen(&source, None).await.unwrap().items.len(),
            office.tenant(|t, d| t.paths(d).unwrap().len() + 1)
        );

        office.simulation.script(|faults| faults.sometimes(3, 1_000, Fault::Status(500)));
        office.simulation.reset_counters();
        let error = listen(&source, None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert_eq!(office.simulation.counters().total(), u64::from(Patience::default().attempts_max));
    });
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_stopped() {
    for ignore_range in [false, true] {
        run(async {
            let office = Office::empty();
            let content: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
            office.write("large.bin", content.clone());
            office.tenant(|tenant, _| tenant.rules_mut().ignore_range = ignore_range);
            office.simulation.script(|faults| {
                faults.on(Route::Download, 1, Fault::Truncate(400_000)).on(Route::Download, 2, Fault::Reset);
                faults.on(Route::Download, 3, Fault::Truncate(if ignore_range { 600_000 } else { 7 }))
            });
            let source = office.source();
            let heard = listen(&source, None).await.unwrap();
            let (bytes, ended) = read(&source, heard.find("large.bin")).await;
            ended.unwrap();
            assert!(bytes == content);
            assert_eq!(office.simulation.counters().of(Route::Download), 4);
        });
    }
}

#[test]
fn a_download_that_always_breaks_off_is_given_up() {
    run(async {
        let office = Office::empty();
        office.write("large.bin", vec![1; 1_000_000]);
        let source = office.source();
        let heard = listen(&source, None).await.unwrap();
        office.simulation.script(|faults| faults.sometimes(1, 1_000, Fault::Truncate(10)));
        let (_, ended) = read(&source, heard.find("large.bin")).await;
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::Unavailable);
        assert!(office.simulation.counters().of(Route::Download) < 10);
    });
}

#[test]
fn an_expired_address_is_renewed_also_in_the_middle() {
    run(async {
        let office = Office::empty();
        office.write("a.bin", vec![5; 300_000]);
        office.simulation.script(|faults| {
            faults.on(Route::Download, 1, Fault::ExpireAddress).on(
                Route::Download,
                2,
                Fault::Truncate(100_000),
            );
            faults.on(Route::Download, 3, Fault::ExpireAddress)
        });
        let source = office.source();
        let heard = listen(&source, None).await.unwrap();
        let (bytes, ended) = read(&source, heard.find("a.bin")).await;
        ended.unwrap();
        assert!(bytes == vec![5; 300_000]);
        let counters = office.simulation.counters();
        assert_eq!((counters.of(Route::Item), counters.of(Route::Download)), (2, 4));
    });
}

#[test]
fn wrong_bytes_are_delivered_and_reported() {
    run(async {
        let office = Office::empty();
        office.write("a.docx", *b"what is stored");
        office.tenant(|tenant, drive| {
            tenant.announce_hash(drive, "a.docx", "SgAAAAAAAAAAAAAAAQAAAAAAAAA=").unwrap()
        });
        let source = office.source();
        let heard = listen(&source, None).await.unwrap();
        let (bytes, ended) = read(&source, heard.find("a.docx")).await;
        assert_eq!(bytes, b"what is stored");
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::SourceMismatch);
    });
}

#[test]
fn a_file_written_between_listing_and_reading_is_told_from_a_wrong_transfer() {
    run(async {
        let office = Office::empty();
        office.write("a.txt", *b"before");
        let source = office.source();
        let heard = listen(&source, None).await.unwrap();
        office.write("a.txt", *b"afterwards");
        let (bytes, ended) = read(&source, heard.find("a.txt")).await;
        assert_eq!(bytes, b"afterwards");
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::ChangedWhileReading);
    });
}

#[test]
fn a_position_forgotten_between_two_pages_starts_over() {
    run(async {
        let office = Office::with_documents(30);
        let source = office.source().with_page_entries(10);
        let mut changes = source.changes(None);
        let mut items = std::collections::BTreeSet::new();
        let mut resets = 0;
        let mut seen = 0;
        while let Some(change) = changes.next().await {
            match change.unwrap() {
                Change::Reset => {
                    resets += 1;
                    items.clear();
                }
                Change::Upsert(item) => drop(items.insert(item.id)),
                _ => {}
            }
            seen += 1;
            if seen == 15 {
                office.tenant(|tenant, drive| tenant.expire_cursors(drive).unwrap());
            }
        }
        assert_eq!(resets, 1);
        assert_eq!(items.len(), office.tenant(|tenant, drive| tenant.paths(drive).unwrap().len() + 1));
    });
}

#[test]
fn many_random_faults_change_nothing_but_the_time_it_takes() {
    for seed in 0..8 {
        run(async {
            let office = Office::with_documents(60);
            office.simulation.script(|faults| {
                faults.sometimes(seed, 30, Fault::Throttle(seconds(10))).sometimes(
                    seed,
                    40,
                    Fault::Truncate(5_000),
                );
                faults.sometimes(seed, 30, Fault::Reset).sometimes(seed, 30, Fault::Status(503));
                faults.sometimes(seed, 20, Fault::RevokeTokens).sometimes(seed, 20, Fault::LoseAnswer)
            });
            let (drive, sink) = office.new_drive("restored@contoso.example");
            let source = office.source().with_page_entries(25);
            let heard = listen(&source, None).await.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
            crate::office::copy(&source, &heard, &sink, backup_core::Conflict::Skip).await;
            assert_eq!(office.fingerprint(&drive), office.fingerprint(&office.drive), "seed {seed}");
            let counters = office.simulation.counters();
            assert!(counters.faults > 10, "seed {seed}");
            assert_eq!((counters.inside_window, counters.leaked_tokens), (0, 0), "seed {seed}");
        });
    }
}
