"""Calls of sources, sinks and stores that hang, are canceled, or are under way when the program ends."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import backup_py
from backup_py import CancelToken, Change, Contents, Item, Place, Placement, Repository, Upsert
from conftest import Run
from memory import TOP, MemorySink, MemorySource
from test_own_source import FILES

# What hangs is a method of this name; waiting inside C, as for a network. The signal comes from another thread, as Ctrl-C does.
PROGRAM = """
import _thread, os, signal, sys, threading, time
import backup_py
from backup_py import *
sys.path.insert(0, sys.argv[2])
from memory import MemorySink, MemorySource, MemoryStore

hanging = threading.Event()

def hang(*_):
    hanging.set()
    time.sleep(3600)

class Source(MemorySource): pass
class Sink(MemorySink): pass
class Store(MemoryStore): pass

store = Store()
repository = Repository.init(store, raw_key=bytes(range(32)))
done = repository.backup(MemorySource({"a": b"x" * 1000}))
kind, method = sys.argv[1].split(".")
setattr({"Source": Source, "Sink": Sink, "Store": Store}[kind], method, hang)

def work():
    if kind == "Source":
        repository.backup(Source({"b": b"y" * 1000, "c": b"z"}))
    elif kind == "Sink":
        repository.restore(done.snapshot, Sink())
    elif method == "list":
        Repository.open(store, raw_key=bytes(range(32)))
    else:
        repository.backup(MemorySource({"b": b"y" * 2_000_000}))
        repository.verify("every_byte")
"""

METHODS = [
    "Source.changes",
    "Source.open",
    "Sink.put",
    "Sink.finish",
    "Sink.close_container",
    "Store.create",
    "Store.list",
]


@pytest.mark.parametrize("method", METHODS)
def test_ctrl_c_ends_a_call_that_hangs(run_python: Run, method: str) -> None:
    program = (
        PROGRAM
        + """
def interrupt():
    hanging.wait(30)
    global at
    at = time.monotonic()
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt).start()
try:
    work()
except KeyboardInterrupt:
    # The promise is a second; a machine under load gets more.
    print("interrupted", time.monotonic() - at < 5)
repository.close()
"""
    )
    done = run_python(program, method, Path(__file__).parent)
    assert (done.stdout, done.stderr, done.returncode) == ("interrupted True\n", "", 0)


@pytest.mark.parametrize("method", METHODS)
def test_a_program_may_end_while_a_call_hangs(run_python: Run, method: str) -> None:
    program = (
        PROGRAM
        + """
threading.Thread(target=work, daemon=True).start()
hanging.wait(30)
print("ended")
"""
    )
    done = run_python(program, method, Path(__file__).parent)
    assert (done.stdout, done.stderr, done.returncode) == ("ended\n", "", 0)


def test_a_program_may_end_in_the_middle_of_many_calls(run_python: Run) -> None:
    # Not a call that hangs: threads come and go through the interpreter while it ends.
    program = (
        PROGRAM
        + """
class Endless(MemorySource):
    concurrency = 4

    def changes(self, cursor):
        yield from super().changes(cursor)
        number = 0
        while True:
            number += 1
            if number == 2000:
                hanging.set()
            yield Upsert(Item(id=b"%d" % number, parent=b"top", name=str(number), streams=(Stream(name="content"),)))

    def open(self, item, stream):
        return item.id

threading.Thread(target=lambda: repository.backup(Endless()), daemon=True).start()
hanging.wait(30)
print("ended")
"""
    )
    for _ in range(5):
        done = run_python(program, "Store.nothing", Path(__file__).parent)
        assert (done.stdout, done.stderr, done.returncode) == ("ended\n", "", 0)


class Endless(MemorySource):
    """A source that does not come to its end, and notes that its generator did."""

    def __init__(self) -> None:
        """Begin."""
        super().__init__()
        self.moving, self.ended = threading.Event(), threading.Event()

    def changes(self, cursor: bytes | None, /) -> Iterator[Change]:
        """Give items for ever."""
        try:
            yield from super().changes(cursor)
            number = 0
            while True:
                number += 1
                yield Upsert(Item(id=b"%d" % number, parent=TOP, name=str(number)))
                if number > 300:
                    self.moving.set()
                    time.sleep(0.01)
        finally:
            self.ended.set()


def test_a_token_stops_a_source(repository: Repository) -> None:
    source, token = Endless(), CancelToken()

    def cancel() -> None:
        source.moving.wait(30)
        token.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(backup_py.CanceledError):
        repository.backup(source, cancel=token)
    thread.join()
    assert source.ended.wait(10)
    assert repository.verify("every_byte").is_sound
    assert repository.backup(MemorySource(FILES)).state == "complete"


def test_canceling_the_task_stops_a_source(repository: Repository) -> None:
    source = Endless()

    async def run() -> None:
        task = asyncio.ensure_future(repository.backup_async(source))
        await asyncio.to_thread(source.moving.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert source.ended.wait(10)
    assert repository.verify().is_sound


def test_canceling_the_task_cancels_coroutines(repository: Repository) -> None:
    canceled = threading.Event()

    class Source(MemorySource):
        inside: asyncio.Event

        async def open(self, item: Item, stream: str, /) -> Any:
            self.inside.set()
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                canceled.set()
                raise
            return b""

    async def run() -> None:
        source = Source(FILES)
        source.inside = asyncio.Event()
        task = asyncio.ensure_future(repository.backup_async(source))
        await source.inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # The run has five seconds for its checkpoint.
        assert await asyncio.to_thread(canceled.wait, 20)

    asyncio.run(run())


def test_a_token_stops_a_sink(repository: Repository) -> None:
    many = {f"{number:04}": bytes(10) for number in range(2000)}
    done = repository.backup(MemorySource(many))
    token = CancelToken()

    class Sink(MemorySink):
        def put(self, item: Item, place: Place, contents: Contents, /) -> Placement:
            token.cancel()
            return super().put(item, place, contents)

    sink = Sink()
    with pytest.raises(backup_py.CanceledError):
        repository.restore(done.snapshot, sink, cancel=token)
    assert len(sink.tree) < 2000


def test_a_source_may_use_the_repository(repository: Repository) -> None:
    first = repository.backup(MemorySource(FILES)).snapshot

    class Source(MemorySource):
        def open(self, item: Item, stream: str, /) -> Any:
            return repository.browse(first).read("a.txt")

    done = repository.backup(Source({"copy": b""}))
    assert repository.browse(done.snapshot).read("copy") == FILES["a.txt"]


def test_many_threads_with_sources_of_their_own(repository: Repository) -> None:
    results: dict[int, backup_py.BackupReport] = {}

    def work(number: int) -> None:
        source = MemorySource({f"{each}": bytes([number]) * 100 for each in range(50)})
        source.collection = backup_py.Collection(id=f"memory:{number}", kind="test")
        results[number] = repository.backup(source)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert sorted(results) == list(range(6))
    for number, report in results.items():
        assert report.problems == ()
        assert repository.browse(report.snapshot).read("7") == bytes([number]) * 100
    assert repository.verify("every_byte").is_sound
