"""Exceptions: kinds, what they carry, and wrong arguments."""

from __future__ import annotations

import copy
import errno
import pickle
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import backup_py
from backup_py import BackupError, CancelToken, FolderSink, FolderSource, Repository, exceptions
from conftest import KEY, Run

NO_SNAPSHOT = "0" * 32
KINDS = [getattr(exceptions, name) for name in exceptions.__all__ if name != "BackupError"]


def test_each_kind_of_the_engine_has_its_class() -> None:
    source = Path(__file__).parents[2] / "backup-core" / "src" / "error.rs"
    if not source.exists():
        pytest.skip("the engine's source is not beside this package")
    kinds = dict(re.findall(r"^    (\w+) = (\d+),$", source.read_text(), re.MULTILINE))
    assert len(kinds) > 20
    ours = {kind.__name__.removesuffix("Error"): str(kind.code) for kind in KINDS}
    assert ours == kinds
    assert {kind.code for kind in KINDS} == set(exceptions._BY_CODE)


@pytest.mark.parametrize("kind", KINDS)
def test_every_exception_keeps_its_fields(kind: type[BackupError]) -> None:
    error = kind("log does not read: log/7", item="log/7", retry_after=1.5, hint="look")
    assert str(error) == "log does not read: log/7"
    assert error.args == ("log does not read: log/7",)
    assert (error.code, error.hint, error.retry_after, error.item) == (kind.code, "look", 1.5, "log/7")
    assert error.retryable == (kind.__name__ in ("ThrottledError", "UnavailableError"))
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is kind
        assert (str(twin), vars(twin)) == (str(error), vars(error))
    if sys.version_info >= (3, 11):
        assert error.__notes__ == ["hint: look"]


def test_exceptions_are_what_python_would_raise() -> None:
    assert issubclass(backup_py.NotFoundError, FileNotFoundError)
    assert issubclass(backup_py.AlreadyExistsError, FileExistsError)
    assert issubclass(backup_py.PermissionDeniedError, PermissionError)
    assert issubclass(backup_py.InvalidArgumentError, ValueError)
    assert issubclass(backup_py.UnavailableError, ConnectionError)
    assert backup_py.NotFoundError("x").errno == errno.ENOENT
    assert backup_py.OutOfSpaceError("x").errno == errno.ENOSPC


def test_the_wrong_key_is_told_from_no_repository(place: Path, tmp_path: Path) -> None:
    Repository.init(place, passphrase="right").close()
    with pytest.raises(backup_py.WrongKeyError) as caught:
        Repository.open(place, passphrase="wrong")
    assert caught.value.code == 20
    assert "passphrase" in caught.value.hint
    with pytest.raises(backup_py.WrongKeyError):
        Repository.open(place, raw_key=KEY)
    with pytest.raises(backup_py.NotARepositoryError):
        Repository.open(tmp_path / "nowhere", raw_key=KEY)
    with pytest.raises(FileExistsError) as exists:
        Repository.init(place, raw_key=KEY)
    assert isinstance(exists.value, backup_py.AlreadyExistsError)


@pytest.mark.parametrize(
    ("url", "options", "item"),
    [
        ("memory://", {"aws_region": "x"}, "aws_region"),
        ("{place}", {"fsync": "no"}, "fsync"),
        ("s3://bucket", {"aws_regoin": "x"}, "aws_regoin"),
        ("az://container", {"account_nam": "x"}, "account_nam"),
        ("gs://bucket", {"servce_account": "x"}, "servce_account"),
    ],
)
def test_an_unknown_option_is_refused_by_name(url: str, options: dict[str, str], item: str, place: Path) -> None:
    # That these schemes are known shows too that the package has their back ends.
    with pytest.raises(backup_py.InvalidArgumentError) as caught:
        Repository.init(url.format(place=place), raw_key=KEY, options=options)
    assert item in str(caught.value)
    assert not isinstance(caught.value, backup_py.UnsupportedError)


def test_secrets_are_in_no_message(place: Path) -> None:
    canary = "canary-4711"
    anything: Any = 4711
    attempts: list[Callable[[], object]] = [
        lambda: Repository.open(place, passphrase=canary),
        lambda: Repository.open(place, raw_key=canary.encode()),
        lambda: Repository.open("s3://b", raw_key=KEY, options={"aws_secret_acces_key": canary}),
        lambda: Repository.open("s3://b", raw_key=KEY, options={"allow_http": canary}),
        lambda: Repository.open("s3://b", raw_key=KEY, options={"aws_secret_access_key": anything}),
    ]
    for attempt in attempts:
        with pytest.raises((BackupError, TypeError)) as caught:
            attempt()
        seen: BaseException | None = caught.value
        while seen is not None:
            assert canary not in repr(seen)
            seen = seen.__cause__


@pytest.mark.parametrize(
    "call",
    [
        lambda r: Repository.open("memory://"),
        lambda r: Repository.open("memory://", passphrase="x", raw_key=KEY),
        lambda r: Repository.open("memory://", passphrase=""),
        lambda r: Repository.open("memory://", raw_key=KEY[:31]),
        lambda r: Repository.open("memory://", raw_key=KEY, known_head="17"),
        lambda r: Repository.init("memory://", passphrase="x", kdf_memory_kib=1),
        lambda r: Repository.init("memory://", passphrase="x", kdf_passes=1000),
        lambda r: r.snapshot("not an id"),
        lambda r: r.snapshot(""),
        lambda r: r.verify("thorough"),
        lambda r: r.restore(NO_SNAPSHOT, FolderSink("/tmp"), conflict="overwrite"),
        lambda r: FolderSource("/tmp", exclude="a[b"),
        lambda r: FolderSource(""),
    ],
)
def test_an_argument_without_meaning_is_a_value_error(repository: Repository, call: Callable[[Any], object]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        call(repository)
    assert isinstance(caught.value, backup_py.InvalidArgumentError)
    assert caught.value.code == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda r: type(r).open(7, raw_key=KEY),
        lambda r: type(r).open("memory://", raw_key="text"),
        lambda r: type(r).open("memory://", passphrase=7),
        lambda r: type(r).open("memory://", raw_key=KEY, options=["a"]),
        lambda r: type(r).open("memory://", "passphrase"),
        lambda r: r.backup("/tmp"),
        lambda r: r.backup(FolderSource("/tmp"), on_progress=7),
        lambda r: r.backup(FolderSource("/tmp"), cancel=True),
        lambda r: r.backup(FolderSource("/tmp"), labels={"a": 1}),
        lambda r: r.restore(NO_SNAPSHOT, FolderSource("/tmp")),
        lambda r: r.restore(NO_SNAPSHOT, FolderSink("/tmp"), only=7),
        lambda r: r.snapshot(b"id"),
        lambda r: Repository(),
        lambda r: type("Mine", (Repository,), {}),
    ],
)
def test_an_argument_of_the_wrong_type_is_a_type_error(repository: Repository, call: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError):
        call(repository)


def test_what_is_not_there_is_not_found(repository: Repository, tmp_path: Path) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: repository.snapshot(NO_SNAPSHOT),
        lambda: repository.browse(NO_SNAPSHOT),
        lambda: repository.diff(NO_SNAPSHOT, NO_SNAPSHOT),
        lambda: repository.restore(NO_SNAPSHOT, FolderSink(tmp_path / "out")),
    ]
    for attempt in attempts:
        with pytest.raises(backup_py.NotFoundError) as caught:
            attempt()
        assert caught.value.item == NO_SNAPSHOT


def test_a_missing_folder_ends_the_backup_with_its_cause(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        repository.backup(FolderSource(tmp_path / "gone"))
    assert isinstance(caught.value, backup_py.NotFoundError)
    cause = caught.value.__cause__
    assert isinstance(cause, OSError)
    assert cause.errno == errno.ENOENT
    with pytest.raises(backup_py.UnavailableError) as unmounted:
        repository.backup(FolderSource(tmp_path, require_mount_point=True))
    assert unmounted.value.retryable
    assert repository.snapshots() == []


def test_a_store_that_went_back_is_noticed(repository: Repository, place: Path, tree: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(place, old)
    before = repository.head
    repository.backup(FolderSource(tree))
    assert repository.head != before
    Repository.open(place, raw_key=KEY, known_head=before).close()
    Repository.open(place, raw_key=KEY, known_head=repository.head).close()
    with pytest.raises(backup_py.RolledBackError):
        Repository.open(old, raw_key=KEY, known_head=repository.head)


def test_an_index_is_kept_between_openings(repository: Repository, place: Path, tree: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for number in range(10):
        (tree / "new").write_text(str(number))
        repository.backup(FolderSource(tree))
    with Repository.open(place, raw_key=KEY, index_cache=cache) as first:
        assert first.verify("every_byte").is_sound
    assert [path.suffix for path in cache.iterdir()] == [".run"]
    for path in cache.iterdir():
        path.write_bytes(b"damaged")
    with Repository.open(place, raw_key=KEY, index_cache=str(cache)) as second:
        assert second.backup(FolderSource(tree)).state == "complete"
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="index cache"):
        Repository.open(place, raw_key=KEY, index_cache=tmp_path / "file")


def test_a_panic_is_a_backup_error(run_python: Run) -> None:
    from backup_py import _backup

    with pytest.raises(backup_py.BugError, match="on purpose") as caught:
        _backup._panic_for_tests()
    assert caught.value.code == 99


def test_a_forked_process_is_told_so(run_python: Run, place: Path) -> None:
    program = """
import os, sys, warnings, backup_py
warnings.simplefilter("ignore")
backup_py.Repository.init(sys.argv[1], raw_key=bytes(32)).close()
child = os.fork()
if child == 0:
    try:
        backup_py.Repository.open(sys.argv[1], raw_key=bytes(32))
    except backup_py.UnsupportedError as error:
        os._exit(42 if "spawn" in str(error) else 1)
    os._exit(1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = run_python(program, place)
    assert done.returncode == 42, done.stderr


def test_a_token_shows_its_state() -> None:
    token = CancelToken()
    assert repr(token) == "CancelToken(is_canceled=False)"
    token.cancel()
    token.cancel()
    assert token.is_canceled
    assert repr(token) == "CancelToken(is_canceled=True)"
