"""Backs up a folder into a repository, and restores it.

    python folder.py init|backup|restore|verify|snapshots REPOSITORY [FOLDER]

The passphrase comes from the environment variable BACKUP_PASSPHRASE.
"""

from __future__ import annotations

import os
import sys

import backup_py
from backup_py import FolderSink, FolderSource, Progress, Repository


def show(progress: Progress) -> None:
    """Keep one line up to date."""
    line = f"\r{progress.phase}: {progress.items_done} items, {progress.bytes_done / 1e6:.1f} MB"
    print(line, end="", file=sys.stderr)


def backup(repository: Repository, folder: str) -> None:
    """Make a snapshot of a folder."""
    done = repository.backup(FolderSource(folder), labels={"by": "folder.py"}, on_progress=show)
    print(f"snapshot {done.snapshot}: {done.state}, {done.stats.items} items, {done.stats.bytes_stored} bytes stored")
    for problem in done.problems:
        print(f"  {problem}")


def restore(repository: Repository, folder: str) -> None:
    """Bring the newest snapshot back."""
    snapshots = repository.snapshots()
    if not snapshots:
        sys.exit("there is no snapshot")
    done = repository.restore(snapshots[-1].id, FolderSink(folder), on_progress=show)
    print(f"{done.created} items created, {done.bytes} bytes")
    for problem in done.problems:
        print(f"  {problem}")


def verify(repository: Repository) -> None:
    """Read the whole repository."""
    report = repository.verify("every_byte", on_progress=show)
    print("sound" if report.is_sound else f"{len(report.findings)} findings")
    for finding in report.findings:
        print(f"  {finding}")


def main() -> None:
    """Do what the command line says."""
    passphrase = os.environ.get("BACKUP_PASSPHRASE", "")
    try:
        match sys.argv[1:]:
            case ["init", place]:
                print(f"created repository {Repository.init(place, passphrase=passphrase).id}")
            case [verb, place, *rest]:
                with Repository.open(place, passphrase=passphrase) as repository:
                    match verb, rest:
                        case "backup", [folder]:
                            backup(repository, folder)
                        case "restore", [folder]:
                            restore(repository, folder)
                        case "verify", []:
                            verify(repository)
                        case "snapshots", []:
                            for snapshot in repository.snapshots():
                                print(snapshot.id, f"{snapshot.created:%F %T}", snapshot.collection.id)
                        case _:
                            sys.exit(__doc__)
            case _:
                sys.exit(__doc__)
    except backup_py.BackupError as error:
        sys.exit(f"{error} ({error.hint})")


if __name__ == "__main__":
    main()
