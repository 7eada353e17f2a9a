"""The example that reads tables with pandas."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from backup_py import FolderSource, Repository

EXAMPLE = Path(__file__).parents[1] / "examples" / "frames.py"


def test_tables_of_all_snapshots_are_read_without_a_restore(place: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "reports"
    folder.mkdir(parents=True)
    with Repository.init(place, passphrase="p") as repository:
        (folder / "a.csv").write_text("name,degrees\nx,10\ny,20\n")
        repository.backup(FolderSource(tmp_path / "data"))
        (folder / "b.csv").write_text("name,degrees\nz,60\n")
        repository.backup(FolderSource(tmp_path / "data"))

    def run(path: str) -> list[list[str]]:
        command = [sys.executable, str(EXAMPLE), str(place), path]
        environment = {"BACKUP_PASSPHRASE": "p"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return [line.split() for line in done.stdout.splitlines()]

    head, first, second = run("reports/*.csv")
    assert head == ["created", "rows", "degrees"]
    assert first[-2:] == ["2", "15.0"]
    assert second[-2:] == ["3", "30.0"]
    assert [line[-2:] for line in run("reports/a.csv")[1:]] == [["2", "15.0"]] * 2
