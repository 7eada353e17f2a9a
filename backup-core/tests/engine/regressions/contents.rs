//! Contents at the edges: nothing, zeros, one byte over and over, and what a source gave by mistake.

use backup_core::{ErrorKind, ReadFault};

use super::*;

/// borg #8963, #8791: strings of zeros were forgotten, and what a copy of the repository lacked went unnoticed. Contents at all edges, stored
/// twice, copied by a prune, and restored.
#[test]
fn borg_8963_and_8791_nothing_and_zeros_and_single_bytes_come_back_as_they_were() {
    let store = MemoryStore::new();
    let repo = init(&store);
    let source = MemorySource::new("memory:edges").with_concurrency(1);
    source.put_folder("root", None, "root");
    let mut expected = Vec::new();
    let sizes =
        [0, 1, 2, 31, 32, 4_095, 4_096, 65_536, 131_071, 131_072, 131_073, 524_288, 1 << 20, 2_097_152];
    for byte in [0u8, 1, 0xff, b' '] {
        for size in sizes.into_iter().chain([2_097_151, 2_097_153, 4_194_304, 5_000_001]) {
            let name = format!("{byte}-{size}");
            source.put_file(&name, Some("root"), name.clone(), vec![byte; size]);
            expected.push((format!("root/{name}"), vec![byte; size]));
        }
    }
    // A hole in the middle, and zeros at the end.
    for (name, bytes) in [
        ("hole", [noise(200_000, 1), vec![0; 3_000_000], noise(200_000, 2)].concat()),
        ("tail", [noise(200_000, 1), vec![0; 3_000_000]].concat()),
    ] {
        source.put_file(name, Some("root"), name, bytes.clone());
        expected.push((format!("root/{name}"), bytes));
    }
    expected.sort();
    let first = backup_whole(&repo, &source);
    let of = |repo: &Repository, id| {
        let mut files = files_of(repo, id);
        files.sort();
        files
    };
    assert!(of(&repo, first.snapshot) == expected);
    source.put_file("more", Some("root"), "more", noise(50_000, 9));
    expected.push(("root/more".into(), noise(50_000, 9)));
    expected.sort();
    let second = backup_whole(&repo, &source);
    source.remove("more");
    backup_whole(&repo, &source);
    block_on(repo.remove(&[first.snapshot])).unwrap();
    prune(&repo);
    let repo = check_whole(&store);
    assert!(of(&repo, second.snapshot) == expected);
    block_on(repo.remove(&[second.snapshot])).unwrap();
    let report = prune(&repo);
    assert!(report.copied_packs + report.dead_packs > 0, "{report:?}");
    expected.retain(|(path, _)| path != "root/more");
    let repo = check_whole(&store);
    assert!(of(&repo, ids(&repo)[0]) == expected);
}

/// openzfs #15526, #4996: reading gave zeros where there was data, and nothing said so. No engine can tell from the bytes; what is promised is
/// that the snapshots before keep what they have, that a source which has doubts is heard, and that a full run reads everything again.
#[test]
fn openzfs_15526_and_4996_zeros_read_by_mistake_cost_no_earlier_snapshot_and_are_read_again() {
    let store = MemoryStore::new();
    let repo = init(&store);
    let source = library();
    let good = backup_whole(&repo, &source);
    let zeros = ("root/f4".to_owned(), vec![0; LEN]);
    let right = ("root/f4".to_owned(), noise(LEN, 4));

    source.put_file("f4", Some("root"), "f4", vec![0; LEN]);
    let bad = backup_whole(&repo, &source);
    assert!(files_of(&repo, bad.snapshot).contains(&zeros));
    assert!(files_of(&repo, good.snapshot).contains(&right), "what was there before is as it was");
    put(&source, 4, 4);
    let mended = backup_whole(&repo, &source);
    assert!(files_of(&repo, mended.snapshot).contains(&right), "a change is read again");

    // Doubts are kept with the snapshot, and the item is read again although its tag has not changed.
    source.put_file("f4", Some("root"), "f4", vec![0; LEN]);
    source.inject("f4", "content", ReadFault::End(ErrorKind::ChangedWhileReading), 100);
    let doubted = backup(&repo, &source);
    assert_eq!(doubted.problems.len(), 1, "{doubted:?}");
    let info = block_on(repo.snapshot(doubted.snapshot)).unwrap();
    assert_eq!(info.problems[0].place, "f4", "{:?}", info.problems);
    put(&source, 4, 4);
    let again = block_on(repo.backup(&source).full().run()).unwrap();
    assert!(files_of(&repo, again.snapshot).contains(&right));
    // A prune of the earlier ones takes nothing of it away.
    block_on(repo.remove(&ids(&repo)[1..4])).unwrap();
    prune(&repo);
    assert!(files_of(&check_whole(&store), good.snapshot).contains(&right));
}
