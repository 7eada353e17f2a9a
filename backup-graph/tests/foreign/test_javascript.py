"""Microsoft's JavaScript client, over HTTPS with its base address set."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import contents

DRIVES = ("--drive", "ada@contoso.example", "--seed-dir")
EMPTY = ("--drive", "grace@contoso.example")
SCRIPT = Path(__file__).with_name("javascript_client.cjs")


def node() -> str:
    """The interpreter, with the client installed; on CI it must be there."""
    interpreter = shutil.which("node")
    modules = os.environ.get("NODE_PATH", "")
    if interpreter and (Path(modules) / "@microsoft/microsoft-graph-client").is_dir():
        return interpreter
    missing = "node" if not interpreter else "the JavaScript client (NODE_PATH does not lead to it)"
    if os.environ.get("CI"):
        pytest.fail(f"{missing} is missing: CI must have Node.js and npm")
    pytest.skip(f"{missing} is missing")


def run(tenant) -> dict:
    what = {"from": tenant.drive(0), "to": tenant.drive(1), "secret": tenant.secret}
    what |= {"tenant": tenant.tenant, "application": tenant.application}
    what |= {name: tenant.ready[name] for name in ("graph", "login")}
    environment = os.environ | {"NODE_EXTRA_CA_CERTS": str(tenant.ca_file), "TENANT": json.dumps(what)}
    done = subprocess.run([node(), str(SCRIPT)], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_copies_a_drive_exactly(start, documents):
    node()
    tenant = start(*DRIVES, str(documents), *EMPTY, entrance="")
    report, files = run(tenant), contents(documents)
    assert set(report["files"]) == set(files)
    assert report["hashes"] == {path: True for path, content in files.items() if content}
    assert report["batched"] == [True] * 20
    assert report["changed"] == 0
    assert (report["error"]["status"], report["error"]["code"]) == (404, "itemNotFound")
    assert report["error"]["request"]
    seen = tenant.stop()
    assert seen["requests"]["upload_range"] == len(files) + 1
    assert seen["leaked_tokens"] == 0
    assert seen["drives"][0]["fingerprint"] == seen["drives"][1]["fingerprint"]


def test_it_waits_when_it_is_told_to(start, documents):
    node()
    tenant = start(*DRIVES, str(documents), *EMPTY, "--throttle", "5", entrance="")
    run(tenant)
    seen = tenant.stop()
    assert seen["faults"] > 0
    assert (seen["inside_window"], seen["leaked_tokens"]) == (0, 0)
    assert seen["drives"][0]["fingerprint"] == seen["drives"][1]["fingerprint"]
