"""Interruptions from a terminal, and requests to terminate, in the middle of a sweep."""

import os
import signal
import time

import pytest

pytestmark = pytest.mark.slow
LONG = 0.25
"""Seconds a step sleeps: a model takes 2 to 4 s."""


def interrupted_in_the_middle(
    ground, tools, store, number, whole_group, executor="local:workers=2"
):
    """Send a signal to a driver when it has begun to fill the store; return it, and the state."""
    process = ground.start(store, executor=executor, pause=LONG)
    tools.until(lambda: tools.finished(store) >= 3 and tools.in_training(store))
    before = tools.begun(store)
    (os.killpg if whole_group else os.kill)(process.pid, number)
    return process, before


def goes_on(ground, tools, store, undisturbed, interrupted):
    assert ground.processes() == []
    tools.check_tidy(store)
    ground.sweep(store, pause=0)
    assert (tools.table(store), tools.export(store)) == undisturbed
    assert tools.unfinished(store) == interrupted
    tools.check_tidy(store)


@pytest.mark.parametrize("whole_group", [True, False])
def test_ctrl_c_once_finishes_what_runs_and_starts_nothing(ground, tools, undisturbed, whole_group):
    store = ground.home / "store"
    with tools.watched(store):
        process, before = interrupted_in_the_middle(
            ground, tools, store, signal.SIGINT, whole_group
        )
        said = ground.finish(process, code=130)
        assert "finishing the cells that are running" in said
        assert "Finished cells are kept" in said
        # What ran were two jobs: a model, or the three measurements of one at most.
        assert tools.begun(store) <= before + 4
        assert tools.finished(store) == tools.begun(store) < tools.cells
        goes_on(ground, tools, store, undisturbed, interrupted=0)


def test_ctrl_c_twice_stops_at_once(ground, tools, undisturbed):
    store = ground.home / "store"
    with tools.watched(store):
        process, _ = interrupted_in_the_middle(ground, tools, store, signal.SIGINT, True)
        time.sleep(0.3)
        begin = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        ground.finish(process, code=130)
        assert time.monotonic() - begin < 5
        stopped = tools.unfinished(store)
        assert 1 <= stopped <= 2
        goes_on(ground, tools, store, undisturbed, interrupted=stopped)


@pytest.mark.parametrize("executor", ["local:workers=2", "inline"])
def test_a_request_to_terminate_stops_at_once_and_signs_off(ground, tools, undisturbed, executor):
    store = ground.home / "store"
    process, _ = interrupted_in_the_middle(ground, tools, store, signal.SIGTERM, False, executor)
    begin = time.monotonic()
    process.send_signal(signal.SIGTERM)  # once more: some batch systems do
    ground.finish(process, code=130)
    assert time.monotonic() - begin < 5
    stopped = sum(ends.count("done") == 0 for ends in tools.attempts(store).values())
    assert stopped <= 2
    assert ground.processes() == []
    tools.check_tidy(store)
    ground.sweep(store, pause=0)
    assert (tools.table(store), tools.export(store)) == undisturbed
