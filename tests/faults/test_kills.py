"""Workers and drivers are killed at random; the table is that of an undisturbed run."""

import os
import random
import signal
import time
from contextlib import suppress

import pytest

pytestmark = pytest.mark.slow


class Killer:
    """Kills processes of one driver after another, at moments drawn from a seed."""

    def __init__(self, tools, root, seed):
        self.tools, self.root, self.chance = tools, root, random.Random(seed)
        self.workers = self.drivers = 0

    def hit_workers(self, process, times):
        """Kill one worker after another while cells are being computed."""
        for _ in range(times):
            self._wait(process, 2, 5)
            found = self.tools.workers(process)
            if found and process.poll() is None:
                with suppress(ProcessLookupError):
                    os.kill(self.chance.choice(found), signal.SIGKILL)
                    self.workers += 1

    def hit_driver(self, process, least=6, most=20):
        """Kill the driver when it has finished a few cells more."""
        self._wait(process, least, most)
        process.kill()
        process.communicate()
        self.drivers += process.returncode == -signal.SIGKILL

    def _wait(self, process, least, most):
        mark = self.tools.finished(self.root) + self.chance.randint(least, most)
        self.tools.until(
            lambda: process.poll() is not None or self.tools.finished(self.root) >= mark
        )
        time.sleep(self.chance.uniform(0, 0.3))

    @property
    def hit(self):
        """How many cells can have been hit: each of two workers had one at a time."""
        return self.workers + 2 * self.drivers


def check(tools, store, undisturbed, most):
    """Check the table, and that exactly those cells were begun again that were killed."""
    assert (tools.table(store), tools.export(store)) == undisturbed
    assert tools.unfinished(store) <= most
    tools.check_tidy(store)


def test_killed_workers_cost_no_more_than_their_cells(ground, tools, undisturbed):
    store = ground.home / "store"
    with tools.watched(store):
        process = ground.start(store, "--retries", "9")
        killer = Killer(tools, store, seed=1)
        killer.hit_workers(process, times=6)
        ground.finish(process)
    assert killer.workers >= 4
    check(tools, store, undisturbed, killer.hit)
    assert tools.unfinished(store) >= 1, "no cell was hit: nothing is shown"


@pytest.mark.parametrize("seed", [2, 3])
def test_killed_drivers_leave_no_worker_and_the_same_command_goes_on(
    ground, tools, undisturbed, seed
):
    store = ground.home / "store"
    killer = Killer(tools, store, seed)
    with tools.watched(store):
        for _ in range(3):
            process = ground.start(store)
            killer.hit_driver(process)
            tools.until(lambda: not ground.processes(), seconds=10)
        ground.sweep(store)
    assert killer.drivers >= 2
    check(tools, store, undisturbed, killer.hit)
    assert tools.unfinished(store) >= 1, "no cell was hit: nothing is shown"


@pytest.mark.parametrize("seed", [4, 5])
def test_workers_and_drivers_killed_in_turns(ground, tools, undisturbed, seed):
    store = ground.home / "store"
    killer = Killer(tools, store, seed)
    with tools.watched(store):
        for _ in range(2):
            process = ground.start(store, "--retries", "9")
            killer.hit_workers(process, times=killer.chance.randint(1, 3))
            killer.hit_driver(process, 1, 6)
        process = ground.start(store, "--retries", "9")
        killer.hit_workers(process, times=2)
        ground.finish(process)
    assert killer.drivers
    assert killer.workers
    check(tools, store, undisturbed, killer.hit)


def test_a_driver_that_is_killed_at_once_many_times(ground, tools, undisturbed):
    """While it starts, before any cell: nothing is in the way of the next one."""
    store = ground.home / "store"
    chance = random.Random(6)
    for _ in range(6):
        process = ground.start(store)
        time.sleep(chance.uniform(0.1, 3.0))
        process.kill()
        process.communicate()
        tools.until(lambda: not ground.processes(), seconds=10)
    ground.sweep(store)
    check(tools, store, undisturbed, 12)


DRIVER = """
import sys
import llt_core

result = llt_core.sweep(
    "sweep.toml",
    changes={"train.epochs": 12, "axes.load.values": [4, 6], "axes.temperature.values": [8]},
    store=sys.argv[1],
    data_root=".",
    executor="local:workers=2,threads=1",
    compute={"checkpoint_epochs": 1},
)
sys.exit(len(result.failed))
"""


def test_a_training_goes_on_where_it_was_killed(ground, tools):
    ground.finish(ground.python("-c", DRIVER, ground.home / "calm", FAULT_PAUSE="0"))
    store = ground.home / "store"
    for _ in range(2):
        process = ground.python("-c", DRIVER, store, FAULT_PAUSE="0.05")
        wait_for_checkpoints(tools, store, 4)
        os.kill(tools.workers(process)[0], signal.SIGKILL)
        wait_for_checkpoints(tools, store, 4)
        process.kill()
        process.communicate()
        tools.until(lambda: not ground.processes(), seconds=10)
    ground.finish(ground.python("-c", DRIVER, store, FAULT_PAUSE="0"))
    assert tools.table(store) == tools.table(ground.home / "calm")
    resumed = [r.provenance["resumed"] for r in tools.records(store) if "resumed" in r.provenance]
    assert resumed, "no training was taken up: nothing is shown"
    assert all(at == sorted(at) and at[0] >= 1 for at in resumed)
    tools.check_tidy(store)


def wait_for_checkpoints(tools, store, count):
    """Wait until so many checkpoints have been written from now on."""

    def stamps():
        found = set()
        for folder in (store / "partial").glob("*"):
            with suppress(FileNotFoundError):  # done with, and cleared away
                found.add((folder / "state.safetensors").stat().st_mtime_ns)
        return found

    before, seen = stamps(), set()
    tools.until(lambda: seen.update(stamps() - before) or len(seen) >= count)
