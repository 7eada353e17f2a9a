"""Sinks written in Python: what they are given, and what is made of what they do."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import backup_py
from backup_py import Contents, FolderSource, Item, Place, Placement, Repository
from conftest import flip, packs
from memory import MemorySink, MemorySource
from test_own_source import FILES, LARGE


@pytest.fixture
def snapshot(repository: Repository) -> str:
    """A snapshot of `FILES`."""
    return repository.backup(MemorySource(FILES)).snapshot


def tops(content: dict[str, bytes | None]) -> dict[str, bytes]:
    return {path.removeprefix("top/"): data for path, data in content.items() if data is not None}


def test_a_folder_is_restored_to_memory(repository: Repository, tree: Path) -> None:
    done = repository.backup(FolderSource(tree))
    sink = MemorySink()
    report = repository.restore(done.snapshot, sink)
    assert report.problems == ()
    expected = {
        str(path.relative_to(tree)): path.read_bytes()
        for path in tree.rglob("*")
        if path.is_file() and not path.is_symlink()
    }
    name = tree.name
    found = {path.removeprefix(f"{name}/"): data for path, data in sink.tree.items() if data is not None}
    assert found == {**expected, "link": b""}
    assert sink.items[f"{name}/link"].attributes["link_target"] == b"hello.txt"
    assert sink.items[f"{name}/reports"].modified_ns == os.stat(tree / "reports").st_mtime_ns
    assert sorted(sink.closed) == sorted(path for path, data in sink.tree.items() if data is None)
    assert sink.finished == 1


def test_what_is_there_follows_the_policy(repository: Repository, snapshot: str) -> None:
    sink = MemorySink()
    repository.restore(snapshot, sink)
    for conflict, field in (("skip", "skipped"), ("replace", "replaced"), ("keep_both", "renamed")):
        sink.tree["top/a.txt"] = b"changed"
        report = repository.restore(snapshot, sink, conflict=conflict, only="a.txt")  # type: ignore[arg-type]
        assert getattr(report, field) >= 1
        assert sink.tree["top/a.txt"] == (b"changed" if conflict != "replace" else FILES["a.txt"])
    assert sink.tree["top/a.txt (2)"] == FILES["a.txt"]


Read = Callable[[Contents], bytes]


def in_parts(contents: Contents) -> bytes:
    with contents.open() as file:
        parts = [file.read(3), file.read(0), file.read(5)]
        while part := file.read(1000):
            assert len(part) <= 1000
            parts.append(part)
    return b"".join(parts)


def copied(contents: Contents) -> bytes:
    target = io.BytesIO()
    shutil.copyfileobj(contents.open("content"), target)
    return target.getvalue()


def buffered(contents: Contents) -> bytes:
    with io.BufferedReader(contents.open()) as file:
        assert len(file.peek(1)) <= 8192
        return file.read(2) + file.read()


def twice(contents: Contents) -> bytes:
    first, second = contents.open(), contents.open()
    first.read(2)
    assert second.readall() == second.read() + first.read(0) + contents.open().read()
    return b"".join(contents.open())


def sized(contents: Contents) -> bytes:
    file = contents.open()
    data = file.read()
    assert file.size == len(data)
    assert file.readable()
    assert not file.seekable()
    file.close()
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.read(1)
    with pytest.raises(backup_py.NotFoundError):
        contents.open("no such stream")
    return data


@pytest.mark.parametrize("read", [in_parts, copied, buffered, sized])
def test_content_is_a_file(repository: Repository, snapshot: str, read: Read) -> None:
    found: dict[str, bytes] = {}

    class Sink:
        def put(self, item: Item, place: Place, contents: Contents, /) -> None:
            if item.streams:
                found[item.id.decode()] = read(contents)

    report = repository.restore(snapshot, Sink())
    assert report.problems == ()
    assert report.created == len(FILES) + 3
    assert found == FILES


def test_content_cannot_be_read_afterwards(repository: Repository, snapshot: str) -> None:
    kept: list[tuple[Any, Contents]] = []

    class Sink:
        def put(self, item: Item, place: Place, contents: Contents, /) -> None:
            if item.streams:
                kept.append((contents.open(), contents))

    assert repository.restore(snapshot, Sink()).problems == ()
    for file, contents in kept:
        with pytest.raises(ValueError, match="closed"):
            file.read()
        with pytest.raises(backup_py.InvalidArgumentError, match="being put"):
            contents.open()


@pytest.mark.parametrize("raised", [PermissionError("no"), RuntimeError("odd"), KeyboardInterrupt()])
def test_an_exception_concerns_its_item(repository: Repository, snapshot: str, raised: BaseException) -> None:
    class Sink(MemorySink):
        def put(self, item: Item, place: Place, contents: Contents, /) -> Placement:
            if item.id == b"deep":
                raise raised
            return super().put(item, place, contents)

    sink = Sink()
    report = repository.restore(snapshot, sink)
    assert raised in [problem.error.__cause__ for problem in report.problems]
    assert tops(sink.tree) == {"a.txt": FILES["a.txt"], "\u00e4": FILES["\u00e4"]}


def test_some_exceptions_end_the_restore(repository: Repository, snapshot: str) -> None:
    full = OSError(28, "no space")

    class Sink(MemorySink):
        def put(self, item: Item, place: Place, contents: Contents, /) -> Placement:
            raise full

    with pytest.raises(backup_py.OutOfSpaceError) as caught:
        repository.restore(snapshot, Sink())
    assert caught.value.__cause__ is full

    class Unfinished(MemorySink):
        def finish(self) -> None:
            raise full

    with pytest.raises(backup_py.OutOfSpaceError):
        repository.restore(snapshot, Unfinished())


@pytest.mark.parametrize(
    "answer",
    [5, "text", b"bytes", Placement("text"), Placement(b"x", "eaten"), Placement(b"x", "created", (5,))],  # type: ignore[arg-type]
)
def test_nonsense_is_reported(repository: Repository, snapshot: str, answer: object) -> None:
    class Sink:
        def put(self, item: Item, place: Place, contents: Contents, /) -> Any:
            return answer

    report = repository.restore(snapshot, Sink())
    assert report.problems
    assert all(isinstance(problem.error, backup_py.ExtensionError) for problem in report.problems[:1])
    for sink in (None, 5, object()):
        with pytest.raises(TypeError, match="has no put"):
            repository.restore(snapshot, sink)  # type: ignore[arg-type]


def test_problems_of_a_placement_are_reported(repository: Repository, snapshot: str) -> None:
    class Sink(MemorySink):
        def put(self, item: Item, place: Place, contents: Contents, /) -> Placement:
            placed = super().put(item, place, contents)
            return Placement(placed.placed, placed.action, [PermissionError("owner")] if item.id == b"a.txt" else ())

    report = repository.restore(snapshot, Sink())
    assert [(problem.place, type(problem.error)) for problem in report.problems] == [
        ("a.txt", backup_py.PermissionDeniedError)
    ]


def test_damage_is_an_exception_that_cannot_be_ignored(repository: Repository, snapshot: str, place: Path) -> None:
    large = packs(place)[0]
    flip(large, large.stat().st_size // 2)
    errors: list[BaseException] = []

    class Careless(MemorySink):
        def put(self, item: Item, place: Place, contents: Contents, /) -> Placement:
            try:
                return super().put(item, place, contents)
            except backup_py.CorruptError as error:
                errors.append(error)
                return Placement(item.id)

    report = repository.restore(snapshot, Careless())
    assert errors
    assert any(isinstance(problem.error, backup_py.CorruptError) for problem in report.problems)


def test_coroutines_read_with_async_for(repository: Repository, snapshot: str) -> None:
    found: dict[bytes, bytes] = {}
    loops: set[asyncio.AbstractEventLoop] = set()

    class Sink:
        async def put(self, item: Item, place: Place, contents: Contents, /) -> None:
            loops.add(asyncio.get_running_loop())
            if item.streams:
                found[item.id] = b"".join([piece async for piece in contents.open()])

        async def finish(self) -> None:
            found[b"end"] = b""

    async def run() -> backup_py.RestoreReport:
        awaited: Awaitable[backup_py.RestoreReport] = repository.restore_async(snapshot, Sink(), on_progress=print)
        report = await awaited
        assert loops == {asyncio.get_running_loop()}
        return report

    restores: list[Callable[[], backup_py.RestoreReport]] = [
        lambda: asyncio.run(run()),
        lambda: repository.restore(snapshot, Sink()),
    ]
    for restore in restores:
        assert restore().problems == ()
        assert found == {**{path.encode(): data for path, data in FILES.items()}, b"end": b""}
        found.clear()
    assert len(loops) == 2


def test_several_items_are_put_at_once(repository: Repository, snapshot: str) -> None:
    class Sink(MemorySink):
        concurrency = 8

    sink = Sink()
    assert repository.restore(snapshot, sink).problems == ()
    assert tops(sink.tree) == FILES
    assert len(LARGE) == repository.browse(snapshot).stat("deep/er/b.bin").size
