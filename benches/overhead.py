#!/usr/bin/env python3
"""What Python costs: the same backups through `backup_py` and in Rust, `python3 benches/overhead.py`.

Needs the package, built for release (`pip install ./backup-py`), and cargo. Prints, as JSON, the seconds of both and their
ratio for each job, the best of some rounds, which alternate: a folder, whose source is Rust on both sides; many small items
and a large one from a source that is written in the language measured; and such a source behind several threads. Sources
deliver from memory and repositories are in memory, so that nothing but the engine and the language counts.

`--smoke` runs it once on little data, with whatever was built; that measures nothing.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import backup_py

ROOT = Path(__file__).resolve().parent.parent
KEY = bytes([7]) * 32


class Items:
    """A source of equally long items, as `MemorySource` is in Rust."""

    collection = backup_py.Collection(id="overhead", kind="memory")

    def __init__(self, content, length, readers, along=False):
        self.concurrency, self.along = readers, along
        self.parts = [content[at : at + length] for at in range(0, len(content), length)]

    def changes(self, cursor):
        yield backup_py.Upsert(backup_py.Item(id=b"top", name="top", kind="folder"))
        for number, part in enumerate(self.parts):
            name = str(number)
            streams = (backup_py.Stream(name="content", size=len(part)),)
            item = backup_py.Item(id=name.encode(), parent=b"top", name=name, tag=b"1", streams=streams)
            yield backup_py.Upsert(item, {"content": part} if self.along else None)

    def open(self, item, stream):
        return self.parts[int(item.id)]


def in_python(source):
    with backup_py.Repository.init("memory://", raw_key=KEY) as repository:
        began = time.perf_counter()
        report = repository.backup(source)
        took = time.perf_counter() - began
        assert not report.problems, report.problems
    return took


def build(release):
    command = ["cargo", "build", "-q", "-p", "backup-core", "--features", "folder,fs", "--example", "overhead"]
    subprocess.run([*command, *(["--release"] if release else [])], cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / ("release" if release else "debug") / "examples" / "overhead"


def folder(root, files, length):
    noise = random.Random(1)
    for number in range(files):
        place = root / f"{number % 50:02}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}").write_bytes(noise.randbytes(length))
    time.sleep(0.1)
    return root


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="little data, once, and not built for release")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    rounds, scale = (1, 100) if given.smoke else (given.rounds, 1)
    rust = build(not given.smoke)
    results = {}
    with tempfile.TemporaryDirectory() as place:
        noise = random.Random(2)
        content = b"".join(noise.randbytes((1 << 20) // scale) for _ in range(400))
        file = Path(place) / "content"
        file.write_bytes(content)
        tree = folder(Path(place) / "tree", 20_000 // scale, 8_000)
        small = content[: (80 << 20) // scale]
        few = Path(place) / "few"
        few.write_bytes(small)
        jobs = {
            "folder": (["folder", tree], lambda: backup_py.FolderSource(tree)),
            "small items": (["items", few, 4_000, 1], lambda: Items(small, 4_000, 1)),
            "small items, 4 at once": (["items", few, 4_000, 4], lambda: Items(small, 4_000, 4)),
            "small items that come with their content": (["items", few, 4_000, 1, "along"], lambda: Items(small, 4_000, 1, True)),
            "large item": (["items", file, len(content), 1], lambda: Items(content, len(content), 1)),
        }
        for name, (arguments, make) in jobs.items():
            ours, theirs = [], []
            for _ in range(rounds):
                command = [str(rust), *map(str, arguments), "1"]
                theirs += json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
                ours.append(in_python(make()))
            results[name] = {
                "rust_seconds": round(min(theirs), 4),
                "python_seconds": round(min(ours), 4),
                "ratio": round(min(ours) / min(theirs), 3),
            }
    json.dump({"smoke": given.smoke, "rounds": rounds, "jobs": results}, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
