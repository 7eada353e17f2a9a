"""Backing up, restoring and verifying folders."""

from __future__ import annotations

import dataclasses
import itertools
import os
import random
import shutil
import threading
from pathlib import Path

import pytest

import backup_py
from backup_py import Compression, FolderSink, FolderSource, Progress, Repository
from conftest import KEY, describe, settle


def test_a_folder_comes_back_as_it_was(repository: Repository, tree: Path, tmp_path: Path) -> None:
    before = describe(tree)
    done = repository.backup(FolderSource(tree))
    assert (done.state, done.problems, done.stats.problems) == ("complete", (), 0)
    assert done.stats.added == done.stats.items == len(before)
    shutil.rmtree(tree)

    out = tmp_path / "out"
    report = repository.restore(done.snapshot, FolderSink(out))
    assert report.problems == ()
    assert describe(out) == before
    assert report.created == len(before)
    assert report.bytes_fetched > 5_000_000


def test_hard_links_come_back_as_links(repository: Repository, tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    repository.restore(repository.backup(FolderSource(tree)).snapshot, FolderSink(out))
    assert (out / "hello.txt").samefile(out / "second name")


def test_names_that_are_not_text_come_back(repository: Repository, tmp_path: Path) -> None:
    root = tmp_path / "odd"
    root.mkdir()
    odd = os.fsdecode(b"caf\xe9")
    (root / odd).write_bytes(b"latin")
    done = repository.backup(FolderSource(root))
    repository.restore(done.snapshot, FolderSink(tmp_path / "out"))
    assert os.listdir(os.fsencode(tmp_path / "out")) == [b"caf\xe9"]
    browser = repository.browse(done.snapshot)
    (item,) = browser.list()
    assert (item.name, item.id) == (odd, b"caf\xe9")
    assert browser.read(item) == browser.read(item.id) == b"latin"
    assert browser.path(item) == "caf\\xe9"


def test_a_second_backup_reads_only_what_changed(repository: Repository, tree: Path) -> None:
    source = FolderSource(tree)
    first = repository.backup(source)
    (tree / "hello.txt").write_bytes(b"Dear reader, again")
    (tree / "new").write_bytes(b"n")
    (tree / "empty").unlink()
    settle()
    second = repository.backup(source)
    assert (second.stats.added, second.stats.removed) == (1, 1)
    # The file, its other name (both have new times), and the folder that lost and won an entry.
    assert second.stats.changed == 3
    assert second.stats.bytes_read == len(b"Dear reader, again") + len(b"n")
    assert second.stats.bytes_stored < first.stats.bytes_stored / 10
    assert repository.snapshot(second.snapshot).parent == first.snapshot
    again = repository.backup(source, full=True)
    assert again.stats.bytes_read == 0
    assert [summary.id for summary in repository.snapshots()] == [first.snapshot, second.snapshot, again.snapshot]


def test_a_snapshot_tells_about_itself(repository: Repository, tree: Path) -> None:
    source = FolderSource(tree, collection_id="tree of tests")
    assert source.collection == "tree of tests"
    assert repository.latest("tree of tests") is None
    done = repository.backup(source, labels={"host": "web-1", "": "x"})
    info = repository.snapshot(done.snapshot)
    assert info.labels == {"host": "web-1", "": "x"}
    # The report also counts what the commit itself wrote.
    assert 0 < info.stats.bytes_stored <= done.stats.bytes_stored
    assert dataclasses.replace(info.stats, bytes_stored=0) == dataclasses.replace(done.stats, bytes_stored=0)
    assert (info.id, info.parent, info.problems, info.state) == (done.snapshot, None, (), "complete")
    assert info.collection == backup_py.Collection(id="tree of tests", kind="folder")
    latest = repository.latest("tree of tests")
    assert latest is not None
    assert (latest.id, latest.created) == (info.id, info.created)
    assert info.created.year >= 2025
    assert info.created.utcoffset() is not None


def test_the_default_collection_is_the_path(tmp_path: Path) -> None:
    assert FolderSource(tmp_path / "a" / ".." / "b").collection.startswith("folder:/")
    assert FolderSource(tmp_path).collection == f"folder:{tmp_path}"


def test_another_client_sees_what_was_committed(repository: Repository, place: Path, tree: Path) -> None:
    with Repository.open(place, raw_key=KEY) as other:
        done = repository.backup(FolderSource(tree))
        assert other.snapshots() == []
        other.refresh()
        assert [summary.id for summary in other.snapshots()] == [done.snapshot]
        assert other.head == repository.head
        assert other.id == repository.id


def test_excluded_files_are_not_in_the_snapshot(repository: Repository, tree: Path) -> None:
    done = repository.backup(FolderSource(tree, exclude=["*.bin", "reports/2026"]))
    browser = repository.browse(done.snapshot)
    assert "large.bin" not in {item.name for item in browser.list()}
    assert {item.name for item in browser.list("reports")} == {"tool.sh", "\u00e4\u00f6 \U0001f600"}
    # A single pattern is no list of letters.
    done = repository.backup(FolderSource(tree, exclude="*.bin"))
    assert "hello.txt" in {item.name for item in repository.browse(done.snapshot).list()}


def test_a_restore_can_be_limited(repository: Repository, tree: Path, tmp_path: Path) -> None:
    snapshot = repository.backup(FolderSource(tree)).snapshot
    out = tmp_path / "one"
    repository.restore(snapshot, FolderSink(out), only="reports", exclude=["**/2026"])
    assert sorted(path.name for path in out.rglob("*")) == ["reports", "tool.sh", "\u00e4\u00f6 \U0001f600"]
    out = tmp_path / "two"
    repository.restore(snapshot, FolderSink(out), only=(name for name in ("hello.txt", "empty")))
    assert sorted(os.listdir(out)) == ["empty", "hello.txt"]


@pytest.mark.parametrize(
    ("conflict", "content", "count"), [("skip", b"mine", 1), ("replace", b"Dear reader", 1), ("keep_both", b"mine", 2)]
)
def test_conflicts_are_settled_as_asked(
    repository: Repository, tree: Path, tmp_path: Path, conflict: backup_py.Conflict, content: bytes, count: int
) -> None:
    snapshot = repository.backup(FolderSource(tree)).snapshot
    out = tmp_path / "out"
    out.mkdir()
    (out / "hello.txt").write_bytes(b"mine")
    report = repository.restore(snapshot, FolderSink(out), only="hello.txt", conflict=conflict)
    assert (out / "hello.txt").read_bytes() == content
    assert len(os.listdir(out)) == count
    # The folder itself is an item too.
    assert (report.skipped, report.replaced, report.renamed)[("skip", "replace", "keep_both").index(conflict)] >= 1


def test_without_conflict_a_restore_destroys_nothing(repository: Repository, tree: Path) -> None:
    snapshot = repository.backup(FolderSource(tree)).snapshot
    (tree / "hello.txt").write_bytes(b"newer")
    repository.restore(snapshot, FolderSink(tree))
    assert (tree / "hello.txt").read_bytes() == b"newer"


def test_progress_is_reported_in_totals_from_the_waiting_thread(repository: Repository, tree: Path) -> None:
    seen: list[Progress] = []
    threads = set()

    def note(progress: Progress) -> None:
        threads.add(threading.get_ident())
        seen.append(progress)

    done = repository.backup(FolderSource(tree), on_progress=note)
    assert threads == {threading.get_ident()}
    assert seen[0].phase == "opening"
    assert seen[-1].phase == "done"
    assert seen[-1].items_done == done.stats.items
    assert seen[-1].bytes_done == done.stats.bytes_read
    assert all(a.bytes_done <= b.bytes_done for a, b in itertools.pairwise(seen))
    assert seen[0].items_total is None

    seen.clear()
    report = repository.verify("every_byte", on_progress=note)
    assert seen[-1].items_done == seen[-1].items_total == report.packs > 0


def test_a_sound_repository_verifies(repository: Repository, tree: Path) -> None:
    repository.backup(FolderSource(tree))
    quick = repository.verify()
    assert quick.is_sound
    assert (quick.snapshots, quick.findings) == (1, ())
    whole = repository.verify("every_byte")
    assert whole.is_sound
    assert whole.bytes_read > 5_000_000
    assert whole.bytes_read > quick.bytes_read
    assert (whole.items, whole.chunks, whole.packs) == (quick.items, quick.chunks, quick.packs)


def test_passphrases_are_bytes_and_text_alike(place: Path) -> None:
    backup_py.Repository.init(place, passphrase="p\u00e4ss").close()
    for same in ("p\u00e4ss", "p\u00e4ss".encode(), bytearray("p\u00e4ss".encode())):
        Repository.open(str(place), passphrase=same).close()
    Repository.open(f"file://{place}", passphrase="p\u00e4ss").close()


def test_a_repository_in_memory_works(tree: Path) -> None:
    with Repository.init("memory://", raw_key=bytearray(KEY)) as repository:
        repository.backup(FolderSource(tree))
        assert repository.verify("every_byte").is_sound


def test_a_mass_deletion_is_reported(repository: Repository, tmp_path: Path) -> None:
    root = tmp_path / "office"
    root.mkdir()
    for number in range(39):
        (root / str(number)).write_bytes(b"plain")
    source = FolderSource(root)
    assert repository.backup(source).suspicions == ()
    for number in range(30):
        (root / str(number)).unlink()
    assert repository.backup(source).suspicions == ("30 of 40 items are gone",)


def test_what_is_stored_gets_as_much_work_as_is_asked_for(tmp_path: Path) -> None:
    words, chance = [f"word{number} " for number in range(16)], random.Random(1)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/mails").write_text("".join(chance.choices(words, k=500_000)))
    source, stored = FolderSource(tmp_path / "in"), []
    efforts: tuple[Compression, ...] = ("fast", "thorough", "adaptive")
    for compression in efforts:
        with Repository.init(tmp_path / compression, raw_key=KEY) as repository:
            done = repository.backup(source, compression=compression)
            stored.append(done.stats.bytes_stored)
            repository.restore(done.snapshot, FolderSink(tmp_path / f"out-{compression}"))
            assert (tmp_path / f"out-{compression}/mails").read_bytes() == (tmp_path / "in/mails").read_bytes()
    fast, thorough, adaptive = stored
    assert thorough < 0.95 * fast
    # A first frame is tried both ways.
    assert adaptive < 0.97 * fast
    with pytest.raises(backup_py.InvalidArgumentError, match="adaptive, fast, thorough"):
        repository.backup(source, compression="best")  # type: ignore[arg-type]
