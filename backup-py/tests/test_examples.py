"""The examples run."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from simulated_tenant import MISSING, PROGRAM, SimulatedTenant

import backup_py
from conftest import describe

EXAMPLES = Path(__file__).parents[1] / "examples"
AZURE = [store for store in os.environ.get("BACKUP_TEST_STORES", "").split() if store.startswith("az://")]


def run(name: str, *arguments: object, **more: str) -> str:
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *map(str, arguments)]
    environment = {"BACKUP_PASSPHRASE": "p", **more}
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


@pytest.mark.skipif(not PROGRAM and not os.environ.get("CI"), reason=MISSING)
def test_the_tenant_example_backs_up_every_drive(tmp_path: Path) -> None:
    back_up_a_tenant(tmp_path / "repository")


# The checks run it by itself, beside Azurite.
@pytest.mark.skipif(not AZURE, reason="BACKUP_TEST_STORES names no container")
def test_the_tenant_example_backs_up_to_azure_blob() -> None:
    names = ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ENDPOINT", "AZURE_ALLOW_HTTP")
    store = {name: os.environ[name] for name in names}
    url = f"{AZURE[0]}/example-{os.getpid()}"
    back_up_a_tenant(url, **store)
    options = {name.lower(): value for name, value in store.items()}
    with backup_py.Repository.open(url, passphrase="p", options=options) as repository:
        assert len(repository.snapshots()) == 6
        assert repository.verify("every_byte").is_sound


def back_up_a_tenant(repository: str | Path, **store: str) -> None:
    """Twice, and the second time there is nothing to do."""
    assert PROGRAM, MISSING
    users = [f"{name}@contoso.example" for name in ("ada", "ben", "cy")]
    options = [word for user in users for word in ("--drive", user, "--documents", "5")]
    with closing(SimulatedTenant("--http", *options)) as simulation:
        application = simulation.ready["applications"][0]
        environment = {
            "BACKUP_TENANT": simulation.id,
            "BACKUP_CLIENT_ID": application["id"],
            "BACKUP_CLIENT_SECRET": application["secret"],
            "BACKUP_GRAPH_URL": simulation.ready["graph"],
            "BACKUP_LOGIN_URL": simulation.ready["login"],
            **store,
        }
        first = run("tenant.py", repository, **environment)
        again = run("tenant.py", repository, **environment)
    for user in users:
        assert f"{user}: complete, " in first
    assert "3 drives, " in first
    assert again.count(" 0 new or changed") == 3


def test_the_notebook_runs(tmp_path: Path) -> None:
    notebook = json.loads((EXAMPLES / "notebook.ipynb").read_text())
    names: dict[str, object] = {}
    shown = ""
    for cell in notebook["cells"]:
        assert cell["source"]
        if cell["cell_type"] != "code":
            continue
        # Nothing that somebody's run has left behind.
        assert cell["outputs"] == []
        shown += run_cell("".join(cell["source"]), names)
    assert "complete" in shown
    assert "2 snapshots" in shown
    assert "VerifyReport" in shown


def run_cell(code: str, names: dict[str, object]) -> str:
    """Does what a notebook does with a cell: runs it, and shows its last expression as HTML."""
    lines = ast.parse(code)
    last = lines.body[-1]
    if isinstance(last, ast.Expr):
        exec(compile(ast.Module(lines.body[:-1], []), "cell", "exec"), names)  # noqa: S102 - it is our own
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
        return str(value._repr_html_()) if hasattr(value, "_repr_html_") else ""
    exec(compile(lines, "cell", "exec"), names)  # noqa: S102 - it is our own
    return ""


def test_every_example_has_a_test() -> None:
    names = sorted(path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb"))
    assert names == ["folder.py", "frames.py", "notebook.ipynb", "tenant.py"]
