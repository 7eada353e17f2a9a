"""The extension module. Import its names from `backup_py`.

Strings are text, sizes are bytes, ids of snapshots are 32 hexadecimal digits. Whatever goes wrong raises a
`backup_py.BackupError`. All objects may be used from several threads at once.
"""

from asyncio import Future
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from io import BufferedReader
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NoReturn, TypeAlias, final

from .directory import (
    AccessToken,
    DirectoryChange,
    Drive,
    Entries,
    Found,
    Group,
    OwnerKind,
    Site,
    TokenCredential,
    User,
)
from .policy import Coverage, LastBackup, Plan, Protectable
from .protocols import Sink, Source, Store
from .reports import (
    DrillReport,
    ExtendReport,
    KeySlot,
    MirrorReport,
    ParityReport,
    Probe,
    SalvageReport,
    ScrubReport,
)
from .results import (
    BackupReport,
    Compression,
    Conflict,
    Decision,
    Difference,
    Item,
    Progress,
    PruneReport,
    RestoreReport,
    SnapshotInfo,
    SnapshotStats,
    SnapshotSummary,
    Value,
    VerifyLevel,
    VerifyReport,
)

__all__ = [
    "Browser",
    "CancelToken",
    "Differences",
    "DriveSink",
    "DriveSource",
    "FolderSink",
    "FolderSource",
    "Listing",
    "Policy",
    "Repository",
    "SnapshotSource",
    "Tenant",
    "__version__",
    "_panic_for_tests",
    "probe",
    "probe_async",
    "scrub",
    "scrub_async",
    "suspicions",
]

__version__: str

# What can be backed up, and where it can be restored to.
_Source: TypeAlias = FolderSource | DriveSource | SnapshotSource | Source
_Sink: TypeAlias = FolderSink | DriveSink | Sink
# What names a store.
_Store: TypeAlias = str | PathLike[str] | Store

def _panic_for_tests() -> None:
    """Panics on a run's thread, to prove what becomes of it."""

def scrub(
    url: _Store,
    public_key: str,
    *,
    options: Mapping[str, str] | None = None,
    repair: bool = False,
    cancel: CancelToken | None = None,
    on_progress: Callable[[Progress], object] | None = None,
) -> ScrubReport:
    """Checks what parity protects in a store, and mends it on request. Needs no secret and reads none.

    `url` and `options` as for `Repository.init`. `public_key` is what `Repository.public_key` was: nothing that it did not sign is
    believed. Reads everything that `Repository.add_parity` has protected, set by set, and its parity. Damage is no exception: the
    report names it.

    `repair` puts what can be computed in the place of what is damaged, first beside it, so that an interruption loses nothing. The
    store must let damaged objects be deleted. Two repairs of one store must not run at the same time.

        scrub("/mnt/backup", public_key, repair=True).is_sound

    Raises `InvalidArgumentError` for a key that is none, `CanceledError`, and what a store reports that cannot be reached.
    """

def scrub_async(
    url: _Store,
    public_key: str,
    *,
    options: Mapping[str, str] | None = None,
    repair: bool = False,
    cancel: CancelToken | None = None,
    on_progress: Callable[[Progress], object] | None = None,
) -> Future[ScrubReport]:
    """Does what `scrub` does, for `await`."""

def probe(url: _Store, *, options: Mapping[str, str] | None = None) -> Probe:
    """Tries what a store does and refuses one that is not safe.

    `url` and `options` as for `Repository.init`, which does this too. Creates two objects of 5 KB below `probe/`, under random names, and
    deletes them again: 24 calls.

    Raises `UnsafeStoreError`, which says what is wrong, if backups would not be safe there; what the store reports, if it is not known.
    """

def probe_async(url: _Store, *, options: Mapping[str, str] | None = None) -> Future[Probe]:
    """Does what `probe` does, for `await`."""

def suspicions(stats: SnapshotStats, percent: int = 25) -> tuple[str, ...]:
    """Judges a run by its figures, as a backup does, also later by those that a snapshot keeps.

    What touches at least 20 items and at least `percent` of those that the previous snapshot had is suspicious; above 100 nothing is.

        suspicions(repository.snapshot(snapshot).stats, percent=10)
    """

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
        url: _Store,
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
        url: _Store,
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
        url: _Store,
        *,
        passphrase: str | bytes | bytearray | None = None,
        raw_key: bytes | bytearray | None = None,
        options: Mapping[str, str] | None = None,
        known_head: str | None = None,
        index_cache: str | PathLike[str] | None = None,
        as_of: datetime | int | None = None,
        probe: bool = False,
    ) -> Repository:
        """Opens a repository.

        `url`, `passphrase`, `raw_key` and `options` as for `init`. `known_head` is what `head` was when this client last
        used the repository, kept outside the store: a store that shows an older state or another repository is refused.
        `index_cache` is a folder on a local disk, made if need be, where the index is kept in mapped files instead of memory:
        the next opening reads only what is new. It may be shared by programs, deleted and lost.

        `as_of` opens the repository as it was at this time (a `datetime` with a time zone, or nanoseconds since 1970), by the
        store's clock, whatever was hidden, overwritten or added since; nothing can be written then, and `known_head` does not
        count. For a store that keeps versions, after somebody has deleted what there was (docs/immutability.md). `probe` tries what
        the store does, as `init` always does, and refuses one that is unsafe: 24 calls, and the right to write.

        Raises `NotARepositoryError` if there is none, `WrongKeyError`, `RolledBackError`, `NewerFormatError`,
        `CorruptError` or `MissingError` for damage, `UnsupportedError` for `as_of` where the store keeps no versions,
        `UnsafeStoreError` for `probe`, and what the store reports.
        """

    @staticmethod
    def open_async(
        url: _Store,
        *,
        passphrase: str | bytes | bytearray | None = None,
        raw_key: bytes | bytearray | None = None,
        options: Mapping[str, str] | None = None,
        known_head: str | None = None,
        index_cache: str | PathLike[str] | None = None,
        as_of: datetime | int | None = None,
        probe: bool = False,
    ) -> Future[Repository]:
        """Does what `open` does, for `await`."""

    @property
    def id(self) -> str:
        """The repository's id, 32 hexadecimal digits. Known also when it is closed."""

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""

    @property
    def probe(self) -> Probe | None:
        """What the store was seen to do when this repository was created, or opened with `probe`; else `None`."""

    @property
    def public_key(self) -> str:
        """What the repository's signatures are checked with, 64 hexadecimal digits: all that `scrub` needs. No secret.

        Raises `PermissionDeniedError` if the key slot that was opened does not give it.
        """

    @property
    def protection(self) -> timedelta | None:
        """How long everything is locked ahead, if that is the policy. Costs no request; see `protect`."""

    @property
    def locked_until(self) -> datetime | None:
        """Until when everything that the snapshots need is locked at least, as the log says.

        None without a policy, or before the first extension under it. Costs no request.
        """

    @property
    def locks_due(self) -> bool:
        """Whether an extension of the locks is due. Costs no request.

        It is if in less than a day a new snapshot could not rely on what is stored already to be locked for the policy's period.
        """

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
    def _repr_html_(self) -> str:
        """What notebooks show: the id and the newest snapshots, as HTML.

        Costs no request. Every foreign name in it is escaped.
        """

    def refresh(self) -> None:
        """Reads what other writers have committed since.

        Raises what the store reports, or `CorruptError` for damage of the log.
        """

    def refresh_async(self) -> Future[None]:
        """Does what `refresh` does, for `await`."""

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

    def snapshot_async(self, snapshot: str) -> Future[SnapshotInfo]:
        """Does what `snapshot` does, for `await`."""

    def backup(
        self,
        source: _Source,
        *,
        labels: Mapping[str, str] | None = None,
        full: bool = False,
        checkpoint_bytes: int | None = None,
        suspicious_percent: int = 25,
        compression: Compression = "adaptive",
        cancel: CancelToken | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> BackupReport:
        """Backs up a source: a new snapshot.

        `labels` are names and values of your own that the snapshot keeps, each of at most 1,024 bytes. `full` enumerates
        everything although the source could tell what changed. `checkpoint_bytes` are the stored bytes after which an
        interrupted run loses nothing (512 MiB; at least 1 MiB). `suspicious_percent` is the share of the previous snapshot's
        items from which on a loss or a change is reported as a suspicion; above 100 for never. `compression` is how much work
        goes into what is stored: `"fast"`, as fast as a disk; `"thorough"`, shorter by a twentieth to a fifth at 50 to 120 MB a
        second and core; `"adaptive"`, thorough while that makes the content at hand shorter by a sixth, such as mails.

        Items that cannot be read are no exception: the report names them, and the snapshot is `incomplete`.

            done = repository.backup(FolderSource("/srv/data"), labels={"host": "web-1"})
            for problem in done.problems:
                print(problem)

        Raises `CanceledError` if `cancel` stopped it, and what ends a run as a whole: a source that is gone, a store
        that fails. What was stored until then is used by the next run.
        """

    def backup_async(
        self,
        source: _Source,
        *,
        labels: Mapping[str, str] | None = None,
        full: bool = False,
        checkpoint_bytes: int | None = None,
        suspicious_percent: int = 25,
        compression: Compression = "adaptive",
        cancel: CancelToken | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Future[BackupReport]:
        """Does what `backup` does, for `await`."""

    def restore(
        self,
        snapshot: str,
        sink: _Sink,
        *,
        only: str | Iterable[str] = (),
        exclude: str | Iterable[str] = (),
        conflict: Conflict = "skip",
        undo: str | None = None,
        cancel: CancelToken | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> RestoreReport:
        """Restores a snapshot to a sink.

        `only` and `exclude` are glob patterns over whole paths: what to restore and what to leave out, each with all
        below it; `exclude` wins. `*` and `?` stop at `/`, `**` does not, `{a,b}` and `[a-z]` choose. `conflict` says what
        to do where a name is taken.

            repository.restore(snapshot, FolderSink("/tmp/out"), only=["inbox/2026", "**/*.pdf"])

        `undo` is a later snapshot of the same collection: only what it has lost is restored, items that were changed, renamed, moved
        or deleted since. What was added since stays. This is how an attack is undone: restore the last good snapshot with the first
        bad one as `undo` and `conflict="replace"`.

        Items that cannot be restored are no exception: the report names them.

        Raises `NotFoundError` for a snapshot, `InvalidArgumentError` for a pattern that is none, `CanceledError`, and
        what ends a restore as a whole, such as `OutOfSpaceError`.
        """

    def restore_async(
        self,
        snapshot: str,
        sink: _Sink,
        *,
        only: str | Iterable[str] = (),
        exclude: str | Iterable[str] = (),
        conflict: Conflict = "skip",
        undo: str | None = None,
        cancel: CancelToken | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Future[RestoreReport]:
        """Does what `restore` does, for `await`."""

    def remove(self, snapshots: Sequence[str]) -> None:
        """Gives snapshots up. They are no longer listed, and `prune` gives back what only they needed.

        Raises `PermissionDeniedError` if one of them is held: then none is removed. Those that are not there are passed over.
        """

    def remove_async(self, snapshots: Sequence[str]) -> Future[None]:
        """Does what `remove` does, for `await`."""

    def hold(self, snapshots: Sequence[str]) -> None:
        """Keeps snapshots from being removed, by whatever rule or hand, until they are released.

        Raises `NotFoundError` if one of them is not there: then none is held.
        """

    def hold_async(self, snapshots: Sequence[str]) -> Future[None]:
        """Does what `hold` does, for `await`."""

    def release(self, snapshots: Sequence[str]) -> None:
        """Lets snapshots be removed again. Raises `NotFoundError` if one of them is not there."""

    def release_async(self, snapshots: Sequence[str]) -> Future[None]:
        """Does what `release` does, for `await`."""

    def retain(
        self, rules: Mapping[str, Mapping[str, object]], *, dry_run: bool = False
    ) -> dict[str, tuple[Decision, ...]]:
        """Removes the snapshots that their collections' retention lets go; with `dry_run`, only says which.

        `rules` maps ids of collections to settings such as `{"daily": 14, "monthly": 12}`; docs/retention.md lists them. The store's
        time and the order of the log decide, no writer's clock. Gives every snapshot of these collections with what becomes of it.

        Raises `InvalidArgumentError` for settings that do not exist or are wrong: then nothing is removed.
        """

    def retain_async(
        self, rules: Mapping[str, Mapping[str, object]], *, dry_run: bool = False
    ) -> Future[dict[str, tuple[Decision, ...]]]:
        """Does what `retain` does, for `await`."""

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

    def keys(self) -> list[KeySlot]:
        """The key slots that there are, in the order of their ids. One listing."""

    def keys_async(self) -> Future[list[KeySlot]]:
        """Does what `keys` does, for `await`."""

    def add_key(
        self,
        *,
        passphrase: str | bytes | bytearray | None = None,
        raw_key: bytes | bytearray | None = None,
        kdf_memory_kib: int | None = None,
        kdf_passes: int | None = None,
        kdf_lanes: int | None = None,
    ) -> str:
        """Lets another passphrase or key open the repository too; its slot's id.

        Arguments as for `init`. To change a passphrase, add the new one, then remove the old one's slot. What is stored stays as it
        is: whoever has copied slot and passphrase before can still open what they have copied.

        Raises `LimitExceededError` with 64 slots, or what the store reports.
        """

    def add_key_async(
        self,
        *,
        passphrase: str | bytes | bytearray | None = None,
        raw_key: bytes | bytearray | None = None,
        kdf_memory_kib: int | None = None,
        kdf_passes: int | None = None,
        kdf_lanes: int | None = None,
    ) -> Future[str]:
        """Does what `add_key` does, for `await`."""

    def remove_key(self, id: str) -> None:
        """Takes a key slot away. Clients that have the repository open keep it open.

        Raises `NotFoundError` if there is no such slot, `InvalidArgumentError` if it is the last one, `PermissionDeniedError` where the
        store protects it.
        """

    def remove_key_async(self, id: str) -> Future[None]:
        """Does what `remove_key` does, for `await`."""

    def protect(self, period: timedelta) -> None:
        """Protects the repository against whoever can delete: locks everything for `period`, now and from now on.

        Every writer then locks what it stores, so that everything that a snapshot needs is locked for `period` (whole seconds) from its
        commit on, and refuses to write to a store that does less. A period of zero ends it, which takes back no lock that is there.
        What there is already is locked at once, with one request for each object.

        Locks grow with time only if `extend_locks` is run, once a day say. **A lock cannot be taken back**: what is locked is paid for
        until the lock ends. See docs/immutability.md.

        Raises `UnsafeStoreError` if the store cannot lock or is set up to do less: then nothing has changed. `InvalidArgumentError` for
        more than 36,500 days.
        """

    def protect_async(self, period: timedelta) -> Future[None]:
        """Does what `protect` does, for `await`."""

    def extend_locks(
        self,
        *,
        cancel: CancelToken | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> ExtendReport:
        """Makes the locks of everything in use longer, if that is due.

        Run it once a day, best after a prune: it does nothing on nine days of ten. Costs a listing of the store's versions and one
        request for each object in use. In `Progress`, items are objects.

        Raises `MissingError` if something in use is gone: everything else is locked then. `UnsafeStoreError`, `CanceledError`.
        """

    def extend_locks_async(
        self,
        *,
        cancel: CancelToken | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Future[ExtendReport]:
        """Does what `extend_locks` does, for `await`."""

    def add_parity(
        self,
        *,
        parity: int = 2,
        members: int = 20,
        cancel: CancelToken | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> ParityReport:
        """Adds Reed-Solomon parity for all objects that have none yet.

        Then `scrub` finds and mends damage without any secret. For every `members` objects (1 to 255) there are `parity` more (1 to 32):
        as many of such a group may be damaged or gone, at any place. Reads every object that has no parity yet once. Run it after
        backups and prunes; it may run beside either. Sets that there are stay as they are.

        Damaged objects are no exception: the report names them. Raises `CanceledError`, or what the store reports.
        """

    def add_parity_async(
        self,
        *,
        parity: int = 2,
        members: int = 20,
        cancel: CancelToken | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Future[ParityReport]:
        """Does what `add_parity` does, for `await`."""

    def mirror(
        self,
        to: _Store,
        *,
        options: Mapping[str, str] | None = None,
        check: bool = False,
        delete: bool = False,
        cancel: CancelToken | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> MirrorReport:
        """Copies the repository to another store, or brings such a copy up to date.

        `to` and `options` name the other store as for `init`. The copy is a repository of its own that opens with the same keys. Do not
        write to it: it is what it is copied from. The other way round it mends: open the copy and mirror it to where the damage is,
        with `check`.

        `check` also reads what the other store has already, and replaces what is not the same: costs the whole copy. `delete` also
        deletes there what prunes have taken from here; without it the copy keeps everything, and whoever wipes this repository does
        not reach the copy.

        Raises `AlreadyExistsError` if there is another repository, or a copy that somebody else has written to; `CanceledError`; what
        either store reports.
        """

    def mirror_async(
        self,
        to: _Store,
        *,
        options: Mapping[str, str] | None = None,
        check: bool = False,
        delete: bool = False,
        cancel: CancelToken | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Future[MirrorReport]:
        """Does what `mirror` does, for `await`."""

    def as_source(self, snapshot: str) -> SnapshotSource:
        """A snapshot as a source, for a copy of it in another repository. One request.

            other.backup(repository.as_source(snapshot))

        stores it there under the other's keys, with all attributes, streams and hard links. If the next one is copied into the same
        repository, only what differs is read. Labels are kept; others tell the origin (`origin.repository`, `origin.snapshot`,
        `origin.created`). What is damaged is reported as unreadable, and the rest is copied.

        Raises `NotFoundError` if there is no such snapshot, or damage of the snapshot itself.
        """

    def as_source_async(self, snapshot: str) -> Future[SnapshotSource]:
        """Does what `as_source` does, for `await`."""

    def drill(
        self,
        snapshots: Sequence[str] | None = None,
        *,
        items: int | None = None,
        confidence: float = 0.95,
        share: float = 0.01,
        seed: int | None = None,
        against: Iterable[_Source] = (),
        sink: _Sink | None = None,
        cancel: CancelToken | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> DrillReport:
        """A restore drill: reads a random sample of items in full and says how many of all can be bad at most.

        Draws from `snapshots`, by default the newest of each collection, `items` items or, by default, as many as it takes to be
        `confidence` sure that, if none is bad, fewer than `share` of all are: 300 items however many there are. `seed` draws again what an
        earlier drill drew from the same snapshots.

        `against` are sources: what was drawn from snapshots of their collections is compared with what they have now, where the item's
        tag is the same. `sink` gets the items that were read, side by side.

            print(repository.drill(against=[FolderSource("/srv/data")]))

        Damage is no exception: the report names it. Raises `InvalidArgumentError` for a confidence or share that is none,
        `NotFoundError` for a snapshot, `CanceledError`, and what a store reports that cannot be reached.
        """

    def drill_async(
        self,
        snapshots: Sequence[str] | None = None,
        *,
        items: int | None = None,
        confidence: float = 0.95,
        share: float = 0.01,
        seed: int | None = None,
        against: Iterable[_Source] = (),
        sink: _Sink | None = None,
        cancel: CancelToken | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Future[DrillReport]:
        """Does what `drill` does, for `await`."""

    @staticmethod
    def salvage(
        url: _Store,
        *,
        passphrase: str | bytes | bytearray | None = None,
        raw_key: bytes | bytearray | None = None,
        options: Mapping[str, str] | None = None,
        known_head: str | None = None,
        with_removed: bool = False,
    ) -> tuple[Repository, SalvageReport]:
        """Opens what is left of a damaged repository, for reading only.

        Arguments as for `open`; one key slot must open. The log counts as far as it reads. Snapshots that it does not name are taken too,
        marked as not `confirmed`; `with_removed` also takes those that it says were removed. The index is made from what is left. The
        repository can be browsed, restored, drilled, verified and copied (`as_source`); whatever would write raises
        `PermissionDeniedError`. See docs/recovery.md.

        Damage is no exception: the report names it. Raises `WrongKeyError`, `NewerFormatError` or `CorruptError` if no key slot opens,
        `NotARepositoryError` if there is none, and what a store reports that cannot be reached.
        """

    @staticmethod
    def salvage_async(
        url: _Store,
        *,
        passphrase: str | bytes | bytearray | None = None,
        raw_key: bytes | bytearray | None = None,
        options: Mapping[str, str] | None = None,
        known_head: str | None = None,
        with_removed: bool = False,
    ) -> Future[tuple[Repository, SalvageReport]]:
        """Does what `salvage` does, for `await`."""

    def diff(self, before: str, after: str) -> Differences:
        """Iterates over what differs between two snapshots, in the order of item ids.

        Reads only what differs. Raises `NotFoundError` if one of them is not there.
        """

    def diff_async(self, before: str, after: str) -> Future[Differences]:
        """Does what `diff` does, for `await`."""

    def browse(self, snapshot: str) -> Browser:
        """Looks into a snapshot without restoring it. One request.

        Raises `NotFoundError` if there is no such snapshot.
        """

    def browse_async(self, snapshot: str) -> Future[Browser]:
        """Does what `browse` does, for `await`."""

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

    def list_async(self, target: str | bytes | Item = "") -> Future[Listing]:
        """Does what `list` does, for `await`."""

    def stat(self, target: str | bytes | Item) -> Item:
        """Looks up one item.

        Raises `NotFoundError` if there is none.
        """

    def stat_async(self, target: str | bytes | Item) -> Future[Item]:
        """Does what `stat` does, for `await`."""

    def path(self, target: str | bytes | Item) -> str:
        """The path of an item. Bytes that are not UTF-8 are escaped.

        Raises `NotFoundError` if there is none.
        """

    def path_async(self, target: str | bytes | Item) -> Future[str]:
        """Does what `path` does, for `await`."""

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

    def read_async(
        self,
        target: str | bytes | Item,
        *,
        stream: str = "content",
        offset: int = 0,
        length: int | None = None,
    ) -> Future[bytes]:
        """Does what `read` does, for `await`."""
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
    """An iterator over the items of a folder, for `for` and `async for`. Reads ahead a few hundred at a time."""

    def __iter__(self) -> Iterator[Item]: ...
    def __next__(self) -> Item: ...
    def __aiter__(self) -> AsyncIterator[Item]: ...
    def __anext__(self) -> Future[Item]: ...
    def __reduce__(self) -> NoReturn: ...

@final
class Differences:
    """An iterator over the differences between two snapshots, for `for` and `async for`. Reads ahead a few hundred at a time."""

    def __iter__(self) -> Iterator[Difference]: ...
    def __next__(self) -> Difference: ...
    def __aiter__(self) -> AsyncIterator[Difference]: ...
    def __anext__(self) -> Future[Difference]: ...
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

    The folder is not looked at before the first run. A pickle holds the whole path and these settings: it means the folder of this path
    wherever it is loaded. Raises `InvalidArgumentError` for a pattern that is none.
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

    def __getnewargs_ex__(self) -> tuple[tuple[Path], dict[str, Any]]: ...

@final
class SnapshotSource:
    """A snapshot as a source, for a copy of it in another repository; made by `Repository.as_source`.

    Reads from its repository, which must stay open. Serves one run at a time.
    """

    @property
    def collection(self) -> str:
        """The id of the collection that the snapshot is a state of."""

    def __reduce__(self) -> NoReturn: ...

@final
class FolderSink:
    """A local folder to restore to.

    It is created if it is missing. A file appears under its name when it is complete; symbolic links that are there are
    never followed. Serves one run at a time. Unix only.

    `restore_owner` gives files their owner and group back, where the process may do that; setuid and setgid bits are
    dropped where it may not. `main_stream_only` leaves out the older versions of a file, of which a folder can hold one;
    without it such an item is refused and reported, so that nothing is left out unnoticed.

    A pickle holds the whole path and these settings. Raises what the system reports if the folder cannot be created or opened.
    """

    def __new__(
        cls,
        path: str | PathLike[str],
        *,
        restore_owner: bool = True,
        main_stream_only: bool = False,
    ) -> FolderSink: ...
    def __getnewargs_ex__(self) -> tuple[tuple[Path], dict[str, Any]]: ...

@final
class Tenant:
    """A Microsoft 365 tenant, as one application sees it.

        tenant = Tenant("contoso.com", client_id=application, certificate=Path("backup.pem").read_bytes())
        for found in tenant.every_drive():
            if found.drive:
                repository.backup(DriveSource(tenant, found.drive))

    `tenant_id` is the directory's id or a domain of it. docs/graph.md says how to register the application and which permissions each feature
    needs. The application proves itself by exactly one of

    - `certificate`: PEM with the private key and the certificate that is registered, with `client_id`
    - `client_secret`, with `client_id`
    - `credential`: one of `azure-identity`, or any object with `get_token(scope, claims=...)` that gives a token and its `expires_on`
    - `token`: a token as text, which is not renewed, or a callable that takes a scope and gives text or `(token, expires_on)`

    Python gives tokens on a thread of its own, one at a time, and is asked anew two minutes before a token expires or when the service
    refuses it; `expires_on` are seconds since 1970. What it raises comes out as the cause of an `UnauthenticatedError`. It must not be
    async, and need not mind any event loop.

    `cloud` is the one that the tenant is in; `graph_url` and `login_url` are for proxies and simulations of its addresses, and
    `root_certificates` are further authorities to trust, in PEM: whoever holds the key of one of them can pose as Microsoft.
    `user_agent` names the program to Microsoft (`ISV|Company|Application/1.0`). `continuous_access` tells the issuer that claims challenges are
    understood. A request is sent `attempts_max` times (8) at most, and waits `wait_max` (15 minutes) at most for a service that is busy.
    `concurrency_max` are the most requests under way of each kind (32, 32 and 16). The usual proxy variables of the environment count.

    A pickle holds all of this. With a secret, a certificate or a token as text it is refused unless `pickle_secret` says that it may hold
    that, as it is; a `credential` and a callable are pickled as they are. Secrets are wiped when the tenant goes, and never shown.

    Raises `InvalidArgumentError` for what has no meaning: a certificate without its key, an address that is not `https`.
    """

    def __new__(
        cls,
        tenant_id: str,
        *,
        client_id: str | None = None,
        client_secret: str | bytes | bytearray | None = None,
        certificate: str | bytes | bytearray | None = None,
        credential: TokenCredential | None = None,
        token: str | Callable[[str], str | tuple[str, float] | AccessToken] | None = None,
        cloud: Literal["global", "us_government", "us_defense", "china"] = "global",
        graph_url: str | None = None,
        login_url: str | None = None,
        root_certificates: str | bytes | bytearray | None = None,
        user_agent: str | None = None,
        continuous_access: bool = False,
        attempts_max: int | None = None,
        wait_max: timedelta | None = None,
        concurrency_max: Mapping[Literal["graph", "download", "upload"], int] | None = None,
        pickle_secret: bool = False,
    ) -> Tenant: ...
    @property
    def tenant_id(self) -> str:
        """The directory's id or domain, as it was given."""

    @property
    def metrics(self) -> dict[str, Value]:
        """What was done so far, by name: requests, waits, bytes. The report of a backup has them too (`source`)."""

    def set_budget(
        self,
        *,
        requests_per_hour: int | None = None,
        units_per_hour: int | None = None,
        bytes_per_hour: int | None = None,
    ) -> None:
        """Limits from now on what may be used, over all that was made from this tenant.

        Requests, resource units as the service counts them, bytes of bodies; None for no limit. Up to one minute's worth may be used at
        once; after that, use is spread evenly.
        """

    def users(self) -> Entries[User]:
        """Every user, guests and disabled accounts included.

        As all listings here, for `for` and `async for`: read page by page, so a tenant of any size takes the memory of a few hundred
        entries. One request for 999 of them. Needs `User.Read.All`; `PermissionDeniedError` names the permission that is missing.
        """

    def groups(self) -> Entries[Group]:
        """Every group; only those that are unified have a drive. Needs `GroupMember.Read.All`."""

    def sites(self) -> Entries[Site]:
        """Every site of every geography, those of groups and of persons included. Needs `Sites.Read.All`.

        The service may or may not list subsites: `subsites` has them.
        """

    def subsites(self, site: str) -> Entries[Site]:
        """The sites directly below the site of this id. Needs `Sites.Read.All`."""

    def drives_of(self, kind: OwnerKind, id: str) -> Entries[Drive]:
        """The drives of the user, group or site of this id; a user's sign-in name is an id too.

        None for who has none; `NotFoundError` if there is no such user, group or site. Needs `Files.Read.All`.
        """

    def every_drive(self, kinds: Sequence[OwnerKind] = ("user", "group", "site")) -> Entries[Found]:
        """Every drive that owners of these kinds have, each exactly once, with its owner.

        Subsites at any depth are included, and who has no drive is named too. Costs the listings of users, groups and sites and a request
        for each of them, twenty in one HTTP request. What fails for a single owner is an entry with an `error`.
        """

    def user_changes(self, since: str | None = None) -> Entries[DirectoryChange[User]]:
        """What changed among the users since a position, or all of them without one.

        The last entry is the position to begin at next time; it is good for seven days. `CursorExpiredError` if the service forgot it: begin
        without one. Needs `User.Read.All`.
        """

    def group_changes(self, since: str | None = None) -> Entries[DirectoryChange[Group]]:
        """What changed among the groups since a position, or all of them without one. Needs `GroupMember.Read.All`."""

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, Any]]: ...

@final
class DriveSource:
    """One drive of a user, group or site to back up: a OneDrive or a SharePoint document library.

    `drive` is its id, or a `Drive` from a listing. The first backup enumerates it, later ones ask for what changed. What is downloaded is
    checked by the service's own hash. Serves one run at a time.

    `concurrency` files are read at once (4); large ones in ranges of `range_bytes` (8 MiB), three at once. `page_entries` is what a page is asked to
    have. On request come with each item: `versions`, so many earlier ones or `"all"` (a listing for each new or changed file and a
    download for each version); `permissions` and sharing links, where items have their own (a request for each such item);
    `fields`, the columns of the library (no request).

    A pickle holds the tenant and these settings; see `Tenant`.
    """

    def __new__(
        cls,
        tenant: Tenant,
        drive: str | Drive,
        *,
        concurrency: int | None = None,
        range_bytes: int | None = None,
        page_entries: int | None = None,
        versions: int | Literal["all"] | None = None,
        permissions: bool = False,
        fields: bool = False,
    ) -> DriveSource: ...
    @property
    def collection(self) -> str:
        """The id of the collection that this drive is. Stays when the drive or its owner is renamed."""

    def __getnewargs_ex__(self) -> tuple[tuple[Tenant, str], dict[str, Any]]: ...

@final
class DriveSink:
    """A folder of a drive to restore to: of any drive that the tenant's application may write to.

    `drive` is its id, or a `Drive` from a listing; `folder` the id of a folder in it, or None for its root. What was uploaded is
    compared with what the service says that it holds; one that differs is reported and left there. Serves one run at a time.

    `concurrency` items are put at once (4; 16 is the most that is of use), large files in ranges of `range_bytes` (10 MiB). On request what was backed
    up comes back: `versions`, oldest first, before the content, with the time of the restore; `permissions` and sharing links, without
    mail, and with new addresses; `fields`, where the library has the columns.

    A pickle holds the tenant and these settings; see `Tenant`.
    """

    def __new__(
        cls,
        tenant: Tenant,
        drive: str | Drive,
        *,
        folder: str | None = None,
        concurrency: int | None = None,
        range_bytes: int | None = None,
        versions: bool = False,
        permissions: bool = False,
        fields: bool = False,
    ) -> DriveSink: ...
    def __getnewargs_ex__(self) -> tuple[tuple[Tenant, str], dict[str, Any]]: ...

@final
class Policy:
    """Rules in order; the first that matches a collection is the one that counts.

    Made of a dictionary, or of its JSON:

        policy = Policy({"rules": [
            {"name": "scratch", "include": {"paths": ["/scratch/**"]}, "exclude": "rebuilt every night"},
            {"name": "folders", "include": {"kinds": ["folder"]}, "every_minutes": 60, "retention": {"daily": 14}},
        ]})

    docs/retention.md has all settings. It starts nothing, keeps no state and never asks what time it is: you describe what there is and
    what was done so far, and get back what is due and what is protected. Policies can be compared and pickled.

    Raises `InvalidArgumentError` for what is not a policy: a setting that does not exist would protect less than was meant.
    """

    def __new__(cls, rules: Mapping[str, object] | str | bytes, /) -> Policy: ...
    def validate(self) -> None:
        """Checks the policy.

        Everything below does so too: a policy that is wrong in one place plans nothing rather than less than was meant. Raises
        `InvalidArgumentError` naming the rule.
        """

    def rule(self, name: str) -> dict[str, Any] | None:
        """The rule of this name, with all its settings, or `None`. Its `retention` is what `Repository.retain` takes."""

    def rule_for(self, protectable: Protectable) -> dict[str, Any] | None:
        """The rule that counts for a collection, with all its settings, or `None`.

        For many collections, `coverage` is quicker.
        """

    def plan(self, now: datetime | int, listed: Iterable[Protectable], last: Iterable[LastBackup] = ()) -> Plan:
        """What is due at `now`, of what is `listed`, and when to ask again.

            plan = policy.plan(datetime.now(timezone.utc), listed, last)
            for due in plan.due:
                repository.backup(sources[due.collection.id])

        Clocks may be wrong: a last backup that is dated up to one interval after `now` counts as made now, and what is dated still later
        says nothing. So a clock that is set anew delays no backup by more than two intervals.
        """

    def coverage(self, now: datetime | int, listed: Iterable[Protectable], last: Iterable[LastBackup] = ()) -> Coverage:
        """What is protected at `now`, of what is `listed`, and what is not."""

    def to_dict(self) -> dict[str, Any]:
        """The policy as data, with all settings."""

    def to_json(self) -> str:
        """The policy as JSON."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs__(self) -> tuple[str]: ...

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
