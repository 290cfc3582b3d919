"""The executor on a real Slurm: arrays, ends of every kind, leaving and coming back."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llt_core.errors import RequestError
from llt_core.interfaces import Job
from llt_core.testing import ExecutorConformance
from llt_plugins.executors import slurm_desk, slurm_task
from llt_plugins.executors.slurm import Slurm

pytestmark = pytest.mark.cluster


def job(name, entry, **payload):
    return Job(name, f"llt_core.testing.jobs:{entry}", payload)


def sleeper(name, folder, seconds=300):
    """A job that says in a file that it has begun."""
    return job(name, "sleep", seconds=seconds, begun=str(folder / f"begun-{name}"))


def ignore(progress):
    pass


def started(folder, **parameters):
    executor = Slurm(**{"poll_seconds": 1, "time": 5} | parameters)
    executor.start(folder / "executor")
    return executor


def poll_until(executor, count, seconds=90, ended=None):
    """Poll until ``count`` jobs have ended, those in ``ended`` included."""
    ended, end = dict(ended or {}), time.monotonic() + seconds
    while len(ended) < count:
        assert time.monotonic() < end, f"{len(ended)} of {count} ended: {ended}"
        for outcome in executor.poll(1):
            assert outcome.job not in ended, "told twice"
            ended[outcome.job] = outcome
    return ended


def named(executor, *jobs, ended=None):
    """Submit and wait until Slurm has all of them; return their names."""
    for one in jobs:
        executor.submit(one, ignore)
    end, names = time.monotonic() + 30, {}
    while len(names) < len(jobs):
        assert time.monotonic() < end, names
        found = executor.poll(0.1)
        names |= executor.handles()
        assert ended is not None or not found
        ended is None or ended.update({outcome.job: outcome for outcome in found})
    return names


def files(folder):
    return sorted(str(path) for path in (folder / "executor" / "batches").rglob("*"))


@pytest.mark.usefixtures("slurm")
class TestSlurm(ExecutorConformance):
    component = Slurm(poll_seconds=1, time=5)
    step = 0.5
    several = 4


def test_twenty_jobs_of_which_some_come_to_grief(slurm, tmp_path):
    """Arrays of eight; cancelled while running, while waiting, out of time: each told once."""
    executor = started(tmp_path, batch=8)
    jobs = [job(str(k), "give_back", k=k) for k in range(17)]
    bad = [sleeper(name, tmp_path) for name in ("running", "late")]
    waiting = sleeper("waiting", tmp_path)
    early = {}
    handles = named(executor, *bad, *jobs, waiting, ended=early)
    assert len({handle.partition("_")[0] for handle in handles.values()}) == 3
    slurm.ask("scancel", handles["waiting"])
    begun = [tmp_path / "begun-running", tmp_path / "begun-late"]
    slurm.until("both sleep", lambda: all(file.exists() for file in begun))
    slurm.ask("scancel", handles["running"])
    slurm.end_by_time_limit(handles["late"])
    ended = poll_until(executor, 20, ended=early)
    for k in range(17):
        assert ended[str(k)].result == {"k": k}
    assert ended["late"].failure == "timeout"
    assert "time limit" in ended["late"].message
    for name in ("running", "waiting"):
        assert ended[name].failure == "killed"
        assert "cancelled" in ended[name].message
    assert executor.poll() == []
    assert executor.handles() == {}
    assert files(tmp_path) == []
    logs = {path.name for path in (tmp_path / "executor" / "failed").iterdir()}
    assert logs == {f"{handles[name]}.log" for name in ("running", "waiting", "late")}
    executor.close()


def test_a_requeued_job_goes_on_by_itself(slurm, tmp_path):
    executor = started(tmp_path)
    begun = tmp_path / "begun-job"
    name = named(executor, sleeper("job", tmp_path, seconds=8))["job"]
    slurm.until("it sleeps", begun.exists)
    first = begun.read_text()
    begun.unlink()
    slurm.requeue(name)
    ended = poll_until(executor, 1)
    assert ended["job"].failure is None
    assert begun.read_text() != first
    executor.close()


def test_a_killed_driver_and_the_next(slurm, tmp_path):
    """Running, finished, failed and cancelled jobs of a dead driver are told to the next one."""
    script = tmp_path / "driver.py"
    script.write_text(
        "import sys, json\n"
        "from pathlib import Path\n"
        "from llt_core.interfaces import Job\n"
        "from llt_plugins.executors.slurm import Slurm\n"
        "executor = Slurm(poll_seconds=1, time=5)\n"
        "executor.start(Path(sys.argv[1]) / 'executor')\n"
        "for one in json.loads(sys.argv[2]):\n"
        "    executor.submit(Job(*one), print)\n"
        "while len(executor.handles()) < 6:\n"
        "    executor.poll(0.1)\n"
        "print(json.dumps(dict(executor.handles())), flush=True)\n"
        "import time; time.sleep(600)\n"
    )
    jobs = {
        "long": sleeper("long", tmp_path, seconds=15),
        "done": job("done", "give_back", k=1),
        "wrong": job("wrong", "fail", kind="code"),
        "cancelled": sleeper("cancelled", tmp_path),
        "nameless": job("nameless", "give_back", k=2),
        "group": job("group", "give_back", cells=[{"digest": "group"}, {"digest": "part"}]),
    }
    described = json.dumps([[one.id, one.entry, one.payload] for one in jobs.values()])
    driver = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path), described], stdout=subprocess.PIPE, text=True
    )
    handles = json.loads(driver.stdout.readline())
    slurm.until("both sleep", lambda: len(list(tmp_path.glob("begun-*"))) == 2)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    driver.stdout.close()
    slurm.ask("scancel", handles["cancelled"])
    array = handles["long"].partition("_")[0]
    slurm.until(
        "all but one ended",
        lambda: list(slurm.states(f"{array}_").values()).count("RUNNING") == 1,
    )

    executor = started(tmp_path)
    group = jobs.pop("group")  # called by what is left of it
    assert executor.attach(job("part", "give_back"), handles["group"], ignore)
    for name, one in jobs.items():
        assert executor.attach(one, "" if name == "nameless" else handles[name], ignore), name
    assert not executor.attach(job("strange", "give_back"), "999999_0", ignore)
    assert not executor.attach(job("strange", "give_back"), handles["done"], ignore)
    outcomes = poll_until(executor, 6)
    assert outcomes["part"].result == group.payload
    assert outcomes["long"].result is not None
    assert outcomes["done"].result == {"k": 1}
    assert outcomes["nameless"].result == {"k": 2}
    assert outcomes["wrong"].failure == "code"
    assert "a bug in a plugin" in outcomes["wrong"].message
    assert outcomes["cancelled"].failure == "killed"
    assert files(tmp_path) == []
    executor.close()


def test_a_job_that_vanished_is_not_waited_for(slurm, tmp_path):
    """Cancelled while it waited, when no driver was there: Slurm has forgotten it."""
    with slurm.closed():
        first = started(tmp_path)
        one = sleeper("one", tmp_path)
        handle = named(first, one)["one"]
        first.close()
        slurm.ask("scancel", handle)
        second = started(tmp_path)
        assert not second.attach(one, handle, ignore)
        assert files(tmp_path) == []
        second.close()


def test_a_job_that_does_not_say_how_it_ended(slurm, tmp_path, monkeypatch):
    """A setup line that ends the job well: completed for Slurm, killed for the driver."""
    monkeypatch.setattr(slurm_task, "FILE_GRACE", 2.0)
    executor = started(tmp_path, setup=["echo no such module >&2", "exit 0"])
    executor.submit(job("job", "give_back"), ignore)
    outcome = poll_until(executor, 1)["job"]
    assert outcome.failure == "killed"
    assert "no such module" in outcome.message
    executor.close()


def test_what_a_job_is_given(slurm, tmp_path):
    """Threads, setup lines, options, and the copy of the code before everything else."""
    executor = started(
        tmp_path,
        cpus_per_task=2,
        gres="gpu:1",
        setup=["export FROM_SETUP=yes"],
        extra={"comment": "two words", "no-kill": True, "hold": False},
    )
    executor.submit(job("job", "surroundings"), ignore)
    result = poll_until(executor, 1)["job"].result
    environment = result["environment"]
    assert environment["LLT_THREADS"] == environment["OMP_NUM_THREADS"] == "2"
    assert environment["SLURM_CPUS_ON_NODE"] == "2"
    assert environment["FROM_SETUP"] == "yes"
    assert environment["CUDA_VISIBLE_DEVICES"] in ("0", "1")
    assert result["folder"] == os.getcwd()
    code = next((tmp_path / "executor" / "code").iterdir())
    assert result["path"][0] == str(code / "packages")
    assert "" not in result["path"]
    executor.close()


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({"partition": "nowhere"}, "nvalid partition"),
        ({"gres": "coffee:1"}, "generic resource"),
        ({"constraint": "purple"}, "nvalid feature"),
        ({"batch": 100000}, "array"),
        ({"cpus_per_task": 64}, "not available"),
        ({"extra": {"no-such-option": 1}}, "no-such-option"),
    ],
)
def test_what_slurm_would_refuse_is_told_at_the_start(slurm, tmp_path, parameters, word):
    before = slurm.states().keys()
    with pytest.raises(RequestError, match=word):
        started(tmp_path, **parameters)
    assert slurm.states().keys() <= before  # Slurm forgets old ones now and then
    assert not (tmp_path / "executor" / "code").exists()


def test_an_array_that_is_refused_later_is_offered_again(slurm, tmp_path, monkeypatch):
    executor = started(tmp_path)
    slurm.ask("scontrol", "update", "partitionname=debug", "state=inactive")  # takes no jobs
    try:
        executor.submit(job("job", "give_back", k=1), ignore)
        assert executor.poll(3) == []
        assert executor.handles() == {}
        assert files(tmp_path) == []
    finally:
        slurm.ask("scontrol", "update", "partitionname=debug", "state=up")
    assert poll_until(executor, 1)["job"].result == {"k": 1}
    slurm.ask("scontrol", "update", "partitionname=debug", "state=inactive")
    monkeypatch.setattr(slurm_desk, "PATIENCE", 1.0)
    try:
        executor.submit(job("job", "give_back", k=1), ignore)
        outcome = poll_until(executor, 1)["job"]
    finally:
        slurm.ask("scontrol", "update", "partitionname=debug", "state=up")
    assert outcome.failure == "killed"
    assert "artition" in outcome.message
    executor.submit(job("job", "give_back", k=2), ignore)
    assert poll_until(executor, 1)["job"].result == {"k": 2}, "patience begins anew"
    executor.close()


def test_a_queue_full_of_its_own_jobs_is_waited_for(slurm, tmp_path, monkeypatch):
    executor = started(tmp_path)
    monkeypatch.setattr(slurm_desk, "PATIENCE", 1.0)
    named(executor, sleeper("first", tmp_path, 12))
    slurm.until("it sleeps", lambda: list(tmp_path.glob("begun-*")))
    slurm.ask("scontrol", "update", "partitionname=debug", "state=inactive")
    try:
        executor.submit(job("second", "give_back", k=1), ignore)
        assert executor.poll(6) == [], "refused for longer than its patience"
    finally:
        slurm.ask("scontrol", "update", "partitionname=debug", "state=up")
    assert poll_until(executor, 2)["second"].result == {"k": 1}
    executor.close()


def test_what_has_not_begun_is_withdrawn(slurm, tmp_path):
    executor = started(tmp_path)
    handles = named(executor, *(sleeper(str(k), tmp_path, 5) for k in range(6)))
    slurm.until("some sleep", lambda: len(list(tmp_path.glob("begun-*"))) == 4)
    executor.submit(sleeper("unsubmitted", tmp_path, 5), ignore)
    running = {file.name.removeprefix("begun-") for file in tmp_path.glob("begun-*")}
    waiting = {*handles, "unsubmitted"} - running
    assert {*executor.withdraw()} == waiting
    assert {*executor.handles()} == running
    outcomes = poll_until(executor, 4)
    assert {*outcomes} == running
    assert all(outcome.failure is None for outcome in outcomes.values())
    assert files(tmp_path) == []
    executor.close()


def test_reconnecting_asks_slurm_for_no_room(slurm, tmp_path):
    executor = started(tmp_path)
    handle = named(executor, sleeper("job", tmp_path))["job"]
    executor.close()
    slurm.ask("scontrol", "update", "partitionname=debug", "state=inactive")
    try:
        visitor = Slurm(poll_seconds=1)
        visitor.reconnect(tmp_path / "executor")
        assert visitor.attach(job("job", ""), handle, ignore)
        visitor.cancel()
        visitor.close()
    finally:
        slurm.ask("scontrol", "update", "partitionname=debug", "state=up")
    slurm.until("it ended", lambda: slurm.states().get(handle, "CANCELLED") == "CANCELLED")


def test_cancel_cancels_what_waits_and_runs(slurm, tmp_path):
    executor = started(tmp_path)
    handles = named(executor, *(sleeper(str(k), tmp_path) for k in range(6)))
    slurm.until("some sleep", lambda: len(list(tmp_path.glob("begun-*"))) == 4)
    executor.submit(sleeper("unsubmitted", tmp_path), ignore)
    executor.cancel()
    assert executor.poll() == []
    assert files(tmp_path) == []
    array = handles["0"].partition("_")[0]
    ends = {"CANCELLED"}
    slurm.until("all ended", lambda: set(slurm.states(f"{array}_").values()) <= ends, 20)
    executor.close()


def test_progress_comes_from_running_jobs(slurm, tmp_path):
    executor = started(tmp_path)
    heard = []
    executor.submit(job("job", "advance", job="cell", steps=6, seconds=1), heard.append)
    poll_until(executor, 1)
    done = [progress.done for progress in heard]
    assert len(done) >= 3
    assert done == sorted(set(done))
    executor.close()


def test_the_controller_may_be_away_for_a_while(slurm, tmp_path):
    """No answer is no reason to give a job up."""
    executor = started(tmp_path)
    named(executor, sleeper("job", tmp_path, seconds=12))
    slurm.until("it sleeps", (tmp_path / "begun-job").exists)
    process = int((slurm.base / "slurmctld.pid").read_text())
    os.kill(process, signal.SIGTERM)
    slurm_conf = os.environ["SLURM_CONF"]
    try:
        end = time.monotonic() + 6
        while time.monotonic() < end:
            assert executor.poll(1) == []
    finally:
        while Path(f"/proc/{process}").exists():
            time.sleep(0.1)
        subprocess.run(["slurmctld", "-f", slurm_conf], check=True, timeout=30)
    assert poll_until(executor, 1)["job"].failure is None
    executor.close()
