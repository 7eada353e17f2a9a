"""Looking into snapshots, and what differs between them."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path

import pytest

import backup_py
from backup_py import Browser, FolderSource, Repository
from conftest import KEY, packs

MANY = 700
"""More items than one batch of a listing."""


@pytest.fixture
def browser(repository: Repository, tree: Path) -> Browser:
    """A view of the tree."""
    return repository.browse(repository.backup(FolderSource(tree)).snapshot)


def test_folders_are_listed_in_order(browser: Browser, tree: Path) -> None:
    names = [item.name for item in browser.list()]
    assert names == sorted(os.listdir(tree), key=os.fsencode)
    assert [item.name for item in browser.list("reports/2026")] == ["minutes.txt"]
    assert [item.name for item in browser.list("/reports/2026/")] == ["minutes.txt"]
    assert list(browser.list("empty folder")) == []
    assert list(browser.list(browser.stat("reports"))) == list(browser.list("reports"))
    listing = browser.list()
    assert iter(listing) is listing
    assert len(list(listing)) == len(names)
    assert next(listing, None) is None


def test_long_listings_are_whole(repository: Repository, tmp_path: Path) -> None:
    root = tmp_path / "many"
    root.mkdir()
    for number in range(MANY):
        (root / f"{number:04}").touch()
    browser = repository.browse(repository.backup(FolderSource(root)).snapshot)
    assert [item.name for item in browser.list()] == [f"{number:04}" for number in range(MANY)]


def test_an_item_says_all_about_a_file(browser: Browser, tree: Path) -> None:
    item = browser.stat("hello.txt")
    there = (tree / "hello.txt").stat()
    assert (item.name, item.kind, item.id, item.parent) == ("hello.txt", "file", b"hello.txt", b".")
    assert item.size == 11
    assert item.streams == (backup_py.Stream(name="content", size=11),)
    assert item.modified_ns == there.st_mtime_ns == 1_600_000_000_123_456_789
    assert item.modified == datetime(2020, 9, 13, 12, 26, 40, 123456, tzinfo=timezone.utc)
    assert item.created is None or item.created_ns is not None
    assert (item.attributes["mode"], item.attributes["uid"]) == (there.st_mode & 0o7777, there.st_uid)
    assert item.details == {}
    assert item.tag
    link = browser.stat("link")
    assert (link.kind, link.attributes["link_target"], link.streams) == ("symlink", b"hello.txt", ())
    top = browser.stat("")
    assert (top.kind, top.parent) == ("folder", None)
    assert {browser.stat("second name").hard_link, item.hard_link} in ({None, b"hello.txt"}, {None, b"second name"})


def test_paths_lead_to_items_and_back(browser: Browser) -> None:
    item = browser.stat("reports/2026/minutes.txt")
    assert browser.path(item) == browser.path(item.id) == "reports/2026/minutes.txt"
    assert browser.stat(item) == browser.stat(item.id) == item
    assert browser.path("") == ""


def test_ranges_are_read_exactly(browser: Browser, tree: Path) -> None:
    whole = (tree / "large.bin").read_bytes()
    size = len(whole)
    assert browser.read("large.bin") == whole
    chunk = 128 << 10
    for offset in (0, 1, chunk - 1, chunk, chunk + 1, 1 << 20, 2_500_000, size - 1, size):
        for length in (0, 1, 4096, 1_500_000):
            if offset + length <= size:
                assert browser.read("large.bin", offset=offset, length=length) == whole[offset : offset + length]
        assert browser.read("large.bin", offset=offset) == whole[offset:]
    assert browser.read("empty") == b""
    assert browser.read("second name", offset=5) == b"reader"


@pytest.mark.parametrize(("offset", "length"), [(11, 1), (12, 0), (12, None), (0, 12), (2**64 - 1, 2**64 - 1)])
def test_ranges_outside_are_refused(browser: Browser, offset: int, length: int | None) -> None:
    with pytest.raises(backup_py.InvalidArgumentError):
        browser.read("hello.txt", offset=offset, length=length)


def test_what_is_not_there_is_not_found(browser: Browser) -> None:
    for path in ("gone", "reports/gone", "hello.txt/gone"):
        for call in (browser.stat, browser.list, browser.read, browser.path):
            with pytest.raises(backup_py.NotFoundError):
                call(path)
    for call in (browser.stat, browser.list, browser.read, browser.path):
        with pytest.raises(backup_py.NotFoundError):
            call(b"gone")
    with pytest.raises(backup_py.NotFoundError, match="stream"):
        browser.read("hello.txt", stream="thumbnail")
    with pytest.raises(backup_py.NotFoundError):
        browser.read("reports")
    with pytest.raises(TypeError):
        browser.stat(7)  # type: ignore[arg-type]


def test_a_damaged_range_is_not_given_out(repository: Repository, tree: Path, place: Path) -> None:
    snapshot = repository.backup(FolderSource(tree)).snapshot
    packs(place)[0].unlink()
    # This client may still have the bytes; another one has not.
    with Repository.open(place, raw_key=KEY) as other, pytest.raises(backup_py.MissingError):
        other.browse(snapshot).read("large.bin", offset=100)


def test_differences_are_named_by_kind(repository: Repository, tree: Path) -> None:
    source = FolderSource(tree)
    first = repository.backup(source).snapshot
    (tree / "large.bin").unlink()
    (tree / "new").write_bytes(b"new")
    (tree / "empty").write_bytes(b"full")
    os.chmod(tree / "reports" / "tool.sh", 0o700)
    second = repository.backup(source).snapshot

    found = {difference.item.name: difference for difference in repository.diff(first, second)}
    assert found["large.bin"].kind == "removed"
    assert found["large.bin"].after is None
    assert found["new"].kind == "added"
    assert found["new"].before is None
    empty = found["empty"]
    assert (empty.kind, empty.content) == ("changed", True)
    assert empty.before is not None
    assert empty.after is not None
    assert (empty.before.size, empty.after.size) == (0, 4)
    tool = found["tool.sh"]
    assert (tool.kind, tool.content) == ("changed", False)
    assert "hello.txt" not in found

    back = {difference.item.name: difference.kind for difference in repository.diff(second, first)}
    assert (back["large.bin"], back["new"]) == ("added", "removed")
    assert list(repository.diff(first, first)) == []
