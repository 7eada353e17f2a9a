"""The exceptions of this package: one class for each kind of error, all of them a `BackupError`.

A class is also what Python itself would raise for the same reason, so code that knows nothing of backups catches it
too: `NotFoundError` is a `FileNotFoundError`, `InvalidArgumentError` a `ValueError`. The numbers are permanent and the
same in Rust and C. A mistake in the type of an argument is a `TypeError`, as everywhere in Python.

    try:
        repository.backup(source)
    except backup_py.BackupError as error:
        if error.retryable:
            time.sleep(error.retry_after or 60)
"""

from __future__ import annotations

import errno as _errno
from collections.abc import Callable

__all__ = [
    "AlreadyExistsError",
    "BackupError",
    "BugError",
    "CanceledError",
    "ChangedWhileReadingError",
    "CorruptError",
    "CursorExpiredError",
    "ExtensionError",
    "FencedError",
    "InvalidArgumentError",
    "IoError",
    "LimitExceededError",
    "MissingError",
    "NewerFormatError",
    "NotARepositoryError",
    "NotFoundError",
    "OutOfSpaceError",
    "PermissionDeniedError",
    "RolledBackError",
    "SourceMismatchError",
    "ThrottledError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnsafeStoreError",
    "UnsupportedError",
    "WrongKeyError",
]


class BackupError(Exception):
    """Whatever goes wrong in this package; a kind that has no class of its own comes from a newer engine.

    The text is one line without a full stop. The cause, where there is one, is in `__cause__`. Tracebacks also show the
    hint (Python 3.11 and newer).
    """

    code: int = 0
    """The permanent number of the kind."""
    hint: str = ""
    """What to do about it, in one line."""
    retryable: bool = False
    """Whether the same call may succeed later without anybody changing anything."""
    retry_after: float | None = None
    """Seconds to wait before the next try, where the other side said so."""
    item: str | None = None
    """Path, id or object name that it is about, where known."""

    _errno: int | None = None

    def __init__(
        self,
        message: str = "",
        *,
        code: int | None = None,
        hint: str | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
        item: str | None = None,
    ) -> None:
        # With a single argument OSError, a base of some subclasses, takes it as the text and sets no errno.
        super().__init__(message)
        self.code = type(self).code if code is None else code
        self.hint = type(self).hint if hint is None else hint
        self.retryable = type(self).retryable if retryable is None else retryable
        self.retry_after = retry_after
        self.item = item
        if isinstance(self, OSError) and self._errno is not None:
            _set_errno(self, self._errno, message)
        if self.hint and hasattr(self, "add_note"):
            self.add_note(f"hint: {self.hint}")

    def __str__(self) -> str:
        # OSError would put its errno in front.
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> tuple[Callable[..., BackupError], tuple[object, ...]]:
        fields = (self.code, self.hint, self.retryable, self.retry_after, self.item)
        return _rebuild, (type(self), str(self), *fields)


class InvalidArgumentError(BackupError, ValueError):
    """An argument has no meaning here: an option that does not exist, a name that is too long, a closed handle."""

    code = 1


class UnsupportedError(BackupError):
    """The request is understood, but this build, store or service cannot do it."""

    code = 2


class CanceledError(BackupError):
    """A token canceled the run. What a backup had stored is kept in a checkpoint. (Not `asyncio.CancelledError`.)"""

    code = 3


class LimitExceededError(BackupError):
    """A bound of the format or of the engine was exceeded."""

    code = 4


class NotFoundError(BackupError, FileNotFoundError):
    """Something asked for by name is not there: a snapshot, a path, a stream."""

    code = 10
    _errno = _errno.ENOENT


class AlreadyExistsError(BackupError, FileExistsError):
    """Something that was to be created is there already."""

    code = 11
    _errno = _errno.EEXIST


class PermissionDeniedError(BackupError, PermissionError):
    """The other side refused for lack of rights."""

    code = 12
    _errno = _errno.EACCES


class ThrottledError(BackupError):
    """The other side asks for fewer requests; `retry_after` may say when to come back."""

    code = 13
    retryable = True


class UnavailableError(BackupError, ConnectionError):
    """The other side could not be reached, or failed in a way that may pass."""

    code = 14
    retryable = True


class OutOfSpaceError(BackupError, OSError):
    """No space is left where something was to be written."""

    code = 15
    _errno = _errno.ENOSPC


class IoError(BackupError, OSError):
    """The operating system or a library reported a failure that fits no other kind."""

    code = 16
    _errno = _errno.EIO


class UnauthenticatedError(BackupError):
    """The credentials for the service were refused or have expired."""

    code = 17


class WrongKeyError(BackupError):
    """No key slot opens with the given passphrase or key."""

    code = 20


class CorruptError(BackupError):
    """Stored bytes are not what was written: flipped, cut, swapped, renamed or replayed."""

    code = 21


class NewerFormatError(BackupError):
    """The repository was written by a newer version of the format."""

    code = 22


class RolledBackError(BackupError):
    """The store shows an older state than the one that `known_head` names, or another repository."""

    code = 23


class NotARepositoryError(BackupError):
    """There is no repository at this place."""

    code = 24


class MissingError(BackupError):
    """An object that the repository needs is gone from the store."""

    code = 25


class FencedError(BackupError):
    """A prune took away, while a backup was under way, what it relied on. Run it again."""

    code = 26


class UnsafeStoreError(BackupError):
    """The store does not do what keeping data safe needs; the message says what. Nothing was created there."""

    code = 27


class ChangedWhileReadingError(BackupError):
    """The content changed while it was read; the copy may mix two states."""

    code = 30


class SourceMismatchError(BackupError):
    """The content received is not what the source announced."""

    code = 31


class CursorExpiredError(BackupError):
    """The service forgot the cursor; a full enumeration is needed."""

    code = 32


class ExtensionError(BackupError):
    """A source, sink or store of the embedding program failed or broke its contract."""

    code = 40


class BugError(BackupError):
    """A promise of the engine's own code was broken. Please report it. What it happened in cannot be used any more."""

    code = 99


_BY_CODE: dict[int, type[BackupError]] = {
    kind.code: kind
    for kind in (
        InvalidArgumentError,
        UnsupportedError,
        CanceledError,
        LimitExceededError,
        NotFoundError,
        AlreadyExistsError,
        PermissionDeniedError,
        ThrottledError,
        UnavailableError,
        OutOfSpaceError,
        IoError,
        UnauthenticatedError,
        WrongKeyError,
        CorruptError,
        NewerFormatError,
        RolledBackError,
        NotARepositoryError,
        MissingError,
        FencedError,
        UnsafeStoreError,
        ChangedWhileReadingError,
        SourceMismatchError,
        CursorExpiredError,
        ExtensionError,
        BugError,
    )
}


def _of(
    code: int,
    message: str,
    hint: str,
    retryable: bool,
    retry_after: float | None,
    item: str | None,
    causes: list[tuple[int | None, str, BaseException | None]],
) -> BackupError:
    """Make the exception of an engine's error; the extension module calls it. Causes come outermost first."""
    kind = _BY_CODE.get(code, BackupError)
    error = kind(message, code=code, hint=hint, retryable=retryable, retry_after=retry_after, item=item)
    below: BaseException = error
    for number, text, original in causes:
        below.__cause__ = original or (Exception(text) if number is None else OSError(number, text))
        below = below.__cause__
    return error


def _set_errno(error: OSError, number: int, text: str) -> None:
    error.errno, error.strerror = number, text


def _rebuild(
    kind: type[BackupError],
    message: str,
    code: int,
    hint: str,
    retryable: bool,
    retry_after: float | None,
    item: str | None,
) -> BackupError:
    return kind(message, code=code, hint=hint, retryable=retryable, retry_after=retry_after, item=item)
