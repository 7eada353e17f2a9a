//! A store that flips, cuts, swaps, renames, replays, hides and lies; keys that do not fit; versions from the future.

use backup_core::testkit::{Fault, FaultyStore, Operation};
use backup_core::{ErrorKind, Head, KdfParams, Key, VerifyLevel};
use bytes::Bytes;
use futures_executor::block_on;

use super::*;

/// A small repository with two snapshots, and what its newest one restores to.
fn small() -> (MemoryStore, Vec<(String, Vec<u8>)>) {
    let (store, source) = (MemoryStore::new(), sample());
    source.remove("top");
    let repo = init(&store);
    backup_whole(&repo, &source);
    source.put_file("a", Some("docs"), "a.txt", "alpha two");
    backup_whole(&repo, &source);
    let expected = files(&restored(&repo));
    (store, expected)
}

/// Opens, verifies every byte and restores. Says whether anything was noticed; wrong bytes are a failure.
fn noticed(store: &MemoryStore, expected: &[(String, Vec<u8>)], context: &str) -> bool {
    let repo = match open(store) {
        Ok(repo) => repo,
        Err(error) => {
            assert_ne!(error.kind(), ErrorKind::Bug, "{context}: {error:?}");
            return true;
        }
    };
    let sound = match block_on(repo.verify(VerifyLevel::EveryByte).run()) {
        Ok(report) => report.is_sound(),
        Err(error) => {
            assert_ne!(error.kind(), ErrorKind::Bug, "{context}: {error:?}");
            false
        }
    };
    let sink = MemorySink::new();
    let Some(newest) = repo.snapshots().pop() else { return true };
    match block_on(repo.restore(newest.id, &sink).run()) {
        Ok(report) if report.problems.is_empty() => {
            assert_eq!(files(&sink), expected, "{context}: wrong bytes were restored");
        }
        Ok(_) | Err(_) => assert!(!sound, "{context}: restore failed but verify found nothing"),
    }
    !sound
}

/// With a whole check and a whole restore each. `src/repo/tests.rs` flips every bit of a larger one and reads what is touched.
#[test]
fn a_bit_of_every_byte_of_a_small_repository_is_guarded() {
    let (store, expected) = small();
    assert!(!noticed(&store, &expected, "untouched"));
    let objects: Vec<_> = store.objects().into_iter().collect();
    let flips: usize = objects.iter().map(|(_, bytes)| bytes.len()).sum();
    let harmless = AtomicUsize::new(0);
    // Two threads: each takes every other byte.
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (objects, store, expected, harmless) = (&objects, &store, &expected, &harmless);
            scope.spawn(move || {
                for (key, bytes) in objects {
                    for byte in (thread..bytes.len()).step_by(2) {
                        let (mut bad, bit) = (bytes.to_vec(), byte % 8);
                        bad[byte] ^= 1 << bit;
                        let fork = store.fork();
                        fork.overwrite(key.clone(), bad.into());
                        if !noticed(&fork, expected, &format!("{key} byte {byte} bit {bit}")) {
                            harmless.fetch_add(1, Ordering::Relaxed);
                            println!("harmless: {key} byte {byte} bit {bit}");
                        }
                    }
                }
            });
        }
    });
    println!("{flips} bit flips, {harmless:?} of them harmless, the others noticed");
    assert_eq!(harmless.into_inner(), 0);
    assert!(flips > 4_000);
}

#[test]
fn every_cut_and_every_appended_byte_is_noticed() {
    let (store, expected) = small();
    for (key, bytes) in store.objects() {
        for len in (0..bytes.len()).step_by(7).chain([bytes.len() - 1]) {
            let fork = store.fork();
            fork.overwrite(key.clone(), bytes.slice(..len));
            assert!(noticed(&fork, &expected, &format!("{key} cut to {len}")));
        }
        let fork = store.fork();
        fork.overwrite(key.clone(), [&bytes[..], &[0]].concat().into());
        assert!(noticed(&fork, &expected, &format!("{key} with a byte more")));
    }
}

#[test]
fn every_swap_removal_renaming_and_foreign_object_is_noticed() {
    let (store, expected) = small();
    let (other, _) = small();
    let objects: Vec<_> = store.objects().into_iter().collect();
    for (key, bytes) in &objects {
        let gone = MemoryStore::new();
        objects.iter().filter(|(k, _)| k != key).for_each(|(k, b)| gone.overwrite(k.clone(), b.clone()));
        let newest_log = key.as_str().starts_with("log/")
            && !objects.iter().any(|(k, _)| k > key && k.as_str().starts_with("log/"));
        if !newest_log {
            assert!(noticed(&gone, &expected, &format!("{key} gone")), "{key} gone");
        }
        let renamed = gone.fork();
        let name = key.as_str();
        let last = if name.ends_with('0') { "1" } else { "0" };
        renamed.overwrite(Key::new(format!("{}{last}", &name[..name.len() - 1])).unwrap(), bytes.clone());
        assert!(noticed(&renamed, &expected, &format!("{key} renamed")), "{key} renamed");
        for (other_key, other_bytes) in &objects {
            if other_key != key {
                let fork = store.fork();
                fork.overwrite(key.clone(), other_bytes.clone());
                assert!(
                    noticed(&fork, &expected, &format!("{key} holds {other_key}")),
                    "{key} holds {other_key}"
                );
            }
        }
        for foreign in other.objects().into_values() {
            if foreign != *bytes {
                let fork = store.fork();
                fork.overwrite(key.clone(), foreign);
                assert!(noticed(&fork, &expected, &format!("{key} is another repository's")));
            }
        }
    }
}

#[test]
fn a_hidden_tail_of_the_log_is_noticed_by_who_remembers_the_head() {
    let (store, _) = small();
    let repo = open(&store).unwrap();
    let head = repo.head();
    assert_eq!(head.number, 2);
    let hidden = MemoryStore::new();
    let newest = format!("log/{:016x}", head.number);
    let kept = store.objects().into_iter().filter(|(key, _)| key.as_str() != newest);
    kept.for_each(|(key, bytes)| hidden.overwrite(key, bytes));
    let open = |store: &MemoryStore, head| {
        let mut options = Options::default();
        options.known_head = head;
        block_on(Repository::open_with(Arc::new(store.clone()), &key(), environment(2), options))
    };
    assert!(open(&hidden, None).is_ok(), "without a memory an older state is a state");
    assert_eq!(open(&hidden, Some(head)).unwrap_err().kind(), ErrorKind::RolledBack);
    let other = Head::new(1, head.hash);
    assert_eq!(open(&store, Some(other)).unwrap_err().kind(), ErrorKind::RolledBack);
    assert!(open(&store, Some(head)).is_ok());
}

#[test]
fn a_gap_in_the_log_is_noticed() {
    let (store, _) = small();
    let gap = MemoryStore::new();
    let kept = store.objects().into_iter().filter(|(key, _)| key.as_str() != "log/0000000000000001");
    kept.for_each(|(key, bytes)| gap.overwrite(key, bytes));
    let error = open(&gap).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Missing);
    assert_eq!(error.item(), Some("log/0000000000000001"));
}

#[test]
fn a_listing_that_lies_costs_nothing_but_work() {
    let (store, expected) = small();
    let mut runs = 2;
    for fault in [Fault::Partial(0), Fault::Partial(1), Fault::Stale(3)] {
        let faulty = FaultyStore::new(Arc::new(store.clone()));
        faulty.inject(Operation::List, 0, usize::MAX, fault);
        match open_on(Arc::new(faulty.clone())) {
            Ok(repo) => {
                assert_eq!(repo.snapshots().len(), runs, "{fault:?}");
                let oldest = repo.snapshots()[1].id;
                let sink = MemorySink::new();
                block_on(repo.restore(oldest, &sink).run()).unwrap();
                assert_eq!(files(&sink), expected);
                block_on(repo.backup(&sample()).label("round", runs.to_string()).full().run()).unwrap();
                runs += 1;
            }
            // Key slots have random names: without a listing none is found, and nothing is believed or written.
            Err(error) => assert_eq!((error.kind(), fault), (ErrorKind::NotARepository, Fault::Partial(0))),
        }
    }
    let repo = open(&store).unwrap();
    assert_eq!(repo.snapshots().len(), 4, "two runs were added beside lying listings");
    assert_eq!(runs, 4);
    assert!(block_on(repo.verify(VerifyLevel::EveryByte).run()).unwrap().is_sound());
}

#[test]
fn a_listing_that_shows_what_is_not_there_is_refused_or_ignored() {
    let (store, expected) = small();
    for name in [
        "log/junk",
        "log/zzzzzzzzzzzzzzzz",
        "keys/junk",
        "checkpoint/junk",
        "other/x",
        "checkpoint/00000000000000ff",
    ] {
        let fork = store.fork();
        fork.overwrite(Key::new(name).unwrap(), Bytes::from_static(b"junk"));
        let repo = open(&fork).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(files(&restored(&repo)), expected, "{name}");
    }
    let fork = store.fork();
    fork.overwrite(Key::new("log/00000000000000ff").unwrap(), Bytes::from_static(b"junk"));
    assert_eq!(open(&fork).unwrap_err().kind(), ErrorKind::Missing);
}

#[test]
fn a_wrong_key_or_passphrase_is_told_from_damage() {
    let store = MemoryStore::new();
    let mut options = Options::default();
    options.kdf = KdfParams::dangerous_fast();
    let right = Credential::passphrase("right");
    block_on(Repository::init_with(Arc::new(store.clone()), &right, environment(1), options)).unwrap();
    let open = |credential: &Credential| {
        block_on(Repository::open_with(
            Arc::new(store.clone()),
            credential,
            environment(2),
            Options::default(),
        ))
    };
    assert!(open(&right).is_ok());
    for wrong in [Credential::passphrase("Right"), Credential::passphrase(""), Credential::raw_key([7; 32])] {
        let error = open(&wrong).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WrongKey);
        assert_eq!(error.to_string(), "no key slot opens with this passphrase or key");
    }
    assert_eq!(super::open(&MemoryStore::new()).unwrap_err().kind(), ErrorKind::NotARepository);
    let again =
        block_on(Repository::init_with(Arc::new(store.clone()), &right, environment(3), Options::default()));
    assert_eq!(again.unwrap_err().kind(), ErrorKind::AlreadyExists);
}

#[test]
fn a_newer_format_is_refused_by_name_and_told_from_damage() {
    let (store, _) = small();
    for (key, bytes) in store.objects() {
        let mut newer = bytes.to_vec();
        newer[4] = 2;
        let fork = store.fork();
        fork.overwrite(key.clone(), newer.into());
        let refused = open(&fork).err().map(|error| error.kind());
        if key.as_str().starts_with("log/") || key.as_str().starts_with("keys/") {
            assert_eq!(refused, Some(ErrorKind::NewerFormat), "{key}");
        }
    }
}

/// Argon2id parameters come from the store: what they ask for is bounded before any of it is spent.
#[test]
fn a_slot_that_asks_for_endless_work_is_refused_at_once() {
    let store = MemoryStore::new();
    let mut options = Options::default();
    options.kdf = KdfParams::dangerous_fast();
    let right = Credential::passphrase("right");
    block_on(Repository::init_with(Arc::new(store.clone()), &right, environment(1), options)).unwrap();
    let (key, bytes) =
        store.objects().into_iter().find(|(key, _)| key.as_str().starts_with("keys/")).unwrap();
    for (offset, value) in [(24, u32::MAX), (28, u32::MAX), (32, u32::MAX), (24, 0), (28, 0), (32, 0)] {
        let mut bad = bytes.to_vec();
        bad[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        let fork = store.fork();
        fork.overwrite(key.clone(), bad.into());
        let open = Repository::open_with(Arc::new(fork), &right, environment(2), Options::default());
        assert_eq!(block_on(open).unwrap_err().kind(), ErrorKind::Corrupt, "offset {offset} = {value}");
    }
}
