"""The command line and Microsoft 365, against the simulated tenant."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from simulated_tenant import MISSING, PROGRAM, SimulatedTenant
from test_cli import Cli

ADA, BEN = "ada@contoso.example", "ben@contoso.example"

# On CI this part of the promise is kept, not skipped.
if os.environ.get("CI"):
    assert PROGRAM, MISSING
pytestmark = pytest.mark.skipif(not PROGRAM, reason=MISSING)


@pytest.fixture
def simulation() -> Iterator[SimulatedTenant]:
    """A tenant of two, one of whom has documents."""
    with closing(SimulatedTenant("--http", "--drive", ADA, "--documents", "30", "--drive", BEN)) as simulation:
        yield simulation


@pytest.fixture
def cli(simulation: SimulatedTenant, tmp_path: Path) -> Cli:
    """The program, an empty repository, and an application of the tenant in the environment."""
    cli, application = Cli(tmp_path), simulation.ready["applications"][0]
    cli.run("init")
    cli.environment |= {
        "BACKUP_TENANT": simulation.id,
        "BACKUP_CLIENT_ID": application["id"],
        "BACKUP_CLIENT_SECRET": application["secret"],
        "BACKUP_GRAPH_URL": simulation.ready["graph"],
        "BACKUP_LOGIN_URL": simulation.ready["login"],
    }
    return cli


def test_a_tenant_is_backed_up_and_a_drive_restored(cli: Cli, simulation: SimulatedTenant, tmp_path: Path) -> None:
    listed = {each["owner_name"]: each["drive"]["id"] for each in cli.json("drives", "--kind", "user")}
    assert listed == {ADA: simulation.drive(0), BEN: simulation.drive(1)}
    assert f"{simulation.drive(0)}\tuser\t{ADA}\t" in cli.run("drives").stdout

    *drives, total = cli.json("backup", "tenant", "--kind", "user", "--label", "run=1")
    assert {each["owner"]: each["state"] for each in drives} == {ADA: "complete", BEN: "complete"}
    assert (total["type"], total["drives"], total["failed"], total["with_problems"]) == ("tenant", 2, 0, 0)
    assert total["items"] > 30
    code, seen = cli.terminal("backup", "tenant", "--jobs", 2)
    assert code == 0, seen
    assert "of 2 drives" in seen
    assert "2 drives: " in seen.splitlines()[-1]

    [again] = cli.json("backup", "drive", ADA, "--versions", "2", "--permissions")
    assert again["collection"] in {each["collection"] for each in drives}
    cli.run("restore", "latest", "--drive", simulation.drive(1))
    ada, ben = simulation.report()["drives"]
    assert ada["files"] == ben["files"] == 30
    assert ada["fingerprint"] == ben["fingerprint"]
    cli.run("restore", f"latest:{again['collection']}", tmp_path / "out", "--main-stream-only")
    assert sum(path.is_file() for path in (tmp_path / "out").rglob("*")) == 30


def test_what_signs_in_wrongly_is_said_once(cli: Cli) -> None:
    secret = cli.environment["BACKUP_CLIENT_SECRET"]
    done = cli.run("backup", "tenant", "--json", code=1, BACKUP_CLIENT_SECRET="wrong")
    assert "UnauthenticatedError" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    for variable in ("BACKUP_TENANT", "BACKUP_CLIENT_SECRET"):
        done = cli.run("drives", code=2, **{variable: ""})
        assert variable in done.stderr
    assert secret not in done.stdout + done.stderr
    assert "--versions is a number" in cli.run("backup", "drive", ADA, "--versions", "few", code=2).stderr
    assert "NotFoundError" in cli.run("backup", "drive", "eve@contoso.example", "--json", code=1).stderr
