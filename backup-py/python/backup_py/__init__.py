"""Encrypted, deduplicated backups: an engine that programs embed.

    import backup_py

    with backup_py.Repository.open("/mnt/backup/repository", passphrase=passphrase) as repository:
        done = repository.backup(backup_py.FolderSource("/srv/data"))
        repository.restore(done.snapshot, backup_py.FolderSink("/srv/restored"))

Methods block until they are done, while other threads go on; those that may take long have a twin for `asyncio` with
`_async` behind its name. Whatever goes wrong is a `BackupError`. Results are frozen dataclasses.
"""

from __future__ import annotations

import logging

from ._backup import (
    Browser,
    CancelToken,
    Differences,
    FolderSink,
    FolderSource,
    Listing,
    Repository,
    __version__,
)
from .exceptions import (
    AlreadyExistsError,
    BackupError,
    BugError,
    CanceledError,
    ChangedWhileReadingError,
    CorruptError,
    CursorExpiredError,
    ExtensionError,
    FencedError,
    InvalidArgumentError,
    IoError,
    LimitExceededError,
    MissingError,
    NewerFormatError,
    NotARepositoryError,
    NotFoundError,
    OutOfSpaceError,
    PermissionDeniedError,
    RolledBackError,
    SourceMismatchError,
    ThrottledError,
    UnauthenticatedError,
    UnavailableError,
    UnsafeStoreError,
    UnsupportedError,
    WrongKeyError,
)
from .results import (
    BackupReport,
    Collection,
    Conflict,
    Decision,
    Difference,
    Finding,
    Item,
    Phase,
    Problem,
    Progress,
    PruneReport,
    RecordedProblem,
    RestoreReport,
    SnapshotInfo,
    SnapshotState,
    SnapshotStats,
    SnapshotSummary,
    Stream,
    Value,
    VerifyLevel,
    VerifyReport,
)

__all__ = [
    "AlreadyExistsError",
    "BackupError",
    "BackupReport",
    "Browser",
    "BugError",
    "CancelToken",
    "CanceledError",
    "ChangedWhileReadingError",
    "Collection",
    "Conflict",
    "CorruptError",
    "CursorExpiredError",
    "Decision",
    "Difference",
    "Differences",
    "ExtensionError",
    "FencedError",
    "Finding",
    "FolderSink",
    "FolderSource",
    "InvalidArgumentError",
    "IoError",
    "Item",
    "LimitExceededError",
    "Listing",
    "MissingError",
    "NewerFormatError",
    "NotARepositoryError",
    "NotFoundError",
    "OutOfSpaceError",
    "PermissionDeniedError",
    "Phase",
    "Problem",
    "Progress",
    "PruneReport",
    "RecordedProblem",
    "Repository",
    "RestoreReport",
    "RolledBackError",
    "SnapshotInfo",
    "SnapshotState",
    "SnapshotStats",
    "SnapshotSummary",
    "SourceMismatchError",
    "Stream",
    "ThrottledError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnsafeStoreError",
    "UnsupportedError",
    "Value",
    "VerifyLevel",
    "VerifyReport",
    "WrongKeyError",
    "__version__",
]

# Who sets up no logging hears nothing: without this, Python prints warnings by itself.
logging.getLogger(__name__).addHandler(logging.NullHandler())
