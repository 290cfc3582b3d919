"""One cell, one driver: whatever dies, and however many want the same at once."""

import errno
import json
import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress

import pytest

from llt_core.store import Store, drivers
from llt_core.store.cells import StoreError
from llt_core.store.claims import Claims, read_claims
from llt_core.store.drivers import Driver, Liveness, ask_to_stop, seems_alive

CELL = "ab" * 32

HOLDER = """
import sys, time
from llt_core.store import Store
from llt_core.store.claims import Claims
from llt_core.store.drivers import Driver
store = Store(sys.argv[1])
with Driver(store) as driver:
    claims = Claims(store, driver, "slurm")
    assert claims.take(sys.argv[2]) is None
    if len(sys.argv) > 3:
        claims.name(sys.argv[2], sys.argv[3])
    print(driver.token, flush=True)
    time.sleep(60)
"""

RACER = """
import sys, time
from llt_core.store import Store
from llt_core.store.claims import Claims
from llt_core.store.drivers import Driver
store = Store(sys.argv[1])
with Driver(store) as driver:
    claims = Claims(store, driver)
    print("ready", flush=True)
    sys.stdin.readline()
    won = [cell for cell in map(str, range(100, 160)) if claims.take(cell) is None]
    print(*won, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def holder(store):
    """Return a function that starts a process which claims the cell, and its driver's token."""
    started = []

    def hold(*handle):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(store.root), CELL, *handle],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process, process.stdout.readline().strip()

    yield hold
    for process in started:
        process.kill()
        process.communicate()


def test_a_cell_is_held_until_it_is_given_back(store):
    with Driver(store) as one, Driver(store) as two:
        mine, yours = Claims(store, one, "local"), Claims(store, two)
        assert mine.take(CELL) is None
        assert mine.take(CELL) is None
        held = yours.take(CELL)
        assert (held.driver, held.executor) == (one.token, "local")
        assert dict(read_claims(store.root)) == {CELL: held}
        mine.release(CELL)
        assert yours.take(CELL) is None
        assert mine.take(CELL).driver == two.token
        yours.release_all()
    assert list(read_claims(store.root)) == []
    assert [path for path in store.root.rglob("*") if path.is_file()] == [store.root / "store.json"]


def test_a_killed_driver_loses_its_claim_at_once(store, holder):
    process, token = holder()
    with Driver(store) as driver:
        claims = Claims(store, driver)
        assert claims.take(CELL).driver == token
        process.kill()
        process.wait()
        assert claims.take(CELL) is None
        claims.release(CELL)
    assert not (store.root / "claims" / CELL).exists()


def test_a_killed_process_that_nobody_waits_for_is_dead(store, holder):
    process, token = holder()
    assert Liveness(store).alive(token)
    process.kill()
    deadline = time.monotonic() + 10
    while Liveness(store).alive(token):  # a zombie until its parent waits
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert process.returncode is None


def elsewhere(store, token):
    """Make a driver's file that of a process on another machine."""
    path = store.root / "drivers" / f"{token}.json"
    facts = json.loads(path.read_text()) | {"place": "elsewhere"}
    path.write_text(json.dumps(facts))
    return path


def test_a_driver_elsewhere_is_dead_when_its_file_stands_still(store, holder, monkeypatch):
    monkeypatch.setattr(drivers, "DEAD_AFTER", 0.3)
    process, token = holder()
    process.kill()
    process.wait()
    path = elsewhere(store, token)
    liveness = Liveness(store)
    for step in range(4):
        assert liveness.alive(token)  # it beats, whatever its clock says
        os.utime(path, (1e9 - step, 1e9 - step))
        time.sleep(0.1)
    assert liveness.alive(token)
    time.sleep(0.4)
    assert not liveness.alive(token)
    os.utime(path)
    assert liveness.alive(token)


def test_the_clock_of_this_machine_does_not_matter(store, holder, monkeypatch):
    _, token = holder()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    with Driver(store) as driver:
        assert Claims(store, driver).take(CELL).driver == token


def test_processes_that_all_want_the_same_cells_get_each_once(store):
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(store.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("\n")
        racer.stdin.flush()
    won = Counter(cell for racer in racers for cell in racer.stdout.readline().split())
    for racer in racers:
        racer.communicate("\n")
    assert max(won.values()) == 1
    assert len(won) >= 55  # where two collide, both may let go, and come back later


def test_dead_claims_are_taken_over_by_one_only(store, holder):
    process, _ = holder()
    process.kill()
    process.wait()
    with Driver(store) as one, Driver(store) as two:
        first, second = Claims(store, one), Claims(store, two)
        assert first.take(CELL) is None
        assert second.take(CELL).driver == one.token
        first.release(CELL)
    assert not (store.root / "claims" / CELL).exists()


def test_a_job_that_outlives_its_driver_is_adopted_with_its_claim(store, holder):
    process, token = holder("17_3")
    with Driver(store) as driver:
        claims = Claims(store, driver, "slurm")
        assert claims.orphans() == {}
        process.kill()
        process.wait()
        held = claims.take(CELL)
        assert (held.driver, held.handle) == (token, "17_3")
        assert Claims(store, driver, "local").orphans() == {}
        assert claims.orphans() == {"17_3": [CELL]}
        assert not claims.adopt(CELL, "17_4")
        assert claims.adopt(CELL, "17_3")
        assert claims.orphans() == {}
        with Driver(store) as other:
            assert not Claims(store, other, "slurm").adopt(CELL, "17_3")
        claims.release(CELL)
    assert list(read_claims(store.root)) == []


def test_an_unreadable_claim_does_not_hold_a_cell_for_ever(store, monkeypatch):
    monkeypatch.setattr(drivers, "DEAD_AFTER", 0.2)
    folder = store.root / "claims" / CELL
    folder.mkdir(parents=True)
    (folder / "1").write_text("")
    with Driver(store) as driver:
        claims = Claims(store, driver)
        assert claims.take(CELL) is not None
        time.sleep(0.3)
        assert claims.take(CELL) is None


def test_a_claim_whose_answer_was_lost_is_no_stranger(store, monkeypatch):
    """A file server may make the link and lose the answer, or fail to remove the file."""
    link = os.link

    def lost(source, target):
        link(source, target)
        raise FileExistsError

    with Driver(store) as driver, Driver(store) as other:
        monkeypatch.setattr(os, "link", lost)
        claims = Claims(store, driver)
        assert claims.take(CELL) is None
        monkeypatch.undo()
        assert Claims(store, other).take(CELL).driver == driver.token
        claims.leave(CELL)
        assert claims.take(CELL) is None
        claims.release(CELL)
        assert Claims(store, other).take(CELL) is None


@pytest.mark.parametrize("fault", ["no room", "lost answer"])
def test_a_job_is_adopted_wholly_or_not_at_all(store, holder, monkeypatch, fault):
    process, _ = holder("17_3")
    process.kill()
    process.wait()
    link = os.link

    def trouble(source, target):
        if fault == "no room":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        link(source, target)
        raise FileExistsError

    monkeypatch.setattr(os, "link", trouble)
    with Driver(store) as driver:
        claims = Claims(store, driver, "slurm")
        with suppress(OSError):
            assert claims.adopt(CELL, "17_3") is False
        monkeypatch.undo()
        assert claims.orphans() == {"17_3": [CELL]}
        assert claims.adopt(CELL, "17_3")
        assert dict(read_claims(store.root))[CELL].handle == "17_3"
        assert claims.orphans() == {}


def test_what_may_have_been_passed_on_is_not_cleared(store):
    """Of an executor whose jobs go on: nobody knows yet what its driver called the job."""
    with Driver(store) as gone:
        for cell, lasting in ((CELL, True), ("cd" * 32, False)):
            claims = Claims(store, gone, "slurm", lasting=lasting)
            assert claims.take(cell) is None
    with Driver(store) as driver:
        claims = Claims(store, driver, "slurm", lasting=True)
        claims.clear()
        assert [digest for digest, _ in read_claims(store.root)] == [CELL]
        assert claims.take(CELL) is None
        assert claims.inherited(CELL)


def test_thousands_of_claims_are_looked_through_in_no_time(store):
    with Driver(store) as other, Driver(store) as driver:
        theirs = Claims(store, other, "slurm")
        for number in range(2000):
            digest = f"{number:064d}"
            assert theirs.take(digest) is None
            other.running[digest] = {"label": "x" * 50}
        other._write()
        claims = Claims(store, driver, "slurm")
        start = time.process_time()
        assert claims.all_orphans() == {}
        assert time.process_time() - start < 2


def test_a_stray_file_is_no_claim(store):
    (store.root / "claims").mkdir()
    (store.root / "claims" / CELL).write_text("left by a copying program")
    with Driver(store) as driver:
        claims = Claims(store, driver)
        assert claims.orphans() == {}
        assert claims.take(CELL) is None


def test_a_driver_can_be_asked_to_stop(store):
    with Driver(store) as driver:
        assert driver.asked_to_stop == ""
        ask_to_stop(store, driver.token, "finish")
        assert driver.asked_to_stop == "finish"
        ask_to_stop(store, driver.token, "now")
        assert driver.asked_to_stop == "now"
    assert list((store.root / "drivers").iterdir()) == []


def test_what_a_driver_says_of_itself(store, monkeypatch):
    monkeypatch.setattr(drivers, "BEAT_EVERY", 0.05)
    with Driver(store, sweep="grid", executor="local", command="llt sweep") as driver:
        driver.running[CELL] = {"label": "train", "done": 1, "total": 2, "text": "epoch 1"}
        deadline = time.monotonic() + 20
        while not (found := next(drivers.drivers(store))).running:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert (found.sweep, found.executor, found.pid) == ("grid", "local", os.getpid())
        assert found.running == driver.running
        assert seems_alive(store, found)
    assert not list(drivers.drivers(store))


def test_one_elsewhere_seems_alive_while_its_file_is_young(store, monkeypatch):
    monkeypatch.setattr(drivers, "BEAT_EVERY", 3600.0)
    with Driver(store) as driver:
        path = elsewhere(store, driver.token)
        found = drivers.read_driver(path)
        assert seems_alive(store, found)
        old = time.time() - 1000
        os.utime(path, (old, old))
        assert not seems_alive(store, found)


def test_a_store_that_cannot_be_written_is_told(store, monkeypatch):
    (store.root / "drivers").write_text("in the way")
    with pytest.raises(StoreError, match="cannot write to the store"), Driver(store):
        pass


def test_what_the_dead_left_is_cleared_and_what_the_living_hold_is_not(store, holder):
    process, dead = holder()
    process.kill()
    process.wait()
    for name in (f"drivers/{dead}.stop", f"drivers/.{dead}.json.x1", f"claims/.{dead}"):
        (store.root / name).touch()
    with Driver(store) as driver, Driver(store) as other:
        Claims(store, other).take("ef" * 32)
        Claims(store, driver).clear()
        left = [claim.driver for _, claim in read_claims(store.root)]
        assert left == [other.token]
        names = {path.name for path in (store.root / "drivers").iterdir()}
        assert names == {f"{driver.token}.json", f"{other.token}.json"}
    assert [path.name for path in (store.root / "claims").iterdir()] == ["ef" * 32]


def test_jobs_that_outlive_their_driver_stay_claimed(store, holder):
    process, _ = holder("job 7")
    process.kill()
    process.wait()
    with Driver(store) as driver:
        Claims(store, driver).clear()
        assert [claim.handle for _, claim in read_claims(store.root)] == ["job 7"]
        assert Claims(store, driver, "slurm").orphans() == {"job 7": [CELL]}
