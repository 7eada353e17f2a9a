"""`mirror`: a copy of a repository in another store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .context import Context
from .output import duration, plural, size

if TYPE_CHECKING:
    from .parser import Commands


def add(commands: Commands) -> None:
    """Add these commands."""
    parser = commands.add("mirror", "copy the repository to another store, or bring such a copy up to date", mirror)
    parser.add_argument("to", metavar="URL", help="where the copy is")
    parser.add_argument(
        "--to-option", action="append", metavar="NAME=VALUE", help="an option of that store (BACKUP_TO_OPTION_NAME)"
    )
    parser.add_argument("--check", action="store_true", help="read what is there too, and replace what differs")
    parser.add_argument("--delete", action="store_true", help="also delete there what prunes have deleted here")


def mirror(context: Context) -> bool:
    """Copy a repository."""
    settings, output = context.settings, context.output
    with context.repository() as repository, context.stopping() as token, context.meter("copying", "objects") as meter:
        report = repository.mirror(
            settings.to,
            options=context.options("to_option"),
            check=settings.check,
            delete=settings.delete,
            cancel=token,
            on_progress=meter,
        )
    output.document("mirror", report, seconds=round(meter.seconds, 3))
    output.line(
        f"{plural(report.copied_objects, 'object')} of {report.objects:,} copied, {size(report.copied_bytes)} in {duration(meter.seconds)}"
    )
    if report.replaced_objects or report.deleted_objects:
        output.line(f"  {plural(report.replaced_objects, 'object')} replaced, {report.deleted_objects:,} deleted there")
    output.problems(report.findings, f"{plural(len(report.findings), 'object')} damaged, and not copied")
    return bool(report.findings)
