"""What `docs/python.md` shows has the names and types that the package has."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[2] / "docs" / "python.md"

GIVEN = """
import asyncio, logging, multiprocessing, signal, ssl
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
import fsspec, pandas, pyarrow
from azure.identity import ManagedIdentityCredential
from backup_py import *

async def guide(
    passphrase: str, new_passphrase: str, secret: str, id: str, url: str, head_of_last_time: str, last_good: str, first_bad: str, before: str, after: str,
    snapshot: str, collection: str, source: Source, sources: Mapping[str, FolderSource], other: Repository, paths: list[Path],
    options: Any, application: str, drive_id: str, client: Any, security: Any,
) -> None:
"""


def blocks() -> list[str]:
    return [rest.split("```")[0] for rest in GUIDE.read_text().split("```python\n")[1:]]


@pytest.mark.skipif(not GUIDE.exists(), reason="the guide is not part of the package")
def test_the_guide_type_checks(tmp_path: Path) -> None:
    text = "\n".join(blocks())
    assert "Repository.open(" in text
    guide = tmp_path / "guide.py"
    guide.write_text(GIVEN + textwrap.indent(text, "    "))
    # The guide leaves out types of its own functions, the case that there is no snapshot, and
    # packages that need not be here.
    left_out = [
        "import-untyped",
        "import-not-found",
        "no-untyped-def",
        "no-untyped-call",
        "union-attr",
        "no-any-return",
    ]
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--allow-redefinition", "--follow-imports=silent"]
    command += [f"--disable-error-code={code}" for code in left_out]
    checked = subprocess.run([*command, guide], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
