"""Many backups by many processes or machines into one repository; docs/python.md.

    from backup_py import FolderSource, RepositoryAddress
    from backup_py.distributed import EnvironmentSecret, Job, backup_all

    address = RepositoryAddress(url="s3://acme-backup/files", options={"aws_region": "eu-north-1"})
    jobs = [Job(path, FolderSource(path)) for path in paths]
    with dask.distributed.Client("tcp://scheduler:8786") as client:
        for done in backup_all(jobs, address, client, secret=EnvironmentSecret("BACKUP_PASSPHRASE")):
            print(done)

Any executor will do that has `submit(function, *arguments)` and gives futures with `result` and `add_done_callback`: a Dask client,
`SpawnPool`, a few lines around Ray. Nothing goes through the coordinator but jobs and reports: workers read their sources and
write to the store themselves. A worker that is lost costs no room and little traffic to the store: another one takes its job over, reads the source once
more, and stores only what the lost one had not stored (`checkpoint_bytes`).
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import os
import pickle
import queue
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Protocol, TypeAlias

from ._backup import Repository
from ._html import Shown
from .address import RepositoryAddress
from .exceptions import BackupError, ExtensionError, FencedError
from .results import BackupReport, Compression

__all__ = [
    "EnvironmentSecret",
    "Executor",
    "FutureLike",
    "Job",
    "JobReport",
    "SpawnPool",
    "backup_all",
]

_LONGEST_WAIT_SECONDS = 60.0

_Recipe: TypeAlias = tuple[RepositoryAddress, Callable[[], str | bytes] | None]


class FutureLike(Protocol):
    """The part of a future that is used."""

    def result(self) -> Any:  # noqa: ANN401 - of whatever was submitted
        """What came of it; raises if that could not be found out."""

    def add_done_callback(self, fn: Callable[[Any], object], /) -> Any:  # noqa: ANN401 - ignored
        """Call `fn` when it is done, on any thread."""

    def cancel(self) -> Any:  # noqa: ANN401 - ignored
        """Do not begin it any more."""


class Executor(Protocol):
    """Whatever runs functions elsewhere: a Dask client, `SpawnPool`."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> FutureLike:  # noqa: ANN401 - picklable arguments of any kind
        """Run `fn(*args)` on a worker."""


@dataclass(frozen=True)
class EnvironmentSecret:
    """A passphrase that each worker finds in its own environment, so that it is not sent to it."""

    variable: str
    """The variable's name."""

    def __call__(self) -> str:
        """Find it; `KeyError` if it is not there."""
        secret = os.environ.get(self.variable)
        if not secret:
            raise KeyError(f"the worker's environment has no {self.variable}")
        return secret


@dataclass(frozen=True)
class Job:
    """One collection to back up. Must be picklable."""

    name: str
    """What reports call it."""
    source: Any
    """The source, or a callable without arguments that makes it on the worker, for what must not be sent there."""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Labels for the snapshot."""
    full: bool = False
    """As for `Repository.backup`."""
    checkpoint_bytes: int | None = None
    """As for `Repository.backup`: what a lost worker may cost."""
    compression: Compression = "adaptive"
    """As for `Repository.backup`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobReport(Shown):
    """What became of a job."""

    name: str
    """The job's name."""
    report: BackupReport | None
    """What the backup did; none if it failed."""
    error: BaseException | None
    """Why it failed: a `BackupError`, or whatever else the source or the executor raised."""
    attempts: int
    """How often it was begun, as far as the coordinator knows: Dask takes over from a lost worker by itself."""
    worker: str
    """Host and process that finished it; empty if none did."""
    seconds: float
    """How long the last attempt took on its worker."""

    @property
    def is_complete(self) -> bool:
        """Whether there is a snapshot with all items in it."""
        return self.report is not None and self.report.state == "complete"

    def __str__(self) -> str:
        if self.report is None:
            return f"{self.name}: failed after {self.attempts} attempts: {self.error}"
        return f"{self.name}: {self.report.state}, {self.report.stats.items} items, snapshot {self.report.snapshot}"


def backup_all(
    jobs: Iterable[Job],
    repository: RepositoryAddress,
    executor: Executor,
    *,
    secret: Callable[[], str | bytes] | None = None,
    attempts: int = 3,
    in_flight: int = 256,
    on_report: Callable[[JobReport], object] | None = None,
) -> list[JobReport]:
    """Do all jobs by an executor's workers; gives a report for each, in the order of the jobs.

    `secret` gives the repository's passphrase on each worker, such as `EnvironmentSecret`. Without it, `repository` must have one and send
    it along (`pickle_secret`): then nobody else should be able to read the connection to the workers.

    A job is begun again, up to `attempts` times, if its worker was lost or the error is one that may pass; an error that would come
    again is not tried again. After an error it waits as long as the other side asked for, or a second, two, four, at most a minute. At
    most `in_flight` jobs are submitted at a time. `on_report` is called with each report as it comes.

    A worker process keeps its last repository open: the passphrase is stretched once for each process, not for each job. Nothing
    that fails in a job is raised; what `on_report` raises and Ctrl-C are, and then nothing more is begun.
    """
    if attempts < 1 or in_flight < 1:
        raise ValueError("at least one attempt and one job in flight")
    return _Coordinator(list(jobs), (repository, secret), executor, attempts, in_flight, on_report).run()


@dataclass(frozen=True)
class _Outcome:
    """What a worker says. An error is a value in it, so that an exception of the future can only mean a lost worker."""

    report: BackupReport | None
    error: BaseException | None
    worker: str
    seconds: float


class _Coordinator:
    def __init__(
        self,
        jobs: list[Job],
        recipe: _Recipe,
        executor: Executor,
        attempts: int,
        in_flight: int,
        on_report: Callable[[JobReport], object] | None,
    ) -> None:
        self._jobs = jobs
        self._recipe = recipe
        self._executor = executor
        self._attempts = attempts
        self._in_flight = in_flight
        self._on_report = on_report
        # Dask takes calls with equal arguments for one call: a second attempt must differ from the first.
        self._run = uuid.uuid4().hex
        self._begun = [0] * len(jobs)
        self._reports: dict[int, JobReport] = {}
        self._done: queue.SimpleQueue[tuple[int, FutureLike]] = queue.SimpleQueue()
        self._flying: dict[int, FutureLike] = {}
        self._waiting: list[tuple[float, int]] = []

    def run(self) -> list[JobReport]:
        fresh = iter(range(len(self._jobs)))
        try:
            while len(self._reports) < len(self._jobs):
                self._submit_due(fresh)
                with contextlib.suppress(queue.Empty):
                    # Short, so that Ctrl-C and what waits for its turn are noticed.
                    number, future = self._done.get(timeout=0.2)
                    self._flying.pop(number, None)
                    self._settle(number, future)
        except BaseException:
            for future in self._flying.values():
                with contextlib.suppress(Exception):
                    future.cancel()
            raise
        return [self._reports[number] for number in range(len(self._jobs))]

    def _submit_due(self, fresh: Iterator[int]) -> None:
        while len(self._flying) < self._in_flight:
            if self._waiting and self._waiting[0][0] <= time.monotonic():
                number = heapq.heappop(self._waiting)[1]
            else:
                following = next(fresh, None)
                if following is None:
                    return
                number = following
            self._begun[number] += 1
            marker = f"{self._run}-{number}-{self._begun[number]}"
            future = self._executor.submit(_back_up, self._jobs[number], self._recipe, marker)
            self._flying[number] = future
            future.add_done_callback(partial(self._landed, number))

    def _landed(self, number: int, future: FutureLike) -> None:
        self._done.put((number, future))

    def _settle(self, number: int, future: FutureLike) -> None:
        try:
            outcome = future.result()
        except Exception as lost:  # noqa: BLE001 - the executor's own: a lost worker, a broken pool, what could not be pickled
            self._after(number, _Outcome(None, lost, "", 0.0), passes=True, wait=None)
            return
        error = outcome.error
        passes = isinstance(error, BackupError) and (error.retryable or isinstance(error, FencedError))
        self._after(number, outcome, passes=passes, wait=getattr(error, "retry_after", None))

    def _after(self, number: int, outcome: _Outcome, *, passes: bool, wait: float | None) -> None:
        begun = self._begun[number]
        if outcome.report is None and passes and begun < self._attempts:
            pause = min(2.0 ** (begun - 1), _LONGEST_WAIT_SECONDS) if wait is None else wait
            heapq.heappush(self._waiting, (time.monotonic() + pause, number))
            return
        report = JobReport(
            name=self._jobs[number].name,
            report=outcome.report,
            error=outcome.error,
            attempts=begun,
            worker=outcome.worker,
            seconds=outcome.seconds,
        )
        self._reports[number] = report
        if self._on_report is not None:
            self._on_report(report)


class _Held:
    """The repository that this worker process has open, for one recipe at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recipe = b""
        self._repository: Repository | None = None

    def take(self, recipe: _Recipe) -> Repository:
        key = hashlib.sha256(pickle.dumps(recipe)).digest()
        with self._lock:
            if self._repository is None or self._recipe != key:
                # Jobs under way go on with the one that they have.
                address, secret = recipe
                opened = address.open() if secret is None else address.open(passphrase=secret())
                self._repository, self._recipe = opened, key
            return self._repository

    def drop(self, repository: Repository) -> None:
        """After an error: what may be broken is opened anew."""
        with self._lock:
            if self._repository is repository:
                self._repository = None


_held = _Held()


def _back_up(job: Job, recipe: _Recipe, _marker: str) -> _Outcome:
    """Do one job; runs on a worker."""
    begun, worker, repository = time.monotonic(), f"{socket.gethostname()}:{os.getpid()}", None
    report: BackupReport | None = None
    failed: BaseException | None = None
    try:
        repository = _held.take(recipe)
        # What others have stored since need not be stored again.
        repository.refresh()
        report = repository.backup(
            job.source() if callable(job.source) else job.source,
            labels=job.labels,
            full=job.full,
            checkpoint_bytes=job.checkpoint_bytes,
            compression=job.compression,
        )
    except Exception as error:  # noqa: BLE001 - a value of the outcome
        failed = _picklable(error)
        if repository is not None:
            _held.drop(repository)
    return _Outcome(report, failed, worker, time.monotonic() - begun)


def _picklable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - whatever a foreign exception does
        return ExtensionError(f"{type(error).__name__}: {error}")
    return error


class SpawnPool:
    """Processes of this machine, started by `spawn`; the simplest executor. Use it with `with`.

    Unlike `concurrent.futures.ProcessPoolExecutor`, which it is made of, it goes on after a process was killed: what was under way is
    lost and done again. The program that uses it must be importable: `if __name__ == "__main__":`.
    """

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._pool = self._new()

    def _new(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(self._processes, mp_context=get_context("spawn"))

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:  # noqa: ANN401 - as the base has it
        """Run `fn(*args)` in one of the processes."""
        try:
            return self._pool.submit(fn, *args)
        except BrokenExecutor:
            self._pool.shutdown(wait=False)
            self._pool = self._new()
            return self._pool.submit(fn, *args)

    def close(self) -> None:
        """End the processes, after what is under way."""
        self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> SpawnPool:  # noqa: PYI034 - Self is of Python 3.11
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.close()
