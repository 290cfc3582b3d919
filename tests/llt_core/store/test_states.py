"""What is told of cells: finished, diverged, failed, blocked, running, waiting."""

import json
import subprocess
import sys
import time

import pytest

from llt_core.spec import PluginRef, TrainCell, digest
from llt_core.store import Checkpoint, Failure, Record, Store
from llt_core.store.claims import Claims
from llt_core.store.drivers import Driver
from llt_core.store.states import Glance, completed, live_drivers, running
from llt_core.store.sweeps import SweepPoint, SweepRecord, last_failure

REF = PluginRef(name="t", version=1)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def model(number):
    cell = TrainCell(task=REF, architecture=REF, training=REF, seed=number)
    return digest(cell), cell


def put(store, number, status="done"):
    name, cell = model(number)
    whole = status == "done"
    with store.staging(name) as folder:
        if whole:
            (folder / "model.safetensors").write_bytes(b"0")
        record = Record(
            digest=name, cell=cell, status=status, seconds=1.0, composition={}, provenance={},
            checkpoint=Checkpoint(sha256="", epoch=1, parameters=1) if whole else None,
        )  # fmt: skip
        store.commit(record, folder)
    return name


def fail(store, name, message="no", attempt=1):
    failure = Failure(digest=name, cell=model(0)[1], kind="code", message=message,
                      attempt=attempt, time="")  # fmt: skip
    store.record_failure(failure)


def measured(store, name):
    folder = store.path(name)
    folder.mkdir(parents=True)
    (folder / "record.json").write_text("{}")


def sweep(*points, **changes):
    facts = {"name": "s", "planned": "", "fields": ("a",), "spec": {}, "points": points}
    return SweepRecord(**{**facts, **changes})


def states(store, record, at_work=()):
    glance = Glance(store)
    glance.again()
    return glance.states(record, at_work)


def test_each_state(store):
    good, diverged, lost, waits = put(store, 0), put(store, 1, "diverged"), *[
        model(number)[0] for number in (2, 3)
    ]  # fmt: skip
    fail(store, lost)
    fail(store, good)  # an earlier attempt
    measured(store, "a" * 32)
    fail(store, "b" * 32)
    point = SweepPoint(
        values={}, models=(good, diverged, lost, waits),
        measures=tuple(letter * 32 for letter in "abcdef"),
        reads=((0,), (0,), (0, 1), (0, 2), (3,), (0, 3)),
    )  # fmt: skip
    found = states(store, sweep(point), {"f" * 32})
    assert list(found.values()) == [
        "done", "diverged", "failed", "waiting",
        "done", "failed", "blocked", "blocked", "waiting", "running",
    ]  # fmt: skip
    assert states(store, sweep(point), {waits, lost})[lost] == "running"


def test_a_point_is_complete_when_nothing_can_be_done(store):
    good, diverged, lost = put(store, 0), put(store, 1, "diverged"), model(2)[0]
    fail(store, lost)
    measured(store, "a" * 32)
    points = [
        SweepPoint(values={}, models=models, measures=measures, reads=reads)
        for models, measures, reads in (
            ((good, diverged), ("a" * 32, "b" * 32), ((0,), (1,))),
            ((good, lost), ("a" * 32, "c" * 32), ((0,), (1,))),
            ((good, diverged), (), ()),
            ((good, lost), (), ()),
        )
    ]
    for point, whole in zip(points, (1, 0, 1, 0), strict=True):
        one = sweep(point)
        assert completed(one, states(store, one)) == whole
    assert completed(sweep(*points), states(store, sweep(*points))) == 2


def test_a_second_look_sees_what_changed(store):
    name, _ = model(0)
    one = sweep(SweepPoint(values={}, models=(name,), measures=()))
    glance = Glance(store)
    for step, expected in (
        (lambda: None, "waiting"),
        (lambda: fail(store, name), "failed"),
        (lambda: put(store, 0), "done"),
        (lambda: store.set_aside(name), "failed"),
        (lambda: put(store, 0, "diverged"), "diverged"),
        (lambda: (store.path(name) / "record.json").write_text("{"), "waiting"),
    ):
        step()
        glance.again()
        assert glance.states(one) == {name: expected}


def test_the_last_failure(store):
    for attempt in (1, 2):
        fail(store, "b" * 32, f"no {attempt}", attempt)
    assert last_failure(store, "b" * 32).message == "no 2"
    assert last_failure(store, "a" * 32) is None


HOLDER = """
import sys, time
from llt_core.store import Store
from llt_core.store.claims import Claims
from llt_core.store.drivers import Driver
store = Store(sys.argv[1])
with Driver(store) as driver:
    claims = Claims(store, driver, "slurm")
    for cell, *handle in (name.split(":") for name in sys.argv[2:]):
        claims.take(cell)
        if handle:
            claims.name(cell, handle[0])
    print("ready", flush=True)
    time.sleep(60)
"""


def test_what_is_computed_now_and_by_whom(store):
    with Driver(store, sweep="s", executor="local") as driver:
        Claims(store, driver, "local").take("a" * 32)
        driver.running["a" * 32] = {"label": "train seed 0", "done": 1, "total": 2, "text": "x"}
        deadline = time.monotonic() + 20
        while not running(store)["a" * 32].facts:  # it tells every few seconds
            assert time.monotonic() < deadline
            time.sleep(0.1)
        (found,) = running(store).values()
        assert (found.driver.token, found.executor) == (driver.token, "local")
        assert found.facts["label"] == "train seed 0"
        assert [d.token for d in live_drivers(store)] == [driver.token]
    dead = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(store.root), "b" * 32, "c" * 32 + ":17_1"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert dead.stdout.readline() == "ready\n"
    assert set(running(store)) >= {"b" * 32, "c" * 32}
    dead.kill()
    dead.communicate()
    found = running(store)
    assert "b" * 32 not in found
    assert (found["c" * 32].driver, found["c" * 32].handle) == (None, "17_1")
    assert live_drivers(store) == []


def test_ten_thousand_cells_are_looked_at_in_a_moment(store):
    numbers = [f"{number:032x}" for number in range(0, 10_000 * 2**112, 2**112)]
    shards = {name[:2] for name in numbers}
    for shard in shards:
        (store.root / "cells" / shard).mkdir(parents=True)
    for name in numbers:
        folder = store.path(name)
        folder.mkdir()
        (folder / "record.json").write_text(json.dumps({"status": "done"}))
    for name in numbers[:2000]:
        (store.path(name) / "model.safetensors").touch()
    for name in (f"{number:032x}" for number in range(1000)):
        (store.root / "failures" / name).mkdir(parents=True)
    point = SweepPoint(values={}, models=tuple(numbers[:2000]), measures=tuple(numbers[2000:]))
    one = sweep(point)
    start = time.process_time()
    assert set(states(store, one).values()) == {"done"}
    assert time.process_time() - start < 1  # takes 0.05 s on a quiet machine
