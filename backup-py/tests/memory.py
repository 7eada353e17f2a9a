"""A source, a sink and a store in memory, written against the protocols alone; tests misuse and break them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from backup_py import (
    Change,
    Collection,
    Contents,
    Cursor,
    Entry,
    InvalidArgumentError,
    Item,
    Place,
    Placement,
    Remove,
    Reset,
    Stream,
    Upsert,
)

TOP = b"top"


class MemorySource:
    """Files in folders, with a history from which changes since a cursor are told."""

    collection = Collection(id="memory:test", kind="test")

    def __init__(self, files: Mapping[str, bytes] | None = None) -> None:
        """Begin with these files, by path."""
        self.items: dict[bytes, Item] = {TOP: Item(id=TOP, name="top", kind="folder")}
        self.bytes: dict[bytes, bytes] = {}
        self.history: list[bytes] = [TOP]
        self.opened: list[bytes] = []
        for path, content in (files or {}).items():
            self.put(path, content)

    def put(self, path: str, content: bytes) -> None:
        """Write a file, and make its folders."""
        parent = TOP
        parts = path.split("/")
        for depth, name in enumerate(parts[:-1]):
            folder = "/".join(parts[: depth + 1]).encode()
            if folder not in self.items:
                self._set(Item(id=folder, parent=parent, name=name, kind="folder"))
            parent = folder
        identity = path.encode()
        tag = b"%d" % len(self.history)
        streams = (Stream(name="content", size=len(content)),)
        self._set(Item(id=identity, parent=parent, name=parts[-1], tag=tag, streams=streams, modified_ns=5_000_000_007))
        self.bytes[identity] = content

    def remove(self, path: str) -> None:
        """Delete a file."""
        del self.items[path.encode()]
        self.history.append(path.encode())

    def _set(self, item: Item) -> None:
        self.items[item.id] = item
        self.history.append(item.id)

    def changes(self, cursor: bytes | None, /) -> Iterator[Change]:
        """Give what changed."""
        since = 0
        if cursor is not None:
            known = cursor.isdigit() and int(cursor) <= len(self.history)
            if known:
                since = int(cursor)
            else:
                yield Reset()
        for identity in dict.fromkeys(self.history[since:]):
            item = self.items.get(identity)
            if item is not None:
                yield Upsert(item)
            elif since:
                yield Remove(identity)
        yield Cursor(b"%d" % len(self.history))

    def open(self, item: Item, stream: str, /) -> Any:
        """Open a file."""
        if stream != "content" or item.id not in self.bytes:
            raise FileNotFoundError(stream)
        self.opened.append(item.id)
        return self.bytes[item.id]


class MemorySink:
    """Keeps what is put, by path."""

    def __init__(self) -> None:
        """Begin empty."""
        self.tree: dict[str, bytes | None] = {}
        self.items: dict[str, Item] = {}
        self.closed: list[str] = []
        self.finished = 0

    def put(self, item: Item, place: Place, contents: Contents, /) -> Placement:
        """Put an item."""
        above = "" if place.parent is None else place.parent.decode("utf-8", "surrogateescape")
        if item.name in (".", "..") or "/" in item.name:
            raise PermissionError(item.name)
        path = f"{above}/{item.name}".lstrip("/")
        there = path in self.tree
        if item.kind == "folder":
            if there and self.tree[path] is not None:
                raise FileExistsError(path)
            self.tree.setdefault(path, None)
            self.items[path] = item
            return Placement(path.encode("utf-8", "surrogateescape"), "skipped" if there else "created")
        action = "created"
        if there:
            if place.conflict == "skip":
                return Placement(path.encode(), "skipped")
            if place.conflict == "replace":
                if self.tree[path] is None:
                    raise IsADirectoryError(path)
                action = "replaced"
            else:
                action = "renamed"
                number = 2
                while f"{path} ({number})" in self.tree:
                    number += 1
                path = f"{path} ({number})"
        if place.link is not None:
            content = self.tree[place.link.decode()]
        elif item.streams:
            content = b"".join(contents.open())
        else:
            content = b""
        self.tree[path] = content
        self.items[path] = item
        return Placement(path.encode("utf-8", "surrogateescape"), action)  # type: ignore[arg-type]

    def close_container(self, item: Item, placed: bytes, /) -> None:
        """Note that a folder is complete."""
        self.closed.append(placed.decode())

    def finish(self) -> None:
        """Note the end."""
        self.finished += 1


class MemoryStore:
    """A store."""

    concurrency = 4

    def __init__(self) -> None:
        """Begin empty."""
        self.objects: dict[str, bytes] = {}
        self.lock = threading.Lock()

    def create(self, key: str, data: bytes, /) -> bool:
        """Create an object."""
        with self.lock:
            if key in self.objects:
                return False
            self.objects[key] = data
            return True

    def read(self, key: str, start: int, end: int | None, /) -> bytes | memoryview:
        """Read an object."""
        data = self._get(key)
        end = len(data) if end is None else end
        if not start <= end <= len(data):
            raise InvalidArgumentError("outside")
        return memoryview(data)[start:end]

    def size(self, key: str, /) -> int:
        """Tell a length."""
        return len(self._get(key))

    def list(self, prefix: str, /) -> Iterator[Entry]:
        """List objects."""
        for key, data in list(self.objects.items()):
            if key == prefix or key.startswith(f"{prefix}/"):
                yield Entry(key, len(data), 1_700_000_000_000_000_000)

    def delete(self, key: str, /) -> None:
        """Delete an object."""
        self.objects.pop(key, None)

    def _get(self, key: str) -> bytes:
        try:
            return self.objects[key]
        except KeyError:
            raise FileNotFoundError(key) from None


def renamed(source: MemorySource, collection: str) -> MemorySource:
    """Give the source another collection."""
    source.collection = replace(source.collection, id=collection)
    return source
