"""`verify`, `drill`, `parity` and `scrub`: is it sound, and what is done about damage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._backup import FolderSink, FolderSource, scrub
from ..reports import Damage
from ..results import VerifyLevel
from .context import Context
from .output import Output, count, duration, plural, size, visible

if TYPE_CHECKING:
    from .parser import Commands


def add(commands: Commands) -> None:
    """Add these commands."""
    parser = commands.add("verify", "check the repository", verify)
    parser.add_argument("--every-byte", action="store_true", help="read all of it, and check every chunk")
    parser = commands.add("drill", "read a random sample in full, and say how sure you may be", drill)
    parser.add_argument(
        "snapshots", metavar="SNAPSHOT", nargs="*", help="the newest of each collection if there is none"
    )
    parser.add_argument("--items", type=int, metavar="N", help="draw so many items")
    parser.add_argument("--confidence", type=float, default=0.95, metavar="X", help="how sure to be (0.95)")
    parser.add_argument("--share", type=float, default=0.01, metavar="X", help="that so many are bad at most (0.01)")
    parser.add_argument("--seed", type=int, metavar="N", help="draw again what an earlier drill has drawn")
    parser.add_argument(
        "--against", action="append", default=[], metavar="FOLDER", help="compare with what this folder has now"
    )
    parser.add_argument("--to", metavar="FOLDER", help="put what was read here")
    parser = commands.add("parity", "add parity for what has none yet", parity)
    parser.add_argument("--parity", type=int, default=2, metavar="N", help="parity objects for each set (2)")
    parser.add_argument("--members", type=int, default=20, metavar="N", help="objects in a set (20)")
    parser = commands.add("scrub", "check what parity protects, and mend it", scrub_store)
    parser.add_argument("--public-key", metavar="HEX", help="what `keys public` says; with it no passphrase is needed")
    parser.add_argument("--repair", action="store_true", help="put right what is damaged")


def verify(context: Context) -> bool:
    """Check a repository."""
    output = context.output
    level: VerifyLevel = "every_byte" if context.settings.every_byte else "structure"
    with context.repository() as repository, context.stopping() as token, context.meter("checking", "packs") as meter:
        report = repository.verify(level, cancel=token, on_progress=meter)
    output.document("verify", report, level=level, is_sound=report.is_sound, seconds=round(meter.seconds, 3))
    looked = f"{plural(report.snapshots, 'snapshot')}, {plural(report.items, 'item')}, {plural(report.packs, 'pack')}"
    output.line(
        f"{_verdict(output, report.is_sound)} {looked}, {plural(report.chunks, 'chunk')} in {duration(meter.seconds)}"
    )
    hint = "" if context.settings.every_byte else "; --every-byte reads them all"
    output.line(f"  {size(report.bytes_read)} of packs were read{hint}")
    output.problems(report.findings, plural(len(report.findings), "finding"))
    return not report.is_sound


def _verdict(output: Output, sound: bool) -> str:
    return output.style("Sound.", "green", "bold") if sound else output.style("Damaged.", "red", "bold")


def drill(context: Context) -> bool:
    """Read a sample."""
    settings, output = context.settings, context.output
    with context.repository() as repository, context.stopping() as token, context.meter("drilling") as meter:
        report = repository.drill(
            context.snapshots(repository, settings.snapshots) or None,
            items=settings.items,
            confidence=settings.confidence,
            share=settings.share,
            seed=settings.seed,
            against=[FolderSource(path) for path in settings.against],
            sink=FolderSink(settings.to) if settings.to else None,
            cancel=token,
            on_progress=meter,
        )
    output.document("drill", report, is_clean=report.is_clean, seconds=round(meter.seconds, 3))
    output.line(output.style(visible(report.text), "green" if report.is_clean else "red"))
    output.line(
        f"  {plural(report.sampled, 'item')} of {count(report.population)}, {size(report.bytes)} in {duration(meter.seconds)}"
    )
    if report.compared or report.changed:
        output.line(f"  {count(report.compared)} compared with the source, {count(len(report.changed))} changed since")
    output.line(f"  seed {report.seed} draws the same items again")
    output.problems(report.lost_snapshots, "Snapshots that do not read")
    output.problems(report.failures, "Items that do not read")
    output.problems(report.differing, "Items that are not what the source has")
    output.problems(report.problems, "In the way")
    return not report.is_clean or bool(report.problems)


def parity(context: Context) -> bool:
    """Add parity."""
    settings, output = context.settings, context.output
    with (
        context.repository() as repository,
        context.stopping() as token,
        context.meter("adding parity", "objects") as meter,
    ):
        report = repository.add_parity(
            parity=settings.parity, members=settings.members, cancel=token, on_progress=meter
        )
    output.document("parity", report, seconds=round(meter.seconds, 3))
    output.line(f"{plural(report.objects, 'object')} in {plural(report.sets, 'set')} are protected")
    output.line(
        f"  {plural(report.new_sets, 'new set')}, {size(report.new_bytes)} of parity, in {duration(meter.seconds)}"
    )
    output.problems(report.findings, "Objects that are damaged, and are not protected")
    return bool(report.findings)


def scrub_store(context: Context) -> bool:
    """Check what parity protects; without a key if the public one is given."""
    settings, output = context.settings, context.output
    key = settings.public_key
    if not key:
        with context.repository() as repository:
            key = repository.public_key
    with context.stopping() as token, context.meter("scrubbing", "sets") as meter:
        report = scrub(
            context.url, key, options=context.options(), repair=settings.repair, cancel=token, on_progress=meter
        )
    output.document("scrub", report, is_sound=report.is_sound, seconds=round(meter.seconds, 3))
    looked = f"{plural(report.objects, 'object')} in {plural(report.sets, 'set')}, {size(report.bytes_read)} read"
    output.line(f"{_verdict(output, report.is_sound)} {looked} in {duration(meter.seconds)}")
    if report.unprotected_objects:
        output.line(f"  {plural(report.unprotected_objects, 'object')} no parity protects; `parity` adds it")
    output.problems([_damage(each) for each in report.damage], f"{plural(len(report.damage), 'object')} damaged")
    output.problems(report.findings, plural(len(report.findings), "finding"))
    return not report.is_sound


def _damage(damage: Damage) -> str:
    words = {"possible": "can be repaired: --repair", "done": "repaired", "impossible": "cannot be repaired"}
    what = "gone" if damage.missing else f"{damage.bad_blocks} of {plural(damage.blocks, 'block')} damaged"
    return f"{damage.object}: {what}, {words[damage.repair]}"
