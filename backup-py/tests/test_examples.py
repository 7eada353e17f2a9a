"""The examples run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import describe

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, *arguments: object) -> str:
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *map(str, arguments)]
    environment = {"BACKUP_PASSPHRASE": "p"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_folder_example_makes_a_round_trip(tree: Path, tmp_path: Path) -> None:
    place, out = tmp_path / "repository", tmp_path / "out"
    run("folder.py", "init", place)
    assert "complete" in run("folder.py", "backup", place, tree)
    assert "folder:" in run("folder.py", "snapshots", place)
    assert "sound" in run("folder.py", "verify", place)
    run("folder.py", "restore", place, out)
    assert describe(out) == describe(tree)


def test_every_example_has_a_test() -> None:
    assert [path.name for path in EXAMPLES.glob("*.py")] == ["folder.py", "frames.py"]
