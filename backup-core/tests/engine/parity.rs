//! Parity: what a store loses or damages is computed from the rest, without a key, and an interruption loses nothing.

use std::sync::Arc;

use backup_core::store::MemoryStore;
use backup_core::testkit::{Fault, FaultyStore, Operation};
use backup_core::{
    ErrorKind, Key, MemorySource, PublicKey, Repair, Repository, ScrubReport, Store, VerifyLevel,
};
use futures_executor::block_on;

use super::objects::{all, copy, get, names, set};
use super::{backup_whole, files, fresh_environment, init, noise, open, restored, sample};

/// A repository of two snapshots with parity; the content of the newest.
fn protected() -> (MemoryStore, PublicKey, Vec<(String, Vec<u8>)>) {
    let store = MemoryStore::new();
    let repo = init(&store);
    let source = sample();
    backup_whole(&repo, &source);
    source.put_file("top", Some("root"), "top.bin", noise(500_000, 3));
    backup_whole(&repo, &source);
    let report = block_on(repo.add_parity().redundancy(2, 8).run()).unwrap();
    assert!(report.findings.is_empty() && report.new_sets == report.sets, "{report:?}");
    (store, repo.public_key().unwrap(), files(&restored(&repo)))
}

fn scrub(store: &dyn Store, key: PublicKey) -> ScrubReport {
    block_on(backup_core::scrub(store, key, &fresh_environment()).run()).unwrap()
}

fn mend(store: &dyn Store, key: PublicKey) -> ScrubReport {
    block_on(backup_core::scrub(store, key, &fresh_environment()).repair().run()).unwrap()
}

/// Whether the repository is whole, bit by bit, and has nothing that does not belong there.
fn assert_same(store: &MemoryStore, before: &MemoryStore) {
    assert_eq!(all(store), all(before));
    assert!(all(store).iter().all(|key| get(store, key) == get(before, key)));
    assert!(names(store, "repaired").is_empty());
}

#[test]
fn every_object_may_be_lost_cut_lengthened_or_damaged_at_both_ends_and_comes_back() {
    let (before, key, content) = protected();
    let report = scrub(&before, key);
    assert!(report.is_sound() && report.damage.is_empty() && report.unprotected_objects == 0, "{report:?}");
    let mut tried = 0;
    for name in all(&before) {
        let whole = get(&before, &name);
        let flipped = |at: usize| {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 1;
            bytes
        };
        let damages = [
            None,
            Some(whole[..whole.len() / 2].to_vec()),
            Some(Vec::new()),
            Some([&whole[..], b"more"].concat()),
            Some(flipped(0)),
            Some(flipped(whole.len() - 1)),
        ];
        for damage in damages {
            let store = copy(&before);
            block_on(store.delete(&name)).unwrap();
            let missing = damage.is_none();
            if let Some(bytes) = damage {
                set(&store, &name, bytes);
            }
            let found = scrub(&store, key);
            assert_eq!(found.damage.len(), 1, "{name}: {found:?}");
            assert_eq!(found.damage[0].object, name.as_str());
            assert_eq!(
                (found.damage[0].missing, found.damage[0].repair),
                (missing, Repair::Possible),
                "{name}"
            );
            assert!(!found.is_sound());
            let mended = mend(&store, key);
            assert!(mended.is_sound() && mended.damage[0].repair == Repair::Done, "{name}: {mended:?}");
            assert_same(&store, &before);
            tried += 1;
        }
    }
    assert!(tried > 90, "{tried}");
    let repo = open(&before).unwrap();
    assert_eq!(files(&restored(&repo)), content);
}

#[test]
fn two_of_a_group_may_go_and_three_are_reported_as_lost() {
    let (before, key, _) = protected();
    // The two longest packs and the longest segment are in one group, by length.
    let mut longest: Vec<(usize, Key)> =
        all(&before).into_iter().map(|key| (get(&before, &key).len(), key)).collect();
    longest.retain(|(_, key)| !key.as_str().starts_with("parity"));
    longest.sort();
    let group: Vec<Key> = longest.into_iter().rev().map(|(_, key)| key).take(3).collect();
    let store = copy(&before);
    group.iter().take(2).for_each(|key| block_on(store.delete(key)).unwrap());
    assert!(mend(&store, key).is_sound());
    assert_same(&store, &before);

    group.iter().for_each(|key| block_on(store.delete(key)).unwrap());
    let report = mend(&store, key);
    assert_eq!(report.damage.len(), 3);
    assert!(report.damage.iter().all(|damage| damage.repair == Repair::Impossible), "{report:?}");
    assert!(!report.is_sound());

    // Damage at different places of all of them is less than it looks.
    let store = copy(&before);
    for (number, key) in group.iter().enumerate() {
        let mut bytes = get(&store, key).to_vec();
        let at = (number * 70_000).min(bytes.len() - 1);
        bytes[at] ^= 0x80;
        set(&store, key, bytes);
    }
    let report = mend(&store, key);
    assert!(report.is_sound() || report.damage.iter().any(|damage| damage.repair == Repair::Impossible));
}

#[test]
fn a_set_that_the_repository_did_not_sign_mends_nothing() {
    let (store, key, _) = protected();
    let before = copy(&store);
    // Another repository's parity for the same names: whoever may only add objects must not be able to have good ones replaced.
    let foreign = MemoryStore::new();
    backup_whole(&init_other(&foreign), &sample());
    let other = open_other(&foreign);
    block_on(other.add_parity().run()).unwrap();
    for name in names(&foreign, "parity") {
        block_on(store.create(&name, get(&foreign, &name))).unwrap();
    }
    let report = mend(&store, key);
    assert!(!report.findings.is_empty() && report.damage.is_empty(), "{report:?}");
    assert!(report.findings.iter().all(|finding| finding.error.kind() == ErrorKind::Corrupt));
    for name in names(&before, "pack") {
        assert_eq!(get(&store, &name), get(&before, &name));
    }
}

fn init_other(store: &MemoryStore) -> Repository {
    let options = backup_core::Options::default();
    block_on(Repository::init_with(Arc::new(store.clone()), &super::key(), fresh_environment(), options))
        .unwrap()
}

fn open_other(store: &MemoryStore) -> Repository {
    open(store).unwrap()
}

#[test]
fn what_comes_new_joins_short_groups_and_what_is_pruned_leaves_them() {
    let store = MemoryStore::new();
    let repo = init(&store);
    let source = MemorySource::new("memory:growing");
    source.put_folder("root", None, "root");
    let mut covered = 0;
    for day in 0..6 {
        source.put_file(
            format!("f{day}").as_str(),
            Some("root"),
            format!("f{day}").as_str(),
            noise(200_000, day),
        );
        backup_whole(&repo, &source);
        let report = block_on(repo.add_parity().run()).unwrap();
        assert!(report.findings.is_empty());
        assert!(report.objects > covered, "{report:?}");
        covered = report.objects;
        let again = block_on(repo.add_parity().run()).unwrap();
        assert_eq!((again.new_sets, again.dropped_sets, again.sets), (0, 0, report.sets), "{again:?}");
        let found = scrub(&store, repo.public_key().unwrap());
        assert!(found.is_sound() && found.damage.is_empty() && found.unprotected_objects == 0, "{found:?}");
        assert_eq!((found.sets, found.objects), (report.sets, report.objects));
    }
    let old: Vec<_> = repo.snapshots().iter().rev().skip(1).map(|snapshot| snapshot.id).collect();
    block_on(repo.remove(&old)).unwrap();
    block_on(repo.prune().grace(std::time::Duration::ZERO).unused_percent(0).run()).unwrap();
    let found = scrub(&store, repo.public_key().unwrap());
    assert!(
        found.damage.is_empty() && found.findings.is_empty(),
        "what a prune took is no damage: {found:?}"
    );
    assert!(found.unprotected_objects > 0);
    block_on(repo.add_parity().run()).unwrap();
    assert_eq!(scrub(&store, repo.public_key().unwrap()).unprotected_objects, 0);
    assert!(block_on(repo.verify(VerifyLevel::EveryByte).run()).unwrap().is_sound());
}

#[test]
fn damage_is_never_protected() {
    let store = MemoryStore::new();
    backup_whole(&init(&store), &sample());
    let pack = names(&store, "pack").remove(0);
    let mut bytes = get(&store, &pack).to_vec();
    bytes[300] ^= 1;
    set(&store, &pack, bytes);
    let log = names(&store, "log").remove(0);
    let repo = open(&store).unwrap();
    let mut bytes = get(&store, &log).to_vec();
    bytes[200] ^= 1;
    set(&store, &log, bytes);
    let report = block_on(repo.add_parity().run()).unwrap();
    let mut places: Vec<_> = report.findings.iter().map(|finding| finding.place.as_str()).collect();
    places.sort_unstable();
    assert_eq!(places, [log.as_str(), pack.as_str()]);
    assert_eq!(scrub(&store, repo.public_key().unwrap()).unprotected_objects, 2);
}

#[test]
fn borg_3444_and_1837_and_5325_a_repair_that_is_interrupted_at_any_call_loses_nothing_and_is_finished_by_the_next()
 {
    let (before, key, _) = protected();
    let pack = names(&before, "pack").remove(0);
    let log = names(&before, "log").remove(1);
    let damaged = || {
        let store = copy(&before);
        let mut bytes = get(&store, &pack).to_vec();
        bytes[500] ^= 4;
        set(&store, &pack, bytes);
        block_on(store.delete(&log)).unwrap();
        store
    };
    let mut points = 0;
    let offline = ErrorKind::Unavailable;
    let faults = [
        (Operation::Any, Fault::Before(offline)),
        (Operation::Any, Fault::After(offline)),
        (Operation::Create, Fault::Torn(0)),
        (Operation::Create, Fault::Torn(100)),
        (Operation::Create, Fault::TornSilently(100)),
        (Operation::Create, Fault::Lost),
        (Operation::Delete, Fault::Lost),
        (Operation::Read, Fault::Flip(9)),
        (Operation::Read, Fault::Short(1)),
    ];
    for (operation, fault) in faults {
        for times in [1, usize::MAX] {
            for nth in 0.. {
                let store = damaged();
                let faulty = FaultyStore::new(Arc::new(store.clone()));
                faulty.inject(operation, nth, times, fault);
                let first = block_on(backup_core::scrub(&faulty, key, &fresh_environment()).repair().run());
                let fired = faulty.counters().faults > 0;
                let second = mend(&store, key);
                assert!(second.is_sound(), "{operation:?} {fault:?} at {nth}: {first:?} then {second:?}");
                assert_same(&store, &before);
                points += 1;
                if !fired {
                    break;
                }
            }
        }
    }
    println!("{points} interruptions of a repair");
    assert!(points > 100);
}
