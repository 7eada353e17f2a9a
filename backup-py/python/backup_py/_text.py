"""Numbers, times and foreign names as text for people; the command line, progress bars and notebooks use it."""

from __future__ import annotations

import unicodedata
from datetime import datetime, timezone


def visible(text: str) -> str:
    r"""Escape whatever could move a cursor, break a line or end a row; bytes that are no text become `\xNN`."""
    return "".join(_visible(letter) for letter in text)


def _visible(letter: str) -> str:
    number = ord(letter)
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    # Bidirectional marks (Cf) can make a name look like another one; joiners between emoji are harmless.
    if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp") and letter not in "\u200d\u200c":
        return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
    return letter


def width(text: str) -> int:
    """Cells that a text takes on a terminal."""
    cells, escaped = 0, False
    for letter in text:
        if escaped or letter == "\x1b":
            escaped = letter != "m"
        elif not unicodedata.combining(letter):
            cells += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
    return cells


def size(number: int) -> str:
    """Bytes for people: `3.4 MB`, in powers of 1,000."""
    if number < 1000:
        return f"{number} B"
    value = float(number)
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        value /= 1000
        if value < 999.5:
            return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"
    return f"{value / 1000:.1f} EB"


def count(number: int) -> str:
    """A number with marks between thousands."""
    return f"{number:,}"


def plural(number: int, noun: str, several: str = "") -> str:
    """`1 item`, `2,000 items`."""
    return f"{number:,} {noun if number == 1 else several or noun + 's'}"


def duration(seconds: float) -> str:
    """A time span for people."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def when(nanoseconds: int | None, *, local: bool) -> str:
    """A time for a column: local to the minute where people look, else RFC 3339 in UTC."""
    if nanoseconds is None:
        return "-"
    try:
        time = datetime.fromtimestamp(nanoseconds // 1_000_000_000, timezone.utc)
        return f"{time.astimezone():%Y-%m-%d %H:%M}" if local else f"{time:%Y-%m-%dT%H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return "?"
