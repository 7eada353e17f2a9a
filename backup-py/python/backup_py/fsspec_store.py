"""Stores and sources on the file systems of `fsspec`. They need the file system only, not the package."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from .exceptions import InvalidArgumentError
from .protocols import Change, Entry, Unreadable, Upsert
from .results import Collection, Item, Stream, _nanoseconds

__all__ = ["FsspecSource", "FsspecStore"]

_MEMORY = threading.Lock()
"""The file system in memory looks whether a name is free, and then takes it."""


def _text(protocol: str | tuple[str, ...]) -> str:
    return protocol if isinstance(protocol, str) else protocol[0]


def _modified_ns(info: dict[str, Any]) -> int | None:
    """When an object was last changed; every file system has its own name for that."""
    for name in ("mtime", "LastModified", "last_modified", "modified", "updated", "created"):
        value = info.get(name)
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value.replace("Z", "+00:00"))
            except ValueError:
                continue
        if isinstance(value, datetime):
            return _nanoseconds(value)
        if isinstance(value, (int, float)):
            return round(value * 1_000_000_000)
    return None


class FsspecStore:
    """A repository's store on a file system of `fsspec`, below the folder `root`.

    The file system must be able to create a file only if it is not there (`pipe_file(mode="create")`); `Repository.init`
    tries that and refuses one that cannot. Object stores create whole objects. A local folder is better given by its path:
    that also survives a power loss at any moment.

        fs = fsspec.filesystem("s3", key=..., secret=...)
        repository = Repository.init(FsspecStore(fs, "acme-backup/files"), passphrase=passphrase)
    """

    concurrency = 8

    def __init__(self, fs: Any, root: str) -> None:
        self._fs, self._root = fs, fs._strip_protocol(root).rstrip("/")
        self._made: set[str] = set()
        if not self._root:
            raise InvalidArgumentError("a store needs a folder of its own")

    def __repr__(self) -> str:
        return f"FsspecStore({_text(self._fs.protocol)}, {self._root!r})"

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def create(self, key: str, data: bytes) -> bool:
        """Create an object if the name is free, and say whether it was."""
        path = self._path(key)
        parent = path.rpartition("/")[0]
        if parent not in self._made:
            self._fs.makedirs(parent, exist_ok=True)
            self._made.add(parent)
        try:
            if _text(self._fs.protocol) == "memory":
                with _MEMORY:
                    self._fs.pipe_file(path, data, mode="create")
            elif hasattr(self._fs, "link"):
                self._link(path, data)
            else:
                self._fs.pipe_file(path, data, mode="create")
        except FileExistsError:
            return False
        return True

    def _link(self, path: str, data: bytes) -> None:
        # Written in full under another name first: a file appears with all its bytes or not at all.
        draft = f"{self._root}/draft.{secrets.token_hex(8)}"
        try:
            with self._fs.open(draft, "wb") as file:
                file.write(data)
                file.flush()
                if hasattr(file, "fileno"):
                    os.fsync(file.fileno())
            self._fs.link(draft, path)
        finally:
            if self._fs.exists(draft):
                self._fs.rm_file(draft)

    def read(self, key: str, start: int, end: int | None) -> bytes:
        """Read an object, or a part of it."""
        path = self._path(key)
        size = self.size(key) if end is not None and end <= start else None
        if end is None:
            data: bytes = self._fs.cat_file(path, start or None)
            return data
        if size is not None:
            # Nothing is read of what is there, and nothing of what is not: file systems differ in that.
            if end < start or end > size:
                raise InvalidArgumentError(f"there is no range {start} to {end} in {size} bytes", item=key)
            return b""
        try:
            data = self._fs.cat_file(path, start, end)
        except FileNotFoundError:
            raise
        except Exception as error:
            if end > self.size(key):
                raise InvalidArgumentError(f"there is no range {start} to {end}", item=key) from error
            raise
        return data

    def size(self, key: str) -> int:
        """Tell the length of an object in bytes."""
        self._fs.invalidate_cache(self._path(key).rpartition("/")[0])
        info = self._fs.info(self._path(key))
        if info["type"] != "file":
            raise FileNotFoundError(key)
        return int(info["size"])

    def list(self, prefix: str) -> Iterator[Entry]:
        """Give the objects at or below the prefix."""
        self._fs.invalidate_cache()
        found = self._fs.find(self._path(prefix), detail=True)
        for path, info in found.items():
            if info["type"] == "file" and not path.startswith(f"{self._root}/draft."):
                yield Entry(path[len(self._root) + 1 :], int(info["size"]), _modified_ns(info))

    def delete(self, key: str) -> None:
        """Delete an object; one that is not there is fine."""
        try:
            self._fs.rm_file(self._path(key))
        except FileNotFoundError:
            return


class FsspecSource:
    """A folder of any file system of `fsspec` to back up, with all below it.

    A file counts as unchanged while its ETag, or its time and length, are the same; where the file system has neither, files
    are read each time. Symbolic links are kept as links; what is neither file, folder nor link is reported. Modes and
    owners are not kept: a local folder is better a `FolderSource`. `collection_id` names the collection of a folder that
    moves; `concurrency` is the number of files read at once, 1 for file systems that may not be used from several threads.

        fs = fsspec.filesystem("sftp", host="files.example.org", username="backup")
        repository.backup(FsspecSource(fs, "/srv/data"))
    """

    def __init__(self, fs: Any, root: str, *, collection_id: str | None = None, concurrency: int = 4) -> None:
        self._fs, self._root = fs, fs._strip_protocol(root).rstrip("/")
        self._id = collection_id or f"{_text(fs.protocol)}:{self._root}"
        self.concurrency = concurrency

    def __repr__(self) -> str:
        return f"FsspecSource(collection={self._id!r})"

    @property
    def collection(self) -> Collection:
        """The collection that this folder is: its protocol and path, unless `collection_id` was given."""
        return Collection(id=self._id, kind="folder")

    def changes(self, cursor: bytes | None) -> Iterator[Change]:
        """Give everything there is: these file systems do not say what changed."""
        self._fs.invalidate_cache()
        if not self._fs.isdir(self._root or "/"):
            raise FileNotFoundError(f"there is no folder {self._root!r}")
        top = self._root.rpartition("/")[2] or "root"
        yield Upsert(Item(id=b".", name=top, kind="folder"))
        waiting = [(b".", self._root)]
        while waiting:
            parent, folder = waiting.pop()
            try:
                entries: Iterable[dict[str, Any]] = self._fs.ls(folder or "/", detail=True)
            except Exception as error:
                if parent == b".":
                    raise
                yield Unreadable(folder, error, parent)
                continue
            for info in entries:
                path = info["name"].rstrip("/")
                relative = path[len(self._root) :].lstrip("/")
                # Object stores may list the folder itself.
                if not relative or path == folder:
                    continue
                item = _item(relative, parent, info)
                if item is None:
                    what = NotImplementedError("neither a file, a folder nor a link")
                    yield Unreadable(relative, what, relative.encode("utf-8", "surrogateescape"))
                    continue
                yield Upsert(item)
                if item.kind == "folder":
                    waiting.append((item.id, path))

    def open(self, item: Item, stream: str) -> Any:
        """Open a file."""
        if stream != "content" or not item.streams:
            raise FileNotFoundError(stream)
        path = os.fsdecode(item.id)
        return self._fs.open(f"{self._root}/{path}", "rb", cache_type="none")


def _item(relative: str, parent: bytes, info: dict[str, Any]) -> Item | None:
    identity = relative.encode("utf-8", "surrogateescape")
    name = relative.rpartition("/")[2]
    modified = _modified_ns(info)
    if info.get("islink"):
        target = info.get("destination", "")
        target = target if isinstance(target, bytes) else os.fsencode(target)
        attributes = {"link_target": target}
        return Item(id=identity, parent=parent, name=name, kind="symlink", modified_ns=modified, attributes=attributes)
    if info["type"] == "directory":
        return Item(id=identity, parent=parent, name=name, kind="folder", modified_ns=modified)
    if info["type"] != "file":
        return None
    size = info.get("size")
    stream = Stream(name="content", size=size)
    return Item(
        id=identity, parent=parent, name=name, modified_ns=modified, tag=_tag(info, modified), streams=(stream,)
    )


def _tag(info: dict[str, Any], modified: int | None) -> bytes:
    """What changes with a file's bytes; nothing if the file system has no such thing."""
    for name in ("ETag", "etag", "md5Hash", "content_md5", "checksum"):
        if info.get(name):
            return f"{info[name]}/{info.get('size')}".encode()[:256]
    return b"" if modified is None or info.get("size") is None else f"{modified}/{info['size']}".encode()
