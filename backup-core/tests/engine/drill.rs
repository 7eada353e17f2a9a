//! Restore drills: what a random sample finds, and whether what it says of the rest is true.

use std::collections::BTreeSet;

use backup_core::{CancelToken, DrillReport, ErrorKind, Key, SnapshotId};
use futures_executor::block_on;

use super::*;

/// Twenty backups of twenty files each, so that each twenty have a pack of their own; with the folder 401 items.
fn packs() -> (MemoryStore, MemorySource, Vec<Key>) {
    let (store, source) = (MemoryStore::new(), MemorySource::new("memory:drill"));
    let repo = init(&store);
    source.put_folder("root", None, "root");
    let (mut before, mut packs) = (BTreeSet::new(), Vec::new());
    for round in 0..20 {
        for file in 0..20 {
            let number = round * 20 + file;
            source.put_file(
                &format!("{number:03}"),
                Some("root"),
                format!("{number:03}"),
                noise(500, number),
            );
        }
        backup_whole(&repo, &source);
        let objects = store.objects();
        // Packs say in their headers which class they are of: content is 1.
        let content = |key: &&Key| key.as_str().starts_with("pack/") && objects[*key][7] == 1;
        let added: Vec<Key> =
            objects.keys().filter(content).filter(|key| !before.contains(*key)).cloned().collect();
        assert_eq!(added.len(), 1);
        before.extend(added.iter().cloned());
        packs.extend(added);
    }
    (store, source, packs)
}

fn drill(repo: &Repository, seed: u64, items: u64) -> DrillReport {
    block_on(repo.drill().seed(seed).items(items).run()).unwrap()
}

#[test]
fn a_clean_repository_is_clean_and_the_sample_as_large_as_it_must_be() {
    let (store, _, _) = packs();
    let repo = open(&store).unwrap();
    let report = block_on(repo.drill().run()).unwrap();
    assert!(report.is_clean());
    assert_eq!(report.snapshots, [repo.snapshots().pop().unwrap().id]);
    assert_eq!(report.population, 401);
    // 1 % of 401 are five: so many that one of five would be found in 95 of 100 samples.
    assert_eq!((report.sampled, report.most_bad), (180, 4));
    assert!(report.most_bad_share < 0.01 && report.confidence == 0.95);
    assert!(report.streams >= 179 && report.bytes == report.streams * 500);
    assert!(report.bytes_fetched > report.bytes);
    let statement = report.to_string();
    assert_eq!(
        statement,
        "180 of 401 items were read in full, 0 of them are bad: with 95 % confidence, at most 4 of all are (0.998 %)"
    );
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!((json["population"].as_u64(), json["most_bad"].as_u64()), (Some(401), Some(4)));
    assert_eq!(
        block_on(repo.drill().seed(report.seed).run()).unwrap(),
        report,
        "the seed draws the same again"
    );
    let all = block_on(
        repo.drill().snapshots(&repo.snapshots().iter().map(|s| s.id).collect::<Vec<_>>()).share(0.2).run(),
    );
    let all = all.unwrap();
    assert_eq!((all.snapshots.len(), all.population), (20, (1..=20).map(|n| n * 20 + 1).sum::<u64>()));
}

#[test]
fn the_bound_covers_the_truth_as_often_as_it_says() {
    let (store, _, packs) = packs();
    for damaged in [1, 2, 6] {
        let fork = store.fork();
        packs[..damaged].iter().for_each(|key| block_on(Store::delete(&fork, key)).unwrap());
        let repo = open(&fork).unwrap();
        let all = drill(&repo, 0, 1_000);
        let bad = 20 * damaged as u64;
        assert_eq!((all.sampled, all.bad(), all.most_bad), (401, bad, bad), "all were looked at");
        let named: BTreeSet<_> = all.failures.iter().map(|finding| finding.place.clone()).collect();
        assert_eq!(named, (0..bad).map(|number| format!("{number:03}")).collect());
        assert!(all.failures.iter().all(|finding| finding.code == ErrorKind::Missing.code()));
        let (mut covered, mut found, seeds) = (0, 0, 200);
        for seed in 0..seeds {
            let report = drill(&repo, seed, 60);
            covered += u64::from(report.most_bad >= bad);
            found += report.bad();
            assert!(report.failures.iter().all(|finding| named.contains(&finding.place)));
        }
        println!(
            "{bad} of 401 bad: covered by {covered} of {seeds} drills of 60, which found {found} in all"
        );
        // 95 % of 200 are 190; fewer than 180 happen once in a thousand times.
        assert!(covered >= 180, "{bad} bad: {covered} of {seeds}");
        let expected = 60.0 * bad as f64 / 401.0 * seeds as f64;
        assert!((found as f64 - expected).abs() < 0.2 * expected, "{found} instead of about {expected}");
    }
}

#[test]
fn items_that_cannot_even_be_named_are_failures() {
    let (store, source) = (MemoryStore::new(), sample());
    let repo = init(&store);
    let snapshot = backup_whole(&repo, &source).snapshot;
    for (key, bytes) in store.objects() {
        if key.as_str().starts_with("pack/") && bytes[7] == 2 {
            block_on(Store::delete(&store, &key)).unwrap();
        }
    }
    let repo = open(&store).unwrap();
    let report = drill(&repo, 1, 100);
    assert_eq!((report.population, report.sampled, report.failures.len()), (8, 8, 8));
    assert!(report.failures.iter().all(|finding| finding.id.is_none()));
    assert_eq!(report.failures[3].place, format!("item 3 of snapshot {snapshot}"));
    // A snapshot that is gone cannot be drawn from, and is no clean one.
    let key = Key::new(format!("snapshot/{snapshot}")).unwrap();
    block_on(Store::delete(&store, &key)).unwrap();
    let report = drill(&open(&store).unwrap(), 1, 100);
    assert_eq!((report.population, report.most_bad, report.lost_snapshots.len()), (0, 0, 1));
    assert!(!report.is_clean());
}

#[test]
fn what_is_compared_with_its_source_is_the_same_or_said_to_be_other() {
    let (store, source) = (MemoryStore::new(), sample());
    let tagged = |content: &'static str| {
        let mut item = Item::new("silent", Some("docs".into()), "silent", backup_core::ItemKind::FILE);
        item.tag = "the same".into();
        source.put(item, [("content", content)]);
    };
    tagged("as it was");
    let repo = init(&store);
    backup_whole(&repo, &source);
    let against =
        |source: &dyn Source| block_on(repo.drill().seed(5).items(100).against(source).run()).unwrap();
    let report = against(&source);
    assert!(report.is_clean() && report.changed.is_empty() && report.problems.is_empty(), "{report:?}");
    assert_eq!((report.sampled, report.compared), (9, 9));
    source.put_file("a", Some("docs"), "a.txt", "changed");
    source.remove("b");
    source.put_file("more", Some("docs"), "more", "not in the snapshot");
    source.inject("m", "content", backup_core::ReadFault::Open(ErrorKind::Io), 1);
    tagged("other now");
    let report = against(&source);
    let places = |findings: &[backup_core::DrillFinding]| {
        findings.iter().map(|finding| finding.place.clone()).collect::<Vec<_>>()
    };
    assert_eq!(places(&report.changed), ["docs/a.txt", "docs/b.txt"]);
    assert_eq!(places(&report.differing), ["docs/silent"]);
    assert_eq!(places(&report.problems), ["mail/m\\xff.eml"]);
    assert_eq!((report.compared, report.bad(), report.most_bad), (6, 1, 1));
    assert!(report.failures.is_empty() && !report.is_clean());
    // Another collection has nothing to compare with.
    let report = against(&MemorySource::new("memory:other"));
    assert_eq!((report.compared, report.changed.len()), (0, 0));
}

#[test]
fn a_drill_restores_into_a_sink_side_by_side() {
    let (store, source) = (MemoryStore::new(), sample());
    source.put_file("twin", Some("mail"), "a.txt", "twin");
    let repo = init(&store);
    backup_whole(&repo, &source);
    let sink = MemorySink::new();
    let report = block_on(repo.drill().items(100).sink(&sink).run()).unwrap();
    assert!(report.is_clean() && report.problems.is_empty());
    let tree = sink.tree();
    assert_eq!(tree.len(), 6, "files without folders: {:?}", tree.keys());
    let twins: BTreeSet<_> = tree
        .values()
        .filter(|r| r.item.name == "a.txt".into())
        .map(|r| r.streams["content"].clone())
        .collect();
    assert_eq!(twins, ["alpha".into(), "twin".into()].into());
    assert!(sink.is_finished());
    let full = MemorySink::new();
    full.inject("b.txt", ErrorKind::PermissionDenied, 1);
    let report = block_on(repo.drill().items(100).sink(&full).run()).unwrap();
    assert!(report.is_clean(), "the sink's trouble is none of the repository");
    assert_eq!(report.problems.len(), 1);
}

#[test]
fn what_makes_no_sense_is_refused_and_a_drill_can_be_canceled() {
    let (store, source) = (MemoryStore::new(), sample());
    let repo = init(&store);
    assert_eq!(block_on(repo.drill().run()).unwrap().population, 0, "nothing to draw from");
    backup_whole(&repo, &source);
    for part in [0.0, 1.0, -1.0, f64::NAN] {
        let kind = |run: backup_core::DrillRun<'_>| block_on(run.run()).unwrap_err().kind();
        assert_eq!(kind(repo.drill().confidence(part)), ErrorKind::InvalidArgument);
        assert_eq!(kind(repo.drill().share(part)), ErrorKind::InvalidArgument);
    }
    let unknown = SnapshotId::from_bytes([0; 16]);
    let error = block_on(repo.drill().snapshots(&[unknown]).run()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let token = CancelToken::new();
    token.cancel();
    let error = block_on(repo.drill().cancel_token(&token).run()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Canceled);
}
