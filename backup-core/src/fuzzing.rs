//! Entrances to the parsers of stored bytes, for fuzzers (feature `fuzzing`). No part of the interface: it may change at any time.
//!
//! A target takes any bytes and must neither panic nor take more memory than the format's limits allow. What it accepts, it must write as it
//! reads it: encoded and decoded again it is the same. Seals and signatures are put on before, or the fuzzer would never get past them.

use std::sync::Arc;

use crate::compress;
use crate::crypto::{
    Class, HEADER_LEN, Keyring, ObjectName, OpenedObject, SessionKeys, open_slot, seal_slot,
};
use crate::dedup::{Index, Run};
use crate::error::Result;
use crate::format::log::{
    Checkpoint, Event, Locks, LogEntry, ObjectRef, RepoConfig, SegmentRef, SnapshotRef, signed,
};
use crate::format::pack::{ChunkSpan, FrameSpan, decode_directory};
use crate::format::parity::{BlockHash, Member, PARITY_DOMAIN, ParityHead, read_prefix};
use crate::format::record::{
    ChunkRef, ContentRef, Outline, Record, decode_attributes, decode_chunk_list, encode_attributes,
    encode_chunk_list, encode_record,
};
use crate::format::segment::{PackInfo, Segment};
use crate::format::snapshot::{Snapshot, SnapshotState};
use crate::format::{open_object, read_envelope, seal_object, write_envelope};
use crate::id::{ChunkId, ObjectHash, ObjectId, RepoId, SnapshotId};
use crate::item::{Attributes, Collection, Item, ItemKind, Value};
use crate::secret::{Credential, Secret};
use crate::testkit::environment;
use crate::time::Timestamp;
use crate::tree::{Node, TreeKind};

/// A parser, and what it is fed with.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Target {
    /// Name of the target.
    pub name: &'static str,
    /// Parses; panics if what was accepted does not come back.
    pub run: fn(&[u8]),
    /// Inputs that it accepts, to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "log_entry", run: log_entry, seeds: log_entries },
    Target { name: "checkpoint", run: checkpoint, seeds: checkpoints },
    Target { name: "segment", run: segment, seeds: segments },
    Target { name: "pack_directory", run: pack_directory, seeds: directories },
    Target { name: "parity", run: parity, seeds: parity_heads },
    Target { name: "record", run: record, seeds: records },
    Target { name: "attributes", run: attributes, seeds: attribute_lists },
    Target { name: "chunk_list", run: chunk_list, seeds: chunk_lists },
    Target { name: "snapshot", run: snapshot, seeds: snapshots },
    Target { name: "tree_node", run: tree_node, seeds: nodes },
    Target { name: "key_slot", run: key_slot, seeds: slots },
    Target { name: "keyring", run: keyring, seeds: || vec![ring().encode().to_vec()] },
    Target { name: "object", run: object, seeds: objects },
    Target { name: "envelope", run: envelope, seeds: envelopes },
    Target { name: "decompress", run: decompress, seeds: compressed },
    Target { name: "index_run", run: index_run, seeds: runs },
];

fn ring() -> &'static Keyring {
    static RING: std::sync::OnceLock<Keyring> = std::sync::OnceLock::new();
    RING.get_or_init(|| must(Keyring::generate(&environment(1))))
}

#[expect(clippy::panic, reason = "a fuzzer looks for panics")]
fn must<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error:?}"))
}

/// What was read is written and read again.
fn round_trip<T: PartialEq + std::fmt::Debug>(first: Result<T>, again: impl FnOnce(&T) -> Result<T>) {
    if let Ok(first) = first {
        assert_eq!(must(again(&first)), first, "read, written, and read as something else");
    }
}

const KEY: Secret = Secret::new([7; 32]);
const NAME: ObjectName = ObjectName::Snapshot(ObjectId::from_bytes([3; 16]));
const REPO: RepoId = RepoId::from_bytes([2; 16]);

fn object_ref(byte: u8) -> ObjectRef {
    ObjectRef { id: ObjectId::from_bytes([byte; 16]), len: 999, hash: ObjectHash::from_bytes([byte; 32]) }
}

fn collection() -> Collection {
    Collection::new("memory:fuzz", "memory")
}

fn named(byte: u8) -> SnapshotRef {
    SnapshotRef {
        object: object_ref(byte),
        collection: collection(),
        created: Timestamp::new(-5, 7),
        state: SnapshotState::Complete,
        suspicious: byte.is_multiple_of(2),
    }
}

fn log_entry(body: &[u8]) {
    let entry = LogEntry::decode(&must(signed::<LogEntry>(ring(), body)), ring());
    round_trip(entry, |entry| LogEntry::decode(&entry.encode(ring())?, ring()));
}

fn log_entries() -> Vec<Vec<u8>> {
    let objects = vec![ObjectName::Pack(ObjectId::from_bytes([1; 16])), NAME];
    let segments = vec![SegmentRef { object: object_ref(4), entries: 5 }];
    let ids = vec![SnapshotId::from_bytes([9; 16])];
    let events = [
        Event::Genesis(RepoConfig::new(REPO)),
        Event::Commit {
            session: crate::id::SessionId::from_bytes([8; 16]),
            snapshots: vec![named(1), named(2)],
            segments: segments.clone(),
        },
        Event::Remove(ids.clone()),
        Event::Condemn { objects, segments },
        Event::Delete(vec![3, 4]),
        Event::Hold { held: true, snapshots: ids },
        Event::Protect(86_400),
        Event::Extended(Timestamp::new(9, 9)),
    ];
    let entry = |event| LogEntry {
        number: 0,
        previous: ObjectHash::from_bytes([0; 32]),
        time: Timestamp::new(1, 2),
        event,
    };
    events.map(|event| unsigned(must(entry(event).encode(ring())))).to_vec()
}

fn unsigned(mut raw: Vec<u8>) -> Vec<u8> {
    raw.truncate(raw.len().saturating_sub(64));
    raw
}

fn checkpoint(body: &[u8]) {
    let checkpoint = Checkpoint::decode(&must(signed::<Checkpoint>(ring(), body)), ring());
    round_trip(checkpoint, |checkpoint| Checkpoint::decode(&checkpoint.encode(ring())?, ring()));
}

fn checkpoints() -> Vec<Vec<u8>> {
    let checkpoint = Checkpoint {
        number: 64,
        head: ObjectHash::from_bytes([6; 32]),
        config: RepoConfig::new(REPO),
        snapshots: vec![named(1), named(2)],
        segments: vec![SegmentRef { object: object_ref(4), entries: 5 }],
        held: vec![SnapshotId::from_bytes([1; 16])],
        condemned: vec![crate::format::log::Condemned {
            entry: 60,
            time: Timestamp::new(3, 4),
            objects: vec![NAME],
        }],
        locks: Locks { seconds: 86_400, until: Some(Timestamp::new(9, 9)) },
    };
    vec![unsigned(must(checkpoint.encode(ring())))]
}

fn a_segment() -> Segment {
    let mut segment = Segment::default();
    for pack in 1..3u8 {
        let keys = must(SessionKeys::generate(&environment(5), REPO, ring()));
        let name = ObjectName::Pack(ObjectId::from_bytes([pack; 16]));
        let header = *must(keys.begin(&environment(6), name, Class::Data)).header();
        let info = PackInfo {
            id: ObjectId::from_bytes([pack; 16]),
            len: 5_000,
            hash: ObjectHash::from_bytes([pack; 32]),
            header,
        };
        let (frames, chunks) = spans(pack);
        segment.add(info, &frames, &chunks);
    }
    segment.sort();
    segment
}

fn spans(seed: u8) -> (Vec<FrameSpan>, Vec<ChunkSpan>) {
    let frame =
        |part: u32| FrameSpan { part, offset: 168 + 100 * u64::from(part), sealed_len: 100, raw_len: 300 };
    let chunk = |number: u8| ChunkSpan {
        id: ChunkId::from_bytes([seed * 16 + number; 32]),
        frame: u32::from(number) / 3,
        offset: u32::from(number) % 3 * 100,
        len: 100,
    };
    (vec![frame(0), frame(1)], (0..6).map(chunk).collect())
}

fn segment(raw: &[u8]) {
    round_trip(Segment::decode(raw), |segment| Segment::decode(&segment.encode()));
    if let Ok(segment) = Segment::decode(raw) {
        // What is accepted may be used.
        let run = Arc::new(must(Run::of_segment(ObjectId::from_bytes([1; 16]), &segment)));
        assert_eq!(run.entries(), segment.chunks.len() as u64);
        assert!(segment.chunks.iter().all(|chunk| run.contains(&chunk.id)));
        drop(must(Run::merge(&[run])));
    }
}

fn segments() -> Vec<Vec<u8>> {
    vec![Segment::default().encode(), a_segment().encode()]
}

fn pack_directory(raw: &[u8]) {
    if let Ok(directory) = decode_directory(raw, 368) {
        assert!(directory.chunks.iter().all(|chunk| (chunk.frame as usize) < directory.frames.len()));
    }
}

fn directories() -> Vec<Vec<u8>> {
    use crate::format::wire::Write;
    let (frames, chunks) = spans(1);
    let mut raw = Vec::new();
    raw.len32(frames.len());
    frames.iter().for_each(|frame| frame.write(&mut raw));
    raw.len32(chunks.len());
    chunks.iter().for_each(|chunk| chunk.write(&mut raw));
    assert!(decode_directory(&raw, 368).is_ok());
    vec![raw]
}

fn parity(body: &[u8]) {
    let _ = read_prefix(body);
    let key = must(ring().public_key());
    let signature = must(ring().sign(PARITY_DOMAIN, body));
    let head = ParityHead::decode(&[body, &signature].concat(), &key);
    round_trip(head, |head| ParityHead::decode(&head.encode(ring())?, &key));
}

fn parity_heads() -> Vec<Vec<u8>> {
    let member = |name: &str, len: u64| Member {
        key: must(crate::store::Key::new(name)),
        len,
        hash: ObjectHash::from_bytes([4; 32]),
        blocks: (0..len.div_ceil(64)).map(|block| BlockHash::of(&block.to_le_bytes())).collect(),
    };
    let head = ParityHead {
        repo: REPO,
        set: ObjectId::from_bytes([5; 16]),
        block_len: 64,
        len: 192,
        parity: vec![vec![BlockHash::of(b"parity"); 3]; 2],
        members: vec![member("log/0000000000000001", 190), member("keys/slot", 64)],
    };
    vec![unsigned(must(head.encode(ring())))]
}

fn content(len: u64) -> ContentRef {
    ContentRef { len, depth: 0, refs: vec![ChunkRef { id: ChunkId::from_bytes([5; 32]), len }] }
}

fn some_attributes() -> Attributes {
    let list = Value::List(vec![Value::Bool(true), Value::Int(-5), Value::Text("text".into())]);
    let map = Value::Map(Attributes::from([("inner".to_owned(), Value::Bytes(vec![0, 255]))]));
    Attributes::from([
        ("float".to_owned(), Value::Float(-0.0)),
        ("list".to_owned(), list),
        ("map".to_owned(), map),
        ("time".to_owned(), Value::Time(Timestamp::new(-1, 999_999_999))),
    ])
}

fn record(raw: &[u8]) {
    // Compared as bytes: a float may not equal itself.
    if let Ok(record) = Record::decode(raw) {
        let outline = must(Outline::of(raw));
        assert_eq!((outline.tag, outline.kind), (record.tag.as_bytes(), record.kind));
        let encoded = must(record.encode());
        assert_eq!(must(must(Record::decode(&encoded)).encode()), encoded);
        drop(record.into_item("id".into(), Attributes::new()));
    }
}

fn records() -> Vec<Vec<u8>> {
    let mut item = Item::new("id", Some("parent".into()), "name", ItemKind::FILE);
    item.attributes = some_attributes();
    let streams = [("content".into(), content(9_000)), ("other".into(), content(1))];
    let whole = encode_record(&item, Some(&content(70)), &streams, false);
    let folder = encode_record(&Item::new("id", None, "folder", ItemKind::FOLDER), None, &[], false);
    vec![must(whole), must(folder)]
}

fn attributes(raw: &[u8]) {
    if let Ok(attributes) = decode_attributes(raw) {
        let encoded = encode_attributes(&attributes);
        assert_eq!(encode_attributes(&must(decode_attributes(&encoded))), encoded);
    }
}

fn attribute_lists() -> Vec<Vec<u8>> {
    vec![encode_attributes(&some_attributes()), encode_attributes(&Attributes::new())]
}

fn chunk_list(raw: &[u8]) {
    for depth in 0..3 {
        let list = decode_chunk_list(raw, depth, 600);
        round_trip(list, |list| decode_chunk_list(&encode_chunk_list(depth, list), depth, 600));
    }
}

fn chunk_lists() -> Vec<Vec<u8>> {
    let refs: Vec<_> =
        (1..4u8).map(|byte| ChunkRef { id: ChunkId::from_bytes([byte; 32]), len: 200 }).collect();
    (0..3).map(|depth| encode_chunk_list(depth, &refs)).collect()
}

fn snapshot(raw: &[u8]) {
    if let Ok(snapshot) = Snapshot::decode(raw) {
        let encoded = must(snapshot.encode());
        assert_eq!(must(must(Snapshot::decode(&encoded)).encode()), encoded);
    }
}

fn snapshots() -> Vec<Vec<u8>> {
    // As the format has them, without and with what may be missing (docs/format.md 6.4).
    use crate::format::wire::Write;
    let snapshot = |has_parent: bool| {
        let mut raw = Vec::new();
        raw.raw(&[1; 16]);
        raw.raw(&[2; 16]);
        raw.bytes16(b"memory:fuzz");
        raw.bytes16(b"memory");
        raw.u8(u8::from(has_parent));
        raw.raw(&[if has_parent { 3 } else { 0 }; 16]);
        raw.time(Timestamp::new(5, 6));
        raw.u8(1);
        raw.bytes32(if has_parent { b"cursor" } else { b"" });
        for _ in 0..2 {
            raw.u8(u8::from(has_parent));
            if has_parent {
                raw.raw(&[4; 32]);
                raw.u64(7);
            }
        }
        raw.u64(if has_parent { 7 } else { 0 });
        (0..6).for_each(|_| raw.u64(0));
        raw.u64(u64::from(has_parent));
        raw.u32(u32::from(has_parent));
        if has_parent {
            raw.bytes16(b"place");
            raw.u32(10);
            raw.bytes16(b"message");
        }
        raw.u16(u16::from(has_parent));
        if has_parent {
            raw.bytes16(b"name");
            raw.bytes16(b"value");
        }
        raw
    };
    let seeds = vec![snapshot(false), snapshot(true)];
    seeds.iter().for_each(|seed| drop(must(Snapshot::decode(seed))));
    seeds
}

fn tree_node(raw: &[u8]) {
    for tree in [TreeKind::Items, TreeKind::Names] {
        for level in 0..2 {
            if let Ok(node) = Node::decode(tree, level, raw) {
                assert!(node.weight() < 100 * raw.len() + 1_000);
            }
        }
    }
}

fn nodes() -> Vec<Vec<u8>> {
    use crate::format::wire::Write;
    let mut seeds = Vec::new();
    for tree in [1, 2] {
        let mut leaf = vec![tree, 0];
        leaf.u32(2);
        for key in [b"a", b"b"] {
            leaf.bytes16(key);
            leaf.bytes32(b"value");
        }
        let mut inner = vec![tree, 1];
        inner.u32(2);
        for key in [b"a", b"b"] {
            inner.bytes16(key);
            inner.raw(&[1; 32]);
            inner.u64(9);
        }
        seeds.extend([leaf, inner]);
    }
    seeds
}

fn key_slot(raw: &[u8]) {
    // A raw key: a passphrase would be stretched each time.
    let _ = open_slot(ObjectId::from_bytes([3; 16]), raw, &Credential::raw_key([7; 32]));
}

fn slots() -> Vec<Vec<u8>> {
    let (id, key) = (ObjectId::from_bytes([3; 16]), Credential::raw_key([7; 32]));
    vec![must(seal_slot(&environment(2), REPO, id, ring(), &key, crate::KdfParams::default()))]
}

fn keyring(raw: &[u8]) {
    if let Ok(ring) = Keyring::decode(raw) {
        let encoded = ring.encode();
        assert_eq!(*must(Keyring::decode(&encoded)).encode(), *encoded);
    }
}

fn object(raw: &[u8]) {
    let _ = open_object(REPO, ring(), NAME, raw);
    let _ = OpenedObject::open(REPO, ring(), NAME, raw.get(..HEADER_LEN).unwrap_or(raw));
}

fn objects() -> Vec<Vec<u8>> {
    let keys = must(SessionKeys::generate(&environment(5), REPO, ring()));
    let sealer = must(keys.begin(&environment(6), NAME, Class::Meta));
    let sealed = must(seal_object(&sealer, &[1; 300]));
    assert!(open_object(REPO, ring(), NAME, &sealed).is_ok());
    vec![sealed]
}

fn envelope(raw: &[u8]) {
    let small = |raw: &[u8]| {
        raw.get(1..5).and_then(|len| len.first_chunk()).is_some_and(|len| u32::from_le_bytes(*len) < 1 << 20)
    };
    if !small(raw) {
        return;
    }
    round_trip(read_envelope(raw, "fuzz"), |plain| {
        let mut again = Vec::new();
        write_envelope(&mut again, plain, 0)?;
        read_envelope(&again, "fuzz")
    });
}

fn envelopes() -> Vec<Vec<u8>> {
    let envelope = |plain: &[u8]| {
        let mut raw = Vec::new();
        must(write_envelope(&mut raw, plain, 0));
        raw
    };
    vec![envelope(b""), envelope(&[7; 5_000]), envelope(b"too short to compress")]
}

fn decompress(raw: &[u8]) {
    let Some((codec, stored)) = raw.split_first() else { return };
    for len in [0, 100, 5_000] {
        if let Ok(plain) = compress::decompress(*codec, stored, len) {
            assert_eq!(plain.len(), len);
        }
    }
}

fn compressed() -> Vec<Vec<u8>> {
    let text = b"to be or not to be, that is the question; ".repeat(200);
    let text = text.get(..5_000).unwrap_or_default();
    let mut raw = vec![0];
    let codec = must(compress::compress_onto(&mut raw, text));
    if let Some(first) = raw.first_mut() {
        *first = codec;
    }
    vec![raw, [&[0][..], &[9; 100]].concat()]
}

fn index_run(raw: &[u8]) {
    let Ok(run) = Run::open(bytes::Bytes::copy_from_slice(raw), &KEY) else { return };
    let (run, mut index) = (Arc::new(run), Index::default());
    index.add(Arc::clone(&run));
    for byte in 0..=u8::MAX {
        let id = ChunkId::from_bytes([byte; 32]);
        index.locate(&id).for_each(|place| assert!(place.frames_behind().count() <= raw.len()));
    }
    assert!(index.packs().count() <= raw.len());
    let _ = Run::merge(&[run]);
}

fn runs() -> Vec<Vec<u8>> {
    let run = Arc::new(must(Run::of_segment(ObjectId::from_bytes([1; 16]), &a_segment())));
    let mut file = Vec::new();
    must(Run::merge_to(&[run], &mut file, &KEY));
    vec![file]
}
