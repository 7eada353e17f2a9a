"""Unmodified rclone, through the proxy: it knows Microsoft's addresses only."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import contents
from simulated_tenant import SimulatedTenant, program

RCLONE = Path(sys.executable).with_name("rclone")
DRIVES = ("--drive", "ada@contoso.example", "--seed-dir")
EMPTY = ("--drive", "grace@contoso.example")
BY_DELTA = ("--onedrive-delta", "--onedrive-list-chunk", "20")
ONE_AT_A_TIME = ("--transfers", "1", "--checkers", "1")


class Rclone:
    """rclone with one remote for each drive of a tenant: `drive0:`, `drive1:` ..."""

    def __init__(self, tenant: SimulatedTenant, folder: Path):
        self._environment = os.environ | tenant.proxy_environment()
        self._config = folder / "rclone.conf"
        self._common = ["--config", str(self._config), "--ca-cert", str(tenant.ca_file), "--retries", "1"]
        self._config.write_text(
            "".join(
                f"[drive{number}]\ntype = onedrive\nclient_credentials = true\ntenant = {tenant.tenant}\n"
                f"client_id = {tenant.application}\nclient_secret = {tenant.secret}\n"
                f"drive_id = {drive['id']}\ndrive_type = business\n\n"
                for number, drive in enumerate(tenant.ready["drives"])
            )
        )

    def __call__(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        command = [str(RCLONE), *arguments, *self._common]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=300)

    def differences(self, one: str, other: str) -> str:
        """What `rclone check` has to say of two places: it compares sizes and hashes."""
        return self.run("check", one, other).stderr


@pytest.fixture
def rclone(tmp_path):
    return lambda tenant: Rclone(tenant, tmp_path)


def test_it_lists_by_delta(start, rclone, documents):
    tenant = start(*DRIVES, str(documents))
    listed = rclone(tenant)("lsf", "-R", "--files-only", "--fast-list", *BY_DELTA, "drive0:")
    assert set(listed.splitlines()) == set(contents(documents))
    report = tenant.stop()
    assert report["requests"]["delta"] >= 4
    assert "children" not in report["requests"]
    assert report["leaked_tokens"] == 0


def test_it_lists_folder_by_folder(start, rclone, documents):
    tenant = start(*DRIVES, str(documents))
    listed = rclone(tenant)("lsjson", "-R", "--hash", "--onedrive-list-chunk", "7", "drive0:")
    sizes = {entry["Path"]: entry["Size"] for entry in json.loads(listed) if not entry["IsDir"]}
    assert sizes == {path: len(content) for path, content in contents(documents).items()}


def test_what_it_downloads_is_what_is_there(start, rclone, documents, tmp_path):
    tenant = start(*DRIVES, str(documents))
    ada = rclone(tenant)
    ada("copy", "drive0:", str(tmp_path / "copy"))
    assert contents(tmp_path / "copy") == contents(documents)
    assert "0 differences found" in ada.differences(str(documents), "drive0:")
    report = tenant.stop()
    assert report["requests"]["download"] >= len(contents(documents)) - 1
    assert report["leaked_tokens"] == 0


def test_what_it_uploads_by_session_is_kept_exactly(start, rclone, documents):
    tenant = start(*DRIVES, str(documents), *EMPTY)
    grace = rclone(tenant)
    grace("copy", str(documents), "drive1:", "--onedrive-chunk-size", "5Mi", "--onedrive-upload-cutoff", "1Mi")
    assert "0 differences found" in grace.differences(str(documents), "drive1:")
    again = grace.run("copy", str(documents), "drive1:", "-v")
    assert "There was nothing to transfer" in again.stderr, again.stderr
    report = tenant.stop()
    assert report["requests"]["upload_range"] >= 3
    assert report["leaked_tokens"] == 0


def test_what_it_copies_with_metadata_from_drive_to_drive_is_equal(start, rclone, documents):
    tenant = start(*DRIVES, str(documents), *EMPTY)
    rclone(tenant)("copy", "--metadata", "drive0:", "drive1:", "--onedrive-upload-cutoff", "1Mi")
    report = tenant.stop()
    # Every path, content and time, those of creation too.
    assert report["drives"][0]["fingerprint"] == report["drives"][1]["fingerprint"]


def test_it_renames_moves_copies_and_deletes(start, rclone, documents):
    tenant = start(*DRIVES, str(documents))
    ada = rclone(tenant)
    ada("moveto", "drive0:note.md", "drive0:Projects/minutes.md")
    ada("copyto", "drive0:Projects/minutes.md", "drive0:Archive/2026/minutes.md")
    ada("moveto", "drive0:many", "drive0:Projects/few")
    ada("deletefile", "drive0:empty.txt")
    ada("purge", "drive0:Größen")
    left = {line for line in ada("lsf", "-R", "--files-only", "drive0:").splitlines() if "few/" not in line}
    kept = {"100% of it & more #1.txt", "Projects/2026/plan 'b' = +1.xlsx", "Projects/2026/film.mp4"}
    assert left == kept | {"Projects/minutes.md", "Archive/2026/minutes.md"}


def test_it_waits_when_it_is_told_to(start, rclone, documents, tmp_path):
    tenant = start(*DRIVES, str(documents), *EMPTY, "--throttle", "4", "--retry-after", "1")
    ada = rclone(tenant)
    ada("copy", "drive0:", str(tmp_path / "copy"), *ONE_AT_A_TIME)
    ada("copy", str(documents), "drive1:", *ONE_AT_A_TIME, "--onedrive-upload-cutoff", "1Mi")
    assert contents(tmp_path / "copy") == contents(documents)
    report = tenant.stop()
    # A call that is refused is repeated once before the pause begins: its pacer counts the pause from the call after.
    assert 0 < report["inside_window"] <= report["faults"]


def test_a_drive_that_the_engine_restored_equals_the_one_it_backed_up(start, rclone, documents, tmp_path):
    tenant = start(*DRIVES, str(documents), *EMPTY)
    command = [program("BACKUP_COPY_DRIVE"), "--tenant", tenant.tenant, "--app", tenant.application]
    command += ["--from", tenant.drive(0), "--to", tenant.drive(1), "--repository", str(tmp_path / "repository")]
    command += ["--ca-file", str(tenant.ca_file)]
    secrets = {"GRAPH_SECRET": tenant.secret, "BACKUP_PASSPHRASE": "foreign"}
    environment = os.environ | tenant.proxy_environment() | secrets
    # The engine must trust the authority because it is told to, not because the environment says so.
    environment.pop("SSL_CERT_FILE")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    compared = rclone(tenant).differences("drive0:", "drive1:")
    assert "0 differences found" in compared and f"{len(contents(documents))} matching files" in compared
    report = tenant.stop()
    assert report["drives"][0]["fingerprint"] == report["drives"][1]["fingerprint"]
    assert (report["inside_window"], report["leaked_tokens"]) == (0, 0)
