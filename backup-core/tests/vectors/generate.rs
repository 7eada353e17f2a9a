//! Makes the golden vectors of this folder (see README.md): repositories, what is in them, and how they are refused.
//!
//! Used by `examples/vectors.rs`, which writes the files, and by `tests/engine/vectors.rs`, which holds the committed
//! files against what is made anew. It never reads a file. Start at [`files`].

#[path = "refused.rs"]
mod refused;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use backup_core::store::MemoryStore;
use backup_core::testkit::{FixedClock, LockingStore, SeededEntropy};
use backup_core::{
    Attributes, Browser, Credential, Env, ErrorKind, InlineWorkers, Item, ItemId, ItemKind, KdfParams,
    MemorySource, Options, ReadFault, Repository, SnapshotState, Store, Times, Timestamp, Value,
};
use bytes::Bytes;
use futures_executor::block_on;

pub(crate) type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Objects of a repository by name.
pub(crate) type Objects = BTreeMap<String, Bytes>;

/// What opens a repository, as the files write it.
#[derive(Clone, Copy)]
enum Key {
    Passphrase(&'static str),
    Raw(u8),
}

impl Key {
    fn credential(self) -> Credential {
        match self {
            Self::Passphrase(text) => Credential::passphrase(text),
            Self::Raw(byte) => Credential::raw_key([byte; 32]),
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Passphrase(text) => write!(f, "passphrase {}", quote(text.as_bytes())),
            Self::Raw(byte) => write!(f, "raw {}", hex(&[*byte; 32])),
        }
    }
}

/// Puts into a repository what one vector shows.
type Fill = fn(&World) -> Result<()>;

/// Every vector file by name.
pub(crate) fn files() -> Result<BTreeMap<String, Vec<u8>>> {
    let makers: [(&'static str, Key, Fill); 10] = [
        ("passphrase", Key::Passphrase("pass phrase \u{e9}"), passphrase),
        ("history", Key::Raw(7), history),
        ("values", Key::Raw(7), values),
        ("contents", Key::Raw(7), contents),
        ("folder", Key::Raw(7), folder),
        ("incomplete", Key::Raw(7), incomplete),
        ("folded", Key::Raw(7), folded),
        ("pruned", Key::Raw(7), pruned),
        ("locked", Key::Raw(7), locked),
        ("protected", Key::Raw(7), protected),
    ];
    let (mut files, mut repositories) = (BTreeMap::new(), BTreeMap::new());
    for (seed, (name, key, fill)) in (1u64..).zip(makers) {
        let world = World::new(seed, key, name == "locked")?;
        fill(&world)?;
        let objects = world.objects()?;
        files.insert(format!("{name}.objects"), pack(&objects)?);
        files.insert(format!("{name}.txt"), format!("key {key}\n{}", describe(&world.repository)?).into());
        repositories.insert(name, (objects, world.repository.head()));
    }
    files.insert("refused.txt".to_owned(), refused::cases(&repositories)?.into());
    Ok(files)
}

/// Objects as one file: per object, in the order of names, its name as `bytes16` and its bytes as `bytes32`.
fn pack(objects: &Objects) -> Result<Vec<u8>> {
    let mut file = Vec::new();
    for (name, bytes) in objects {
        file.extend_from_slice(&u16::try_from(name.len())?.to_le_bytes());
        file.extend_from_slice(name.as_bytes());
        file.extend_from_slice(&u32::try_from(bytes.len())?.to_le_bytes());
        file.extend_from_slice(bytes);
    }
    Ok(file)
}

/// A repository in the making.
struct World {
    store: MemoryStore,
    /// In the place of the other, for the vector that needs it.
    locking: LockingStore,
    clock: FixedClock,
    repository: Repository,
}

impl World {
    fn new(seed: u64, key: Key, locks: bool) -> Result<Self> {
        let clock = FixedClock::new(Timestamp::new(1_767_225_600, 0));
        let (store, locking) = (MemoryStore::new(), LockingStore::new(Arc::new(clock.clone())));
        let place: Arc<dyn Store> = if locks { Arc::new(locking.clone()) } else { Arc::new(store.clone()) };
        let entropy = SeededEntropy::new(seed);
        let env = Env::new(Arc::new(clock.clone()), Arc::new(entropy), Arc::new(InlineWorkers::new()));
        let mut options = Options::default();
        options.kdf = KdfParams::dangerous_fast();
        let credential = key.credential();
        let init = Repository::init_with(place, &credential, env, options);
        Ok(Self { repository: block_on(init)?, store, locking, clock })
    }

    fn objects(&self) -> Result<Objects> {
        let mut objects: Objects =
            self.store.objects().into_iter().map(|(key, bytes)| (key.as_str().to_owned(), bytes)).collect();
        for key in self.locking.locks().into_keys() {
            objects.insert(key.as_str().to_owned(), block_on(self.locking.read(&key, None))?);
        }
        Ok(objects)
    }

    /// Backs up an hour later; the snapshot must be whole.
    fn backup(&self, source: &MemorySource) -> Result<()> {
        match self.try_backup(source)? {
            SnapshotState::Complete => Ok(()),
            _ => Err("the snapshot is incomplete".into()),
        }
    }

    fn try_backup(&self, source: &MemorySource) -> Result<SnapshotState> {
        self.clock.advance(std::time::Duration::from_millis(3_600_001));
        Ok(block_on(self.repository.backup(source).label("made by", "examples/vectors.rs").run())?.state)
    }
}

fn source(name: &str) -> MemorySource {
    MemorySource::new(format!("memory:{name}")).with_concurrency(1)
}

/// Bytes that do not compress.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn passphrase(world: &World) -> Result<()> {
    let source = source("passphrase");
    source.put_folder("1", None, "letters");
    source.put_file("2", Some("1"), "hello.txt", "Dear reader");
    world.backup(&source)
}

/// Two states of a collection: one item added, one changed, one renamed and moved, one folder removed with its content.
fn history(world: &World) -> Result<()> {
    let source = source("history");
    source.put_folder("root", None, "root");
    source.put_folder("docs", Some("root"), "docs");
    source.put_folder("old", Some("root"), "old");
    source.put_file("a", Some("docs"), "a.txt", "alpha");
    source.put_file("b", Some("docs"), "b.txt", noise(600, 1));
    source.put_file("c", Some("old"), "c.txt", "gamma");
    world.backup(&source)?;
    source.put_file("a", Some("docs"), "a.txt", "alpha, second version");
    source.put_file("d", Some("docs"), "d.txt", "delta");
    source.edit("b", |item| {
        item.name = "beta.txt".into();
        item.parent = Some("root".into());
    });
    source.remove("old");
    world.backup(&source)
}

/// Every type of value, names and ids of any bytes, times before 1970, kinds of items, streams beside `content`.
fn values(world: &World) -> Result<()> {
    let time = Value::Time(Timestamp::new(-62_135_596_800, 999_999_999));
    let map: Attributes = [
        ("false".into(), Value::Bool(false)),
        ("true".into(), Value::Bool(true)),
        ("int".into(), Value::Int(i64::MIN)),
        ("float".into(), Value::Float(-0.0)),
        ("nan".into(), Value::Float(f64::from_bits(0x7ff8_0000_0000_0001))),
        ("text".into(), Value::Text("na\u{ef}ve \u{1f4be}\n".into())),
        ("bytes".into(), Value::Bytes(vec![0, 0xff, 0x80])),
        ("time".into(), time),
        ("".into(), Value::Text(String::new())),
    ]
    .into();
    // Lists and maps of nesting 0 to 15, so the innermost values have 16.
    let nested = (0..15).fold(Value::Map(map.clone()), |value, _| Value::List(vec![value]));
    let mut all = Item::new("all", Some("top".into()), "all values", ItemKind::from_number(0x8001));
    all.times = Times::new(Some(Timestamp::new(-7, 9)), Some(Timestamp::new(1 << 40, 0)));
    all.attributes = map.clone();
    all.attributes.insert("list".into(), Value::List(map.values().cloned().collect()));
    all.attributes.insert("nested 16 deep".into(), nested);
    all.attributes.insert("empty list".into(), Value::List(Vec::new()));
    all.attributes.insert("empty map".into(), Value::Map(Attributes::new()));
    all.details = map;
    let source = source("values");
    source.put_folder("top", None, "top");
    source.put(all, [("content", &b"main"[..]), ("version/1.0", b""), ("\u{e9}", b"other")]);
    let parent = || Some(ItemId::from("top"));
    let names: [(&[u8], &[u8]); 6] = [
        (b"latin", b"caf\xe9"),
        (b"zero\0\x01", b"a\0b"),
        (b"\xff\xfe", b"a"),
        (b"longer", b"a\0"),
        (b"twin 1", b"twin"),
        (b"twin 2", b"twin"),
    ];
    for (id, name) in names {
        source.put(Item::new(id, parent(), name, ItemKind::FILE), [("content", name.to_vec())]);
    }
    let kinds =
        [ItemKind::MESSAGE, ItemKind::EVENT, ItemKind::CONTACT, ItemKind::DIRECTORY_OBJECT, ItemKind::OTHER];
    for kind in kinds {
        let mut item = Item::new(format!("kind {}", kind.number()), parent(), kind.to_string(), kind);
        item.details.insert("subject".into(), Value::Text(format!("a {kind}")));
        source.put(item, [("mime", "To: you\r\n\r\n")]);
    }
    source.put(Item::new("package", parent(), "package", ItemKind::PACKAGE), [("", ""); 0]);
    source.put_file("page", Some("package"), "page", "in a package");
    source.put_folder("second top", None, "second top");
    world.backup(&source)
}

/// Streams of no byte, of one chunk, of several chunks, and of so many that they are in a chunk list.
///
/// The noise of these numbers, repeated, has a cut point under the chunking key of this repository, so each round of
/// 128 KiB and a little is one chunk, equal to the one before: long streams, and hardly a byte to store.
fn contents(world: &World) -> Result<()> {
    let pattern = |seed: u64, len: usize| noise(256, seed).repeat(len / 256);
    let several = [pattern(4_366, 400_000), pattern(4_375, 300_000), noise(100, 5)].concat();
    let many = [pattern(4_366, 5_000_000), pattern(4_702, 4_500_000), noise(1_000, 6)].concat();
    let source = source("contents");
    source.put_folder("top", None, "top");
    source.put_file("empty", Some("top"), "empty", "");
    source.put_file("one", Some("top"), "one", noise(1_500, 7));
    source.put_file("several", Some("top"), "several", several);
    source.put_file("many", Some("top"), "many", many);
    world.backup(&source)
}

/// A folder as the folder source describes one: ids are paths, links, modes, owners, a sparse file.
fn folder(world: &World) -> Result<()> {
    let item = |id: &[u8], name: &[u8], kind: ItemKind, mode: i64| {
        let parent = match id {
            b"." => None,
            _ => Some(match id.iter().rposition(|byte| *byte == b'/') {
                Some(slash) => id.get(..slash).unwrap_or_default().into(),
                None => ItemId::from("."),
            }),
        };
        let mut item = Item::new(id, parent, name, kind);
        item.times = Times::new(None, Some(Timestamp::new(1_700_000_000 + mode, 123_456_789)));
        item.attributes = [("mode", mode), ("uid", 1_000), ("gid", 100)]
            .map(|(name, n)| (name.to_owned(), Value::Int(n)))
            .into();
        item
    };
    let file = |id: &[u8], name: &[u8], mode: i64, content: Vec<u8>| {
        let mut item = item(id, name, ItemKind::FILE, mode);
        item.tag = format!("{}|1700000000.123456789|1700000000.123456789|{mode}|2049", content.len()).into();
        (item, content)
    };
    let link = |id: &[u8], target: &[u8]| {
        let mut item = item(id, id, ItemKind::SYMLINK, 0o777);
        item.attributes.insert("link_target".into(), Value::Bytes(target.to_vec()));
        item
    };
    let none = std::iter::empty::<(&str, Bytes)>;
    let source = source("folder").without_delta();
    source.put(item(b".", b"tree", ItemKind::FOLDER, 0o755), none());
    source.put(item(b"sub", b"sub", ItemKind::FOLDER, 0o2750), none());
    source.put(item(b"sub/empty", b"empty", ItemKind::FOLDER, 0o700), none());
    let (mut first, content) = file(b"a.txt", b"a.txt", 0o640, b"shared by two names".to_vec());
    first.attributes.insert("links".into(), Value::Int(2));
    source.put(first, [("content", content)]);
    let mut second = item(b"sub/hard link", b"hard link", ItemKind::FILE, 0o640);
    second.attributes.insert("links".into(), Value::Int(2));
    second.hard_link = Some("a.txt".into());
    source.put(second, none());
    let (mut sparse, content) = file(b"sparse", b"sparse", 0o600, vec![0; 100_000]);
    sparse.attributes.insert("sparse".into(), Value::Bool(true));
    source.put(sparse, [("content", content)]);
    let (program, content) = file(b"sub/run me", b"run me", 0o4755, b"#!/bin/sh\n".to_vec());
    source.put(program, [("content", content)]);
    let (latin, content) = file(b"caf\xe9\n", b"caf\xe9\n", 0o444, Vec::new());
    source.put(latin, [("content", content)]);
    source.put(link(b"to nowhere", b"../not/there\xff"), none());
    source.put(link(b"to sub", b"sub"), none());
    world.backup(&source)
}

/// A snapshot with problems, and after it what an interrupted run has left.
fn incomplete(world: &World) -> Result<()> {
    let source = source("incomplete");
    source.put_folder("top", None, "top");
    source.put_folder("locked", Some("top"), "locked");
    source.put_file("good", Some("top"), "good", "good");
    source.put_file("bad", Some("top"), "b\u{e4}d", "never read");
    source.put_file("doubtful", Some("top"), "doubtful", "perhaps");
    source.set_unreadable("locked", Some(ErrorKind::PermissionDenied));
    source.inject("bad", "content", ReadFault::Open(ErrorKind::Io), 1);
    source.inject("doubtful", "content", ReadFault::End(ErrorKind::SourceMismatch), 3);
    if world.try_backup(&source)? != SnapshotState::Incomplete {
        return Err("the snapshot is complete".into());
    }
    source.put_file("more", Some("top"), "more", "found before the interruption");
    source.end_enumeration(Some((3, ErrorKind::Unavailable)));
    match world.try_backup(&source) {
        Err(_) => Ok(()),
        Ok(_) => Err("the run was not interrupted".into()),
    }
}

/// So many commits that a checkpoint folds the log; all of an empty collection, but the last.
fn folded(world: &World) -> Result<()> {
    let source = source("folded");
    for _ in 0..64 {
        world.backup(&source)?;
    }
    source.put_file("1", None, "one", "one");
    world.backup(&source)
}

/// Snapshots that were removed, one that is held, packs that were copied and condemned, some of them deleted; in the log and folded.
fn pruned(world: &World) -> Result<()> {
    let (source, repository) = (source("pruned"), &world.repository);
    for round in 0..6u8 {
        for file in 0..4u8 {
            let seed = if file <= round { u64::from(file) } else { 100 };
            source.put_file(
                &format!("{file}"),
                None,
                format!("{file}"),
                noise(2_000, seed + u64::from(round / 3)),
            );
        }
        world.backup(&source)?;
    }
    let ids: Vec<_> = repository.snapshots().iter().map(|snapshot| snapshot.id).collect();
    let [first, second, third, ..] = ids.as_slice() else { return Err("six snapshots were made".into()) };
    block_on(repository.hold(&[*first, *third]))?;
    block_on(repository.remove(&[*second]))?;
    block_on(repository.prune().grace(std::time::Duration::ZERO).unused_percent(0).run())?;
    block_on(repository.release(&[*third]))?;
    block_on(repository.remove(&[*third]))?;
    for _ in 0..64 {
        world.backup(&source)?;
    }
    let many: Vec<_> = repository.snapshots().iter().skip(4).map(|snapshot| snapshot.id).collect();
    block_on(repository.remove(&many))?;
    block_on(repository.prune().grace(std::time::Duration::from_secs(7_200)).unused_percent(0).run())?;
    world.backup(&source)
}

/// A policy that was set, ended, set anew and changed, and locks that were extended; in the log and folded.
fn locked(world: &World) -> Result<()> {
    const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);
    let (source, repository) = (source("locked"), &world.repository);
    block_on(repository.protect(DAY))?;
    source.put_file("1", None, "one", noise(2_000, 1));
    world.backup(&source)?;
    block_on(repository.protect(std::time::Duration::ZERO))?;
    world.backup(&source)?;
    block_on(repository.protect(30 * DAY))?;
    block_on(repository.protect(7 * DAY))?;
    for _ in 0..64 {
        world.backup(&source)?;
    }
    world.clock.advance(10 * DAY);
    block_on(repository.extend_locks().run())?;
    source.put_file("2", None, "two", noise(2_000, 2));
    world.backup(&source)
}

/// Parity of everything, in several sets; the last of them of fewer objects.
fn protected(world: &World) -> Result<()> {
    let (source, repository) = (source("protected"), &world.repository);
    for file in 0..3u8 {
        source.put_file(
            &format!("{file}"),
            None,
            format!("{file}"),
            noise(20_000 * (1 + usize::from(file)), file.into()),
        );
        world.backup(&source)?;
    }
    let report = block_on(repository.add_parity().redundancy(2, 5).run())?;
    if report.findings.is_empty() { Ok(()) } else { Err(format!("{:?}", report.findings).into()) }
}

/// Everything that a reader can find in a repository, as text (README.md).
pub(crate) fn describe(repository: &Repository) -> Result<String> {
    let (mut out, head) = (String::new(), repository.head());
    writeln!(out, "repository {}\nhead {}:{}", repository.id(), head.number, head.hash)?;
    if let Some(period) = repository.protection() {
        let until = repository.locked_until().map_or_else(|| "-".to_owned(), time);
        writeln!(out, "locks {} {until}", period.as_secs())?;
    }
    for summary in repository.snapshots() {
        let info = block_on(repository.snapshot(summary.id))?;
        let (collection, stats) = (&info.summary.collection, info.stats);
        write!(out, "snapshot {} collection={}", info.summary.id, quote(collection.id.as_bytes()))?;
        write!(out, " kind={} created={}", quote(collection.kind.as_bytes()), time(info.summary.created))?;
        write!(out, " state={}", if info.summary.state == SnapshotState::Complete { 1 } else { 2 })?;
        if let Some(parent) = info.parent {
            write!(out, " parent={parent}")?;
        }
        writeln!(
            out,
            " figures={},{},{},{},{},{},{},{}",
            stats.items,
            stats.bytes,
            stats.added,
            stats.changed,
            stats.removed,
            stats.bytes_read,
            stats.bytes_stored,
            stats.problems
        )?;
        for (name, value) in &info.labels {
            writeln!(out, "label {} {}", quote(name.as_bytes()), quote(value.as_bytes()))?;
        }
        for problem in &info.problems {
            let (place, message) = (quote(problem.place.as_bytes()), quote(problem.message.as_bytes()));
            writeln!(out, "problem {place} {} {message}", problem.code)?;
        }
        let browser = block_on(repository.browse(summary.id))?;
        describe_below(&mut out, &browser, None, "")?;
    }
    Ok(out)
}

fn describe_below(out: &mut String, browser: &Browser, parent: Option<&ItemId>, above: &str) -> Result<()> {
    for item in block_on(async { browser.list_below(parent).await?.collect().await })? {
        let path = format!("{above}{}", quote(item.name.as_bytes()));
        write!(out, "item {} path={path} kind={}", quote(item.id.as_bytes()), item.kind.number())?;
        for (name, at) in [("created", item.times.created), ("modified", item.times.modified)] {
            if let Some(at) = at {
                write!(out, " {name}={}", time(at))?;
            }
        }
        if !item.tag.is_empty() {
            write!(out, " tag={}", quote(item.tag.as_bytes()))?;
        }
        if let Some(first) = &item.hard_link {
            write!(out, " link={}", quote(first.as_bytes()))?;
        }
        out.push('\n');
        for (word, values) in [("attribute", &item.attributes), ("detail", &item.details)] {
            for (name, value) in values {
                writeln!(out, "{word} {} {}", quote(name.as_bytes()), show(value))?;
            }
        }
        for stream in &item.streams {
            let bytes =
                block_on(async { browser.read(&item.id, &stream.name, None).await?.collect().await })?;
            let hash = blake3::hash(&bytes).to_hex();
            writeln!(out, "stream {} {} {hash}", quote(stream.name.as_bytes()), bytes.len())?;
        }
        describe_below(out, browser, Some(&item.id), &format!("{path}/"))?;
    }
    Ok(())
}

fn show(value: &Value) -> String {
    let map = |map: &Attributes| {
        let entries: Vec<_> =
            map.iter().map(|(name, value)| format!("{}={}", quote(name.as_bytes()), show(value))).collect();
        entries.join(",")
    };
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => format!("int:{value}"),
        Value::Float(value) => format!("float:{:016x}", value.to_bits()),
        Value::Text(text) => format!("text:{}", quote(text.as_bytes())),
        Value::Bytes(bytes) => format!("bytes:{}", hex(bytes)),
        Value::Time(at) => format!("time:{}", time(*at)),
        Value::List(values) => format!("[{}]", values.iter().map(show).collect::<Vec<_>>().join(",")),
        Value::Map(values) => format!("{{{}}}", map(values)),
        other => format!("{other:?}"),
    }
}

fn time(at: Timestamp) -> String {
    format!("{}:{}", at.seconds(), at.nanos())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Percent-encoding: `A-Z a-z 0-9 - . _ ~` as they are, all other bytes as `%` and two capital digits.
fn quote(bytes: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: &u8| if plain(*byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") };
    bytes.iter().map(one).collect()
}
