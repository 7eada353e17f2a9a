"""Repositories that somebody or something has damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import backup_py
from backup_py import FolderSink, FolderSource, Repository
from conftest import KEY, flip, packs


def test_a_flipped_bit_in_a_pack_is_found_and_named(
    repository: Repository, place: Path, tree: Path, tmp_path: Path
) -> None:
    snapshot = repository.backup(FolderSource(tree)).snapshot
    pack = packs(place)[0]
    flip(pack, pack.stat().st_size // 2)
    # The length is right, so a look at the structure does not notice.
    assert repository.verify("structure").is_sound
    report = repository.verify("every_byte")
    assert not report.is_sound
    assert {type(finding.error) for finding in report.findings} == {backup_py.CorruptError}
    assert all(finding.place and str(finding).startswith(finding.place) for finding in report.findings)

    with Repository.open(place, raw_key=KEY) as fresh:
        out = tmp_path / "out"
        restored = fresh.restore(snapshot, FolderSink(out))
    # Small files that share its frame may be lost too.
    assert {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}.isdisjoint(
        problem.place for problem in restored.problems
    )
    (problem,) = (problem for problem in restored.problems if problem.place == "large.bin")
    assert isinstance(problem.error, backup_py.CorruptError)
    assert problem.id == b"large.bin"
    assert str(problem).startswith("large.bin: ")
    assert not (out / "large.bin").exists()


def test_a_pack_that_is_gone_is_found(repository: Repository, place: Path, tree: Path) -> None:
    repository.backup(FolderSource(tree))
    packs(place)[0].unlink()
    report = repository.verify()
    assert {type(finding.error) for finding in report.findings} == {backup_py.MissingError}


def test_a_damaged_log_does_not_open(repository: Repository, place: Path, tree: Path) -> None:
    repository.backup(FolderSource(tree))
    repository.close()
    newest = max((path for path in (place / "log").rglob("*") if path.is_file()), key=lambda path: path.name)
    flip(newest, newest.stat().st_size - 1)
    with pytest.raises(backup_py.CorruptError) as caught:
        Repository.open(place, raw_key=KEY)
    assert caught.value.item is not None
    assert newest.name in caught.value.item


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable for root")
def test_an_unreadable_file_is_a_problem_of_the_report(repository: Repository, tree: Path) -> None:
    os.chmod(tree / "large.bin", 0)
    done = repository.backup(FolderSource(tree))
    assert done.state == "incomplete"
    (problem,) = done.problems
    assert problem.place == "large.bin"
    assert isinstance(problem.error, backup_py.PermissionDeniedError)
    info = repository.snapshot(done.snapshot)
    (recorded,) = info.problems
    assert (recorded.code, recorded.place) == (12, "large.bin")
    assert info.stats.problems == 1


def test_what_is_in_the_way_is_a_problem_of_the_report(repository: Repository, tree: Path, tmp_path: Path) -> None:
    snapshot = repository.backup(FolderSource(tree)).snapshot
    out = tmp_path / "out"
    out.mkdir()
    nowhere = tmp_path / "nowhere"
    os.symlink(nowhere, out / "reports")
    report = repository.restore(snapshot, FolderSink(out))
    assert "reports" in {problem.place for problem in report.problems} or report.skipped
    assert not os.path.lexists(nowhere)
