"""The simulated tenant as a running program, and what it says.

The program is `simulated-tenant` of backup-graph; BACKUP_SIMULATED_TENANT names it.
"""

import json
import os
import subprocess
from pathlib import Path


class SimulatedTenant:
    """One running tenant, behind a proxy that takes the place of Microsoft's hosts unless told otherwise."""

    def __init__(self, folder: Path, *options: str, entrance: str = "--proxy"):
        self.ca_file = folder / "authority.pem"
        command = [program("BACKUP_SIMULATED_TENANT"), *options]
        command += [entrance] if entrance else []
        command += ["--ca-file", str(self.ca_file)] if entrance != "--http" else []
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.ready = self._line()

    def __enter__(self) -> "SimulatedTenant":
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            self.stop()

    @property
    def tenant(self) -> str:
        return self.ready["tenant"]

    @property
    def application(self) -> str:
        return self.ready["applications"][0]["id"]

    @property
    def secret(self) -> str:
        return self.ready["applications"][0]["secret"]

    def drive(self, number: int) -> str:
        return self.ready["drives"][number]["id"]

    def report(self) -> dict:
        """What the tenant has seen so far."""
        self._process.stdin.write("report\n")
        self._process.stdin.flush()
        return self._line()

    def stop(self, how=lambda process: process.stdin.close()) -> dict:
        """Ends the program; returns its last report."""
        how(self._process)
        last = self._line()
        assert self._process.wait(timeout=30) == 0
        return last

    def _line(self) -> dict:
        line = self._process.stdout.readline()
        assert line, "the simulated tenant ended"
        return json.loads(line)

    def proxy_environment(self) -> dict[str, str]:
        """What programs are told by their environment: the proxy, and whom to trust, in every spelling in use."""
        return {
            "HTTPS_PROXY": self.ready["proxy"],
            "https_proxy": self.ready["proxy"],
            "NO_PROXY": "",
            "no_proxy": "",
            "SSL_CERT_FILE": str(self.ca_file),
            "REQUESTS_CA_BUNDLE": str(self.ca_file),
            "NODE_EXTRA_CA_CERTS": str(self.ca_file),
        }


def program(variable: str) -> str:
    """A program that the environment names."""
    path = os.environ.get(variable)
    assert path, f"{variable} is not set: run `bash .ci/check.sh foreign`"
    return path
