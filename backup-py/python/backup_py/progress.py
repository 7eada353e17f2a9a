"""Progress bars of tqdm and rich, for `on_progress`; docs/python.md.

    from backup_py.progress import tqdm_bar

    with tqdm_bar() as bar:
        repository.backup(source, on_progress=bar)

Install them with `pip install backup-py[tqdm]` or `backup-py[rich]`; they are imported when a bar is made. A bar belongs to one
run. It closes itself when the run is done; `with` also closes it when the run fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from .results import Phase, Progress

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console

__all__ = ["Bar", "rich_bar", "tqdm_bar"]

_WORDS: dict[Phase, str] = {
    "opening": "opening",
    "transferring": "transferring",
    "committing": "finishing",
    "done": "done",
}


class Bar(Protocol):
    """A progress bar of one run: a callable for `on_progress`, and a context manager that closes it."""

    def __call__(self, progress: Progress, /) -> None:
        """Show a state."""

    def close(self) -> None:
        """Take it off the screen, or leave it in its last state. Closing again does nothing."""

    def __enter__(self) -> Bar: ...  # noqa: PYI034 - Self is of Python 3.11
    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...


def tqdm_bar(description: str | None = None, *, leave: bool = True, **options: Any) -> Bar:  # noqa: ANN401 - tqdm's own
    """A bar of tqdm, which also knows notebooks.

    `description` stands in front, by default the phase of the run. `options` go to `tqdm.auto.tqdm`: `file`, `disable`, `position`.
    It counts bytes of content where the run knows how many there are, else items. Raises `ImportError` if tqdm is not installed.
    """
    from tqdm.auto import tqdm

    # tqdm's own pauses would hide states: the engine sends few enough of them.
    return _Tqdm(tqdm(desc=description, leave=leave, mininterval=0, unit=" items", **options), description)


def rich_bar(description: str | None = None, *, console: Console | None = None, transient: bool = False) -> Bar:
    """A bar of rich.

    `description` stands in front, by default the phase of the run. `transient` takes it off the screen at the end. Raises
    `ImportError` if rich is not installed.
    """
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Display

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[items]}", markup=False),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    return _Rich(Display(*columns, console=console, transient=transient), description)


class _Closing:
    """What both have: `with`."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Any:  # noqa: ANN401 - each gives itself
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Tqdm(_Closing):
    def __init__(self, bar: Any, description: str | None) -> None:  # noqa: ANN401 - tqdm is optional
        self._bar = bar
        self._description = description

    def __call__(self, progress: Progress) -> None:
        bar = self._bar
        beside: dict[str, int | float]
        if progress.bytes_total:
            bar.unit, bar.unit_scale, bar.total = "B", True, progress.bytes_total
            done, beside = progress.bytes_done, {"items": progress.items_done}
        else:
            bar.total = progress.items_total
            done, beside = progress.items_done, {"MB": round(progress.bytes_done / 1e6, 1)}
        if progress.problems:
            beside["problems"] = progress.problems
        bar.set_postfix(beside, refresh=False)
        if self._description is None:
            bar.set_description_str(_WORDS.get(progress.phase, progress.phase), refresh=False)
        # A run may find that it has to do something again.
        bar.n = done
        bar.refresh()
        if progress.phase == "done":
            self.close()

    def close(self) -> None:
        self._bar.close()


class _Rich(_Closing):
    def __init__(self, display: Any, description: str | None) -> None:  # noqa: ANN401 - rich is optional
        self._display = display
        self._description = description
        self._task = display.add_task(description or "opening", total=None, items="")
        display.start()

    def __call__(self, progress: Progress) -> None:
        total = f" of {progress.items_total:,}" if progress.items_total else ""
        items = f"{progress.items_done:,}{total} items"
        if progress.problems:
            items += f", {progress.problems:,} problems"
        self._display.update(
            self._task,
            description=self._description or _WORDS.get(progress.phase, progress.phase),
            completed=progress.bytes_done,
            total=progress.bytes_total or (progress.bytes_done if progress.phase == "done" else None),
            items=items,
        )
        if progress.phase == "done":
            self.close()

    def close(self) -> None:
        self._display.stop()
