"""A real Slurm on this machine: a controller and two nodes of two cores, started here."""

import contextlib
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("LLT_SHARED", Path(__file__).resolve().parents[3] / "../shared"))
UP, DOWN = SHARED / "tools" / "slurm_up.sh", SHARED / "tools" / "slurm_down.sh"


@dataclass(frozen=True)
class Cluster:
    base: Path

    def ask(self, *command):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def states(self, name=""):
        """The states of all jobs whose ``ARRAY_TASK`` begins with ``name``."""
        text = self.ask("squeue", "-h", "--array", "-t", "all", "--format=%F_%K|%T")
        pairs = dict(line.strip().split("|") for line in text.splitlines())
        return {job: state for job, state in pairs.items() if job.startswith(name)}

    def until(self, what, true, seconds=60.0):
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, f"not within {seconds:g} s: {what}; {self.states()}"
            time.sleep(0.1)

    def end_by_time_limit(self, job):
        """Have a running job reach its time limit now: Slurm's own limit, made shorter."""
        self.ask("scontrol", "update", f"jobid={job}", "timelimit=0")

    def requeue(self, job):
        """Take a running job off its node and put it back into the queue, as preemption does."""
        self.ask("scontrol", "requeue", job)
        time.sleep(3)  # it is still being taken off; then it would wait two minutes
        self.ask("scontrol", "update", f"jobid={job}", "starttime=now")

    @contextlib.contextmanager
    def closed(self):
        """No job starts inside the block."""
        self.ask("scontrol", "update", "partitionname=debug", "state=down")
        try:
            yield
        finally:
            self.ask("scontrol", "update", "partitionname=debug", "state=up")


@pytest.fixture(scope="session")
def slurm():
    if not UP.is_file():
        pytest.skip(f"{UP} is not there")
    if os.geteuid() != 0:
        pytest.skip("Slurm's daemons need root")
    if not (shutil.which("slurmctld") or shutil.which("apt-get")):
        pytest.skip("neither Slurm nor apt-get is there")
    base = Path(tempfile.mkdtemp(prefix="llt-slurm-")) / "s"
    port = _free_ports(4)
    ports = {"CTLD_PORT": str(port), "SLURMD_PORT0": str(port)}  # nodes take those that follow
    environment = os.environ | ports | {"SLURM_BASE": str(base)}
    # Its daemons keep what they inherit open, so its output goes to a file and not to a pipe.
    with (base.parent / "up.log").open("w") as log:
        up = subprocess.run(
            ["bash", str(UP), "2"], env=environment, stdout=log, stderr=log, check=False
        )
    said = (base.parent / "up.log").read_text()
    before = os.environ.get("SLURM_CONF")
    try:
        if up.returncode != 0 and not shutil.which("slurmctld"):
            pytest.skip(f"Slurm cannot be installed: {said[-500:]}")
        assert up.returncode == 0, said
        os.environ["SLURM_CONF"] = str(base / "slurm.conf")
        yield Cluster(base)
    finally:
        subprocess.run(
            ["bash", str(DOWN), "--purge"], env=environment, capture_output=True, check=False
        )
        shutil.rmtree(base.parent, ignore_errors=True)
        os.environ.pop("SLURM_CONF", None)
        if before is not None:
            os.environ["SLURM_CONF"] = before


@pytest.fixture(autouse=True)
def _no_jobs_are_left(slurm):
    """What a test that failed leaves running would make the next one wait."""
    yield
    slurm.ask("scontrol", "update", "partitionname=debug", "state=up")
    slurm.ask("scancel", "--user", str(os.getuid()))
    alive = ("PENDING", "RUNNING", "COMPLETING")
    slurm.until("no job is left", lambda: not {*slurm.states().values()} & {*alive})


def _free_ports(count):
    """The first of ``count`` ports in a row that nobody listens on."""
    while True:
        first = random.randrange(20000, 30000)
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for port in range(first, first + count):
                one = stack.enter_context(socket.socket())
                one.bind(("127.0.0.1", port))
            return first
