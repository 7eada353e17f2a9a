"""What is printed: sentences and tables for people, JSON lines for programs."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime, timezone
from typing import TextIO

from .._text import count, duration, plural, size, visible, when, width
from ..exceptions import BackupError

__all__ = ["Output", "count", "duration", "plural", "size", "visible", "wants_colour", "when"]

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
_SHOWN_PROBLEMS = 20
"""Problems that people are shown; programs get them all."""


class Output:
    """Standard output and standard error, for one command."""

    def __init__(self, *, json: bool, colour: bool, error_colour: bool) -> None:
        self.json = json
        self.colour = colour
        self.error_colour = error_colour

    @property
    def for_people(self) -> bool:
        """Whether somebody looks at standard output: ids may be short and times local."""
        return not self.json and sys.stdout.isatty()

    def document(self, kind: str, value: object = None, /, **more: object) -> None:
        """Print one JSON object as a line; nothing without `--json`. `type` comes first."""
        if self.json:
            entries = {"type": kind, **_entries(value), **{name: plain(each) for name, each in more.items()}}
            print(json.dumps(entries), flush=kind == "progress")

    def line(self, text: str = "") -> None:
        """Print a line for people; nothing with `--json`."""
        if not self.json:
            print(_encodable(text, sys.stdout))

    def note(self, text: str) -> None:
        """Print a remark for people on standard error; nothing with `--json`."""
        if not self.json:
            print(_encodable(text, sys.stderr), file=sys.stderr, flush=True)

    def style(self, text: str, *names: str) -> str:
        """Colour text for standard output, where that is wanted."""
        return _style(text, names) if self.colour else text

    def id(self, text: str) -> str:
        """An id: the first digits where people look at it, all of them for a pipe."""
        return self.style(text[:10], "cyan") if self.for_people else text

    def problems(self, problems: Sequence[object], heading: str) -> None:
        """Name what went wrong, the first of it for people."""
        if not problems:
            return
        self.line(self.style(f"{heading}:", "yellow"))
        for problem in problems[:_SHOWN_PROBLEMS]:
            self.line(f"  {visible(str(problem))}")
        if len(problems) > _SHOWN_PROBLEMS:
            self.line(f"  and {count(len(problems) - _SHOWN_PROBLEMS)} more; --json names them all")

    def table(self, header: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> None:
        """Print columns: aligned, the last one cut to fit, on a terminal; separated by tabs for a pipe."""
        if not self.for_people:
            for row in rows:
                self.line("\t".join(row))
            return
        lines = [list(row) for row in rows]
        widths = [max(map(width, column)) for column in zip(header, *lines, strict=True)]
        room = shutil.get_terminal_size().columns
        for number, row in enumerate([list(header), *lines]):
            cells = [
                _pad(cell, wide, column in right) for column, (cell, wide) in enumerate(zip(row, widths, strict=True))
            ]
            text = _cut("  ".join(cells).rstrip(), room)
            self.line(self.style(text, "bold") if number == 0 else text)

    def backup_error(self, error: BackupError) -> None:
        """Say what kept a command from being done."""
        more = {"retryable": error.retryable, "retry_after": error.retry_after}
        self.error(error, kind=type(error).__name__, code=error.code, hint=error.hint, item=error.item, **more)

    def error(self, message: object, *, kind: str, code: int | None, hint: str = "", **more: object) -> None:
        """Print an error on standard error: a line and its hint, or one JSON object."""
        message = visible(str(message))
        if self.json:
            entries = {"type": "error", "kind": kind, "code": code, "message": message, "hint": hint or None}
            print(json.dumps({**entries, **{name: plain(each) for name, each in more.items()}}), file=sys.stderr)
            return
        item = more.get("item")
        if item is not None and str(item) not in message:
            message += f": {visible(str(item))}"
        label = _style("error:", ["red", "bold"]) if self.error_colour else "error:"
        print(_encodable(f"{label} {message}", sys.stderr), file=sys.stderr)
        if hint:
            label = _style("hint:", ["cyan"]) if self.error_colour else "hint:"
            print(_encodable(f"{label} {hint}", sys.stderr), file=sys.stderr)


def plain(value: object) -> object:
    """Turn a result into what JSON knows. Bytes are hexadecimal, times RFC 3339, errors objects."""
    if isinstance(value, BackupError):
        return {"kind": type(value).__name__, "code": value.code, "message": str(value), "hint": value.hint or None}
    if is_dataclass(value) or isinstance(value, Mapping):
        return _entries(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value


def _entries(value: object) -> dict[str, object]:
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if not is_dataclass(value):
        raise TypeError(f"{type(value).__name__} is no result")
    return {each.name: plain(getattr(value, each.name)) for each in fields(value)}


def wants_colour(stream: TextIO) -> bool:
    """Whether a stream gets colours: a terminal that has them, unless NO_COLOR is set (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _style(text: str, names: Iterable[str]) -> str:
    codes = ";".join(_STYLES[name] for name in names)
    return f"\x1b[{codes}m{text}\x1b[0m" if codes else text


def _pad(text: str, wide: int, right: bool) -> str:
    room = " " * max(wide - width(text), 0)
    return room + text if right else text + room


def _cut(text: str, room: int) -> str:
    """Cut a line to a terminal's width; a coloured text keeps its end of colour."""
    if width(text) <= room:
        return text
    cells, kept, escaped = 0, [], False
    for letter in text:
        if escaped or letter == "\x1b":
            escaped = letter != "m"
        else:
            cells += width(letter)
            if cells >= room:
                continue
        kept.append(letter)
    return "".join(kept) + "\u2026"


def _encodable(text: str, stream: TextIO) -> str:
    """Replace what the stream's encoding does not have: an old terminal shall show less, not fail."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
