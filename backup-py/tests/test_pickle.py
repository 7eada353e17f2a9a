"""What other processes can be given, and what not."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import multiprocessing
import pickle
from pathlib import Path

import pytest

import backup_py
from backup_py import FolderSink, FolderSource, Repository, RepositoryAddress
from conftest import KEY, describe


def test_folders_are_pickled_with_their_settings(
    repository: Repository, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = FolderSource("tree", exclude=["*.bin", "reports"], collection_id="files")
    sink = FolderSink("out", main_stream_only=True, restore_owner=False)
    pickled = pickle.dumps((source, sink))
    monkeypatch.chdir("/")
    source_again, sink_again = pickle.loads(pickled)
    assert source_again.collection == source.collection == "files"
    assert repr(sink_again) == repr(sink)
    done = repository.backup(source_again)
    assert repository.backup(copy.copy(source)).stats.items == done.stats.items
    repository.restore(done.snapshot, sink_again)
    restored = describe(tmp_path / "out")
    assert "hello.txt" in restored
    assert not {"large.bin", "reports"} & set(restored)
    assert FolderSource.__new__(FolderSource, tree).__getnewargs_ex__() == (
        (tree,),
        {"exclude": (), "one_file_system": False, "require_mount_point": False, "collection_id": None},
    )


def test_secrets_stay_out_of_pickles_unless_told(place: Path, repository: Repository) -> None:
    canary = "canary-4711"
    options = {"aws_secret_access_key": canary}
    address = RepositoryAddress(url=place, passphrase=canary, raw_key=None, options=options)
    assert canary not in repr(address)
    plain = RepositoryAddress(url=place, passphrase=canary)
    assert canary.encode() not in pickle.dumps(plain)
    again = pickle.loads(pickle.dumps(plain))
    assert (again.url, again.passphrase) == (place, None)
    with pytest.raises(backup_py.InvalidArgumentError, match="pickle_secret"):
        again.open()
    with again.open(raw_key=KEY) as opened:
        assert opened.id == repository.id
    told = pickle.loads(pickle.dumps(RepositoryAddress(url=place, raw_key=KEY, pickle_secret=True)))

    async def open_it() -> str:
        async with await told.open_async() as opened:
            return str(opened.id)

    assert asyncio.run(open_it()) == repository.id


def back_up(address: RepositoryAddress, source: FolderSource) -> backup_py.BackupReport:
    """What a worker does."""
    with address.open() as repository:
        return repository.backup(source)


def test_workers_back_up_into_one_repository(repository: Repository, place: Path, tmp_path: Path) -> None:
    address = RepositoryAddress(url=place, raw_key=KEY, pickle_secret=True)
    sources = []
    for number in range(3):
        (tmp_path / f"{number}").mkdir()
        (tmp_path / f"{number}" / "file").write_bytes(bytes([number]) * 10_000)
        sources.append(FolderSource(tmp_path / f"{number}"))
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        reports = list(pool.map(back_up, [address] * 3, sources))
    repository.refresh()
    assert {report.snapshot for report in reports} == {snapshot.id for snapshot in repository.snapshots()}
    assert all(report.state == "complete" for report in reports)
    assert repository.verify("every_byte").is_sound
