"""What a `Policy` is asked about and what it answers: what there is, what was done, what is due, what is covered.

Frozen values as in `backup_py.results`. Times that you give are a `datetime` with a time zone, or nanoseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ._html import Shown
from .results import Collection, _time

__all__ = [
    "Coverage",
    "Due",
    "Excluded",
    "LastBackup",
    "Plan",
    "Protectable",
    "Protected",
    "Unprotected",
]


@dataclass(frozen=True, slots=True)
class Protectable(Shown):
    """A collection that can be protected, as you describe it."""

    collection: Collection
    """Which one it is."""
    path: str = ""
    """Where people find it: `Sites/Marketing/Documents`. May be empty."""
    groups: Sequence[str] = ()
    """Groups that it or its owner belongs to."""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Names and values of your own."""
    bytes: int | None = None
    """How large it is, where known; reports repeat it."""


@dataclass(frozen=True, slots=True)
class LastBackup(Shown):
    """When a collection was last backed up."""

    collection: str
    """The collection's id."""
    good: datetime | int | None = None
    """When its last good snapshot was committed: the last in the order of the log. What is good is your choice: complete, verified, not
    suspicious."""
    attempt: datetime | int | None = None
    """When the last run began, whatever came of it, by the clock that also says `now`. Without it, what fails is due again at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Due(Shown):
    """A collection that is due."""

    collection: Collection
    """Which one it is."""
    rule: str
    """The name of the rule that protects it."""
    overdue_seconds: int
    """For how many seconds it has been due. 0 if it was never backed up, and if its last backup is dated too far after now to be
    believed."""
    never: bool
    """It was never backed up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan(Shown):
    """What to do now, and when to ask again."""

    due: tuple[Due, ...]
    """What is due: first what was never backed up, then the most overdue, else in the order in which it was listed."""
    next_at_ns: int | None
    """When the next collection becomes due that is not due now, in nanoseconds since 1970; none if there is none."""

    @property
    def next_at(self) -> datetime | None:
        """When the next collection becomes due that is not due now, in UTC; none if there is none."""
        return None if self.next_at_ns is None else _time(self.next_at_ns)


@dataclass(frozen=True, kw_only=True, slots=True)
class Protected(Shown):
    """A collection that a rule protects."""

    collection: Collection
    """Which one it is."""
    rule: str
    """The name of the rule."""
    bytes: int | None
    """How large it is, where known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Excluded(Shown):
    """A collection that a rule leaves out."""

    collection: Collection
    """Which one it is."""
    rule: str
    """The name of the rule."""
    reason: str
    """Why, as the rule says."""
    bytes: int | None
    """How large it is, where known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unprotected(Shown):
    """A collection that no rule matches."""

    collection: Collection
    """Which one it is."""
    path: str
    """Where people find it."""
    bytes: int | None
    """How large it is, where known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage(Shown):
    """What a policy protects of what there is. Every listed collection is in exactly one of the first three."""

    protected: tuple[Protected, ...]
    """What a rule protects, in the order in which it was listed."""
    excluded: tuple[Excluded, ...]
    """What a rule leaves out, and why."""
    unprotected: tuple[Unprotected, ...]
    """What no rule matches. Nobody has decided this: look at it."""
    overdue: tuple[Due, ...]
    """What is protected, but has no good backup that is known to be young enough; the most urgent first. Unlike a plan, this also has
    what waits because an attempt has just failed."""
    gone: tuple[str, ...]
    """Ids of what was backed up once, but is no longer listed: deleted, renamed, or hidden from who lists. Its snapshots stay until
    somebody decides. In order."""
