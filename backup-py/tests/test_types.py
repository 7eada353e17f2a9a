"""Stubs, types and documentation agree with what there is."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import backup_py
from backup_py import _backup

HERE = Path(__file__).parent
STUB = Path(backup_py.__file__).parent / "_backup.pyi"


def check(*command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, cwd=HERE.parent, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(300)
def test_the_stub_describes_the_module(tmp_path: Path) -> None:
    # Which of its lines are needed depends on the version of Python.
    allowed = str(HERE / "stubtest-allowlist.txt")
    check(
        "mypy.stubtest",
        "backup_py",
        "--mypy-config-file",
        str(empty_config(tmp_path)),
        "--allowlist",
        allowed,
        "--ignore-unused-allowlist",
    )


@pytest.mark.timeout(300)
def test_examples_and_tests_are_typed(tmp_path: Path) -> None:
    check("mypy", "--strict", "--config-file", str(empty_config(tmp_path)), "examples", "tests")


def empty_config(folder: Path) -> Path:
    """Settings that do not lead mypy from the installed package to its sources."""
    config = folder / "mypy.ini"
    config.write_text(f"[mypy]\ncache_dir = {folder / 'cache'}\n")
    return config


def test_documentation_at_run_time_is_that_of_the_stub() -> None:
    documented = 0
    for node in ast.parse(STUB.read_text()).body:
        if not isinstance(node, ast.ClassDef):
            continue
        kind = getattr(_backup, node.name)
        compare(ast.get_docstring(node), kind)
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and not method.name.startswith("__"):
                compare(ast.get_docstring(method), inspect.getattr_static(kind, method.name))
                documented += 1
    assert documented > 25


def compare(stub: str | None, thing: object) -> None:
    thing = getattr(thing, "__func__", thing)
    assert stub, thing
    assert thing.__doc__, thing
    assert stub.startswith(thing.__doc__.splitlines()[0].rstrip(".")), thing


def test_everything_that_is_exported_is_there_once() -> None:
    assert len(set(backup_py.__all__)) == len(backup_py.__all__)
    assert all(hasattr(backup_py, name) for name in backup_py.__all__)
    own = ("address", "directory", "exceptions", "policy", "reports", "results")
    modules = [getattr(backup_py, name) for name in own]
    assert {name for module in modules for name in module.__all__} <= set(backup_py.__all__)


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert backup_py.__version__ == version("backup-py")
