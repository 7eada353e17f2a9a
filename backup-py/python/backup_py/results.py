"""What calls give back: plain frozen values that can be compared, pickled and turned into dictionaries.

The extension module makes them; they never call back into it. Times are nanoseconds since 1970-01-01T00:00:00Z, with a
`datetime` beside them for people (which has microseconds, and raises `OverflowError` outside the years 1 to 9999).
Sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Literal, Union, cast

from ._html import Shown
from .exceptions import BackupError

__all__ = [
    "BackupReport",
    "Collection",
    "Compression",
    "Conflict",
    "Difference",
    "Finding",
    "Item",
    "Phase",
    "Problem",
    "Progress",
    "RecordedProblem",
    "RestoreReport",
    "SnapshotInfo",
    "SnapshotState",
    "SnapshotStats",
    "SnapshotSummary",
    "Stream",
    "Value",
    "VerifyLevel",
    "VerifyReport",
]

Compression = Literal["adaptive", "fast", "thorough"]
Conflict = Literal["skip", "replace", "keep_both"]
"""What a restore does where a name is taken: leave what is there, put the item in its place, or put it beside."""

Phase = Literal["opening", "transferring", "committing", "done"]
"""What a run is doing."""

SnapshotState = Literal["complete", "incomplete", "checkpoint"]
"""How whole a snapshot is. `incomplete`: the run went through, but some items could not be read."""

VerifyLevel = Literal["structure", "every_byte"]
"""How thorough a check is. `structure` reads the trees and looks at each pack; `every_byte` reads the whole repository."""

Value = Union[bool, int, float, str, bytes, datetime, Sequence["Value"], Mapping[str, "Value"]]  # noqa: UP007 - names in quotes
"""An attribute. A time that `datetime` cannot hold is its RFC 3339 text."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def _time(nanoseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def _nanoseconds(time: datetime) -> int:
    """Take a time apart; the extension module calls it."""
    if not isinstance(time, datetime):
        raise TypeError(f"a time is a datetime or nanoseconds since 1970, not {type(time).__name__}")
    if time.utcoffset() is None:
        raise ValueError("a time needs a time zone, such as timezone.utc")
    return (time - _EPOCH) // timedelta(microseconds=1) * 1000


def _time_value(nanoseconds: int, text: str) -> datetime | str:
    """Make an attribute of a time; the extension module calls it."""
    try:
        return _time(nanoseconds)
    except OverflowError:
        return text


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress(Shown):
    """Running totals of one operation. Totals, not steps: nothing is lost with an event that is not looked at."""

    phase: Phase
    """What is going on."""
    items_done: int
    """Items finished, changed or not. In a check: packs."""
    items_total: int | None
    """Items expected in all, where known."""
    bytes_done: int
    """Bytes of content read from the source, or handed to the sink."""
    bytes_total: int | None
    """Bytes of content expected in all, where known."""
    bytes_stored: int
    """Bytes written to the store (backup), or read from it (restore, verify)."""
    problems: int
    """Items that could not be handled; the report will name them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Collection(Shown):
    """Which protected resource a snapshot is a state of."""

    id: str
    """Unique within the repository and stable over years: `folder:/srv/data`."""
    kind: str
    """The kind of resource: `folder`, `drive`, `mailbox`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SnapshotSummary(Shown):
    """A snapshot in a listing."""

    id: str
    """Its id, 32 hexadecimal digits."""
    collection: Collection
    """What it is a state of."""
    created_ns: int
    """When its run began, by the writer's clock, in nanoseconds since 1970."""
    state: SnapshotState
    """How whole it is."""
    suspicious: bool
    """Its run reported a suspicion: it pushes no earlier one out."""
    held: bool
    """It must not be removed until it is released."""
    confirmed: bool
    """The log says for sure that it is in use. Always so but in a salvaged repository, where it may be that it was removed, or never
    committed, and what says so is lost."""

    @property
    def created(self) -> datetime:
        """When its run began, by the writer's clock, in UTC."""
        return _time(self.created_ns)


@dataclass(frozen=True, kw_only=True, slots=True)
class SnapshotStats(Shown):
    """Figures of the run that made a snapshot."""

    items: int
    """Items in the snapshot."""
    bytes: int
    """Bytes of all streams in the snapshot."""
    added: int
    """Items that the previous snapshot did not have."""
    changed: int
    """Items that differ from the previous snapshot."""
    removed: int
    """Items that only the previous snapshot had."""
    bytes_read: int
    """Bytes of content read from the source."""
    bytes_stored: int
    """Bytes written to the store up to the commit."""
    problems: int
    """Items that could not be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedProblem(Shown):
    """An item that could not be read, as the snapshot remembers it."""

    place: str
    """Path or name of the item."""
    code: int
    """The number of the error's kind, see `backup_py.exceptions`."""
    message: str
    """The error's line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SnapshotInfo(SnapshotSummary):
    """All that a snapshot says of itself."""

    parent: str | None
    """The snapshot that its run built on."""
    stats: SnapshotStats
    """Figures of its run."""
    problems: tuple[RecordedProblem, ...]
    """Items that could not be read, the first 1,000 of them; `stats.problems` counts all."""
    labels: Mapping[str, str] = field(hash=False)
    """Names and values that the caller of `backup` gave. Of a name given twice, the last value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem(Shown):
    """Something that could not be backed up or restored; the run went on without it."""

    id: bytes | None
    """The item, where known."""
    place: str
    """Where it is, for people: a path or a name."""
    error: BackupError
    """What went wrong."""

    def __str__(self) -> str:
        return f"{self.place}: {self.error}"


@dataclass(frozen=True, kw_only=True, slots=True)
class BackupReport(Shown):
    """What a backup did."""

    snapshot: str
    """Id of the new snapshot."""
    state: SnapshotState
    """`complete`, or `incomplete` if there are problems."""
    stats: SnapshotStats
    """Figures of the run."""
    problems: tuple[Problem, ...]
    """Items that could not be read, or whose content changed while it was read."""
    suspicions: tuple[str, ...]
    """Reasons to look at the snapshot before earlier ones are let go, such as "300 of 301 items are gone": a quarter or more of at
    least twenty items is gone, or has changed. The snapshot is committed all the same."""
    locked_until_ns: int | None
    """Until when everything that the snapshot needs is locked at least, if that is the policy. If it is less than the policy's period
    from now, or none, an extension is overdue."""
    locks_due: bool
    """An extension of the locks is due; see `Repository.extend_locks`."""
    source: Mapping[str, Value] = field(hash=False)
    """What the source says that the run has cost: requests, waits. Empty for folders."""

    @property
    def locked_until(self) -> datetime | None:
        """Until when everything that the snapshot needs is locked at least, in UTC."""
        return None if self.locked_until_ns is None else _time(self.locked_until_ns)


@dataclass(frozen=True, kw_only=True, slots=True)
class RestoreReport(Shown):
    """What a restore did."""

    created: int
    """Items created where nothing was."""
    replaced: int
    """Items put in the place of others."""
    skipped: int
    """Items left alone because something was there."""
    renamed: int
    """Items created under another name."""
    bytes: int
    """Bytes handed to the sink."""
    bytes_fetched: int
    """Bytes read from the store."""
    problems: tuple[Problem, ...]
    """Items that could not be restored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding(Shown):
    """One thing that is wrong with a repository."""

    place: str
    """The object, chunk, snapshot or item."""
    error: BackupError
    """What is wrong with it."""

    def __str__(self) -> str:
        return f"{self.place}: {self.error}"


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyReport(Shown):
    """What a check found."""

    snapshots: int
    """Snapshots whose trees were walked."""
    items: int
    """Items in all snapshots together; items that snapshots share count once per snapshot."""
    chunks: int
    """Chunks that the index names."""
    packs: int
    """Packs looked at."""
    bytes_read: int
    """Bytes read from packs."""
    findings: tuple[Finding, ...]
    """All that is wrong."""

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


@dataclass(frozen=True, kw_only=True, slots=True)
class PruneReport(Shown):
    """What a prune did, or would do. All figures are counts of objects, or bytes in the store."""

    snapshots: int
    """Snapshots whose needs were marked, with the checkpoints of interrupted runs."""
    packs: int
    """Packs in use before."""
    bytes: int
    """Their bytes."""
    unused_bytes: int
    """Those that no snapshot needed before, estimated."""
    unused_bytes_after: int
    """Those that no snapshot needs after it, estimated."""
    dead_packs: int
    """Packs condemned because nothing in them is needed."""
    dead_bytes: int
    """Their bytes."""
    copied_packs: int
    """Packs condemned after what is needed of them had been copied."""
    copied_bytes: int
    """Their bytes."""
    stray_objects: int
    """Objects that no log entry names, condemned as remains of writers that are gone."""
    stray_bytes: int
    """Their bytes."""
    deleted_objects: int
    """Condemned objects that were deleted."""
    locked_objects: int
    """Condemned objects that the store did not let go yet."""
    findings: tuple[Finding, ...]
    """Packs that could not be copied in full. They stay as they are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision(Shown):
    """What becomes of a snapshot."""

    id: str
    """The snapshot."""
    keep: bool
    """Whether it stays."""
    reasons: tuple[str, ...]
    """Why, for people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream(Shown):
    """A named stream of bytes of an item."""

    name: str
    """`content` for a file's bytes; others by source."""
    size: int | None = None
    """Length in bytes. In an item of a source: as announced, None if unknown."""
    immutable: bool = False
    """In an item of a source: bytes under this name never change and are read once, even if the item's tag changes. Not stored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item(Shown):
    """One thing in a snapshot: a file, a folder, a mail."""

    id: bytes
    """Identity within the collection. For a folder's items: the path below the folder."""
    parent: bytes | None = None
    """Id of the containing item; none for the top."""
    name: str
    """Name within the parent. What is not UTF-8 is escaped as `os.fsdecode` does it."""
    kind: str = "file"
    """`folder`, `file`, `symlink`, `message` and so on; a number without a name is `kind-…`."""
    created_ns: int | None = None
    """When it was created, in nanoseconds since 1970, where known."""
    modified_ns: int | None = None
    """When its content last changed, in nanoseconds since 1970, where known."""
    tag: bytes = b""
    """The source's version mark of the streams."""
    hard_link: bytes | None = None
    """For a further hard link to a file: id of the item that holds the content."""
    attributes: Mapping[str, Value] = field(default_factory=dict, hash=False)
    """Technical attributes: mode, owner, link target."""
    details: Mapping[str, Value] = field(default_factory=dict, hash=False)
    """Attributes that a person would read: subject, addresses."""
    streams: tuple[Stream, ...] = ()
    """The streams, in the order in which they are restored."""

    @property
    def size(self) -> int:
        """Sum of the stream lengths, in bytes."""
        return sum(stream.size or 0 for stream in self.streams)

    @property
    def created(self) -> datetime | None:
        """When it was created, in UTC, where known."""
        return None if self.created_ns is None else _time(self.created_ns)

    @property
    def modified(self) -> datetime | None:
        """When its content last changed, in UTC, where known."""
        return None if self.modified_ns is None else _time(self.modified_ns)


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference(Shown):
    """One item that differs between two snapshots."""

    kind: Literal["added", "removed", "changed"]
    """Which of the two has it: only the later one, only the earlier one, or both in different states."""
    before: Item | None
    """As the earlier snapshot has it."""
    after: Item | None
    """As the later snapshot has it."""
    content: bool
    """Whether the bytes of a stream differ. If not, it was renamed or moved, or its attributes changed."""

    @property
    def item(self) -> Item:
        """The item in its latest state."""
        return cast(Item, self.after or self.before)
