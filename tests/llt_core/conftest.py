"""Executors of a user's own, declared in an llt.toml: jobs that go on without their driver."""

import itertools

import pytest

EXECUTORS = '''
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from llt_core.interfaces import Executor, Outcome, Progress, parameter
from llt_core.interfaces.executor import perform

RUN = """
import json, sys
from pathlib import Path
from llt_core.interfaces.executor import Job, perform
file = Path(sys.argv[1])
perform(Job(**json.loads(file.read_text())), lambda progress: None)
file.with_suffix(".over").touch()
"""
HERE = Path(__file__).parent


class Detached(Executor):
    """Each job is a process of its own that nobody waits for; its number is its handle.

    Jobs begin when there is a file ``go``, if ``gate``; the driver's poll raises while there is
    one called ``break``.
    """

    summary = "Processes that outlive the driver"
    outlives_driver = True
    cells: int = parameter(1, ge=1, description="jobs at once")
    folder: str = parameter("", description="where jobs are described, if not in the store")
    gate: int = parameter(0, ge=0, description="jobs that begin without a file called go")

    def start(self, workspace):
        workspace = Path(self.folder or workspace)
        workspace.mkdir(parents=True, exist_ok=True)
        object.__setattr__(self, "_workspace", workspace)
        object.__setattr__(self, "_jobs", {})
        object.__setattr__(self, "_waiting", [])
        object.__setattr__(self, "_begun", [])

    def capacity(self):
        return self.cells

    def submit(self, job, report):
        if self.gate and len(self._begun) >= self.gate and not (HERE / "go").exists():
            self._waiting.append(job)
            return
        self._begun.append(job.id)
        file = self._workspace / f"{job.id}.json"
        file.write_text(json.dumps({"id": job.id, "entry": job.entry, "payload": job.payload}))
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        line = [sys.executable, "-c", RUN, str(file)]
        started = subprocess.Popen(line, start_new_session=True, **quiet)
        self._jobs[job.id] = str(started.pid)
        file.with_suffix(".pid").write_text(str(started.pid))

    def poll(self, timeout=None):
        time.sleep(0.05)
        if (HERE / "break").exists():
            raise ZeroDivisionError("on purpose")
        over = [job for job in self._jobs if (self._workspace / f"{job}.over").exists()]
        return [Outcome(job, result={}) for job in over if self._jobs.pop(job)]

    def withdraw(self):
        dropped = [job.id for job in self._waiting]
        self._waiting.clear()
        return dropped

    def cancel(self):
        for handle in self._jobs.values():
            os.killpg(int(handle), signal.SIGKILL)
        self._jobs.clear()

    def handles(self):
        return dict(self._jobs)

    def attach(self, job, handle, report):
        file = self._workspace / f"{job.id}.pid"
        if not file.exists():
            return False
        self._jobs[job.id] = handle or file.read_text()
        return True


class Ticking(Executor):
    """Jobs run in this process, at the third poll; each poll before says how far they are."""

    summary = "Reports often, and also of strangers"

    def capacity(self):
        return 2

    def start(self, workspace):
        object.__setattr__(self, "_jobs", [])

    def submit(self, job, report):
        self._jobs.append([job, report, 0])

    def poll(self, timeout=None):
        time.sleep(1.05)
        over = []
        for entry in list(self._jobs):
            job, report, ticks = entry
            entry[2] += 1
            report(Progress(job.id, ticks, 3))
            report(Progress("f" * 64, ticks, 3, "of a cell that nobody asks for now"))
            if ticks == 2:
                self._jobs.remove(entry)
                over.append(perform(job, report))
        return over

    def cancel(self):
        self._jobs.clear()


class Unlucky(Executor):
    """Measurements find their model damaged, so many times; then jobs run in this process."""

    summary = "Loses races for damaged models"
    times: int = parameter(1, ge=0, description="how often")

    def capacity(self):
        return 1

    def start(self, workspace):
        object.__setattr__(self, "_jobs", [])
        object.__setattr__(self, "_lost", [0])

    def submit(self, job, report):
        self._jobs.append((job, report))

    def poll(self, timeout=None):
        job, report = self._jobs.pop(0)
        if job.entry.endswith(":measure") and self._lost[0] < self.times:
            from llt_core.interfaces.executor import describe_failure
            from llt_core.work.checkpoint import DamagedModelError

            self._lost[0] += 1
            told = describe_failure(DamagedModelError("the model is damaged"))
            return [Outcome(job.id, result={c["digest"]: told for c in job.payload["cells"]})]
        return [perform(job, report)]

    def cancel(self):
        self._jobs.clear()
'''
TOML = """\
[detached]
kind = "executor"
target = "{module}:Detached"
summary = "Processes that outlive the driver"

[ticking]
kind = "executor"
target = "{module}:Ticking"
summary = "Reports often, and also of strangers"

[unlucky]
kind = "executor"
target = "{module}:Unlucky"
summary = "Loses races for damaged models"

[executors.detached]
cells = 2
"""
NUMBERS = itertools.count()


@pytest.fixture
def detached(tmp_path, monkeypatch):
    """Change into a folder whose llt.toml declares the executors above."""
    module = f"own_executors_{next(NUMBERS)}"
    (tmp_path / f"{module}.py").write_text(EXECUTORS)
    (tmp_path / "llt.toml").write_text(TOML.format(module=module))
    monkeypatch.chdir(tmp_path)
    return tmp_path
