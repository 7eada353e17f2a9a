"""`snapshots`, `show`, `ls`, `cat`, `diff`, `hold`, `release` and `remove`."""

from __future__ import annotations

import base64
import stat
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from .._backup import Browser, Repository
from ..exceptions import InvalidArgumentError
from ..results import Item, SnapshotSummary
from .context import Context
from .output import Output, count, plural, size, visible, when

if TYPE_CHECKING:
    from .parser import Commands

_PIECE_BYTES = 4 << 20
"""What `cat` holds in memory."""


def add(commands: Commands) -> None:
    """Add these commands."""
    parser = commands.add("snapshots", "list the snapshots, the newest last", list_snapshots)
    parser.add_argument("-c", "--collection", metavar="ID", help="only of this collection")
    parser = commands.add("show", "say all that a snapshot knows of itself", show)
    parser.add_argument("snapshot", metavar="SNAPSHOT")
    parser = commands.add("ls", "list what a folder of a snapshot holds", ls)
    parser.add_argument("snapshot", metavar="SNAPSHOT")
    parser.add_argument("path", metavar="PATH", nargs="?", default="", help="below the top, which is the default")
    parser.add_argument("-R", "--recursive", action="store_true", help="also what lies in the folders below")
    parser = commands.add("cat", "write a file of a snapshot to standard output", cat)
    parser.add_argument("snapshot", metavar="SNAPSHOT")
    parser.add_argument("path", metavar="PATH")
    parser.add_argument("--stream", default="content", metavar="NAME", help="another stream of it (content)")
    parser = commands.add("diff", "say what differs between two snapshots", diff)
    parser.add_argument("before", metavar="BEFORE")
    parser.add_argument("after", metavar="AFTER")
    for name, help_, command in (
        ("hold", "keep snapshots from being removed, until they are released", hold),
        ("release", "let snapshots be removed again", release),
        ("remove", "give snapshots up; `prune` gives back their room", remove),
    ):
        parser = commands.add(name, help_, command)
        parser.add_argument("snapshots", metavar="SNAPSHOT", nargs="+")


def list_snapshots(context: Context) -> bool:
    """List snapshots."""
    output, wanted = context.output, context.settings.collection if "collection" in context.settings else None
    with context.repository() as repository:
        found = [each for each in repository.snapshots() if not wanted or each.collection.id == wanted]
    for each in found:
        output.document("snapshot", each, created=each.created)
    rows = [_row(output, each) for each in found]
    if rows or not output.for_people:
        output.table(["id", "created", "state", "collection"], rows)
    if output.for_people:
        output.line(plural(len(rows), "snapshot") if rows else "There is no snapshot yet.")
    return False


def _row(output: Output, snapshot: SnapshotSummary) -> list[str]:
    state: str = snapshot.state
    colour = "green" if state == "complete" else "yellow"
    words = [output.style(state, colour) if output.for_people else state]
    if snapshot.suspicious:
        words.append(output.style("suspicious", "red") if output.for_people else "suspicious")
    if snapshot.held:
        words.append("held")
    created = when(snapshot.created_ns, local=output.for_people)
    return [output.id(snapshot.id), created, ",".join(words), visible(snapshot.collection.id)]


def show(context: Context) -> bool:
    """Show one snapshot."""
    output = context.output
    with context.repository() as repository:
        info = repository.snapshot(context.snapshot(repository, context.settings.snapshot).id)
    output.document("snapshot", info, created=info.created)
    stats = info.stats
    rows = [
        ("snapshot", output.style(info.id, "cyan")),
        ("collection", f"{visible(info.collection.id)} ({info.collection.kind})"),
        ("created", when(info.created_ns, local=output.for_people)),
        ("state", ", ".join([info.state, *["suspicious"] * info.suspicious, *["held"] * info.held])),
        ("parent", info.parent or "none"),
        ("items", f"{count(stats.items)}, {size(stats.bytes)}"),
        ("changes", f"{count(stats.added)} new, {count(stats.changed)} changed, {count(stats.removed)} gone"),
        ("run", f"read {size(stats.bytes_read)}, stored {size(stats.bytes_stored)}"),
        *(("label", visible(f"{name}={value}")) for name, value in sorted(info.labels.items())),
    ]
    for name, value in rows:
        output.line(f"{output.style(f'{name:10}', 'dim')} {value}")
    output.problems(
        [f"{each.place}: {each.message}" for each in info.problems],
        f"{plural(stats.problems, 'item')} could not be read",
    )
    return False


def ls(context: Context) -> bool:
    """List a folder of a snapshot."""
    settings, output = context.settings, context.output
    with context.repository() as repository:
        browser = repository.browse(context.snapshot(repository, settings.snapshot).id)
        top = browser.stat(settings.path.strip("/"))
        found = _walk(browser, top, settings.path.strip("/"), settings.recursive)
        if output.json:
            for path, item in found:
                output.document("item", item, path=path, size=item.size)
        else:
            rows = (
                [_mode(item), _size(item), when(item.modified_ns, local=output.for_people), _name(output, path, item)]
                for path, item in found
            )
            output.table(["mode", "size", "modified", "name"], rows, right=[1])
    return False


def _walk(browser: Browser, top: Item, path: str, recursive: bool) -> Iterator[tuple[str, Item]]:
    """What lies below an item, with paths from the top; the item itself if it is no folder."""
    if top.kind != "folder":
        yield path, top
        return
    open_folders = [(path, browser.list(top))]
    while open_folders:
        above, listing = open_folders[-1]
        item = next(listing, None)
        if item is None:
            open_folders.pop()
            continue
        below = f"{above}/{item.name}" if above else item.name
        yield below, item
        if recursive and item.kind == "folder":
            open_folders.append((below, browser.list(item)))


def _mode(item: Item) -> str:
    mode = item.attributes.get("mode")
    kinds = {"folder": stat.S_IFDIR, "symlink": stat.S_IFLNK, "file": stat.S_IFREG}
    if isinstance(mode, int) and item.kind in kinds:
        return stat.filemode(kinds[item.kind] | stat.S_IMODE(mode))
    return item.kind


def _size(item: Item) -> str:
    return "-" if item.kind == "folder" else size(item.size)


def _name(output: Output, path: str, item: Item) -> str:
    name = visible(path)
    if not output.for_people:
        return name
    return output.style(name + "/", "blue") if item.kind == "folder" else name


def cat(context: Context) -> bool:
    """Write a stream to standard output, piece by piece."""
    settings, output = context.settings, context.output
    with context.repository() as repository:
        browser = repository.browse(context.snapshot(repository, settings.snapshot).id)
        item = browser.stat(settings.path.strip("/"))
        if item.kind == "folder" and not any(each.name == settings.stream for each in item.streams):
            raise InvalidArgumentError("that is a folder; `ls` lists it", item=settings.path)
        if output.json:
            output.document("item", item, path=settings.path, size=item.size)
        else:
            sys.stdout.flush()
        for offset, piece in _pieces(browser, item, settings.stream):
            if output.json:
                output.document("data", offset=offset, base64=base64.b64encode(piece).decode())
            else:
                sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    return False


def _pieces(browser: Browser, item: Item, stream: str) -> Iterator[tuple[int, bytes]]:
    # A further hard link has no stream of its own.
    target = item.hard_link or item
    if isinstance(target, bytes):
        item = browser.stat(target)
    length = next((each.size for each in item.streams if each.name == stream), None)
    if length is None:
        yield 0, browser.read(target, stream=stream)
        return
    for offset in range(0, length, _PIECE_BYTES):
        yield offset, browser.read(target, stream=stream, offset=offset, length=min(_PIECE_BYTES, length - offset))


def diff(context: Context) -> bool:
    """Print what differs."""
    settings, output = context.settings, context.output
    signs = {"added": ("+", "green"), "removed": ("-", "red"), "changed": ("M", "yellow")}
    totals = dict.fromkeys(signs, 0)
    with context.repository() as repository:
        before, after = context.snapshots(repository, [settings.before, settings.after])
        browsers = repository.browse(before), repository.browse(after)
        for difference in repository.diff(before, after):
            earlier = browsers[0].path(difference.before) if difference.before else None
            later = browsers[1].path(difference.after) if difference.after else None
            output.document("difference", difference, path_before=earlier, path_after=later)
            totals[difference.kind] += 1
            sign, colour = signs[difference.kind]
            if difference.kind == "changed" and not difference.content:
                sign = "R" if earlier != later else "m"
            path = visible((later if later is not None else earlier) or ".")
            moved = f"{visible(earlier)} -> {path}" if earlier and later and earlier != later else path
            output.line(f"{output.style(sign, colour)} {moved}")
    if output.for_people:
        words = [f"{count(number)} {kind}" for kind, number in totals.items() if number]
        output.line(output.style(", ".join(words) or "Nothing differs.", "bold"))
    return False


def hold(context: Context) -> bool:
    """Hold snapshots."""
    return _all(context, "held", "Held", lambda repository, ids: repository.hold(ids))


def release(context: Context) -> bool:
    """Release snapshots."""
    return _all(context, "released", "Released", lambda repository, ids: repository.release(ids))


def remove(context: Context) -> bool:
    """Remove snapshots."""
    return _all(context, "removed", "Removed", lambda repository, ids: repository.remove(ids))


def _all(context: Context, kind: str, word: str, do: Callable[[Repository, list[str]], None]) -> bool:
    with context.repository() as repository:
        ids = context.snapshots(repository, context.settings.snapshots)
        do(repository, ids)
    for each in ids:
        context.output.document(kind, snapshot=each)
        context.output.line(f"{word} {context.output.id(each)}")
    return False
