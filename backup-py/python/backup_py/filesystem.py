"""Snapshots as a read-only file system of `fsspec`, protocol `backup`; needs the extra `backup-py[fsspec]`.

import fsspec, pandas

fs = BackupFileSystem(repository, snapshot)
fs.glob("reports/**/*.csv")
with fs.open("reports/2026.parquet") as file: ...
pandas.read_csv("backup://reports/2026.csv", storage_options={"repository": repository, "snapshot": snapshot})
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from datetime import datetime
from os import PathLike
from typing import Any, NoReturn

from fsspec.spec import AbstractBufferedFile, AbstractFileSystem  # type: ignore[import-untyped]

from ._backup import Browser, Repository
from .exceptions import InvalidArgumentError, NotFoundError
from .protocols import Store
from .results import Item

__all__ = ["BackupFileSystem"]

_KINDS = {"folder": "directory", "package": "directory", "file": "file"}


class BackupFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """One snapshot, read-only. Reads fetch the frames that they touch.

    `repository` is an open one, which stays open as long as its owner wants; or an address, which is opened with the
    keywords of `Repository.open` and closed when nobody uses the file system any more. `snapshot` is an id; without one,
    it is the newest snapshot of `collection`, or of all.

    Items that are neither folders nor files appear with their kind as `type`; those with a stream can be opened. A file
    has the stream `content`; `open(path, stream=...)` opens another. Names that are not UTF-8 cannot be reached.
    """

    protocol = "backup"
    root_marker = ""
    # Instances hold an open repository, and their arguments may hold its key.
    cachable = False

    def __init__(
        self,
        repository: Repository | Store | str | PathLike[str],
        snapshot: str | None = None,
        *,
        collection: str | None = None,
        passphrase: str | bytes | bytearray | None = None,
        raw_key: bytes | bytearray | None = None,
        options: Mapping[str, str] | None = None,
        known_head: str | None = None,
        index_cache: str | None = None,
        **more: Any,
    ) -> None:
        super().__init__(**more)
        if not isinstance(repository, Repository):
            repository = Repository.open(
                repository,
                passphrase=passphrase,
                raw_key=raw_key,
                options=options,
                known_head=known_head,
                index_cache=index_cache,
            )
        elif (passphrase, raw_key, options, known_head, index_cache) != (None,) * 5:
            raise InvalidArgumentError("an open repository takes none of the keywords that open one")
        if snapshot is None:
            found = repository.snapshots() if collection is None else [repository.latest(collection)]
            if not found or found[-1] is None:
                raise NotFoundError("there is no snapshot")
            snapshot = found[-1].id
        elif collection is not None:
            raise InvalidArgumentError("snapshot and collection exclude each other")
        self._repository = repository
        self._browser: Browser = repository.browse(snapshot)

    def __repr__(self) -> str:
        return f"<backup_py.BackupFileSystem of snapshot {self._browser.info.id}>"

    # fsspec keeps the arguments, and shows and pickles them.
    @property
    def storage_options(self) -> dict[str, Any]:
        """Nothing: what it was made from may hold a key."""
        return {}

    @storage_options.setter
    def storage_options(self, value: object) -> None:
        pass

    @property
    def storage_args(self) -> tuple[Any, ...]:
        """Nothing, for the same reason."""
        return ()

    @storage_args.setter
    def storage_args(self, value: object) -> None:
        pass

    def __reduce__(self) -> NoReturn:
        raise TypeError("a BackupFileSystem cannot be pickled or copied: it reads from an open repository")

    @property
    def fsid(self) -> str:
        """The snapshot: what is in it never changes."""
        return f"backup:{self._repository.id}:{self._browser.info.id}"

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        stripped = super()._strip_protocol(path)
        return [each.strip("/") for each in stripped] if isinstance(stripped, list) else stripped.strip("/")

    def info(self, path: str, **more: Any) -> dict[str, Any]:
        """Tell what an item is: `name`, `type`, `size`, `mtime`, and the `item` itself."""
        path = self._strip_protocol(path)
        if not path:
            return {"name": "", "type": "directory", "size": 0}
        return self._describe(path, self._browser.stat(path))

    def ls(self, path: str, detail: bool = True, **more: Any) -> list[Any]:
        """List a folder, or the item itself if it is none."""
        path = self._strip_protocol(path)
        above = self.info(path)
        if above["type"] == "directory":
            target: str | Item = above.get("item", "")
            prefix = f"{path}/" if path else ""
            found = [self._describe(prefix + item.name, item) for item in self._browser.list(target)]
        else:
            found = [above]
        return found if detail else [each["name"] for each in found]

    def modified(self, path: str) -> datetime | None:
        """Tell when an item was last changed."""
        return self._browser.stat(self._strip_protocol(path)).modified

    def created(self, path: str) -> datetime | None:
        """Tell when an item was created."""
        return self._browser.stat(self._strip_protocol(path)).created

    def checksum(self, path: str) -> int:
        """Tell a number that stands for the content: nothing in a snapshot changes."""
        return hash((self.fsid, self._strip_protocol(path)))

    def ukey(self, path: str) -> str:
        """Tell a text that stands for the content."""
        return f"{self.fsid}:{self._strip_protocol(path)}"

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **more: Any) -> bytes:
        """Read a file, or a part of it; below zero counts from the end."""
        path = self._strip_protocol(path)
        if start is None and end is None:
            return self._browser.read(path, **more)
        with self._browser.open(path, **more) as file:
            size: int = file.raw.size  # type: ignore[attr-defined]
        first, last, _ = slice(start, end).indices(size)
        return self._browser.read(path, offset=first, length=max(0, last - first), **more)

    # These do nothing in the base class, where not every file system has folders.
    def mkdir(self, path: str, create_parents: bool = True, **more: Any) -> NoReturn:
        """Refuse: a snapshot is read-only."""
        raise _read_only()

    def makedirs(self, path: str, exist_ok: bool = False) -> NoReturn:
        """Refuse: a snapshot is read-only."""
        raise _read_only()

    def rmdir(self, path: str) -> NoReturn:
        """Refuse: a snapshot is read-only."""
        raise _read_only()

    def _open(
        self, path: str, mode: str = "rb", block_size: int | None = None, stream: str = "content", **more: Any
    ) -> _File:
        if mode != "rb":
            raise _read_only()
        with self._browser.open(path, stream=stream) as file:
            size: int = file.raw.size  # type: ignore[attr-defined]
        return _File(self, path, mode, block_size or "default", size=size, stream=stream, **more)

    def _describe(self, path: str, item: Item) -> dict[str, Any]:
        holder = self._browser.stat(item.hard_link) if item.hard_link else item
        size = next((each.size for each in holder.streams if each.name == "content"), holder.size)
        modified = None if item.modified_ns is None else item.modified_ns / 1_000_000_000
        kind = _KINDS.get(item.kind, item.kind)
        return {"name": path, "type": kind, "size": size or 0, "mtime": modified, "item": item}


def _read_only() -> OSError:
    return OSError(errno.EROFS, "a snapshot is read-only")


class _File(AbstractBufferedFile):  # type: ignore[misc]
    def __init__(self, *arguments: Any, stream: str, **more: Any) -> None:
        self._stream = stream
        super().__init__(*arguments, **more)

    def _fetch_range(self, start: int, end: int) -> bytes:
        end = min(end, self.size)
        if start >= end:
            return b""
        data: bytes = self.fs._browser.read(self.path, stream=self._stream, offset=start, length=end - start)
        return data
