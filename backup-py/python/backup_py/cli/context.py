"""What every command needs: the repository that is meant, its passphrase, snapshots by short names, and stopping."""

from __future__ import annotations

import argparse
import getpass
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TypedDict

from .._backup import CancelToken, Repository
from ..exceptions import InvalidArgumentError, NotFoundError
from ..results import SnapshotSummary
from .meter import Meter
from .output import Output, plural

__all__ = ["Context", "Credential", "UsageError"]

_SHORTEST_ID = 4


class UsageError(Exception):
    """The command line or its environment is not enough, or makes no sense."""

    def __init__(self, message: str, *, hint: str = "see backup-py --help") -> None:
        super().__init__(message)
        self.hint = hint


class Credential(TypedDict, total=False):
    """Either of the two that open a repository."""

    passphrase: str
    raw_key: bytes


class Context:
    """One command's arguments, and what is made of them."""

    def __init__(self, settings: argparse.Namespace, output: Output) -> None:
        self.settings = settings
        self.output = output

    @property
    def url(self) -> str:
        """The repository's address."""
        url = self._setting("repository", "BACKUP_REPOSITORY")
        if not url:
            raise UsageError("no repository is named: give --repository or set BACKUP_REPOSITORY")
        return url

    def options(self, name: str = "option") -> dict[str, str]:
        """The store's options: those of the environment, and over them those of the command line."""
        prefix = f"BACKUP_{name.upper()}_"
        found = {key[len(prefix) :].lower(): value for key, value in os.environ.items() if key.startswith(prefix)}
        for text in getattr(self.settings, name, None) or ():
            key, equals, value = text.partition("=")
            if not equals or not key:
                raise UsageError(f"a store's option is NAME=VALUE: {key}")
            found[key] = value
        return found

    @contextmanager
    def repository(self) -> Iterator[Repository]:
        """The repository that is meant, open. Remembers its end where `--head-file` says so."""
        cache = self._setting("index_cache", "BACKUP_INDEX_CACHE") or None
        head_file = self._setting("head_file", "BACKUP_HEAD_FILE")
        known = _text_of(head_file).strip() if head_file and os.path.exists(head_file) else None
        url, options = self.url, self.options()
        with Repository.open(url, **self.credential(), options=options, known_head=known, index_cache=cache) as opened:
            try:
                yield opened
            finally:
                if head_file:
                    _replace(Path(head_file), f"{opened.head}\n")

    def credential(self, *, new: bool = False, twice: bool = False) -> Credential:
        """The passphrase or raw key: from a file, the environment, or a question. Never from an argument."""
        prefix = "new_" if new else ""
        variable = "BACKUP_NEW_PASSPHRASE" if new else "BACKUP_PASSPHRASE"
        key_file = getattr(self.settings, f"{prefix}raw_key_file", None)
        pass_file = getattr(self.settings, f"{prefix}passphrase_file", None)
        if key_file and pass_file:
            raise UsageError("give either a passphrase or a raw key, not both")
        if key_file:
            return {"raw_key": _raw_key(key_file)}
        if pass_file:
            return {"passphrase": _first_line(pass_file)}
        if variable in os.environ:
            return {"passphrase": os.environ[variable]}
        if f"{variable}_FILE" in os.environ:
            return {"passphrase": _first_line(os.environ[f"{variable}_FILE"])}
        if not sys.stdin.isatty():
            raise UsageError(f"no passphrase: set {variable}, or give --{prefix.replace('_', '-')}passphrase-file")
        return {"passphrase": self._ask("new passphrase" if new or twice else "passphrase", twice=new or twice)}

    def _ask(self, what: str, *, twice: bool) -> str:
        text = getpass.getpass(f"{what}: ", sys.stderr)
        if not text:
            raise UsageError("the passphrase is empty")
        if twice and getpass.getpass(f"{what}, once more: ", sys.stderr) != text:
            raise UsageError("the two are not the same")
        return text

    def snapshot(self, repository: Repository, name: str) -> SnapshotSummary:
        """The snapshot that is meant: an id, the first digits of one, `latest`, or `latest:COLLECTION`."""
        snapshots = repository.snapshots()
        if name == "latest" or name.startswith("latest:"):
            collection = name.partition(":")[2]
            found = [each for each in snapshots if not collection or each.collection.id == collection]
            if not found:
                raise NotFoundError(
                    "there is no snapshot of this collection" if collection else "there is no snapshot", item=name
                )
            return found[-1]
        if len(name) < _SHORTEST_ID:
            raise InvalidArgumentError(
                f"a snapshot is named by {_SHORTEST_ID} digits of its id at least, or `latest`", item=name
            )
        found = [each for each in snapshots if each.id.startswith(name.lower())]
        if not found:
            raise NotFoundError("there is no snapshot whose id begins like this", item=name)
        if len(found) > 1:
            raise InvalidArgumentError(f"{plural(len(found), 'snapshot')} have ids that begin like this", item=name)
        return found[0]

    def snapshots(self, repository: Repository, names: list[str]) -> list[str]:
        """The ids of the snapshots that are meant."""
        return [self.snapshot(repository, name).id for name in names]

    def meter(self, doing: str, items: str = "items") -> Meter:
        """What shows progress, as the command line says."""
        return Meter(self.output, getattr(self.settings, "progress", "auto"), doing, items)

    @contextmanager
    def stopping(self) -> Iterator[CancelToken]:
        """A token that SIGINT and SIGTERM cancel, so that a backup leaves a checkpoint. The second one ends the run at once."""
        token = CancelToken()

        def stop(number: int, _: FrameType | None) -> None:
            if token.is_canceled:
                raise KeyboardInterrupt
            token.cancel()
            if number == signal.SIGINT and sys.stderr.isatty():
                self.output.note("\nstopping; press Ctrl-C again to stop at once")

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield token
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _setting(self, name: str, variable: str) -> str:
        return getattr(self.settings, name, None) or os.environ.get(variable, "")


def _text_of(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def _first_line(path: str) -> str:
    """Editors end a line where no end was typed; a passphrase has none."""
    lines = _text_of(path).splitlines()
    if not lines or not lines[0]:
        raise UsageError(f"the first line of {path} is empty: the passphrase should be there")
    return lines[0]


def _raw_key(path: str) -> bytes:
    content = Path(path).read_bytes()
    if len(content) == 32:
        return content
    try:
        return bytes.fromhex(content.decode("ascii").strip())
    except ValueError:
        raise UsageError(f"{path} holds neither 32 bytes nor 64 hexadecimal digits") from None


def _replace(path: Path, text: str) -> None:
    """Write a small file so that a crash leaves the old or the new one."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def options_of(settings: Mapping[str, object], *names: str) -> dict[str, object]:
    """Those of the named arguments that were given."""
    return {name: settings[name] for name in names if settings.get(name) is not None}
