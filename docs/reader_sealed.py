"""From objects to plaintext: sections 1 to 4 of `format.md`, and its limits. Knows nothing of what objects say.

Used by reader_repository.py. Start at `Store`, `open_slot`, `object_key` and `open_part`.
"""
from __future__ import annotations

import hmac
import re
import struct
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Optional

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


class Missing(Damaged):
    """An object that the repository needs is gone."""


class RolledBack(ReaderError):
    """The store shows an older or another log than the one that was seen before."""


class NotARepository(ReaderError):
    """There is no repository at this place."""


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
MAX_PROBLEM_TEXT, MAX_LABEL, MAX_PERIOD = 4096, 1024, 3_153_600_000
MAX_SLOTS, MAX_SLOT, MAX_ARGON_KIB, MAX_ARGON_PASSES, MAX_ARGON_LANES = 64, 65_536, 4_194_304, 16, 64


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

    def text(self, raw: bytes) -> bytes:
        """The bytes again, which must be UTF-8."""
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError:
            raise Damaged(f"{self.what}: a text is not UTF-8") from None
        return raw

    def text16(self, limit: int = 0xFFFF, name: str = "field") -> bytes:
        return self.text(self.bytes16(limit, name))

    def time(self) -> Time:
        value = Time(self.i64(), self.u32())
        require(value.nanos < 1_000_000_000, f"{self.what}: nanoseconds out of range")
        return value

    def end(self) -> None:
        require(self.at == len(self.data), f"{self.what}: bytes are left over")


# format.md 2: Objects ------------------------------------------------------------------------------------------------

PACK, SEGMENT, SNAPSHOT, LOG, CHECKPOINT, PARITY = 2, 3, 4, 5, 6, 7
DATA, TREE, META = 1, 2, 3
NAMES = {"keys": r"keys/[0-9a-f]{32}", "log": r"log/[0-9a-f]{16}", "checkpoint": r"checkpoint/[0-9a-f]{16}",
         "pack": r"pack/([0-9a-f]{2})/\1[0-9a-f]{30}", "parity": r"parity/[0-9a-f]{32}/[0-9a-f]{2}"}


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
        if self.size(name) is None:
            raise Missing(f"{name}: does not exist")
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
ROTATED = set(PURPOSE_SEAL.values())  # the purposes that may have epochs above 1
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
            known = 1 <= pair[0] <= 9
            require(not known or pair[1] == 1 or pair[1] > 1 and pair[0] in ROTATED, f"{what}: key of epoch {pair[1]}")
            keys[pair], last = cursor.take(32), pair
        cursor.end()
        if (8, 1) in keys and (PURPOSE_VERIFY, 1) in keys:
            public = bytes(nacl.signing.SigningKey(keys[8, 1]).verify_key)
            require(public == keys[PURPOSE_VERIFY, 1], f"{what}: signing keys do not match")
        return Keyring(repository, keys)


# format.md 3.2
def open_slot(name: str, data: bytes, secret: Secret) -> Optional[Keyring]:
    """The keyring of a slot, or None if the secret is not this slot's."""
    require(len(data) <= MAX_SLOT, f"{name}: longer than {MAX_SLOT} bytes")
    check_preamble(data, SLOT_KIND, name)
    require(len(data) >= 124 + 16, f"{name}: is cut short")
    kind, (memory, passes, lanes) = data[7], struct.unpack_from("<III", data, 24)
    salt, nonce, commitment = data[36:68], data[68:92], data[92:124]
    if kind not in (1, 2):
        raise TooNew(f"{name}: slot type {kind}")
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
