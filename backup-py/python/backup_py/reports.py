"""What the upkeep of a repository gives back: keys, locks, parity, copies, drills, and what is done about damage.

Frozen values as in `backup_py.results`. Sizes are bytes, times nanoseconds since 1970 with a `datetime` beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ._html import Shown
from .results import Finding, _time

__all__ = [
    "Damage",
    "DrillFinding",
    "DrillReport",
    "ExtendReport",
    "KeySlot",
    "MirrorReport",
    "ParityReport",
    "Probe",
    "SalvageReport",
    "ScrubReport",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class KeySlot(Shown):
    """A key slot in a listing."""

    id: str
    """Its id, 32 hexadecimal digits."""
    size: int
    """Its length in bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe(Shown):
    """What a store does, as it was seen. Whatever would put data at risk is no value here but an `UnsafeStoreError`."""

    contest: Literal["decided", "loser_fails"]
    """How creations of one name by two at once end: the other one is told that the object is there, or gets an error and has to look."""
    listing: Literal["at_once", "late"]
    """Whether a listing names at once what was created before it."""
    tells_time: bool
    """Whether listings say when objects were created. Without it a prune goes by its own log alone, and retention by the writers' clocks."""
    deletion: Literal["at_once", "late", "refused"]
    """What becomes of a deletion. `refused`: a prune gives nothing back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExtendReport(Shown):
    """What an extension of locks did."""

    locked_until_ns: int | None
    """Everything in use is locked at least until then. None without a policy."""
    extended_objects: int
    """Objects whose lock was made longer: 0 if that was not due."""
    tampered: tuple[str, ...]
    """Objects that somebody has hidden or written over, by their names. The version that the repository has written was locked all the
    same; open the repository `as_of` an earlier time to read it."""

    @property
    def locked_until(self) -> datetime | None:
        """Everything in use is locked at least until then, in UTC."""
        return None if self.locked_until_ns is None else _time(self.locked_until_ns)


@dataclass(frozen=True, kw_only=True, slots=True)
class ParityReport(Shown):
    """What is protected now."""

    objects: int
    """Objects that parity protects now: packs, segments, snapshots, the log, its newest checkpoint, key slots."""
    sets: int
    """Sets of parity that there are now."""
    new_sets: int
    """Sets that this run has made."""
    new_bytes: int
    """The bytes of their parity."""
    dropped_sets: int
    """Sets that were given up: what they protected is gone, or in another set now."""
    findings: tuple[Finding, ...]
    """Objects that are not what they should be. They are in no set; `verify` tells more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Damage(Shown):
    """An object that is not what it was."""

    object: str
    """Its name in the store."""
    missing: bool
    """It is not there at all."""
    bad_blocks: int
    """How many of its blocks of 64 KiB are damaged. None of them, if it is only longer than it was."""
    blocks: int
    """How many it has."""
    repair: Literal["possible", "done", "impossible"]
    """What became of it: its bytes can be computed, it is what it was again, or more is damaged than the parity makes good."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScrubReport(Shown):
    """What a scrub found and did."""

    sets: int
    """Sets of parity that were checked."""
    objects: int
    """Objects that they protect."""
    unprotected_objects: int
    """Objects of the repository that are listed and that no set protects."""
    bytes_read: int
    """Bytes read for the check; repairs read more."""
    damage: tuple[Damage, ...]
    """Every damaged object, repaired or not."""
    findings: tuple[Finding, ...]
    """Sets that do not open, and repairs that failed."""

    @property
    def is_sound(self) -> bool:
        """Whether everything that is protected is what it was, now."""
        return not self.findings and all(damage.repair == "done" for damage in self.damage)


@dataclass(frozen=True, kw_only=True, slots=True)
class MirrorReport(Shown):
    """What a mirror did."""

    head: str | None
    """The end of the log that the copy has now."""
    objects: int
    """Objects that the repository consists of, and that the copy should have."""
    copied_objects: int
    """Objects that were copied because the other store did not have them."""
    copied_bytes: int
    """Their bytes."""
    replaced_objects: int
    """Objects of the other store that were not what they should be and are now."""
    deleted_objects: int
    """Objects of the other store that the repository no longer has and that were deleted there."""
    findings: tuple[Finding, ...]
    """Objects that are damaged here and were not copied, and such that are damaged there and were not replaced."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DrillFinding(Shown):
    """An item of which a drill has something to say."""

    snapshot: str
    """The snapshot that it was drawn from."""
    number: int
    """Its number in the snapshot, in the order of item ids, from 0 on."""
    id: bytes | None
    """Its id, where that could be read."""
    place: str
    """Its path, or as much as is known of it."""
    code: int
    """The number of the error's kind, see `backup_py.exceptions`."""
    message: str
    """The error's line."""

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


@dataclass(frozen=True, kw_only=True, slots=True)
class DrillReport(Shown):
    """What a drill found, and what that says. As text, the statement in one line."""

    snapshots: tuple[str, ...]
    """The snapshots that were drawn from."""
    lost_snapshots: tuple[DrillFinding, ...]
    """Snapshots that could not be drawn from, because they do not read. What follows does not speak of them."""
    population: int
    """Items in all snapshots that were drawn from. Folders count too; an item that two snapshots share counts twice."""
    sampled: int
    """Items that were drawn."""
    streams: int
    """Streams of these items."""
    bytes: int
    """Bytes of these streams."""
    bytes_fetched: int
    """Bytes read from the store."""
    failures: tuple[DrillFinding, ...]
    """Items that could not be read in full."""
    compared: int
    """Items whose content was compared with a source's."""
    differing: tuple[DrillFinding, ...]
    """Items that the source has with the same tag and other content."""
    changed: tuple[DrillFinding, ...]
    """Items that the source has in another state by now, or not any more, or without a tag to tell: these were not compared."""
    problems: tuple[DrillFinding, ...]
    """What stood in the way of comparing or placing an item, and is no fault of the repository."""
    seed: int
    """What the sample was drawn with: the same seed draws the same items again."""
    confidence: float
    """How sure the following is, between 0 and 1."""
    most_bad: int
    """So many of `population` are bad at most."""
    most_bad_share: float
    """The same as a share, between 0 and 1."""
    text: str
    """The statement, in one line."""

    @property
    def bad(self) -> int:
        """Items of the sample that are bad: those that could not be read, and those that differ from the source."""
        return len(self.failures) + len(self.differing)

    @property
    def is_clean(self) -> bool:
        """Whether nothing that was looked at is bad."""
        return self.bad == 0 and not self.lost_snapshots

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, kw_only=True, slots=True)
class SalvageReport(Shown):
    """What is left of a repository, and what is not."""

    log_entries: int
    """Log entries that were read."""
    checkpoints: int
    """Checkpoints of the log that were read."""
    log_complete: bool
    """Nothing of the log that decides which snapshots there are is missing, as far as can be known: without a known head nobody can tell
    that the newest entries are gone."""
    head: str | None
    """The newest log entry that counts; none if there is none."""
    known_head_reached: bool | None
    """Whether the log still has the known head unchanged. None if no head was given."""
    snapshots: int
    """Snapshots that the log names and that read."""
    unconfirmed: tuple[str, ...]
    """Snapshots that read and of which nobody can say for sure that they belong to the repository; see `SnapshotSummary.confirmed`."""
    removed: tuple[str, ...]
    """Snapshots that are still stored although the log says that they were removed. Left out, unless asked for."""
    segments: int
    """Segments of the index that were read."""
    packs: int
    """Packs that these segments name."""
    packs_rebuilt: int
    """Further packs, whose own directories were read in the place of segments."""
    chunks: int
    """Chunks in the index, copies included."""
    findings: tuple[Finding, ...]
    """Every object that should be there and is not, or does not read. Empty: nothing is known to be lost."""

    @property
    def is_whole(self) -> bool:
        """Whether the log is complete and nothing is known to be lost."""
        return self.log_complete and not self.findings and self.known_head_reached is not False
