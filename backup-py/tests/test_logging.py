"""What an operator is told through Python's own logging."""

import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backup_py import FolderSource, Repository


def until(caplog: pytest.LogCaptureFixture, level: int, text: str) -> None:
    """Waits for a line: they come from a thread of their own."""
    for _ in range(1000):
        if any(record.levelno == level and text in record.getMessage() for record in list(caplog.records)):
            return
        time.sleep(0.01)
    pytest.fail(f"no line with {text!r} among {[record.getMessage() for record in caplog.records]}")


def test_commits_and_problems_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "100%s.txt").write_text("bytes")
    caplog.set_level(logging.INFO, logger="backup_py")
    with Repository.init("memory://", raw_key=bytes(32)) as repository:
        until(caplog, logging.INFO, "opened at log entry 0")
        done = repository.backup(FolderSource(tmp_path))
        until(caplog, logging.INFO, f"snapshot {done.snapshot}")
        repository.hold([done.snapshot])
        until(caplog, logging.INFO, "1 snapshots are held")


def test_nothing_is_printed_where_nobody_listens() -> None:
    program = "import logging, backup_py; logging.getLogger('backup_py').warning('heard by nobody')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
