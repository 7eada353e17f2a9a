//! The fuzz targets over inputs that a seed makes: mutations of valid ones, and noise.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on fails")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use backup_core::fuzzing::TARGETS;
use backup_core::{Key, MemorySink, Policy, Retention};

struct Dice(u64);

impl Dice {
    fn throw(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) >> 33).unwrap() % below.max(1)
    }
}

/// Another input: one or two of the seeds, changed in a few places; now and then noise.
fn input(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    if dice.throw(20) == 0 {
        return (0..dice.throw(300)).map(|_| dice.throw(256) as u8).collect();
    }
    let mut bytes = seeds[dice.throw(seeds.len())].clone();
    for _ in 0..dice.throw(5) {
        let (at, len) = (dice.throw(bytes.len() + 1), 1 + dice.throw(8));
        let end = (at + len).min(bytes.len());
        match dice.throw(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => drop(bytes.splice(at..at, vec![dice.throw(256) as u8; len])),
            3 => bytes[at..end].fill([0, 1, 0x7f, 0x80, 0xff][dice.throw(5)]),
            4 => bytes[at..end].iter_mut().for_each(|byte| *byte = byte.wrapping_add(1)),
            5 => {
                let other = &seeds[dice.throw(seeds.len())];
                let from = dice.throw(other.len() + 1);
                drop(bytes.splice(at.., other[from..].iter().copied()));
            }
            6 => drop(bytes.splice(at..at, bytes[at..end].to_vec())),
            _ if at < bytes.len() => bytes[at] ^= 1 << dice.throw(8),
            _ => {}
        }
    }
    bytes
}

/// A parser of text: its name, what runs it, and what it accepts.
type Text = (&'static str, fn(&str), Vec<&'static str>);

fn texts() -> Vec<Text> {
    let key: fn(&str) = |text| {
        if let Ok(key) = Key::new(text) {
            assert_eq!(key.as_str(), text);
            assert!(!text.split('/').any(|part| part.is_empty() || part == ".." || part == "."));
        }
    };
    let address: fn(&str) = |text| {
        // Not what would make a folder here.
        if text.contains("://") && !text.to_ascii_lowercase().starts_with("file") {
            let _ = backup_core::store::from_url(text, [("", ""); 0]);
        }
    };
    let policy: fn(&str) = |text| {
        if let Ok(policy) = serde_json::from_str::<Policy>(text) {
            let _ = policy.validate();
            let again = serde_json::to_string(&policy).unwrap();
            assert_eq!(
                serde_json::to_string(&serde_json::from_str::<Policy>(&again).unwrap()).unwrap(),
                again
            );
        }
    };
    let retention: fn(&str) = |text| {
        if let Ok(retention) = serde_json::from_str::<Retention>(text) {
            let _ = retention.validate();
            let again = serde_json::to_string(&retention).unwrap();
            assert_eq!(
                serde_json::to_string(&serde_json::from_str::<Retention>(&again).unwrap()).unwrap(),
                again
            );
        }
    };
    vec![
        ("key", key, vec!["log/0000000000000001", "pack/ab/abcdef-_.0", "a/./b", "../x"]),
        (
            "address",
            address,
            vec!["memory://", "s3://bucket/prefix", "az://container/a/b?x=y", "gs://b", "memory:///../x"],
        ),
        (
            "policy",
            policy,
            vec![
                r#"{"version":1,"rules":[{"name":"all","action":{"protect":{"every_minutes":60}},"include":{"kinds":["memory"],"ids":["a*"]}}]}"#,
                r#"{"rules":[{"name":"none","include":{"paths":["**/x"],"labels":[{"name":"a","value":"b"}]},"reason":"r"}]}"#,
            ],
        ),
        (
            "retention",
            retention,
            vec![
                r#"{"last":3,"hourly":1,"daily":7,"weekly":4,"monthly":12,"yearly":10}"#,
                r#"{"within_days":5,"labels":[{"name":"a"}],"utc_offset_minutes":-60}"#,
            ],
        ),
    ]
}

#[test]
fn no_bytes_make_a_parser_panic_or_read_what_it_does_not_write() {
    let inputs: usize =
        std::env::var("BACKUP_FUZZ").ok().and_then(|count| count.parse().ok()).unwrap_or(20_000);
    let mut total = 0;
    for target in TARGETS {
        let (seeds, mut dice) = ((target.seeds)(), Dice(19));
        for number in 0..inputs {
            let input = if number < seeds.len() { seeds[number].clone() } else { input(&seeds, &mut dice) };
            let ran = catch_unwind(AssertUnwindSafe(|| (target.run)(&input)));
            assert!(ran.is_ok(), "{}, input {number}: {input:02x?}", target.name);
        }
        total += inputs;
    }
    for (name, run, seeds) in texts() {
        let (seeds, mut dice): (Vec<Vec<u8>>, _) =
            (seeds.into_iter().map(|text| text.into()).collect(), Dice(20));
        for number in 0..inputs {
            let input = if number < seeds.len() { seeds[number].clone() } else { input(&seeds, &mut dice) };
            let text = String::from_utf8_lossy(&input);
            let ran = catch_unwind(AssertUnwindSafe(|| run(&text)));
            assert!(ran.is_ok(), "{name}, input {number}: {text:?}");
        }
        total += inputs;
    }
    println!(
        "{total} inputs for {} parsers of stored bytes and {} of what a user writes",
        TARGETS.len(),
        texts().len()
    );
}

/// Patterns reach a matcher of somebody else's, with what a user wrote.
#[test]
fn no_pattern_makes_a_restore_panic() {
    use std::sync::Arc;

    use backup_core::{Credential, MemorySource, Options, Repository, testkit};

    let key = Credential::raw_key([7; 32]);
    let store = Arc::new(backup_core::store::MemoryStore::new());
    futures_executor::block_on(async {
        let repo =
            Repository::init_with(store, &key, testkit::environment(1), Options::default()).await.unwrap();
        let source = MemorySource::new("memory:patterns");
        source.put_folder("root", None, "root");
        source.put_file("a", Some("root"), "a[b]{c}.txt", "a");
        let id = repo.backup(&source).run().await.unwrap().snapshot;
        let seeds: Vec<Vec<u8>> = ["**/*.txt", "a[!b-z]{x,y,{z}}?", "[[]]", "{{,},}", "\\"]
            .map(|text| text.as_bytes().to_vec())
            .to_vec();
        let mut dice = Dice(21);
        for number in 0..1_000 {
            let text = String::from_utf8_lossy(&input(&seeds, &mut dice)).into_owned();
            let sink = MemorySink::new();
            let run = if number % 2 == 0 {
                repo.restore(id, &sink).only(text)
            } else {
                repo.restore(id, &sink).except(text)
            };
            let _ = run.run().await;
        }
    });
}
