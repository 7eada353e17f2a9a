"""What a source, a sink or a store of your own has to do, and the values that it deals in.

Any object with the methods will do; there is nothing to inherit. The engine checks all it is given: what has no meaning
ends as an exception, never in the repository.

- The methods are called on threads that belong to the object, by one thread at a time, and a source's stream is read to its
  end before the next is opened. An object that can stand more has an attribute `concurrency`, the number of its threads
  and of such streams (at most 256). An object that serves several runs at once needs to stand calls of all of them.
- An exception becomes the engine's: a `BackupError` keeps its kind, an `OSError` gets the one that fits, every other
  is an `ExtensionError`. The original is the `__cause__`.
- Sources and sinks may have coroutines and asynchronous generators where methods and generators are asked for. They run
  on the event loop that `backup_async` or `restore_async` was called on, or else on one of their own. A store's methods
  are plain functions.
- Bytes may be `bytes`, which are not copied, or any other buffer, which is.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, Union

from .results import Collection, Conflict, Item

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = [
    "Action",
    "Change",
    "Contents",
    "Cursor",
    "Entry",
    "Place",
    "Placement",
    "Remove",
    "Reset",
    "Sink",
    "Source",
    "Store",
    "StreamReader",
    "Unreadable",
    "Upsert",
]


@dataclass(frozen=True, slots=True)
class Upsert:
    """The item is there, in this state."""

    item: Item
    """Its `id` is stable over renames where the resource has such ids. If its `tag` is the one of the last snapshot, and not
    empty, its streams are not read again."""
    contents: Mapping[str, Buffer] | None = None
    """All that some or all of its streams hold, by their names: these are not opened for the backup, which costs a short item
    most of its time; a drill opens them all the same. For content that is at hand: rows, messages, small files."""


@dataclass(frozen=True, slots=True)
class Remove:
    """The item is gone, and all below it that is not named otherwise."""

    id: bytes
    """Its id."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """Everything given so far is covered by this position; the last one is what the next run begins from."""

    cursor: bytes
    """The position, at most 64 KiB. Only the source knows what it means."""


@dataclass(frozen=True, slots=True)
class Reset:
    """What follows is a full enumeration, although there was a cursor. What was given before is forgotten."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The item, and what lies below it, could not be looked at: keep what the last snapshot has, and report it."""

    place: str
    """Where it is, for people: a path or a name."""
    error: BaseException
    """Why."""
    id: bytes | None = None
    """The item, where known. Without one, nothing is taken for gone in this run."""


Change = Union[Upsert, Remove, Cursor, Reset, Unreadable]  # noqa: UP007 - a value, also for Python 3.10
"""One step of a source's enumeration."""

Readable = Union["Buffer", io.IOBase, Iterable["Buffer"], AsyncIterable["Buffer"]]
"""What the bytes of a stream may be: all of them, a file (anything with `read`), or an iterator of buffers."""

Action = Literal["created", "replaced", "skipped", "renamed"]
"""What a sink did with an item."""


class Source(Protocol):
    """One resource that can be enumerated, asked for its changes, and read.

    Optional attributes, read once at the beginning of a run: `concurrency`, the number of items that may be read at once;
    `labels`, a mapping of texts that every snapshot keeps. Optional methods: `cursor_without(cursor, missed)`, a cursor
    that covers what `cursor` does but for the items with the ids in `missed`, or None; `metrics()`, a mapping of figures.
    """

    @property
    def collection(self) -> Collection:
        """Which resource this is. The same resource has the same collection id for ever."""

    def changes(self, cursor: bytes | None, /) -> Iterable[Change] | AsyncIterable[Change]:
        """Give what changed since the cursor, or everything there is if there is none; usually a generator.

        Without a cursor, what is not named is gone. A source that cannot honour the cursor gives `Reset` and then everything;
        one without changes of its own (a plain folder) gives no `Cursor` and is enumerated in full each time. An exception
        ends the run without a snapshot; what concerns one item is an `Unreadable`. The engine takes up to 256 changes, or
        those of 10 milliseconds, at a time.
        """

    def open(self, item: Item, stream: str, /) -> Readable | Awaitable[Readable]:
        """Open a stream of an item that was given a moment ago.

        A file is read in pieces of 1 MiB and closed at the end. An exception concerns this item only and is reported:
        `FileNotFoundError` if it has vanished. Nothing is retried, but for `ChangedWhileReadingError` and `SourceMismatchError`.
        """


@dataclass(frozen=True, slots=True)
class Place:
    """Where and how an item is to be put."""

    parent: bytes | None
    """What the sink said that the containing item is (`Placement.placed`); None at the top of the restore."""
    conflict: Conflict
    """What to do if the name is taken."""
    link: bytes | None
    """What the sink said that the item is which this one is a further hard link of."""


@dataclass(frozen=True, slots=True)
class Placement:
    """What became of an item."""

    placed: bytes
    """The sink's own handle of it: an id, a path."""
    action: Action = "created"
    """What was done."""
    problems: Sequence[BaseException] = ()
    """What could not be restored of it although it was placed, such as a permission."""


class Sink(Protocol):
    """A place that restored items are put in: parents before children.

    Optional: `concurrency`, the number of items that may be put at once; `close_container(item, placed)`, called for each
    container when all below it was put; `finish()`, called once at the end: what it has acknowledged is durable then.
    """

    def put(self, item: Item, place: Place, contents: Contents, /) -> Placement | Awaitable[Placement | None] | None:
        """Create the item, following `place.conflict` where something of its name is there already.

        A container that is there is entered, whatever the policy. Returning None says that the item was created and that its
        id is the handle. An exception concerns this item, and what lies below it, and is reported; those of the kinds
        `CanceledError`, `OutOfSpaceError` and `UnauthenticatedError` end the restore.
        """


class Contents(Protocol):
    """The streams of an item while it is being put."""

    def open(self, stream: str = "content", /) -> StreamReader:
        """Open a stream that `item.streams` names; again, if need be. Raises `NotFoundError` if there is none of this name."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a store's listing."""

    key: str
    """Its name."""
    size: int
    """Its length in bytes."""
    modified_ns: int | None = None
    """When it was created, by the store's clock, in nanoseconds since 1970, if the store says so."""


class Store(Protocol):
    """A flat map from names to bytes that never change; what is in it is sealed.

    A name is one or more segments joined by `/`, each of 1 to 64 characters `a-z 0-9 - _ .`. `Repository.init` tries what
    the store does before it writes anything, and refuses with `UnsafeStoreError` one that would put data at risk.
    """

    def create(self, key: str, data: bytes, /) -> bool:
        """Create an object if the name is free, and say whether it was. `FileExistsError` says False, too.

        When this returns, the bytes survive a power loss and every reader sees all of them; before, no reader sees any. Of
        several who create one name at once, one gets True.
        """

    def read(self, key: str, start: int, end: int | None, /) -> Buffer:
        """Read an object from byte `start` to before byte `end`, or to its end.

        Raises `FileNotFoundError` if there is no such object. A range that is not in the object is an `InvalidArgumentError`;
        fewer or more bytes than the range has are taken for that.
        """

    def size(self, key: str, /) -> int:
        """Tell the length of an object in bytes. Raises `FileNotFoundError` if there is no such object."""

    def list(self, prefix: str, /) -> Iterable[Entry]:
        """Give the objects whose name is `prefix` or begins with it and a slash, in any order."""

    def delete(self, key: str, /) -> None:
        """Delete an object; one that is not there is fine."""


class _Pieces(Protocol):
    def open(self, stream: str, /) -> tuple[int, int | None]: ...
    def next(self, number: int, /) -> bytes | None: ...
    def close(self, number: int, /) -> None: ...


class StreamReader(io.RawIOBase):
    """The bytes of one stream on their way to a sink: a raw file, which cannot seek.

    `read(n)` gives what has arrived, at least one byte and at most `n`; nothing at the end. Iterating gives pieces of any
    length, not lines; coroutines use `async for`. Raises `CorruptError` or `MissingError` for damage, and then the put must
    leave nothing under the item's name. Can be read only while the item is being put.
    """

    def __init__(self, pieces: _Pieces, stream: str) -> None:
        super().__init__()
        self._pieces = pieces
        self._rest: memoryview | bytes = b""
        # Also what could not be opened is closed when it is given up.
        self._number = -1
        self._number, self.size = pieces.open(stream)

    size: int | None
    """Length in bytes, where known."""

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Read at most `size` bytes of what has arrived, or everything."""
        if size is None or size < 0:
            return b"".join(self)
        if size == 0:
            return b""
        rest = self._rest or self._next()
        if len(rest) <= size:
            self._rest = b""
            return bytes(rest)
        rest = memoryview(rest)
        self._rest = rest[size:]
        return bytes(rest[:size])

    def readall(self) -> bytes:
        """Read everything that is left."""
        return self.read()

    def readinto(self, buffer: Buffer, /) -> int:
        """Read what has arrived into a buffer."""
        target = memoryview(buffer).cast("B")
        data = self.read(len(target))
        target[: len(data)] = data
        return len(data)

    def _next(self) -> bytes:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        # Empty pieces would look like the end.
        while (piece := self._pieces.next(self._number)) == b"":
            pass
        return piece or b""

    def __iter__(self) -> Iterator[bytes]:
        while piece := self._rest or self._next():
            self._rest = b""
            yield bytes(piece)

    def __next__(self) -> bytes:
        for piece in self:
            return piece
        raise StopIteration

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := self._rest or await asyncio.to_thread(self._next):
            self._rest = b""
            yield bytes(piece)

    def close(self) -> None:
        """Close the stream; the rest of it is not fetched."""
        if not self.closed:
            self._rest = b""
            if self._number >= 0:
                self._pieces.close(self._number)
        super().close()
