"""Cells that kill their process, crash it, or need too much memory: they cost only themselves."""

import json

from llt_core.spec import MeasureCell
from llt_core.store import Store

SWEEP = """\
task = "gray"
architecture = "slow"
metrics = ["norm", "poison", "drawn", {name = "greedy", room = 8}, {name = "greedy", room = 2}]
models = 2

[train]
epochs = 1
batch_size = 16

[axes.load]
field = "architecture.crashes"
values = [false, true]
"""


def failures(store):
    """Return the kinds of all failed attempts, by what failed and the seed of its model."""
    found = {}
    for file in sorted((store / "failures").glob("*/*.json")):
        told = json.loads(file.read_text())
        cell = told["cell"]
        name = "train" if "training" in cell else cell["metric"]["name"].rpartition("/")[2]
        what = name, *cell.get("metric", {}).get("parameters", {}).values()
        found.setdefault((*what, file.parent.name), []).append(told["kind"])
    return found


def test_dangerous_cells_cost_only_themselves(ground, tools):
    ground.write("danger", SWEEP)
    store = ground.home / "store"
    (ground.home / "poison").touch()
    said = ground.sweep(store, sweep="danger", pause=0, code=1)
    records = tools.records(store)
    assert sum(record.checkpoint is not None for record in records) == 2
    measured = {}
    for record in records:
        if isinstance(record.cell, MeasureCell):
            name = record.cell.metric.name.rpartition("/")[2]
            measured.setdefault(name, []).append(record.measurements[0])
    assert {name: len(found) for name, found in measured.items()} == {
        "norm": 2, "drawn": 2, "greedy": 2,
    }  # fmt: skip
    assert [m.n for m in measured["greedy"]] == [8, 8], "halved twice"

    tried = {}
    for (what, *rest, _), kinds in failures(store).items():
        tried.setdefault((what, *rest), []).append(kinds)
    # Once in company, where nobody knows who it was, and then alone: the first try and 2 more.
    assert tried["poison",] == [["killed"] * 4] * 2
    assert tried["train",] == [["killed"] * 3] * 2
    # In company, then with 16, 8 and (the one with room for 2) 8 samples at once.
    assert [kinds.count("out_of_memory") for kinds in tried["greedy", 2]] == [3, 3]
    assert "SIGSEGV" in said
    assert "SIGKILL" in said
    assert tools.until(lambda: not ground.processes())
    tools.check_tidy(store)

    lone = ground.home / "no-retries"
    ground.sweep(lone, "--retries", "0", sweep="danger", pause=0, code=1)
    norms = [r for r in tools.records(lone) if r.measurements and r.measurements[0].name == "norm"]
    assert len(norms) == 2
    tries = [kinds for (what, *_), kinds in failures(lone).items() if what == "poison"]
    assert tries == [["killed"] * 2] * 2, "in company, and by itself"

    (ground.home / "poison").unlink()
    opened = Store(store)
    before = set(opened.digests())
    ground.sweep(store, "--retries", "5", sweep="danger", pause=0, code=1)
    new = [opened.read(digest) for digest in set(opened.digests()) - before]
    assert sorted(record.measurements[0].name for record in new) == ["greedy"] * 2 + ["poison"] * 2
    assert [r.measurements[0].n for r in new if r.measurements[0].name == "greedy"] == [2, 2]
