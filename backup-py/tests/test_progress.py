"""Progress bars, and what notebooks show."""

from __future__ import annotations

import html.parser
import io
import re
from pathlib import Path
from typing import Any

import pytest

import backup_py
from backup_py import BackupError, FolderSink, FolderSource, Progress, Repository
from backup_py.progress import rich_bar, tqdm_bar
from conftest import flip, packs


def state(**more: Any) -> Progress:
    fields: dict[str, Any] = {
        "items_done": 0,
        "items_total": None,
        "bytes_done": 0,
        "bytes_total": None,
        "bytes_stored": 0,
    }
    return Progress(**{"phase": "transferring", "problems": 0, **fields, **more})


def test_a_run_shows_in_tqdm(repository: Repository, tree: Path, tmp_path: Path) -> None:
    out = io.StringIO()
    with tqdm_bar(file=out) as bar:
        done = repository.backup(FolderSource(tree), on_progress=bar)
    assert f"done: {done.stats.items} items" in out.getvalue()
    out = io.StringIO()
    bar = tqdm_bar("restore", file=out)
    repository.restore(done.snapshot, FolderSink(tmp_path / "out"), on_progress=bar)
    assert "restore: 100%" in out.getvalue()
    bar.close()


def test_tqdm_counts_bytes_where_their_number_is_known_and_shows_problems() -> None:
    out = io.StringIO()
    bar = tqdm_bar(file=out, ncols=100)
    bar(state(items_done=3, items_total=10, bytes_done=1_500_000))
    assert " 3/10 " in out.getvalue()
    bar(state(items_done=3, bytes_done=2_000_000, bytes_total=8_000_000, problems=2))
    assert "25%" in out.getvalue()
    assert "2.00M/8.00M" in out.getvalue()
    assert "problems=2" in out.getvalue()
    bar.close()


def test_a_run_shows_in_rich(repository: Repository, tree: Path) -> None:
    from rich.console import Console

    out = io.StringIO()
    with rich_bar("[bold]/srv", console=Console(file=out, force_terminal=True, width=120)) as bar:
        done = repository.backup(FolderSource(tree), on_progress=bar)
    # What looks like markup is text.
    assert "[bold]/srv" in out.getvalue()
    assert f"{done.stats.items} items" in out.getvalue()
    assert "100%" not in out.getvalue()
    out = io.StringIO()
    bar = rich_bar(console=Console(file=out, force_terminal=True, width=120))
    bar(state(items_done=5, items_total=10, bytes_done=1000, bytes_total=2000, problems=1))
    bar(state(phase="done", items_done=10, items_total=10, bytes_done=2000, bytes_total=2000))
    assert "5 of 10 items, 1 problems" in out.getvalue() or "10 of 10 items" in out.getvalue()


def test_a_bar_is_closed_when_the_run_fails(repository: Repository, tmp_path: Path) -> None:
    out = io.StringIO()
    with pytest.raises(FileNotFoundError), tqdm_bar(file=out) as bar:
        repository.backup(FolderSource(tmp_path / "gone"), on_progress=bar)
    assert out.getvalue().endswith("\n")


class Checked(html.parser.HTMLParser):
    """Whether all tags are closed, and which there are."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember it."""
        self.tags.add(tag)
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Forget it."""
        assert self.open.pop() == tag


def shown(value: Any) -> str:
    text = value._repr_html_()
    assert isinstance(text, str)
    checked = Checked()
    checked.feed(text)
    assert checked.open == []
    assert checked.tags <= {"table", "caption", "thead", "tbody", "tr", "th", "td", "b", "p", "code", "span", "br"}
    return text


EVIL = "<script>alert(1)</script>\x1b[2J\u202e"


def test_notebooks_show_tables_in_which_everything_is_escaped(repository: Repository, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / EVIL.replace("/", "|")).write_bytes(b"x" * 2_000_000)
    folder = FolderSource(source, collection_id=f"folder:{EVIL}")
    done = repository.backup(folder, labels={EVIL: EVIL})
    [summary], info = repository.snapshots(), repository.snapshot(done.snapshot)
    browser = repository.browse(done.snapshot)
    [item] = browser.list()
    values = [repository, done, summary, info, item, done.stats, repository.diff(done.snapshot, done.snapshot)]
    texts = [shown(value) for value in values[:-1]]
    for text in texts:
        assert "<script" not in text
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[2J\\u202e" in texts[0]
    assert done.snapshot in texts[0]
    assert "2.0 MB" in texts[1]
    assert ">complete<" in texts[1]
    largest = packs(tmp_path / "repository")[0]
    flip(largest, largest.stat().st_size // 2)
    report = repository.verify("every_byte")
    assert report.findings
    assert str(report.findings[0].error)[:10] in shown(report)
    repository.close()
    assert "closed" in shown(repository)
    assert "stack" not in shown(backup_py.Problem(id=b"\xff", place=EVIL, error=BackupError(EVIL)))


def test_long_lists_are_cut(repository: Repository, tree: Path) -> None:
    for number in range(22):
        repository.backup(FolderSource(tree / "reports", collection_id=str(number)))
    text = shown(repository)
    assert "22 snapshots, the newest 20" in text
    assert len(re.findall("<tr>", text)) == 21
    finding = backup_py.Finding(place="x", error=BackupError("y"))
    report = backup_py.VerifyReport(snapshots=1, items=1, chunks=1, packs=1, bytes_read=1, findings=(finding,) * 30)
    assert "and 10 more" in shown(report)
