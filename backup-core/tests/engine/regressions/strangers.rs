//! Objects in places that are not theirs, and names that lead out of where they are restored to.

use std::path::Path;

use backup_core::{ErrorKind, FolderSink, ItemKind, Key, VerifyLevel};

use super::*;

fn of_kind<'a>(store: &MemoryStore, kind: &'a str) -> impl Iterator<Item = (Key, bytes::Bytes)> + use<'a> {
    store.objects().into_iter().filter(move |(key, _)| key.as_str().starts_with(kind))
}

/// borg CVE-2016-10099: a file that looked like a manifest was taken for one. borg CVE-2023-36811: an archive was not bound to its place. Here the
/// very objects of the repository are the content of its files, and every object of it and of another repository of the same key takes every
/// place of every other kind.
#[test]
fn borg_cve_2016_10099_and_cve_2023_36811_no_object_is_taken_for_another() {
    let store = MemoryStore::new();
    let repo = init(&store);
    history(&repo, 2);
    let inside = MemorySource::new("memory:inside").with_concurrency(1);
    for (number, bytes) in store.objects().into_values().enumerate() {
        inside.put_file(&number.to_string(), None, number.to_string(), bytes);
    }
    let last = backup_whole(&repo, &inside);
    let expected = files_of(&repo, last.snapshot);
    let other = MemoryStore::new();
    let twin =
        block_on(Repository::init_with(Arc::new(other.clone()), &key(), environment(77), Options::default()));
    history(&twin.unwrap(), 2);
    let kinds = ["pack/", "segment/", "snapshot/", "log/", "keys/"];
    let mut tried = 0;
    for kind in kinds {
        for (place, own) in of_kind(&store, kind) {
            for (name, bytes) in store.objects().into_iter().chain(other.objects()) {
                if bytes == own {
                    continue;
                }
                tried += 1;
                let spoiled = store.fork();
                spoiled.overwrite(place.clone(), bytes);
                let context = format!("{name} at {place}");
                let repo = match open(&spoiled) {
                    Ok(repo) => repo,
                    Err(error) => {
                        assert_ne!(error.kind(), ErrorKind::Bug, "{context}: {error:?}");
                        continue;
                    }
                };
                let report = block_on(repo.verify(VerifyLevel::Structure).run());
                let noticed = !report.as_ref().is_ok_and(|report| report.is_sound());
                let newest = repo.snapshots().pop().map(|snapshot| snapshot.id);
                assert!(noticed || kind == "pack/" || newest != Some(last.snapshot), "{context}");
                let sink = MemorySink::new();
                if block_on(repo.restore(last.snapshot, &sink).run())
                    .is_ok_and(|report| report.problems.is_empty())
                {
                    assert!(files(&sink) == expected, "{context}: other bytes were restored");
                }
            }
        }
    }
    println!("{tried} objects in places of others");
    assert!(tried > 400);
}

/// borg CVE-2016-10100: when the repository was rebuilt, the first object with a name was believed. Here whatever an attacker adds - slots and
/// entries of another repository of the same key, checkpoints, packs - changes nothing.
#[test]
fn borg_cve_2016_10100_what_is_added_first_or_last_is_not_believed() {
    let store = MemoryStore::new();
    let repo = init(&store);
    history(&repo, 3);
    let all = ids(&repo);
    let expected: Vec<_> = all.iter().map(|id| files_of(&repo, *id)).collect();
    let other = MemoryStore::new();
    let twin =
        block_on(Repository::init_with(Arc::new(other.clone()), &key(), environment(78), Options::default()));
    history(&twin.unwrap(), 5);
    let both = store.fork();
    // Under their own names, and those slots under names that are read first and last.
    for (name, bytes) in other.objects() {
        if !both.objects().contains_key(&name) && !name.as_str().starts_with("log/") {
            both.overwrite(name.clone(), bytes.clone());
        }
        if name.as_str().starts_with("keys/") {
            for id in ["00", "ff"] {
                both.overwrite(Key::new(format!("keys/{}", id.repeat(16))).unwrap(), bytes.clone());
            }
        }
    }
    for number in 0..3 {
        for (_, bytes) in of_kind(&other, "log/") {
            both.overwrite(Key::new(format!("checkpoint/{number:016x}")).unwrap(), bytes);
        }
    }
    for repo in [open(&both).unwrap(), open(&store).unwrap()] {
        assert_eq!(ids(&repo), all);
        // What is no checkpoint is said to be none, and not used.
        let report = block_on(repo.verify(VerifyLevel::EveryByte).run()).unwrap();
        let others = report.findings.iter().filter(|finding| !finding.place.starts_with("checkpoint/"));
        assert_eq!(others.count(), 0, "{:?}", report.findings);
        for (id, expected) in all.iter().zip(&expected) {
            assert_eq!(&files_of(&repo, *id), expected);
        }
    }
    // A prune takes what is strange for remains of writers that are gone, and nothing else.
    prune(&open(&both).unwrap());
    let repo = open(&both).unwrap();
    for (id, expected) in all.iter().zip(&expected) {
        assert_eq!(&files_of(&repo, *id), expected);
    }
}

fn tree(place: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![place.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                open.push(path.clone());
            }
            found.push(path.display().to_string());
        }
    }
    found.sort();
    found
}

/// borg CVE-2017-15914 and CVE-2026-62268: what may be reached was decided by names. No name, link or parent of an item leads out of the folder
/// that it is restored to.
#[test]
fn borg_cve_2017_15914_and_cve_2026_62268_nothing_is_restored_outside_of_its_folder() {
    let above = tempfile::tempdir().unwrap();
    let (inside, outside) = (above.path().join("inside"), above.path().join("outside"));
    std::fs::create_dir(&inside).unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("precious"), "precious").unwrap();
    let source = MemorySource::new("memory:evil");
    source.put_folder("root", None, "root");
    let absolute = outside.join("absolute").display().to_string();
    let names = [
        "..",
        ".",
        "../up",
        "../../outside/up",
        "/etc/up",
        &absolute,
        "a/b",
        "a/../../up",
        "nul\0nul",
        "..\\up",
        "C:\\up",
        "-rf",
        "con",
        " ",
        "\u{202e}txt.exe",
        "new\nline",
        "precious",
    ];
    for (number, name) in names.iter().enumerate() {
        source.put_file(&format!("n{number}"), Some("root"), *name, "evil");
        source.put_folder(&format!("d{number}"), Some("root"), *name);
        source.put_file(&format!("below{number}"), Some(&format!("d{number}")), "precious", "evil");
    }
    // A link that leads out, a folder of its name, and something below it; and an item below a link.
    for (number, target) in ["../../outside", "/", ".."].into_iter().enumerate() {
        let mut link =
            Item::new(format!("l{number}"), Some("root".into()), format!("link{number}"), ItemKind::SYMLINK);
        link.attributes.insert("link_target".into(), backup_core::Value::Bytes(target.as_bytes().to_vec()));
        source.put(link, Vec::<(String, bytes::Bytes)>::new());
        source.put_folder(&format!("ld{number}"), Some("root"), format!("link{number}"));
        source.put_file(&format!("lf{number}"), Some(&format!("ld{number}")), "precious", "evil");
        source.put_file(&format!("ll{number}"), Some(&format!("l{number}")), "precious", "evil");
    }
    let repo = init(&MemoryStore::new());
    let report = backup(&repo, &source);
    let before = tree(&outside);
    let sink = FolderSink::new(&inside).unwrap();
    let restored = block_on(repo.restore(report.snapshot, &sink).run()).unwrap();
    assert!(!restored.problems.is_empty(), "names that no folder can have are reported");
    assert_eq!(tree(&outside), before);
    assert_eq!(std::fs::read_to_string(outside.join("precious")).unwrap(), "precious");
    let mut here: Vec<_> =
        std::fs::read_dir(above.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    here.sort();
    assert_eq!(here, ["inside", "outside"]);
    assert!(!Path::new("/etc/up").exists());
    assert!(tree(&inside).len() > 5, "the rest is there: {:?}", tree(&inside));
}
