"""A simulated tenant of many drives goes to one repository by a Dask cluster, of which a worker is killed in the middle.

    servers.py --only seaweedfs dask_tenant.py [--drives 200] [--documents 50] [--processes 4]

BACKUP_TEST_STORES names the store, BACKUP_SIMULATED_TENANT the program; both are set by `long.sh`. It fails unless every drive has a
complete snapshot, the whole repository verifies, a drill against the tenant is clean, and the killed worker's drive was taken over. It
prints the wall time beside the ideal split: the seconds that workers spent on their drives, divided by the number of workers.
"""

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from contextlib import closing
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "backup-py" / "tests"))

from simulated_tenant import SimulatedTenant  # noqa: E402 - the tests know how to run it

import backup_py  # noqa: E402
from backup_py.distributed import Job, backup_all  # noqa: E402


OPTIONS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT", "AWS_ALLOW_HTTP")


def begun(source, marker, number):
    """Makes a job's source, and notes which process has begun with it."""
    with open(marker, "a") as file:
        file.write(f"{number} {os.getpid()}\n")
    return source


def main():
    parser = argparse.ArgumentParser(description="A tenant, a Dask cluster and a killed worker.")
    parser.add_argument("--drives", type=int, default=200)
    parser.add_argument("--documents", type=int, default=50)
    parser.add_argument("--processes", type=int, default=4)
    how = parser.parse_args()
    from distributed import Client, LocalCluster

    store = os.environ["BACKUP_TEST_STORES"].split()[0]
    options = {name.lower(): os.environ[name] for name in OPTIONS}
    words = [word for number in range(how.drives) for word in ("--drive", f"user-{number:03}@contoso.example", "--documents", str(how.documents))]
    with tempfile.TemporaryDirectory(prefix="dask-") as folder, closing(SimulatedTenant("--http", *words)) as simulation:
        tenant = backup_py.Tenant(simulation.id, pickle_secret=True, **simulation.application)
        address = backup_py.RepositoryAddress(url=f"{store}/dask-{os.getpid()}", options=options, raw_key=os.urandom(32), pickle_secret=True)
        repository = backup_py.Repository.init(address.url, options=options, raw_key=address.raw_key)
        sources = [backup_py.DriveSource(tenant, found.drive) for found in tenant.every_drive(["user"]) if found.drive]
        assert len(sources) == how.drives
        marker = Path(folder) / "begun"
        jobs = [Job(source.collection, partial(begun, source, str(marker), number)) for number, source in enumerate(sources)]
        killed, done = [], []

        def watch(report):
            done.append(report)
            if len(done) == how.drives // 4:
                threading.Thread(target=kill, daemon=True).start()

        def kill():
            # Who has begun with something that is not reported yet is in the middle of it, unless it ends this very moment: then the next one.
            while not killed:
                reported = {report.name for report in done}
                last = [line.split() for line in marker.read_text().splitlines()]
                for number, pid in reversed(last):
                    if jobs[int(number)].name not in reported:
                        os.kill(int(pid), signal.SIGKILL)
                        killed.append(int(pid))
                        return
                time.sleep(0.001)

        with LocalCluster(n_workers=how.processes, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50) as cluster, Client(cluster) as client:
            client.wait_for_workers(how.processes, timeout=120)
            started = time.monotonic()
            reports = backup_all(jobs, address, client, on_report=watch)
            wall = time.monotonic() - started
        assert killed, "nobody was killed"
        failed = [str(report) for report in reports if not report.is_complete]
        assert not failed, failed
        begins = [int(line.split()[0]) for line in marker.read_text().splitlines()]
        again = len(begins) - len(set(begins))
        assert again >= 1, "the killed worker was idle"
        spent = sum(report.seconds for report in reports)
        workers = {report.worker for report in reports}
        print(f"{how.drives} drives of {how.documents} documents, {how.processes} processes, 1 killed: {again} drives taken over, {len(workers)} processes in all")
        print(f"wall {wall:.1f} s, ideal split {spent / how.processes:.1f} s ({spent:.1f} s of work): {wall / (spent / how.processes):.2f} times the ideal")

        repository.refresh()
        snapshots = repository.snapshots()
        assert {snapshot.collection.id for snapshot in snapshots} == {source.collection for source in sources}
        assert {snapshot.state for snapshot in snapshots} == {"complete"}
        items = sum(report.report.stats.items for report in reports)
        files = sum(drive["files"] for drive in simulation.report()["drives"])
        assert files == how.drives * how.documents
        assert items > files
        verified = repository.verify("every_byte")
        assert verified.is_sound, verified.findings
        drill = repository.drill(against=sources)
        assert drill.is_clean, drill
        assert drill.compared > 0
        print(f"{len(snapshots)} snapshots, {items} items, {verified.bytes_read} bytes verified; {drill}")
        assert simulation.report()["leaked_tokens"] == 0
        repository.close()


if __name__ == "__main__":
    main()
