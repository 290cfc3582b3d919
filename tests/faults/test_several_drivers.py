"""Several drivers on one store: each ends with its whole table, and no cell is done twice."""

import signal

import pytest

pytestmark = pytest.mark.slow


def check(tools, store, undisturbed, killed=0):
    assert (tools.table(store), tools.export(store)) == undisturbed
    assert tools.unfinished(store) <= killed
    tools.check_tidy(store)


def test_two_drivers_of_one_sweep(ground, tools, undisturbed):
    store = ground.home / "store"
    with tools.watched(store):
        several = [ground.start(store, executor="local:workers=1") for _ in range(2)]
        said = [ground.finish(process) for process in several]
    check(tools, store, undisturbed)
    assert tools.attempts(store) == {digest: ["done"] for digest in undisturbed[0]}
    assert all(": new in" in text for text in said), "one of them did all the work"


def test_three_drivers_of_overlapping_sweeps(ground, tools, undisturbed):
    store = ground.home / "store"
    text = (ground.home / "sweep.toml").read_text()
    ground.write("low", text.replace("[4, 6, 8]", "[4, 6]"))
    ground.write("high", text.replace("[4, 6, 8]", "[6, 8]"))
    with tools.watched(store):
        several = [
            ground.start(store, sweep=name, executor="local:workers=1")
            for name in ("low", "high", "sweep")
        ]
        for process in several:
            ground.finish(process)
    check(tools, store, undisturbed)
    assert tools.attempts(store) == {digest: ["done"] for digest in undisturbed[0]}
    by_digest = {row["digest"]: row for row in undisturbed[1]}
    for name, widths in {"low": {4, 6}, "high": {6, 8}}.items():
        rows = tools.export(store, name)
        assert len(rows) == 32
        assert all(by_digest[row["digest"]] == row for row in rows)
        assert {row["architecture.width"] for row in rows} == widths


def test_one_of_two_drivers_is_killed_and_the_other_takes_over(ground, tools, undisturbed):
    store = ground.home / "store"
    with tools.watched(store):
        first, second = (ground.start(store, executor="local:workers=1") for _ in range(2))
        tools.until(lambda: tools.finished(store) >= 15)
        first.kill()
        first.communicate()
        ground.finish(second)
    check(tools, store, undisturbed, killed=1)


def test_one_of_two_drivers_stands_still(ground, tools, undisturbed):
    """Nobody takes the cells of one that lives, however long it says nothing."""
    store = ground.home / "store"
    first, second = (ground.start(store, executor="local:workers=1") for _ in range(2))
    tools.until(lambda: tools.finished(store) >= 15)
    first.send_signal(signal.SIGSTOP)
    tools.until(lambda: tools.finished(store) >= 50 or second.poll() is not None)
    assert second.poll() is None
    first.send_signal(signal.SIGCONT)
    for process in (first, second):
        ground.finish(process)
    check(tools, store, undisturbed)
    assert tools.attempts(store) == {digest: ["done"] for digest in undisturbed[0]}
