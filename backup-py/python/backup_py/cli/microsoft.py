"""`drives`, `backup drive` and `backup tenant`: Microsoft 365."""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from .._backup import CancelToken, DriveSource, Repository, Tenant
from ..directory import Drive, Found, OwnerKind
from ..exceptions import BackupError, BugError, CanceledError, NotFoundError, UnauthenticatedError
from ..results import BackupReport, Progress
from .context import Context, UsageError
from .meter import Meter
from .output import count, duration, plural, size, visible

_KINDS: tuple[OwnerKind, ...] = ("user", "group", "site")


def add_tenant(parser: argparse.ArgumentParser) -> None:
    """Add how a tenant is reached."""
    group = parser.add_argument_group("tenant")
    group.add_argument("--tenant", metavar="ID", help="the directory's id or a domain of it (BACKUP_TENANT)")
    group.add_argument(
        "--client-id", metavar="ID", help="the application (BACKUP_CLIENT_ID); its secret is BACKUP_CLIENT_SECRET"
    )
    group.add_argument("--client-certificate", metavar="FILE", help="PEM with key and certificate in place of a secret")
    group.add_argument(
        "--cloud",
        choices=["global", "us_government", "us_defense", "china"],
        default="global",
        help="where it is (global)",
    )
    group.add_argument("--graph-url", metavar="URL", help="another address of Graph (BACKUP_GRAPH_URL)")
    group.add_argument("--login-url", metavar="URL", help="another address to sign in at (BACKUP_LOGIN_URL)")
    group.add_argument("--root-certificates", metavar="FILE", help="further authorities to trust, in PEM")


def add_drive(parser: argparse.ArgumentParser) -> None:
    """Add what comes with each item of a drive."""
    parser.add_argument("--versions", metavar="N", help="so many earlier versions of each file, or `all`")
    parser.add_argument("--permissions", action="store_true", help="permissions and sharing links too")
    parser.add_argument("--fields", action="store_true", help="the columns of libraries too")


def tenant_of(context: Context) -> Tenant:
    """The tenant that the command line and the environment name."""
    settings = context.settings

    def setting(name: str, variable: str) -> str | None:
        return getattr(settings, name, None) or os.environ.get(variable) or None

    id_ = setting("tenant", "BACKUP_TENANT")
    if not id_:
        raise UsageError("no tenant is named: give --tenant or set BACKUP_TENANT")
    certificate = setting("client_certificate", "BACKUP_CLIENT_CERTIFICATE")
    how: dict[str, Any] = {"client_id": setting("client_id", "BACKUP_CLIENT_ID")}
    if certificate:
        how["certificate"] = Path(certificate).read_bytes()
    elif os.environ.get("BACKUP_CLIENT_SECRET"):
        how["client_secret"] = os.environ["BACKUP_CLIENT_SECRET"]
    else:
        raise UsageError("nothing to sign in with: set BACKUP_CLIENT_SECRET or give --client-certificate")
    if settings.root_certificates:
        how["root_certificates"] = Path(settings.root_certificates).read_bytes()
    graph, login = setting("graph_url", "BACKUP_GRAPH_URL"), setting("login_url", "BACKUP_LOGIN_URL")
    return Tenant(id_, cloud=settings.cloud, graph_url=graph, login_url=login, **how)


def drive_of(tenant: Tenant, name: str) -> Drive | str:
    """A drive by its id, or that of a user by the sign-in name."""
    if "@" not in name:
        return name
    for drive in tenant.drives_of("user", name):
        return drive
    raise NotFoundError("this user has no drive", item=name)


def source_of(context: Context, tenant: Tenant, drive: Drive | str) -> DriveSource:
    """A drive as the command line wants it."""
    settings = context.settings
    versions: Any = settings.versions
    if versions not in (None, "all"):
        if not versions.isascii() or not versions.isdigit():
            raise UsageError(f"--versions is a number or `all`: {versions}")
        versions = int(versions)
    return DriveSource(tenant, drive, versions=versions, permissions=settings.permissions, fields=settings.fields)


def _kinds(context: Context) -> Sequence[OwnerKind]:
    chosen = context.settings.kind
    return [kind for kind in _KINDS if not chosen or kind in chosen]


def list_drives(context: Context) -> bool:
    """List the drives of a tenant."""
    output, failed, rows = context.output, 0, []
    for found in tenant_of(context).every_drive(_kinds(context)):
        output.document("drive", found)
        if found.drive is not None:
            row = [found.drive.id, found.kind, visible(found.owner_name), visible(found.drive.name or "")]
            if output.for_people:
                rows.append(row)
            else:
                output.line("\t".join(row))
        elif found.error is not None:
            failed += 1
            if not output.json:
                output.note(f"{visible(found.owner_name)}: {visible(str(found.error))}")
    if output.for_people:
        output.table(["drive", "kind", "owner", "name"], rows)
        output.line(plural(len(rows), "drive"))
    return failed > 0


def backup_tenant(context: Context) -> bool:
    """Back up all drives of a tenant, several at once. One that fails does not keep the others from being done."""
    settings, output = context.settings, context.output
    if settings.jobs < 1:
        raise UsageError("--jobs is at least 1")
    tenant = tenant_of(context)
    with (
        context.repository() as repository,
        context.stopping() as token,
        context.meter("backing up", "drives") as meter,
    ):
        found = list(tenant.every_drive(_kinds(context)))
        run = _TenantRun(context, repository, tenant, token, meter)
        run.every([each for each in found if each.drive is not None])
        lost = [each for each in found if each.error is not None]
    for each in lost:
        output.document("failed", collection=None, owner=each.owner_name, error=each.error)
    failures = [*run.failures, *(f"{each.owner_name}: {each.error}" for each in lost)]
    totals = {"drives": run.done, "failed": len(failures), "with_problems": run.troubled, "items": run.items}
    output.document("tenant", **totals, bytes_stored=run.stored, seconds=round(meter.seconds, 3))
    output.line(
        f"{plural(run.done, 'drive')}: {plural(run.items, 'item')}, {size(run.stored)} stored in {duration(meter.seconds)}"
    )
    if run.troubled:
        output.line(f"  {output.style(count(run.troubled), 'yellow')} of them incomplete")
    output.problems(failures, f"{count(len(failures))} failed")
    return bool(failures) or run.troubled > 0


class _TenantRun:
    """Backups of several drives at once, shown as one."""

    def __init__(
        self, context: Context, repository: Repository, tenant: Tenant, token: CancelToken, meter: Meter
    ) -> None:
        self._context = context
        self._repository = repository
        self._tenant = tenant
        self._token = token
        self._meter = meter
        self._lock = threading.Lock()
        self._states: dict[str, Progress] = {}
        self._total = 0
        self._shown = 0.0
        self.done = self.troubled = self.items = self.stored = 0
        self.failures: list[str] = []

    def every(self, found: Iterable[Found]) -> None:
        """Back all of them up."""
        drives = list(found)
        self._total = len(drives)
        with ThreadPoolExecutor(self._context.settings.jobs, thread_name_prefix="backup-drive") as pool:
            futures = {pool.submit(self._one, each): each for each in drives}
            try:
                for future in as_completed(futures):
                    self._settle(futures[future], future.exception(), None if future.exception() else future.result())
            except BaseException:
                # Those that have not begun never do, and those under way stop soon.
                self._token.cancel()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _one(self, found: Found) -> tuple[str, BackupReport]:
        assert found.drive is not None
        source = source_of(self._context, self._tenant, found.drive)

        def watch(progress: Progress) -> None:
            self._watch(source.collection, progress)

        settings = self._context.settings
        report = self._repository.backup(
            source,
            full=settings.full,
            labels=labels_of(settings),
            compression=settings.compression,
            cancel=self._token,
            on_progress=watch,
        )
        return source.collection, report

    def _settle(self, found: Found, error: BaseException | None, done: tuple[str, BackupReport] | None) -> None:
        output, owner = self._context.output, visible(found.owner_name)
        if done is None:
            # These say that no other drive will do better.
            if not isinstance(error, BackupError) or isinstance(error, (CanceledError, BugError, UnauthenticatedError)):
                raise error or RuntimeError("a backup ended without a result")
            output.document("failed", collection=None, owner=found.owner_name, error=error)
            self.failures.append(f"{owner}: {error}")
            return
        collection, report = done
        with self._lock:
            self.done += 1
        self.items += report.stats.items
        self.stored += report.stats.bytes_stored
        self.troubled += bool(report.problems)
        output.document("backup", report, collection=collection, owner=found.owner_name)
        if report.problems and not output.json:
            for problem in report.problems[:20]:
                output.note(f"{owner}: {visible(str(problem))}")

    def _watch(self, collection: str, progress: Progress) -> None:
        with self._lock:
            self._states[collection] = progress
            now = time.monotonic()
            if now - self._shown < 0.1:
                return
            self._shown = now
            states = self._states.values()
            self._meter(
                Progress(
                    phase="transferring",
                    items_done=self.done,
                    items_total=self._total,
                    bytes_done=sum(each.bytes_done for each in states),
                    bytes_total=None,
                    bytes_stored=sum(each.bytes_stored for each in states),
                    problems=sum(each.problems for each in states),
                )
            )


def labels_of(settings: argparse.Namespace) -> dict[str, str]:
    """The labels that the command line gives."""
    found = {}
    for text in settings.label:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"a label is NAME=VALUE: {text}")
        found[name] = value
    return found
