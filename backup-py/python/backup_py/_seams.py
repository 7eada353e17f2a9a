"""The threads that serve sources, sinks and stores written in Python; the extension module starts them.

They are Python's own: what is called from here has no frame of the extension module below it, so that the interpreter may
end in the middle of a call. See `seams` in the extension module.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import itertools
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from typing import Any, Protocol

from .exceptions import InvalidArgumentError
from .protocols import Place, Placement, StreamReader

_CHANGES_MAX = 256
"""Most values of an iterator that are taken at once."""
_BATCH_SECONDS = 0.01
"""Time after which those are handed over that there are."""
_PIECE_BYTES = 1 << 20
"""What is read at once."""
_TICK_SECONDS = 0.1
"""How often is looked whether a coroutine is still wanted."""


class _Call(Protocol):
    method: str

    def arguments(self) -> tuple[Any, ...]: ...
    def give(self, value: object) -> None: ...
    def fail(self, error: BaseException) -> None: ...


class _Window(Protocol):
    closed: bool

    def next(self) -> _Call | None: ...
    def release(self) -> None: ...
    def close(self) -> None: ...


def _start(window: _Window, target: Any, role: str, on_loop: bool, threads: int) -> None:
    loops = _Loops(window, asyncio.get_running_loop() if on_loop else None)
    server = {"source": _Source, "sink": _Sink, "store": _Store}[role](target, loops)
    left = itertools.count(1)

    def serve() -> None:
        try:
            while (call := window.next()) is not None:
                _answer(call, server)
                del call
        finally:
            # The last one turns off the light.
            if next(left) == threads:
                window.close()
                server.leave()

    for number in range(threads):
        try:
            threading.Thread(target=serve, name=f"backup-{role}-{number}", daemon=True).start()
        except BaseException:
            window.close()
            raise


def _answer(call: _Call, server: _Server) -> None:
    try:
        call.give(getattr(server, call.method)(*call.arguments()))
    except BaseException as error:
        call.fail(error)


class _Loops:
    """Runs coroutines: on the caller's event loop, or on one of our own."""

    def __init__(self, window: _Window, loop: asyncio.AbstractEventLoop | None) -> None:
        self.window, self._loop = window, loop
        self._own: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    def run(self, awaitable: Awaitable[Any]) -> Any:
        coroutine = awaitable if inspect.iscoroutine(awaitable) else _await(awaitable)
        try:
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop or self._start())
        except BaseException:
            coroutine.close()
            raise
        while not concurrent.futures.wait([future], _TICK_SECONDS).done:
            if self.window.closed:
                future.cancel()
                break
        return future.result()

    def _start(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._own is None:
                self._own = asyncio.new_event_loop()
                threading.Thread(target=_run_loop, args=(self._own,), name="backup-loop", daemon=True).start()
            return self._own

    def leave(self) -> None:
        if self._own is not None:
            self._own.call_soon_threadsafe(self._own.stop)


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _bytes(piece: Any) -> bytes:
    """Bytes that nobody changes any more."""
    if isinstance(piece, bytes):
        return piece
    try:
        return bytes(memoryview(piece))
    except TypeError:
        raise TypeError(f"expected bytes or another buffer, not {type(piece).__name__}") from None


def _count(value: object) -> float:
    weight = 1 / _CHANGES_MAX
    contents = getattr(value, "contents", None)
    if contents:
        # What is no mapping of buffers is refused, with its reason, where it is taken.
        along = contents.values() if isinstance(contents, Mapping) else ()
        weight += sum(len(each) for each in along if isinstance(each, bytes | bytearray | memoryview)) / _PIECE_BYTES
    return weight


def _length(piece: bytes) -> float:
    return len(piece) / _PIECE_BYTES


class _Batches:
    """An iterator that is taken from in batches."""

    def __init__(
        self,
        values: Any,
        loops: _Loops,
        weigh: Callable[[Any], float],
        convert: Callable[[Any], Any] | None = None,
        close: Any = None,
    ) -> None:
        self._loops, self._weigh, self._convert = loops, weigh, convert
        self._close = getattr(values, "close", None) if close is None else close
        self.is_stream = convert is not None
        self._error: BaseException | None = None
        self._values: Iterator[Any] | None = None
        self._later: AsyncIterator[Any] | None = None
        if hasattr(values, "__aiter__"):
            self._later = values.__aiter__()
            self._close = getattr(values, "aclose", None)
        else:
            self._values = iter(values)

    def next(self) -> tuple[list[Any], bool]:
        """Give the next values, and whether they are the last. An error comes after what was ready before it."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        taken: list[Any] = []
        try:
            ended = self._fill(taken) if self._values is not None else self._loops.run(self._fill_later(taken))
        except BaseException as error:
            if not taken:
                raise
            self._error = error
            return taken, False
        return taken, ended

    def _fill(self, taken: list[Any]) -> bool:
        assert self._values is not None
        until, weight = time.monotonic() + _BATCH_SECONDS, 0.0
        for value in self._values:
            if self._convert is not None:
                value = self._convert(value)
            taken.append(value)
            weight += self._weigh(value)
            if weight >= 1 or time.monotonic() >= until:
                return False
        return True

    async def _fill_later(self, taken: list[Any]) -> bool:
        assert self._later is not None
        until, weight = time.monotonic() + _BATCH_SECONDS, 0.0
        while weight < 1 and time.monotonic() < until:
            try:
                value = await self._later.__anext__()
            except StopAsyncIteration:
                return True
            if self._convert is not None:
                value = self._convert(value)
            taken.append(value)
            weight += self._weigh(value)
        return False

    def close(self) -> None:
        """Let generators and files tidy up."""
        close, self._close = self._close, None
        if close is not None:
            result = close()
            if inspect.isawaitable(result):
                self._loops.run(result)


class _Server:
    """Makes calls of an object."""

    def __init__(self, target: Any, loops: _Loops) -> None:
        self._target, self._loops = target, loops
        self._running: dict[int, _Batches] = {}
        self._numbers = itertools.count(1)

    def _done(self, result: Any) -> Any:
        """Wait for a coroutine's result."""
        return self._loops.run(result) if inspect.isawaitable(result) else result

    def _iterate(self, values: Any, name: str) -> int:
        if isinstance(values, Coroutine):
            values = self._done(values)
        if not (hasattr(values, "__iter__") or hasattr(values, "__aiter__")) or isinstance(values, str):
            raise TypeError(f"{name} must be a generator or return an iterable, not {type(values).__name__}")
        return self._keep(_Batches(values, self._loops, _count))

    def _keep(self, batches: _Batches) -> int:
        number = next(self._numbers)
        self._running[number] = batches
        return number

    def batch(self, number: int) -> tuple[list[Any], bool]:
        batches = self._running.get(number)
        if batches is None:
            return [], True
        try:
            values, ended = batches.next()
        except BaseException:
            self.forget(number)
            raise
        if ended:
            self.forget(number)
        return values, ended

    def forget(self, number: int) -> None:
        batches = self._running.pop(number, None)
        if batches is not None:
            try:
                batches.close()
            finally:
                if batches.is_stream:
                    self._loops.window.release()

    def leave(self) -> None:
        """End what was not read to its end. Nobody is left who could be told of errors."""
        for number in list(self._running):
            try:
                self.forget(number)
            except Exception:
                continue
        self._loops.leave()


class _Source(_Server):
    def changes(self, cursor: bytes | None) -> int:
        return self._iterate(self._target.changes(cursor), "changes")

    def open(self, item: object, stream: str) -> tuple[int | None, list[bytes], int | None]:
        kept = False
        try:
            opened = self._open(item, stream)
            kept = opened[2] is not None
            return opened
        finally:
            if not kept:
                self._loops.window.release()

    def _open(self, item: object, stream: str) -> tuple[int | None, list[bytes], int | None]:
        content = self._done(self._target.open(item, stream))
        if isinstance(content, bytes):
            return len(content), [content], None
        batches = self._batches(content)
        if isinstance(batches, bytes):
            return len(batches), [batches], None
        try:
            pieces, ended = batches.next()
        except BaseException:
            batches.close()
            raise
        if ended:
            batches.close()
            return None, pieces, None
        return None, pieces, self._keep(batches)

    def _batches(self, content: Any) -> _Batches | bytes:
        if hasattr(content, "read"):
            return _Batches(self._reads(content.read), self._loops, _length, _bytes, getattr(content, "close", None))
        if not isinstance(content, str):
            try:
                return bytes(memoryview(content))
            except TypeError:
                pass
            if hasattr(content, "__iter__") or hasattr(content, "__aiter__"):
                return _Batches(content, self._loops, _length, _bytes)
        raise TypeError(
            f"open must return bytes, another buffer, a file or an iterator of buffers, not {type(content).__name__}"
        )

    def _reads(self, read: Callable[[int], Any]) -> Iterator[bytes]:
        while piece := _bytes(self._done(read(_PIECE_BYTES))):
            yield piece

    def cursor_without(self, cursor: bytes, missed: list[bytes]) -> bytes | None:
        result = self._done(self._target.cursor_without(cursor, missed))
        return None if result is None else _bytes(result)

    def metrics(self) -> Any:
        return self._done(self._target.metrics())


class _Sink(_Server):
    def put(self, item: Any, parent: bytes | None, conflict: Any, link: bytes | None, reader: Any) -> Placement:
        contents = _Contents(reader)
        try:
            result = self._done(self._target.put(item, Place(parent, conflict, link), contents))
        finally:
            contents.close()
        return Placement(item.id) if result is None else result

    def close_container(self, item: object, placed: bytes) -> None:
        self._done(self._target.close_container(item, placed))

    def finish(self) -> None:
        self._done(self._target.finish())


class _Contents:
    """The streams of an item that is being put."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self._opened: list[StreamReader] = []

    def open(self, stream: str = "content", /) -> StreamReader:
        opened = StreamReader(self._reader, stream)
        self._opened.append(opened)
        return opened

    def close(self) -> None:
        for opened in self._opened:
            opened.close()


class _Store(_Server):
    def create(self, key: str, data: bytes) -> bool:
        try:
            created = self._target.create(key, data)
        except FileExistsError:
            return False
        if not isinstance(created, bool):
            raise TypeError(f"create must return True or False, not {type(created).__name__}")
        return created

    def read(self, key: str, start: int, end: int | None) -> bytes:
        data = _bytes(self._target.read(key, start, end))
        if end is not None and len(data) != end - start:
            raise InvalidArgumentError(f"the range {start} to {end} reads {len(data)} bytes", item=key)
        return data

    def size(self, key: str) -> int:
        size = self._target.size(key)
        if not isinstance(size, int) or size < 0:
            raise TypeError(f"size must return a length in bytes, not {size!r:.40}")
        return size

    def list(self, prefix: str) -> int:
        return self._iterate(self._target.list(prefix), "list")

    def delete(self, key: str) -> None:
        self._target.delete(key)
