"""Stores that others wrote. The checks start them: BACKUP_LOCKED_BUCKET is a bucket of SeaweedFS with Object Lock."""

from __future__ import annotations

import os
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

import backup_py
from backup_py import FolderSink, FolderSource, Repository
from conftest import KEY, describe, settle

OPTIONS = ("AWS_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ALLOW_HTTP")
LOCKED = os.environ.get("BACKUP_LOCKED_BUCKET")


@pytest.mark.skipif(not LOCKED, reason="BACKUP_LOCKED_BUCKET names no bucket")
def test_a_locked_bucket_keeps_what_there_was(tree: Path, tmp_path: Path) -> None:
    options = {name.lower(): os.environ[name] for name in OPTIONS}
    url, period = f"{LOCKED}/python-{os.getpid()}", timedelta(days=1)
    before = describe(tree)
    with Repository.init(url, raw_key=KEY, options=options) as repository:
        repository.protect(period)
        assert repository.protection == period
        begun = datetime.now(timezone.utc)
        first = repository.backup(FolderSource(tree))
        assert first.locked_until is not None
        assert first.locked_until >= begun + period - timedelta(minutes=1)
        assert not first.locks_due
        report = repository.extend_locks()
        assert (report.tampered, report.extended_objects) == ((), 0)
        # The store's clock has seconds.
        time.sleep(2)
        seen = datetime.now(timezone.utc)
        time.sleep(2)
        (tree / "later").write_text("later")
        settle()
        second = repository.backup(FolderSource(tree))
        repository.remove([first.snapshot])
        assert [summary.id for summary in repository.snapshots()] == [second.snapshot]
    with Repository.open(url, raw_key=KEY, options=options, as_of=seen) as then:
        assert [summary.id for summary in then.snapshots()] == [first.snapshot]
        assert then.restore(first.snapshot, FolderSink(tmp_path / "out")).problems == ()
        with pytest.raises(backup_py.PermissionDeniedError):
            then.backup(FolderSource(tree))
    assert describe(tmp_path / "out") == before
