"""Where a repository is and how it is opened, as a value that another process can be given."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from os import PathLike
from typing import Any

from ._backup import Repository
from .exceptions import InvalidArgumentError

__all__ = ["RepositoryAddress"]


@dataclass(frozen=True, kw_only=True)
class RepositoryAddress:
    """Where a repository is and how it is opened: what a worker in another process needs to open the same one.

        address = RepositoryAddress(url="s3://acme-backup/files", options=options, passphrase=passphrase, pickle_secret=True)
        client.map(lambda path: back_up(address, path), paths)

        def back_up(address, path):
            with address.open() as repository:
                return repository.backup(FolderSource(path))

    Handles cannot be pickled; this can. Passphrase and key stay out of pickles and copies unless `pickle_secret` says so, because whoever reads
    such a pickle opens the repository; a worker that has them from elsewhere gives them to `open`. The `options` of the store are
    in every pickle, keys of the cloud included. None of these is ever shown.
    """

    url: str | PathLike[str]
    """The store, as `Repository.open` takes it."""
    options: Mapping[str, str] | None = field(default=None, repr=False, hash=False)
    """The store's options."""
    known_head: str | None = None
    """The head seen last time."""
    index_cache: str | PathLike[str] | None = None
    """A folder on the worker's disk where the index is kept."""
    as_of: datetime | int | None = None
    """The time as of which it is opened, for reading only."""
    passphrase: str | bytes | bytearray | None = field(default=None, repr=False, hash=False)
    """The passphrase, unless workers have it from elsewhere."""
    raw_key: bytes | bytearray | None = field(default=None, repr=False, hash=False)
    """The raw key in its place."""
    pickle_secret: bool = False
    """Whether pickles hold passphrase or key, as they are."""

    def open(
        self, *, passphrase: str | bytes | bytearray | None = None, raw_key: bytes | bytearray | None = None
    ) -> Repository:
        """Open the repository, with this passphrase or key if one is given, else with its own.

        Raises what `Repository.open` raises, and `InvalidArgumentError` where neither has a secret.
        """
        return Repository.open(self.url, **self._arguments(passphrase, raw_key))

    def open_async(
        self, *, passphrase: str | bytes | bytearray | None = None, raw_key: bytes | bytearray | None = None
    ) -> Future[Repository]:
        """Do what `open` does, for `await`."""
        return Repository.open_async(self.url, **self._arguments(passphrase, raw_key))

    def _arguments(
        self, passphrase: str | bytes | bytearray | None, raw_key: bytes | bytearray | None
    ) -> dict[str, Any]:
        if passphrase is None and raw_key is None:
            passphrase, raw_key = self.passphrase, self.raw_key
        if passphrase is None and raw_key is None:
            raise InvalidArgumentError(
                "the address has no passphrase or key: give one to open, or make it with pickle_secret"
            )
        return {
            "passphrase": passphrase,
            "raw_key": raw_key,
            "options": self.options,
            "known_head": self.known_head,
            "index_cache": self.index_cache,
            "as_of": self.as_of,
        }

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        if not self.pickle_secret:
            state["passphrase"] = state["raw_key"] = None
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
