"""Files over streams of snapshots, and snapshots as a file system of fsspec."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import random
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped]
import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

import backup_py
from backup_py import Browser, FolderSink, FolderSource, FsspecSource, Repository
from backup_py.filesystem import BackupFileSystem
from conftest import KEY, describe, settle
from memory import MemorySink

NOISE = random.Random(9).randbytes(5_000_000)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with files of formats that others read."""
    root = tmp_path / "data"
    (root / "tables" / "old").mkdir(parents=True)
    frame = pd.DataFrame({"number": range(10_000), "text": [f"row {number}" for number in range(10_000)]})
    frame.to_csv(root / "tables" / "t.csv", index=False)
    pq.write_table(pa.table({"number": list(range(300_000))}), root / "tables" / "t.parquet", row_group_size=30_000)
    (root / "tables" / "old" / "u.csv").write_text("a,b\n1,2\n")
    (root / "noise").write_bytes(NOISE)
    (root / "empty").write_bytes(b"")
    (root / "g.gz").write_bytes(gzip.compress(b"packed" * 1000))
    with zipfile.ZipFile(root / "z.zip", "w") as archive:
        archive.writestr("inside.txt", "zipped")
    with tarfile.open(root / "t.tar", "w") as archive_:
        archive_.add(root / "empty", "empty")
    (root / "link").hardlink_to(root / "noise")
    settle()
    return root


@pytest.fixture
def snapshot(repository: Repository, data: Path) -> str:
    """A snapshot of it."""
    return repository.backup(FolderSource(data)).snapshot


@pytest.fixture
def browser(repository: Repository, snapshot: str) -> Browser:
    """A look into it."""
    return repository.browse(snapshot)


def test_a_file_reads_and_seeks_as_one_on_disk(browser: Browser, data: Path) -> None:
    choose = random.Random(1)
    for name in ("noise", "empty", "tables/t.csv", "link"):
        with browser.open(name, buffer_size=50_000) as ours, open(data / name, "rb") as theirs:
            assert (ours.readable(), ours.seekable(), ours.writable()) == (True, True, False)
            for _ in range(60):
                whence = choose.randrange(3)
                offset = choose.randrange(6_000_000) if whence == 0 else -choose.randrange(min(1000, theirs.tell() + 1))
                if whence == 2 and (data / name).stat().st_size + offset < 0:
                    continue
                assert ours.seek(offset, whence) == theirs.seek(offset, whence)
                amount = choose.choice([0, 1, 10, 70_000, 200_000])
                assert ours.read(amount) == theirs.read(amount)
                assert ours.tell() == theirs.tell()
            for each in (ours, theirs):
                each.seek(0)
            assert ours.read() == theirs.read()
            assert ours.read() == ours.read(5) == b""


def test_the_raw_file_is_one_too(browser: Browser) -> None:
    file = browser.open("noise")
    raw = file.raw
    assert isinstance(raw, backup_py.SnapshotFile)
    assert (raw.size, raw.name, raw.mode) == (5_000_000, "noise", "rb")
    buffer = bytearray(1000)
    raw.seek(-500, io.SEEK_END)
    assert raw.readinto(memoryview(buffer)) == 500
    assert bytes(buffer[:500]) == NOISE[-500:]
    assert raw.readinto(buffer) == 0
    wrongs: list[Callable[[], object]] = [lambda: raw.seek(-1), lambda: raw.seek(0, 9), lambda: raw.write(b"x")]
    for wrong in wrongs:
        with pytest.raises((ValueError, io.UnsupportedOperation)):
            wrong()
    raw.close()
    uses: list[Callable[[], object]] = [lambda: raw.read(1), raw.tell, lambda: raw.seek(0), raw.readall]
    for closed in uses:
        with pytest.raises(ValueError, match="closed"):
            closed()
    by_item = browser.open(browser.stat("noise"))
    assert by_item.raw.name == "noise"  # type: ignore[attr-defined]


def test_what_cannot_be_opened(repository: Repository, browser: Browser) -> None:
    for target in ("nothing", "tables"):
        with pytest.raises(FileNotFoundError):
            browser.open(target)
    with pytest.raises(backup_py.NotFoundError):
        browser.open("noise", stream="other")
    for size in (0, -1):
        with pytest.raises((ValueError, OverflowError)):
            browser.open("noise", buffer_size=size)
    file = browser.open("noise")
    repository.close()
    with pytest.raises(backup_py.InvalidArgumentError, match="closed"):
        file.read(1)
    with pytest.raises(backup_py.InvalidArgumentError, match="closed"):
        browser.open("noise")


def test_the_standard_library_takes_it(browser: Browser) -> None:
    with browser.open("z.zip") as file:
        assert zipfile.ZipFile(file).read("inside.txt") == b"zipped"
    with browser.open("t.tar") as file, tarfile.open(fileobj=file) as archive:
        assert archive.getnames() == ["empty"]
    with browser.open("g.gz") as file:
        assert gzip.decompress(file.read()) == b"packed" * 1000
    with io.TextIOWrapper(browser.open("tables/t.csv")) as text:
        assert next(text) == "number,text\n"


@pytest.fixture
def fs(repository: Repository, snapshot: str) -> BackupFileSystem:
    """The snapshot as a file system."""
    return BackupFileSystem(repository, snapshot)


def test_a_snapshot_is_a_file_system(fs: BackupFileSystem, data: Path) -> None:
    assert sorted(fs.ls("", detail=False)) == sorted(path.name for path in data.iterdir())
    assert sorted(fs.ls("backup://tables/", detail=False)) == ["tables/old", "tables/t.csv", "tables/t.parquet"]
    assert sorted(fs.find("")) == sorted(str(path.relative_to(data)) for path in data.rglob("*") if path.is_file())
    assert fs.glob("**/*.csv") == ["tables/old/u.csv", "tables/t.csv"]
    assert [sorted(files) for _, _, files in fs.walk("tables")] == [["t.csv", "t.parquet"], ["u.csv"]]
    assert (fs.isdir(""), fs.isdir("tables"), fs.isfile("noise"), fs.exists("x")) == (True, True, True, False)
    assert fs.size("link") == fs.size("noise") == len(NOISE)
    assert fs.info("noise")["mtime"] == pytest.approx((data / "noise").stat().st_mtime)
    assert fs.modified("noise").timestamp() == pytest.approx((data / "noise").stat().st_mtime)  # type: ignore[union-attr]
    assert fs.du("tables") == sum(path.stat().st_size for path in (data / "tables").rglob("*") if path.is_file())
    assert fs.ls("noise")[0]["item"].name == "noise"
    with pytest.raises(FileNotFoundError):
        fs.ls("nothing")


def test_files_of_it_are_read_in_ranges(fs: BackupFileSystem, tmp_path: Path) -> None:
    assert fs.cat_file("noise") == NOISE
    for start, end in ((0, 10), (4_999_990, None), (-10, None), (5, -5), (10, 5), (0, 9_000_000), (6_000_000, None)):
        assert fs.cat_file("noise", start, end) == NOISE[start:end]
    assert fs.cat("tables/**/*.csv")["tables/old/u.csv"] == b"a,b\n1,2\n"
    with fs.open("noise", block_size=100_000) as file:
        file.seek(4_000_000)
        assert file.read(1000) == NOISE[4_000_000:4_001_000]
        assert file.read() == NOISE[4_001_000:]
    with fs.open("empty") as file:
        assert file.read() == b""
    with fs.open("tables/t.csv", "r") as text:
        assert text.readline() == "number,text\n"
    fs.get("tables", str(tmp_path / "got"), recursive=True)
    assert (tmp_path / "got" / "old" / "u.csv").read_bytes() == b"a,b\n1,2\n"
    assert fs.head("noise", 5) == NOISE[:5]


def test_it_is_read_only_and_tells_no_secret(repository: Repository, snapshot: str, place: Path) -> None:
    fs = BackupFileSystem(place, snapshot, raw_key=KEY)
    assert fs.cat_file("empty") == b""
    calls: list[Callable[[], object]] = [
        lambda: fs.open("new", "wb"),
        lambda: fs.rm("noise"),
        lambda: fs.mkdir("new"),
        lambda: fs.pipe_file("new", b""),
        lambda: fs.touch("new"),
        lambda: fs.mv("noise", "new"),
        lambda: fs.makedirs("new"),
        lambda: fs.rmdir("tables"),
    ]
    for call in calls:
        with pytest.raises((NotImplementedError, OSError)):
            call()
    assert fs.cat_file("noise", 0, 5) == NOISE[:5]
    assert snapshot in repr(fs)
    assert repr(KEY)[2:-1] not in repr(vars(fs)) + repr(fs.storage_options) + repr(fs.storage_args) + fs.to_json()
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(fs)


def test_which_snapshot(repository: Repository, snapshot: str, data: Path, tree: Path) -> None:
    second = repository.backup(FolderSource(tree)).snapshot
    assert second in repr(BackupFileSystem(repository))
    assert snapshot in repr(BackupFileSystem(repository, collection=FolderSource(data).collection))
    with pytest.raises(backup_py.InvalidArgumentError):
        BackupFileSystem(repository, snapshot, collection="x")
    with pytest.raises(backup_py.InvalidArgumentError):
        BackupFileSystem(repository, raw_key=KEY)
    with pytest.raises(backup_py.NotFoundError):
        BackupFileSystem(repository, collection="x")
    with pytest.raises(backup_py.NotFoundError):
        BackupFileSystem(repository, "0" * 32)


def test_pandas_and_pyarrow_open_files_of_a_snapshot(repository: Repository, snapshot: str, data: Path) -> None:
    options: dict[str, Any] = {"repository": repository, "snapshot": snapshot}
    frame = pd.read_csv("backup://tables/t.csv", storage_options=options)
    assert frame.equals(pd.read_csv(data / "tables" / "t.csv"))
    assert pd.read_parquet("backup://tables/t.parquet", storage_options=options)["number"].sum() == 44_999_850_000
    fs = fsspec.filesystem("backup", **options)
    assert isinstance(fs, BackupFileSystem)
    assert pq.read_table("tables/t.parquet", filesystem=fs, columns=["number"]).num_rows == 300_000
    with repository.browse(snapshot).open("tables/t.parquet") as file:
        assert pq.ParquetFile(file).read_row_group(3)["number"][0].as_py() == 90_000


def test_it_is_found_by_its_protocol(place: Path, snapshot: str) -> None:
    program = "import fsspec, sys; print(fsspec.open(sys.argv[1], repository=sys.argv[2], raw_key=bytes(range(32))).open().read())"
    done = subprocess.run(
        [sys.executable, "-c", program, "backup://tables/old/u.csv", str(place)], capture_output=True, check=True
    )
    assert done.stdout == b"b'a,b\\n1,2\\n'\n"


@pytest.fixture(params=["file", "memory"])
def folder(request: pytest.FixtureRequest, tree: Path) -> Iterator[tuple[Any, str]]:
    """A file system with the files of `tree` in it, and the place of them."""
    fs = fsspec.filesystem(request.param)
    if request.param == "file":
        yield fs, str(tree)
    else:
        fs.put(f"{tree}/", "/source/", recursive=True)
        yield fs, "memory://source"
        fs.rm("/source", recursive=True)


def test_any_file_system_is_a_source(repository: Repository, folder: tuple[Any, str], tree: Path) -> None:
    fs, root = folder
    done = repository.backup(FsspecSource(fs, root))
    assert done.problems == ()
    sink = MemorySink()
    repository.restore(done.snapshot, sink)
    found = {path.partition("/")[2]: content for path, content in sink.tree.items() if content is not None}
    expected = {str(path.relative_to(tree)): path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    if fs.protocol == "memory":
        assert found == expected
    else:
        assert found == {**expected, "link": b""}
    again = repository.backup(FsspecSource(fs, root))
    assert (again.stats.bytes_read, again.stats.changed) == (0, 0)
    with fs.open(f"{root}/hello.txt", "wb") as file:
        file.write(b"Dear writer")
    fs.rm(f"{root}/large.bin")
    changed = repository.backup(FsspecSource(fs, root))
    assert [(each.kind, each.item.name) for each in repository.diff(again.snapshot, changed.snapshot) if each.content]
    assert repository.browse(changed.snapshot).read("hello.txt") == b"Dear writer"
    assert repository.verify("every_byte").is_sound


def test_links_and_times_of_a_local_source(repository: Repository, tree: Path, tmp_path: Path) -> None:
    source = FsspecSource(fsspec.filesystem("file"), str(tree), collection_id="moved")
    done = repository.backup(source)
    assert repository.snapshots()[0].collection == backup_py.Collection(id="moved", kind="folder")
    repository.restore(done.snapshot, FolderSink(tmp_path / "out"))
    theirs, ours = describe(tree), describe(tmp_path / "out")
    assert set(ours) == set(theirs)
    assert ours["link"] == theirs["link"]
    assert ours["large.bin"][-1] == theirs["large.bin"][-1]


def test_a_source_that_is_not_there_is_no_empty_one(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(backup_py.NotFoundError):
        repository.backup(FsspecSource(fsspec.filesystem("file"), str(tmp_path / "gone")))
    assert json.dumps(repository.snapshots()) == "[]"
