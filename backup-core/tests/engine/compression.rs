//! How much work goes into making what is stored shorter: what is said, or what pays.

use backup_core::Compression;

use super::*;

const WORDS: [&str; 16] = [
    "invoice", "meeting", "schedule", "attached", "regards", "please", "review", "quarter", "budget", "team",
    "project", "customer", "contract", "delivery", "update", "deadline",
];

/// Text of few words, as mails and rows are, no two the same. So much is there to be found that looking harder pays.
fn words(len: usize, seed: u64) -> Vec<u8> {
    let mut text = Vec::with_capacity(len + 10);
    for byte in noise(len, seed) {
        text.extend_from_slice(WORDS[usize::from(byte % 16)].as_bytes());
        text.push(b' ');
        if text.len() >= len {
            break;
        }
    }
    text.truncate(len);
    text
}

/// What a backup stores, in bytes; and everything in it comes back.
fn stored(compression: Option<Compression>, files: u64, content: impl Fn(u64) -> Vec<u8>) -> u64 {
    let (store, source) = (MemoryStore::new(), MemorySource::new("memory:compression").with_concurrency(1));
    for number in 0..files {
        source.put_file(&format!("{number:02}"), None, format!("{number:02}"), content(number));
    }
    let repository = init(&store);
    let run = repository.backup(&source);
    let run = match compression {
        Some(compression) => run.compression(compression),
        None => run,
    };
    let report = block_on(run.run()).unwrap();
    let tree = restored(&open(&store).unwrap()).tree();
    assert_eq!(tree.len(), files as usize);
    for number in 0..files {
        assert_eq!(tree[&format!("{number:02}")].streams["content"], content(number));
    }
    report.stats.bytes_stored
}

#[test]
fn what_repeats_itself_is_searched_thoroughly_by_itself() {
    let text = |number| words(1 << 20, number);
    let [fast, adaptive, thorough, default] =
        [Some(Compression::Fast), Some(Compression::Adaptive), Some(Compression::Thorough), None]
            .map(|compression| stored(compression, 12, text));
    // Trials keep the shorter of both, so that nothing is lost until they have decided.
    assert!(adaptive < fast - fast / 7, "{adaptive} of {fast}");
    assert!(adaptive.abs_diff(thorough) < thorough / 20, "{adaptive}, {thorough}");
    assert!(adaptive.abs_diff(default) < default / 20, "{adaptive}, {default}");
}

#[test]
fn noise_takes_what_it_takes() {
    let [fast, thorough] = [Compression::Fast, Compression::Thorough]
        .map(|compression| stored(Some(compression), 6, |number| noise(1 << 20, number)));
    assert!(fast.abs_diff(thorough) < fast / 50, "{fast}, {thorough}");
}
