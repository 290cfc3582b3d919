"""What the Slurm executor does without a cluster: its files, its jobs, its parameters."""

import json
import os
import subprocess
import sys

import pytest

from llt_core.errors import RequestError
from llt_core.interfaces import Job, Outcome, Progress
from llt_core.plugins import code_copy
from llt_core.plugins.catalogue import Resolved
from llt_core.plugins.loader import create
from llt_core.plugins.manifest import Entry
from llt_plugins.executors.slurm import Slurm
from llt_plugins.executors.slurm_files import Batch, all_batches, keep_log
from llt_plugins.executors.slurm_queue import State

ENTRY = Entry("slurm", "executor", "llt_plugins.executors.slurm:Slurm", Slurm.summary)


def job(name, entry, **payload):
    return Job(name, f"llt_core.testing.jobs:{entry}", payload)


def run_task(batch, index, **variables):
    """Run one task as Slurm would, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "llt_plugins.executors.slurm_job", str(batch.folder)],
        env=os.environ | {"SLURM_ARRAY_TASK_ID": str(index)} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_batch_until_it_is_done_with(tmp_path):
    jobs = [job("a", "give_back", text="Bäume"), job("b", "give_back")]
    batch = Batch.create(tmp_path, jobs, "code")
    assert [batch.job(index) for index in batch.indices()] == jobs
    assert batch.facts == {"array": "", "code": "code"}
    batch.submitted("17")
    assert all_batches(tmp_path)[0].facts == {"array": "17", "code": "code"}
    assert batch.outcome(0) is None
    assert batch.progress(0) is None
    batch.report(0, Progress("cell", 1, 2, "half"))
    batch.end(0, Outcome("a", result={"k": 1}))
    assert batch.progress(0) == Progress("cell", 1, 2, "half")
    assert batch.ended() == {0}
    assert batch.outcome(0) == Outcome("a", result={"k": 1})
    (batch.log / "17_0_0_log.err").write_text("words\n")
    (batch.log / "17_10_0_log.err").write_text("of another\n")
    assert batch.last_words("17_0") == "words"
    batch.drop(0, "17_0")
    assert batch.indices() == [1]
    assert [path.name for path in batch.log.iterdir()] == ["17_10_0_log.err"]
    batch.drop(1, "17_1")
    assert all_batches(tmp_path) == []


def test_files_cut_short_count_as_absent(tmp_path):
    batch = Batch.create(tmp_path, [job("a", "give_back")], "code")
    batch.outcome_file("0").write_text('{"job": "a", "res')
    assert batch.outcome(0) is None


def test_logs_of_failures_are_bounded(tmp_path):
    for number in range(7):
        keep_log(tmp_path, f"1_{number}", "x" * 200_000, limit=5)
        os.utime(tmp_path / "failed" / f"1_{number}.log", (number, number))
    files = sorted((tmp_path / "failed").iterdir())
    assert [file.name for file in files] == [f"1_{number}.log" for number in range(2, 7)]
    assert all(file.stat().st_size < 70_000 for file in files)


def test_a_task_says_how_it_ended(tmp_path):
    jobs = [job("good", "give_back", k=1), job("bad", "fail", kind="out_of_memory")]
    batch = Batch.create(tmp_path, jobs, "code")
    assert run_task(batch, 0).returncode == 0
    assert run_task(batch, 1).returncode == 1
    assert batch.outcome(0) == Outcome("good", result={"k": 1})
    assert batch.outcome(1).failure == "out_of_memory"


def test_a_requeued_task_that_was_done_does_nothing(tmp_path):
    batch = Batch.create(tmp_path, [job("kill", "kill")], "code")
    batch.end(0, Outcome("kill", result={}))
    assert run_task(batch, 0).returncode == 0
    assert batch.outcome(0).result == {}


def test_a_task_refuses_other_libraries(tmp_path, monkeypatch):
    """It runs the copy of the code; what was not copied must be what it was."""
    monkeypatch.chdir(tmp_path)
    copy = code_copy.take(tmp_path / "code")
    batch = Batch.create(tmp_path, [job("job", "give_back", k=1)], copy.folder.name)
    file = copy.packages / code_copy.FACTS
    known = json.loads(file.read_text())
    file.write_text(json.dumps(known | {"versions": known["versions"] | {"numpy": "1.0"}}))
    assert run_task(batch, 0, **copy.environment).returncode == 1
    outcome = batch.outcome(0)
    assert outcome.failure == "request"
    assert "numpy was 1.0" in outcome.message
    file.write_text(json.dumps(known))
    batch.outcome_file("0").unlink()
    assert run_task(batch, 0, **copy.environment).returncode == 0
    assert batch.outcome(0).result == {"k": 1}


def test_without_slurm_it_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RequestError, match="there is no command sbatch here"):
        Slurm().start(tmp_path / "workspace")
    assert not (tmp_path / "workspace").exists()


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ({"partition": "gpu"}, "partition is set by partition"),
        ({"cpus_per_task": 2}, "cpus_per_task is set by cpus_per_task"),
        ({"array": "0-3"}, "array is set by batch and parallel"),
        ({"output": "log"}, "output is set by the executor itself"),
    ],
)
def test_options_that_have_their_own_parameter_are_refused(extra, words):
    with pytest.raises(RequestError, match=words):
        create(Resolved(ENTRY), {"extra": extra})


def test_states():
    assert State("TIMEOUT").ended
    assert not State("PENDING", "Priority").ended
    assert not State("PENDING", "Priority").stuck
    assert State("PENDING", "launch failed requeued held").stuck
