"""`retain` and `prune`."""

from __future__ import annotations

import argparse
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from .context import Context, UsageError, options_of
from .output import count, duration, plural, size, visible

if TYPE_CHECKING:
    from .parser import Commands

_COUNTS = ("last", "hourly", "daily", "weekly", "monthly", "yearly", "within_days", "floor_days", "floor_last")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def add(commands: Commands) -> None:
    """Add these commands."""
    parser = commands.add("retain", "remove the snapshots that a rule lets go", retain)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("-c", "--collection", action="append", metavar="ID", help="the rule counts for this collection")
    which.add_argument("--all-collections", action="store_true", help="for each collection of its own")
    which.add_argument("--rules", metavar="FILE", help='JSON: {"folder:/srv": {"daily": 14}}')
    for name in _COUNTS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, metavar="N", help=argparse.SUPPRESS)
    parser.add_argument("--keep-label", action="append", metavar="NAME[=VALUE]", help="keep what has this label")
    parser.add_argument("-n", "--dry-run", action="store_true", help="only say what would be removed")
    parser.epilog = (
        "What to keep: --last, --hourly, --daily, --weekly, --monthly, --yearly N, --within-days N. Whatever they say, what is "
        "younger than --floor-days (7) and the newest --floor-last (1) stay. docs/retention.md."
    )
    parser = commands.add("prune", "give back the room of what no snapshot needs", prune)
    parser.add_argument("--grace", type=_span, metavar="TIME", help="leave alone what is younger: 12h, 2d (1d)")
    parser.add_argument(
        "--unused-percent", type=int, default=10, metavar="N", help="so much of what stays may be unused (10)"
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="only say what would be done")


def _span(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 30m, 12h or 2d")
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])


def retain(context: Context) -> bool:
    """Apply a retention."""
    settings, output = context.settings, context.output
    with context.repository() as repository:
        if settings.rules:
            rules = _rules(settings.rules)
        else:
            rule: dict[str, object] = options_of(vars(settings), *_COUNTS)
            if settings.keep_label:
                rule["labels"] = [_label(text) for text in settings.keep_label]
            if not rule:
                raise UsageError("no rule is given: --daily 14 or another one")
            chosen = settings.collection or {each.collection.id for each in repository.snapshots()}
            rules = dict.fromkeys(sorted(set(chosen)), rule)
        decided = repository.retain(rules, dry_run=settings.dry_run)
    kept = removed = 0
    for collection, decisions in decided.items():
        if decisions:
            output.line(output.style(visible(collection), "bold"))
        for decision in decisions:
            output.document("decision", decision, collection=collection, dry_run=settings.dry_run)
            kept, removed = kept + decision.keep, removed + (not decision.keep)
            word = output.style("keep  ", "green") if decision.keep else output.style("remove", "red")
            output.line(f"  {word}  {output.id(decision.id)}  {visible('; '.join(decision.reasons))}")
    verb = "would be removed" if settings.dry_run else "removed"
    output.document("retain", kept=kept, removed=removed, dry_run=settings.dry_run)
    output.line(f"{plural(kept, 'snapshot')} kept, {count(removed)} {verb}")
    if removed and not settings.dry_run and output.for_people:
        output.line("`prune` gives back their room.")
    return False


def _rules(path: str) -> dict[str, dict[str, object]]:
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: {error}") from None
    if not isinstance(found, dict) or not all(isinstance(rule, dict) for rule in found.values()):
        raise UsageError(f"{path} is no object of objects, one for each collection")
    return found


def _label(text: str) -> dict[str, str]:
    name, equals, value = text.partition("=")
    return {"name": name, "value": value} if equals else {"name": name}


def prune(context: Context) -> bool:
    """Give back room."""
    settings, output = context.settings, context.output
    with context.repository() as repository, context.stopping() as token, context.meter("pruning", "steps") as meter:
        report = repository.prune(
            grace=settings.grace,
            unused_percent=settings.unused_percent,
            dry_run=settings.dry_run,
            cancel=token,
            on_progress=meter,
        )
    output.document("prune", report, dry_run=settings.dry_run, seconds=round(meter.seconds, 3))
    condemned = report.dead_packs + report.copied_packs + report.stray_objects
    verb = "would be condemned" if settings.dry_run else "condemned"
    output.line(
        f"{size(report.bytes)} in {plural(report.packs, 'pack')}, {size(report.unused_bytes)} of them unused before"
    )
    output.line(
        f"  {plural(condemned, 'object')} {verb}: {size(report.dead_bytes + report.copied_bytes + report.stray_bytes)}"
    )
    output.line(
        f"  {plural(report.deleted_objects, 'object')} deleted that were condemned earlier, in {duration(meter.seconds)}"
    )
    if report.locked_objects:
        output.line(f"  {plural(report.locked_objects, 'object')} the store does not let go yet")
    output.problems(report.findings, f"{plural(len(report.findings), 'pack')} could not be copied and stay")
    return bool(report.findings)
