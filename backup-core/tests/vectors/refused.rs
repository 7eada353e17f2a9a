//! What is done to the repositories, and what has to come of it: the lines of `refused.txt` (README.md).
//!
//! Expectations are written here by hand, from `docs/format.md`; nothing is taken from what the engine does.

use std::collections::BTreeMap;

use backup_core::Head;

use super::{Objects, Result};

/// What must come of it: the engine's `ErrorKind` number and the reader's class.
#[derive(Clone, Copy)]
struct Expected(u32, &'static str);

const FINE: Expected = Expected(0, "-");
const NO_KEY: Expected = Expected(12, "WrongKey");
const WRONG_KEY: Expected = Expected(20, "WrongKey");
const CORRUPT: Expected = Expected(21, "Damaged");
const NEWER: Expected = Expected(22, "TooNew");
const ROLLED_BACK: Expected = Expected(23, "RolledBack");
const NOT_A_REPOSITORY: Expected = Expected(24, "NotARepository");
const MISSING: Expected = Expected(25, "Missing");
/// The engine takes the slot for another credential's; the reader refuses its cost fields.
const OTHER_TYPE: Expected = Expected(20, "Damaged");

/// Fields of the header of sealed objects (`docs/format.md` section 4): where, what is done there, what comes of it.
const HEADER: [(&str, Change, Expected); 15] = [
    ("magic", Change::Xor(0, "01"), CORRUPT),
    ("version 2", Change::Set(4, "0200"), NEWER),
    ("version 257", Change::Set(4, "0101"), NEWER),
    ("version 0", Change::Set(4, "0000"), CORRUPT),
    ("kind", Change::Xor(6, "01"), CORRUPT),
    ("class", Change::Xor(7, "01"), CORRUPT),
    ("repository id", Change::Xor(8, "80"), CORRUPT),
    ("epoch", Change::Xor(24, "02"), NO_KEY),
    ("wrap type", Change::Xor(28, "02"), NEWER),
    ("wrap length", Change::Xor(30, "01"), CORRUPT),
    ("wrap nonce", Change::Xor(55, "01"), CORRUPT),
    ("wrapped key", Change::Xor(56, "01"), CORRUPT),
    ("tag of the wrapped key", Change::Xor(103, "80"), CORRUPT),
    ("salt", Change::Xor(104, "01"), CORRUPT),
    ("commitment", Change::Xor(167, "01"), CORRUPT),
];

#[derive(Clone, Copy)]
enum Change {
    Xor(usize, &'static str),
    Set(usize, &'static str),
    Cut(usize),
    Append(&'static str),
}

impl Change {
    fn of(self, object: &str) -> String {
        match self {
            Self::Xor(at, bytes) => format!("xor {object} {at} {bytes}"),
            Self::Set(at, bytes) => format!("set {object} {at} {bytes}"),
            Self::Cut(len) => format!("cut {object} {len}"),
            Self::Append(bytes) => format!("append {object} {bytes}"),
        }
    }
}

/// The lines, as they are collected.
#[derive(Default)]
struct Cases {
    text: String,
}

impl Cases {
    fn add(&mut self, name: &str, repository: &str, operations: &[String], expected: Expected) {
        let Expected(kind, class) = expected;
        self.text += &format!("{name} | {repository} | {} | {kind} | {class}\n", operations.join(", "));
    }
}

/// A repository to work on.
struct Subject<'a> {
    name: &'static str,
    objects: &'a Objects,
    head: Head,
}

impl Subject<'_> {
    /// Objects below a prefix, in the order of names.
    fn below(&self, prefix: &str) -> Vec<&str> {
        self.objects.keys().map(String::as_str).filter(|name| name.starts_with(prefix)).collect()
    }

    fn first(&self, prefix: &str) -> Result<&str> {
        self.below(prefix).first().copied().ok_or_else(|| format!("{} has no {prefix}", self.name).into())
    }

    fn second(&self, prefix: &str) -> Result<&str> {
        self.below(prefix).get(1).copied().ok_or_else(|| format!("{} has one {prefix}", self.name).into())
    }

    /// A pack of class 1 data or 2 tree.
    fn pack(&self, class: u8) -> Result<&str> {
        let mut packs = self.objects.iter().filter(|(name, _)| name.starts_with("pack/"));
        let found = packs.find(|(_, bytes)| bytes.get(7) == Some(&class));
        found.map(|(name, _)| name.as_str()).ok_or_else(|| "no such pack".into())
    }

    fn len(&self, object: &str) -> usize {
        self.objects.get(object).map_or(0, |bytes| bytes.len())
    }
}

/// `refused.txt`.
pub(super) fn cases(repositories: &BTreeMap<&'static str, (Objects, Head)>) -> Result<String> {
    let subject = |wanted: &'static str| {
        let (name, (objects, head)) = repositories.get_key_value(wanted).ok_or("no such repository")?;
        Ok::<_, Box<dyn std::error::Error>>(Subject { name, objects, head: *head })
    };
    let (history, passphrase) = (subject("history")?, subject("passphrase")?);
    let mut cases = Cases::default();
    slots(&mut cases, &history, &passphrase)?;
    sealed(&mut cases, &history, &subject("folded")?)?;
    packs(&mut cases, &history)?;
    log(&mut cases, &history, &subject("values")?)?;
    places(&mut cases, &history, &subject("values")?)?;
    Ok(cases.text)
}

/// Key slots and credentials.
fn slots(cases: &mut Cases, raw: &Subject<'_>, passphrase: &Subject<'_>) -> Result<()> {
    use Change::{Append, Cut, Set, Xor};
    let common = |last: usize| {
        [
            ("magic", Xor(0, "20"), CORRUPT),
            ("version 2", Set(4, "0200"), NEWER),
            ("version 0", Set(4, "0000"), CORRUPT),
            ("kind", Xor(6, "02"), CORRUPT),
            ("unknown type", Set(7, "03"), NEWER),
            ("repository id", Xor(23, "01"), CORRUPT),
            ("salt", Xor(36, "01"), WRONG_KEY),
            ("nonce", Xor(91, "01"), CORRUPT),
            ("commitment", Xor(92, "01"), WRONG_KEY),
            ("sealed keyring", Xor(124, "01"), CORRUPT),
            ("tag", Xor(last, "80"), CORRUPT),
            ("cut to nothing", Cut(0), CORRUPT),
            ("cut in its header", Cut(123), CORRUPT),
            ("cut after its header", Cut(124), CORRUPT),
            ("cut by a byte", Cut(last), CORRUPT),
            ("a byte more", Append("00"), CORRUPT),
        ]
    };
    for subject in [raw, passphrase] {
        let slot = subject.first("keys/")?;
        for (what, change, expected) in common(subject.len(slot) - 1) {
            cases.add(&format!("slot: {what}"), subject.name, &[change.of(slot)], expected);
        }
    }
    let slot = passphrase.first("keys/")?;
    for (what, change, expected) in [
        ("type of a raw key", Set(7, "02"), OTHER_TYPE),
        ("another cost", Set(24, "41000000"), WRONG_KEY),
        ("memory beyond the limit", Set(24, "01004000"), CORRUPT),
        ("memory of 4 TiB", Set(24, "ffffffff"), CORRUPT),
        ("no memory", Set(24, "00000000"), CORRUPT),
        ("too little memory for its lanes", Set(32, "09000000"), CORRUPT),
        ("passes beyond the limit", Set(28, "11000000"), CORRUPT),
        ("endless passes", Set(28, "ffffffff"), CORRUPT),
        ("no pass", Set(28, "00000000"), CORRUPT),
        ("lanes beyond the limit", Set(32, "41000000"), CORRUPT),
        ("endless lanes", Set(32, "ffffffff"), CORRUPT),
        ("no lane", Set(32, "00000000"), CORRUPT),
    ] {
        cases.add(&format!("slot: {what}"), passphrase.name, &[change.of(slot)], expected);
    }
    for (what, key) in [
        ("another passphrase", "passphrase pass%20phrase%20e"),
        ("passphrase in another normal form", "passphrase pass%20phrase%20e%CC%81"),
        ("empty passphrase", "passphrase "),
        ("raw key for a passphrase", "raw 0707070707070707070707070707070707070707070707070707070707070707"),
    ] {
        cases.add(&format!("key: {what}"), passphrase.name, &[format!("key {key}")], WRONG_KEY);
    }
    let slot = raw.first("keys/")?;
    cases.add("slot: type of a passphrase", raw.name, &[Set(7, "01").of(slot)], CORRUPT);
    cases.add("slot: cost in a raw key's", raw.name, &[Set(24, "40000000").of(slot)], CORRUPT);
    let zeros = format!("key raw {}", "00".repeat(32));
    cases.add("key: another raw key", raw.name, &[zeros], WRONG_KEY);
    cases.add("key: passphrase for a raw key", raw.name, &["key passphrase x".to_owned()], WRONG_KEY);
    let new = "keys/00000000000000000000000000000000";
    cases.add("slot: renamed", raw.name, &[format!("rename {slot} {new}")], CORRUPT);
    cases.add("slot: gone", raw.name, &[format!("remove {slot}")], NOT_A_REPOSITORY);
    let junk = format!("put {new} 00");
    cases.add("slot: one more that does not parse", raw.name, &[junk], FINE);
    let foreign = passphrase.first("keys/")?;
    let copied = format!("copy {} {foreign} {foreign}", passphrase.name);
    cases.add(
        "slot: one more of another repository, for another key",
        raw.name,
        std::slice::from_ref(&copied),
        FINE,
    );
    let only = [copied, format!("remove {slot}")];
    cases.add("slot: only one of another repository, for another key", raw.name, &only, WRONG_KEY);
    Ok(())
}

/// Every field of every kind of sealed object.
fn sealed(cases: &mut Cases, history: &Subject<'_>, folded: &Subject<'_>) -> Result<()> {
    use Change::{Append, Cut, Xor};
    let every = |cases: &mut Cases,
                 subject: &Subject<'_>,
                 what: &str,
                 object: &str,
                 turn: fn(Expected) -> Expected| {
        let last = subject.len(object) - 1;
        let rest = [
            ("first byte of its part", Xor(168, "01"), CORRUPT),
            ("last byte", Xor(last, "80"), CORRUPT),
            ("cut to nothing", Cut(0), CORRUPT),
            ("cut in its header", Cut(167), CORRUPT),
            ("cut after its header", Cut(168), CORRUPT),
            ("cut by a byte", Cut(last), CORRUPT),
            ("a byte more", Append("00"), CORRUPT),
        ];
        for (field, change, expected) in HEADER.into_iter().chain(rest) {
            cases.add(&format!("{what}: {field}"), subject.name, &[change.of(object)], turn(expected));
        }
    };
    every(cases, history, "genesis", "log/0000000000000000", |expected| expected);
    every(cases, history, "log entry", "log/0000000000000001", |expected| expected);
    every(cases, history, "newest log entry", "log/0000000000000002", |expected| expected);
    // What the log or a segment names is held against its hash there before anything in it is looked at.
    every(cases, history, "segment", history.first("segment/")?, |_| CORRUPT);
    every(cases, history, "snapshot", history.first("snapshot/")?, |_| CORRUPT);
    every(cases, history, "data pack", history.pack(1)?, |_| CORRUPT);
    every(cases, history, "tree pack", history.pack(2)?, |_| CORRUPT);
    let checkpoint = folded.first("checkpoint/")?;
    every(cases, folded, "checkpoint", checkpoint, |expected| expected);
    cases.add("checkpoint: gone", folded.name, &[format!("remove {checkpoint}")], FINE);
    let new = "checkpoint/0000000000000040";
    let renamed = format!("rename {checkpoint} checkpoint/0000000000000041");
    assert_eq!(new, checkpoint, "the checkpoint has another number");
    cases.add("checkpoint: renamed", folded.name, &[renamed], CORRUPT);
    let junk = "put checkpoint/00000000000000ff 00".to_owned();
    cases.add("checkpoint: one more that does not parse", folded.name, &[junk], FINE);
    Ok(())
}

/// Frames, directory and footer of packs.
fn packs(cases: &mut Cases, subject: &Subject<'_>) -> Result<()> {
    for (what, class) in [("data pack", 1), ("tree pack", 2)] {
        let pack = subject.pack(class)?;
        let len = subject.len(pack);
        // The footer is 32 bytes; before it lie the directory's padding and tag.
        for (part, at) in [("footer", len - 32), ("tag of the footer", len - 1), ("directory", len - 33)] {
            cases.add(
                &format!("{what}: {part}"),
                subject.name,
                &[format!("xor {pack} {at} 10")],
                Expected(21, "Damaged"),
            );
        }
        for (part, to) in [("footer", len - 32), ("directory", len - 33)] {
            cases.add(
                &format!("{what}: cut before its {part}"),
                subject.name,
                &[format!("cut {pack} {to}")],
                CORRUPT,
            );
        }
    }
    Ok(())
}

/// Order, completeness and memory of the log.
fn log(cases: &mut Cases, subject: &Subject<'_>, other: &Subject<'_>) -> Result<()> {
    let entry = |number: u64| format!("log/{number:016x}");
    let (name, head) = (subject.name, subject.head);
    let newest = entry(head.number);
    let seen = |number: u64, hash: &dyn std::fmt::Display| format!("head {number} {hash}");
    let remembered = seen(head.number, &head.hash);
    cases.add("log: as remembered", name, std::slice::from_ref(&remembered), FINE);
    cases.add("log: newest entry gone", name, &[format!("remove {newest}")], FINE);
    cases.add(
        "log: newest entry gone, remembered",
        name,
        &[format!("remove {newest}"), remembered],
        ROLLED_BACK,
    );
    cases.add("log: head beyond the end", name, &[seen(head.number + 1, &head.hash)], ROLLED_BACK);
    cases.add("log: head that was another one", name, &[seen(head.number, &"00".repeat(32))], ROLLED_BACK);
    cases.add("log: head of another number", name, &[seen(1, &head.hash)], ROLLED_BACK);
    cases.add("log: genesis gone", name, &[format!("remove {}", entry(0))], MISSING);
    cases.add("log: entry gone", name, &[format!("remove {}", entry(1))], MISSING);
    cases.add("log: entries swapped", name, &[format!("swap {} {newest}", entry(1))], CORRUPT);
    cases.add("log: genesis swapped", name, &[format!("swap {} {}", entry(0), entry(1))], CORRUPT);
    cases.add(
        "log: newest entry renamed",
        name,
        &[format!("rename {newest} {}", entry(head.number + 1))],
        MISSING,
    );
    cases.add(
        "log: entry repeated at the end",
        name,
        &[format!("copy {name} {newest} {}", entry(3))],
        CORRUPT,
    );
    cases.add(
        "log: genesis repeated at the end",
        name,
        &[format!("copy {name} {} {}", entry(0), entry(3))],
        CORRUPT,
    );
    cases.add("log: far entry that is none", name, &[format!("put {} 00", entry(255))], MISSING);
    cases.add("log: next entry that is none", name, &[format!("put {} 00", entry(3))], CORRUPT);
    for (what, number) in [("genesis", 0), ("entry", 1)] {
        let operation = format!("copy {} {} {}", other.name, entry(number), entry(number));
        cases.add(&format!("log: {what} of another repository"), name, &[operation], CORRUPT);
    }
    let operations: Vec<_> =
        (0..2).map(|n| format!("copy {} {} {}", other.name, entry(n), entry(n))).collect();
    cases.add("log: of another repository", name, &operations, CORRUPT);
    Ok(())
}

/// Objects that are gone, under another name, or another repository's.
fn places(cases: &mut Cases, subject: &Subject<'_>, other: &Subject<'_>) -> Result<()> {
    let name = subject.name;
    let (slot, foreign) = (subject.first("keys/")?, other.first("keys/")?);
    let copied = format!("copy {} {foreign} {foreign}", other.name);
    cases.add("slot: one more of another repository", name, std::slice::from_ref(&copied), FINE);
    cases.add("slot: only one of another repository", name, &[copied, format!("remove {slot}")], CORRUPT);
    let objects = [
        ("segment", subject.first("segment/")?, subject.second("segment/")?, other.first("segment/")?),
        ("snapshot", subject.first("snapshot/")?, subject.second("snapshot/")?, other.first("snapshot/")?),
        ("data pack", subject.pack(1)?, subject.pack(2)?, other.pack(1)?),
        ("tree pack", subject.pack(2)?, subject.pack(1)?, other.pack(2)?),
    ];
    for (what, object, second, foreign) in objects {
        let mut add = |how: &str, operation: String, expected| {
            cases.add(&format!("{what}: {how}"), name, &[operation], expected);
        };
        add("gone", format!("remove {object}"), MISSING);
        // An id of the right form that nothing else has.
        let (place, last) = object.split_at(object.len() - 1);
        let new = format!("{place}{}", if last == "0" { "1" } else { "0" });
        add("renamed", format!("rename {object} {new}"), MISSING);
        add("swapped with another", format!("swap {object} {second}"), CORRUPT);
        add("another repository's", format!("copy {} {foreign} {object}", other.name), CORRUPT);
        add("a log entry in its place", format!("copy {name} log/0000000000000001 {object}"), CORRUPT);
    }
    Ok(())
}
