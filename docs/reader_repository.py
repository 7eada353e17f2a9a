"""From plaintext to snapshots, items and bytes: sections 5 to 7 of `format.md`.

Used by reader.py and reader_check.py. Start at `Repository`, the last class; what comes before it parses.
"""
from __future__ import annotations

import hmac
import itertools
import struct
from bisect import bisect_left
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Callable, Generic, Iterator, NamedTuple, Optional, TypeVar

import nacl.exceptions
import nacl.signing

from reader_sealed import (
    CHECKPOINT, DATA, HEADER, LOG, MAX_ATTRIBUTES, MAX_CHUNK, MAX_COLLECTION, MAX_COLLECTION_KIND, MAX_CURSOR,
    MAX_DEPTH, MAX_DETAILS, MAX_ENTRIES, MAX_FRAME, MAX_ID, MAX_LABEL, MAX_LEVELS, MAX_NAME, MAX_NESTING,
    MAX_NUMBER, MAX_OBJECT, MAX_PACK, MAX_PERIOD, MAX_PROBLEM_TEXT, MAX_RECORD, MAX_SLOTS, MAX_STREAM_NAME,
    MAX_STREAMS, MAX_TAG, META, PACK, PURPOSE_ID, PURPOSE_VERIFY, SEGMENT, SNAPSHOT, TREE, Cursor, Damaged, H, KH, Keyring,
    Missing, NotARepository, ReaderError, RolledBack, Secret, Store, Time, TooNew, WrongKey, decode, object_key,
    open_envelope, open_part, open_slot, pack_name, require)

FRAME_CACHE, NODE_CACHE, KEY_CACHE = 4 * MAX_FRAME, 2 * MAX_CHUNK, 4096


# format.md 5: Packs and segments -------------------------------------------------------------------------------------

# format.md 5.1
def open_frame(plain: bytes, raw_length: int, what: str) -> bytes:
    cursor = Cursor(plain, what)
    codec = cursor.u8()
    require(cursor.u32() == raw_length, f"{what}: raw length differs from the index")
    return decode(codec, raw_length, plain[cursor.at:], what)


class Frame(NamedTuple):
    pack: int  # index into the segment's packs
    part: int
    offset: int
    sealed: int
    raw: int

    @staticmethod
    def parse(cursor: Cursor, packs: list[int], pack: Optional[int] = None) -> Frame:
        frame = Frame(cursor.u32() if pack is None else pack, cursor.u32(), cursor.u64(), cursor.u32(), cursor.u32())
        require(frame.pack < len(packs), f"{cursor.what}: frame of an unknown pack")
        require(frame.raw <= MAX_FRAME and 21 <= frame.sealed <= MAX_FRAME + 21, f"{cursor.what}: frame too long")
        require(HEADER <= frame.offset and frame.offset + frame.sealed <= packs[frame.pack] - 32,
                f"{cursor.what}: frame outside of its pack")
        return frame


class Location(NamedTuple):
    frame: int  # index into the frames
    offset: int
    length: int


def check_location(place: Location, frames: list[Frame], what: str) -> None:
    require(place.frame < len(frames), f"{what}: chunk in an unknown frame")
    require(1 <= place.length <= MAX_CHUNK, f"{what}: chunk of {place.length} bytes")
    require(place.offset + place.length <= frames[place.frame].raw, f"{what}: chunk outside of its frame")


class PackRef(NamedTuple):
    id: bytes
    length: int
    hash: bytes
    header: bytes


class SegmentRef(NamedTuple):
    id: bytes
    length: int
    hash: bytes
    entries: int

    @staticmethod
    def parse(cursor: Cursor) -> SegmentRef:
        reference = SegmentRef(cursor.take(16), cursor.u64(), cursor.take(32), cursor.u32())
        require(reference.entries <= MAX_ENTRIES, f"{cursor.what}: segment of over {MAX_ENTRIES} entries")
        return reference


# format.md 5.3
class Segment:
    """A sorted run of the index. The entries stay encoded, 44 bytes each."""

    ENTRY = struct.Struct("<32sIII")

    def __init__(self, raw: bytes, entries: int, what: str) -> None:
        cursor = Cursor(raw, what)
        self.packs = [PackRef(cursor.take(16), cursor.u64(), cursor.take(32), cursor.bytes16(HEADER, "pack header"))
                      for _ in range(cursor.u32())]
        require(all(pack.length <= MAX_PACK for pack in self.packs), f"{what}: pack longer than {MAX_PACK} bytes")
        require(len({pack.id for pack in self.packs}) == len(self.packs), f"{what}: names a pack twice")
        lengths = [pack.length for pack in self.packs]
        self.frames = [Frame.parse(cursor, lengths) for _ in range(cursor.u32())]
        self.count = cursor.u32()
        require(self.count == entries, f"{what}: {self.count} entries, the log says {entries}")
        self.entries = cursor.take(self.count * self.ENTRY.size)
        cursor.end()
        last = b""
        for chunk, place in self:
            require(chunk > last, f"{what}: entries out of order")
            check_location(place, self.frames, what)
            last = chunk

    def __iter__(self) -> Iterator[tuple[bytes, Location]]:
        for chunk, *place in self.ENTRY.iter_unpack(self.entries):
            yield chunk, Location(*place)

    def find(self, chunk: bytes) -> Optional[Location]:
        size = self.ENTRY.size
        index = bisect_left(range(self.count), chunk, key=lambda i: self.entries[i * size:i * size + 32])
        if index == self.count or self.entries[index * size:index * size + 32] != chunk:
            return None
        return Location(*self.ENTRY.unpack_from(self.entries, index * size)[1:])


# format.md 6: The log ------------------------------------------------------------------------------------------------

STATES = {1: "complete", 2: "incomplete", 3: "checkpoint"}


class SnapshotRef(NamedTuple):
    id: bytes
    length: int
    hash: bytes
    collection: bytes
    collection_kind: bytes
    created: Time
    state: int
    flags: int

    @staticmethod
    def parse(cursor: Cursor) -> SnapshotRef:
        reference = SnapshotRef(cursor.take(16), cursor.u64(), cursor.take(32),
                                cursor.text16(MAX_COLLECTION, "collection id"),
                                cursor.text16(MAX_COLLECTION_KIND, "collection kind"), cursor.time(), cursor.u8(), cursor.u8())
        require(reference.collection != b"", f"{cursor.what}: a collection without an id")
        require(reference.state in STATES, f"{cursor.what}: snapshot of state {reference.state}")
        require(reference.flags in (0, 1), f"{cursor.what}: snapshot with flags {reference.flags}")
        return reference


@dataclass
class LogState:
    """The fold of the log up to and including one entry."""

    number: int
    head: bytes  # H(entry object)
    genesis: bytes
    snapshots: list[SnapshotRef]
    segments: list[SegmentRef]
    held: list[bytes] = field(default_factory=list)  # ids, ascending
    condemned: list[tuple[int, Time, list[tuple[int, bytes]]]] = field(default_factory=list)
    period: int = 0  # seconds
    locked: Optional[Time] = None  # until when everything in use is, at least
    sessions: dict[bytes, bytes] = field(default_factory=dict, compare=False)  # of snapshots; checkpoints have none

    def withdraw(self, time: Time, objects: list[tuple[int, bytes]]) -> None:
        """Takes objects out of use, but not a snapshot that is held."""
        objects = [(kind, id) for kind, id in objects if kind != SNAPSHOT or id not in self.held]
        out = set(objects)
        self.snapshots = [reference for reference in self.snapshots if (SNAPSHOT, reference.id) not in out]
        self.segments = [reference for reference in self.segments if (SEGMENT, reference.id) not in out]
        self.condemned.append((self.number, time, objects))

    def apply(self, kind: int, time: Time, cursor: Cursor) -> None:
        """Takes over an entry of this type."""
        if kind == 1:
            session = cursor.take(16)
            snapshots = [SnapshotRef.parse(cursor) for _ in range(cursor.u16())]
            self.snapshots += snapshots
            self.sessions.update((snapshot.id, session) for snapshot in snapshots)
            self.segments += [SegmentRef.parse(cursor) for _ in range(cursor.u16())]
        elif kind == 2:
            there = {reference.id for reference in self.snapshots}
            ids = [cursor.take(16) for _ in range(cursor.u32())]
            self.withdraw(time, [(SNAPSHOT, id) for id in ids if id in there])
        elif kind == 3:
            objects = parse_objects(cursor)
            segments = [SegmentRef.parse(cursor) for _ in range(cursor.u32())]
            self.withdraw(time, objects)
            self.segments += segments
        elif kind == 4:
            deleted = {cursor.u64() for _ in range(cursor.u32())}
            self.condemned = [group for group in self.condemned if group[0] not in deleted]
        elif kind == 6:
            self.period, self.locked = parse_period(cursor), None
        elif kind == 7:
            until = cursor.time()
            self.locked = max(self.locked or until, until)
        else:
            hold = cursor.u8()
            require(hold in (0, 1), f"{cursor.what}: neither holds nor releases")
            ids = {cursor.take(16) for _ in range(cursor.u32())}
            self.held = sorted(set(self.held) | ids if hold else set(self.held) - ids)


def parse_period(cursor: Cursor) -> int:
    period = cursor.u64()
    require(period <= MAX_PERIOD, f"{cursor.what}: locks for too long")
    return period


def parse_objects(cursor: Cursor) -> list[tuple[int, bytes]]:
    objects = [(cursor.u8(), cursor.take(16)) for _ in range(cursor.u32())]
    for kind, _ in objects:
        require(kind in (PACK, SEGMENT, SNAPSHOT), f"{cursor.what}: condemns an object of kind {kind}")
    return objects


def check_genesis(payload: bytes, repository: bytes, what: str) -> None:
    cursor = Cursor(payload, what)
    require(cursor.take(16) == repository, f"{what}: creates another repository")
    minimum, average, maximum = cursor.u32(), cursor.u32(), cursor.u32()
    level, node_target = cursor.u8(), cursor.u32()
    cursor.end()
    require(64 <= minimum <= average <= maximum <= MAX_CHUNK and minimum % 2 == maximum % 2 == 0
            and average in (1 << bits for bits in range(8, 23)) and level <= 3, f"{what}: chunk sizes out of range")
    require(4096 <= node_target <= 262_144, f"{what}: tree node target out of range")


# format.md 6.4
class Root(NamedTuple):
    tree: int
    levels: int
    chunk: bytes
    leaves: int

    @staticmethod
    def parse(cursor: Cursor, tree: int) -> Root:
        levels = cursor.u8()
        require(levels <= MAX_LEVELS, f"{cursor.what}: tree of over {MAX_LEVELS} levels")
        return Root(tree, levels, cursor.take(32), cursor.u64()) if levels else Root(tree, 0, b"", 0)


class Snapshot:
    def __init__(self, raw: bytes, reference: SnapshotRef, what: str) -> None:
        cursor = Cursor(raw, what)
        self.what, identity, self.session = what, cursor.take(16), cursor.take(16)
        collection = cursor.text16(MAX_COLLECTION, "collection id"), cursor.text16(MAX_COLLECTION_KIND, "kind")
        has_parent, parent = cursor.u8(), cursor.take(16)
        require(has_parent == 1 or has_parent == 0 and parent == bytes(16), f"{what}: wrong parent")
        self.parent = parent if has_parent else None
        named = (identity, *collection, cursor.time(), cursor.u8())
        require(named == (reference.id, *reference[3:7]), f"{what}: differs from what the log says")
        cursor.bytes32(MAX_CURSOR, "cursor")
        self.items, self.names = Root.parse(cursor, ITEMS_TREE), Root.parse(cursor, NAMES_TREE)
        # items, bytes of streams, added, changed, removed, bytes read, bytes stored, problems
        self.figures = [cursor.u64() for _ in range(8)]
        listed = cursor.u32()
        require(listed <= self.figures[7], f"{what}: more problems listed than counted")
        self.problems = [(cursor.text16(MAX_PROBLEM_TEXT, "place"), cursor.u32(),
                          cursor.text16(MAX_PROBLEM_TEXT, "message")) for _ in range(listed)]
        self.labels = [(cursor.text16(MAX_LABEL, "label"), cursor.text16(MAX_LABEL, "label"))
                       for _ in range(cursor.u16())]
        cursor.end()
        require(self.items.leaves == self.names.leaves == self.figures[0], f"{what}: wrong number of items")


# format.md 7: Trees --------------------------------------------------------------------------------------------------

ITEMS_TREE, NAMES_TREE, CHUNK_LIST = 1, 2, 0x4C


# format.md 7.1
class Child(NamedTuple):
    chunk: bytes
    leaves: int


class Node:
    def __init__(self, raw: bytes, tree: int, level: int, what: str) -> None:
        cursor = Cursor(raw, what)
        require(cursor.u8() == tree, f"{what}: node of another tree")
        require(cursor.u8() == level, f"{what}: node of another level")
        self.keys: list[bytes] = []
        self.values: list[Any] = []  # bytes in a leaf, Child above
        for _ in range(cursor.u32()):
            self.keys.append(cursor.bytes16())
            self.values.append(Child(cursor.take(32), cursor.u64()) if level else cursor.bytes32(MAX_RECORD, "record"))
        cursor.end()
        require(bool(self.keys), f"{what}: empty node")
        require(all(a < b for a, b in zip(self.keys, self.keys[1:])), f"{what}: keys out of order")
        self.leaves = sum(child.leaves for child in self.values) if level else len(self.keys)


# format.md 7.2
KINDS = {1: "folder", 2: "file", 3: "symlink", 4: "package", 10: "message", 11: "event", 12: "contact",
         20: "object", 0x7FFF: "other"}
FOLDER, FILE, SYMLINK = 1, 2, 3


class Content(NamedTuple):
    length: int
    depth: int
    entries: list[tuple[bytes, int]]

    @staticmethod
    def parse(cursor: Cursor) -> Content:
        length, depth = cursor.u64(), cursor.u8()
        require(depth <= MAX_DEPTH, f"{cursor.what}: content deeper than {MAX_DEPTH}")
        return Content(length, depth, list(chunk_entries(cursor)))


def chunk_entries(cursor: Cursor) -> Iterator[tuple[bytes, int]]:
    for chunk, covered in struct.iter_unpack("<32sQ", cursor.take(cursor.u32() * 40)):
        require(covered > 0, f"{cursor.what}: covers no bytes with a chunk")
        yield chunk, covered


def parse_value(cursor: Cursor, nesting: int) -> Any:
    kind = cursor.u8()
    require(nesting < MAX_NESTING or kind < 7, f"{cursor.what}: values nested deeper than {MAX_NESTING}")
    if kind == 7:
        return [parse_value(cursor, nesting + 1) for _ in range(cursor.u32())]
    simple: dict[int, Callable[[], Any]] = {
        0: lambda: False, 1: lambda: True, 2: cursor.i64, 3: lambda: struct.unpack("<d", cursor.take(8))[0],
        4: lambda: cursor.text(cursor.bytes32()).decode(), 5: cursor.bytes32, 6: cursor.time,
        8: lambda: parse_attributes(cursor, nesting + 1)}
    require(kind in simple, f"{cursor.what}: value of unknown type {kind}")
    return simple[kind]()


def parse_attributes(cursor: Cursor, nesting: int = 0) -> dict[bytes, Any]:
    attributes: dict[bytes, Any] = {}
    last: Optional[bytes] = None
    for _ in range(cursor.u32()):
        name = cursor.text16()
        require(last is None or name > last, f"{cursor.what}: attributes out of order")
        attributes[name], last = parse_value(cursor, nesting), name
    return attributes


def whole_attributes(raw: bytes, what: str) -> dict[bytes, Any]:
    cursor = Cursor(raw, what)
    attributes = parse_attributes(cursor)
    cursor.end()
    return attributes


class Item:
    """A record of the items tree."""

    def __init__(self, identity: bytes, raw: bytes) -> None:
        what = f"item {show(identity)}"
        cursor = Cursor(raw, what)
        require(1 <= len(identity) <= MAX_ID, f"{what}: id out of range")
        require(cursor.u8() == 1, f"{what}: unknown version")
        self.id, self.what = identity, what
        self.parent, self.name = cursor.bytes16(MAX_ID, "parent id"), cursor.bytes16(MAX_NAME, "name")
        self.kind, flags = cursor.u16(), cursor.u8()
        require(flags < 32, f"{what}: unknown flags")
        self.created = cursor.time() if flags & 1 else None
        self.modified = cursor.time() if flags & 2 else None
        self.tag = cursor.bytes16(MAX_TAG, "tag")
        self.link_of = cursor.bytes16(MAX_ID, "hard link") if flags & 4 else None
        self.attributes = whole_attributes(cursor.bytes32(MAX_ATTRIBUTES, "attributes"), f"{what}: attributes")
        self.details = Content.parse(cursor) if flags & 8 else None
        require(self.details is None or self.details.length <= MAX_DETAILS, f"{what}: details too long")
        count = cursor.u16()
        require(count <= MAX_STREAMS, f"{what}: more than {MAX_STREAMS} streams")
        self.streams = [(cursor.text16(MAX_STREAM_NAME, "stream name"), Content.parse(cursor)) for _ in range(count)]
        require(len(dict(self.streams)) == count, f"{what}: two streams of one name")
        require(self.link_of is None or count == 0, f"{what}: hard link with streams")
        cursor.end()

    @property
    def size(self) -> int:
        return sum(content.length for name, content in self.streams if name == b"content")


# format.md 7.3
class Name(NamedTuple):
    parent: bytes
    name: bytes
    id: bytes
    kind: int

    @staticmethod
    def prefix(parent: bytes) -> bytes:
        return struct.pack("<H", len(parent)) + parent

    @property
    def key(self) -> bytes:
        return self.prefix(self.parent) + self.name.replace(b"\0", b"\0\xff") + b"\0\1" + self.id

    @staticmethod
    def parse(key: bytes, value: bytes) -> Name:
        what = f"names tree, key {key.hex()}"
        cursor = Cursor(key, what)
        parent = cursor.bytes16(MAX_ID, "parent id")
        escaped, mark, identity = key[cursor.at:].partition(b"\0\1")
        name = Name(parent, escaped.replace(b"\0\xff", b"\0"), identity, int.from_bytes(value, "little"))
        require(mark != b"" and len(value) == 2 and name.key == key, f"{what}: malformed")
        require(len(name.name) <= MAX_NAME and 1 <= len(identity) <= MAX_ID, f"{what}: too long")
        return name


def show(raw: bytes) -> str:
    """Stored bytes for a terminal: never a control character."""
    text = raw.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


K = TypeVar("K")
V = TypeVar("V")


class Lru(Generic[K, V]):
    """A cache of bounded weight."""

    def __init__(self, limit: int) -> None:
        self.limit, self.weight, self.items = limit, 0, OrderedDict[K, tuple[V, int]]()

    def get(self, key: K) -> Optional[V]:
        if key not in self.items:
            return None
        self.items.move_to_end(key)
        value: V = self.items[key][0]
        return value

    def put(self, key: K, value: V, weight: int = 1) -> V:
        self.items[key] = (value, weight)
        self.weight += weight
        while self.weight > self.limit and len(self.items) > 1:
            self.weight -= self.items.popitem(last=False)[1][1]
        return value


# The repository ------------------------------------------------------------------------------------------------------

class Repository:
    """An open repository. `head` is number and hash of the log entry that was the newest one when last seen."""

    def __init__(self, store: Store, secret: Secret, head: Optional[tuple[int, bytes]] = None) -> None:
        self.store = store
        self.pack_keys: Lru[tuple[bytes, bytes], bytes] = Lru(KEY_CACHE)
        self.frames: Lru[tuple[bytes, int], bytes] = Lru(FRAME_CACHE)
        self.nodes: Lru[tuple[bytes, int, int], Node] = Lru(NODE_CACHE)
        self.keyring, self.log = self.open(secret)
        if head is not None:
            self.check_head(*head)

    # format.md 3.2
    def open(self, secret: Secret) -> tuple[Keyring, LogState]:
        """Keyring and log; a slot that is unreadable or belongs to another repository does not hide the others."""
        names = self.store.list("keys")[:MAX_SLOTS]
        if not names:
            raise NotARepository(f"{self.store.root}: no key slots")
        trouble: ReaderError = WrongKey("no key slot opens with this key")
        for name in names:
            try:
                if keyring := open_slot(name, self.store.get(name) or b"", secret):
                    self.keyring = keyring
                    return keyring, self.read_log()
            except ReaderError as error:
                trouble = error
        raise trouble

    # format.md 4: an object of header and part 0
    def open_object(self, name: str, kind: int, data: bytes) -> bytes:
        key = object_key(self.keyring, data[:HEADER], kind, (META,), name)
        return open_envelope(open_part(key, data[:HEADER], name, 0, data[HEADER:]), name)

    def open_reference(self, name: str, kind: int, reference: SnapshotRef | SegmentRef) -> bytes:
        data = self.store.get(name)
        if data is None:
            raise Missing(f"{name}: does not exist, but the log names it")
        require(len(data) == reference.length, f"{name}: {len(data)} bytes, the log says {reference.length}")
        require(hmac.compare_digest(H(data), reference.hash), f"{name}: its hash is not that in the log")
        return self.open_object(name, kind, data)

    # format.md 6.1 and 6.2
    def verify(self, domain: bytes, raw: bytes, what: str) -> Cursor:
        """A cursor over what a log signature covers."""
        require(len(raw) >= 64, f"{what}: is cut short")
        try:
            nacl.signing.VerifyKey(self.keyring.need(PURPOSE_VERIFY)).verify(domain + raw[:-64], raw[-64:])
        except (nacl.exceptions.CryptoError, ValueError):
            raise Damaged(f"{what}: signature is wrong") from None
        return Cursor(raw[:-64], what)

    def read_entry(self, number: int, state: Optional[LogState]) -> Optional[LogState]:
        """The state with entry `number` added, or None if the entry does not exist."""
        require(number <= MAX_NUMBER, f"log: number over {MAX_NUMBER}")
        name = f"log/{number:016x}"
        data = self.store.get(name)
        if data is None:
            return None
        cursor = self.verify(b"backup-engine v1 log", self.open_object(name, LOG, data), name)
        require(cursor.u64() == number, f"{name}: has another number")
        previous = state.head if state else bytes(32)
        require(hmac.compare_digest(cursor.take(32), previous), f"{name}: does not follow the entry before")
        time, kind, payload = cursor.time(), cursor.u16(), cursor.bytes32()
        cursor.end()
        if kind > 7:
            raise TooNew(f"{name}: entry of type {kind}")
        require((kind == 0) == (number == 0), f"{name}: type {kind} at number {number}")
        if state is None:
            check_genesis(payload, self.keyring.repository, name)
            return LogState(number, H(data), payload, [], [])
        cursor = Cursor(payload, name)
        state.number, state.head = number, H(data)
        state.apply(kind, time, cursor)
        cursor.end()
        return state

    def read_checkpoint(self, number: int) -> LogState:
        name = f"checkpoint/{number:016x}"
        data = self.store.get(name)
        if data is None:
            raise Missing(f"{name}: does not exist")
        cursor = self.verify(b"backup-engine v1 checkpoint", self.open_object(name, CHECKPOINT, data), name)
        require(cursor.u64() == number <= MAX_NUMBER, f"{name}: has another number")
        state = LogState(number, cursor.take(32), cursor.bytes32(), [], [])
        check_genesis(state.genesis, self.keyring.repository, name)
        state.snapshots = [SnapshotRef.parse(cursor) for _ in range(cursor.u32())]
        state.segments = [SegmentRef.parse(cursor) for _ in range(cursor.u32())]
        state.held = [cursor.take(16) for _ in range(cursor.u32())]
        groups = range(cursor.u32())
        state.condemned = [(cursor.u64(), cursor.time(), parse_objects(cursor)) for _ in groups]
        state.period = parse_period(cursor)
        known = cursor.u8()
        require(known in (0, 1), f"{name}: neither knows of locks nor knows of none")
        state.locked = cursor.time() if known else None
        cursor.end()
        return state

    # format.md 6.3
    def read_log(self, whole: bool = False) -> LogState:
        """Folds the log from the newest checkpoint on; `whole` begins at entry 0 and compares all checkpoints."""
        # Listed before the first entry is read: what is committed meanwhile must not look like a gap.
        entries = [int(name[-16:], 16) for name in self.store.list("log")]
        checkpoints = [int(name[-16:], 16) for name in self.store.list("checkpoint")]
        state: Optional[LogState] = None
        for number in [] if whole else sorted(checkpoints, reverse=True):
            try:
                state = self.read_checkpoint(number)
            except Damaged:
                continue
            break
        if state is None:
            state = self.read_entry(0, None)
        while state is not None:
            if whole and state.number in checkpoints:
                require(self.read_checkpoint(state.number) == state,
                        f"checkpoint/{state.number:016x}: differs from the log")
            following = self.read_entry(state.number + 1, state)
            if following is None:
                if (newest := max(entries, default=0)) > state.number:
                    raise Missing(f"log/{state.number + 1:016x}: vanished; {newest:016x} is listed")
                return state
            state = following
        if entries:
            raise Missing(f"log/{0:016x}: vanished; later entries are listed")
        raise NotARepository(f"{self.store.root}: the log has no first entry")

    def check_head(self, number: int, head: bytes) -> None:
        """Holds the log against what was seen before."""
        if number > self.log.number:
            raise RolledBack(f"the log ends at {self.log.number}, but entry {number} has been seen before")
        data = self.store.get(f"log/{number:016x}")
        if data is None or not hmac.compare_digest(H(data), head):
            raise RolledBack(f"log entry {number} is not the one that has been seen before")

    # format.md 6.4
    def snapshot(self, reference: SnapshotRef) -> Snapshot:
        name = f"snapshot/{reference.id.hex()}"
        snapshot = Snapshot(self.open_reference(name, SNAPSHOT, reference), reference, name)
        session = self.log.sessions.get(reference.id, snapshot.session)
        require(snapshot.session == session, f"{name}: of another session than the log says")
        return snapshot

    def find_snapshot(self, text: str) -> Snapshot:
        found = [ref for ref in self.log.snapshots if ref.id.hex().startswith(text.lower())]
        if text == "latest":
            found = self.log.snapshots[-1:]
        if len({ref.id for ref in found}) != 1:
            raise ReaderError(f"{'several snapshots begin' if found else 'no snapshot begins'} with '{text}'")
        return self.snapshot(found[0])

    # format.md 5.3
    @cached_property
    def segments(self) -> list[Segment]:
        segments = []
        for reference in self.log.segments:
            name = f"segment/{reference.id.hex()}"
            segments.append(Segment(self.open_reference(name, SEGMENT, reference), reference.entries, name))
        return segments

    # format.md 5.1 and 5.2
    def pack_key(self, pack: PackRef) -> bytes:
        name = pack_name(pack.id)
        return self.pack_keys.get((pack.id, pack.header)) or self.pack_keys.put(
            (pack.id, pack.header), object_key(self.keyring, pack.header, PACK, (DATA, TREE), name))

    def pack_part(self, pack: PackRef, part: int, offset: int, length: int) -> bytes:
        name = pack_name(pack.id)
        return open_part(self.pack_key(pack), pack.header, name, part, self.store.read(name, offset, length))

    def frame(self, pack: PackRef, frame: Frame) -> bytes:
        raw = self.frames.get((pack.id, frame.part))
        if raw is None or len(raw) != frame.raw:
            plain = self.pack_part(pack, frame.part, frame.offset, frame.sealed)
            raw = open_frame(plain, frame.raw, f"{pack_name(pack.id)}: part {frame.part}")
            self.frames.put((pack.id, frame.part), raw, len(raw))
        return raw

    def chunk(self, kind: int, identity: bytes) -> bytes:
        """A verified chunk; any copy that verifies will do."""
        trouble: Damaged = Missing(f"chunk {identity.hex()}: in no segment")
        for segment in self.segments:
            place = segment.find(identity)
            if place is None:
                continue
            frame = segment.frames[place.frame]
            try:
                raw = self.frame(segment.packs[frame.pack], frame)[place.offset:place.offset + place.length]
                if hmac.compare_digest(KH(self.keyring.need(PURPOSE_ID[kind]), raw), identity):
                    return raw
                trouble = Damaged(f"chunk {identity.hex()}: its bytes do not match its id")
            except Damaged as error:
                trouble = error
        raise trouble

    # format.md 7.1
    def scan(self, root: Root, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """The leaf entries whose keys begin with `prefix`, in order."""
        if root.levels:
            yield from self._scan(root.tree, root.levels - 1, Child(root.chunk, root.leaves), None, None, prefix)

    def _scan(self, tree: int, level: int, child: Child, after: Optional[bytes], last: Optional[bytes],
              prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        what = f"tree node {child.chunk.hex()}"
        node = self.nodes.get((child.chunk, tree, level))
        if node is None:
            raw = self.chunk(TREE, child.chunk)
            node = self.nodes.put((child.chunk, tree, level), Node(raw, tree, level, what), len(raw))
        require(node.leaves == child.leaves, f"{what}: {node.leaves} leaf entries instead of {child.leaves}")
        require(last is None or node.keys[-1] == last, f"{what}: its last key is not that of the node above")
        require(after is None or node.keys[0] > after, f"{what}: keys out of order")
        for index in range(bisect_left(node.keys, prefix), len(node.keys)):
            key, value = node.keys[index], node.values[index]
            if level == 0:
                if not key.startswith(prefix):
                    return
                yield key, value
                continue
            before = node.keys[index - 1] if index else after
            yield from self._scan(tree, level - 1, value, before, key, prefix)
            if key[:len(prefix)] > prefix:
                return

    # format.md 7.2
    def item(self, snapshot: Snapshot, identity: bytes) -> Optional[Item]:
        for key, record in self.scan(snapshot.items, identity):
            return Item(key, record) if key == identity else None
        return None

    def data_chunks(self, content: Content, what: str) -> Iterator[tuple[bytes, int]]:
        """The ids of a content's data chunks and the bytes that they cover."""
        length, depth, entries = content
        require(sum(covered for _, covered in entries) == length, f"{what}: lengths do not add up")
        for identity, covered in entries:
            if depth == 0:
                require(covered <= MAX_CHUNK, f"{what}: chunk longer than {MAX_CHUNK} bytes")
                yield identity, covered
                continue
            place = f"chunk list {identity.hex()}"
            cursor = Cursor(self.chunk(TREE, identity), place)
            require((cursor.u8(), cursor.u8()) == (CHUNK_LIST, depth - 1), f"{place}: not a list of depth {depth - 1}")
            below = list(chunk_entries(cursor))
            cursor.end()
            require(bool(below), f"{place}: empty")
            yield from self.data_chunks(Content(covered, depth - 1, below), place)

    def content(self, content: Content, what: str) -> Iterator[bytes]:
        for identity, covered in self.data_chunks(content, what):
            raw = self.chunk(DATA, identity)
            require(len(raw) == covered, f"{what}: chunk {identity.hex()} has {len(raw)} bytes instead of {covered}")
            yield raw

    # format.md 7.3
    def children(self, snapshot: Snapshot, parent: bytes) -> Iterator[Item]:
        """The items below a parent, in order of their names."""
        for key, value in self.scan(snapshot.names, Name.prefix(parent)):
            name = Name.parse(key, value)
            item = self.item(snapshot, name.id)
            if item is None:
                raise Damaged(f"item {show(name.id)}: in the names tree only")
            require(Name(item.parent, item.name, item.id, item.kind) == name, f"{item.what}: differs in the names tree")
            yield item

    def top(self, snapshot: Snapshot) -> Optional[Item]:
        """The item that is laid out as the target itself: a folder, if it is the only top item."""
        first = list(itertools.islice(self.children(snapshot, b""), 2))
        return first[0] if len(first) == 1 and first[0].kind == FOLDER else None
