"""Microsoft 365, against the simulated tenant."""

from __future__ import annotations

import asyncio
import base64
import http.server
import json
import os
import pickle
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from simulated_tenant import MISSING, PROGRAM, SimulatedTenant

import backup_py
from backup_py import DriveSink, DriveSource, FolderSink, Repository, Tenant
from conftest import Run

ADA, BEN = "ada@contoso.example", "ben@contoso.example"
FULL = ("--http", "--drive", ADA, "--documents", "60", "--drive", BEN)

# On CI this part of the promise is kept, not skipped.
if os.environ.get("CI"):
    assert PROGRAM, MISSING
pytestmark = pytest.mark.skipif(not PROGRAM, reason=MISSING)


@pytest.fixture
def simulation() -> Iterator[SimulatedTenant]:
    """A tenant of two, one of whom has documents."""
    with closing(SimulatedTenant(*FULL)) as simulation:
        yield simulation


@pytest.fixture
def tenant(simulation: SimulatedTenant) -> Tenant:
    """The same, signed in to."""
    return Tenant(simulation.id, **simulation.application)


def fetch_token(simulation: SimulatedTenant, scope: str) -> dict[str, Any]:
    """A token of the simulated issuer, by another way than the library's."""
    application = simulation.application
    form = {
        "grant_type": "client_credentials",
        "client_id": application["client_id"],
        "client_secret": application["client_secret"],
        "scope": scope,
    }
    address = f"{simulation.ready['login']}/{simulation.id}/oauth2/v2.0/token"
    with urllib.request.urlopen(address, urllib.parse.urlencode(form).encode()) as answer:
        issued: dict[str, Any] = json.load(answer)
    return issued


def test_a_drive_goes_to_a_repository_and_to_another_drive(
    repository: Repository, simulation: SimulatedTenant, tenant: Tenant, tmp_path: Path
) -> None:
    source = DriveSource(tenant, simulation.drive(0), concurrency=2, range_bytes=1 << 20, page_entries=50)
    assert source.collection.startswith("drive:")
    phases = []
    done = repository.backup(source, on_progress=lambda p: phases.append(p.phase))
    assert done.state == "complete"
    assert done.stats.items > 60
    assert done.source["requests"]
    assert phases[-1] == "done"
    again = repository.backup(source)
    assert (again.stats.bytes_read, again.stats.changed) == (0, 0)
    sink = DriveSink(tenant, simulation.drive(1), concurrency=4)
    restored = repository.restore(done.snapshot, sink)
    assert not restored.problems
    assert restored.created >= 60
    ada, ben = simulation.report()["drives"]
    assert ada["files"] == ben["files"] == 60
    assert ada["fingerprint"] == ben["fingerprint"]
    out = repository.restore(done.snapshot, FolderSink(tmp_path / "out"))
    assert not out.problems
    assert sum(path.is_file() for path in (tmp_path / "out").rglob("*")) == 60
    report = repository.drill(against=[source])
    assert report.is_clean
    assert report.compared > 50
    assert simulation.report()["leaked_tokens"] == 0


def test_the_directory_is_listed(simulation: SimulatedTenant, tenant: Tenant) -> None:
    users = list(tenant.users())
    assert {user.user_principal_name for user in users} == {ADA, BEN}
    assert all(user.account_enabled for user in users)
    assert list(tenant.groups()) == []
    assert isinstance(list(tenant.sites()), list)
    (drive,) = tenant.drives_of("user", ADA)
    assert drive.id == simulation.drive(0)
    found = {entry.owner_name: entry for entry in tenant.every_drive(["user"])}
    assert set(found) == {ADA, BEN}
    assert found[ADA].drive == drive
    assert (found[ADA].kind, found[ADA].error) == ("user", None)
    assert {entry.drive.id for entry in tenant.every_drive() if entry.drive} >= {drive.id, simulation.drive(1)}
    *changed, last = tenant.user_changes()
    assert {change.entry.user_principal_name for change in changed if change.entry} == {ADA, BEN}
    assert last.kind == "position"
    assert [change.kind for change in tenant.user_changes(last.position)] == ["position"]
    assert [change.kind for change in tenant.group_changes()][-1] == "position"
    assert DriveSource(tenant, drive).collection == DriveSource(tenant, drive.id).collection
    with pytest.raises(backup_py.NotFoundError):
        list(tenant.drives_of("user", "nobody@contoso.example"))
    with pytest.raises(backup_py.NotFoundError):
        list(tenant.subsites("contoso.example,none,none"))
    for wrong in (lambda: tenant.drives_of("robot", ADA), lambda: tenant.every_drive(["user", "robot"])):  # type: ignore[arg-type, list-item]
        with pytest.raises(backup_py.InvalidArgumentError):
            wrong()
    with pytest.raises(TypeError, match="make a list of it"):
        pickle.dumps(tenant.users())
    requests = tenant.metrics["requests"]
    assert isinstance(requests, int)
    assert requests > 5


def test_everything_can_be_awaited(repository: Repository, simulation: SimulatedTenant, tmp_path: Path) -> None:
    def give(scope: str) -> tuple[str, float]:
        issued = fetch_token(simulation, scope)
        return issued["access_token"], time.time() + issued["expires_in"]

    async def main() -> backup_py.RestoreReport:
        tenant = Tenant(simulation.id, token=give, **simulation.how)
        names = [user.user_principal_name async for user in tenant.users()]
        assert sorted(name for name in names if name) == [ADA, BEN]
        first, second = await asyncio.gather(
            repository.backup_async(DriveSource(tenant, simulation.drive(0))),
            repository.backup_async(DriveSource(tenant, simulation.drive(1))),
        )
        assert first.stats.items > second.stats.items
        # A run that blocks the loop's thread still gets its tokens.
        repository.backup(DriveSource(Tenant(simulation.id, token=give, **simulation.how), simulation.drive(0)))
        return await repository.restore_async(first.snapshot, FolderSink(tmp_path / "out"))

    assert not asyncio.run(main()).problems


@dataclass
class AccessToken:
    """As azure-identity has it."""

    token: str
    expires_on: int


class Credential:
    """A credential in azure-identity's form that counts how often it is asked."""

    def __init__(self, simulation: SimulatedTenant, lifetime: int = 3600) -> None:
        self.simulation, self.lifetime = simulation, lifetime
        self.asked: list[tuple[tuple[str, ...], str | None, str]] = []

    def get_token(self, *scopes: str, claims: str | None = None, tenant_id: str | None = None) -> AccessToken:
        """Give a token for an hour or less."""
        self.asked.append((scopes, claims, threading.current_thread().name))
        issued = fetch_token(self.simulation, scopes[0])
        return AccessToken(issued["access_token"], int(time.time()) + self.lifetime)


def test_a_credential_is_asked_once_until_its_token_ends(simulation: SimulatedTenant) -> None:
    credential = Credential(simulation)
    tenant = Tenant(simulation.id, credential=credential, **simulation.how)
    assert len(list(tenant.users())) == 2
    assert len(list(tenant.every_drive())) >= 2
    assert credential.asked == [(("https://graph.microsoft.com/.default",), None, "backup-token")]
    short = Credential(simulation, lifetime=60)
    tenant = Tenant(simulation.id, credential=short, **simulation.how)
    assert len(list(tenant.users())) == len(list(tenant.users())) == 2
    assert len(short.asked) == 2


def test_a_token_that_is_refused_is_asked_for_anew(simulation: SimulatedTenant) -> None:
    asked = []

    def give(scope: str) -> str:
        asked.append(scope)
        return "stale" if len(asked) == 1 else str(fetch_token(simulation, scope)["access_token"])

    assert len(list(Tenant(simulation.id, token=give, **simulation.how).users())) == 2
    assert len(asked) == 2
    fixed = fetch_token(simulation, "https://graph.microsoft.com/.default")["access_token"]
    assert len(list(Tenant(simulation.id, token=fixed, **simulation.how).users())) == 2
    with pytest.raises(backup_py.UnauthenticatedError):
        list(Tenant(simulation.id, token="stale", **simulation.how).users())


def test_claims_that_the_service_wants_reach_the_credential(simulation: SimulatedTenant) -> None:
    claims = '{"access_token": {"nbf": {"essential": true, "value": "1700000000"}}}'
    seen = []

    class Graph(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Refuse the first token, and say what the next one must have."""
            seen.append(self.headers["Authorization"])
            body = b'{"value": []}'
            self.send_response(200 if len(seen) > 1 else 401)
            if len(seen) == 1:
                wanted = base64.b64encode(claims.encode()).decode()
                challenge = f'Bearer realm="", error="insufficient_claims", claims="{wanted}"'
                self.send_header("WWW-Authenticate", challenge)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Graph) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        credential = Credential(simulation)
        url = f"http://127.0.0.1:{server.server_address[1]}"
        assert list(Tenant("contoso.example", credential=credential, graph_url=url).users()) == []
        server.shutdown()
    assert [asked[1] for asked in credential.asked] == [None, claims]
    assert len(seen) == 2
    assert seen[0].startswith("Bearer ")


def test_an_interpreter_that_ends_waits_for_who_gives_a_token(run_python: Run) -> None:
    program = """
import asyncio, sys, threading, time
from backup_py import Tenant

asked = threading.Event()

def give(scope):
    asked.set()
    time.sleep(1.5)
    print("given", flush=True)
    return "x"

async def main():
    tenant = Tenant("contoso.example", token=give, graph_url="http://127.0.0.1:1", attempts_max=1)
    pending = tenant.users().__anext__()
    await asyncio.to_thread(asked.wait)
    return pending

pending = asyncio.run(main())
print("ends", flush=True)
"""
    done = run_python(program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["ends", "given"]


def test_ctrl_c_does_not_wait_for_who_gives_a_token(run_python: Run) -> None:
    program = """
import os, signal, threading
from backup_py import Tenant

interrupted = threading.Event()

def give(scope):
    os.kill(os.getpid(), signal.SIGINT)
    interrupted.wait()
    return "x"

tenant = Tenant("contoso.example", token=give, graph_url="http://127.0.0.1:1", attempts_max=1)
try:
    next(tenant.users())
except KeyboardInterrupt:
    interrupted.set()
    print("interrupted")
"""
    done = run_python(program)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "interrupted\n"


def test_what_a_giver_of_tokens_raises_is_the_cause(repository: Repository, simulation: SimulatedTenant) -> None:
    def fails(scope: str) -> str:
        raise LookupError("the vault is locked")

    async def is_async(scope: str) -> str:
        return "x"

    def is_no_token(scope: str) -> object:
        return 7

    for give, text in ((fails, "the vault is locked"), (is_async, "not async"), (is_no_token, "a token is")):
        tenant = Tenant(simulation.id, token=give, **simulation.how)  # type: ignore[arg-type]
        with pytest.raises(backup_py.UnauthenticatedError) as raised:
            repository.backup(DriveSource(tenant, simulation.drive(0)))
        assert text in f"{raised.value.__cause__!r}"

    def is_offline(scope: str) -> str:
        raise ConnectionError("no route")

    tenant = Tenant(simulation.id, token=is_offline, attempts_max=1, **simulation.how)
    with pytest.raises(backup_py.UnavailableError):
        list(tenant.users())


def test_tls_with_an_authority_of_its_own(tmp_path: Path) -> None:
    with closing(SimulatedTenant("--drive", ADA, "--documents", "3")) as simulation:
        pem = simulation.ready["ca_pem"]
        tenant = Tenant(simulation.id, root_certificates=pem, **simulation.application)
        assert [user.user_principal_name for user in tenant.users()] == [ADA]
        distrusting = Tenant(simulation.id, attempts_max=1, **simulation.application)
        with pytest.raises(backup_py.BackupError):
            list(distrusting.users())
        with pytest.raises(backup_py.InvalidArgumentError):
            Tenant(simulation.id, root_certificates="no pem", **simulation.application)


def test_a_tenant_goes_to_another_process_if_told(repository: Repository, simulation: SimulatedTenant) -> None:
    plain = Tenant(simulation.id, **simulation.application)
    for holder in (plain, DriveSource(plain, "x"), DriveSink(plain, "x")):
        with pytest.raises(TypeError, match="pickle_secret"):
            pickle.dumps(holder)
    told = Tenant(simulation.id, pickle_secret=True, concurrency_max={"graph": 2}, **simulation.application)
    source = DriveSource(told, simulation.drive(0), versions="all", permissions=True, fields=True)
    sink = DriveSink(told, simulation.drive(1), folder=None, versions=True, fields=True)
    source_again, sink_again = pickle.loads(pickle.dumps((source, sink)))
    assert source_again.collection == source.collection
    done = repository.backup(source_again)
    assert not repository.restore(done.snapshot, sink_again).problems
    secret = simulation.application["client_secret"]
    assert secret not in f"{told!r} {source!r} {sink!r}"


def test_budgets_and_wrong_arguments(simulation: SimulatedTenant, tenant: Tenant) -> None:
    tenant.set_budget(requests_per_hour=1_000_000, bytes_per_hour=10**12)
    tenant.set_budget()
    assert simulation.id in repr(tenant)
    assert tenant.tenant_id == simulation.id
    how = simulation.how
    for wrong in (
        {},
        {"client_secret": "x"},
        {"client_id": "x", "client_secret": ""},
        {"client_id": "x", "client_secret": "x", "token": "x"},
        {"client_id": "x", "certificate": "no pem"},
        {"token": "x", "cloud": "ours"},
        {"token": "x", "user_agent": "line\nbreak"},
        {"token": "x", "graph_url": "http://graph.example"},
    ):
        with pytest.raises(backup_py.InvalidArgumentError) as raised:
            Tenant("contoso.example", **{**how, **wrong})
        assert "x" not in str(raised.value).split()
    for mistaken in (
        {"credential": object()},
        {"token": 7},
        {"token": "x", "concurrency_max": {"sideways": 1}},
        {"client_id": "x", "client_secret": 7},
    ):
        with pytest.raises(TypeError):
            Tenant("contoso.example", **{**how, **mistaken})
    with pytest.raises(backup_py.InvalidArgumentError, match="versions"):
        DriveSource(tenant, "x", versions="some")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        DriveSource("contoso.example", "x")  # type: ignore[arg-type]
    wrong_secret = Tenant(simulation.id, **{**simulation.application, "client_secret": "wrong"})
    with pytest.raises(backup_py.UnauthenticatedError):
        list(wrong_secret.users())
