#!/usr/bin/env python3
"""An independent reader of the repository format, version 1.

Written from `format.md` alone, and sharing no code with the engine, it proves that the page is complete: what the
engine writes can be listed, restored and checked with it. It only reads. It favours clarity over speed.

    reader_sealed.py      sections 1 to 4 of the page: from objects to plaintext
    reader_repository.py  sections 5 to 7: from plaintext to snapshots, items and bytes
    reader_check.py       the full check
    reader.py             this file: listing, restoring to a folder, the command line

Needs Python 3.10 and, from PyPI, what requirements-reader.txt lists.

    reader.py REPO KEY snapshots
    reader.py REPO KEY ls SNAPSHOT [PATH]
    reader.py REPO KEY restore SNAPSHOT TARGET
    reader.py REPO KEY check

REPO is a directory that holds the objects as files. KEY is one of `--passphrase-env VAR`, `--passphrase TEXT` and
`--key-hex HEX`. SNAPSHOT is `latest` (the last in the log) or an unambiguous beginning of a snapshot's hexadecimal id.
PATH is a path as `restore` lays it out. TARGET must be absent or empty. Owners are not restored. With
`--head NUMBER:HASH`, as `check` shows it, a store that shows an older or another log than then is refused.
"""
from __future__ import annotations

import argparse
import io
import itertools
import os
import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator, Optional

from reader_check import Check
from reader_repository import FILE, FOLDER, KINDS, STATES, SYMLINK, Content, Item, Name, Repository, Snapshot, show
from reader_sealed import Damaged, ReaderError, Secret, Store


# List ----------------------------------------------------------------------------------------------------------------

def list_snapshots(repository: Repository) -> None:
    for ref in repository.log.snapshots:
        items = repository.snapshot(ref).figures[0]
        print(f"{ref.id.hex()}  {show(ref.collection)}  {ref.created}  {STATES[ref.state]}  {items}")


def list_items(repository: Repository, snapshot: Snapshot, path: str) -> None:
    top = repository.top(snapshot)
    parents, found = [top.id if top else b""], list[Item]()
    parts = [os.fsencode(part) for part in path.split("/") if part]
    for part in parts:
        found = [item for parent in parents for item in repository.children(snapshot, parent) if item.name == part]
        parents = [item.id for item in found]
    if not parents:
        raise ReaderError(f"no item at '{path}'")

    def line(item: Item, where: list[bytes]) -> None:
        kind = KINDS.get(item.kind, str(item.kind))
        target = item.attributes.get(b"link_target")
        arrow = f" -> {show(target)}" if isinstance(target, bytes) else " (hard link)" if item.link_of else ""
        print(f"{kind:8} {item.size:>14}  {str(item.modified or '-'):30}  {'/'.join(map(show, where))}{arrow}")

    for item in found:
        line(item, parts)
    stack = [(repository.children(snapshot, parent), parts) for parent in reversed(parents)]
    while stack:
        items, where = stack[-1]
        if (child := next(items, None)) is None:
            stack.pop()
            continue
        line(child, where + [child.name])
        stack.append((repository.children(snapshot, child.id), where + [child.name]))


# Restore -------------------------------------------------------------------------------------------------------------

class Restore:
    """Writes a snapshot below a target. All is created exclusively, so nothing leads out of the target."""

    def __init__(self, repository: Repository, snapshot: Snapshot, target: Path) -> None:
        self.repository, self.snapshot, self.target = repository, snapshot, os.fsencode(target)
        self.problems = 0
        self.folders: list[tuple[bytes, Item]] = []  # modes and times of folders come last
        self.links: list[tuple[bytes, Item]] = []
        self.link_targets = {item.link_of: b"" for item in
                             itertools.starmap(Item, repository.scan(snapshot.items)) if item.link_of is not None}

    def run(self) -> int:
        os.makedirs(self.target, exist_ok=True)
        if os.listdir(self.target):
            raise ReaderError(f"{show(self.target)}: not empty")
        top = self.repository.top(self.snapshot)
        if top:
            self.folders.append((self.target, top))
            self.streams(top, self.target, b"", top.streams)
        stack = [(self.target, top.id if top else b"")]
        while stack:
            folder, parent = stack.pop()
            with self.keep_going(folder):
                for item in self.repository.children(self.snapshot, parent):
                    with self.keep_going(os.path.join(folder, item.name)):
                        if below := self.create(folder, item):
                            stack.append((below, item.id))
        for folder, item in self.links:
            with self.keep_going(os.path.join(folder, item.name)):
                self.link(folder, item)
        for path, item in reversed(self.folders):
            with self.keep_going(path):
                self.finish(path, item)
        return self.problems

    @contextmanager
    def keep_going(self, path: bytes) -> Iterator[None]:
        """What is damaged must not keep the rest from being restored."""
        try:
            yield
        except (OSError, Damaged) as error:
            self.problems += 1
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            print(f"error: {show(path)}: {reason}", file=sys.stderr)

    def create(self, folder: bytes, item: Item) -> Optional[bytes]:
        """Creates one item; returns its path if it is a folder."""
        if item.name in (b"", b".", b"..") or b"/" in item.name or b"\0" in item.name:
            raise Damaged("name refused")
        if item.link_of is not None:
            self.links.append((folder, item))
            return None
        has_children = next(self.repository.scan(self.snapshot.names, Name.prefix(item.id)), None) is not None
        if item.kind == FOLDER or has_children:
            path = self.claim(folder, item.name, lambda path: os.mkdir(path, 0o700))
            self.folders.append((path, item))
            self.streams(item, folder, item.name, item.streams)
            return path
        if item.kind == SYMLINK:
            goal = item.attributes.get(b"link_target")
            if not isinstance(goal, bytes):
                raise Damaged("symlink without link_target")
            path = self.claim(folder, item.name, lambda path: os.symlink(goal, path))
            self.finish(path, item, symlink=True)
        elif item.kind == FILE or item.streams:
            main = next((content for name, content in item.streams if name == b"content"), Content(0, 0, []))
            path = self.write(folder, item.name, item, main)
            self.finish(path, item)
        else:
            print(f"skipped: {show(folder)}: {show(item.name)}: has no content", file=sys.stderr)
            return None
        if item.id in self.link_targets:
            self.link_targets[item.id] = path
        self.streams(item, folder, item.name, [stream for stream in item.streams if stream[0] != b"content"])
        return None

    def claim(self, folder: bytes, name: bytes, make: Callable[[bytes], None]) -> bytes:
        """Creates something under a name that is free: two items may share a name."""
        for attempt in itertools.count(1):
            path = os.path.join(folder, name + (b"~%d" % attempt if attempt > 1 else b""))
            try:
                make(path)
                return path
            except FileExistsError:
                continue
        raise AssertionError

    def write(self, folder: bytes, name: bytes, item: Item, content: Content) -> bytes:
        path = self.claim(folder, name, lambda path: os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600)))
        try:
            with open(path, "wb") as file:
                for raw in self.repository.content(content, item.what):
                    if item.attributes.get(b"sparse") is True and raw.count(0) == len(raw):
                        file.seek(len(raw), os.SEEK_CUR)
                    else:
                        file.write(raw)
                file.truncate(content.length)
        except BaseException:
            os.unlink(path)  # no half of a file
            raise
        return path

    def streams(self, item: Item, folder: bytes, name: bytes, streams: list[tuple[bytes, Content]]) -> None:
        for stream, content in streams:
            file = name + b"#" + stream.replace(b"/", b"_").replace(b"\0", b"_")
            with self.keep_going(os.path.join(folder, file)):
                self.write(folder, file, item, content)

    def link(self, folder: bytes, item: Item) -> None:
        if not (source := self.link_targets.get(item.link_of or b"")):
            raise Damaged("hard link to an item that was not restored")
        self.claim(folder, item.name, lambda path: os.link(source, path, follow_symlinks=False))

    def finish(self, path: bytes, item: Item, symlink: bool = False) -> None:
        mode = item.attributes.get(b"mode")
        if type(mode) is int and not symlink:
            # The owner is not restored: a file must not become set-user-id of whoever restores it.
            os.chmod(path, mode & (0o3777 if os.path.isdir(path) else 0o1777))
        if item.modified:
            try:
                os.utime(path, ns=(item.modified.ns, item.modified.ns), follow_symlinks=False)
            except OverflowError:
                raise OSError("modification time out of range") from None


# Command line --------------------------------------------------------------------------------------------------------

def parse_arguments(arguments: Optional[list[str]]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="An independent reader of the repository format, version 1.")
    parser.add_argument("repo", type=Path, help="directory of the repository")
    key = parser.add_mutually_exclusive_group(required=True)
    key.add_argument("--passphrase-env", metavar="VAR", help="environment variable that holds the passphrase")
    key.add_argument("--passphrase", metavar="TEXT")
    key.add_argument("--key-hex", metavar="HEX", help="raw 32-byte key")
    parser.add_argument("--head", metavar="NUMBER:HASH", type=parse_head,
                        help="the head that `check` showed last time: an older or another log is refused")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("snapshots", help="one line per snapshot: id, collection, created, state, items")
    command = commands.add_parser("ls", help="list the items of a snapshot")
    command.add_argument("snapshot")
    command.add_argument("path", nargs="?", default="")
    command = commands.add_parser("restore", help="write a snapshot below a folder")
    command.add_argument("snapshot")
    command.add_argument("target", type=Path)
    commands.add_parser("check", help="read and verify everything")
    return parser.parse_args(arguments)


def parse_head(text: str) -> tuple[int, bytes]:
    number, _, digest = text.partition(":")
    if len(digest) != 64:
        raise ValueError
    return int(number), bytes.fromhex(digest)


def secret_of(options: argparse.Namespace) -> Secret:
    if options.key_hex is not None:
        if not re.fullmatch(r"[0-9a-fA-F]{64}", options.key_hex):
            raise ReaderError("--key-hex: not 64 hexadecimal digits")
        return Secret(2, bytes.fromhex(options.key_hex))
    text = options.passphrase
    if options.passphrase_env is not None and (text := os.environ.get(options.passphrase_env)) is None:
        raise ReaderError(f"environment variable {options.passphrase_env} is not set")
    return Secret(1, os.fsencode(text))


def main(arguments: Optional[list[str]] = None) -> int:
    options = parse_arguments(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        repository = Repository(Store(options.repo), secret_of(options), options.head)
        if options.command == "snapshots":
            list_snapshots(repository)
        elif options.command == "check":
            Check(repository).run()
        elif options.command == "ls":
            list_items(repository, repository.find_snapshot(options.snapshot), options.path)
        else:
            return 1 if Restore(repository, repository.find_snapshot(options.snapshot), options.target).run() else 0
        sys.stdout.flush()
    except (ReaderError, OSError, MemoryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
