"""Clocks that are wrong, and that jump: nobody trusts them."""

import itertools
import os
import random
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
YEAR = 365 * 24 * 3600


class Clock:
    """A clock for one driver and its workers, which can be set while they run."""

    def __init__(self, file, offset):
        self.file = file
        self.set(offset)

    def set(self, offset):
        self.file.write_text(f"{offset:+d}\n")

    @property
    def variables(self):
        """What shows this clock to a process: for the time of day alone."""
        return {
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }


@pytest.fixture
def clock(tmp_path):
    if LIBRARY is None:
        pytest.skip("the Debian package libfaketime is not installed")
    numbers = itertools.count()
    return lambda offset=0: Clock(tmp_path / f"clock{next(numbers)}", offset)


def test_the_clock_of_these_tests_is_wrong(ground, clock):
    asked = ground.python(
        "-c", "import time; print(time.time() - time.monotonic())", **clock(YEAR).variables
    )
    out, _ = asked.communicate(timeout=60)
    assert float(out) == pytest.approx(time.time() - time.monotonic() + YEAR, abs=60)


def test_a_clock_that_jumps(ground, tools, undisturbed, clock):
    store = ground.home / "store"
    chance, jumps = random.Random(7), 0
    wrong = clock()
    with tools.watched(store):
        process = ground.start(store, **wrong.variables)
        while process.poll() is None:
            time.sleep(0.5)
            wrong.set(chance.choice([-1, 1]) * chance.randrange(20 * YEAR))
            for file in store.rglob("*"):
                if chance.random() < 0.1 and file.is_file():
                    try:
                        moment = time.time() + chance.uniform(-1, 1) * 20 * YEAR
                        os.utime(file, (moment, moment))
                    except FileNotFoundError:
                        continue
            jumps += 1
        ground.finish(process)
    assert jumps > 3
    assert (tools.table(store), tools.export(store)) == undisturbed
    assert tools.unfinished(store) == 0
    tools.check_tidy(store)


def test_drivers_of_different_years_share_the_work(ground, tools, undisturbed, clock):
    """The one in the future is killed; those in the past and in the present go on."""
    store = ground.home / "store"
    killed = ground.start(store, **clock(10 * YEAR).variables)
    tools.until(lambda: tools.finished(store) >= 12)
    killed.kill()
    killed.communicate()
    with tools.watched(store):
        several = [
            ground.start(store, executor="local:workers=1", **variables)
            for variables in (clock(-10 * YEAR).variables, {})
        ]
        for process in several:
            ground.finish(process)
    assert (tools.table(store), tools.export(store)) == undisturbed
    assert tools.unfinished(store) <= 2
    tools.check_tidy(store)
