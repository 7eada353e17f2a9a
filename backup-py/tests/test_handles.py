"""Handles and values: closing, showing, pickling."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import backup_py
from backup_py import CancelToken, FolderSink, FolderSource, Repository, directory, policy, reports, results
from conftest import KEY


def test_what_a_closed_repository_made_is_refused(place: Path, tree: Path, tmp_path: Path) -> None:
    with Repository.init(place, raw_key=KEY) as repository:
        assert not repository.closed
        snapshot = repository.backup(FolderSource(tree)).snapshot
        browser = repository.browse(snapshot)
        listing = browser.list()
        next(listing)
        differences = repository.diff(snapshot, snapshot)
        identity = repository.id
    assert repository.closed
    repository.close()
    assert repository.id == identity
    calls: list[Callable[[], object]] = [
        lambda: repository.head,
        lambda: repository.refresh(),
        lambda: repository.snapshots(),
        lambda: repository.latest("x"),
        lambda: repository.snapshot(snapshot),
        lambda: repository.backup(FolderSource(tree)),
        lambda: repository.restore(snapshot, FolderSink(tmp_path / "out")),
        lambda: repository.verify(),
        lambda: repository.probe,
        lambda: repository.public_key,
        lambda: repository.keys(),
        lambda: repository.add_key(raw_key=KEY),
        lambda: repository.remove_key("00" * 16),
        lambda: repository.protect(timedelta(1)),
        lambda: repository.protection,
        lambda: repository.locked_until,
        lambda: repository.locks_due,
        lambda: repository.extend_locks(),
        lambda: repository.add_parity(),
        lambda: repository.mirror("memory://"),
        lambda: repository.as_source(snapshot),
        lambda: repository.drill(),
        lambda: repository.diff(snapshot, snapshot),
        lambda: repository.browse(snapshot),
        lambda: repository.__enter__(),
        lambda: browser.info,
        lambda: browser.list(),
        lambda: browser.stat(""),
        lambda: browser.read("hello.txt"),
        lambda: next(listing),
        lambda: next(differences),
    ]
    for call in calls:
        with pytest.raises(backup_py.InvalidArgumentError, match="closed"):
            call()


def test_an_exception_closes_too(place: Path) -> None:
    repository = Repository.init(place, raw_key=KEY)
    with pytest.raises(KeyError), repository:
        raise KeyError
    assert repository.closed


def test_handles_show_what_they_are_and_no_secret(place: Path, tree: Path) -> None:
    canary = "canary-4711"
    with Repository.init(place, passphrase=canary) as repository:
        snapshot = repository.backup(FolderSource(tree)).snapshot
        shown = [
            repr(thing)
            for thing in (
                repository,
                repository.browse(snapshot),
                repository.snapshots(),
                repository.snapshot(snapshot),
                FolderSource(tree),
                FolderSink(tree),
                vars(backup_py.WrongKeyError("x")),
            )
        ]
        assert repository.id in shown[0]
        assert "open" in shown[0]
        assert snapshot in shown[1]
        assert str(tree) in shown[4]
    assert "closed" in repr(repository)
    assert not any(canary in text for text in [*shown, repr(repository)])


def test_handles_refuse_to_be_pickled_and_say_why(repository: Repository, tree: Path) -> None:
    snapshot = repository.backup(FolderSource(tree)).snapshot
    browser = repository.browse(snapshot)
    handles = (
        repository,
        browser,
        browser.list(),
        repository.diff(snapshot, snapshot),
        repository.as_source(snapshot),
        CancelToken(),
    )
    for handle in handles:
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match=f"a {type(handle).__name__} cannot be pickled or copied: ."):
                attempt(handle)


def test_handles_cannot_be_changed(repository: Repository) -> None:
    for name in ("id", "head", "anything"):
        with pytest.raises(AttributeError):
            setattr(repository, name, "x")


def test_results_are_values(repository: Repository, tree: Path, tmp_path: Path) -> None:
    done = repository.backup(FolderSource(tree), labels={"a": "b"})
    browser = repository.browse(done.snapshot)
    values: list[Any] = [
        done,
        repository.snapshots()[0],
        repository.snapshot(done.snapshot),
        repository.verify(),
        repository.restore(done.snapshot, FolderSink(tmp_path / "out")),
        *browser.list(),
    ]
    for value in values:
        twin = pickle.loads(pickle.dumps(value))
        assert twin == value
        assert hash(twin) == hash(value)
        assert type(value).__name__ in repr(value)
        assert dataclasses.asdict(value)
        first = dataclasses.fields(value)[0].name
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, first, None)


def test_every_result_class_is_frozen_and_documented() -> None:
    modules = (results, reports, policy, directory)
    named = [getattr(module, name) for module in modules for name in module.__all__]
    protocols = {directory.AccessToken, directory.Entries, directory.TokenCredential}
    classes: list[Any] = [thing for thing in named if isinstance(thing, type) and thing not in protocols]
    assert len(classes) > 30
    for kind in classes:
        assert kind.__dataclass_params__.frozen
        assert kind.__doc__
        assert getattr(backup_py, kind.__name__) is kind


def test_times_outside_of_datetime_are_still_numbers() -> None:
    item = backup_py.Item(
        id=b"x", parent=None, name="x", kind="file", created_ns=None, modified_ns=10**30, tag=b"", hard_link=None,
        attributes={}, details={}, streams=(),
    )  # fmt: skip
    assert item.created is None
    with pytest.raises(OverflowError):
        _ = item.modified
    assert results._time_value(10**30, "far away") == "far away"
