"""Backups by many processes into one repository, of which some are killed."""

from __future__ import annotations

import os
import pickle
import random
import signal
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import backup_py
from backup_py import FolderSource, Repository, RepositoryAddress
from backup_py.distributed import EnvironmentSecret, Executor, Job, JobReport, SpawnPool, backup_all
from conftest import KEY, settle

VARIABLE = "BACKUP_TEST_PASSPHRASE"
# More than the engine has under way: some of it is stored before the last file is begun.
FILES, FILE_BYTES, ZEROS_BYTES = 24, 6_000_000, 4 << 30


def slow(folder: Path, marker: Path) -> FolderSource:
    """A source that says which process has begun with it."""
    with open(marker, "a") as file:
        file.write(f"{os.getpid()}\n")
    return FolderSource(folder)


def failing(what: str) -> FolderSource:
    """A source that cannot be made."""
    raise backup_py.UnavailableError(what, retry_after=0.01) if what == "busy" else LookupError(what)


class Here:
    """An executor in this process; the first calls lose their worker."""

    def __init__(self, lost: int = 0) -> None:
        self.lost = lost
        self.calls = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:
        """Run it now."""
        future: Future[Any] = Future()
        self.calls += 1
        if self.calls <= self.lost:
            future.set_exception(RuntimeError("the worker is gone"))
        else:
            future.set_result(fn(*args))
        return future


def address(place: Path) -> RepositoryAddress:
    return RepositoryAddress(url=place, raw_key=KEY, pickle_secret=True)


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """A folder whose last file takes a while to read, and leaves nothing to store."""
    noise = random.Random(4711)
    folder = tmp_path / "big"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number:02}").write_bytes(noise.randbytes(FILE_BYTES))
    with open(folder / "zeros", "wb") as file:
        file.truncate(ZEROS_BYTES)
    settle()
    return folder


def folders(tmp_path: Path, count: int) -> list[Job]:
    jobs = []
    for number in range(count):
        folder = tmp_path / f"small {number}"
        folder.mkdir()
        (folder / "file").write_bytes(random.Random(number).randbytes(20_000))
        jobs.append(Job(f"small {number}", FolderSource(folder), labels={"number": str(number)}))
    settle()
    return jobs


def kill_in_the_middle(repository: Repository, marker: Path, killed: list[int]) -> threading.Thread:
    """Kills the process that has begun with the big folder, once it has stored some of it and left a checkpoint."""

    def watch() -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            time.sleep(0.02)
            repository.refresh()
            # A commit that is no snapshot.
            if int(repository.head.partition(":")[0]) >= 1 and not repository.snapshots():
                killed.append(int(marker.read_text().split()[0]))
                os.kill(killed[0], signal.SIGKILL)
                return

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def check_takeover(executor: Executor, repository: Repository, place: Path, big: Path, tmp_path: Path) -> None:
    marker, killed = tmp_path / "marker", list[int]()
    jobs = [Job("big", partial(slow, big, marker), checkpoint_bytes=1 << 20)]
    watcher = kill_in_the_middle(repository, marker, killed)
    seen: list[JobReport] = []
    first = backup_all(jobs, address(place), executor, on_report=seen.append)
    watcher.join()
    done = [*first, *backup_all(folders(tmp_path, 6), address(place), executor, in_flight=4)]
    assert killed, "nobody was killed"
    assert marker.read_text().split() == [str(killed[0]), first[0].worker.rpartition(":")[2]]
    assert seen == first
    assert [report.name for report in done] == ["big", *(f"small {number}" for number in range(6))]
    assert all(report.is_complete for report in done), [str(report) for report in done]
    big_report = done[0].report
    assert big_report
    # It read everything, but stored nothing that the killed one had stored.
    assert big_report.stats.bytes_stored < FILES * FILE_BYTES - (1 << 20)
    assert big_report.stats.bytes == ZEROS_BYTES + FILES * FILE_BYTES
    repository.refresh()
    assert len(repository.snapshots()) == 7
    assert repository.verify("every_byte").is_sound


def test_dask_takes_over_what_a_killed_worker_had(
    repository: Repository, place: Path, big: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Workers import this module from here.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    with warnings.catch_warnings():
        # Dask's own business, of one Python or another.
        warnings.simplefilter("ignore")
        from distributed import Client, LocalCluster

        with (
            LocalCluster(  # type: ignore[no-untyped-call]
                n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
            ) as cluster,
            Client(cluster) as client,  # type: ignore[no-untyped-call]
        ):
            check_takeover(client, repository, place, big, tmp_path)


def test_a_pool_of_processes_takes_over_too(repository: Repository, place: Path, big: Path, tmp_path: Path) -> None:
    with SpawnPool(2) as pool:
        check_takeover(pool, repository, place, big, tmp_path)


def test_lost_workers_are_made_good_within_bounds(repository: Repository, place: Path, tmp_path: Path) -> None:
    jobs = folders(tmp_path, 2)
    done = backup_all(jobs, address(place), Here(lost=1), in_flight=1)
    assert [(report.attempts, report.is_complete) for report in done] == [(2, True), (1, True)]
    executor = Here(lost=99)
    [lost, _] = backup_all(jobs, address(place), executor, attempts=2)
    assert (executor.calls, lost.attempts, lost.report, str(lost.error)) == (4, 2, None, "the worker is gone")
    assert str(lost) == "small 0: failed after 2 attempts: the worker is gone"
    repository.refresh()
    assert [repository.snapshot(each.id).labels for each in repository.snapshots()] == [
        {"number": "1"},
        {"number": "0"},
    ]


def test_only_what_may_pass_is_tried_again(repository: Repository, place: Path, tmp_path: Path) -> None:
    executor = Here()
    jobs = [Job("busy", partial(failing, "busy")), Job("odd", partial(failing, "odd")), *folders(tmp_path, 1)]
    busy, odd, good = backup_all(jobs, address(place), executor)
    assert isinstance(busy.error, backup_py.UnavailableError)
    assert (busy.attempts, odd.attempts, executor.calls) == (3, 1, 5)
    assert repr(odd.error) == "LookupError('odd')"
    assert good.is_complete
    with pytest.raises(ValueError, match="at least one"):
        backup_all(jobs, address(place), executor, attempts=0)


def test_what_a_callback_raises_ends_it(repository: Repository, place: Path, tmp_path: Path) -> None:
    def stop(_: JobReport) -> None:
        raise StopAsyncIteration

    executor = Here()
    with pytest.raises(StopAsyncIteration):
        backup_all(folders(tmp_path, 5), address(place), executor, in_flight=1, on_report=stop)
    assert executor.calls == 1


def test_secrets_may_stay_where_workers_are(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    canary = "canary-4711"
    Repository.init(place, passphrase=canary).close()
    secret, where = EnvironmentSecret(VARIABLE), RepositoryAddress(url=place)
    jobs = folders(tmp_path, 1)
    [done] = backup_all(jobs, where, Here(), secret=secret)
    assert repr(done.error) == repr(KeyError(f"the worker's environment has no {VARIABLE}"))
    monkeypatch.setenv(VARIABLE, canary)
    [done] = backup_all(jobs, where, Here(), secret=secret)
    assert done.is_complete
    assert canary.encode() not in pickle.dumps((secret, where, done))
    assert canary not in repr((secret, where, done))
