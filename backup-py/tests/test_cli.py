"""The command line, as people and programs run it: every test starts processes."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import backup_py
from conftest import KEY, describe, flip, packs, settle

PASSPHRASE = "canary-4711"


class Cli:
    """The program with a repository in its environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key_file = folder / "key"
        self.key_file.write_text(KEY.hex() + "\n")
        # A raw key costs no stretching; what a passphrase does has tests of its own.
        self.environment = {
            "BACKUP_REPOSITORY": str(folder / "repository"),
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
        }
        self.key = ["--raw-key-file", str(self.key_file)]

    def command(self, *words: object) -> list[str]:
        """What starts it."""
        return [sys.executable, "-W", "error", "-m", "backup_py", *map(str, words)]

    def run(self, *words: object, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
        """Runs it with the key; `code` is what it has to end with."""
        return self.bare(*self.key, *words, code=code, **more)

    def bare(self, *words: object, code: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
        """Runs it without a key."""
        done = subprocess.run(
            self.command(*words),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**self.environment, **more},
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, (words, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done

    def json(self, *words: object, code: int = 0) -> list[dict[str, Any]]:
        """Runs it with --json; the objects that it prints."""
        return [json.loads(line) for line in self.run(*words, "--json", code=code).stdout.splitlines()]

    def terminal(self, *words: object, columns: int = 80, **more: str) -> tuple[int, str]:
        """Runs it on a pseudo-terminal; its exit code and all that it wrote there."""
        import fcntl
        import struct
        import termios

        ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        environment = {**self.environment, "TERM": "xterm", **more}
        with subprocess.Popen(
            self.command(*self.key, *words), stdin=theirs, stdout=theirs, stderr=theirs, env=environment
        ) as process:
            os.close(theirs)
            seen = b""
            while True:
                try:
                    piece = os.read(ours, 65536)
                except OSError:  # Linux says so when the last one has closed it.
                    break
                if not piece:
                    break
                seen += piece
        os.close(ours)
        return process.returncode, seen.decode()


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """The program and an empty repository."""
    cli = Cli(tmp_path)
    cli.run("init")
    return cli


def test_a_life_of_a_repository(cli: Cli, tree: Path, tmp_path: Path) -> None:
    first = cli.json("backup", "folder", tree, "--label", "host=web-1")[0]
    assert (first["type"], first["state"], first["problems"]) == ("backup", "complete", [])
    assert first["collection"] == f"folder:{tree}"
    (tree / "hello.txt").write_text("Dear other reader")
    (tree / "new\x1b[31m\nname").write_text("x")
    settle()
    second = cli.json("backup", "folder", tree)[0]
    listed = cli.json("snapshots")
    assert [each["id"] for each in listed] == [first["snapshot"], second["snapshot"]]
    assert listed[0]["created"].endswith("Z")
    [shown] = cli.json("show", first["snapshot"][:8])
    assert shown["labels"] == {"host": "web-1"}

    assert cli.run("cat", first["snapshot"], "hello.txt").stdout == "Dear reader"
    assert cli.run("cat", first["snapshot"], "second name").stdout == "Dear reader"
    assert cli.run("cat", f"latest:folder:{tree}", "hello.txt").stdout == "Dear other reader"
    item, *pieces = cli.json("cat", "latest", "large.bin")
    assert item["size"] == 5_000_000
    assert [piece["offset"] for piece in pieces] == [0, 4 << 20]
    assert b"".join(base64.b64decode(piece["base64"]) for piece in pieces) == (tree / "large.bin").read_bytes()

    paths = {item["path"] for item in cli.json("ls", "latest", "--recursive")}
    assert paths == {str(path.relative_to(tree)) for path in tree.rglob("*")}
    assert [item["path"] for item in cli.json("ls", "latest", "/reports/2026/")] == ["reports/2026/minutes.txt"]
    assert [item["path"] for item in cli.json("ls", "latest", "reports/tool.sh")] == ["reports/tool.sh"]
    assert "-rwxr-x--x\t10 B\t" in cli.run("ls", "latest", "reports").stdout

    changes = {(each["kind"], each["path_after"]) for each in cli.json("diff", first["snapshot"], "latest")}
    assert ("added", "new\\x1b[31m\\x0aname") in changes
    assert ("changed", "hello.txt") in changes
    text = cli.run("diff", first["snapshot"], "latest").stdout
    assert "+ new\\x1b[31m\\x0aname\n" in text
    assert "M hello.txt\n" in text

    [restored] = cli.json("restore", "latest", tmp_path / "out")
    assert restored["created"] == second["stats"]["items"]
    assert describe(tmp_path / "out") == describe(tree)
    cli.run("restore", first["snapshot"], tmp_path / "part", "--only", "reports/2026", "--no-owner")
    assert sorted(path.name for path in (tmp_path / "part").rglob("*")) == ["2026", "minutes.txt", "reports"]
    [verified] = cli.json("verify", "--every-byte")
    assert (verified["is_sound"], verified["snapshots"], verified["level"]) == (True, 2, "every_byte")
    assert cli.run("verify").stdout.startswith("Sound. 2 snapshots")


def test_snapshots_are_kept_and_given_up(cli: Cli, tree: Path, tmp_path: Path) -> None:
    for number in range(3):
        (tree / "number").write_text(str(number))
        cli.run("backup", "folder", tree)
    first, second, third = (each["id"] for each in cli.json("snapshots"))
    *decisions, total = cli.json("retain", "--all-collections", "--last", 1, "--floor-days", 0, "--dry-run")
    assert [(each["id"], each["keep"]) for each in decisions] == [(first, False), (second, False), (third, True)]
    assert total == {"type": "retain", "kept": 1, "removed": 2, "dry_run": True}
    assert cli.json("hold", first) == [{"type": "held", "snapshot": first}]
    assert "PermissionDeniedError" in cli.run("remove", first, "--json", code=1).stderr
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps({f"folder:{tree}": {"last": 1, "floor_days": 0}}))
    assert "2 snapshots kept, 1 removed" in cli.run("retain", "--rules", rules).stdout
    cli.run("release", first)
    cli.run("remove", first)
    assert [each["id"] for each in cli.json("snapshots")] == [third]
    [pruned] = cli.json("prune", "--grace", "0s")
    assert pruned["dead_packs"] > 0
    assert "objects deleted" in cli.run("prune", "--grace", "0s").stdout
    assert cli.json("verify", "--every-byte")[0]["is_sound"]


def test_problems_end_it_with_three(cli: Cli, tree: Path, tmp_path: Path) -> None:
    cli.run("backup", "folder", tree)
    flip(packs(tmp_path / "repository")[0], 2_000_000)
    done = cli.run("verify", "--every-byte", code=3)
    assert done.stdout.startswith("Damaged.")
    [verified] = cli.json("verify", "--every-byte", code=3)
    assert verified["findings"][0]["error"]["code"] == 21
    [restored] = cli.json("restore", "latest", tmp_path / "out", code=3)
    # Small files that share its frame may be lost too.
    assert "large.bin" in [problem["place"] for problem in restored["problems"]]
    done = cli.run("restore", "latest", tmp_path / "two", code=3)
    assert re.search(r"\d items? could not be restored:\n(  .*\n)*  large.bin: ", done.stdout)


@pytest.mark.parametrize(
    ("words", "code", "kind", "number"),
    [
        (["--repository", "memory://", "snapshots"], 1, "NotARepositoryError", 24),
        (["show", "latest"], 1, "NotFoundError", 10),
        (["show", "abcdef"], 1, "NotFoundError", 10),
        (["show", "abc"], 2, "InvalidArgumentError", 1),
        (["snapshots", "--option", "fsync=no"], 2, "InvalidArgumentError", 1),
        (["snapshots", "--option", "fsync"], 2, "UsageError", None),
        (["retain", "--all-collections"], 2, "UsageError", None),
        (["prune", "--grace", "soon"], 2, "UsageError", None),
        (["backup", "folder"], 2, "UsageError", None),
        (["backup", "folder", "/", "--label", "x"], 2, "UsageError", None),
        (["backup", "folder", "/proc/nowhere"], 1, "NotFoundError", 10),
        (["thaw"], 2, "UsageError", None),
        (
            ["--passphrase-file", "/dev/null/nowhere", "--raw-key-file", "/dev/null/nowhere", "snapshots"],
            2,
            "UsageError",
            None,
        ),
        (["--raw-key-file", "/dev/null/nowhere", "snapshots"], 1, "NotADirectoryError", None),
    ],
)
def test_an_error_is_a_line_with_a_hint_or_an_object(
    cli: Cli, words: list[str], code: int, kind: str, number: int | None
) -> None:
    done = cli.run(*words, code=code)
    assert done.stdout == ""
    first, *rest = done.stderr.splitlines()
    assert first.startswith("error: ")
    assert all(line.startswith("hint: ") for line in rest)
    assert len(rest) <= 1
    done = cli.run(*words, "--json", code=code)
    assert done.stdout == ""
    said = json.loads(done.stderr)
    assert (said["type"], said["kind"], said["code"]) == ("error", kind, number)
    assert said["message"] in first


def test_where_a_passphrase_comes_from(tmp_path: Path) -> None:
    cli, file = Cli(tmp_path), tmp_path / "passphrase"
    file.write_text(PASSPHRASE + "\nwhat else there is\n")
    done = cli.bare("init", BACKUP_PASSPHRASE=PASSPHRASE)
    assert PASSPHRASE not in done.stdout + done.stderr
    assert "whoever loses it" in done.stderr
    cli.bare("snapshots", "--passphrase-file", file)
    cli.bare("snapshots", BACKUP_PASSPHRASE_FILE=str(file))
    assert "WrongKeyError" in cli.bare("snapshots", "--json", code=1, BACKUP_PASSPHRASE="another").stderr
    assert "no passphrase: set BACKUP_PASSPHRASE" in cli.bare("snapshots", code=2).stderr
    # No argument takes it: it would be seen by everybody on the machine.
    assert "unrecognized arguments" in cli.bare("snapshots", "--passphrase", PASSPHRASE, code=2).stderr


def test_a_passphrase_is_asked_for_and_not_shown(tmp_path: Path) -> None:
    import pty

    cli = Cli(tmp_path)
    for answers in ([PASSPHRASE, PASSPHRASE], [PASSPHRASE]):
        words = cli.command("init" if len(answers) == 2 else "snapshots")
        child, terminal = pty.fork()
        if child == 0:
            os.execve(words[0], words, cli.environment)
        seen = b""
        for answer in answers:
            while not seen.rstrip().endswith(b":"):
                seen += os.read(terminal, 1024)
            # It has turned the echo off once it asks.
            time.sleep(0.2)
            os.write(terminal, answer.encode() + b"\n")
            seen += b"\n"
        while True:
            try:
                seen += os.read(terminal, 1024)
            except OSError:
                break
        os.close(terminal)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, seen
        assert PASSPHRASE.encode() not in seen


def test_options_come_from_the_environment_too(cli: Cli) -> None:
    done = cli.run("snapshots", "--json", code=2, BACKUP_OPTION_FSYNC="no")
    assert "fsync" in done.stderr
    secret = cli.run("-r", "s3://b", "snapshots", "--json", code=2, BACKUP_OPTION_AWS_SECRET_ACCES_KEY=PASSPHRASE)
    assert PASSPHRASE not in secret.stderr


def test_a_store_that_went_back_is_noticed(cli: Cli, tree: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(tmp_path / "repository", tmp_path / "old")
    head = ["--head-file", str(tmp_path / "head")]
    cli.run("backup", "folder", tree, *head)
    cli.run("snapshots", *head)
    assert "RolledBackError" in cli.run("-r", tmp_path / "old", "snapshots", *head, "--json", code=1).stderr


def test_a_terminal_gets_progress_and_colours(cli: Cli, tree: Path) -> None:
    with open(tree / "sparse", "wb") as file:
        file.truncate(1 << 30)
    settle()
    code, seen = cli.terminal("backup", "folder", tree)
    assert code == 0, seen
    # Drawn several times on one line, and taken away at the end.
    drawn = re.findall(r"\r\x1b\[\?25l([^\r]*)\x1b\[K", seen)
    assert len(drawn) > 2
    assert any("reading" in line and "MB" in line for line in drawn), drawn
    assert "\r\x1b[2K\x1b[?25hSnapshot \x1b[36m" in seen
    assert "\x1b[32mcomplete\x1b[0m" in seen
    code, seen = cli.terminal("snapshots", columns=40)
    assert code == 0, seen
    assert all(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) <= 40 for line in seen.splitlines())


def test_colours_and_progress_can_be_turned_off(cli: Cli, tree: Path) -> None:
    code, seen = cli.terminal("backup", "folder", tree, "--progress", "never", NO_COLOR="1")
    assert code == 0
    assert "\x1b" not in seen
    code, seen = cli.terminal("backup", "folder", tree, "--json")
    assert code == 0
    assert json.loads(seen)["type"] == "backup"


def test_a_pipe_gets_plain_lines(cli: Cli, tree: Path) -> None:
    done = cli.run("backup", "folder", tree)
    assert "\x1b" not in done.stdout
    assert done.stderr == ""
    done = cli.run("backup", "folder", tree, "--progress", "always")
    assert "opening: 0 items\n" in done.stderr
    assert "\r" not in done.stderr
    done = cli.run("backup", "folder", tree, "--progress", "always", "--json")
    steps = [json.loads(line) for line in done.stderr.splitlines()]
    assert {step["type"] for step in steps} == {"progress"}
    assert steps[-1]["phase"] == "done"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_backup_leaves_a_checkpoint(
    cli: Cli, endless: Path, tmp_path: Path, number: signal.Signals
) -> None:
    def commits() -> int:
        with backup_py.Repository.open(tmp_path / "repository", raw_key=KEY) as repository:
            return int(repository.head.partition(":")[0])

    before = commits()
    command = cli.command(*cli.key, "backup", "folder", endless, "--json", "--progress", "always")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=cli.environment
    ) as process:
        assert process.stderr
        # In the middle: the first file has been read.
        for line in process.stderr:
            if json.loads(line)["bytes_done"] > 3_000_000:
                break
        begun = time.monotonic()
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.wait(timeout=30) == 130
        assert time.monotonic() - begun < 20
    error = json.loads(rest.splitlines()[-1])
    assert (error["kind"], error["code"]) == ("CanceledError", 3)
    assert commits() == before + 1
    assert cli.json("snapshots") == []


def test_ctrl_c_twice_ends_it_at_once(cli: Cli, endless: Path) -> None:
    command = cli.command(*cli.key, "backup", "folder", endless, "--json", "--progress", "always")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=cli.environment) as process:
        assert process.stderr
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(timeout=30) == 130
    assert json.loads(rest.splitlines()[-1])["kind"] in ("KeyboardInterrupt", "CanceledError")


def test_a_reader_that_goes_away_is_no_failure(cli: Cli, tree: Path) -> None:
    for number in range(3000):
        (tree / f"{number:060}").touch()
    cli.run("backup", "folder", tree)
    with subprocess.Popen(
        cli.command(*cli.key, "ls", "latest"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=cli.environment
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=30) == 141


def test_what_is_said_can_be_read(run_python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    from backup_py._text import duration, plural, size, visible, width

    assert [size(number) for number in (0, 999, 1000, 99_949, 123_456, 999_999, 5_000_000_000)] == [
        "0 B", "999 B", "1.0 kB", "99.9 kB", "123 kB", "1.0 MB", "5.0 GB",
    ]  # fmt: skip
    assert [duration(number) for number in (0, 9.94, 59, 61, 3725)] == ["0.0 s", "9.9 s", "59 s", "1:01", "1:02:05"]
    assert (plural(1, "item"), plural(2000, "item")) == ("1 item", "2,000 items")
    assert visible("a\tb\x1b[2J\u202etxt.exe\udcff\u00e4") == "a\\x09b\\x1b[2J\\u202etxt.exe\\xff\u00e4"
    assert width("\x1b[31m\u65e5\u672c\x1b[0ma\u0301") == 5
    done = run_python("import backup_py.cli; print(backup_py.cli.main(['--version']))")
    assert done.stdout == f"backup-py {backup_py.__version__}\n"


def test_the_console_script_is_installed() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("backup-py"), "--version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout == f"backup-py {backup_py.__version__}\n"


def test_keys_are_added_listed_and_removed(cli: Cli, tmp_path: Path) -> None:
    [first] = cli.json("keys", "list")
    done = cli.run("keys", "add", "--json", BACKUP_NEW_PASSPHRASE=PASSPHRASE)
    added = json.loads(done.stdout)["id"]
    assert PASSPHRASE not in done.stdout + done.stderr
    cli.bare("snapshots", BACKUP_PASSPHRASE=PASSPHRASE)
    assert sorted(slot["id"] for slot in cli.json("keys", "list")) == sorted([first["id"], added])
    other = tmp_path / "other key"
    other.write_bytes(bytes(32))
    cli.run("keys", "add", "--new-raw-key-file", other)
    cli.run("keys", "remove", first["id"])
    cli.run("snapshots", code=1)
    cli.bare("--raw-key-file", other, "snapshots")
    assert added in cli.bare("--raw-key-file", other, "keys", "list").stdout


def test_parity_scrub_drill_and_mirror(cli: Cli, tree: Path, tmp_path: Path) -> None:
    cli.run("backup", "folder", tree)
    [report] = cli.json("parity")
    assert report["objects"] > 0
    assert report["new_sets"] > 0
    key = cli.run("keys", "public").stdout.strip()
    assert cli.json("scrub")[0]["is_sound"]
    copied = cli.run("mirror", tmp_path / "copy").stdout
    assert re.match(r"\d+ objects of \d+ copied, ", copied)
    assert cli.json("-r", tmp_path / "copy", "snapshots") == cli.json("snapshots")
    assert cli.json("mirror", tmp_path / "copy", "--check")[0]["copied_objects"] == 0

    [drilled] = cli.json("drill", "--against", tree, "--seed", 7, "--to", tmp_path / "drilled")
    assert (drilled["is_clean"], drilled["seed"]) == (True, 7)
    assert drilled["compared"] > 0
    assert any((tmp_path / "drilled").iterdir())

    flip(packs(tmp_path / "repository")[0], 2_000_000)
    # The public key is enough: no passphrase is there to be had.
    done = cli.bare("scrub", "--public-key", key, code=3)
    assert re.search(r"1 of \d+ blocks damaged, can be repaired: --repair", done.stdout)
    assert cli.run("drill", "--items", 1000, code=3).stdout.count("large.bin") == 1
    assert "repaired" in cli.bare("scrub", "--public-key", key, "--repair").stdout
    assert cli.json("verify", "--every-byte")[0]["is_sound"]
