"""Files over streams of a snapshot; `Browser.open` makes them."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from ._backup import Browser

__all__ = ["SnapshotFile"]

_READ_BYTES_MAX = 16 << 20
"""What is in memory at once, whatever is asked for."""


class SnapshotFile(io.RawIOBase):
    """A stream of an item of a snapshot as a raw file: it can be read and seeks, and cannot be written.

    Each read fetches the frames that it touches, and gives at most 16 MiB. Reading raises `CorruptError` or `MissingError` for damage, and `InvalidArgumentError` once the
    repository is closed.
    """

    def __init__(self, browser: Browser, item: bytes, stream: str, size: int, name: str) -> None:
        super().__init__()
        self._browser, self._item, self._stream = browser, item, stream
        self._at = 0
        self.size = size
        self.name = name

    size: int
    """Length in bytes."""
    name: str
    """The path that was opened, or the name of the item."""
    mode = "rb"
    """How it is open: for reading bytes."""

    def __repr__(self) -> str:
        return f"<backup_py.SnapshotFile {self.name!r}>"

    def readable(self) -> bool:
        """Whether it can be read: yes."""
        return True

    def seekable(self) -> bool:
        """Whether it seeks: yes."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a position, from the start, from here or from the end. What lies behind the end reads as empty."""
        self._check()
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}.get(whence)
        if base is None:
            raise ValueError(f"invalid whence: {whence}")
        if base + offset < 0:
            raise ValueError(f"negative seek position: {base + offset}")
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Tell the position."""
        self._check()
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """Read at most `size` bytes, or everything from here on."""
        self._check()
        left = max(0, self.size - self._at)
        if size is None or size < 0:
            return self.readall()
        return self._read(min(size, left, _READ_BYTES_MAX))

    def readall(self) -> bytes:
        """Read everything from here on."""
        self._check()
        return self._read(max(0, self.size - self._at))

    def readinto(self, buffer: Buffer, /) -> int:
        """Read into a buffer."""
        target = memoryview(buffer).cast("B")
        data = self.read(len(target))
        target[: len(data)] = data
        return len(data)

    def write(self, data: Buffer, /) -> NoReturn:
        """Refuse: a snapshot is read-only."""
        raise io.UnsupportedOperation("not writable")

    def _read(self, length: int) -> bytes:
        if length == 0:
            return b""
        data = self._browser.read(self._item, stream=self._stream, offset=self._at, length=length)
        self._at += len(data)
        return data

    def _check(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")


def _open(browser: Browser, item: bytes, stream: str, size: int, name: str, buffer_size: int) -> io.BufferedReader:
    """Make a file; the extension module calls it."""
    return io.BufferedReader(SnapshotFile(browser, item, stream, size, name), buffer_size)
