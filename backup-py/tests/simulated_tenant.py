"""A simulated Microsoft 365 tenant as a running program.

The program is `simulated-tenant` of the crate backup-graph; BACKUP_SIMULATED_TENANT names it.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

PROGRAM = os.environ.get("BACKUP_SIMULATED_TENANT", "")
MISSING = "BACKUP_SIMULATED_TENANT does not name the program: run `bash .ci/check.sh python`"


class SimulatedTenant:
    """One running tenant; `ready` is what it said of itself."""

    def __init__(self, *options: str) -> None:
        self._process = subprocess.Popen([PROGRAM, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ready = self._line()

    def close(self) -> None:
        """Ends it."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()

    @property
    def how(self) -> dict[str, Any]:
        """Arguments of `Tenant` that lead here, without a proof of who asks."""
        return {"graph_url": self.ready["graph"], "login_url": self.ready["login"]}

    @property
    def application(self) -> dict[str, Any]:
        """Arguments of `Tenant` for its application."""
        application = self.ready["applications"][0]
        return {"client_id": application["id"], "client_secret": application["secret"], **self.how}

    @property
    def id(self) -> str:
        """The directory's id."""
        return str(self.ready["tenant"])

    def drive(self, number: int) -> str:
        """Id of a drive."""
        return str(self.ready["drives"][number]["id"])

    def report(self) -> dict[str, Any]:
        """What the tenant has seen so far."""
        assert self._process.stdin
        self._process.stdin.write("report\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the simulated tenant ended"
        answer: dict[str, Any] = json.loads(line)
        return answer
