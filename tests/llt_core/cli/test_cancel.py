"""``llt cancel``: drivers asked, and jobs that outlived theirs cancelled."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from llt_core.cli.main import main
from llt_core.store import Store, drivers
from llt_core.store.claims import read_claims
from llt_core.store.drivers import Driver, DriverRecord
from llt_core.store.states import live_drivers
from llt_core.store.sweeps import SweepPoint, SweepRecord, remember

LONG = """\
task = "digits"
architecture = "mlp:depth=1,width=4"
train.batch_size = 8
[axes.load]
field = "train.epochs"
values = [100000, 100001]
"""


@pytest.fixture
def home(detached):
    (detached / "long.toml").write_text(LONG)
    return detached


def start(*arguments):
    line = [sys.executable, "-m", "llt_core.cli.main", "sweep", "long.toml", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(line, stdout=pipe, stderr=pipe, text=True, env=os.environ.copy())


def wait_for(what):
    deadline = time.monotonic() + 100
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def store_of(home):
    wait_for((home / "llt-store" / "store.json").is_file)
    return Store(home / "llt-store", create=False)


def test_a_driver_is_asked(home, capsys):
    store = Store(home / "llt-store")
    point = SweepPoint(values={}, models=("a" * 32,), measures=())
    remember(store, SweepRecord(name="s", planned="", fields=(), spec={}, points=(point,)))
    with Driver(store, sweep="s", executor="local") as mine, Driver(store, sweep="other") as other:
        assert main(["cancel", "s"]) == 0
        assert f"process {os.getpid()}, local, to stop when the" in capsys.readouterr().out
        assert (mine.asked_to_stop, other.asked_to_stop) == ("finish", "")
        assert main(["cancel", "s", "--now"]) == 0
        assert (mine.asked_to_stop, other.asked_to_stop) == ("now", "")
        assert main(["cancel", "other"]) == 0, "one need not be remembered"
        assert other.asked_to_stop == "finish"
    capsys.readouterr()
    assert main(["cancel", "s"]) == 0
    assert capsys.readouterr().out == "nothing of s is running\n"
    assert main(["cancel", "gone"]) == 2
    assert "knows no sweep 'gone'" in capsys.readouterr().err


def test_a_sweep_stops_at_once(home, capsys):
    process = start("--executor", "local:workers=1,threads=1", "--quiet")
    try:
        store = store_of(home)
        wait_for(lambda: list(read_claims(store.root)))
        wait_for(lambda: any((store.root / "logs").glob("*.log")))
        assert main(["cancel", "long", "--now"]) == 0
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode in (130, -signal.SIGINT), err
    assert "Traceback" not in err
    assert live_drivers(store) == []
    assert list(read_claims(store.root)) == []


@pytest.mark.parametrize("options", ["", ":folder=jobs"])
def test_jobs_that_outlived_their_driver_are_cancelled(home, capsys, options):
    """Also those of an executor whose options were on the command line alone."""
    process = start("--executor", f"detached{options}", "--detach")
    _, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    store = store_of(home)
    claims = dict(read_claims(store.root))
    assert len(claims) == 2
    handles = sorted(claim.handle for claim in claims.values())
    try:
        assert all(_runs(handle) for handle in handles)
        assert main(["status", "long", "--json"]) == 0
        assert capsys.readouterr().out.count('"handle": "') == 2
        assert main(["cancel", "long"]) == 0
        out = capsys.readouterr().out
        told = re.findall(r"cancelling the job (\d+) of detached \(1 cell\)", out)
        assert sorted(told) == handles
        wait_for(lambda: not any(_runs(handle) for handle in handles))
        assert list(read_claims(store.root)) == []
        assert live_drivers(store) == []
        assert main(["cancel", "long"]) == 0
        assert "nothing of long is running" in capsys.readouterr().out
    finally:
        for handle in handles:
            if _runs(handle):
                os.killpg(int(handle), signal.SIGKILL)


@pytest.fixture
def one_elsewhere(home):
    """A store with one job that runs, left by a driver of another machine that is gone."""
    process = start("--executor", "detached:cells=1", "--detach")
    _, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    store = store_of(home)
    ((digest, claim),) = read_claims(store.root)
    driver = DriverRecord(token="elsewhere-1-00", host="elsewhere", place="elsewhere", pid=1)
    file = store.root / "drivers" / "elsewhere-1-00.json"
    file.write_text(driver.model_dump_json())
    os.utime(file, (1e9, 1e9))
    moved = claim.model_copy(update={"driver": driver.token})
    (store.root / "claims" / digest / "1").write_text(moved.model_dump_json())
    yield store, digest, claim.handle
    for left in home.rglob("*.pid"):
        if _runs(left.read_text()):
            os.killpg(int(left.read_text()), signal.SIGKILL)


def test_what_a_driver_leaves_to_finish_is_not_cancelled(one_elsewhere, monkeypatch, capsys):
    store, digest, orphan = one_elsewhere
    process = start("--executor", "detached:cells=1")
    try:
        theirs = wait_for(lambda: {d: c.handle for d, c in read_claims(store.root)
                                   if d != digest and c.handle})  # fmt: skip
        monkeypatch.setattr(drivers, "DEAD_AFTER", 2)
        assert main(["cancel", "long"]) == 0
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert f"cancelling the job {orphan} of detached" in capsys.readouterr().out
    assert process.returncode == 130, err
    wait_for(lambda: not _runs(orphan))
    (left,) = theirs.values()
    assert _runs(left)
    assert {d: c.handle for d, c in read_claims(store.root)} == theirs


def test_an_interrupted_cancel_leaves_jobs_to_be_found(one_elsewhere):
    store, digest, orphan = one_elsewhere
    line = [sys.executable, "-m", "llt_core.cli.main", "cancel", "long"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    assert "waiting for a sign of life" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert _runs(orphan)
    assert dict(read_claims(store.root))[digest].handle == orphan


def _runs(handle):
    try:
        with open(f"/proc/{handle}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
