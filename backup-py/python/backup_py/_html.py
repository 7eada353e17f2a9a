"""What notebooks show of repositories and results: tables, in which everything is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING

from ._text import count, size, visible, when

if TYPE_CHECKING:
    from ._backup import Repository

__all__ = ["Shown", "repository"]

_ROWS = 20
"""Entries of a list that are shown."""

_COLOURS = {"complete": "#1a7f37", "incomplete": "#9a6700", "checkpoint": "#57606a"}


class Shown:
    """A result that notebooks show as a table."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        title = type(self).__name__
        shown = str(self) if type(self).__str__ is not object.__str__ else ""
        caption = f"<b>{_text(title)}</b>" + (f" {_text(shown)}" if shown and not shown.startswith(f"{title}(") else "")
        return f"<table><caption>{caption}</caption>{_fields(self)}</table>"


def repository(repository: Repository) -> str:
    """A repository: its id and its newest snapshots; the extension module calls it. Costs no request."""
    title = f"<b>Repository</b> <code>{_text(repository.id)}</code>"
    if repository.closed:
        return f"<p>{title} (closed)</p>"
    snapshots = repository.snapshots()
    rows = "".join(
        "<tr>"
        f"<td><code>{_text(each.id)}</code></td>"
        f"<td>{_text(when(each.created_ns, local=False))}</td>"
        f"<td>{_state(each.state)}{' suspicious' if each.suspicious else ''}{' held' if each.held else ''}</td>"
        f"<td>{_text(each.collection.id)}</td>"
        "</tr>"
        for each in reversed(snapshots[-_ROWS:])
    )
    more = f", the newest {_ROWS}" if len(snapshots) > _ROWS else ""
    head = "<tr><th>snapshot</th><th>created</th><th>state</th><th>collection</th></tr>"
    caption = f"<caption>{title}: {count(len(snapshots))} snapshots{more}</caption>"
    return f"<table>{caption}<thead>{head}</thead><tbody>{rows}</tbody></table>"


def _fields(value: object) -> str:
    rows = []
    for each in fields(value):  # type: ignore[arg-type] # only dataclasses get here
        name, entry = each.name, getattr(value, each.name)
        rows.append(
            f'<tr><th style="text-align:left">{_text(_label(name))}</th><td style="text-align:left">{_value(name, entry)}</td></tr>'
        )
    return "".join(rows)


def _label(name: str) -> str:
    return name.removesuffix("_ns").replace("_", " ")


def _value(name: str, value: object) -> str:
    if value is None or value == () or value == {}:
        return "&ndash;"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        if name.endswith("_ns"):
            return _text(when(value, local=False))
        if "bytes" in name or name == "size":
            return f'<span title="{value}">{_text(size(value))}</span>'
        return _text(count(value))
    if name == "state":
        return _state(str(value))
    if isinstance(value, bytes):
        return f"<code>{_text(repr(value[:100]))}</code>"
    if isinstance(value, datetime):
        return _text(value.isoformat())
    if isinstance(value, Mapping):
        pairs = [f"{visible(str(key))} = {visible(str(entry))}" for key, entry in value.items()]
        return _list(pairs)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _list([visible(str(entry)) for entry in value[:_ROWS]], len(value))
    if is_dataclass(value) and type(value).__str__ is object.__str__:
        return f"<table>{_fields(value)}</table>"
    return _text(str(value))


def _list(entries: Sequence[str], total: int = 0) -> str:
    lines = [escape(entry) for entry in entries[:_ROWS]]
    total = max(total, len(entries))
    if total > len(lines):
        lines.append(f"and {count(total - len(lines))} more")
    return "<br>".join(lines)


def _state(state: str) -> str:
    return f'<span style="color:{_COLOURS.get(state, "inherit")}">{_text(state)}</span>'


def _text(text: str) -> str:
    return escape(visible(text))
