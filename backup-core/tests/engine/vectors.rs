//! The golden vectors of `tests/vectors` (see README.md there): every repository reads as it always did, everything
//! that must be refused is refused for the reason that is written down, and the generator still makes the same bytes.

#[path = "../vectors/generate.rs"]
mod generate;

use std::collections::BTreeMap;
use std::path::PathBuf;

use backup_core::{Head, Key, VerifyLevel};
use bytes::Bytes;
use futures_executor::block_on;

use super::*;
use generate::Objects;

fn file(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text(name: &str) -> String {
    String::from_utf8(file(name)).unwrap()
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> &'a [u8] {
    rest.split_off(..len).unwrap()
}

fn unpack(file: &[u8]) -> Objects {
    let (mut rest, mut objects) = (file, Objects::new());
    while !rest.is_empty() {
        let len = u16::from_le_bytes(take(&mut rest, 2).try_into().unwrap());
        let name = String::from_utf8(take(&mut rest, len.into()).to_vec()).unwrap();
        let len = u32::from_le_bytes(take(&mut rest, 4).try_into().unwrap());
        objects.insert(name, Bytes::copy_from_slice(take(&mut rest, len as usize)));
    }
    objects
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn unquote(text: &str) -> Vec<u8> {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.extend_from_slice(&unhex(&part[..2]));
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    bytes
}

/// `passphrase TEXT` or `raw HEX`.
fn credential(text: &str) -> Credential {
    match text.split_once(' ').unwrap() {
        ("passphrase", text) => Credential::passphrase(unquote(text)),
        ("raw", hex) => Credential::raw_key(unhex(hex).try_into().unwrap()),
        _ => panic!("not a key: {text}"),
    }
}

/// A vector's repository, and how to open it.
#[derive(Clone)]
struct Vector {
    objects: Objects,
    credential: Credential,
    head: Option<Head>,
}

impl Vector {
    fn load(name: &str) -> Self {
        let listing = text(&format!("{name}.txt"));
        let key = listing.lines().next().unwrap().strip_prefix("key ").unwrap();
        let objects = unpack(&file(&format!("{name}.objects")));
        Self { objects, credential: credential(key), head: None }
    }

    fn open(&self) -> backup_core::Result<Repository> {
        let store = MemoryStore::new();
        for (name, bytes) in &self.objects {
            store.overwrite(Key::new(name.clone()).unwrap(), bytes.clone());
        }
        let mut options = Options::default();
        options.known_head = self.head;
        block_on(Repository::open_with(Arc::new(store), &self.credential, fresh_environment(), options))
    }

    /// Does what one operation of `refused.txt` says.
    fn apply(&mut self, operation: &str) {
        let words: Vec<_> = operation.split(' ').collect();
        let object = |name: &str| self.objects.get(name).unwrap_or_else(|| panic!("no {name}")).to_vec();
        let number = |text: &str| -> usize { text.parse().unwrap() };
        match words.as_slice() {
            [how @ ("xor" | "set"), name, at, bytes] => {
                let (mut changed, at) = (object(name), number(at));
                for (old, new) in changed[at..].iter_mut().zip(unhex(bytes)) {
                    *old = if *how == "xor" { *old ^ new } else { new };
                }
                self.objects.insert((*name).to_owned(), changed.into());
            }
            ["cut", name, len] => {
                let cut = object(name)[..number(len)].to_vec();
                self.objects.insert((*name).to_owned(), cut.into());
            }
            ["append", name, bytes] => {
                let longer = [object(name), unhex(bytes)].concat();
                self.objects.insert((*name).to_owned(), longer.into());
            }
            ["put", name, bytes] => drop(self.objects.insert((*name).to_owned(), unhex(bytes).into())),
            ["remove", name] => drop(self.objects.remove(*name).unwrap()),
            ["rename", name, new] => {
                let bytes = self.objects.remove(*name).unwrap();
                self.objects.insert((*new).to_owned(), bytes);
            }
            ["swap", one, two] => {
                let (first, second) = (object(one), object(two));
                self.objects.insert((*one).to_owned(), second.into());
                self.objects.insert((*two).to_owned(), first.into());
            }
            ["copy", repository, name, new] => {
                let bytes = Self::load(repository).objects.remove(*name).unwrap();
                self.objects.insert((*new).to_owned(), bytes);
            }
            ["key", ..] => self.credential = credential(operation.strip_prefix("key ").unwrap()),
            ["head", number, hash] => {
                self.head = Some(Head::new(number.parse().unwrap(), hash.parse().unwrap()))
            }
            _ => panic!("not an operation: {operation}"),
        }
    }

    /// Number of the error that it is refused with, at the latest by a full check; 0 if nothing is wrong.
    fn outcome(&self) -> u32 {
        let report = match self.open() {
            Ok(repository) => block_on(repository.verify(VerifyLevel::EveryByte).run()),
            Err(error) => return error.kind().code(),
        };
        let findings = match report {
            Ok(report) => report.findings,
            Err(error) => return error.kind().code(),
        };
        let kinds: std::collections::BTreeSet<_> =
            findings.iter().map(|finding| finding.error.kind().code()).collect();
        assert!(kinds.len() <= 1, "findings of several kinds: {findings:?}");
        kinds.first().copied().unwrap_or(0)
    }
}

#[test]
fn every_golden_repository_reads_as_it_always_did() {
    for name in ["passphrase", "history", "values", "contents", "folder", "incomplete", "folded"] {
        let vector = Vector::load(name);
        assert_eq!(vector.outcome(), 0, "{name}");
        let listing = text(&format!("{name}.txt"));
        let found = generate::describe(&vector.open().unwrap()).unwrap();
        assert_eq!(found, listing.split_once('\n').unwrap().1, "{name}");
    }
}

#[test]
fn everything_that_must_be_refused_is_refused_for_its_reason() {
    let (mut wrong, mut refused, mut fine, mut names) = (Vec::new(), 0, 0, BTreeMap::new());
    for line in text("refused.txt").lines() {
        let fields: Vec<_> = line.split(" | ").collect();
        let [name, repository, operations, kind, _] = fields.as_slice() else { panic!("not a case: {line}") };
        assert_eq!(
            names.insert((name.to_string(), repository.to_string()), ()),
            None,
            "{name} is there twice"
        );
        let mut vector = Vector::load(repository);
        operations.split(", ").for_each(|operation| vector.apply(operation));
        let (expected, found): (u32, _) = (kind.parse().unwrap(), vector.outcome());
        if expected == 0 {
            fine += 1
        } else {
            refused += 1
        }
        if found != expected {
            wrong.push(format!("{name} ({repository}): {found} instead of {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(refused > 200 && fine < 40, "{refused} refused, {fine} fine");
}

/// Bug: a change of an encoding goes unnoticed as long as writer and reader change alike.
#[test]
fn the_generator_still_makes_the_committed_bytes() {
    for (name, bytes) in generate::files().unwrap() {
        assert!(file(&name) == bytes, "{name} differs from what is committed: see tests/vectors/README.md");
    }
}
