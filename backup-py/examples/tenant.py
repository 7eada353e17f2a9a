"""Backs up every drive of a Microsoft 365 tenant into a repository, and says what became of each.

    python tenant.py [REPOSITORY]

The repository is a local folder, `backup-of-tenant` by default, or an address such as az://container/prefix; it is made if there is
none. The environment says the rest:

    BACKUP_PASSPHRASE                                  of the repository
    AZURE_STORAGE_ACCOUNT_NAME and _KEY, _ENDPOINT     of a store in Azure Blob Storage, and AZURE_ALLOW_HTTP for one on this machine
    BACKUP_TENANT, BACKUP_CLIENT_ID                    the directory and the application (docs/graph.md says how to register one)
    BACKUP_CLIENT_SECRET                               or BACKUP_CLIENT_CERTIFICATE, a file in PEM
    BACKUP_GRAPH_URL, BACKUP_LOGIN_URL                 of a simulated tenant: docs/simulator.md
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import backup_py
from backup_py import BackupReport, DriveSource, Repository, Tenant
from backup_py.directory import Found

AT_ONCE = 4
STORE_OPTIONS = (
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_ENDPOINT",
    "AZURE_ALLOW_HTTP",
)


def sign_in() -> Tenant:
    """The tenant that the environment names."""
    proof: dict[str, Any]
    if certificate := os.environ.get("BACKUP_CLIENT_CERTIFICATE"):
        proof = {"certificate": Path(certificate).read_bytes()}
    else:
        proof = {"client_secret": os.environ["BACKUP_CLIENT_SECRET"]}
    return Tenant(
        os.environ["BACKUP_TENANT"],
        client_id=os.environ["BACKUP_CLIENT_ID"],
        graph_url=os.environ.get("BACKUP_GRAPH_URL"),
        login_url=os.environ.get("BACKUP_LOGIN_URL"),
        **proof,
    )


def open_repository(url: str) -> Repository:
    """The repository, which is made if there is none."""
    passphrase = os.environ["BACKUP_PASSPHRASE"]
    options = {name.lower(): os.environ[name] for name in STORE_OPTIONS if name in os.environ}
    try:
        return Repository.open(url, passphrase=passphrase, options=options)
    except backup_py.NotARepositoryError:
        return Repository.init(url, passphrase=passphrase, options=options)


def back_up(repository: Repository, tenant: Tenant, found: Found) -> BackupReport | backup_py.BackupError:
    """Back up one drive; one that fails is no reason to leave out the others."""
    assert found.drive
    try:
        return repository.backup(DriveSource(tenant, found.drive), labels={"owner": found.owner_name})
    except backup_py.BackupError as error:
        return error


def main() -> None:
    """Do what the command line says."""
    url = sys.argv[1] if len(sys.argv) > 1 else "backup-of-tenant"
    failed = 0
    try:
        tenant = sign_in()
        with open_repository(url) as repository, ThreadPoolExecutor(AT_ONCE) as pool:
            drives = [found for found in tenant.every_drive() if found.drive]
            for found, done in zip(
                drives, pool.map(lambda each: back_up(repository, tenant, each), drives), strict=True
            ):
                if isinstance(done, BackupReport):
                    stats = done.stats
                    print(
                        f"{found.owner_name}: {done.state}, {stats.items} items, {stats.added + stats.changed} new or changed"
                    )
                    failed += done.state != "complete"
                else:
                    print(f"{found.owner_name}: {done} ({done.hint})", file=sys.stderr)
                    failed += 1
            print(f"{len(drives)} drives, {tenant.metrics['requests']!s} requests")
    except backup_py.BackupError as error:
        sys.exit(f"{error} ({error.hint})")
    except KeyError as error:
        sys.exit(f"the environment has no {error.args[0]}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
