"""Stores written in Python: conformance, and what is made of those that do not conform."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]
import pytest

import backup_py
from backup_py import Entry, FolderSink, FolderSource, FsspecStore, Repository, Store
from conftest import KEY, describe
from memory import MemorySource, MemoryStore
from test_own_source import FILES, files


def in_memory(folder: Path) -> Store:
    return MemoryStore()


def in_fsspec_memory(folder: Path) -> Store:
    return FsspecStore(fsspec.filesystem("memory"), f"/{folder}")


def in_fsspec_local(folder: Path) -> Store:
    return FsspecStore(fsspec.filesystem("file"), str(folder / "store"))


STORES: list[Callable[[Path], Store]] = [in_memory, in_fsspec_memory, in_fsspec_local]


@pytest.fixture(params=STORES, ids=[make.__name__ for make in STORES])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Each kind of store, empty."""
    made: Store = request.param(tmp_path)
    return made


def listed(store: Store, prefix: str) -> dict[str, int]:
    entries = list(store.list(prefix))
    assert len({entry.key for entry in entries}) == len(entries)
    return {entry.key: entry.size for entry in entries}


def test_names_are_taken_once(store: Store) -> None:
    assert store.create("c/one", b"first") is True
    for other in (b"other", b"first", b"", b"longer than it was"):
        assert store.create("c/one", other) is False
        assert bytes(store.read("c/one", 0, None)) == b"first"
    for number in range(8):
        data = [bytes([writer]) * (3000 + writer) for writer in range(8)]
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda each, key=f"c/{number}": store.create(key, each), data))
        assert sum(won) == 1
        assert bytes(store.read(f"c/{number}", 0, None)) == data[won.index(True)]


def test_ranges_are_exact(store: Store) -> None:
    data = random.Random(3).randbytes(10_000)
    store.create("c/ranges", data)
    store.create("c/empty", b"")
    for start, end in [(0, 10_000), (0, 1), (9_999, 10_000), (1, 9_999), (4_095, 4_097), (0, 0), (5, 5)]:
        assert bytes(store.read("c/ranges", start, end)) == data[start:end]
    for start, end in [(0, 10_001), (9_999, 10_001), (10_000, 10_001), (20_000, 20_001), (10_001, 10_001), (7, 3)]:
        with contextlib.suppress(backup_py.InvalidArgumentError):
            assert len(bytes(store.read("c/ranges", start, end))) < end - start
    assert store.size("c/ranges") == 10_000
    assert store.size("c/empty") == 0
    assert bytes(store.read("c/empty", 0, None)) == b""


def test_what_is_not_there(store: Store) -> None:
    for call in (lambda: store.read("c/x", 0, None), lambda: store.read("c/x", 0, 1), lambda: store.size("c/x")):
        with pytest.raises(FileNotFoundError):
            call()
    assert listed(store, "c/x") == {}
    store.delete("c/x")


def test_listings_go_by_whole_segments(store: Store) -> None:
    made = {"l/one/1": 1, "l/one/2": 2, "l/one-more/1": 3, "l/ones": 4, "l/o": 5, "l/.hidden": 6, "l/a/b/c/d": 7}
    for name, length in made.items():
        assert store.create(name, bytes(length))
    assert listed(store, "l/one") == {"l/one/1": 1, "l/one/2": 2}
    assert listed(store, "l/ones") == {"l/ones": 4}
    assert listed(store, "l/on") == {}
    assert listed(store, "l") == made
    store.delete("l/one/1")
    assert listed(store, "l/one") == {"l/one/2": 2}
    with pytest.raises(FileNotFoundError):
        store.read("l/one/1", 0, None)
    assert store.create("l/one/1", b"again")


def test_repositories_go_round(store: Store, tree: Path, tmp_path: Path) -> None:
    with Repository.init(store, raw_key=KEY) as repository:
        done = repository.backup(FolderSource(tree))
        assert repository.verify("every_byte").is_sound
    with Repository.open(store, raw_key=KEY) as repository:
        assert [summary.id for summary in repository.snapshots()] == [done.snapshot]
        assert repository.restore(done.snapshot, FolderSink(tmp_path / "out")).problems == ()
        assert describe(
            tmp_path / "out" / tree.name if (tmp_path / "out" / tree.name).exists() else tmp_path / "out"
        ) == (describe(tree))
        again = repository.backup(FolderSource(tree))
        assert again.stats.bytes_read == 0
        repository.remove([done.snapshot])
        repository.prune()
        assert repository.verify("every_byte").is_sound


def test_source_sink_and_store_are_all_python(store: Store) -> None:
    with Repository.init(store, raw_key=KEY) as repository:
        done = repository.backup(MemorySource(FILES))
        assert files(repository, done.snapshot) == FILES


def test_a_store_is_opened_from_a_loop(store: Store) -> None:
    import asyncio

    async def run() -> None:
        async with await Repository.init_async(store, raw_key=KEY) as repository:
            done = await repository.backup_async(MemorySource(FILES))
            # Also by calls that hold the loop.
            assert files(repository, done.snapshot) == FILES

    asyncio.run(run())


def test_threads_end_with_the_repository() -> None:
    with Repository.init(MemoryStore(), raw_key=KEY):
        assert [thread for thread in threading.enumerate() if thread.name.startswith("backup-store")]
    for thread in threading.enumerate():
        if thread.name.startswith("backup-store"):
            thread.join(10)
            assert not thread.is_alive()


class Overwrites(MemoryStore):
    """Forgets what was there."""

    def create(self, key: str, data: bytes, /) -> bool:
        self.objects[key] = data
        return True


class Short(MemoryStore):
    """Answers a range outside of an object with what there is."""

    def read(self, key: str, start: int, end: int | None, /) -> bytes:
        return self._get(key)[start:end]


class TooMany(MemoryStore):
    """Answers with more than it was asked for."""

    def read(self, key: str, start: int, end: int | None, /) -> bytes:
        return self._get(key)[start:]


class Forgets(MemoryStore):
    """Returns nothing."""

    def create(self, key: str, data: bytes, /) -> Any:
        super().create(key, data)


class Shows(MemoryStore):
    """Shows what is not there."""

    def read(self, key: str, start: int, end: int | None, /) -> bytes:
        return b"?" * ((end or 5) - start)


class Negative(MemoryStore):
    """Lengths below zero."""

    def size(self, key: str, /) -> int:
        return -super().size(key)


class Text(MemoryStore):
    """Text for bytes."""

    def read(self, key: str, start: int, end: int | None, /) -> Any:
        return str(super().read(key, start, end))


class Nothing(MemoryStore):
    """None for bytes."""

    def read(self, key: str, start: int, end: int | None, /) -> Any:
        super().read(key, start, end)


class OddList(MemoryStore):
    """No entries in listings."""

    def list(self, prefix: str, /) -> Iterator[Any]:
        yield "name"


class BadNames(MemoryStore):
    """Names that are none."""

    def list(self, prefix: str, /) -> Iterator[Entry]:
        yield Entry("../x", 5)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (Overwrites, backup_py.UnsafeStoreError),
        (TooMany, backup_py.InvalidArgumentError),
        (Forgets, backup_py.ExtensionError),
        (Shows, backup_py.UnsafeStoreError),
        (Negative, backup_py.ExtensionError),
        (Text, backup_py.ExtensionError),
        (Nothing, backup_py.ExtensionError),
        (OddList, backup_py.ExtensionError),
        (BadNames, backup_py.ExtensionError),
    ],
)
def test_stores_that_do_not_conform_are_refused(kind: type[MemoryStore], error: type[Exception]) -> None:
    store = kind()
    with pytest.raises(error):
        Repository.init(store, raw_key=KEY)
    assert not [key for key in store.objects if not key.startswith("probe/")]


def test_a_short_answer_is_a_range_outside() -> None:
    with Repository.init(Short(), raw_key=KEY) as repository:
        done = repository.backup(MemorySource(FILES))
        assert files(repository, done.snapshot) == FILES


def test_the_exception_of_a_store_is_the_cause() -> None:
    mine = RuntimeError("disk on fire")

    class Burning(MemoryStore):
        burns = False

        def create(self, key: str, data: bytes, /) -> bool:
            if self.burns:
                raise mine
            return super().create(key, data)

    store = Burning()
    with Repository.init(store, raw_key=KEY) as repository:
        before = dict(store.objects)
        store.burns = True
        with pytest.raises(backup_py.ExtensionError, match="disk on fire") as caught:
            repository.backup(MemorySource(FILES))
        assert caught.value.__cause__ is mine
        store.burns = False
        assert store.objects == before
        assert repository.verify("every_byte").is_sound
        assert repository.backup(MemorySource(FILES)).state == "complete"


def test_what_is_no_store_is_refused() -> None:
    for url in (None, 5, object()):
        with pytest.raises(TypeError, match="has no create"):
            Repository.init(url, raw_key=KEY)  # type: ignore[arg-type]
    with pytest.raises(backup_py.InvalidArgumentError, match="options"):
        Repository.init(MemoryStore(), raw_key=KEY, options={"a": "b"})
