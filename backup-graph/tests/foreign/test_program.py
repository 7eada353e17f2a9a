"""The program `simulated-tenant` itself: how it starts, what it says, how it ends."""

import json
import signal
import subprocess
import urllib.error
import urllib.request

import pytest
from simulated_tenant import SimulatedTenant, program


def test_it_answers_over_http_and_reports(tmp_path):
    with SimulatedTenant(tmp_path, "--drive", "ada@contoso.example", "--documents", "5", entrance="--http") as tenant:
        assert tenant.ready["ca_pem"] is None
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{tenant.ready['graph']}/v1.0/users", timeout=30)
        assert refused.value.code == 401
        report = tenant.report()
        assert report["requests"] == {"users": 1}
        assert report["drives"][0]["files"] == 5
        assert tenant.stop() == report


def test_the_same_seed_makes_the_same_tenant(tmp_path):
    def made(seed: str) -> tuple[str, str]:
        with SimulatedTenant(tmp_path, "--seed", seed) as tenant:
            return tenant.tenant, tenant.report()["drives"][0]["fingerprint"]

    assert made("1") == made("1") != made("2")


def test_it_reports_when_it_is_terminated(tmp_path):
    with SimulatedTenant(tmp_path) as tenant:
        last = tenant.stop(how=lambda process: process.send_signal(signal.SIGTERM))
        assert last["requests"] == {}


def test_each_tenant_has_an_authority_of_its_own(tmp_path):
    with SimulatedTenant(tmp_path) as one, SimulatedTenant(tmp_path) as other:
        assert one.ready["ca_pem"] != other.ready["ca_pem"]
        assert other.ca_file.read_text() == other.ready["ca_pem"]
        assert "PRIVATE" not in json.dumps(one.ready)


@pytest.mark.parametrize("options", [["--nothing"], ["--documents", "3"], ["--port", "70000"]])
def test_what_makes_no_sense_is_refused(options):
    done = subprocess.run(
        [program("BACKUP_SIMULATED_TENANT"), *options], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
