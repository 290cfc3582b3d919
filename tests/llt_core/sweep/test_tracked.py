"""What trackers hear of real requests, and that the conformance kit tells them the same."""

import sys

import pytest

import llt_core
from llt_core.interfaces import composition_columns
from llt_core.testing.requests import request as kit_request

DIARY = """
from llt_core.interfaces import Tracker
from llt_core.plugins import hookimpl

heard = []

def hook(name, wanted):
    text = f"lambda self, {wanted}: heard.append(({name!r}, dict(locals())))"
    function = eval(text)
    return hookimpl(function)

class Diary(Tracker):
    summary = "Notes everything that it hears"
    llt_sweep_started = hook("llt_sweep_started", "summary")
    llt_cell_started = hook("llt_cell_started", "digest, kind, label, composition")
    llt_cell_finished = hook("llt_cell_finished", "digest, kind, label, record")
    llt_cell_failed = hook("llt_cell_failed", "digest, kind, label, composition, failure")
    llt_sweep_finished = hook("llt_sweep_finished", "summary")
"""


@pytest.fixture
def diary(here):
    name = f"diary_{here.name.replace('-', '_')}"
    (here / f"{name}.py").write_text(DIARY)
    with (here / "llt.toml").open("a") as file:
        file.write(f'\n[diary]\nkind = "tracker"\ntarget = "{name}:Diary"\nsummary = "test"\n')

    def read():
        heard = sys.modules[name].heard
        found = [(hook, {k: v for k, v in facts.items() if k != "self"}) for hook, facts in heard]
        heard.clear()
        return found

    return read


def hooks(heard):
    return [hook.removeprefix("llt_") for hook, _ in heard]


def test_a_run_from_start_to_end(run, here, diary):
    (here / "fail").touch()
    result = run(["norm", "fails"], track=["diary"])
    assert not result.observer_errors
    (_, start), *cells, (_, end) = diary()
    told = start["summary"]
    assert told["cells"] == {"train": 1, "measure": 2}
    assert told["todo"] == {"train": 1, "measure": 2}
    assert told["name"] == ""
    assert told["fields"] == []
    assert told["executor"] == "inline"
    assert told["store"] == str(here / "store")
    assert told["force"] is False
    assert end["summary"]["cells"] == {"new": 2, "failed": 1}
    assert end["summary"]["complete"] is True
    assert hooks(cells).count("cell_started") == 3
    assert sorted(hooks(cells)[2:]) == ["cell_failed", *["cell_finished"], *["cell_started"] * 2]
    (failed,) = [facts for hook, facts in cells if hook == "llt_cell_failed"]
    assert failed["label"] == "fails seed 0"
    assert failed["failure"]["message"].startswith("ZeroDivisionError: on purpose\n  where: ")
    assert composition_columns(failed["composition"])["architecture.width"] == 4


def test_the_kit_tells_what_the_engine_tells(run, here, diary):
    (here / "fail").touch()
    run(["norm", "fails"], models=2, track=["diary"])
    real = {(hook, facts.get("kind")): facts for hook, facts in diary()}
    for hook, facts in kit_request():
        told = real[hook, facts.get("kind")]
        assert facts.keys() == told.keys(), hook
        for name in facts.keys() & {"summary", "record", "composition", "failure"}:
            assert facts[name].keys() == told[name].keys(), (hook, name)
    provenance = real["llt_cell_finished", "measure"]["record"]["provenance"]
    kit = next(facts["record"]["provenance"] for _, facts in kit_request() if "record" in facts)
    assert kit.keys() <= provenance.keys()


def test_a_sweep_tells_its_name_and_fields(here, diary):
    axes = {"load": {"field": "architecture.width", "values": [2, 3]}}
    keys = {
        "task": "file_task",
        "architecture": {"name": "mlp", "depth": 1},
        "metrics": ["norm"],
        "train": {"epochs": 1, "batch_size": 16},
        "axes": axes,
        "name": "grid",
    }
    where = {"store": here / "store", "data_root": here, "executor": "inline"}
    llt_core.sweep(**keys, **where, compute={"threads": 1}, track=["diary"])
    (_, start), *cells, (_, end) = diary()
    assert start["summary"]["name"] == end["summary"]["name"] == "grid"
    assert start["summary"]["fields"] == ["architecture.width"]
    labels = {facts["label"] for _, facts in cells}
    assert {"train seed 0 (width=2)", "norm seed 0 (width=3)"} <= labels
    llt_core.sweep(**keys, **where, compute={"threads": 1}, track=["diary"])
    assert hooks(heard := diary()) == ["sweep_started", "sweep_finished"]
    assert heard[0][1]["summary"]["todo"] == {}
    llt_core.sweep(**keys, **where, compute={"threads": 1}, track=["diary"], force=True)
    heard = diary()
    assert heard[0][1]["summary"]["force"] is True
    assert hooks(heard).count("cell_finished") == 4


def test_an_interrupted_run_tells_its_end(run, here, diary):
    (here / "interrupt").touch()
    with pytest.raises(KeyboardInterrupt):
        run(["norm", "fails"], track=["diary"])
    (hook, facts) = diary()[-1]
    assert hook == "llt_sweep_finished"
    assert facts["summary"]["complete"] is False
