"""`verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..results import VerifyLevel
from .context import Context
from .output import count, duration, plural, size

if TYPE_CHECKING:
    from .parser import Commands


def add(commands: Commands) -> None:
    """Add these commands."""
    parser = commands.add("verify", "check the repository", verify)
    parser.add_argument("--every-byte", action="store_true", help="read all of it, and check every chunk")


def verify(context: Context) -> bool:
    """Check a repository."""
    output = context.output
    level: VerifyLevel = "every_byte" if context.settings.every_byte else "structure"
    with context.repository() as repository, context.stopping() as token, context.meter("checking", "packs") as meter:
        report = repository.verify(level, cancel=token, on_progress=meter)
    output.document("verify", report, level=level, is_sound=report.is_sound, seconds=round(meter.seconds, 3))
    verdict = output.style("Sound.", "green", "bold") if report.is_sound else output.style("Damaged.", "red", "bold")
    looked = f"{plural(report.snapshots, 'snapshot')}, {plural(report.items, 'item')}, {plural(report.packs, 'pack')}"
    output.line(f"{verdict} {looked}, {count(report.chunks)} chunks in {duration(meter.seconds)}")
    output.line(
        f"  {size(report.bytes_read)} of packs were read"
        + ("" if context.settings.every_byte else "; --every-byte reads them all")
    )
    output.problems(report.findings, plural(len(report.findings), "finding"))
    return not report.is_sound
