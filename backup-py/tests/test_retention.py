"""Removing snapshots, holding them, retention as data, and giving back room."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from pathlib import Path

import pytest

import backup_py
from backup_py import FolderSource, Repository
from conftest import KEY


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Three snapshots of a folder whose only file was new each time."""
    source = tmp_path / "source"
    source.mkdir()
    repository = Repository.init(str(tmp_path / "repository"), raw_key=KEY)
    for number in range(3):
        (source / f"file {number}").write_bytes(random.Random(number).randbytes(1_000_000))
        if number:
            (source / f"file {number - 1}").unlink()
        repository.backup(FolderSource(source))
    return repository


def size(repository_folder: Path) -> int:
    return sum(file.stat().st_size for file in (repository_folder / "pack").rglob("*") if file.is_file())


def test_room_is_given_back(repository: Repository, tmp_path: Path) -> None:
    first, second, third = (snapshot.id for snapshot in repository.snapshots())
    repository.remove([first, second])
    assert [snapshot.id for snapshot in repository.snapshots()] == [third]
    before = size(tmp_path / "repository")
    young = repository.prune()
    assert (young.dead_packs, young.copied_packs, young.deleted_objects) == (0, 0, 0)
    rehearsal = repository.prune(grace=timedelta(0), unused_percent=0, dry_run=True)
    assert size(tmp_path / "repository") == before
    phases = []
    report = repository.prune(grace=timedelta(0), unused_percent=0, on_progress=lambda p: phases.append(p.phase))
    assert (report.dead_packs, report.copied_packs) == (rehearsal.dead_packs, rehearsal.copied_packs)
    assert report.dead_packs + report.copied_packs >= 2
    assert report.deleted_objects > 2
    assert not report.findings
    assert size(tmp_path / "repository") < before - 1_900_000
    assert phases[-1] == "done"
    assert repository.verify("every_byte").is_sound

    async def again() -> backup_py.PruneReport:
        return await repository.prune_async(grace=timedelta(0))

    assert asyncio.run(again()).dead_packs == 0


def test_what_is_held_is_not_removed(repository: Repository) -> None:
    first, second, _ = (snapshot.id for snapshot in repository.snapshots())
    repository.hold([first])
    assert [snapshot.held for snapshot in repository.snapshots()] == [True, False, False]
    with pytest.raises(backup_py.PermissionDeniedError) as raised:
        repository.remove([first, second])
    assert raised.value.item == first
    assert repository.snapshot(first).held
    assert len(repository.snapshots()) == 3
    repository.release([first])
    repository.remove([first, second])
    assert len(repository.snapshots()) == 1
    with pytest.raises(backup_py.NotFoundError):
        repository.hold([first])


def test_retention_is_data(repository: Repository) -> None:
    ids = [snapshot.id for snapshot in repository.snapshots()]
    collection = repository.snapshots()[0].collection.id
    kept = repository.retain({collection: {"last": 1}})[collection]
    assert all(decision.keep and decision.reasons for decision in kept), "the floor keeps what is younger than a week"
    rehearsal = repository.retain({collection: {"last": 1, "floor_days": 0}}, dry_run=True)
    assert [decision.keep for decision in rehearsal[collection]] == [False, False, True]
    assert len(repository.snapshots()) == 3
    assert repository.retain({collection: {"last": 1, "floor_days": 0}}) == rehearsal
    assert [snapshot.id for snapshot in repository.snapshots()] == ids[2:]


@pytest.mark.parametrize("settings", [{"lst": 1}, {"last": -1}, {"last": "many"}, {"utc_offset_minutes": 10**6}])
def test_wrong_settings_remove_nothing(repository: Repository, settings: dict[str, object]) -> None:
    collection = repository.snapshots()[0].collection.id
    with pytest.raises(backup_py.InvalidArgumentError):
        repository.retain({collection: {"floor_days": 0, **settings}})
    assert len(repository.snapshots()) == 3
