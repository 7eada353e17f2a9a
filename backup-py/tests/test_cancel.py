"""Stopping runs: by a token, by an exception in a callback, by Ctrl-C; and threads beside each other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import backup_py
from backup_py import CancelToken, FolderSink, FolderSource, Progress, Repository
from conftest import KEY, Run

INTERRUPTED_WITHIN_SECONDS = 1.5
"""One second, and some for a loaded machine; the run itself would take minutes."""


class OurError(Exception):
    """Raised by callbacks."""


class Moving:
    """Waits until a run moves content."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def __call__(self, progress: Progress) -> None:
        """Note that it does."""
        if progress.bytes_done > 4_000_000:
            self.event.set()


def test_a_token_stops_a_backup_in_another_thread(repository: Repository, endless: Path) -> None:
    token, moving, caught = CancelToken(), Moving(), list[BaseException]()

    def work() -> None:
        try:
            repository.backup(FolderSource(endless), cancel=token, on_progress=moving)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is looked at
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    # That this thread comes on at all shows that the other one does not hold the interpreter.
    assert moving.event.wait(30)
    token.cancel()
    thread.join(30)
    assert not thread.is_alive()
    (error,) = caught
    assert isinstance(error, backup_py.CanceledError)
    assert error.code == 3
    assert repository.snapshots() == []


def test_a_canceled_backup_leaves_a_checkpoint(repository: Repository, endless: Path) -> None:
    token = CancelToken()

    def stop(progress: Progress) -> None:
        if progress.bytes_done > 4_000_000:
            token.cancel()

    with pytest.raises(backup_py.CanceledError):
        repository.backup(FolderSource(endless), cancel=token, on_progress=stop)
    (endless / "sparse").unlink()
    done = repository.backup(FolderSource(endless))
    # The first file is known by its tag, so it is not read again.
    assert done.stats.bytes == 3_000_000
    assert done.stats.bytes_read == 0


def test_a_canceled_token_stops_a_run_before_it_begins(repository: Repository, tree: Path, tmp_path: Path) -> None:
    snapshot = repository.backup(FolderSource(tree)).snapshot
    token = CancelToken()
    token.cancel()
    with pytest.raises(backup_py.CanceledError):
        repository.backup(FolderSource(tree), cancel=token)
    with pytest.raises(backup_py.CanceledError):
        repository.restore(snapshot, FolderSink(tmp_path / "out"), cancel=token)
    with pytest.raises(backup_py.CanceledError):
        repository.verify(cancel=token)
    assert len(repository.snapshots()) == 1


@pytest.mark.parametrize("run", ["backup", "restore", "verify"])
def test_an_exception_in_a_callback_cancels_and_comes_out_unchanged(
    repository: Repository, tree: Path, tmp_path: Path, run: str
) -> None:
    snapshot = repository.backup(FolderSource(tree)).snapshot
    error, calls = OurError("ours"), []

    def callback(progress: Progress) -> None:
        calls.append(progress)
        raise error

    with pytest.raises(OurError) as caught:
        if run == "backup":
            repository.backup(FolderSource(tree), on_progress=callback)
        elif run == "restore":
            repository.restore(snapshot, FolderSink(tmp_path / "out"), on_progress=callback)
        else:
            repository.verify(on_progress=callback)
    assert caught.value is error
    assert len(calls) == 1
    assert len(repository.snapshots()) == 1
    # The repository is as good as before.
    assert repository.verify("every_byte").is_sound


def test_an_exception_in_the_middle_of_a_long_run_ends_it(repository: Repository, endless: Path) -> None:
    token = CancelToken()

    def callback(progress: Progress) -> None:
        if progress.bytes_done > 4_000_000:
            raise OurError

    with pytest.raises(OurError):
        repository.backup(FolderSource(endless), cancel=token, on_progress=callback)
    assert token.is_canceled


PROGRAM = """
import sys, threading, time
import backup_py

def show(progress):
    if progress.bytes_done > 4_000_000:
        print("moving", flush=True)

try:
    with backup_py.Repository.open(sys.argv[1], raw_key=bytes(range(32))) as repository:
        repository.backup(backup_py.FolderSource(sys.argv[2]), on_progress=show if sys.argv[3] == "watched" else None)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(7)
"""


@pytest.mark.parametrize("watched", ["watched", "alone"])
def test_ctrl_c_ends_a_run_within_a_second(repository: Repository, place: Path, endless: Path, watched: str) -> None:
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(place), str(endless), watched]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if watched == "watched":
                assert process.stdout.readline() == "moving\n"
            else:
                time.sleep(3)
                assert process.poll() is None
            begin = time.monotonic()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
            took = time.monotonic() - begin
        finally:
            process.kill()
    assert "interrupted" in out, err
    assert err == ""
    assert process.returncode == 7
    assert took < INTERRUPTED_WITHIN_SECONDS
    repository.refresh()
    assert repository.snapshots() == []


def test_ctrl_c_leaves_a_checkpoint(repository: Repository, place: Path, endless: Path) -> None:
    test_ctrl_c_ends_a_run_within_a_second(repository, place, endless, "watched")
    (endless / "sparse").unlink()
    assert repository.backup(FolderSource(endless)).stats.bytes_read == 0


def test_a_signal_handler_runs_while_a_call_waits(repository: Repository, endless: Path) -> None:
    token, moving = CancelToken(), Moving()
    before = signal.signal(signal.SIGUSR1, lambda *_: token.cancel())
    try:

        def send() -> None:
            moving.event.wait(30)
            os.kill(os.getpid(), signal.SIGUSR1)

        thread = threading.Thread(target=send)
        thread.start()
        with pytest.raises(backup_py.CanceledError):
            repository.backup(FolderSource(endless), cancel=token, on_progress=moving)
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_threads_work_on_one_repository_at_once(repository: Repository, tmp_path: Path) -> None:
    count = 4
    barrier = threading.Barrier(count)
    done: dict[int, backup_py.BackupReport] = {}

    def work(number: int) -> None:
        root = tmp_path / f"source {number}"
        root.mkdir()
        (root / "file").write_bytes(bytes([number]) * 100_000)

        def meet(progress: Progress) -> None:
            # All runs are in their first callback at the same time, or this breaks.
            if progress.phase == "opening":
                barrier.wait(30)

        done[number] = repository.backup(FolderSource(root), on_progress=meet)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == count
    assert {summary.id for summary in repository.snapshots()} == {report.snapshot for report in done.values()}
    for number, report in done.items():
        assert repository.browse(report.snapshot).read("file", length=3) == bytes([number]) * 3
    assert repository.verify("every_byte").is_sound


def test_a_source_in_use_is_refused(repository: Repository, tree: Path) -> None:
    source = FolderSource(tree)

    def again(progress: Progress) -> None:
        with pytest.raises(backup_py.InvalidArgumentError, match="in use"):
            repository.backup(source)

    repository.backup(source, on_progress=again)
    repository.backup(source)


def test_a_callback_may_use_the_repository(repository: Repository, tree: Path) -> None:
    first = repository.backup(FolderSource(tree))
    seen = []

    def look(progress: Progress) -> None:
        seen.append(repository.browse(first.snapshot).read("hello.txt"))

    repository.backup(FolderSource(tree), on_progress=look)
    assert set(seen) == {b"Dear reader"}


def test_a_waiting_call_lets_other_threads_run(
    run_python: Run, repository: Repository, place: Path, endless: Path
) -> None:
    # Without a callback, which would let them run too. A program of its own: a lock that is held would hold the test.
    program = """
import sys, threading, time, backup_py
repository = backup_py.Repository.open(sys.argv[1], raw_key=bytes(range(32)))
token = backup_py.CancelToken()

def work():
    try:
        repository.backup(backup_py.FolderSource(sys.argv[2]), cancel=token)
    except backup_py.CanceledError:
        print("canceled")

thread = threading.Thread(target=work)
thread.start()
time.sleep(0.5)
token.cancel()
thread.join()
"""
    done = run_python(program, place, endless)
    assert (done.stdout, done.stderr, done.returncode) == ("canceled\n", "", 0)


def test_a_program_may_end_while_a_daemon_thread_waits(
    run_python: Run, repository: Repository, place: Path, endless: Path
) -> None:
    program = """
import sys, threading, backup_py
repository = backup_py.Repository.open(sys.argv[1], raw_key=bytes(range(32)))
moving = threading.Event()

def work():
    repository.backup(backup_py.FolderSource(sys.argv[2]), on_progress=lambda progress: moving.set())

threading.Thread(target=work, daemon=True).start()
moving.wait()
print("ended")
"""
    for _ in range(3):
        done = run_python(program, place, endless)
        assert (done.stdout, done.stderr, done.returncode) == ("ended\n", "", 0)


def test_keys_of_tests_open_what_programs_open() -> None:
    assert bytes(range(32)) == KEY
