//! What is left of a damaged repository: all that is still readable comes back as it was, and the report names what does not.

use std::collections::{BTreeMap, BTreeSet};

use backup_core::{
    ErrorKind, Head, Key, Restored, Retention, SalvageOptions, SalvageReport, SnapshotId, VerifyLevel,
};
use futures_executor::block_on;

use super::*;

/// Items by id: what a snapshot restores to. Where folders lie may change if what contained them is lost.
type Items = BTreeMap<Vec<u8>, Restored>;

/// A repository with a history, and what each of its snapshots restores to.
struct World {
    store: MemoryStore,
    head: Head,
    removed: SnapshotId,
    snapshots: BTreeMap<SnapshotId, Items>,
}

fn world() -> World {
    let (store, source) = (MemoryStore::new(), sample());
    let repo = init(&store);
    backup_whole(&repo, &source);
    source.put_file("a", Some("docs"), "a.txt", noise(40_000, 10));
    let removed = backup_whole(&repo, &source).snapshot;
    source.put_folder("new", Some("root"), "new");
    source.put_file("n", Some("new"), "n", noise(50_000, 11));
    source.remove("b");
    backup_whole(&repo, &source);
    let other = MemorySource::new("memory:other");
    other.put_folder("top", None, "top");
    other.put_file("x", Some("top"), "x", noise(60_000, 12));
    backup_whole(&repo, &other);
    block_on(repo.remove(&[removed])).unwrap();
    source.put_file("late", Some("docs"), "late", noise(70_000, 13));
    backup_whole(&repo, &source);
    let snapshots = repo.snapshots().into_iter().map(|s| (s.id, restore(&repo, s.id).0)).collect();
    World { store, head: repo.head(), removed, snapshots }
}

/// What a snapshot restores to, and whether anything was reported.
fn restore(repo: &Repository, snapshot: SnapshotId) -> (Items, usize) {
    let sink = MemorySink::new();
    let report = block_on(repo.restore(snapshot, &sink).run()).unwrap();
    let items = sink.tree().into_values().map(|r| (r.item.id.as_bytes().to_vec(), r)).collect();
    (items, report.problems.len())
}

fn salvage_with(
    store: &MemoryStore,
    options: SalvageOptions,
) -> backup_core::Result<(Repository, SalvageReport)> {
    block_on(Repository::salvage(Arc::new(store.clone()), &key(), fresh_environment(), options))
}

fn salvage(store: &MemoryStore) -> (Repository, SalvageReport) {
    salvage_with(store, SalvageOptions::default()).unwrap()
}

fn without(store: &MemoryStore, is_gone: impl Fn(&str) -> bool) -> MemoryStore {
    let left = MemoryStore::new();
    let kept = store.objects().into_iter().filter(|(key, _)| !is_gone(key.as_str()));
    kept.for_each(|(key, bytes)| left.overwrite(key, bytes));
    left
}

fn is_log(name: &str) -> bool {
    name.starts_with("log/") || name.starts_with("checkpoint/")
}

/// Which files of a snapshot can still be read from this store by somebody who has the whole log and index in memory.
fn readable(world: &World, store: &MemoryStore, snapshot: SnapshotId) -> BTreeSet<Vec<u8>> {
    // Opened while all is well, and before anything is in a cache; then the store is what it is.
    let under = world.store.fork();
    let repo = open(&under).unwrap();
    for key in under.objects().keys() {
        block_on(Store::delete(&under, key)).unwrap();
    }
    store.objects().into_iter().for_each(|(key, bytes)| under.overwrite(key, bytes));
    let Ok(browser) = block_on(repo.browse(snapshot)) else { return BTreeSet::new() };
    let read = |id: &Vec<u8>| -> backup_core::Result<()> {
        let id = backup_core::ItemId::from(id.as_slice());
        let item = block_on(browser.item(&id))?;
        item.streams.iter().try_for_each(|stream| {
            block_on(async { browser.read(&id, &stream.name, None).await?.collect().await }).map(drop)
        })
    };
    world.snapshots[&snapshot].keys().filter(|id| read(id).is_ok()).cloned().collect()
}

/// Everything that a salvaged repository restores is as it was; what it does not is reported. The files that came back.
fn check(world: &World, repo: &Repository, snapshot: SnapshotId, context: &str) -> BTreeSet<Vec<u8>> {
    let expected = &world.snapshots[&snapshot];
    let (items, problems) = restore(repo, snapshot);
    for (id, restored) in &items {
        let expected = &expected[id];
        if restored.item.kind.is_container() && problems > 0 {
            continue;
        }
        assert_eq!(restored, expected, "{context}");
    }
    let lost = expected.keys().any(|id| !items.contains_key(id));
    assert_eq!(lost, problems > 0, "{context}: {problems} problems");
    items.into_keys().collect()
}

#[test]
fn a_sound_repository_is_salvaged_whole() {
    let world = world();
    let (repo, report) = salvage(&world.store);
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(report.known_head_reached, None);
    assert_eq!((report.head, report.log_entries, report.checkpoints), (Some(world.head), 7, 0));
    assert_eq!((report.snapshots, report.unconfirmed.len()), (4, 0));
    assert_eq!(report.removed, [world.removed]);
    assert_eq!((report.segments, report.packs_rebuilt), (5, 0));
    let sound = open(&world.store).unwrap();
    assert_eq!(repo.snapshots(), sound.snapshots());
    assert_eq!((repo.id(), repo.head()), (sound.id(), sound.head()));
    for snapshot in world.snapshots.keys() {
        assert_eq!(check(&world, &repo, *snapshot, "sound").len(), world.snapshots[snapshot].len());
    }
    assert!(block_on(repo.verify(VerifyLevel::EveryByte).run()).unwrap().is_sound());
}

#[test]
fn with_any_one_object_gone_or_damaged_all_else_comes_back_and_the_object_is_named() {
    let world = world();
    let mut options = SalvageOptions::default();
    options.known_head = Some(world.head);
    for (key, bytes) in world.store.objects() {
        let gone = without(&world.store, |name| name == key.as_str());
        let mut flipped = bytes.to_vec();
        flipped[bytes.len() / 2] ^= 1;
        let damaged = world.store.fork();
        damaged.overwrite(key.clone(), flipped.into());
        let cut = world.store.fork();
        cut.overwrite(key.clone(), bytes.slice(..bytes.len() - 7));
        for (how, store) in [("gone", gone), ("damaged", damaged), ("cut", cut)] {
            let context = format!("{key} {how}");
            let salvaged = salvage_with(&store, options);
            if key.as_str().starts_with("keys/") {
                let kind = salvaged.unwrap_err().kind();
                let expected = if how == "gone" { ErrorKind::NotARepository } else { ErrorKind::Corrupt };
                assert_eq!(kind, expected, "{context}");
                continue;
            }
            let (repo, report) = salvaged.unwrap();
            let named = report.findings.iter().any(|finding| finding.place == key.as_str());
            let is_removed = key.as_str() == format!("snapshot/{}", world.removed);
            let is_hidden = key.as_str().starts_with("pack/") && how == "damaged";
            if is_hidden {
                // The index does not need it whole; whoever reads it all does.
                let verified = block_on(repo.verify(VerifyLevel::EveryByte).run()).unwrap();
                assert!(verified.findings.iter().any(|finding| finding.place == key.as_str()), "{context}");
            } else if !is_removed {
                assert!(named, "{context}: {:?}", report.findings);
                assert!(!report.is_whole());
            }
            assert_eq!(report.known_head_reached, Some(!key.as_str().ends_with("0000006")), "{context}");
            let mut salvaged: BTreeSet<SnapshotId> = repo.snapshots().iter().map(|s| s.id).collect();
            let says_removed = key.as_str() != "log/0000000000000005";
            assert_eq!(salvaged.remove(&world.removed), !says_removed, "{context}");
            for snapshot in world.snapshots.keys() {
                let oracle = readable(&world, &store, *snapshot);
                if key.as_str() == format!("snapshot/{snapshot}") {
                    assert!(!salvaged.contains(snapshot) && oracle.is_empty());
                } else {
                    assert!(salvaged.contains(snapshot), "{context}");
                    let back = check(&world, &repo, *snapshot, &context);
                    assert_eq!(back, oracle, "{context}");
                }
            }
        }
    }
}

#[test]
fn without_log_index_or_most_snapshots_the_rest_comes_back_byte_by_byte() {
    let world = world();
    let one = *world.snapshots.keys().next().unwrap();
    let other_snapshots = |name: &str| name.starts_with("snapshot/") && name != format!("snapshot/{one}");
    type IsLost<'a> = &'a dyn Fn(&str) -> bool;
    let losses: [(&str, IsLost<'_>); 5] = [
        ("log", &is_log),
        ("segments", &|name| name.starts_with("segment/")),
        ("log and segments", &|name| is_log(name) || name.starts_with("segment/")),
        ("snapshots", &other_snapshots),
        ("all of it", &|name| is_log(name) || name.starts_with("segment/") || other_snapshots(name)),
    ];
    for (what, is_lost) in losses {
        let store = without(&world.store, is_lost);
        let (repo, report) = salvage(&store);
        let no_log = is_lost("log/0");
        assert_eq!((report.log_complete, report.head.is_none()), (!no_log, no_log), "{what}");
        assert_eq!(report.segments == 0, is_lost("segment/0"), "{what}");
        assert_eq!(report.packs == 0, is_lost("segment/0"), "{what}");
        assert_eq!(report.packs_rebuilt > 0, is_lost("segment/0"), "{what}");
        let listed = repo.snapshots();
        assert!(listed.iter().all(|snapshot| snapshot.confirmed != no_log), "{what}");
        for snapshot in &listed {
            if snapshot.id == world.removed {
                assert!(no_log, "{what}: removed, as far as the log is there");
                assert!(report.unconfirmed.contains(&snapshot.id));
                continue;
            }
            let back = check(&world, &repo, snapshot.id, what);
            assert_eq!(back.len(), world.snapshots[&snapshot.id].len(), "{what}");
        }
        let found = listed.iter().filter(|s| s.id != world.removed).count();
        assert_eq!(found, if is_lost("snapshot/0") { 1 } else { 4 }, "{what}");
        let newest = repo.latest("memory:sample").filter(|_| found > 1);
        assert_eq!(
            newest.map(|s| s.id),
            (found > 1).then(|| open(&world.store).unwrap().latest("memory:sample").unwrap().id),
            "{what}"
        );
        // What the packs say of themselves is what the segments said.
        let verified = block_on(repo.verify(VerifyLevel::EveryByte).run()).unwrap();
        let beyond: Vec<_> = verified.findings.iter().filter(|finding| finding.place != "log").collect();
        assert!(beyond.is_empty(), "{what}: {beyond:?}");
    }
}

#[test]
fn with_a_third_of_all_objects_gone_what_comes_back_is_right_and_what_does_not_is_reported() {
    let world = world();
    let (mut opened, mut back, mut lost) = (0, 0, 0);
    for seed in 0..150u64 {
        let is_gone = |name: &str| {
            let hash = blake3::hash(format!("{seed} {name}").as_bytes());
            !name.starts_with("keys/") && hash.as_bytes()[0] < 86
        };
        let store = without(&world.store, is_gone);
        let context = format!("seed {seed}");
        let (repo, report) = salvage(&store);
        opened += 1;
        let listed: BTreeMap<SnapshotId, bool> =
            repo.snapshots().into_iter().map(|s| (s.id, s.confirmed)).collect();
        for object in store.objects().into_keys() {
            // Every one that is there, but for the one that the log says was removed.
            let Some(id) = object.as_str().strip_prefix("snapshot/") else { continue };
            let id: SnapshotId = id.parse().unwrap();
            assert_eq!(listed.contains_key(&id), !report.removed.contains(&id), "{context}");
            assert!(id == world.removed || !report.removed.contains(&id), "{context}");
        }
        // It shows as doubtful, unless the log ends before its removal: that cannot be told without a known head.
        let is_doubtful = listed.get(&world.removed).is_none_or(|confirmed| !confirmed);
        let ends_before =
            store.objects().keys().all(|key| !is_log(key.as_str()) || key.as_str() < "log/0000000000000005");
        assert!(is_doubtful || ends_before, "{context}");
        for (key, _) in world.store.objects().into_iter().filter(|(key, _)| is_gone(key.as_str())) {
            // Of what is gone, packs are named as long as a segment names them, the rest as long as the log does.
            if key.as_str().starts_with("log/") && key.as_str() < "log/0000000000000006" {
                let after = store.objects().into_keys().any(|other| is_log(other.as_str()) && other > key);
                assert!(!after || !report.log_complete, "{context}: {key}");
            }
        }
        for snapshot in world.snapshots.keys().filter(|id| listed.contains_key(id)) {
            let oracle = readable(&world, &store, *snapshot);
            let items = check(&world, &repo, *snapshot, &context);
            assert_eq!(items, oracle, "{context}");
            back += items.len();
            lost += world.snapshots[snapshot].len() - items.len();
        }
    }
    println!(
        "{opened} repositories without a third of their objects: {back} items came back, {lost} were reported"
    );
    assert!(back > 1_000 && lost > 500);
}

#[test]
fn nothing_is_ever_written_into_what_is_salvaged() {
    let world = world();
    let before = world.store.objects();
    let (repo, _) = salvage(&world.store);
    let snapshot = repo.snapshots()[0].id;
    let refused = |result: backup_core::Result<()>| {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.message().starts_with("a salvaged repository is only read"), "{error}");
    };
    refused(block_on(repo.backup(&sample()).run()).map(drop));
    refused(block_on(repo.remove(&[snapshot])));
    refused(block_on(repo.hold(&[snapshot])));
    refused(block_on(repo.release(&[snapshot])));
    refused(block_on(repo.prune().run()).map(drop));
    let retention = Retention::default().with_last(1);
    refused(block_on(repo.retain(&[("memory:sample", &retention)])).map(drop));
    block_on(repo.refresh()).unwrap();
    block_on(repo.verify(VerifyLevel::EveryByte).run()).unwrap();
    block_on(repo.drill().run()).unwrap();
    restore(&repo, snapshot);
    assert_eq!(world.store.objects(), before);
    // Others go on; what was salvaged stays as it was.
    let sound = open(&world.store).unwrap();
    backup_whole(&sound, &sample());
    block_on(repo.refresh()).unwrap();
    assert_eq!(repo.snapshots().len(), 4);
}

#[test]
fn what_was_removed_stays_away_unless_it_is_asked_for_or_nothing_tells_any_more() {
    let world = world();
    let mut with_removed = SalvageOptions::default();
    with_removed.with_removed = true;
    let (repo, report) = salvage_with(&world.store, with_removed).unwrap();
    let shown = |repo: &Repository| repo.snapshots().into_iter().find(|s| s.id == world.removed);
    assert_eq!(
        (report.removed.as_slice(), report.unconfirmed.as_slice()),
        (&[world.removed][..], &[world.removed][..])
    );
    assert!(!shown(&repo).unwrap().confirmed);
    assert_eq!(restore(&repo, world.removed).1, 0);
    // The entry that removed it is gone: then it shows, and so does it that the log is not whole.
    let removal = "log/0000000000000005";
    let (repo, report) = salvage(&without(&world.store, |name| name == removal));
    assert!(!report.log_complete);
    assert!(report.findings.iter().any(|finding| finding.place == removal));
    // Its commit still reads, but the lost entry may have removed it, or any other one before it.
    assert!(!shown(&repo).unwrap().confirmed);
    assert_eq!(report.unconfirmed.len(), 4);
    assert_eq!(repo.snapshots().iter().filter(|s| s.confirmed).count(), 1, "the one that came after it");
    // The entry that committed it is gone, and the one that removed it is not.
    let (repo, report) = salvage(&without(&world.store, |name| name == "log/0000000000000002"));
    assert!(shown(&repo).is_none() && !report.log_complete);
    assert_eq!(report.removed, [world.removed]);
    // Both are gone.
    let both = ["log/0000000000000002", removal];
    let (repo, report) = salvage(&without(&world.store, |name| both.contains(&name)));
    assert!(!shown(&repo).unwrap().confirmed && !report.log_complete);
    assert!(report.unconfirmed.contains(&world.removed));
}

#[test]
fn a_checkpoint_stands_for_all_entries_before_it() {
    let world = world();
    let repo = open(&world.store).unwrap();
    let some = *world.snapshots.keys().next().unwrap();
    while repo.head().number < 66 {
        let held = repo.snapshots().iter().any(|s| s.id == some && s.held);
        if held { block_on(repo.release(&[some])) } else { block_on(repo.hold(&[some])) }.unwrap();
    }
    let held = repo.snapshots().iter().find(|s| s.id == some).unwrap().held;
    let checkpoint = "checkpoint/0000000000000040";
    assert!(world.store.objects().keys().any(|key| key.as_str() == checkpoint));
    let old = |name: &str| name.starts_with("log/") && name < "log/0000000000000030";
    let (salvaged, report) = salvage(&without(&world.store, old));
    assert!(report.log_complete, "{:?}", report.findings);
    assert_eq!(report.findings.len(), 1, "one for the gap: {:?}", report.findings);
    assert_eq!((report.head, report.checkpoints), (Some(repo.head()), 1));
    // The checkpoint tells of the removed one too, as long as it is not deleted.
    assert_eq!(salvaged.snapshots(), repo.snapshots());
    assert_eq!(report.removed, [world.removed]);
    assert_eq!(salvaged.snapshots().iter().find(|s| s.id == some).unwrap().held, held);
    let (_, report) = salvage(&without(&world.store, |name| old(name) || name == checkpoint));
    assert!(!report.log_complete);
    let (salvaged, report) = salvage(&without(&world.store, |name| name == checkpoint));
    assert!(report.is_whole());
    assert_eq!(salvaged.snapshots(), repo.snapshots());
    // Entries behind it count.
    let (_, report) = salvage(&without(&world.store, |name| name == "log/0000000000000041"));
    assert!(!report.log_complete);
}

#[test]
fn a_head_that_was_seen_before_tells_whether_the_log_has_lost_its_end() {
    let world = world();
    let newest = *world
        .snapshots
        .keys()
        .find(|id| Some(**id) == open(&world.store).unwrap().snapshots().pop().map(|s| s.id))
        .unwrap();
    let store = without(&world.store, |name| name == "log/0000000000000006");
    let (repo, report) = salvage(&store);
    // Nobody can tell without it; the snapshot is there all the same, and nothing says that it was committed.
    assert!(report.log_complete && report.findings.is_empty());
    assert_eq!(report.unconfirmed, [newest]);
    assert_eq!(check(&world, &repo, newest, "unconfirmed").len(), world.snapshots[&newest].len());
    let mut options = SalvageOptions::default();
    options.known_head = Some(world.head);
    let (_, report) = salvage_with(&store, options).unwrap();
    assert!(!report.log_complete && report.known_head_reached == Some(false));
    assert_eq!(report.findings[0].error.kind(), ErrorKind::RolledBack);
    options.known_head = Some(Head::new(3, world.head.hash));
    let (_, report) = salvage_with(&world.store, options).unwrap();
    assert!(!report.log_complete && report.known_head_reached == Some(false), "another history");
}

#[test]
fn a_slot_of_another_repository_and_objects_made_up_by_the_store_are_no_obstacle() {
    let world = world();
    let store = without(&world.store, is_log);
    for _ in 0..4 {
        let other = MemoryStore::new();
        block_on(Repository::init_with(
            Arc::new(other.clone()),
            &key(),
            fresh_environment(),
            Options::default(),
        ))
        .unwrap();
        let slots = other.objects().into_iter().filter(|(key, _)| key.as_str().starts_with("keys/"));
        slots.for_each(|(key, bytes)| store.overwrite(key, bytes));
    }
    let foreign = world.store.objects().into_values().next().unwrap();
    for name in [
        "log/ffffffffffffffff",
        "log/0000ffffffffffff",
        "checkpoint/ffffffffffffffff",
        "snapshot/00000000000000000000000000000000",
        "segment/00000000000000000000000000000000",
        "pack/00/00000000000000000000000000000000",
        "pack/00/11000000000000000000000000000000",
        "snapshot/junk",
    ] {
        store.overwrite(Key::new(name).unwrap(), foreign.clone());
    }
    let (repo, report) = salvage(&store);
    assert_eq!(repo.id(), open(&world.store).unwrap().id());
    assert!(!report.log_complete);
    assert!(report.findings.len() >= 5, "{:?}", report.findings);
    for snapshot in world.snapshots.keys() {
        assert_eq!(check(&world, &repo, *snapshot, "foreign").len(), world.snapshots[snapshot].len());
    }
    let nothing = without(&store, |name| !name.starts_with("keys/"));
    let error = salvage_with(&nothing, SalvageOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotARepository);
    let wrong = Credential::raw_key([8; 32]);
    let error = block_on(Repository::salvage(
        Arc::new(store),
        &wrong,
        fresh_environment(),
        SalvageOptions::default(),
    ));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::WrongKey);
}

#[test]
fn a_store_that_is_out_of_reach_is_no_damaged_one() {
    use backup_core::testkit::{Fault, FaultyStore, Operation};
    let world = world();
    let salvage = |faulty: &FaultyStore| {
        let store = Arc::new(faulty.clone());
        block_on(Repository::salvage(store, &key(), fresh_environment(), SalvageOptions::default()))
    };
    let whole = FaultyStore::new(Arc::new(world.store.clone()));
    salvage(&whole).unwrap();
    let calls = whole.counters().calls();
    for nth in 0..calls {
        let faulty = FaultyStore::new(Arc::new(world.store.clone()));
        faulty.inject(Operation::Any, nth, usize::MAX, Fault::Before(ErrorKind::Unavailable));
        assert_eq!(salvage(&faulty).map(drop).unwrap_err().kind(), ErrorKind::Unavailable, "call {nth}");
        // A download that is bad once is read again.
        let faulty = FaultyStore::new(Arc::new(world.store.clone()));
        faulty.inject(Operation::Read, nth, 1, Fault::Flip(1_000));
        match salvage(&faulty) {
            Ok((_, report)) => assert!(report.findings.is_empty(), "read {nth}: {:?}", report.findings),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "read {nth}: only the slot"),
        }
    }
}

#[test]
fn snapshots_of_a_salvaged_repository_are_copied_to_a_new_one() {
    let world = world();
    let store = without(&world.store, |name| is_log(name) || name.starts_with("segment/"));
    let (salvaged, _) = salvage(&store);
    let new = init(&MemoryStore::new());
    for summary in salvaged.snapshots() {
        let source = block_on(salvaged.as_source(summary.id)).unwrap();
        let copy = block_on(new.backup(&source).run()).unwrap();
        assert_eq!(copy.state, SnapshotState::Complete, "{:?}", copy.problems);
        let labels = block_on(new.snapshot(copy.snapshot)).unwrap().labels;
        assert!(labels.contains(&("origin.confirmed".into(), "false".into())), "{labels:?}");
        let (items, problems) = restore(&new, copy.snapshot);
        assert_eq!(problems, 0);
        if let Some(expected) = world.snapshots.get(&summary.id) {
            assert_eq!(items, *expected);
        }
    }
    assert_eq!(new.snapshots().len(), 5);
    assert!(block_on(new.verify(VerifyLevel::EveryByte).run()).unwrap().is_sound());
}

#[test]
fn with_a_part_of_a_tree_gone_a_restore_and_a_copy_go_past_it() {
    let (store, source) = (MemoryStore::new(), MemorySource::new("memory:large"));
    source.put_folder("root", None, "root");
    let (folders, files) = (60, 3_000);
    for number in 0..folders {
        // Ids of folders lie between those of files, so that each part of the tree has some of both.
        source.put_folder(&format!("{:04}-folder", number * 50), Some("root"), format!("folder {number}"));
    }
    // Long names that do not compress: the names have frames of their own.
    let name_of = |number| format!("{number} {}", blake3::hash(&noise(8, number)).to_hex());
    for number in 0..files {
        let folder = format!("{:04}-folder", (number * 7 % folders) * 50);
        let mut item = Item::new(
            format!("{number:04}"),
            Some(folder.as_str().into()),
            name_of(number),
            backup_core::ItemKind::FILE,
        );
        item.attributes.insert("filler".into(), backup_core::Value::Bytes(noise(200, number)));
        source.put(item, [("content", format!("content of {number}").into_bytes())]);
    }
    let repo = init(&store);
    let snapshot = backup_whole(&repo, &source).snapshot;
    let is_tree = |(key, bytes): &(Key, bytes::Bytes)| key.as_str().starts_with("pack/") && bytes[7] == 2;
    let packs: Vec<_> = store.objects().into_iter().filter(is_tree).collect();
    let (mut partly, mut copied) = (0, 0);
    for (part, (key, bytes)) in (0..8).flat_map(|part| packs.iter().map(move |pack| (part, pack))) {
        let at = 168 + (bytes.len() - 400) * part / 8;
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1;
        let fork = store.fork();
        fork.overwrite(key.clone(), flipped.into());
        let repo = open(&fork).unwrap();
        let sink = MemorySink::new();
        let report = block_on(repo.restore(snapshot, &sink).run()).unwrap();
        let right = |r: &Restored| {
            let id = std::str::from_utf8(r.item.id.as_bytes()).unwrap();
            r.streams["content"] == format!("content of {}", id.parse::<u64>().unwrap())
        };
        let files_of = |sink: &MemorySink| {
            let files = sink.tree().into_values().filter(|r| !r.item.kind.is_container());
            files.inspect(|r| assert!(right(r))).map(|r| r.item.id).collect::<BTreeSet<_>>()
        };
        let restored = files_of(&sink);
        // Directory and padding are not needed by whoever has the index.
        assert!(!report.problems.is_empty() || restored.len() == files as usize, "part {part}");
        // What restores is what a copy has, or less: the copy needs one of the two trees only.
        let new = init_on(Arc::new(MemoryStore::new()));
        let copy = block_on(new.backup(&block_on(repo.as_source(snapshot)).unwrap()).run()).unwrap();
        assert!(block_on(new.verify(VerifyLevel::Structure).run()).unwrap().is_sound());
        let sink = MemorySink::new();
        let second = block_on(new.restore(copy.snapshot, &sink).run()).unwrap();
        assert!(second.problems.is_empty(), "part {part}: {:?}", second.problems);
        let in_copy = files_of(&sink);
        assert!(restored.is_subset(&in_copy), "part {part}");
        if in_copy.len() < files as usize {
            assert_eq!(copy.state, SnapshotState::Incomplete, "part {part}");
            // Every file that is lost is named, by its id where its name is left.
            let named = copy.problems.iter().filter(|problem| problem.id.is_some()).count();
            assert!(named > 0 || copy.problems.iter().any(|problem| problem.place == "some items"));
        }
        partly += usize::from(!restored.is_empty() && restored.len() < files as usize);
        copied += usize::from(in_copy.len() > restored.len());
        println!("part {part}: {} of {files} files restored, {} copied", restored.len(), in_copy.len());
    }
    assert!(partly > 0 && copied > 0, "{partly} partly restored, {copied} copied better");
}
