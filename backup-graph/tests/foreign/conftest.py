"""What the tests of foreign clients share: running tenants, and documents to fill them with."""

import os
import random
from contextlib import ExitStack
from pathlib import Path

import pytest
from simulated_tenant import SimulatedTenant

SEED = 2026


@pytest.fixture
def start(tmp_path):
    """Starts tenants that end with the test."""
    with ExitStack() as stack:
        yield lambda *options, **how: stack.enter_context(SimulatedTenant(tmp_path, *options, **how))


@pytest.fixture
def documents(tmp_path) -> Path:
    """A folder of files as clients meet them: nested, empty, large, with names that need care."""
    rng = random.Random(SEED)
    folder = tmp_path / "documents"
    files = {
        "empty.txt": 0,
        "note.md": 500,
        "100% of it & more #1.txt": 2_000,
        "Größen/Résumé (final).docx": 40_000,
        "Größen/日本語/表.csv": 3_000,
        "Projects/2026/plan 'b' = +1.xlsx": 70_000,
        "Projects/2026/film.mp4": 11 << 20,
    }
    files |= {f"many/{number:03}.txt": 100 + number for number in range(60)}
    for number, (name, size) in enumerate(files.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(size))
        changed = 1_700_000_000 + number * 60
        os.utime(path, (changed, changed))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below the folder, by its path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
