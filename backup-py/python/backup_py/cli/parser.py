"""The commands and options that there are."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from .. import __version__
from . import copies, health, keys, repositories, retention, runs, snapshots
from .context import Context

__all__ = ["Commands", "build"]

_EPILOG = """\
environment:
  BACKUP_REPOSITORY       the repository, for --repository
  BACKUP_PASSPHRASE       its passphrase; or BACKUP_PASSPHRASE_FILE, a file whose first line it is
  BACKUP_OPTION_NAME      an option of the store: BACKUP_OPTION_AWS_REGION=eu-north-1
  BACKUP_INDEX_CACHE, BACKUP_HEAD_FILE
                          for --index-cache and --head-file
  NO_COLOR                no colours

exit codes:
  0 done   1 failed   2 wrong usage   3 done, but with problems   130 interrupted

Snapshots are named by their ids or the first digits of them, by `latest`, or `latest:COLLECTION`.
docs/cli.md describes the output of --json.
"""


class Commands:
    """Where the modules of commands put theirs."""

    def __init__(self, action: Any) -> None:  # noqa: ANN401 - argparse has no public name for it
        self._action = action

    def add(self, name: str, help: str, command: Callable[[Context], bool] | None = None) -> argparse.ArgumentParser:
        """A command; with `command`, the function that does it and says whether there were problems."""
        parser: argparse.ArgumentParser = self._action.add_parser(
            name, help=help, description=f"{help[0].upper()}{help[1:]}.", parents=[_common()], allow_abbrev=False
        )
        if command is not None:
            parser.set_defaults(command=command)
        return parser

    def group(self, name: str, help: str) -> Commands:
        """A command that has commands of its own."""
        parser = self.add(name, help)
        return Commands(parser.add_subparsers(required=True, metavar="WHAT", title="what"))


def build(kind: type[argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Make the parser of the whole command line."""
    parser = kind(
        prog="backup-py",
        description="Encrypted, deduplicated backups of folders and Microsoft 365 drives.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[_common()],
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"backup-py {__version__}")
    commands = Commands(parser.add_subparsers(metavar="COMMAND", title="commands", parser_class=kind))
    for module in (repositories, runs, snapshots, retention, health, copies, keys):
        module.add(commands)
    return parser


def _common() -> argparse.ArgumentParser:
    """What stands before or behind any command. Without defaults: one place must not undo what the other says."""
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    group = parser.add_argument_group("repository")
    group.add_argument(
        "-r",
        "--repository",
        metavar="URL",
        help="a path, s3://bucket/prefix, az://container/prefix or gs://bucket/prefix",
    )
    group.add_argument(
        "-o",
        "--option",
        action="append",
        metavar="NAME=VALUE",
        help="an option of the store; secrets belong into the environment",
    )
    group.add_argument("--passphrase-file", metavar="FILE", help="the passphrase is the first line of this file")
    group.add_argument(
        "--raw-key-file", metavar="FILE", help="a file of 32 bytes, or 64 hexadecimal digits, in place of a passphrase"
    )
    group.add_argument(
        "--index-cache", metavar="FOLDER", help="keep the index in mapped files here; for large repositories"
    )
    group.add_argument(
        "--head-file",
        metavar="FILE",
        help="remember the end of the log here, and refuse a store that shows an older one",
    )
    group = parser.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print JSON, one object a line")
    group.add_argument(
        "--progress",
        choices=["auto", "always", "never"],
        help="show progress: on a terminal (auto), also in a pipe, never",
    )
    return parser
