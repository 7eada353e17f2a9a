"""The full check: reads everything that the log names, and holds all of it against `format.md`.

Used by reader.py. Start at `Check.run`.
"""
from __future__ import annotations

import hmac
import struct

from reader_repository import (
    Frame, Item, Location, Name, PackRef, Repository, Segment, Snapshot, check_location, whole_attributes)
from reader_sealed import (
    DATA, H, HEADER, KH, MAX_OBJECT, PARITY, PURPOSE_ID, Cursor, Missing, check_preamble, open_envelope, pack_name,
    require)


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
        print(f"log entries: {log.number + 1}, head {log.number}:{log.head.hex()}")
        print(f"snapshots: {len(log.snapshots)}\nsegments: {len(log.segments)}\npacks: {len(self.packs)}")
        print("\n".join(f"{name}: {count}" for name, count in self.counts.items()))
        print("parity objects: {}, for {} objects".format(*check_parity(self.repository)))
        print(f"packs that no segment names: {len(listed - self.packs.keys())}")

    # format.md 5.3
    def check_segment(self, segment: Segment, what: str) -> None:
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
        if size is None:
            raise Missing(f"{name}: does not exist, but a segment names it")
        require(size == pack.length, f"{name}: {size} bytes, not {pack.length}")
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
        links: set[bytes] = set()
        for key, record in self.repository.scan(snapshot.items):
            item = Item(key, record)
            if item.link_of is not None:
                links.add(item.link_of)
            sums[0] += self.fingerprint(Name(item.parent, item.name, item.id, item.kind))
            items += 1
            self.check_item(item)
        for key, value in self.repository.scan(snapshot.names):
            sums[1] += self.fingerprint(Name.parse(key, value))
            names += 1
        require(items == snapshot.items.leaves and names == snapshot.names.leaves, f"{what}: wrong number of entries")
        require(items == names and sums[0] == sums[1], f"{what}: its two trees do not name the same items")
        for link in links:
            goal = self.repository.item(snapshot, link)
            require(goal is not None and goal.link_of is None, f"{what}: a hard link to no item, or to another link")
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


# format.md 5.4
def check_parity(repository: Repository) -> tuple[int, int]:
    """Holds every set of parity against what it protects; how many parity objects, and how many objects they protect.

    The parity itself is held against its hashes, not computed.
    """
    store, heads = repository.store, dict[bytes, bytes]()
    names = store.list("parity")
    for name in names:
        data = store.get(name)
        assert data is not None
        check_preamble(data, PARITY, name)
        identity, number = bytes.fromhex(name[7:39]), int(name[40:], 16)
        length = int.from_bytes(data[8:12], "little")
        head, parity = data[12:12 + length], data[12 + length:]
        require(data[7] == number, f"{name}: another number than its name has")
        cursor = repository.verify(b"backup-engine v1 parity", head, name)
        require(heads.setdefault(identity, head) == head, f"{name}: its head is not that of its set")
        require(cursor.take(16) == repository.keyring.repository, f"{name}: of another repository")
        require(cursor.take(16) == identity, f"{name}: of another set")
        block, longest = cursor.u32(), cursor.u64()
        require(block > 0 and block % 64 == 0 and longest > 0 and longest % 64 == 0, f"{name}: lengths out of bounds")
        hashes = [[cursor.take(16) for _ in range(0, longest, block)] for _ in range(cursor.u16())]
        require(number < len(hashes) and len(parity) == longest, f"{name}: not the parity of its head")
        require(half_hashes(parity, block) == hashes[number], f"{name}: parity is not what was written")
        for _ in range(cursor.u16()):
            check_member(repository, cursor, block, longest, name)
        cursor.end()
    members = {name for head in heads.values() for name in member_names(head)}
    return len(names), len(members)


def half_hashes(data: bytes, block: int) -> list[bytes]:
    return [H(data[at:at + block])[:16] for at in range(0, len(data), block)]


def check_member(repository: Repository, cursor: Cursor, block: int, longest: int, what: str) -> None:
    member, size, whole = cursor.text16(255).decode(), cursor.u64(), cursor.take(32)
    expected = [cursor.take(16) for _ in range(0, size, block)]
    data = repository.store.get(member)
    if data is None:
        raise Missing(f"{member}: does not exist, but {what} protects it")
    require(len(data) == size <= longest and H(data) == whole and half_hashes(data, block) == expected,
            f"{member}: not what {what} protects")


def member_names(head: bytes) -> list[str]:
    cursor, names = Cursor(head, "parity"), []
    cursor.take(32)
    block, length = cursor.u32(), cursor.u64()
    cursor.take(cursor.u16() * 16 * -(-length // block))
    for _ in range(cursor.u16()):
        names.append(cursor.text16(255).decode())
        cursor.take(32 + 16 * -(-cursor.u64() // block))
    return names
