"""Sources written in Python: what they can give, and what is made of what they must not give."""

from __future__ import annotations

import asyncio
import io
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

import backup_py
from backup_py import (
    Change,
    Collection,
    Cursor,
    FolderSink,
    Item,
    Remove,
    Repository,
    Reset,
    Stream,
    Unreadable,
    Upsert,
)
from memory import TOP, MemorySink, MemorySource

LARGE = random.Random(5).randbytes(5_000_000)
FILES = {"a.txt": b"Dear reader", "deep/er/b.bin": LARGE, "deep/empty": b"", "\u00e4": b"unicode"}


def contents(repository: Repository, snapshot: str) -> dict[str, bytes | None]:
    """All of a snapshot by path, through a sink written in Python."""
    sink = MemorySink()
    report = repository.restore(snapshot, sink)
    assert report.problems == ()
    assert sink.finished == 1
    return {path.removeprefix("top").lstrip("/"): content for path, content in sink.tree.items()}


def files(repository: Repository, snapshot: str) -> dict[str, bytes]:
    return {path: content for path, content in contents(repository, snapshot).items() if content is not None}


def test_a_source_in_memory_goes_round(repository: Repository, tmp_path: Path) -> None:
    done = repository.backup(MemorySource(FILES), labels={"a": "b"})
    assert done.state == "complete"
    assert done.stats.items == len(FILES) + 3
    assert files(repository, done.snapshot) == FILES
    assert repository.snapshots()[0].collection == MemorySource.collection
    repository.restore(done.snapshot, FolderSink(tmp_path / "out"))
    assert (tmp_path / "out" / "deep" / "er" / "b.bin").read_bytes() == LARGE
    assert repository.verify("every_byte").is_sound


def test_a_cursor_brings_changes_only(repository: Repository) -> None:
    source = MemorySource(FILES)
    repository.backup(source)
    source.opened.clear()
    source.put("new", b"new")
    source.put("a.txt", b"Dear writer")
    source.remove("deep/empty")
    done = repository.backup(source)
    assert sorted(source.opened) == [b"a.txt", b"new"]
    assert files(repository, done.snapshot) == {
        "a.txt": b"Dear writer", "deep/er/b.bin": LARGE, "\u00e4": b"unicode", "new": b"new"
    }  # fmt: skip
    assert (done.stats.added, done.stats.removed) == (1, 1)
    # A history that begins anew does not know the cursor, and says so.
    fresh = MemorySource({"only": b"x"})
    assert files(repository, repository.backup(fresh).snapshot) == {"only": b"x"}
    assert repository.verify("every_byte").is_sound


def one(content: object, size: int | None = None, **more: Any) -> Any:
    """A source of one file whose content is what this function returns, or this value."""

    class Source:
        collection = Collection(id="one", kind="test")

        def changes(self, cursor: bytes | None, /) -> Iterator[Change]:
            yield Upsert(Item(id=TOP, name="top", kind="folder"))
            yield Upsert(Item(id=b"f", parent=TOP, name="f", streams=(Stream(name="content", size=size),), **more))

        def open(self, item: Item, stream: str, /) -> Any:
            assert (item.id, item.name, stream) == (b"f", "f", "content")
            return content() if callable(content) else content

    return Source()


async def later() -> AsyncIterator[bytes]:
    for _ in range(3):
        await asyncio.sleep(0)
        yield b"abc"


async def eventually() -> bytes:
    await asyncio.sleep(0.01)
    return b"late"


class AsyncFile:
    """A file whose `read` is a coroutine."""

    def __init__(self) -> None:
        self.pieces = [b"one", b"two", b""]

    async def read(self, size: int) -> bytes:
        await asyncio.sleep(0)
        return self.pieces.pop(0)


FORMS: list[tuple[object, bytes]] = [
    (b"bytes", b"bytes"),
    (bytearray(b"array"), b"array"),
    (memoryview(b"0123456789")[::2], b"02468"),
    (lambda: io.BytesIO(LARGE), LARGE),
    (lambda: iter([b"a", bytearray(b"b"), memoryview(b"c"), b""]), b"abc"),
    (lambda: (LARGE[at : at + 70_000] for at in range(0, len(LARGE), 70_000)), LARGE),
    (lambda: [b"x"] * 3, b"xxx"),
    (list, b""),
    (LARGE, LARGE),
    (later, b"abcabcabc"),
    (eventually, b"late"),
    (AsyncFile, b"onetwo"),
]


@pytest.mark.parametrize(("content", "expected"), FORMS, ids=[str(number) for number in range(len(FORMS))])
def test_content_may_have_any_form(repository: Repository, content: object, expected: bytes) -> None:
    done = repository.backup(one(content))
    assert done.problems == ()
    assert repository.browse(done.snapshot).read("f") == expected


def test_a_buffer_may_be_used_again(repository: Repository) -> None:
    def reused() -> Iterator[bytearray]:
        buffer = bytearray(100_000)
        for number in range(30):
            buffer[:] = bytes([number]) * len(buffer)
            yield buffer

    done = repository.backup(one(reused))
    assert repository.browse(done.snapshot).read("f") == b"".join(bytes([n]) * 100_000 for n in range(30))


def test_files_and_generators_are_closed(repository: Repository) -> None:
    opened: list[io.BytesIO] = []
    tidied: list[str] = []

    def file() -> io.BytesIO:
        opened.append(io.BytesIO(b"x" * 3_000_000))
        return opened[-1]

    def fails() -> Iterator[bytes]:
        try:
            yield b"x" * 2_000_000
            yield b"x" * 2_000_000
            raise RuntimeError("cut")
        finally:
            tidied.append("fails")

    assert repository.backup(one(file)).problems == ()
    assert [each.closed for each in opened] == [True]
    assert len(repository.backup(one(fails)).problems) == 1
    assert tidied == ["fails"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("text", "str"),
        (None, "NoneType"),
        (5, "int"),
        ({"a": b"b"}, "str"),
        (lambda: iter([b"good", "text"]), "str"),
        (lambda: iter([5]), "int"),
        (lambda: io.StringIO("text"), "str"),
        (lambda: 1 / 0, "division"),
    ],
)
def test_content_that_is_none_is_reported(repository: Repository, content: object, says: str) -> None:
    done = repository.backup(one(content))
    [problem] = done.problems
    assert done.state == "incomplete"
    assert type(problem.error) is backup_py.ExtensionError
    assert says in str(problem.error)
    assert isinstance(problem.error.__cause__, (TypeError, ZeroDivisionError))
    assert repository.verify("every_byte").is_sound


class OurError(Exception):
    """An exception of the caller's."""


def test_an_exception_of_the_enumeration_is_the_cause(repository: Repository) -> None:
    mine = OurError("no more\nsecond line")

    class Source(MemorySource):
        def changes(self, cursor: bytes | None, /) -> Iterator[Change]:
            yield from super().changes(cursor)
            raise mine

    with pytest.raises(backup_py.ExtensionError, match=r"^changes raised OurError: no more(\n|$)") as caught:
        repository.backup(Source(FILES))
    assert caught.value.__cause__ is mine
    assert repository.snapshots() == []
    assert repository.verify("every_byte").is_sound


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (FileNotFoundError("gone"), backup_py.NotFoundError),
        (PermissionError("no"), backup_py.PermissionDeniedError),
        (ConnectionResetError("cut"), backup_py.UnavailableError),
        (TimeoutError("late"), backup_py.UnavailableError),
        (OSError(28, "full"), backup_py.OutOfSpaceError),
        (OSError(5, "bad"), backup_py.IoError),
        (backup_py.ThrottledError("slow down", retry_after=7.5), backup_py.ThrottledError),
        (backup_py.BugError("not yours to say"), backup_py.ExtensionError),
        (StopIteration(), backup_py.ExtensionError),
        (KeyboardInterrupt(), backup_py.ExtensionError),
    ],
)
def test_exceptions_keep_their_kind(repository: Repository, raised: BaseException, kind: type) -> None:
    class Source(MemorySource):
        def open(self, item: Item, stream: str, /) -> Any:
            raise raised

    done = repository.backup(Source({"a": b"x"}))
    [problem] = done.problems
    assert type(problem.error) is kind
    assert problem.error.__cause__ is raised
    if isinstance(raised, backup_py.ThrottledError):
        assert problem.error.retry_after == 7.5


def wrong(*changes: object) -> Callable[[], Any]:
    class Source(MemorySource):
        def changes(self, cursor: bytes | None, /) -> Any:
            return iter(changes)

    return Source


def file(**fields: Any) -> Upsert:
    return Upsert(Item(**{"id": b"x", "parent": TOP, "name": "x", **fields}))


NONSENSE: list[Any] = [
    None,
    5,
    b"x",
    Item(id=b"x", name="x"),
    Upsert(None),  # type: ignore[arg-type]
    Remove("text"),  # type: ignore[arg-type]
    Cursor(None),  # type: ignore[arg-type]
    Cursor("text"),  # type: ignore[arg-type]
    Cursor(b"x" * 70_000),
    Unreadable("place", "text"),  # type: ignore[arg-type]
    file(id="text"),
    file(id=b""),
    file(id=b"x" * 2000),
    file(name=""),
    file(name=None),
    file(parent=b"x"),
    file(kind="no such kind"),
    file(kind="kind-70000"),
    file(kind=None),
    file(tag=b"x" * 300),
    file(tag="text"),
    file(modified_ns="now"),
    file(modified_ns=2**100),
    file(streams=(Stream(name="content", size=-1),)),
    file(streams=(Stream(name="content", size=2**65),)),
    file(streams=(Stream(name=""),)),
    file(streams=(Stream(name="a"), Stream(name="a"))),
    file(streams=None),
    file(streams=5),
    file(attributes={"a": None}),
    file(attributes={"a": 2**70}),
    file(attributes={5: "a"}),
    file(attributes=[1]),
    file(attributes={"a": object()}),
    file(attributes={"a": b"x" * 70_000}),
]


@pytest.mark.parametrize("nonsense", NONSENSE, ids=[str(number) for number in range(len(NONSENSE))])
def test_nonsense_ends_the_run_or_is_reported(repository: Repository, nonsense: object) -> None:
    top = Upsert(Item(id=TOP, name="top", kind="folder"))
    refused = None
    try:
        done = repository.backup(wrong(top, nonsense)())
    except backup_py.BackupError as error:
        done, refused = None, error
    assert refused if done is None else done.problems
    assert len(repository.snapshots()) == (done is not None)
    assert repository.verify("every_byte").is_sound
    assert repository.backup(MemorySource(FILES)).state == "complete"


@pytest.mark.parametrize("given", [None, 5, "text", [None], (b"x" for _ in [1])])
def test_an_enumeration_that_is_none_ends_the_run(repository: Repository, given: object) -> None:
    class Source(MemorySource):
        def changes(self, cursor: bytes | None, /) -> Any:
            return given

    with pytest.raises(backup_py.ExtensionError) as caught:
        repository.backup(Source())
    assert isinstance(caught.value.__cause__, TypeError)


def test_what_is_no_source_is_refused_at_once(repository: Repository) -> None:
    for source in (None, 5, "/path", object()):
        with pytest.raises(TypeError, match=r"source must be FolderSource or a backup_py.Source: .* has no collection"):
            repository.backup(source)  # type: ignore[arg-type]

    class Source(MemorySource):
        collection = "text"  # type: ignore[assignment]

    with pytest.raises(TypeError, match="Collection"):
        repository.backup(Source())  # type: ignore[arg-type]
    for number in (0, -1, 1000, "two", None):
        source = MemorySource()
        source.concurrency = number  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match="concurrency"):
            repository.backup(source)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("backup-source")]


def test_attributes_come_back_as_they_were(repository: Repository) -> None:
    values = {
        "yes": True, "number": -(2**63), "float": 0.5, "text": "\u00e4", "bytes": b"\0\xff",
        "time": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone.utc), "list": [1, "a", [b"c"]], "map": {"a": {"b": 1}},
    }  # fmt: skip
    done = repository.backup(
        one(b"", attributes=values, details={"subject": "hello"}, created_ns=-1, kind="kind-40000")
    )
    item = repository.browse(done.snapshot).stat("f")
    assert item.attributes == values
    assert item.details == {"subject": "hello"}
    assert (item.created_ns, item.kind) == (-1, "kind-40000")


def test_items_of_a_snapshot_can_be_given_again(repository: Repository) -> None:
    first = repository.backup(MemorySource(FILES))
    browser = repository.browse(first.snapshot)

    class Again:
        collection = Collection(id="again", kind="test")

        def changes(self, cursor: bytes | None, /) -> Iterator[Change]:
            waiting = [browser.stat("")]
            while waiting:
                item = waiting.pop()
                yield Upsert(item)
                if item.kind == "folder":
                    waiting.extend(browser.list(item))

        def open(self, item: Item, stream: str, /) -> Any:
            return browser.open(item, stream=stream)

    second = repository.backup(Again())
    assert files(repository, second.snapshot) == FILES
    assert [each.kind for each in repository.diff(first.snapshot, second.snapshot)] == []


def test_an_unreadable_folder_keeps_what_was_there(repository: Repository) -> None:
    source = MemorySource(FILES)
    repository.backup(source)

    class Half(MemorySource):
        def changes(self, cursor: bytes | None, /) -> Iterator[Change]:
            yield Reset()
            yield Upsert(self.items[TOP])
            yield Unreadable("deep", PermissionError("closed"), b"deep")

    done = repository.backup(Half())
    assert done.state == "incomplete"
    assert [(problem.place, type(problem.error)) for problem in done.problems] == [
        ("deep", backup_py.PermissionDeniedError)
    ]
    assert set(files(repository, done.snapshot)) == {"deep/er/b.bin", "deep/empty"}


def test_labels_and_a_cursor_without_what_was_missed(repository: Repository) -> None:
    asked: list[tuple[bytes, list[bytes]]] = []

    class Source(MemorySource):
        labels = {"tenant": "acme"}  # noqa: RUF012
        broken = True

        def open(self, item: Item, stream: str, /) -> Any:
            if self.broken and item.id == b"a.txt":
                raise ConnectionError
            return super().open(item, stream)

        def cursor_without(self, cursor: bytes, missed: list[bytes]) -> bytes:
            asked.append((cursor, missed))
            return b"0"

    source = Source(FILES)
    done = repository.backup(source)
    assert repository.snapshot(done.snapshot).labels == {"tenant": "acme"}
    assert asked == [(b"%d" % len(source.history), [b"a.txt"])]
    source.broken = False
    assert files(repository, repository.backup(source).snapshot) == FILES


def test_several_items_are_read_at_once(repository: Repository) -> None:
    count = 4
    barrier = threading.Barrier(count)

    class Source(MemorySource):
        concurrency = count

        def open(self, item: Item, stream: str, /) -> Any:
            barrier.wait(30)
            return super().open(item, stream)

    made = {f"{number}": bytes([number]) for number in range(count)}
    assert files(repository, repository.backup(Source(made)).snapshot) == made


def test_without_concurrency_calls_come_one_at_a_time(repository: Repository) -> None:
    inside = threading.Lock()

    class Source(MemorySource):
        def open(self, item: Item, stream: str, /) -> Any:
            assert inside.acquire(blocking=False)
            try:
                return super().open(item, stream)
            finally:
                inside.release()

    many = {f"{number}": bytes(100) for number in range(600)}
    done = repository.backup(Source(many))
    assert (done.stats.items, done.problems) == (601, ())


@pytest.mark.parametrize("count", [1, 3])
def test_no_more_streams_are_open_than_the_source_can_stand(repository: Repository, count: int) -> None:
    lock, open_now, most = threading.Lock(), [0], [0]

    def pieces(number: int) -> Iterator[bytes]:
        with lock:
            open_now[0] += 1
            most[0] = max(most[0], open_now[0])
        try:
            for _ in range(3):
                yield bytes([number]) * 700_000
            if number == 5:
                raise ConnectionError
        finally:
            with lock:
                open_now[0] -= 1

    class Source(MemorySource):
        concurrency = count

        def open(self, item: Item, stream: str, /) -> Any:
            return pieces(int(item.id))

    done = repository.backup(Source({f"{number}": b"" for number in range(12)}))
    assert [problem.place for problem in done.problems] == ["5"]
    assert open_now == [0]
    assert most[0] <= count
    for number in (0, 11):
        assert repository.browse(done.snapshot).read(f"{number}") == bytes([number]) * 2_100_000


class AsyncSource:
    """A source whose methods are coroutines."""

    collection = Collection(id="async", kind="test")

    def __init__(self) -> None:
        self.loops: set[asyncio.AbstractEventLoop] = set()
        self.tidied = False

    async def changes(self, cursor: bytes | None, /) -> AsyncIterator[Change]:
        self.loops.add(asyncio.get_running_loop())
        try:
            yield Upsert(Item(id=TOP, name="top", kind="folder"))
            for number in range(300):
                await asyncio.sleep(0)
                yield Upsert(Item(id=b"%d" % number, parent=TOP, name=str(number), streams=(Stream(name="content"),)))
        finally:
            self.tidied = True

    async def open(self, item: Item, stream: str, /) -> bytes:
        await asyncio.sleep(0)
        self.loops.add(asyncio.get_running_loop())
        return item.name.encode()


def test_coroutines_run_on_a_loop_of_their_own(repository: Repository) -> None:
    source = AsyncSource()
    done = repository.backup(source)
    assert files(repository, done.snapshot) == {str(number): str(number).encode() for number in range(300)}
    assert len(source.loops) == 1
    assert source.tidied


def test_coroutines_run_on_the_callers_loop(repository: Repository) -> None:
    source, seen = AsyncSource(), list[backup_py.Progress]()

    async def run() -> backup_py.BackupReport:
        done = await repository.backup_async(source, on_progress=seen.append)
        assert source.loops == {asyncio.get_running_loop()}
        return done

    done = asyncio.run(run())
    assert (done.stats.items, done.problems) == (301, ())
    assert seen


def test_no_thread_is_left(repository: Repository) -> None:
    repository.backup(MemorySource(FILES))
    repository.backup(AsyncSource())
    for thread in threading.enumerate():
        if thread.name.startswith("backup-"):
            thread.join(10)
            assert not thread.is_alive()


class Rows:
    """A table whose rows come along with their items."""

    collection = Collection(id="rows", kind="test")

    def __init__(self, contents: Any, streams: tuple[str, ...] = ("content",)) -> None:
        self.contents, self.streams, self.opened = contents, streams, 0

    def changes(self, cursor: bytes | None, /) -> Iterator[Change]:
        yield Upsert(Item(id=TOP, name="top", kind="folder"))
        streams = tuple(Stream(name=name) for name in self.streams)
        for number in range(1_000):
            name = f"{number:03}"
            contents = self.contents(number) if callable(self.contents) else self.contents
            yield Upsert(Item(id=name.encode(), parent=TOP, name=name, streams=streams), contents)

    def open(self, item: Item, stream: str, /) -> bytes:
        self.opened += 1
        return b"opened"


@pytest.mark.parametrize("form", [bytes, bytearray, lambda row: memoryview(row + row)[::2]])
def test_content_that_comes_along_is_not_opened(repository: Repository, form: Callable[[bytes], Any]) -> None:
    row = b"0" * 5_000
    source = Rows(lambda number: {"content": form(row)})
    done = repository.backup(source)
    assert (done.problems, source.opened, done.stats.bytes) == ((), 0, 5_000_000)
    assert files(repository, done.snapshot) == {f"{number:03}": row for number in range(1_000)}


def test_what_does_not_come_along_is_opened(repository: Repository) -> None:
    source = Rows({"b": b"along"}, ("a", "b"))
    done = repository.backup(source)
    assert source.opened == 1_000
    assert done.stats.bytes == 1_000 * len(b"openedalong")
    assert repository.verify("every_byte").is_sound


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        ([b"x"], "mapping"),
        ("text", "mapping"),
        ({"content": "text"}, "bytes-like"),
        ({"content": 5}, "bytes-like"),
        ({5: b"x"}, "str"),
    ],
)
def test_contents_that_make_no_sense_end_the_run(repository: Repository, contents: Any, words: str) -> None:
    with pytest.raises(backup_py.ExtensionError) as caught:
        repository.backup(Rows(contents))
    assert isinstance(caught.value.__cause__, TypeError)
    assert words in str(caught.value.__cause__)
    assert repository.snapshots() == []


def test_contents_of_a_stream_that_is_not_there_are_reported(repository: Repository) -> None:
    done = repository.backup(Rows({"kontent": b"x"}))
    assert len(done.problems) == 1_000
    assert "kontent" in str(done.problems[0])
