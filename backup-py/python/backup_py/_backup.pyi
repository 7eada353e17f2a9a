"""The extension module. Import its names from `backup_py`.

Strings are text, sizes are bytes, ids of snapshots are 32 hexadecimal digits. Whatever goes wrong raises a
`backup_py.BackupError`. All objects may be used from several threads at once.
"""

from asyncio import Future
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from io import BufferedReader
from os import PathLike
from types import TracebackType
from typing import NoReturn, final

from .protocols import Sink, Source, Store
from .results import (
    BackupReport,
    Conflict,
    Decision,
    Difference,
    Item,
    Progress,
    PruneReport,
    RestoreReport,
    SnapshotInfo,
    SnapshotSummary,
    VerifyLevel,
    VerifyReport,
)

__all__ = [
    "Browser",
    "CancelToken",
    "Differences",
    "FolderSink",
    "FolderSource",
    "Listing",
    "Repository",
    "__version__",
    "_panic_for_tests",
]

__version__: str

def _panic_for_tests() -> None:
    """Panics on a run's thread, to prove what becomes of it."""

@final
class Repository:
    """An open repository.

    Made by `init` and `open`. Closed by `close`, by `with` or by `async with`; nothing that calls have returned is lost
    when it is not.

        with Repository.open("/mnt/backup", passphrase=passphrase) as repository:
            repository.backup(FolderSource("/srv/data"))

    Methods block the calling thread and no other. Ctrl-C ends them within a second; a backup leaves a checkpoint if the
    store is quick enough. The methods with `_async` behind their name return an `asyncio.Future` and need a running event
    loop; the work starts at once. Canceling the future cancels the run, which then has five seconds in the background to
    leave its checkpoint.

    `on_progress` is called with a `Progress` at most ten times a second and whenever the phase changes: on the thread
    that waits, or on the event loop, in the caller's context. The run waits for it, so it should be quick. An exception
    that it raises cancels the run and is raised unchanged. `cancel` is a token that stops the run; a run that its
    callback or Ctrl-C stops cancels its token.
    """

    @staticmethod
    def init(
        url: str | PathLike[str] | Store,
        *,
        passphrase: str | bytes | bytearray | None = None,
        raw_key: bytes | bytearray | None = None,
        options: Mapping[str, str] | None = None,
        kdf_memory_kib: int | None = None,
        kdf_passes: int | None = None,
        kdf_lanes: int | None = None,
    ) -> Repository:
        """Creates a repository in an empty store and opens it.

        `url` is a path or `file:///path`, `memory://`, `s3://bucket/prefix`, `az://container/prefix` or
        `gs://bucket/prefix`. `options` are the store's (`aws_region`, `allow_http`, `timeout` and so on; docs/python.md);
        none is ever ignored, and none comes from the environment.

        Give either a `passphrase`, of which `str` is taken as UTF-8, or a `raw_key` of 32 unpredictable bytes. The
        library wipes its copies. Who loses it loses all backups.

        `kdf_memory_kib` (64 MiB), `kdf_passes` (3) and `kdf_lanes` (4) say what stretching the passphrase costs at each
        opening; more makes guessing dearer, less than the default is refused.

        Raises `AlreadyExistsError` if there is a repository, `UnsafeStoreError` if backups would not be safe at this place,
        `InvalidArgumentError` for an option that does not exist, `UnsupportedError` for an unknown kind of store, and what the
        store reports.
        """

    @staticmethod
    def init_async(
        url: str | PathLike[str] | Store,
        *,
        passphrase: str | bytes | bytearray | None = None,
        raw_key: bytes | bytearray | None = None,
        options: Mapping[str, str] | None = None,
        kdf_memory_kib: int | None = None,
        kdf_passes: int | None = None,
        kdf_lanes: int | None = None,
    ) -> Future[Repository]:
        """Does what `init` does, for `await`."""

    @staticmethod
    def open(
        url: str | PathLike[str] | Store,
        *,
        passphrase: str | bytes | bytearray | None = None,
        raw_key: bytes | bytearray | None = None,
        options: Mapping[str, str] | None = None,
        known_head: str | None = None,
        index_cache: str | PathLike[str] | None = None,
    ) -> Repository:
        """Opens a repository.

        `url`, `passphrase`, `raw_key` and `options` as for `init`. `known_head` is what `head` was when this client last
        used the repository, kept outside the store: a store that shows an older state or another repository is refused.
        `index_cache` is a folder on a local disk, made if need be, where the index is kept in mapped files instead of memory:
        the next opening reads only what is new. It may be shared by programs, deleted and lost.

        Raises `NotARepositoryError` if there is none, `WrongKeyError`, `RolledBackError`, `NewerFormatError`,
        `CorruptError` or `MissingError` for damage, and what the store reports.
        """

    @staticmethod
    def open_async(
        url: str | PathLike[str] | Store,
        *,
        passphrase: str | bytes | bytearray | None = None,
        raw_key: bytes | bytearray | None = None,
        options: Mapping[str, str] | None = None,
        known_head: str | None = None,
        index_cache: str | PathLike[str] | None = None,
    ) -> Future[Repository]:
        """Does what `open` does, for `await`."""

    @property
    def id(self) -> str:
        """The repository's id, 32 hexadecimal digits. Known also when it is closed."""

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""

    @property
    def head(self) -> str:
        """The end of the log as known now, as text.

        Keep it outside the store and give it to `open` as `known_head`. It begins with the number of commits.
        """

    def close(self) -> None:
        """Closes the repository and forgets its keys.

        Runs that are under way on other threads go on to their end. Everything else made from the repository raises
        `InvalidArgumentError` from now on. Closing again does nothing.
        """

    def __enter__(self) -> Repository: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...
    def __aenter__(self) -> Future[Repository]: ...
    def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> Future[None]: ...
    def refresh(self) -> None:
        """Reads what other writers have committed since.

        Raises what the store reports, or `CorruptError` for damage of the log.
        """

    def snapshots(self) -> list[SnapshotSummary]:
        """All snapshots in the order of their commits, without checkpoints.

        Costs no request: it is the state at the opening, the last `refresh` or the last backup.
        """

    def latest(self, collection: str) -> SnapshotSummary | None:
        """The newest snapshot of the collection with this id, or `None`.

        Costs no request. The id of a folder's collection is `FolderSource.collection`.
        """

    def snapshot(self, snapshot: str) -> SnapshotInfo:
        """All that a snapshot says of itself. One request.

        Raises `NotFoundError` if there is no such snapshot.
        """

    def backup(
        self,
        source: FolderSource | Source,
        *,
        labels: Mapping[str, str] | None = None,
        full: bool = False,
        checkpoint_bytes: int | None = None,
        cancel: CancelToken | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> BackupReport:
        """Backs up a source: a new snapshot.

        `labels` are names and values of your own that the snapshot keeps, each of at most 1,024 bytes. `full` enumerates
        everything although the source could tell what changed. `checkpoint_bytes` are the stored bytes after which an
        interrupted run loses nothing (512 MiB; at least 1 MiB).

        Items that cannot be read are no exception: the report names them, and the snapshot is `incomplete`.

            done = repository.backup(FolderSource("/srv/data"), labels={"host": "web-1"})
            for problem in done.problems:
                print(problem)

        Raises `CanceledError` if `cancel` stopped it, and what ends a run as a whole: a source that is gone, a store
        that fails. What was stored until then is used by the next run.
        """

    def backup_async(
        self,
        source: FolderSource | Source,
        *,
        labels: Mapping[str, str] | None = None,
        full: bool = False,
        checkpoint_bytes: int | None = None,
        cancel: CancelToken | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Future[BackupReport]:
        """Does what `backup` does, for `await`."""

    def restore(
        self,
        snapshot: str,
        sink: FolderSink | Sink,
        *,
        only: str | Iterable[str] = (),
        exclude: str | Iterable[str] = (),
        conflict: Conflict = "skip",
        cancel: CancelToken | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> RestoreReport:
        """Restores a snapshot to a sink.

        `only` and `exclude` are glob patterns over whole paths: what to restore and what to leave out, each with all
        below it; `exclude` wins. `*` and `?` stop at `/`, `**` does not, `{a,b}` and `[a-z]` choose. `conflict` says what
        to do where a name is taken.

            repository.restore(snapshot, FolderSink("/tmp/out"), only=["inbox/2026", "**/*.pdf"])

        Items that cannot be restored are no exception: the report names them.

        Raises `NotFoundError` for the snapshot, `InvalidArgumentError` for a pattern that is none, `CanceledError`, and
        what ends a restore as a whole, such as `OutOfSpaceError`.
        """

    def restore_async(
        self,
        snapshot: str,
        sink: FolderSink | Sink,
        *,
        only: str | Iterable[str] = (),
        exclude: str | Iterable[str] = (),
        conflict: Conflict = "skip",
        cancel: CancelToken | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Future[RestoreReport]:
        """Does what `restore` does, for `await`."""

    def remove(self, snapshots: Sequence[str]) -> None:
        """Gives snapshots up. They are no longer listed, and `prune` gives back what only they needed.

        Raises `PermissionDeniedError` if one of them is held: then none is removed. Those that are not there are passed over.
        """

    def hold(self, snapshots: Sequence[str]) -> None:
        """Keeps snapshots from being removed, by whatever rule or hand, until they are released.

        Raises `NotFoundError` if one of them is not there: then none is held.
        """

    def release(self, snapshots: Sequence[str]) -> None:
        """Lets snapshots be removed again. Raises `NotFoundError` if one of them is not there."""

    def retain(
        self, rules: Mapping[str, Mapping[str, object]], *, dry_run: bool = False
    ) -> dict[str, tuple[Decision, ...]]:
        """Removes the snapshots that their collections' retention lets go; with `dry_run`, only says which.

        `rules` maps ids of collections to settings such as `{"daily": 14, "monthly": 12}`; docs/retention.md lists them. The store's
        time and the order of the log decide, no writer's clock. Gives every snapshot of these collections with what becomes of it.

        Raises `InvalidArgumentError` for settings that do not exist or are wrong: then nothing is removed.
        """

    def prune(
        self,
        *,
        grace: timedelta | None = None,
        unused_percent: int = 10,
        dry_run: bool = False,
        cancel: CancelToken | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> PruneReport:
        """Gives back the room of what no snapshot needs. Safe beside backups, restores and other prunes.

        What is younger than `grace` (a day) is left alone, and what is condemned is deleted that long after. A short grace endangers nothing
        that is committed, but costs backups that are under way some work. At most `unused_percent` of what stays may be unused. In
        `Progress`, items are snapshots while they are marked, then packs that are copied.

        Raises `MissingError` or `CorruptError` if a snapshot needs what is not there: then nothing was condemned. `CanceledError`.
        """

    def prune_async(
        self,
        *,
        grace: timedelta | None = None,
        unused_percent: int = 10,
        dry_run: bool = False,
        cancel: CancelToken | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Future[PruneReport]:
        """Does what `prune` does, for `await`."""

    def verify(
        self,
        level: VerifyLevel = "structure",
        *,
        cancel: CancelToken | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> VerifyReport:
        """Checks the repository.

        `structure` reads the log, all trees and the index, and looks at each pack: are they there in full length?
        `every_byte` reads the whole repository and checks every chunk. Damage is no exception: the report names it. In
        `Progress`, items are packs.

        Raises `CanceledError`, and what keeps a check from being made: a log that does not read, a store that fails.
        """

    def verify_async(
        self,
        level: VerifyLevel = "structure",
        *,
        cancel: CancelToken | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Future[VerifyReport]:
        """Does what `verify` does, for `await`."""

    def diff(self, before: str, after: str) -> Differences:
        """Iterates over what differs between two snapshots, in the order of item ids.

        Reads only what differs. Raises `NotFoundError` if one of them is not there.
        """

    def browse(self, snapshot: str) -> Browser:
        """Looks into a snapshot without restoring it. One request.

        Raises `NotFoundError` if there is no such snapshot.
        """

    def __reduce__(self) -> NoReturn: ...

@final
class Browser:
    """A read-only view of one snapshot.

    Paths are names joined by `/`, from below the top: the top folder of a snapshot with a single one is `""`. Where a
    method takes a `target`, that is a path, an `Item`, or the id of one. A name that is not UTF-8 cannot be part of a
    path: list its folder and use the item.

        browser = repository.browse(snapshot)
        for item in browser.list("reports"):
            print(item.name, item.size, item.modified)
        beginning = browser.read("reports/2026.pdf", length=4096)
    """

    @property
    def info(self) -> SnapshotInfo:
        """What the snapshot says of itself. Costs no request."""

    def list(self, target: str | bytes | Item = "") -> Listing:
        """Iterates over what a folder holds, in bytewise order of names.

        Nothing lies below an item that is no folder. Raises `NotFoundError` if there is nothing at this path.
        """

    def stat(self, target: str | bytes | Item) -> Item:
        """Looks up one item.

        Raises `NotFoundError` if there is none.
        """

    def path(self, target: str | bytes | Item) -> str:
        """The path of an item. Bytes that are not UTF-8 are escaped.

        Raises `NotFoundError` if there is none.
        """

    def read(
        self,
        target: str | bytes | Item,
        *,
        stream: str = "content",
        offset: int = 0,
        length: int | None = None,
    ) -> bytes:
        """Reads bytes of a stream.

        Begins `offset` bytes after its start and goes on for `length` bytes, or to its end. Fetches only the frames that
        the range touches. All that is read is in memory: read large streams piece by piece.

        Raises `NotFoundError` for an item or stream that is not there, `InvalidArgumentError` for a range outside the
        stream, `CorruptError` or `MissingError` for damage.
        """

    def open(
        self, target: str | bytes | Item, *, stream: str = "content", buffer_size: int = 1048576
    ) -> BufferedReader:
        """Opens a stream as a file.

        It seeks, and reads ahead `buffer_size` bytes. What takes a file object takes it: `zipfile`, `tarfile`, `csv` (through
        `io.TextIOWrapper`), `pyarrow`. The file below it, without a buffer, is its `raw`, a `SnapshotFile`.

            with browser.open("archive.zip") as file:
                print(zipfile.ZipFile(file).namelist())

        Raises `NotFoundError` for an item or stream that is not there. Reading raises what `read` does.
        """

    def __reduce__(self) -> NoReturn: ...

@final
class Listing:
    """An iterator over the items of a folder. Reads ahead a few hundred at a time."""

    def __iter__(self) -> Iterator[Item]: ...
    def __next__(self) -> Item: ...
    def __reduce__(self) -> NoReturn: ...

@final
class Differences:
    """An iterator over the differences between two snapshots. Reads ahead a few hundred at a time."""

    def __iter__(self) -> Iterator[Difference]: ...
    def __next__(self) -> Difference: ...
    def __reduce__(self) -> NoReturn: ...

@final
class FolderSource:
    """A local folder to back up.

    Modes, owners, times, symbolic and hard links and sparse files are kept. Extended attributes, access control lists,
    devices, sockets and pipes are not. Unchanged files are not read again. Serves one run at a time. Unix only.

    `exclude` are glob patterns of what to leave out: without a slash they match names at any depth (`*.tmp`), with one,
    paths relative to the folder (`build/*.o`). `one_file_system` backs up mount points as empty folders.
    `require_mount_point` ends the run with `UnavailableError` unless something is mounted there: an unmounted disk
    leaves an empty folder behind, which would look like one whose files were all deleted. `collection_id` names the
    collection of a folder that moves between machines or paths.

    The folder is not looked at before the first run. Raises `InvalidArgumentError` for a pattern that is none.
    """

    def __new__(
        cls,
        path: str | PathLike[str],
        *,
        exclude: str | Iterable[str] = (),
        one_file_system: bool = False,
        require_mount_point: bool = False,
        collection_id: str | None = None,
    ) -> FolderSource: ...
    @property
    def collection(self) -> str:
        """The id of the collection that this folder is.

        `folder:` and the absolute path, unless `collection_id` was given.
        """

    def __reduce__(self) -> NoReturn: ...

@final
class FolderSink:
    """A local folder to restore to.

    It is created if it is missing. A file appears under its name when it is complete; symbolic links that are there are
    never followed. Serves one run at a time. Unix only.

    `restore_owner` gives files their owner and group back, where the process may do that; setuid and setgid bits are
    dropped where it may not. `main_stream_only` leaves out the older versions of a file, of which a folder can hold one;
    without it such an item is refused and reported, so that nothing is left out unnoticed.

    Raises what the system reports if the folder cannot be created or opened.
    """

    def __new__(
        cls,
        path: str | PathLike[str],
        *,
        restore_owner: bool = True,
        main_stream_only: bool = False,
    ) -> FolderSink: ...
    def __reduce__(self) -> NoReturn: ...

@final
class CancelToken:
    """A switch that stops runs from anywhere: from another thread, a signal handler, a callback.

    token = CancelToken()
    threading.Timer(3600, token.cancel).start()
    repository.backup(source, cancel=token)
    """

    def __new__(cls) -> CancelToken: ...
    @property
    def is_canceled(self) -> bool:
        """Whether somebody asked to stop."""

    def cancel(self) -> None:
        """Asks every run that has this token to stop soon.

        Their callers get a `CanceledError`. A token stays canceled.
        """

    def __reduce__(self) -> NoReturn: ...
