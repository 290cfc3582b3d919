"""Whole sweeps on a real Slurm: whatever happens to jobs and drivers, the same table."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

import llt_core
from llt_core.store import Store

pytestmark = pytest.mark.cluster

LLT = Path(sys.executable).parent / "llt"

SWEEP = """
task = "digits"
architecture = "dawdler"
metrics = ["test_accuracy"]
models = 2

[axes.load]
field = "architecture.width"
values = [4, 16]

[axes.temperature]
field = "train.epochs"
values = [3, 4, 5, 6, 300]
"""
DAWDLER = """
import math
import time
from pathlib import Path

from torch import nn

from llt_core.interfaces import Architecture, parameter

class Pause(nn.Module):
    def forward(self, inputs):
        if Path({flag!r}).exists():
            time.sleep(0.05)
        return inputs

class Dawdler(Architecture):
    summary = "A network that takes its time while a file is there"
    accepts = frozenset({{"image"}})
    width: int = parameter(4, description="units")

    def build(self, task):
        into = nn.Linear(math.prod(task.input_shape), self.width)
        out = nn.Linear(self.width, task.outputs)
        return nn.Sequential(Pause(), nn.Flatten(), into, nn.ReLU(), out)
"""
DECLARED = """
[dawdler]
kind = "architecture"
target = "dawdlers:Dawdler"
summary = "A network that takes its time while a file is there"
"""
SHORT = 6
"""Epochs that are over too soon to be interrupted."""

ONE = """
task = "digits"
architecture = "mlp:width=4,depth=1"
metrics = ["answer"]

[train]
epochs = 1

[axes.load]
field = "train.batch_size"
values = [64, 128]
"""

SETTINGS = """
executor = "slurm"

[executors.slurm]
poll_seconds = 1
time = 5

[answer]
kind = "metric"
target = "answers:Answer"
summary = "A number from a file of the user's"
"""

ANSWERS = """
from llt_core.interfaces import Measurement, Metric, Quantity

class Answer(Metric):
    summary = "A number from a file of the user's"
    returns = (Quantity(name="answer", unit="", description="the number"),)

    def measure(self, context):
        import number_of_mine
        return [Measurement(name="answer", value=number_of_mine.NUMBER, unit="", n=1)]
"""


def results(folder):
    """Everything that was computed, less what may differ."""
    store = Store(folder)
    found = {}
    for digest in store.digests():
        record = store.read(digest)
        weights = record.checkpoint.sha256 if record.checkpoint else ""
        found[digest] = (record.status, weights, [(m.name, m.value) for m in record.measurements])
    return found


def handles(store):
    """The name of the job that computes each cell, by the claims."""
    found = {}
    for folder in (store / "claims").glob("*"):
        with suppress(OSError, ValueError):  # it is being written, or was just released
            for file in list(folder.iterdir()):
                found[folder.name] = json.loads(file.read_text()).get("handle", "")
    return {digest: handle for digest, handle in found.items() if handle}


def failures(store):
    return {
        file.parent.name: json.loads(file.read_text()) for file in store.glob("failures/*/1.json")
    }


def test_twenty_cells_one_cancelled_one_timed_out(slurm, tmp_path, monkeypatch):
    """Complete, equal to the table computed here, and gone on with where time ran out.

    Trainings dawdle until both have come to grief: Slurm looks at time limits twice a minute.
    """
    flag = tmp_path / "dawdle"
    flag.touch()
    (tmp_path / "sweep.toml").write_text(SWEEP)
    (tmp_path / "llt.toml").write_text(DECLARED)
    (tmp_path / "dawdlers.py").write_text(DAWDLER.format(flag=str(flag)))
    store = tmp_path / "store"
    options = ("--checkpoint-epochs=1", "--executor=slurm:batch=20,poll_seconds=1,time=10")
    with (tmp_path / "said").open("w") as said:
        driver = subprocess.Popen(
            [str(LLT), "sweep", "sweep.toml", "--store", "store", *options],
            cwd=tmp_path,
            stdout=said,
            stderr=said,
        )
        try:
            late = _under_way(slurm, store)
            slurm.end_by_time_limit(handles(store)[late])
            cancelled = _under_way(slurm, store, but=late)
            slurm.ask("scancel", handles(store)[cancelled])
            slurm.until("both have failed", lambda: len(failures(store)) == 2, seconds=200)
            flag.unlink()
            assert driver.wait(timeout=600) == 0, (tmp_path / "said").read_text()
        finally:
            driver.kill()
            driver.wait()
    kinds = {digest: failure["kind"] for digest, failure in failures(store).items()}
    assert kinds == {late: "timeout", cancelled: "killed"}
    for digest in (late, cancelled):
        assert "goes on at epoch" in (store / "logs" / f"{digest}.log").read_text()
    arrays = {}
    for job in slurm.states():
        arrays[job.partition("_")[0]] = arrays.get(job.partition("_")[0], 0) + 1
    assert max(arrays.values()) == 20

    here = tmp_path / "here"
    monkeypatch.chdir(tmp_path)
    llt_core.sweep(
        str(tmp_path / "sweep.toml"), store=here, executor="inline", compute={"threads": 1}
    )
    assert len(results(here)) == 40
    assert results(store) == results(here)
    assert not any((store / "executors" / "slurm" / "batches").iterdir())


def _under_way(slurm, store, but=""):
    """Wait for a long cell that is being trained and has a checkpoint; return its digest."""
    found = []

    def look():
        running = {job for job, state in slurm.states().items() if state == "RUNNING"}
        names = handles(store)
        found[:] = [
            digest
            for digest in names
            if digest != but and names[digest] in running and _epoch(store, digest) > SHORT
        ]
        return bool(found)

    slurm.until("a long training is under way", look, seconds=200)
    return found[0]


def _epoch(store, digest):
    """The epoch of the last checkpoint that a cell's log tells of."""
    log = store / "logs" / f"{digest}.log"
    epochs = re.findall(r"checkpoint at epoch ([\d.]+)", log.read_text()) if log.exists() else []
    return float(epochs[-1]) if epochs else 0.0


@pytest.fixture
def project(tmp_path):
    (tmp_path / "llt.toml").write_text(SETTINGS)
    (tmp_path / "answers.py").write_text(ANSWERS)
    (tmp_path / "number_of_mine.py").write_text("NUMBER = 1.0\n")
    (tmp_path / "one.toml").write_text(ONE)
    return tmp_path


def sweep(project, *options):
    return subprocess.Popen(
        [str(LLT), "sweep", "one.toml", "--store", "store", *options],
        cwd=project,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"NO_COLOR": "1"},
    )


def ends(driver, seconds=200):
    try:
        said, _ = driver.communicate(timeout=seconds)
    finally:
        driver.kill()
        driver.wait()
    return driver.returncode, said


def test_jobs_run_the_code_they_were_submitted_with(slurm, project):
    """Files of the user's that change while jobs wait change nothing."""
    with slurm.closed():
        driver = sweep(project)
        slurm.until("both wait", lambda: len(handles(project / "store")) == 2)
        (project / "number_of_mine.py").write_text("NUMBER = 2.0\n")
        (project / "answers.py").write_text("raise RuntimeError('not this one')\n")
        (project / "llt.toml").write_text(SETTINGS.replace("answers:Answer", "nowhere:Nothing"))
    status, said = ends(driver)
    assert status == 0, said
    answers = [values for _, _, values in results(project / "store").values() if values]
    assert answers == [[("answer", 1.0)], [("answer", 1.0)]]


def test_detached_jobs_are_taken_up_by_the_same_command(slurm, project):
    with slurm.closed():
        status, said = ends(sweep(project, "--detach"))
        assert status == 0, said
        waiting = [job for job, state in slurm.states().items() if state == "PENDING"]
        assert len(waiting) == 2
    slurm.until("they ended", lambda: not {*slurm.states().values()} & {"PENDING", "RUNNING"})
    status, said = ends(sweep(project))
    assert status == 0, said
    assert len(results(project / "store")) == 4
    assert failures(project / "store") == {}
    _each_trained_once(project / "store", 2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_driver_leaves_its_jobs(slurm, project, number):
    """Jobs go on, and the same command takes them up."""
    with slurm.closed():
        driver = sweep(project)
        slurm.until("both wait", lambda: len(handles(project / "store")) == 2)
        time.sleep(1)
        driver.send_signal(number)
        status, said = ends(driver, 30)
        assert status == 130, said
        waiting = [job for job, state in slurm.states().items() if state == "PENDING"]
        assert len(waiting) == 2, said
        driver = sweep(project)
        time.sleep(6)
    status, said = ends(driver)
    assert status == 0, said
    assert len(results(project / "store")) == 4
    _each_trained_once(project / "store", 2)


def test_a_driver_asked_to_stop_cancels_what_waits(slurm, project):
    with slurm.closed():
        driver = sweep(project)
        slurm.until("both wait", lambda: len(handles(project / "store")) == 2)
        asked = [LLT, "cancel", "one", "--store", project / "store"]
        subprocess.run(asked, check=True, capture_output=True)
        status, said = ends(driver, 30)
        assert status == 130, said
        assert "dropped 2 jobs that had not begun" in said
        assert "PENDING" not in slurm.states().values()
        assert handles(project / "store") == {}
    status, said = ends(sweep(project))
    assert status == 0, said
    assert failures(project / "store") == {}
    _each_trained_once(project / "store", 2)


def test_a_driver_killed_while_its_jobs_wait(slurm, project):
    with slurm.closed():
        driver = sweep(project)
        slurm.until("both wait", lambda: len(handles(project / "store")) == 2)
        driver.kill()
        driver.communicate()
    status, said = ends(sweep(project))
    assert status == 0, said
    assert len(results(project / "store")) == 4
    _each_trained_once(project / "store", 2)


def _each_trained_once(store, count):
    logs = [file.read_text() for file in (store / "logs").glob("*.log")]
    trained = [text for text in logs if "after 1 epoch" in text]
    assert len(trained) == count
    assert all(text.count("after 1 epoch") == 1 for text in trained)
