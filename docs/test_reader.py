"""The reader against the golden vectors, and against a repository that the engine has just made.

    pip install -r docs/requirements-reader.txt
    python -m pytest docs/test_reader.py

For the last test, which is skipped otherwise, name a repository, its passphrase, and the tree that its newest snapshot
was made of:

    export BACKUP_PASSPHRASE=reader BACKUP_READER_REPO=/tmp/repository BACKUP_READER_TREE=/tmp/tree
    cargo run -p backup-core --features folder,fs --example folder -- init $BACKUP_READER_REPO
    cargo run -p backup-core --features folder,fs --example folder -- backup $BACKUP_READER_REPO $BACKUP_READER_TREE
    python -m pytest docs/test_reader.py
"""
from __future__ import annotations

import os
import re
import stat
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator, NamedTuple, Optional
from urllib.parse import quote as percent_encode
from urllib.parse import unquote_to_bytes

import pytest
from blake3 import blake3

from reader import Restore
from reader_check import Check
from reader_repository import STATES, Item, Repository, Snapshot, whole_attributes
from reader_sealed import Cursor, ReaderError, Secret, Store, Time

HERE = Path(__file__).parent
VECTORS = HERE.parent / "backup-core" / "tests" / "vectors"
REPOSITORIES = sorted(path.stem for path in VECTORS.glob("*.objects"))
CASES = [line.split(" | ") for line in (VECTORS / "refused.txt").read_text().splitlines()]


# The vectors (backup-core/tests/vectors/README.md) --------------------------------------------------------------------

def unpack(data: bytes) -> dict[str, bytes]:
    cursor, objects = Cursor(data, "vector"), {}
    while cursor.at < len(data):
        name = cursor.bytes16().decode()
        objects[name] = cursor.bytes32()
    return objects


def parse_key(text: str) -> Secret:
    kind, _, value = text.partition(" ")
    return Secret(1, unquote_to_bytes(value)) if kind == "passphrase" else Secret(2, bytes.fromhex(value))


class Vector:
    """A repository in memory that operations are carried out on."""

    def __init__(self, name: str) -> None:
        self.objects = unpack((VECTORS / f"{name}.objects").read_bytes())
        self.listing = (VECTORS / f"{name}.txt").read_text()
        self.secret = parse_key(self.listing.partition("\n")[0].removeprefix("key "))
        self.head: Optional[tuple[int, bytes]] = None

    def open(self, place: Path) -> Repository:
        for name, data in self.objects.items():
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return Repository(Store(place), self.secret, self.head)

    def apply(self, operation: str) -> None:
        verb, *words = operation.split(" ")
        objects = self.objects
        if verb in ("xor", "set"):
            name, at, new = words[0], int(words[1]), bytes.fromhex(words[2])
            old = objects[name][at:at + len(new)]
            new = bytes(a ^ b for a, b in zip(old, new)) if verb == "xor" else new
            objects[name] = objects[name][:at] + new + objects[name][at + len(new):]
        elif verb == "cut":
            objects[words[0]] = objects[words[0]][:int(words[1])]
        elif verb == "append":
            objects[words[0]] += bytes.fromhex(words[1])
        elif verb == "put":
            objects[words[0]] = bytes.fromhex(words[1])
        elif verb == "remove":
            del objects[words[0]]
        elif verb == "rename":
            objects[words[1]] = objects.pop(words[0])
        elif verb == "swap":
            objects[words[0]], objects[words[1]] = objects[words[1]], objects[words[0]]
        elif verb == "copy":
            objects[words[2]] = Vector(words[0]).objects[words[1]]
        elif verb == "key":
            self.secret = parse_key(" ".join(words))
        elif verb == "head":
            self.head = int(words[0]), bytes.fromhex(words[1])
        else:
            raise AssertionError(operation)


# What the reader finds, written as the listings are -------------------------------------------------------------------

def quote(raw: bytes) -> str:
    return percent_encode(raw, safe="")


def show_time(time: Time) -> str:
    return f"{time.seconds}:{time.nanos}"


def show_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return f"int:{value}"
    if isinstance(value, float):
        return f"float:{struct.unpack('<Q', struct.pack('<d', value))[0]:016x}"
    if isinstance(value, str):
        return f"text:{quote(value.encode())}"
    if isinstance(value, bytes):
        return f"bytes:{value.hex()}"
    if isinstance(value, Time):
        return f"time:{show_time(value)}"
    if isinstance(value, list):
        return f"[{','.join(map(show_value, value))}]"
    return "{" + ",".join(f"{quote(name)}={show_value(entry)}" for name, entry in value.items()) + "}"


def describe(repository: Repository) -> Iterator[str]:
    log = repository.log
    yield f"repository {repository.keyring.repository.hex()}"
    yield f"head {log.number}:{log.head.hex()}"
    if log.period:
        yield f"locks {log.period} {show_time(log.locked) if log.locked else '-'}"
    for ref in log.snapshots:
        if STATES[ref.state] == "checkpoint":
            continue
        snapshot = repository.snapshot(ref)
        parent = f" parent={snapshot.parent.hex()}" if snapshot.parent else ""
        yield (f"snapshot {ref.id.hex()} collection={quote(ref.collection)} kind={quote(ref.collection_kind)}"
               f" created={show_time(ref.created)} state={ref.state}{parent}"
               f" figures={','.join(map(str, snapshot.figures))}")
        for name, value in snapshot.labels:
            yield f"label {quote(name)} {quote(value)}"
        for place, code, message in snapshot.problems:
            yield f"problem {quote(place)} {code} {quote(message)}"
        yield from describe_below(repository, snapshot, b"", "")


def describe_below(repository: Repository, snapshot: Snapshot, parent: bytes, above: str) -> Iterator[str]:
    for item in repository.children(snapshot, parent):
        path = above + quote(item.name)
        line = f"item {quote(item.id)} path={path} kind={item.kind}"
        line += f" created={show_time(item.created)}" if item.created else ""
        line += f" modified={show_time(item.modified)}" if item.modified else ""
        line += f" tag={quote(item.tag)}" if item.tag else ""
        yield line + (f" link={quote(item.link_of)}" if item.link_of is not None else "")
        for name, value in item.attributes.items():
            yield f"attribute {quote(name)} {show_value(value)}"
        for name, value in details(repository, item).items():
            yield f"detail {quote(name)} {show_value(value)}"
        for name, content in item.streams:
            hasher = blake3()
            for raw in repository.content(content, item.what):
                hasher.update(raw)
            yield f"stream {quote(name)} {content.length} {hasher.hexdigest()}"
        yield from describe_below(repository, snapshot, item.id, path + "/")


def details(repository: Repository, item: Item) -> dict[bytes, Any]:
    if item.details is None:
        return {}
    return whole_attributes(b"".join(repository.content(item.details, item.what)), "details")


@pytest.mark.parametrize("name", REPOSITORIES)
def test_a_golden_repository_reads_as_its_listing_says(name: str, tmp_path: Path) -> None:
    vector = Vector(name)
    repository = vector.open(tmp_path)
    Check(repository).run()
    found = [vector.listing.splitlines()[0], *describe(repository)]
    assert found == vector.listing.splitlines()


def test_the_vectors_have_short_and_long_lists_of_chunks(tmp_path: Path) -> None:
    repository = Vector("contents").open(tmp_path)
    snapshot, shapes = repository.find_snapshot("latest"), {}
    for name in (b"empty", b"one", b"several", b"many"):
        item = repository.item(snapshot, name)
        assert item is not None
        content = dict(item.streams)[b"content"]
        shapes[name] = content.depth, len(content.entries), len(list(repository.data_chunks(content, item.what)))
    assert shapes == {b"empty": (0, 0, 0), b"one": (0, 1, 1), b"several": (0, 12, 12), b"many": (1, 1, 156)}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[1]}: {case[0]}")
def test_what_must_be_refused_is_refused_for_its_reason(case: list[str], tmp_path: Path) -> None:
    _, name, operations, _, expected = case
    vector = Vector(name)
    for operation in operations.split(", "):
        vector.apply(operation)
    try:
        Check(vector.open(tmp_path)).run()
        outcome = "-"
    except ReaderError as error:
        outcome = type(error).__name__
    assert outcome == expected


def test_most_vectors_are_refused() -> None:
    refused = [case for case in CASES if case[4] != "-"]
    assert len(refused) > 200 and len({tuple(case[:2]) for case in CASES}) == len(CASES)


# Restoring ------------------------------------------------------------------------------------------------------------

class File(NamedTuple):
    """What a restore must bring back of one file. Owners are not, nor are set-user-id and set-group-id of files."""

    mode: str
    modified: int
    content: bytes  # of a symbolic link, where it leads
    links: tuple[bytes, ...] = ()  # all paths of a file that has several


def tree(top: Path) -> dict[bytes, File]:
    files, folders = dict[bytes, File](), [os.fsencode(top)]
    links: dict[tuple[int, int], list[bytes]] = {}
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                keep = 0o3777 if stat.S_ISDIR(found.st_mode) else 0o1777
                mode = stat.filemode(stat.S_IFMT(found.st_mode) | found.st_mode & keep)
                if entry.is_symlink():
                    content = os.readlink(entry.path)
                elif entry.is_dir(follow_symlinks=False):
                    content = b""
                    folders.append(entry.path)
                else:
                    content = blake3(Path(os.fsdecode(entry.path)).read_bytes()).digest()
                path = os.path.relpath(entry.path, os.fsencode(top))
                files[path] = File(mode, found.st_mtime_ns, content)
                if found.st_nlink > 1 and stat.S_ISREG(found.st_mode):
                    links.setdefault((found.st_dev, found.st_ino), []).append(path)
    for paths in links.values():
        files.update({path: files[path]._replace(links=tuple(sorted(paths))) for path in paths})
    return files


def test_a_folder_is_restored_with_modes_times_and_links(tmp_path: Path) -> None:
    repository, target = Vector("folder").open(tmp_path / "repository"), tmp_path / "target"
    assert Restore(repository, repository.find_snapshot("latest"), target).run() == 0
    files = tree(target)

    def time(mode: int) -> int:
        return (1_700_000_000 + mode) * 1_000_000_000 + 123_456_789

    def regular(shown: str, mode: int, content: bytes) -> File:
        return File(shown, time(mode), blake3(content).digest())

    both = regular("-rw-r-----", 0o640, b"shared by two names")._replace(links=(b"a.txt", b"sub/hard link"))
    link = stat.filemode((target / "to sub").lstat().st_mode)
    assert files == {
        b"a.txt": both,
        b"caf\xe9\n": regular("-r--r--r--", 0o444, b""),
        b"sparse": regular("-rw-------", 0o600, bytes(100_000)),
        b"sub": File("drwxr-s---", time(0o2750), b""),
        b"sub/empty": File("drwx------", time(0o700), b""),
        b"sub/hard link": both,
        b"sub/run me": regular("-rwxr-xr-x", 0o4755, b"#!/bin/sh\n"),
        b"to nowhere": File(link, time(0o777), b"../not/there\xff"),
        b"to sub": File(link, time(0o777), b"sub"),
    }
    assert stat.S_IMODE(target.stat().st_mode) == 0o755


def test_the_command_line_lists_restores_and_checks(tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, str(HERE / "reader.py"), str(tmp_path / "repository"), "--passphrase-env", "SECRET"]
        done = subprocess.run([*command, *arguments], env={**os.environ, "SECRET": "pass phrase \u00e9"}, check=True,
                              capture_output=True, encoding="utf-8")
        return done.stdout

    repository = Vector("passphrase").open(tmp_path / "repository")
    assert run("snapshots").startswith(repository.log.snapshots[0].id.hex())
    assert "hello.txt" in run("ls", "latest")
    run("restore", "latest", str(tmp_path / "target"))
    assert (tmp_path / "target" / "hello.txt").read_text() == "Dear reader"
    found = re.search(r"head (\d+:[0-9a-f]{64})", run("check"))
    assert found is not None and run("--head", found[1], "check")


@pytest.mark.skipif("BACKUP_READER_REPO" not in os.environ, reason="no repository of the engine's is named")
def test_what_the_engine_has_just_made_is_restored_as_it_was(tmp_path: Path) -> None:
    secret = Secret(1, os.fsencode(os.environ["BACKUP_PASSPHRASE"]))
    repository = Repository(Store(Path(os.environ["BACKUP_READER_REPO"])), secret)
    Check(repository).run()
    original = Path(os.environ["BACKUP_READER_TREE"])
    assert Restore(repository, repository.find_snapshot("latest"), tmp_path / "target").run() == 0
    assert tree(tmp_path / "target") == tree(original)
