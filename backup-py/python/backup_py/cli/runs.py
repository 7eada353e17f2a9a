"""`backup` and `restore`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .._backup import CancelToken, DriveSink, DriveSource, FolderSink, FolderSource, Repository
from ..results import BackupReport, RestoreReport
from .context import Context, UsageError
from .meter import Meter
from .microsoft import add_drive, add_tenant, backup_tenant, drive_of, labels_of, list_drives, source_of, tenant_of
from .output import Output, count, duration, plural, size, visible

if TYPE_CHECKING:
    from .parser import Commands


def add(commands: Commands) -> None:
    """Add these commands."""
    sources = commands.group("backup", "make a snapshot")
    parser = sources.add("folder", "back up a folder", backup_folder)
    parser.add_argument("path", metavar="FOLDER")
    parser.add_argument(
        "-x", "--exclude", action="append", default=[], metavar="PATTERN", help="leave out what matches"
    )
    parser.add_argument("--one-file-system", action="store_true", help="do not go into what is mounted in it")
    parser.add_argument("--require-mount-point", action="store_true", help="fail unless something is mounted there")
    parser.add_argument("--collection-id", metavar="ID", help="the collection's name, for a folder that moves")
    add_run(parser)
    parser = sources.add("drive", "back up a drive of Microsoft 365", backup_drive)
    parser.add_argument("drive", metavar="DRIVE", help="its id, or the sign-in name of the user whose OneDrive it is")
    add_drive(parser)
    add_run(parser)
    add_tenant(parser)
    parser = sources.add("tenant", "back up every drive of a Microsoft 365 tenant", backup_tenant)
    parser.add_argument("--kind", action="append", choices=["user", "group", "site"], help="only the drives of these")
    parser.add_argument("-j", "--jobs", type=int, default=4, metavar="N", help="drives at once (4)")
    add_drive(parser)
    add_run(parser)
    add_tenant(parser)
    parser = commands.add("drives", "list the drives of a Microsoft 365 tenant", list_drives)
    parser.add_argument("--kind", action="append", choices=["user", "group", "site"], help="only the drives of these")
    add_tenant(parser)
    parser = commands.add("restore", "bring a snapshot back to a folder or a drive", restore)
    parser.add_argument("snapshot", metavar="SNAPSHOT")
    parser.add_argument("folder", metavar="FOLDER", nargs="?", help="made if need be")
    parser.add_argument("--drive", metavar="DRIVE", help="restore to this drive of Microsoft 365 instead")
    parser.add_argument("--drive-folder", metavar="ID", help="a folder of the drive (its root)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="PATTERN", help="only what matches, with all below it"
    )
    parser.add_argument("-x", "--exclude", action="append", default=[], metavar="PATTERN", help="without what matches")
    parser.add_argument(
        "--conflict", choices=["skip", "replace", "keep_both"], default="skip", help="where a name is taken (skip)"
    )
    parser.add_argument("--no-owner", action="store_true", help="do not give files their owners back")
    parser.add_argument("--main-stream-only", action="store_true", help="leave out older versions of files")
    parser.add_argument("--permissions", action="store_true", help="to a drive: permissions and sharing links too")
    parser.add_argument("--versions", action="store_true", help="to a drive: earlier versions too")
    parser.add_argument("--fields", action="store_true", help="to a drive: the columns of libraries too")
    add_tenant(parser)


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add what every backup has."""
    parser.add_argument(
        "-l", "--label", action="append", default=[], metavar="NAME=VALUE", help="a label for the snapshot"
    )
    parser.add_argument(
        "--full", action="store_true", help="look at everything, although the source could tell what changed"
    )
    parser.add_argument(
        "--compression",
        choices=["adaptive", "fast", "thorough"],
        default="adaptive",
        help="how much work goes into what is stored (adaptive: thorough where that pays)",
    )


def backup_folder(context: Context) -> bool:
    """Back up a folder."""
    settings = context.settings
    source = FolderSource(
        settings.path,
        exclude=settings.exclude,
        one_file_system=settings.one_file_system,
        require_mount_point=settings.require_mount_point,
        collection_id=settings.collection_id,
    )
    with context.repository() as repository, context.stopping() as token:
        return backup(context, repository, source, token)


def backup_drive(context: Context) -> bool:
    """Back up a drive."""
    tenant = tenant_of(context)
    source = source_of(context, tenant, drive_of(tenant, context.settings.drive))
    with context.repository() as repository, context.stopping() as token:
        return backup(context, repository, source, token)


def backup(context: Context, repository: Repository, source: FolderSource | DriveSource, token: CancelToken) -> bool:
    """Back up one source and say what was done; whether there were problems."""
    with context.meter("reading") as meter:
        report = repository.backup(
            source,
            labels=labels_of(context.settings),
            full=context.settings.full,
            compression=context.settings.compression,
            cancel=token,
            on_progress=meter,
        )
    output = context.output
    output.document("backup", report, collection=source.collection, seconds=round(meter.seconds, 3))
    show_backup(output, report, source.collection, meter)
    return bool(report.problems)


def show_backup(output: Output, report: BackupReport, collection: str, meter: Meter) -> None:
    """Print what a backup did, for people."""
    stats = report.stats
    state = output.style("complete", "green") if report.state == "complete" else output.style(report.state, "yellow")
    output.line(f"Snapshot {output.style(report.snapshot, 'cyan')} of {visible(collection)}: {state}")
    output.line(
        f"  {plural(stats.items, 'item')}, {size(stats.bytes)}: {_changes(stats.added, stats.changed, stats.removed)}"
    )
    output.line(f"  read {size(stats.bytes_read)}, stored {size(stats.bytes_stored)} in {duration(meter.seconds)}")
    for suspicion in report.suspicions:
        output.line(f"  {output.style('suspicious:', 'red')} {visible(suspicion)}")
    output.problems(report.problems, f"{plural(len(report.problems), 'item')} could not be read")


def _changes(added: int, changed: int, removed: int) -> str:
    parts = [
        f"{count(number)} {word}"
        for number, word in ((added, "new"), (changed, "changed"), (removed, "gone"))
        if number
    ]
    return ", ".join(parts) or "nothing has changed"


def restore(context: Context) -> bool:
    """Restore to a folder."""
    settings, output = context.settings, context.output
    with context.repository() as repository:
        snapshot = context.snapshot(repository, settings.snapshot)
        sink, place = _sink(context)
        with context.stopping() as token, context.meter("restoring") as meter:
            report = repository.restore(
                snapshot.id,
                sink,
                only=settings.only,
                exclude=settings.exclude,
                conflict=settings.conflict,
                cancel=token,
                on_progress=meter,
            )
    output.document("restore", report, snapshot=snapshot.id, seconds=round(meter.seconds, 3))
    output.line(f"Restored snapshot {output.id(snapshot.id)} to {visible(place)}: {_restored(report)}")
    output.line(
        f"  {size(report.bytes)}, of which {size(report.bytes_fetched)} were fetched, in {duration(meter.seconds)}"
    )
    output.problems(report.problems, f"{plural(len(report.problems), 'item')} could not be restored")
    return bool(report.problems)


def _sink(context: Context) -> tuple[FolderSink | DriveSink, str]:
    settings = context.settings
    if (settings.folder is None) == (settings.drive is None):
        raise UsageError("give either a folder or --drive to restore to")
    if settings.folder is not None:
        folder = FolderSink(
            settings.folder, restore_owner=not settings.no_owner, main_stream_only=settings.main_stream_only
        )
        return folder, settings.folder
    tenant = tenant_of(context)
    drive = DriveSink(
        tenant,
        drive_of(tenant, settings.drive),
        folder=settings.drive_folder,
        versions=settings.versions,
        permissions=settings.permissions,
        fields=settings.fields,
    )
    return drive, settings.drive


def _restored(report: RestoreReport) -> str:
    numbers = (
        (report.created, "created"),
        (report.replaced, "replaced"),
        (report.renamed, "put beside others"),
        (report.skipped, "left alone"),
    )
    return ", ".join(f"{count(number)} {word}" for number, word in numbers if number) or "nothing to do"
