"""What several tests need: folders with everything in them, and repositories."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import backup_py

KEY = bytes(range(32))
"""Opens the repositories of tests: a raw key costs no stretching."""

LONG_RUN_BYTES = 256 << 30
"""Length of a file without blocks that takes minutes to read: whoever stops a backup of it stops it in the middle."""

Run = Callable[..., subprocess.CompletedProcess[str]]

# Whoever starts the tests in the background has this signal ignored, and what tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with nested folders, modes, times, links, an empty and a large file, and odd names."""
    root = tmp_path / "tree"
    noise = random.Random(4711)
    (root / "reports" / "2026").mkdir(parents=True)
    (root / "empty folder").mkdir()
    (root / "hello.txt").write_bytes(b"Dear reader")
    (root / "empty").write_bytes(b"")
    (root / "large.bin").write_bytes(noise.randbytes(5_000_000))
    (root / "reports" / "2026" / "minutes.txt").write_bytes(b"We met.\n" * 1000)
    (root / "reports" / "tool.sh").write_bytes(b"#!/bin/sh\n")
    (root / "reports" / "\u00e4\u00f6 \U0001f600").write_bytes(b"unicode")
    os.chmod(root / "reports" / "tool.sh", 0o751)
    os.chmod(root / "hello.txt", 0o600)
    os.utime(root / "hello.txt", ns=(1, 1_600_000_000_123_456_789))
    os.symlink("hello.txt", root / "link")
    os.link(root / "hello.txt", root / "second name")
    os.utime(root / "reports", ns=(1, 1_500_000_000_000_000_001))
    settle()
    return root


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A folder whose backup takes minutes."""
    root = tmp_path / "endless"
    root.mkdir()
    (root / "first").write_bytes(random.Random(1).randbytes(3_000_000))
    with open(root / "sparse", "wb") as file:
        file.truncate(LONG_RUN_BYTES)
    settle()
    return root


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the repository is."""
    return tmp_path / "repository"


@pytest.fixture
def repository(place: Path) -> Iterator[backup_py.Repository]:
    """A new repository on disk, opened with `KEY`."""
    with backup_py.Repository.init(place, raw_key=KEY) as repository:
        yield repository


@pytest.fixture
def run_python() -> Run:
    """Runs a program in an interpreter of its own, where warnings are errors."""

    def run(program: str, *arguments: object, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "error", "-c", program, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)

    return run


def settle() -> None:
    """Wait until files are older than a tick of the clock: only then a source trusts their times."""
    time.sleep(0.1)


def describe(root: Path) -> dict[str, tuple[object, ...]]:
    """All that a restore has to bring back, by path."""
    found: dict[str, tuple[object, ...]] = {}
    for path in [root, *sorted(root.rglob("*"))]:
        stat = path.lstat()
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = ("link", os.readlink(path))
        elif path.is_dir():
            found[name] = ("folder", stat.st_mode, stat.st_mtime_ns, stat.st_uid, stat.st_gid)
        else:
            facts = (stat.st_mode, stat.st_mtime_ns, stat.st_uid, stat.st_gid)
            found[name] = ("file", *facts, path.read_bytes())
    return found


def packs(place: Path) -> list[Path]:
    """The pack files of a repository, the largest first."""
    files = [path for path in place.rglob("*") if path.is_file() and "pack" in path.relative_to(place).parts[0]]
    return sorted(files, key=lambda path: (-path.stat().st_size, path))


def flip(path: Path, position: int) -> None:
    """Changes one bit."""
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    os.chmod(path, 0o600)
    path.write_bytes(content)
