"""Where a request is computed: what the user says, the sweep, llt.toml; and how patient it is."""

import json
import os
import signal
import threading
import time

import pytest

import llt_core
from llt_core.errors import RequestError
from llt_core.execution import choose_executor, execute
from llt_core.plugins import Catalogue
from llt_core.plugins.errors import ManifestError
from llt_core.spec import ComputeSettings, Named, RunSpec, SweepSpec
from llt_core.store import Store
from llt_core.store.drivers import ask_to_stop, drivers
from llt_core.sweep import Listener, Policy

GRID = {
    "task": "file_task",
    "architecture": "mlp:width=4,depth=1",
    "train": {"epochs": 1, "batch_size": 16},
    "models": 2,
    "metrics": ["norm"],
    "axes": {"load": {"field": "architecture.width", "values": [2, 3]}},
}
SWEEP = SweepSpec.of(task="digits")
RUN = RunSpec(task=Named.of("digits"))


def add(here, text):
    path = here / "llt.toml"
    path.write_text(text + path.read_text())


def chosen(spec, executor=None):
    given = None if executor is None else Named.of(executor)
    found = choose_executor(spec, given, Catalogue.discover())
    return found.name, dict(found.parameters)


def test_a_sweep_uses_all_cores_and_a_run_this_process(here):
    assert chosen(SWEEP) == ("local", {})
    assert chosen(RUN) == ("inline", {})
    assert chosen(RUN, "local:workers=2") == ("local", {"workers": 2})


def test_the_nearest_word_counts(here):
    add(here, 'executor = "slurm"\n[executors.slurm]\npartition = "gpu"\ntime = 5\n')
    sweep = SweepSpec.of(task="digits", executor={"name": "slurm", "time": 60})
    assert chosen(SWEEP) == ("slurm", {"partition": "gpu", "time": 5})
    assert chosen(sweep) == ("slurm", {"partition": "gpu", "time": 60})
    assert chosen(sweep, "slurm:time=7") == ("slurm", {"partition": "gpu", "time": 7})
    assert chosen(sweep, "local") == ("local", {})
    assert chosen(RUN) == ("inline", {})


def test_the_executor_of_a_sweep_file(here):
    (here / "a.toml").write_text('task = "digits"\nexecutor = "local:workers=3"\n')
    (here / "b.toml").write_text('include = "a.toml"\n[executor]\nname = "local"\nthreads = 1\n')
    assert chosen(SweepSpec.read(here / "b.toml")) == ("local", {"workers": 3, "threads": 1})
    changed = SweepSpec.read(here / "a.toml", changes={"executor.workers": 4})
    assert chosen(changed) == ("local", {"workers": 4})
    (here / "c.toml").write_text('task = "digits"\nexecutor = 3\n')
    with pytest.raises(RequestError) as told:
        SweepSpec.read(here / "c.toml")
    assert "c.toml, line 2 (executor)" in told.value.where


def test_where_it_is_computed_is_no_part_of_what_is_computed(here):
    keys = {**GRID, "store": here / "store", "data_root": here, "compute": {"threads": 1}}
    first = llt_core.sweep(**keys, executor="inline")
    again = llt_core.sweep(**keys, executor="local:workers=1")
    assert {r.origin for r in first.results} == {"new"}
    assert {r.origin for r in again.results} == {"cached"}


@pytest.mark.parametrize("text", ['executors = ["slurm"]', "executor = 3", "executors.slurm = 3"])
def test_a_wrong_llt_toml_is_told(here, text):
    add(here, text + "\n")
    with pytest.raises(ManifestError, match="executor"):
        Catalogue.discover().resolve("executor", "local")


def test_only_jobs_that_go_on_alone_can_be_left(here):
    with pytest.raises(RequestError, match="end with this process"):
        execute(
            SweepSpec.of(**GRID),
            store=here / "store",
            data_root=here,
            compute=ComputeSettings(),
            policy=Policy(detach=True),
        )
    assert not (here / "store").exists()


class Ears(Listener):
    """Does something once the first cell has ended, and keeps all it hears."""

    def __init__(self, then):
        self.then, self.heard, self.ended = then, [], 0

    def noted(self, text):
        self.heard.append(text)

    def finished(self, result):
        self.ended += 1
        if self.ended == 1:
            self.then()


def test_the_first_interruption_lets_running_cells_finish(here):
    ears = Ears(lambda: os.kill(os.getpid(), signal.SIGINT))
    keys = {**GRID, "store": here / "store", "data_root": here, "executor": "inline"}
    with pytest.raises(KeyboardInterrupt):
        llt_core.sweep(**keys, listener=ears)
    assert ears.ended == 1
    assert "Ctrl-C again stops now" in ears.heard[0]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again = llt_core.sweep(**keys)
    assert sum(r.origin == "cached" for r in again.results) == 1
    assert again.failed == []


def test_a_driver_stops_when_it_is_asked_to(here):
    store = Store(here / "store")

    def ask():
        (driver,) = drivers(store)
        assert (driver.executor, driver.sweep) == ("inline", "asked")
        ask_to_stop(store, driver.token, "finish")
        time.sleep(1.1)  # it looks once a second

    ears = Ears(ask)
    keys = {**GRID, "name": "asked", "store": here / "store", "data_root": here}
    with pytest.raises(KeyboardInterrupt):
        llt_core.sweep(**keys, executor="inline", listener=ears)
    assert ears.ended < 8
    assert list((here / "store" / "drivers").iterdir()) == []
    assert list((here / "store" / "claims").iterdir()) == []


def test_nothing_more_starts_after_the_first_failure_if_so_wished(here):
    (here / "fail").touch()
    keys = {**GRID, "metrics": ["fails"], "store": here / "store", "data_root": here}
    result = llt_core.sweep(**keys, executor="inline", fail_fast=True)
    assert [r.origin for r in result.results] == ["new", "failed"]
    assert len(llt_core.sweep(**keys, executor="inline").results) == 8


def test_a_sweep_in_another_thread(here):
    found = []
    keys = {**GRID, "store": here / "store", "data_root": here, "executor": "inline"}
    thread = threading.Thread(target=lambda: found.append(llt_core.sweep(**keys)))
    thread.start()
    thread.join()
    assert {r.origin for r in found[0].results} == {"new"}


def test_two_drivers_at_once_compute_each_cell_once(here):
    found = []
    keys = {**GRID, "models": 3, "store": here / "store", "data_root": here, "executor": "inline"}
    threads = [
        threading.Thread(target=lambda: found.append(llt_core.sweep(**keys))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one, two = ({r.planned.digest: r.origin for r in result.results} for result in found)
    assert all({one[d], two[d]} == {"new", "cached"} for d in one)
    calls = (here / "calls").read_text().split()
    assert calls.count("norm") == 6
    assert json.loads((here / "store" / "store.json").read_text())["format"] == 1
