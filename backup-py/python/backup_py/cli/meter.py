"""Progress on standard error: one line that is drawn anew on a terminal, JSON or plain lines where they are asked for."""

from __future__ import annotations

import json
import shutil
import sys
import time

from ..results import Progress
from .output import Output, _cut, _encodable, _style, count, duration, plain, size

__all__ = ["Meter"]

_SPINNER = "\u280b\u2819\u2839\u2838\u283c\u2834\u2826\u2827\u2807\u280f"
_WORDS = {"opening": "opening", "committing": "finishing", "done": "done"}
_LINE_SECONDS = 5.0
"""How often a line is printed where nobody can draw."""


class Meter:
    """Shows the progress of one run; give it to `on_progress`. With `with`, the line is gone afterwards."""

    def __init__(self, output: Output, when: str, doing: str, items: str = "items") -> None:
        self._output = output
        self._doing = doing
        self._items = items
        terminal = sys.stderr.isatty() and not output.json
        self._draws = terminal and when != "never"
        self._prints = not self._draws and when == "always"
        self._unicode = (sys.stderr.encoding or "").lower().replace("-", "").startswith("utf")
        self._begun = time.monotonic()
        self._printed = -_LINE_SECONDS
        self._phase = ""
        self._frame = 0
        self._drawn = False

    def __enter__(self) -> Meter:  # noqa: PYI034 - Self is of Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            sys.stderr.write("\r\x1b[2K\x1b[?25h")
            sys.stderr.flush()

    @property
    def seconds(self) -> float:
        """How long the run has taken until now."""
        return time.monotonic() - self._begun

    def __call__(self, progress: Progress) -> None:
        """Show a state."""
        if self._draws:
            room = shutil.get_terminal_size().columns
            line = _cut(_encodable(self.line(progress, room), sys.stderr), room)
            # The cursor is hidden while the line is redrawn: it would flicker at its end.
            sys.stderr.write(f"\r\x1b[?25l{line}\x1b[K")
            sys.stderr.flush()
            self._drawn = True
            self._frame += 1
        elif self._prints:
            now = time.monotonic()
            if progress.phase != self._phase or now - self._printed >= _LINE_SECONDS:
                self._phase, self._printed = progress.phase, now
                self._print(progress)

    def _print(self, progress: Progress) -> None:
        if self._output.json:
            entries = plain(progress)
            assert isinstance(entries, dict)
            text = json.dumps({"type": "progress", "seconds": round(self.seconds, 3), **entries})
        else:
            text = self.line(progress, None)
        print(text, file=sys.stderr, flush=True)

    def line(self, progress: Progress, room: int | None) -> str:
        """One line of text; with a bar and colours if there is `room` in cells."""
        parts = [self._amount(progress)]
        if progress.bytes_done:
            parts.append(size(progress.bytes_done))
            if self.seconds > 1:
                parts.append(f"{size(int(progress.bytes_done / self.seconds))}/s")
        if progress.bytes_stored and progress.bytes_stored != progress.bytes_done:
            parts.append(f"store {size(progress.bytes_stored)}")
        left = self._left(progress)
        if left is not None:
            parts.append(f"{duration(left)} left")
        if progress.problems:
            word = f"{count(progress.problems)} problems" if progress.problems > 1 else "1 problem"
            parts.append(_style(word, ["yellow"]) if room and self._output.error_colour else word)
        doing = _WORDS.get(progress.phase, self._doing)
        if room is None:
            return f"{doing}: {', '.join(parts)}"
        mark = _SPINNER[self._frame % len(_SPINNER)] if self._unicode else "|/-\\"[self._frame % 4]
        bar = self._bar(progress)
        if self._output.error_colour:
            mark, bar = _style(mark, ["cyan"]), _style(bar, ["green"]) if bar else bar
        between = " \u00b7 " if self._unicode else " - "
        return f"{mark} {doing}  {bar + '  ' if bar else ''}{between.join(parts)}"

    def _amount(self, progress: Progress) -> str:
        if progress.items_total:
            return f"{count(progress.items_done)} of {count(progress.items_total)} {self._items}"
        return f"{count(progress.items_done)} {self._items}"

    def _share(self, progress: Progress) -> float | None:
        if progress.bytes_total:
            return min(progress.bytes_done / progress.bytes_total, 1.0)
        if progress.items_total:
            return min(progress.items_done / progress.items_total, 1.0)
        return None

    def _left(self, progress: Progress) -> float | None:
        share = self._share(progress)
        # A guess from the first moments says nothing.
        if share is None or share < 0.02 or share >= 1 or self.seconds < 3:
            return None
        return self.seconds * (1 - share) / share

    def _bar(self, progress: Progress) -> str:
        share, cells = self._share(progress), 16
        if share is None:
            return ""
        full = int(share * cells)
        done, rest = ("\u2501", "\u2500") if self._unicode else ("#", ".")
        return f"{done * full}{rest * (cells - full)} {share:4.0%}"
