"""Keys, parity, copies, drills, damage, and other points in time."""

from __future__ import annotations

import asyncio
import random
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

import backup_py
from backup_py import FolderSink, FolderSource, Repository, SnapshotSource
from conftest import KEY, describe, flip, packs


def test_several_keys_open_a_repository_and_one_stays(place: Path, repository: Repository) -> None:
    (first,) = repository.keys()
    assert len(first.id) == 32
    assert first.size > 0
    second = repository.add_key(raw_key=b"\x01" * 32)
    third = asyncio.run(in_loop(lambda: repository.add_key_async(passphrase="correct horse")))
    slots = repository.keys()
    assert {slot.id for slot in slots} == {first.id, second, third}
    assert Repository.open(place, passphrase="correct horse").id == repository.id
    repository.remove_key(first.id)
    repository.remove_key(third)
    with pytest.raises(backup_py.WrongKeyError):
        Repository.open(place, raw_key=KEY)
    assert Repository.open(place, raw_key=b"\x01" * 32).id == repository.id
    with pytest.raises(backup_py.NotFoundError):
        repository.remove_key(first.id)
    with pytest.raises(backup_py.InvalidArgumentError):
        repository.remove_key(second)
    with pytest.raises(backup_py.InvalidArgumentError):
        repository.remove_key("no id")
    with pytest.raises(backup_py.InvalidArgumentError, match="passphrase or raw_key is needed"):
        repository.add_key()


async def in_loop(start: Callable[[], asyncio.Future[str]]) -> str:
    return await start()


def test_what_the_store_does_is_known_after_a_probe(place: Path, repository: Repository) -> None:
    assert repository.probe is not None
    assert (repository.probe.contest, repository.probe.listing, repository.probe.deletion) == (
        "decided",
        "at_once",
        "at_once",
    )
    assert repository.probe.tells_time
    with Repository.open(place, raw_key=KEY) as again:
        assert again.probe is None
    with Repository.open(place, raw_key=KEY, probe=True) as again:
        assert again.probe == repository.probe


def test_a_store_that_cannot_lock_is_not_protected(repository: Repository, tree: Path) -> None:
    with pytest.raises(backup_py.UnsafeStoreError):
        repository.protect(timedelta(days=30))
    assert repository.protection is None
    assert repository.locked_until is None
    assert not repository.locks_due
    report = repository.extend_locks()
    assert (report.locked_until, report.extended_objects, report.tampered) == (None, 0, ())
    done = repository.backup(FolderSource(tree))
    assert (done.locked_until, done.locks_due, dict(done.source)) == (None, False, {})

    async def all_again() -> None:
        assert await repository.extend_locks_async() == report
        with pytest.raises(backup_py.UnsafeStoreError):
            await repository.protect_async(timedelta(days=30))

    asyncio.run(all_again())


def test_a_time_has_a_zone(place: Path, repository: Repository) -> None:
    with pytest.raises(ValueError, match="time zone"):
        Repository.open(place, raw_key=KEY, as_of=datetime(2026, 1, 1))
    with pytest.raises(TypeError, match="datetime"):
        Repository.open(place, raw_key=KEY, as_of="yesterday")  # type: ignore[arg-type]
    with pytest.raises(OverflowError):
        Repository.open(place, raw_key=KEY, as_of=10**40)
    for time in (datetime(2026, 1, 1, tzinfo=timezone.utc), 1_767_225_600_000_000_000):
        with pytest.raises(backup_py.UnsupportedError):
            Repository.open(place, raw_key=KEY, as_of=time)
    assert not repository.closed


def test_damage_is_found_and_mended_with_the_public_key_alone(place: Path, repository: Repository, tree: Path) -> None:
    repository.backup(FolderSource(tree))
    protected = repository.add_parity(parity=1, members=10)
    assert protected.objects > 3
    assert protected.sets == protected.new_sets > 0
    assert protected.new_bytes > 0
    assert not protected.findings
    assert asyncio.run(add_again(repository)).new_sets == 0
    key = repository.public_key
    assert len(key) == 64
    assert backup_py.scrub(place, key).is_sound
    flip(packs(place)[0], 1000)
    phases = []
    found = backup_py.scrub(str(place), key, on_progress=lambda p: phases.append(p.phase))
    (damage,) = found.damage
    assert (damage.missing, damage.bad_blocks, damage.repair) == (False, 1, "possible")
    assert not found.is_sound
    assert phases[-1] == "done"
    assert not repository.verify("every_byte").is_sound

    async def mend() -> backup_py.ScrubReport:
        return await backup_py.scrub_async(place, key, repair=True)

    mended = asyncio.run(mend())
    assert mended.damage[0].repair == "done"
    assert mended.is_sound
    assert repository.verify("every_byte").is_sound
    with pytest.raises(backup_py.InvalidArgumentError):
        backup_py.scrub(place, "no key")
    with pytest.raises(OverflowError):
        repository.add_parity(members=256)
    other = backup_py.scrub(place, "00" * 32)
    assert not other.is_sound


async def add_again(repository: Repository) -> backup_py.ParityReport:
    return await repository.add_parity_async(parity=1, members=10)


def test_a_mirror_is_a_copy_and_mends(place: Path, repository: Repository, tree: Path, tmp_path: Path) -> None:
    repository.backup(FolderSource(tree))
    copy = tmp_path / "copy"
    first = repository.mirror(copy)
    assert first.head == repository.head
    assert first.copied_objects == first.objects > 3
    assert first.copied_bytes > 5_000_000
    assert not first.findings
    flip(packs(copy)[0], 1000)

    async def check() -> backup_py.MirrorReport:
        return await repository.mirror_async(copy, check=True, delete=True)

    checked = asyncio.run(check())
    assert (checked.copied_objects, checked.replaced_objects, checked.deleted_objects) == (0, 1, 0)
    with Repository.open(copy, raw_key=KEY) as other:
        assert other.id == repository.id
        assert other.verify("every_byte").is_sound
    with pytest.raises(backup_py.InvalidArgumentError):
        repository.mirror("memory://", options={"no": "such"})
    Repository.init(tmp_path / "another", raw_key=KEY).close()
    with pytest.raises(backup_py.AlreadyExistsError):
        repository.mirror(tmp_path / "another")


def test_a_snapshot_is_copied_to_another_repository(repository: Repository, tree: Path, tmp_path: Path) -> None:
    done = repository.backup(FolderSource(tree), labels={"host": "web-1"})
    source = repository.as_source(done.snapshot)
    assert isinstance(source, SnapshotSource)
    assert source.collection == FolderSource(tree).collection
    assert done.snapshot in repr(source)
    with Repository.init("memory://", raw_key=b"\x02" * 32) as other:
        copied = other.backup(source)
        assert copied.stats.items == done.stats.items
        assert other.backup(source).stats.bytes_read == 0
        labels = other.snapshot(copied.snapshot).labels
        assert labels["host"] == "web-1"
        assert labels["origin.snapshot"] == done.snapshot
        other.restore(copied.snapshot, FolderSink(tmp_path / "out"))
        assert describe(tmp_path / "out") == describe(tree)
        repository.close()
        with pytest.raises(backup_py.InvalidArgumentError, match="closed"):
            other.backup(source)
    with pytest.raises(backup_py.InvalidArgumentError, match="closed"):
        repository.as_source(done.snapshot)


def test_a_drill_says_how_much_can_be_bad(place: Path, repository: Repository, tree: Path, tmp_path: Path) -> None:
    source = FolderSource(tree)
    snapshot = repository.backup(source).snapshot
    report = repository.drill(against=[source], sink=FolderSink(tmp_path / "drawn"))
    assert report.is_clean
    assert report.bad == 0
    assert report.snapshots == (snapshot,)
    assert report.sampled == report.population > 5
    assert report.compared > 3
    assert not report.problems
    assert str(report).startswith(f"{report.sampled} of {report.population} items")
    assert (tmp_path / "drawn" / "hello.txt").read_bytes() == b"Dear reader"
    flip(packs(place)[0], packs(place)[0].stat().st_size // 2)

    async def again() -> backup_py.DrillReport:
        return await repository.drill_async([snapshot], items=10_000, seed=report.seed, confidence=0.99, share=0.1)

    damaged = asyncio.run(again())
    assert not damaged.is_clean
    assert damaged.seed == report.seed
    assert (damaged.confidence, damaged.most_bad) == (0.99, len(damaged.failures))
    assert "not what was sealed" in str(damaged.failures[0])
    for wrong in ({"confidence": 1.5}, {"share": 0.0}):
        with pytest.raises(backup_py.InvalidArgumentError):
            repository.drill(**wrong)  # type: ignore[arg-type]
    with pytest.raises(backup_py.NotFoundError):
        repository.drill(["00" * 16])


def test_what_is_left_can_be_salvaged(place: Path, repository: Repository, tree: Path, tmp_path: Path) -> None:
    snapshot = repository.backup(FolderSource(tree)).snapshot
    head = repository.head
    repository.close()
    saved, report = Repository.salvage(place, raw_key=KEY, known_head=head)
    assert report.is_whole
    assert report.known_head_reached
    assert report.head == head
    assert report.snapshots == 1
    assert all(each.confirmed for each in saved.snapshots())
    saved.close()
    shutil.rmtree(place / "log")

    async def salvage() -> tuple[Repository, backup_py.SalvageReport]:
        return await Repository.salvage_async(place, raw_key=KEY, with_removed=True)

    saved, report = asyncio.run(salvage())
    with saved:
        assert not report.is_whole
        assert not report.log_complete
        assert report.unconfirmed == (snapshot,)
        assert [each.confirmed for each in saved.snapshots()] == [False]
        assert not saved.snapshot(snapshot).confirmed
        saved.restore(snapshot, FolderSink(tmp_path / "out"))
        assert describe(tmp_path / "out") == describe(tree)
        with pytest.raises(backup_py.PermissionDeniedError):
            saved.backup(FolderSource(tree))
    with pytest.raises(backup_py.WrongKeyError):
        Repository.salvage(place, passphrase="wrong")


def test_an_attack_is_undone(repository: Repository, tmp_path: Path) -> None:
    root = tmp_path / "files"
    root.mkdir()
    noise = random.Random(7)
    for number in range(40):
        (root / f"{number}.txt").write_bytes(noise.randbytes(100))
    good = repository.backup(FolderSource(root)).snapshot
    for number in range(30):
        (root / f"{number}.txt").unlink()
    (root / "new.txt").write_bytes(b"since")
    bad = repository.backup(FolderSource(root), suspicious_percent=101)
    assert bad.suspicions == ()
    stats = repository.snapshot(bad.snapshot).stats
    assert backup_py.suspicions(stats) == ("30 of 41 items are gone",)
    assert backup_py.suspicions(stats, percent=101) == ()
    report = repository.restore(good, FolderSink(root), undo=bad.snapshot, conflict="replace")
    assert report.created == 30
    assert (root / "new.txt").read_bytes() == b"since"
    assert len(list(root.iterdir())) == 41
    with pytest.raises(backup_py.NotFoundError):
        repository.restore(good, FolderSink(root), undo="00" * 16)


def test_short_steps_have_twins_too(place: Path, repository: Repository, tree: Path) -> None:
    with Repository.open(place, raw_key=KEY) as other:
        other.backup(FolderSource(tree))

    async def look() -> int:
        assert repository.snapshots() == []
        assert await repository.refresh_async() is None  # type: ignore[func-returns-value]
        (snapshot,) = repository.snapshots()
        decided = await repository.retain_async({snapshot.collection.id: {"last": 1}}, dry_run=True)
        return len(decided[snapshot.collection.id])

    assert asyncio.run(look()) == 1
