#!/usr/bin/env python3
"""An independent reader of the repository format, version 1.

Written from `format.md` alone, and sharing no code with the engine, it proves that the page is complete: what the
engine writes can be listed, restored and checked with this file. It only reads. It favours clarity over speed.

Needs Python 3.10 and, from PyPI: blake3, zstandard, argon2-cffi, PyNaCl.

    reader.py REPO KEY snapshots
    reader.py REPO KEY ls SNAPSHOT [PATH]
    reader.py REPO KEY restore SNAPSHOT TARGET
    reader.py REPO KEY check

REPO is a directory that holds the objects as files. KEY is one of `--passphrase-env VAR`, `--passphrase TEXT` and
`--key-hex HEX`. SNAPSHOT is `latest` (the last in the log) or an unambiguous beginning of a snapshot's hexadecimal id.
PATH is a path as `restore` lays it out. TARGET must be absent or empty. Owners are not restored.
"""
from __future__ import annotations

import argparse
import hmac
import io
import itertools
import os
import re
import struct
import sys
from bisect import bisect_left
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Callable, Generic, Iterator, NamedTuple, Optional, TypeVar

import argon2.exceptions
import argon2.low_level
import nacl.bindings
import nacl.exceptions
import nacl.signing
import zstandard
from blake3 import blake3


class ReaderError(Exception):
    """What main() prints as one line."""


class Damaged(ReaderError):
    """The repository breaks a rule of the page."""


class TooNew(ReaderError):
    """The repository needs a newer reader."""


class WrongKey(ReaderError):
    """No slot opens, or the slot lacks a key."""


def require(condition: bool, message: str) -> None:
    if not condition:
        raise Damaged(message)


# format.md 9: Limits -------------------------------------------------------------------------------------------------

MAX_ID = MAX_NAME = MAX_COLLECTION = 1024
MAX_TAG, MAX_STREAM_NAME, MAX_STREAMS, MAX_COLLECTION_KIND = 256, 255, 10_000, 64
MAX_CURSOR = MAX_ATTRIBUTES = 65_536
MAX_RECORD, MAX_DETAILS, MAX_NESTING = 4_194_304, 8_388_608, 16
MAX_CHUNK, MAX_FRAME, MAX_PACK, MAX_OBJECT = 1 << 24, 1 << 25, 1 << 30, 1 << 28
MAX_ENTRIES, MAX_LEVELS, MAX_DEPTH, MAX_NUMBER = 1_000_000, 24, 8, 1 << 48
MAX_ARGON_KIB, MAX_ARGON_PASSES, MAX_ARGON_LANES = 4_194_304, 16, 64

FRAME_CACHE, NODE_CACHE, KEY_CACHE = 4 * MAX_FRAME, 2 * MAX_CHUNK, 4096


# format.md 1: Conventions --------------------------------------------------------------------------------------------

def H(data: bytes) -> bytes:
    return blake3(data).digest()


def KH(key: bytes, data: bytes) -> bytes:
    return blake3(data, key=key).digest()


def KDF(context: str, material: bytes) -> bytes:
    return blake3(material, derive_key_context=context).digest()


def unseal(key: bytes, nonce: bytes, associated: bytes, sealed: bytes, what: str) -> bytes:
    try:
        return nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, associated, nonce, key)
    except (nacl.exceptions.CryptoError, ValueError):
        raise Damaged(f"{what}: not authentic") from None


class Time(NamedTuple):
    seconds: int
    nanos: int

    @property
    def ns(self) -> int:
        return self.seconds * 1_000_000_000 + self.nanos

    def __str__(self) -> str:
        try:
            text = (datetime(1970, 1, 1) + timedelta(seconds=self.seconds)).isoformat()
        except OverflowError:
            return f"@{self.seconds}.{self.nanos:09}"
        return text + (f".{self.nanos:09}".rstrip("0") if self.nanos else "") + "Z"


class Cursor:
    """Reads fields one after the other; anything that is missing or left over is damage."""

    def __init__(self, data: bytes, what: str) -> None:
        self.data, self.what, self.at = data, what, 0

    def take(self, length: int) -> bytes:
        start, self.at = self.at, self.at + length
        require(self.at <= len(self.data), f"{self.what}: ends too early")
        return self.data[start:self.at]

    def u8(self) -> int:
        return self.take(1)[0]

    def u16(self) -> int:
        return int.from_bytes(self.take(2), "little")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def i64(self) -> int:
        return int.from_bytes(self.take(8), "little", signed=True)

    def _limited(self, length: int, limit: int, name: str) -> bytes:
        require(length <= limit, f"{self.what}: {name} is longer than {limit} bytes")
        return self.take(length)

    def bytes16(self, limit: int = 0xFFFF, name: str = "field") -> bytes:
        return self._limited(self.u16(), limit, name)

    def bytes32(self, limit: int = MAX_OBJECT, name: str = "field") -> bytes:
        return self._limited(self.u32(), limit, name)

    def text(self, raw: bytes) -> str:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise Damaged(f"{self.what}: a text is not UTF-8") from None

    def time(self) -> Time:
        value = Time(self.i64(), self.u32())
        require(value.nanos < 1_000_000_000, f"{self.what}: nanoseconds out of range")
        return value

    def end(self) -> None:
        require(self.at == len(self.data), f"{self.what}: bytes are left over")


K = TypeVar("K")
V = TypeVar("V")


class Lru(Generic[K, V]):
    """A cache of bounded weight."""

    def __init__(self, limit: int) -> None:
        self.limit, self.weight, self.items = limit, 0, OrderedDict[Any, tuple[Any, int]]()

    def get(self, key: K) -> Optional[V]:
        if key not in self.items:
            return None
        self.items.move_to_end(key)
        return self.items[key][0]

    def put(self, key: K, value: V, weight: int = 1) -> V:
        self.items[key] = (value, weight)
        self.weight += weight
        while self.weight > self.limit and len(self.items) > 1:
            self.weight -= self.items.popitem(last=False)[1][1]
        return value


# format.md 2: Objects ------------------------------------------------------------------------------------------------

PACK, SEGMENT, SNAPSHOT, LOG, CHECKPOINT = 2, 3, 4, 5, 6
DATA, TREE, META = 1, 2, 3
NAMES = {"keys": r"keys/[0-9a-f]{32}", "log": r"log/[0-9a-f]{16}", "checkpoint": r"checkpoint/[0-9a-f]{16}",
         "pack": r"pack/([0-9a-f]{2})/\1[0-9a-f]{30}"}


def pack_name(pack: bytes) -> str:
    return f"pack/{pack.hex()[:2]}/{pack.hex()}"


class Store:
    """The objects of a local directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def list(self, folder: str) -> list[str]:
        """The names below a folder: a hint only. Files that are no objects are left out."""
        files = (path.relative_to(self.root).as_posix() for path in (self.root / folder).rglob("*") if path.is_file())
        return sorted(name for name in files if re.fullmatch(NAMES[folder], name))

    def size(self, name: str) -> Optional[int]:
        path = self.root / name
        return path.stat().st_size if path.is_file() else None

    def read(self, name: str, offset: int, length: int) -> bytes:
        require(self.size(name) is not None, f"{name}: does not exist")
        with open(self.root / name, "rb") as file:
            file.seek(offset)
            data = file.read(length)
        require(len(data) == length, f"{name}: is cut short")
        return data

    def get(self, name: str) -> Optional[bytes]:
        """A whole object other than a pack, or None if it does not exist."""
        size = self.size(name)
        require(size is None or size <= MAX_OBJECT, f"{name}: longer than {MAX_OBJECT} bytes")
        return None if size is None else self.read(name, 0, size)

    def hash(self, name: str) -> bytes:
        hasher = blake3()
        with open(self.root / name, "rb") as file:
            while block := file.read(1 << 20):
                hasher.update(block)
        return hasher.digest()


# format.md 3: Keys ---------------------------------------------------------------------------------------------------

MAGIC, VERSION, SLOT_KIND = b"bkup", 1, 1
PURPOSE_ID = {DATA: 2, TREE: 3}
PURPOSE_SEAL = {DATA: 4, TREE: 5, META: 6}
PURPOSE_VERIFY = 9
PURPOSE_NAMES = {2: "data id", 3: "tree id", 4: "data seal", 5: "tree seal", 6: "meta seal", 9: "log verification"}


def check_preamble(data: bytes, kind: int, what: str) -> None:
    """Magic, version and kind, with which every object begins."""
    require(len(data) >= 8 and data[:4] == MAGIC, f"{what}: not an object of a repository")
    version = int.from_bytes(data[4:6], "little")
    if version > VERSION:
        raise TooNew(f"{what}: format version {version}, this reader knows {VERSION}")
    require(version == VERSION, f"{what}: format version {version}")
    require(data[6] == kind, f"{what}: kind {data[6]} instead of {kind}")


@dataclass(frozen=True)
class Secret:
    slot_type: int  # 1 passphrase, 2 raw key
    value: bytes


@dataclass(frozen=True)
class Keyring:
    repository: bytes
    keys: dict[tuple[int, int], bytes]

    def need(self, purpose: int, epoch: int = 1) -> bytes:
        key = self.keys.get((purpose, epoch))
        if key is None:
            raise WrongKey(f"the key slot holds no {PURPOSE_NAMES[purpose]} key of epoch {epoch}")
        return key

    # format.md 3.1
    @staticmethod
    def parse(repository: bytes, raw: bytes, what: str) -> Keyring:
        cursor, keys, last = Cursor(raw, what), {}, (-1, -1)
        for _ in range(cursor.u16()):
            pair = (cursor.u16(), cursor.u32())
            require(pair > last, f"{what}: keyring out of order")
            require(pair[1] >= 1 and (pair[0] not in (1, 2, 3, 7) or pair[1] == 1), f"{what}: key of epoch {pair[1]}")
            keys[pair], last = cursor.take(32), pair
        cursor.end()
        for (purpose, epoch), seed in keys.items():
            if purpose == 8 and (public := keys.get((9, epoch))) is not None:
                require(bytes(nacl.signing.SigningKey(seed).verify_key) == public, f"{what}: signing keys do not match")
        return Keyring(repository, keys)


# format.md 3.2
def open_slot(name: str, data: bytes, secret: Secret) -> Optional[Keyring]:
    """The keyring of a slot, or None if the secret is not this slot's."""
    check_preamble(data, SLOT_KIND, name)
    require(len(data) >= 124 + 16, f"{name}: is cut short")
    kind, (memory, passes, lanes) = data[7], struct.unpack_from("<III", data, 24)
    salt, nonce, commitment = data[36:68], data[68:92], data[92:124]
    require(kind in (1, 2), f"{name}: unknown slot type {kind}")
    if kind == 2:
        require(memory == passes == lanes == 0, f"{name}: Argon2id parameters in a raw-key slot")
    else:
        require(1 <= lanes <= MAX_ARGON_LANES and 1 <= passes <= MAX_ARGON_PASSES
                and 8 * lanes <= memory <= MAX_ARGON_KIB, f"{name}: Argon2id parameters out of range")
    if kind != secret.slot_type:
        return None
    try:
        kek = secret.value if kind == 2 else argon2.low_level.hash_secret_raw(
            secret.value, salt, time_cost=passes, memory_cost=memory, parallelism=lanes, hash_len=32,
            type=argon2.low_level.Type.ID, version=0x13)
    except argon2.exceptions.HashingError as error:
        raise ReaderError(f"{name}: Argon2id: {error}") from None
    slot_key = KDF("backup-engine v1 slot key", kek + salt)
    if not hmac.compare_digest(KDF("backup-engine v1 slot commitment", slot_key), commitment):
        return None
    raw = unseal(slot_key, nonce, data[:124] + name.encode(), data[124:], name)
    return Keyring.parse(data[8:24], raw, name)


def open_keyring(store: Store, secret: Secret) -> Keyring:
    """The keyring of the first slot that opens; a slot that is unreadable does not hide the others."""
    trouble: Optional[ReaderError] = None
    names = store.list("keys")
    require(bool(names), f"{store.root}: no key slots; not a repository?")
    for name in names:
        try:
            keyring = open_slot(name, store.get(name) or b"", secret)
        except ReaderError as error:
            trouble = trouble or error
            continue
        if keyring is not None:
            return keyring
    if isinstance(trouble, TooNew):
        raise trouble
    raise WrongKey("no key slot opens with this key" + (f" ({trouble})" if trouble else ""))


# format.md 4: Sealed objects -----------------------------------------------------------------------------------------

HEADER = 168


def object_key(keyring: Keyring, header: bytes, kind: int, classes: tuple[int, ...], what: str) -> bytes:
    check_preamble(header, kind, what)
    require(len(header) == HEADER, f"{what}: is cut short")
    require(header[7] in classes, f"{what}: class {header[7]}")
    require(header[8:24] == keyring.repository, f"{what}: belongs to another repository")
    epoch, wrap, length = struct.unpack_from("<IHH", header, 24)
    if wrap != 1:
        raise TooNew(f"{what}: wrap type {wrap}")
    require(length == 72, f"{what}: wrapped key of {length} bytes")
    seal_key = keyring.need(PURPOSE_SEAL[header[7]], epoch)
    session_key = unseal(seal_key, header[32:56], header[7:28], header[56:104], f"{what}: session key")
    key = KDF("backup-engine v1 object key", session_key + header[104:136])
    commitment = KDF("backup-engine v1 key commitment", key)
    require(hmac.compare_digest(commitment, header[136:168]), f"{what}: key commitment does not match")
    return key


def open_part(key: bytes, header: bytes, name: str, part: int, sealed: bytes) -> bytes:
    require(len(sealed) >= 16, f"{name}: part {part} is cut short")
    number = struct.pack("<I", part)
    associated = header + struct.pack("<H", len(name)) + name.encode() + number + struct.pack("<I", len(sealed) - 16)
    return unseal(key, number + bytes(20), associated, sealed, f"{name}: part {part}")


def decode(codec: int, raw_length: int, stored: bytes, what: str) -> bytes:
    if codec == 0:
        require(len(stored) == raw_length, f"{what}: stored length differs from raw length")
        return stored
    require(codec == 1, f"{what}: unknown codec {codec}")
    try:
        require(stored[:4] == b"\x28\xb5\x2f\xfd", f"{what}: not a zstd frame")
        declared = zstandard.get_frame_parameters(stored).content_size
        require(declared in (raw_length, zstandard.CONTENTSIZE_UNKNOWN), f"{what}: wrong raw length")
        # With a declared size of 0 the binding would not look at the blocks; nothing of them is used either.
        raw = zstandard.ZstdDecompressor().decompress(stored, max_output_size=raw_length or 1, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Damaged(f"{what}: zstd: {error}") from None
    require(len(raw) == raw_length, f"{what}: wrong raw length")
    return raw


def open_envelope(plain: bytes, what: str) -> bytes:
    cursor = Cursor(plain, what)
    codec, raw_length = cursor.u8(), cursor.u32()
    require(raw_length <= MAX_OBJECT, f"{what}: raw length over {MAX_OBJECT} bytes")
    stored = cursor.bytes32()
    require(plain.count(0, cursor.at) == len(plain) - cursor.at, f"{what}: padding is not zero")
    return decode(codec, raw_length, stored, what)


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
    require(place.length <= MAX_CHUNK, f"{what}: chunk longer than {MAX_CHUNK} bytes")
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

    @staticmethod
    def parse(cursor: Cursor) -> SnapshotRef:
        reference = SnapshotRef(cursor.take(16), cursor.u64(), cursor.take(32),
                                cursor.bytes16(MAX_COLLECTION, "collection id"),
                                cursor.bytes16(MAX_COLLECTION_KIND, "collection kind"), cursor.time(), cursor.u8())
        require(reference.state in STATES, f"{cursor.what}: snapshot of state {reference.state}")
        return reference


@dataclass
class LogState:
    """The fold of the log up to and including one entry."""

    number: int
    head: bytes  # H(entry object)
    genesis: bytes
    snapshots: list[SnapshotRef]
    segments: list[SegmentRef]


def check_genesis(payload: bytes, what: str) -> None:
    cursor = Cursor(payload, what)
    minimum, average, maximum = cursor.u32(), cursor.u32(), cursor.u32()
    cursor.u8(), cursor.u32()  # normalization level, tree node target
    cursor.end()
    require(minimum <= average <= maximum <= MAX_CHUNK, f"{what}: chunk sizes out of range")


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
        self.what, identity = what, cursor.take(16)
        cursor.take(16)  # session id
        collection = cursor.bytes16(MAX_COLLECTION, "collection id"), cursor.bytes16(MAX_COLLECTION_KIND, "kind")
        has_parent, parent = cursor.u8(), cursor.take(16)
        require(has_parent == 1 or has_parent == 0 and parent == bytes(16), f"{what}: wrong parent")
        named = (identity, *collection, cursor.time(), cursor.u8())
        require(named == (reference.id, *reference[3:]), f"{what}: differs from what the log says")
        cursor.bytes32(MAX_CURSOR, "cursor")
        self.items, self.names = Root.parse(cursor, ITEMS_TREE), Root.parse(cursor, NAMES_TREE)
        self.item_count, self.stream_bytes = cursor.u64(), cursor.u64()
        cursor.take(5 * 8)  # added, changed, removed, bytes read, bytes stored
        problems, listed = cursor.u64(), cursor.u32()
        require(listed <= problems, f"{what}: more problems listed than counted")
        for _ in range(listed):
            cursor.bytes16(), cursor.u32(), cursor.bytes16()
        for _ in range(cursor.u16()):
            cursor.bytes16(), cursor.bytes16()
        cursor.end()


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
    yield from struct.iter_unpack("<32sQ", cursor.take(cursor.u32() * 40))


def parse_value(cursor: Cursor, nesting: int) -> Any:
    require(nesting <= MAX_NESTING, f"{cursor.what}: values nested deeper than {MAX_NESTING}")
    kind = cursor.u8()
    if kind == 7:
        return [parse_value(cursor, nesting + 1) for _ in range(cursor.u32())]
    simple: dict[int, Callable[[], Any]] = {
        0: lambda: False, 1: lambda: True, 2: cursor.i64, 3: lambda: struct.unpack("<d", cursor.take(8))[0],
        4: lambda: cursor.text(cursor.bytes32()), 5: cursor.bytes32, 6: cursor.time,
        8: lambda: parse_attributes(cursor, nesting + 1)}
    require(kind in simple, f"{cursor.what}: value of unknown type {kind}")
    return simple[kind]()


def parse_attributes(cursor: Cursor, nesting: int = 1) -> dict[bytes, Any]:
    attributes: dict[bytes, Any] = {}
    last: Optional[bytes] = None
    for _ in range(cursor.u32()):
        name = cursor.bytes16()
        cursor.text(name)
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
        if (version := cursor.u8()) != 1:
            raise TooNew(f"{what}: record version {version}")
        self.id, self.what = identity, what
        self.parent, self.name = cursor.bytes16(MAX_ID, "parent id"), cursor.bytes16(MAX_NAME, "name")
        self.kind, flags = cursor.u16(), cursor.u8()
        require(flags < 32, f"{what}: unknown flags")
        self.created = cursor.time() if flags & 1 else None
        self.modified = cursor.time() if flags & 2 else None
        cursor.bytes16(MAX_TAG, "tag")
        self.link_of = cursor.bytes16(MAX_ID, "hard link") if flags & 4 else None
        self.attributes = whole_attributes(cursor.bytes32(MAX_ATTRIBUTES, "attributes"), f"{what}: attributes")
        self.details = Content.parse(cursor) if flags & 8 else None
        require(self.details is None or self.details.length <= MAX_DETAILS, f"{what}: details too long")
        count = cursor.u16()
        require(count <= MAX_STREAMS, f"{what}: more than {MAX_STREAMS} streams")
        self.streams = [(cursor.bytes16(MAX_STREAM_NAME, "stream name"), Content.parse(cursor)) for _ in range(count)]
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


# The repository ------------------------------------------------------------------------------------------------------

class Repository:
    def __init__(self, store: Store, secret: Secret) -> None:
        self.store, self.keyring = store, open_keyring(store, secret)
        self.pack_keys: Lru[tuple[bytes, bytes], bytes] = Lru(KEY_CACHE)
        self.frames: Lru[tuple[bytes, int], bytes] = Lru(FRAME_CACHE)
        self.nodes: Lru[tuple[bytes, int, int], Node] = Lru(NODE_CACHE)
        self.log = self.read_log()

    # format.md 4: an object of header and part 0
    def open_object(self, name: str, kind: int, data: bytes) -> bytes:
        key = object_key(self.keyring, data[:HEADER], kind, (META,), name)
        return open_envelope(open_part(key, data[:HEADER], name, 0, data[HEADER:]), name)

    def open_reference(self, name: str, kind: int, reference: SnapshotRef | SegmentRef) -> bytes:
        data = self.store.get(name)
        if data is None:
            raise Damaged(f"{name}: does not exist, but the log names it")
        require(len(data) == reference.length, f"{name}: {len(data)} bytes, the log says {reference.length}")
        require(hmac.compare_digest(H(data), reference.hash), f"{name}: its hash is not that in the log")
        return self.open_object(name, kind, data)

    # format.md 6.1 and 6.2
    def verify(self, domain: bytes, raw: bytes, what: str) -> Cursor:
        """A cursor over what a log signature covers."""
        require(len(raw) >= 64, f"{what}: is cut short")
        self.keyring.need(PURPOSE_VERIFY)
        for (purpose, _), public in self.keyring.keys.items():
            if purpose == PURPOSE_VERIFY:
                try:
                    nacl.signing.VerifyKey(public).verify(domain + raw[:-64], raw[-64:])
                    return Cursor(raw[:-64], what)
                except (nacl.exceptions.CryptoError, ValueError):
                    continue
        raise Damaged(f"{what}: signature is wrong")

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
        cursor.time()
        kind, payload = cursor.u16(), cursor.bytes32()
        cursor.end()
        if kind > 1:
            raise TooNew(f"{name}: entry of type {kind}")
        require((kind == 0) == (number == 0), f"{name}: type {kind} at number {number}")
        if state is None:
            check_genesis(payload, name)
            return LogState(number, H(data), payload, [], [])
        cursor = Cursor(payload, name)
        cursor.take(16)  # session id
        snapshots = [SnapshotRef.parse(cursor) for _ in range(cursor.u16())]
        segments = [SegmentRef.parse(cursor) for _ in range(cursor.u16())]
        cursor.end()
        state.number, state.head = number, H(data)
        state.snapshots += snapshots
        state.segments += segments
        return state

    def read_checkpoint(self, number: int) -> LogState:
        name = f"checkpoint/{number:016x}"
        data = self.store.get(name)
        if data is None:
            raise Damaged(f"{name}: does not exist")
        cursor = self.verify(b"backup-engine v1 checkpoint", self.open_object(name, CHECKPOINT, data), name)
        require(cursor.u64() == number <= MAX_NUMBER, f"{name}: has another number")
        state = LogState(number, cursor.take(32), cursor.bytes32(), [], [])
        check_genesis(state.genesis, name)
        state.snapshots = [SnapshotRef.parse(cursor) for _ in range(cursor.u32())]
        state.segments = [SegmentRef.parse(cursor) for _ in range(cursor.u32())]
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
                newest = max(entries + checkpoints, default=0)
                require(newest <= state.number, f"log/{state.number + 1:016x}: vanished; {newest:016x} exists")
                return state
            state = following
        raise Damaged("log/0000000000000000: does not exist, nor a checkpoint that opens")

    # format.md 6.4
    def snapshot(self, reference: SnapshotRef) -> Snapshot:
        name = f"snapshot/{reference.id.hex()}"
        return Snapshot(self.open_reference(name, SNAPSHOT, reference), reference, name)

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
        trouble = Damaged(f"chunk {identity.hex()}: in no segment")
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


# List ----------------------------------------------------------------------------------------------------------------

def list_snapshots(repository: Repository) -> None:
    for ref in repository.log.snapshots:
        items = repository.snapshot(ref).item_count
        print(f"{ref.id.hex()}  {show(ref.collection)}  {ref.created}  {STATES[ref.state]}  {items}")


def list_items(repository: Repository, snapshot: Snapshot, path: str) -> None:
    top = repository.top(snapshot)
    parents, found = [top.id if top else b""], list[Item]()
    parts = [os.fsencode(part) for part in path.split("/") if part]
    for part in parts:
        found = [item for parent in parents for item in repository.children(snapshot, parent) if item.name == part]
        parents = [item.id for item in found]
    if not parents:
        raise ReaderError(f"no item at '{path}'")

    def line(item: Item, where: list[bytes]) -> None:
        kind = KINDS.get(item.kind, str(item.kind))
        target = item.attributes.get(b"link_target")
        arrow = f" -> {show(target)}" if isinstance(target, bytes) else " (hard link)" if item.link_of else ""
        print(f"{kind:8} {item.size:>14}  {str(item.modified or '-'):30}  {'/'.join(map(show, where))}{arrow}")

    for item in found:
        line(item, parts)
    stack = [(repository.children(snapshot, parent), parts) for parent in reversed(parents)]
    while stack:
        items, where = stack[-1]
        if (child := next(items, None)) is None:
            stack.pop()
            continue
        line(child, where + [child.name])
        stack.append((repository.children(snapshot, child.id), where + [child.name]))


# Restore -------------------------------------------------------------------------------------------------------------

class Restore:
    """Writes a snapshot below a target. All is created exclusively, so nothing leads out of the target."""

    def __init__(self, repository: Repository, snapshot: Snapshot, target: Path) -> None:
        self.repository, self.snapshot, self.target = repository, snapshot, os.fsencode(target)
        self.problems = 0
        self.folders: list[tuple[bytes, Item]] = []  # modes and times of folders come last
        self.links: list[tuple[bytes, Item]] = []
        self.link_targets = {item.link_of: b"" for item in
                             itertools.starmap(Item, repository.scan(snapshot.items)) if item.link_of is not None}

    def run(self) -> int:
        os.makedirs(self.target, exist_ok=True)
        if os.listdir(self.target):
            raise ReaderError(f"{show(self.target)}: not empty")
        top = self.repository.top(self.snapshot)
        if top:
            self.folders.append((self.target, top))
            self.streams(top, self.target, b"", top.streams)
        stack = [(self.target, top.id if top else b"")]
        while stack:
            folder, parent = stack.pop()
            with self.keep_going(folder):
                for item in self.repository.children(self.snapshot, parent):
                    with self.keep_going(os.path.join(folder, item.name)):
                        if below := self.create(folder, item):
                            stack.append((below, item.id))
        for folder, item in self.links:
            with self.keep_going(os.path.join(folder, item.name)):
                self.link(folder, item)
        for path, item in reversed(self.folders):
            with self.keep_going(path):
                self.finish(path, item)
        return self.problems

    @contextmanager
    def keep_going(self, path: bytes) -> Iterator[None]:
        """What is damaged must not keep the rest from being restored."""
        try:
            yield
        except (OSError, Damaged) as error:
            self.problems += 1
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            print(f"error: {show(path)}: {reason}", file=sys.stderr)

    def create(self, folder: bytes, item: Item) -> Optional[bytes]:
        """Creates one item; returns its path if it is a folder."""
        if item.name in (b"", b".", b"..") or b"/" in item.name or b"\0" in item.name:
            raise Damaged("name refused")
        if item.link_of is not None:
            self.links.append((folder, item))
            return None
        has_children = next(self.repository.scan(self.snapshot.names, Name.prefix(item.id)), None) is not None
        if item.kind == FOLDER or has_children:
            path = self.claim(folder, item.name, lambda path: os.mkdir(path, 0o700))
            self.folders.append((path, item))
            self.streams(item, folder, item.name, item.streams)
            return path
        if item.kind == SYMLINK:
            goal = item.attributes.get(b"link_target")
            if not isinstance(goal, bytes):
                raise Damaged("symlink without link_target")
            path = self.claim(folder, item.name, lambda path: os.symlink(goal, path))
            self.finish(path, item, symlink=True)
        elif item.kind == FILE or item.streams:
            main = next((content for name, content in item.streams if name == b"content"), Content(0, 0, []))
            path = self.write(folder, item.name, item, main)
            self.finish(path, item)
        else:
            print(f"skipped: {show(folder)}: {show(item.name)}: has no content", file=sys.stderr)
            return None
        if item.id in self.link_targets:
            self.link_targets[item.id] = path
        self.streams(item, folder, item.name, [stream for stream in item.streams if stream[0] != b"content"])
        return None

    def claim(self, folder: bytes, name: bytes, make: Callable[[bytes], None]) -> bytes:
        """Creates something under a name that is free: two items may share a name."""
        for attempt in itertools.count(1):
            path = os.path.join(folder, name + (b"~%d" % attempt if attempt > 1 else b""))
            try:
                make(path)
                return path
            except FileExistsError:
                continue
        raise AssertionError

    def write(self, folder: bytes, name: bytes, item: Item, content: Content) -> bytes:
        path = self.claim(folder, name, lambda path: os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600)))
        try:
            with open(path, "wb") as file:
                for raw in self.repository.content(content, item.what):
                    if item.attributes.get(b"sparse") is True and raw.count(0) == len(raw):
                        file.seek(len(raw), os.SEEK_CUR)
                    else:
                        file.write(raw)
                file.truncate(content.length)
        except BaseException:
            os.unlink(path)  # no half of a file
            raise
        return path

    def streams(self, item: Item, folder: bytes, name: bytes, streams: list[tuple[bytes, Content]]) -> None:
        for stream, content in streams:
            file = name + b"#" + stream.replace(b"/", b"_").replace(b"\0", b"_")
            with self.keep_going(os.path.join(folder, file)):
                self.write(folder, file, item, content)

    def link(self, folder: bytes, item: Item) -> None:
        goal, seen = item, {item.id}
        while goal.link_of is not None:
            following = self.repository.item(self.snapshot, goal.link_of)
            if following is None or following.id in seen:
                raise Damaged("hard link to no item")
            goal = following
            seen.add(goal.id)
        if not (source := self.link_targets.get(goal.id)):
            raise Damaged("hard link to an item that was not restored")
        self.claim(folder, item.name, lambda path: os.link(source, path, follow_symlinks=False))

    def finish(self, path: bytes, item: Item, symlink: bool = False) -> None:
        mode = item.attributes.get(b"mode")
        if type(mode) is int and not symlink:
            # The owner is not restored: a file must not become set-user-id of whoever restores it.
            os.chmod(path, mode & (0o3777 if os.path.isdir(path) else 0o1777))
        if item.modified:
            try:
                os.utime(path, ns=(item.modified.ns, item.modified.ns), follow_symlinks=False)
            except OverflowError:
                raise OSError("modification time out of range") from None


# Check ---------------------------------------------------------------------------------------------------------------

class Check:
    """Reads everything that the log names."""

    def __init__(self, repository: Repository) -> None:
        self.repository, self.store = repository, repository.store
        self.packs: dict[bytes, PackRef] = {}
        self.counts = dict.fromkeys(("frames", "chunks", "items", "streams", "unreachable items"), 0)

    def run(self) -> None:
        self.repository.log = log = self.repository.read_log(whole=True)
        for number, segment in enumerate(self.repository.segments):
            self.check_segment(segment, f"segment/{log.segments[number].id.hex()}")
        for reference in log.snapshots:
            self.check_snapshot(self.repository.snapshot(reference))
        listed = {bytes.fromhex(name[-32:]) for name in self.store.list("pack")}
        print(f"log entries: {log.number + 1}, head {log.head.hex()}")
        print(f"snapshots: {len(log.snapshots)}\nsegments: {len(log.segments)}\npacks: {len(self.packs)}")
        print("\n".join(f"{name}: {count}" for name, count in self.counts.items()))
        print(f"packs that no segment names: {len(listed - self.packs.keys())}")

    # format.md 5.3
    def check_segment(self, segment: Segment, what: str) -> None:
        require(len({pack.id for pack in segment.packs}) == len(segment.packs), f"{what}: names a pack twice")
        known: set[tuple[bytes, int, int, int, int]] = set()
        frames: set[Frame] = set()
        for index, pack in enumerate(segment.packs):
            require(self.packs.get(pack.id, pack) == pack, f"{what}: {pack_name(pack.id)} differs between segments")
            directory, chunks = self.read_directory(pack, index)
            if pack.id not in self.packs:
                self.check_pack(pack, directory, chunks)
                self.packs[pack.id] = pack
            frames.update(directory)
            known.update((chunk, index, directory[place.frame].part, *place[1:]) for chunk, place in chunks)
        require(frames.issuperset(segment.frames), f"{what}: a frame differs from the pack's directory")
        for chunk, place in segment:
            frame = segment.frames[place.frame]
            require((chunk, frame.pack, frame.part, *place[1:]) in known,
                    f"{what}: chunk {chunk.hex()} differs from the pack's directory")

    # format.md 5.2
    def read_directory(self, pack: PackRef, index: int) -> tuple[list[Frame], list[tuple[bytes, Location]]]:
        name = pack_name(pack.id)
        size = self.store.size(name)
        require(size == pack.length, f"{name}: {'missing' if size is None else f'{size} bytes'}, not {pack.length}")
        require(self.store.read(name, 0, HEADER) == pack.header, f"{name}: header differs from the segment")
        footer = Cursor(self.repository.pack_part(pack, 0xFFFFFFFF, pack.length - 32, 32), f"{name}: footer")
        offset, length, zero = footer.u64(), footer.u32(), footer.u32()
        require(zero == 0, f"{name}: footer is not zero")
        require(HEADER <= offset and offset + length == pack.length - 32, f"{name}: directory is out of place")
        require(length <= MAX_OBJECT, f"{name}: directory too long")
        what = f"{name}: directory"
        cursor = Cursor(open_envelope(self.repository.pack_part(pack, 0xFFFFFFFE, offset, length), what), what)
        lengths = [0] * index + [pack.length]
        frames = [Frame.parse(cursor, lengths, index) for _ in range(cursor.u32())]
        chunks = [(cursor.take(32), Location(cursor.u32(), cursor.u32(), cursor.u32())) for _ in range(cursor.u32())]
        cursor.end()
        end = HEADER
        for frame in frames:
            require(frame.offset == end, f"{what}: frames out of order or with gaps")
            end += frame.sealed
        require(end == offset, f"{what}: a gap after the frames")
        require({frame.part for frame in frames} == set(range(len(frames))), f"{what}: part numbers with gaps")
        for _, place in chunks:
            check_location(place, frames, what)
        return frames, chunks

    def check_pack(self, pack: PackRef, frames: list[Frame], chunks: list[tuple[bytes, Location]]) -> None:
        name = pack_name(pack.id)
        require(hmac.compare_digest(self.store.hash(name), pack.hash), f"{name}: its hash is not that in the segment")
        id_key = self.repository.keyring.need(PURPOSE_ID[pack.header[7]])
        ordered = iter(sorted(chunks, key=lambda chunk: chunk[1]))
        for index, frame in enumerate(frames):
            raw, end = self.repository.frame(pack, frame), 0
            while end < frame.raw:
                chunk, place = next(ordered, (b"", Location(-1, 0, 0)))
                require(place[:2] == (index, end), f"{name}: part {frame.part} is not covered by chunks without gaps")
                end += place.length
                require(hmac.compare_digest(KH(id_key, raw[place.offset:end]), chunk),
                        f"{name}: chunk {chunk.hex()} does not match its id")
        require(next(ordered, None) is None, f"{name}: chunks that overlap or are empty")
        self.counts["frames"] += len(frames)
        self.counts["chunks"] += len(chunks)

    # format.md 6.4 and 7
    def check_snapshot(self, snapshot: Snapshot) -> None:
        what, items, names = snapshot.what, 0, 0
        sums = [0, 0]  # each tree's sum of hashes of (parent, name, id, kind): equal if they name the same items
        for key, record in self.repository.scan(snapshot.items):
            item = Item(key, record)
            sums[0] += self.fingerprint(Name(item.parent, item.name, item.id, item.kind))
            items += 1
            self.check_item(item)
        for key, value in self.repository.scan(snapshot.names):
            sums[1] += self.fingerprint(Name.parse(key, value))
            names += 1
        require(items == snapshot.items.leaves and names == snapshot.names.leaves, f"{what}: wrong number of entries")
        require(items == snapshot.item_count, f"{what}: {items} items, the snapshot says {snapshot.item_count}")
        require(items == names and sums[0] == sums[1], f"{what}: its two trees do not name the same items")
        reached, stack = 0, [b""]
        while stack:
            for key, value in self.repository.scan(snapshot.names, Name.prefix(stack.pop())):
                stack.append(Name.parse(key, value).id)
                reached += 1
        self.counts["items"] += items
        self.counts["unreachable items"] += items - reached

    @staticmethod
    def fingerprint(name: Name) -> int:
        return int.from_bytes(H(struct.pack("<H", name.kind) + name.key), "little")

    def check_item(self, item: Item) -> None:
        if item.details:
            whole_attributes(b"".join(self.repository.content(item.details, item.what)), f"{item.what}: details")
        for _, content in item.streams:
            for chunk, covered in self.repository.data_chunks(content, item.what):
                require(self.has_chunk(chunk, covered), f"{item.what}: no chunk {chunk.hex()} of {covered} bytes")
        self.counts["streams"] += len(item.streams)

    def has_chunk(self, identity: bytes, length: int) -> bool:
        """Whether a data chunk is in a pack; all packs have been verified before."""
        for segment in self.repository.segments:
            place = segment.find(identity)
            if place and place.length == length:
                return segment.packs[segment.frames[place.frame].pack].header[7] == DATA
        return False


# Command line --------------------------------------------------------------------------------------------------------

def parse_arguments(arguments: Optional[list[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="An independent reader of the repository format, version 1.")
    parser.add_argument("repo", type=Path, help="directory of the repository")
    key = parser.add_mutually_exclusive_group(required=True)
    key.add_argument("--passphrase-env", metavar="VAR", help="environment variable that holds the passphrase")
    key.add_argument("--passphrase", metavar="TEXT")
    key.add_argument("--key-hex", metavar="HEX", help="raw 32-byte key")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("snapshots", help="one line per snapshot: id, collection, created, state, items")
    command = commands.add_parser("ls", help="list the items of a snapshot")
    command.add_argument("snapshot")
    command.add_argument("path", nargs="?", default="")
    command = commands.add_parser("restore", help="write a snapshot below a folder")
    command.add_argument("snapshot")
    command.add_argument("target", type=Path)
    commands.add_parser("check", help="read and verify everything")
    return parser.parse_args(arguments)


def secret_of(options: argparse.Namespace) -> Secret:
    if options.key_hex is not None:
        if not re.fullmatch(r"[0-9a-fA-F]{64}", options.key_hex):
            raise ReaderError("--key-hex: not 64 hexadecimal digits")
        return Secret(2, bytes.fromhex(options.key_hex))
    text = options.passphrase
    if options.passphrase_env is not None and (text := os.environ.get(options.passphrase_env)) is None:
        raise ReaderError(f"environment variable {options.passphrase_env} is not set")
    return Secret(1, os.fsencode(text))


def main(arguments: Optional[list[str]] = None) -> int:
    options = parse_arguments(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        repository = Repository(Store(options.repo), secret_of(options))
        if options.command == "snapshots":
            list_snapshots(repository)
        elif options.command == "check":
            Check(repository).run()
        elif options.command == "ls":
            list_items(repository, repository.find_snapshot(options.snapshot), options.path)
        else:
            return 1 if Restore(repository, repository.find_snapshot(options.snapshot), options.target).run() else 0
        sys.stdout.flush()
    except (ReaderError, OSError, MemoryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
