"""Nothing stays behind: memory, objects, threads, open files.

BACKUP_LEAK_ROUNDS says how many rounds are made; `.ci/long.sh leaks` makes 10,000.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from backup_py import FolderSource, Repository
from conftest import KEY, Run

ROUNDS = int(os.environ.get("BACKUP_LEAK_ROUNDS", "200"))
WARM_UP = 60
"""Rounds until every cache, pool and interned name is there."""

PROGRAM = """
import asyncio, gc, json, os, pickle, sys, threading, tracemalloc
import backup_py
from backup_py import CancelToken, DriveSink, DriveSource, FolderSink, FolderSource
from backup_py import Repository, RepositoryAddress, Tenant

place, tree, out, snapshot, rounds, warm_up = sys.argv[1:5] + [int(text) for text in sys.argv[5:]]
key = bytes(range(32))
address = RepositoryAddress(url=place, raw_key=key, pickle_secret=True)

def stop(progress):
    raise LookupError

async def awaited():
    async with await Repository.open_async(place, raw_key=key) as repository:
        names = [item.name async for item in repository.browse(snapshot).list()]
        await repository.restore_async(snapshot, FolderSink(out), only="hello.txt", conflict="replace")
        canceled = repository.verify_async()
        canceled.cancel()
        try:
            await canceled
        except asyncio.CancelledError:
            pass
        return names

def one():
    with Repository.open(place, raw_key=key, known_head=None) as repository:
        browser = repository.browse(snapshot)
        assert browser.read("hello.txt") == b"Dear reader"
        for _ in browser.list():
            break
        assert not list(repository.diff(snapshot, snapshot))
        source = pickle.loads(pickle.dumps(FolderSource(tree, exclude="*.bin")))
        stopped = CancelToken()
        stopped.cancel()
        for arguments in ({"cancel": stopped}, {"on_progress": stop}):
            try:
                repository.restore(snapshot, FolderSink(out), conflict="replace", **arguments)
            except (backup_py.CanceledError, LookupError):
                pass
        repository.as_source(snapshot)
    pickle.loads(pickle.dumps(address)).open().close()
    tenant = Tenant("contoso.example", token=lambda scope: "x", graph_url="http://127.0.0.1:1")
    DriveSource(tenant, "x"), DriveSink(tenant, "x")
    with Repository.init("memory://", raw_key=key) as other:
        other.backup(source)
    try:
        Repository.open(place, raw_key=bytes(32))
    except backup_py.WrongKeyError:
        pass
    assert asyncio.run(awaited())

def seen():
    # The thread of a canceled run ends a moment after its awaitable.
    for thread in threading.enumerate():
        # Threads of the library are none that can be waited for.
        if thread is not threading.main_thread() and not isinstance(thread, threading._DummyThread):
            thread.join()
    gc.collect()
    with open("/proc/self/statm") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "bytes": resident,
        "objects": len(gc.get_objects()),
        "traced": tracemalloc.get_traced_memory()[0],
        "files": len(os.listdir("/proc/self/fd")),
    }

tracemalloc.start()
for _ in range(warm_up):
    one()
samples = [seen()]
for _ in range(10):
    for _ in range(rounds // 10):
        one()
    samples.append(seen())
print(json.dumps(samples))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="the system does not tell what a process holds")
@pytest.mark.timeout(300 + ROUNDS // 2)
def test_nothing_stays_behind(place: Path, tree: Path, tmp_path: Path, run_python: Run) -> None:
    (tree / "large.bin").write_bytes(b"small")
    with Repository.init(place, raw_key=KEY) as repository:
        snapshot = repository.backup(FolderSource(tree)).snapshot
    done = run_python(PROGRAM, place, tree, tmp_path / "out", snapshot, ROUNDS, WARM_UP, timeout=240 + ROUNDS // 2)
    assert done.returncode == 0, done.stderr
    samples = json.loads(done.stdout)
    for number, sample in enumerate(samples):
        print(f"after {number * (ROUNDS // 10):,} of {ROUNDS:,} rounds: {sample}")
    begin, middle, end = samples[0], samples[5], samples[-1]
    # A leak grows in both halves. What grows in one of them is a table of the interpreter that was doubled.
    grown = {name: min(middle[name] - begin[name], end[name] - middle[name]) for name in begin}
    assert grown["files"] <= 1, "files of runs that are about to end"
    assert grown["objects"] < 50, grown
    assert grown["traced"] < 50_000, grown
    # The allocators of the system keep what was free for a moment.
    assert grown["bytes"] < 6 << 20, grown
