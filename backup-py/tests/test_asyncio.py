"""The twins for asyncio."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from pathlib import Path

import pytest

import backup_py
from backup_py import CancelToken, FolderSink, FolderSource, Progress, Repository
from conftest import KEY, Run, describe

REQUEST: contextvars.ContextVar[str] = contextvars.ContextVar("request")


def test_a_round_trip_runs_on_an_event_loop(place: Path, tree: Path, tmp_path: Path) -> None:
    async def main() -> backup_py.RestoreReport:
        async with await Repository.init_async(place, raw_key=KEY) as created:
            head = created.head
        assert created.closed
        async with await Repository.open_async(place, raw_key=KEY, known_head=head) as repository:
            done = await repository.backup_async(FolderSource(tree), labels={"a": "b"})
            assert (await repository.verify_async("every_byte")).is_sound
            assert repository.snapshot(done.snapshot).labels == {"a": "b"}
            return await repository.restore_async(done.snapshot, FolderSink(tmp_path / "out"))

    report = asyncio.run(main())
    assert report.problems == ()
    assert describe(tmp_path / "out") == describe(tree)


def test_the_loop_goes_on_while_a_backup_runs(repository: Repository, endless: Path) -> None:
    async def main() -> None:
        token = CancelToken()
        moving = asyncio.Event()

        def watch(progress: Progress) -> None:
            if progress.bytes_done > 4_000_000:
                moving.set()

        run = repository.backup_async(FolderSource(endless), cancel=token, on_progress=watch)
        await asyncio.wait_for(moving.wait(), 30)
        assert not run.done()
        token.cancel()
        with pytest.raises(backup_py.CanceledError):
            await run

    asyncio.run(main())


def test_runs_overlap(repository: Repository, tree: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "file").write_bytes(b"other")

    async def main() -> None:
        sources = (FolderSource(tree), FolderSource(other))
        first, second = await asyncio.gather(*(repository.backup_async(source) for source in sources))
        assert first.snapshot != second.snapshot

    asyncio.run(main())
    assert len(repository.snapshots()) == 2


def test_canceling_the_task_cancels_the_run(repository: Repository, endless: Path) -> None:
    async def main() -> CancelToken:
        token = CancelToken()
        moving = asyncio.Event()

        def watch(progress: Progress) -> None:
            if progress.bytes_done > 4_000_000:
                moving.set()

        async def work() -> None:
            await repository.backup_async(FolderSource(endless), cancel=token, on_progress=watch)

        task = asyncio.create_task(work())
        await asyncio.wait_for(moving.wait(), 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(100):
            if token.is_canceled:
                break
            await asyncio.sleep(0.05)
        return token

    token = asyncio.run(main())
    assert token.is_canceled
    (endless / "sparse").unlink()
    done = repository.backup(FolderSource(endless))
    assert done.stats.items == 2
    assert len(repository.snapshots()) == 1


def test_a_source_is_free_again_after_its_run_was_canceled(repository: Repository, endless: Path) -> None:
    async def main() -> None:
        source = FolderSource(endless)
        moving = asyncio.Event()
        run = repository.backup_async(source, on_progress=lambda progress: moving.set())
        await asyncio.wait_for(moving.wait(), 30)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        (endless / "sparse").unlink()
        # Waits for the canceled run, which may be leaving its checkpoint.
        done = await repository.backup_async(source)
        assert done.state == "complete"

    asyncio.run(main())


def test_callbacks_run_on_the_loop_in_the_callers_context(repository: Repository, tree: Path) -> None:
    seen: list[tuple[int, str, str]] = []

    def note(progress: Progress) -> None:
        seen.append((threading.get_ident(), REQUEST.get("none"), progress.phase))

    async def main() -> None:
        REQUEST.set("42")
        await repository.backup_async(FolderSource(tree), on_progress=note)

    asyncio.run(main())
    assert {(thread, request) for thread, request, _ in seen} == {(threading.get_ident(), "42")}
    assert seen[0][2] == "opening"
    assert seen[-1][2] == "done"


def test_an_exception_in_a_callback_comes_out_of_the_await(repository: Repository, tree: Path) -> None:
    error = RuntimeError("ours")

    def callback(progress: Progress) -> None:
        raise error

    async def main() -> None:
        with pytest.raises(RuntimeError) as caught:
            await repository.backup_async(FolderSource(tree), on_progress=callback)
        assert caught.value is error

    asyncio.run(main())
    assert repository.snapshots() == []


def test_errors_come_out_of_the_await(place: Path, tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(backup_py.NotARepositoryError):
            await Repository.open_async(place, raw_key=KEY)
        async with await Repository.init_async(place, raw_key=KEY) as repository:
            with pytest.raises(FileNotFoundError):
                await repository.backup_async(FolderSource(tmp_path / "gone"))
        with pytest.raises(backup_py.InvalidArgumentError, match="closed"):
            repository.verify_async()

    asyncio.run(main())


def test_an_exception_that_no_future_takes_is_no_dead_end(repository: Repository, tree: Path) -> None:
    def callback(progress: Progress) -> None:
        raise StopIteration

    async def main() -> None:
        with pytest.raises((TypeError, RuntimeError)):
            await asyncio.wait_for(repository.backup_async(FolderSource(tree), on_progress=callback), 30)

    asyncio.run(main())


def test_without_a_loop_there_is_no_awaitable(repository: Repository) -> None:
    with pytest.raises(RuntimeError, match="loop"):
        repository.verify_async()


def test_a_program_that_ends_in_the_middle_ends_cleanly(
    run_python: Run, repository: Repository, place: Path, endless: Path
) -> None:
    program = """
import asyncio, sys, backup_py

async def main():
    repository = await backup_py.Repository.open_async(sys.argv[1], raw_key=bytes(range(32)))
    moving = asyncio.Event()
    source = backup_py.FolderSource(sys.argv[2])
    run = repository.backup_async(source, on_progress=lambda progress: moving.set())
    await moving.wait()
    if sys.argv[3] == "cancel":
        run.cancel()

asyncio.run(main())
print("ended")
"""
    for how in ("cancel", "leave") * 3:
        done = run_python(program, place, endless, how)
        assert (done.stdout, done.stderr, done.returncode) == ("ended\n", "", 0), how


def test_listings_and_differences_are_awaited(repository: Repository, tree: Path) -> None:
    for number in range(600):
        (tree / "empty folder" / f"{number:03}").touch()
    before = repository.backup(FolderSource(tree)).snapshot
    (tree / "empty").unlink()
    after = repository.backup(FolderSource(tree)).snapshot

    async def look() -> None:
        browser = repository.browse(before)
        names = [item.name async for item in browser.list("empty folder")]
        assert names == [f"{number:03}" for number in range(600)]
        listing = browser.list()
        first = next(listing)
        rest = [item async for item in listing]
        assert [first.name, *(item.name for item in rest)] == [item.name for item in browser.list()]
        with pytest.raises(StopAsyncIteration):
            await listing.__anext__()
        removed = [each async for each in repository.diff(before, after) if each.kind == "removed"]
        assert [each.item.name for each in removed] == ["empty"]
        repository.close()
        with pytest.raises(backup_py.InvalidArgumentError, match="closed"):
            await listing.__anext__()

    asyncio.run(look())
    with pytest.raises(RuntimeError, match="no running event loop"):
        repository_listing(tree).__anext__()


def repository_listing(tree: Path) -> backup_py.Listing:
    other = Repository.init("memory://", raw_key=bytes(32))
    return other.browse(other.backup(FolderSource(tree)).snapshot).list()


def test_every_method_that_reaches_a_store_has_a_twin() -> None:
    # What a file reads, it reads when it is asked to: a file has no awaited methods.
    at_hand = {"close", "latest", "open", "snapshots"}
    for kind in (Repository, backup_py.Browser):
        methods = {name: method for name, method in inspect.getmembers(kind, callable) if not name.startswith("_")}
        twins = {name for name in methods if name.endswith("_async")}
        assert {name.removesuffix("_async") for name in twins - {"open_async"}} == methods.keys() - twins - at_hand
        for name in twins:
            assert inspect.signature(methods[name]) == inspect.signature(methods[name.removesuffix("_async")])


def test_short_methods_are_awaited_too(repository: Repository, tree: Path, tmp_path: Path) -> None:
    async def main() -> None:
        snapshot = (await repository.backup_async(FolderSource(tree))).snapshot
        assert await repository.snapshot_async(snapshot) == repository.snapshot(snapshot)
        browser = await repository.browse_async(snapshot)
        assert browser.info == repository.snapshot(snapshot)
        assert [item.name async for item in await browser.list_async()] == [item.name for item in browser.list()]
        item = await browser.stat_async("hello.txt")
        assert item == browser.stat("hello.txt")
        assert await browser.path_async(item) == "hello.txt"
        assert await browser.read_async(item, offset=5, length=6) == b"reader"
        with pytest.raises(backup_py.NotFoundError):
            await browser.read_async("nothing")
        assert [each async for each in await repository.diff_async(snapshot, snapshot)] == []
        (slot,) = await repository.keys_async()
        added = await repository.add_key_async(raw_key=b"\x01" * 32)
        await repository.remove_key_async(slot.id)
        assert [slot.id for slot in await repository.keys_async()] == [added]
        await repository.hold_async([snapshot])
        with pytest.raises(backup_py.PermissionDeniedError):
            await repository.remove_async([snapshot])
        await repository.release_async([snapshot])
        async with await Repository.init_async("memory://", raw_key=KEY) as other:
            copied = await other.backup_async(await repository.as_source_async(snapshot))
            assert copied.stats.items == repository.snapshot(snapshot).stats.items
        await repository.remove_async([snapshot])
        assert repository.snapshots() == []
        assert await backup_py.probe_async(tmp_path / "elsewhere") == backup_py.probe(tmp_path / "elsewhere")
        assert not backup_py.probe("memory://").tells_time

    asyncio.run(main())
