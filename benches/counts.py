#!/usr/bin/env python3
"""Instructions that the steps of a fixed small backup take, held against benches/counts.json.

Counts say on any machine, however busy, whether a change made the engine's own work dearer; they say nothing of waiting, of
memory or of threads. They fail where one has risen by more than 3 %, and ask for an update where one has fallen by more.

    counts.py             compare
    counts.py --update    write benches/counts.json anew

Needs Linux on x86-64, valgrind, and nothing of Python but itself. What a count depends on, and how it is kept still:

- the input: corpus, randomness and time are fixed, the store is in memory, all work is on one thread (benches/counts.rs);
- the CPU: valgrind shows every program the same one, with AVX2 if the host has it, so that what looks at the CPU (the C
  library, BLAKE3, zstd) chooses the same code;
- places in memory: valgrind lays them out, and the environment is empty, so that the stack begins where it always does;
- seeds of hash tables: std takes them from the system. They decide which entries collide and nothing else;
- compiler, valgrind and C library: written down beside the counts. Where they are others, differences are shown and fail nothing.
"""

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "benches/counts.json"
STEPS = {
    "first": "first backup: 400 texts of 10 KiB, one of 3 MiB, 2 MiB of noise",
    "unchanged": "again, and nothing has changed",
    "next": "again, and 20 texts have changed",
    "known": "the same as another collection, after 100 more backups: everything is looked up in 101 segments",
    "open": "opening the repository of these 101 segments: a checkpoint, 37 log entries",
    "restore": "restore of the first backup",
}
# By how much a count may differ before it is said.
TOLERANCE = 0.03


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def tools():
    """What counts depend on besides the sources."""
    return {
        "rustc": output("rustc", "--version"),
        "valgrind": output("valgrind", "--version"),
        "libc": " ".join(platform.libc_ver()),
        "avx2": " avx2 " in Path("/proc/cpuinfo").read_text(),
    }


def build():
    """The program that is counted; with the features of compare.py's, so that nothing is built twice."""
    command = ["cargo", "build", "--release", "--locked", "-p", "backup-benches", "--features", "program", "--example", "counts"]
    subprocess.run(command, cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/examples/counts"


def count(program, step):
    """Instructions of one step."""
    with tempfile.TemporaryDirectory() as place:
        call = ["valgrind", "--tool=callgrind", "--toggle-collect=counts::counted", "--callgrind-out-file=out", program, step]
        done = subprocess.run(call, cwd=place, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or found is None or int(found[1]) == 0:
        raise SystemExit(f"step {step} was not counted:\n{done.stderr[-2000:]}")
    return int(found[1])


def main():
    program, used = build(), tools()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = dict(zip(STEPS, pool.map(lambda step: count(program, step), STEPS)))
    if "--update" in sys.argv[1:]:
        about = "Instructions of the steps of benches/counts.rs, written by benches/counts.py --update; two runs differ by less than 0.3 %"
        KEPT.write_text(json.dumps({"about": about, "tools": used, "counts": counts}, indent=2) + "\n")
    kept = json.loads(KEPT.read_text())
    dearer, cheaper = [], []
    for step, about in STEPS.items():
        before = kept["counts"].get(step)
        change = counts[step] / before - 1 if before else 1.0
        print(f"{step:10} {counts[step]:>12,}  {change:+7.2%}  {about}")
        if change > TOLERANCE:
            dearer.append(step)
        elif change < -TOLERANCE:
            cheaper.append(step)
    if kept["tools"] != used:
        print(f"counted with {used}, kept with {kept['tools']}: differences are no failure")
    elif dearer:
        raise SystemExit(f"dearer than before by more than {TOLERANCE:.0%}: {', '.join(dearer)}. If that is worth it: benches/counts.py --update")
    elif cheaper:
        print(f"cheaper than before by more than {TOLERANCE:.0%}: {', '.join(cheaper)}. Keep it that way: benches/counts.py --update")


if __name__ == "__main__":
    sys.exit(main())
