"""What is backed up in the benchmark. Each corpus yields steps: a name, and what makes the folder ready for it."""

import os
import random
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORDS = (
    "invoice meeting schedule attached regards please review quarter budget team project customer contract delivery update "
    "deadline confirm question report office travel approve draft version legal finance support ticket order payment"
).split()


class Corpus:
    about = ""
    # Whether this engine is measured with stores at different distances, instead of beside its peers.
    distant = False

    def __init__(self, home, scale):
        self.home, self.scale = Path(home), scale
        self.home.mkdir(parents=True)

    def make(self):
        """Makes what the steps need."""

    def steps(self, folder):
        raise NotImplementedError

    def reset(self, folder):
        """Puts away the folder after an engine is done with it."""
        shutil.rmtree(folder, ignore_errors=True)


class Kernel(Corpus):
    about = "Linux sources, two versions of Debian's linux-source-6.1"

    def make(self):
        kept = Path(os.environ.get("BACKUP_CHECK_CACHE", ROOT / "target/check")) / "kernel"
        subprocess.run(["bash", ROOT / ".ci/kernel.sh", kept], check=True)
        for version in ("old", "new"):
            shutil.copytree(kept / version, self.home / version, symlinks=True)

    def steps(self, folder):
        # Renamed into place: to every engine it is one folder that has changed.
        yield "first", lambda: (self.home / "old").rename(folder)
        yield "unchanged", lambda: None
        yield "next", lambda: (folder.rename(self.home / "old"), (self.home / "new").rename(folder))

    def reset(self, folder):
        folder.rename(self.home / "new")


class Latency(Kernel):
    about = (
        "The older of the kernel's sources, with the store on the same RAM disk and with an object store (SeaweedFS, on the RAM disk too) behind a proxy that adds "
        "nothing or 20 ms to each request. Object store and proxy run on the same cores, and what they take is taken from the engine"
    )
    distant = True


class Random(Corpus):
    about = "one file of 1 GiB that neither compresses nor repeats"

    def make(self):
        (self.home / "all").mkdir()
        write_noise(self.home / "all/noise.bin", int((1 << 30) * self.scale), 1)

    def steps(self, folder):
        yield "first", lambda: (self.home / "all").rename(folder)

    def reset(self, folder):
        folder.rename(self.home / "all")


class Mails(Corpus):
    about = "50,000 mails and documents of 1 to 20 kB; two revisions change 1 % and add 1 %"

    def make(self):
        # Once: words take longer to choose than any engine takes to back them up.
        count = int(50_000 * self.scale)
        one_percent = max(1, count // 100)
        self.write(self.home / "0", range(count), 0)
        for revision in (1, 2):
            changed = random.Random(revision).sample(range(count), one_percent)
            added = range(count + (revision - 1) * one_percent, count + revision * one_percent)
            self.write(self.home / str(revision), [*changed, *added], revision)

    def mail(self, number, revision):
        chance = random.Random(f"{number}/{revision}")
        sender = f"person{chance.randrange(400)}@example.com"
        lines = [
            f"Message-ID: <{chance.getrandbits(128):032x}@mail.example.com>",
            f"From: Person {sender} <{sender}>",
            f"To: person{chance.randrange(400)}@example.com",
            f"Subject: {' '.join(chance.choices(WORDS, k=5))}",
            "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=utf-8",
            "",
        ]
        for _ in range(chance.randrange(10, 200)):
            lines.append(" ".join(chance.choices(WORDS, k=14)))
        lines += ["--", f"{sender} · Example Ltd · 1 Example Street", "This message is confidential. " * 5]
        return "\r\n".join(lines)

    def write(self, folder, numbers, revision):
        for number in numbers:
            box = folder / f"box{number % 50:02}"
            box.mkdir(parents=True, exist_ok=True)
            (box / f"{number:06}.eml").write_text(self.mail(number, revision))

    def steps(self, folder):
        for revision, name in enumerate(("first", "revision 1", "revision 2")):
            yield name, lambda revision=revision: shutil.copytree(self.home / str(revision), folder, copy_function=shutil.copyfile, dirs_exist_ok=True)


class Edits(Corpus):
    about = "one file of 4 GiB, like a disk of a machine; then 100 edits of 4 KiB all over it"

    def make(self):
        (self.home / "all").mkdir()
        self.length = int((4 << 30) * self.scale)

    def edit(self, folder):
        chance = random.Random(3)
        with open(folder / "disk.vhdx", "r+b") as file:
            for _ in range(100):
                file.seek(chance.randrange(self.length - 4096))
                file.write(chance.randbytes(4096))

    def steps(self, folder):
        folder_disk = folder / "disk.vhdx"
        yield "first", lambda: (folder.mkdir(), write_noise(folder_disk, self.length, 2, text=0.5))
        yield "next", lambda: self.edit(folder)


class Revisions(Corpus):
    about = "2,000 files of 20 kB, 100 backups, each after 20 files have changed: the last is restored"

    def write(self, folder, numbers, revision):
        for number in numbers:
            chance = random.Random(f"{number}/{revision}")
            box = folder / f"{number % 40:02}"
            box.mkdir(parents=True, exist_ok=True)
            (box / f"{number:04}.txt").write_text(" ".join(chance.choices(WORDS, k=2_800)))

    def steps(self, folder):
        count, revisions = max(40, int(2_000 * self.scale)), max(3, int(100 * self.scale))
        yield "first", lambda: self.write(folder, range(count), 0)
        for revision in range(1, revisions):
            changed = random.Random(revision).sample(range(count), min(20, count))
            yield "last revision", lambda changed=changed, revision=revision: self.write(folder, changed, revision)


def write_noise(path, length, seed, text=0.0):
    """Noise in pieces of 1 MiB, of which a share are words instead: they compress, and no two pieces are the same."""
    chance = random.Random(seed)
    blocks = [" ".join(chance.choices(WORDS, k=2_000)).encode() for _ in range(256)] if text else []
    with open(path, "wb") as file:
        while length > 0:
            if chance.random() < text:
                piece = b"".join(chance.choices(blocks, k=80))[: 1 << 20]
            else:
                piece = chance.randbytes(1 << 20)
            file.write(piece[:length])
            length -= len(piece)


ALL = {"kernel": Kernel, "random": Random, "mails": Mails, "edits": Edits, "revisions": Revisions, "latency": Latency}
