"""Reads a table from every snapshot of a repository with pandas, without restoring anything, and says how it changed.

    python frames.py REPOSITORY PATH

PATH is a CSV file in the snapshots, such as `reports/2026.csv`, or a pattern such as `reports/*.csv`, whose files are put together. The
passphrase comes from the environment variable BACKUP_PASSPHRASE. Needs `pip install "backup-py[fsspec]" pandas`.
"""

from __future__ import annotations

import os
import sys

import pandas  # type: ignore[import-untyped] # its stubs are a package of their own

import backup_py
from backup_py import Repository
from backup_py.filesystem import BackupFileSystem


def read(repository: Repository, snapshot: str, path: str) -> pandas.DataFrame:
    """One table of all files of a snapshot that match."""
    files = BackupFileSystem(repository, snapshot)
    # One file could be read by its address alone, `backup://path`; here the file system finds them first.
    options = {"repository": repository, "snapshot": snapshot}
    tables = [pandas.read_csv(f"backup://{name}", storage_options=options) for name in sorted(files.glob(path))]
    return pandas.concat(tables, ignore_index=True) if tables else pandas.DataFrame()


def history(repository: Repository, path: str) -> pandas.DataFrame:
    """A row for each snapshot: how many rows the table had, and the mean of each column of numbers."""
    rows = []
    for snapshot in repository.snapshots():
        table = read(repository, snapshot.id, path)
        rows.append({"created": snapshot.created, "rows": len(table), **table.mean(numeric_only=True)})
    return pandas.DataFrame(rows)


def main() -> None:
    """Do what the command line says."""
    match sys.argv[1:]:
        case [place, path]:
            try:
                with Repository.open(place, passphrase=os.environ.get("BACKUP_PASSPHRASE", "")) as repository:
                    print(history(repository, path).to_string(index=False))
            except backup_py.BackupError as error:
                sys.exit(f"{error} ({error.hint})")
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
