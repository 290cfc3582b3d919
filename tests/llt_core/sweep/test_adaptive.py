"""Sweeps that measure part of their grid, on real digits."""

import json
import re

import pytest

from llt_core.analysis.phases import PHASES
from llt_core.cli.main import main
from llt_core.cli.phase_map import print_map
from llt_core.errors import LltError, RequestError
from llt_core.execution import execute
from llt_core.plugins import Catalogue
from llt_core.spec import ComputeSettings, Named, SweepSpec
from llt_core.store import Store
from llt_core.store.maps import recall_map
from llt_core.sweep import Listener, make_plan
from llt_core.sweep.adaptive import Adaptive, filling, part_of
from llt_plugins.executors.local import Local
from llt_plugins.executors.slurm import Slurm

REQUEST = {
    "task": "digits",
    "architecture": "mlp:depth=1",
    "train": {"epochs": 1},
    "models": 2,
    "metrics": [
        "train_loss",
        {"name": "hessian_trace", "samples": 32, "max_vectors": 4},
        "cka",
        {"name": "linear_connectivity", "points": 3},
    ],
    "axes": {
        "load": {"field": "architecture.width", "values": [1, 4, 16]},
        "temperature": {"field": "train.batch_size", "values": [64, 128, 256, 512]},
    },
    "name": "few",
}

INLINE = Named(name="inline")


def run(store, adaptive, listener=None, executor=INLINE, **changes):
    return execute(
        SweepSpec.of(**{**REQUEST, **changes}),
        store=store,
        data_root=store,
        compute=ComputeSettings(threads=1),
        executor=executor,
        listener=listener,
        adaptive=adaptive,
    )


def measured(found):
    return [number for number, point in enumerate(found.points) if point.basis == "measured"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An adaptive sweep that was never interrupted: its store, request and result."""
    store = tmp_path_factory.mktemp("whole")
    adaptive = Adaptive(budget=0.6)
    return store, adaptive, run(store, adaptive)


def test_the_budget_is_kept_and_the_rest_inferred(whole):
    store, adaptive, result = whole
    found = adaptive.found
    assert found.allowed == found.measured == 7
    assert found.stopped == "the budget is spent"
    assert len(result.records) == 7 * (2 + 2 + 2 + 1 + 1)
    assert not result.failed
    assert len(result.sweep.points) == len(found.points) == 12
    for (values, means), point in zip(result.points(), found.points, strict=True):
        assert values == point.values
        assert bool(means) == (point.basis == "measured")
        assert sum(point.probabilities) == pytest.approx(1)
        assert point.phase == PHASES[point.probabilities.index(point.confidence)]
        if means:
            sharp = means["train_loss"].value >= 0.05
            joined = means["linear_connectivity"].value >= 0
            assert sharp
            assert point.phase == ("II" if joined else "I")
            assert point.confidence == 1
    assert recall_map(Store(store), "few") == found


def test_the_same_again_answers_from_the_store(whole):
    store, first, _ = whole
    again = Adaptive(budget=0.6)
    result = run(store, again)
    assert {cell.origin for cell in result.results} == {"cached"}
    assert again.found == first.found


def test_interrupted_in_the_middle_of_a_batch_it_goes_on_as_if_it_never_stopped(whole, tmp_path):
    class Stop(Listener):
        left = 8 * 5 + 3

        def finished(self, result):
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, Adaptive(budget=0.6), Stop())
    assert len(recall_map(Store(tmp_path), "few").ahead) == 1
    again = Adaptive(budget=0.6)
    run(tmp_path, again)
    assert measured(again.found) == measured(whole[1].found)


def test_a_larger_budget_goes_on_from_a_smaller_one(whole, tmp_path):
    small = Adaptive(budget=0.25)
    run(tmp_path, small)
    assert small.found.measured == 3
    large = Adaptive(budget=0.6)
    run(tmp_path, large)
    assert measured(large.found) == measured(whole[1].found)


def test_it_stops_when_the_map_is_sure_enough(tmp_path):
    adaptive = Adaptive(budget=1.0, stop_below=100)
    run(tmp_path, adaptive)
    assert adaptive.found.measured == 5
    assert "fewer than 100" in adaptive.found.stopped


def test_what_tells_phases_apart_must_be_measured(tmp_path):
    with pytest.raises(RequestError, match="does not measure cka, mode_connectivity or linear"):
        run(tmp_path, Adaptive(), metrics=["train_loss", "hessian_trace"])
    with pytest.raises(RequestError, match="a budget of 2"):
        run(tmp_path, Adaptive(budget=2))
    with pytest.raises(RequestError, match="rounds of 0"):
        run(tmp_path, Adaptive(batch=0))
    assert not (tmp_path / "cells").exists()


def test_points_that_diverge_are_neither_measured_nor_inferred(tmp_path, capsys):
    axes = {
        "load": {"field": "architecture.width", "values": [1, 4]},
        "temperature": {"field": "train.learning_rate", "values": [0.1, 1e30]},
    }
    adaptive = Adaptive(budget=1)
    run(tmp_path, adaptive, axes=axes)
    bases = {p.values["train.learning_rate"]: p.basis for p in adaptive.found.points}
    assert bases == {0.1: "measured", 1e30: "open"}
    assert (adaptive.found.measured, adaptive.found.open) == (2, 2)
    assert adaptive.found.expected_wrong == 0
    assert {p.phase for p in adaptive.found.points if p.basis == "open"} == {""}
    print_map(adaptive.found)
    said = capsys.readouterr().out
    assert "2 of 4 phases measured, 2 tried and without a phase (–), 0 inferred" in said


def test_where_training_diverges_it_is_expected_to_and_little_is_measured(tmp_path, capsys):
    axes = {
        "load": {"field": "architecture.width", "values": [1, 2, 4, 8]},
        "temperature": {"field": "train.learning_rate", "values": [0.1, 1e10, 1e20, 1e30]},
    }
    adaptive = Adaptive(budget=0.5)
    run(tmp_path, adaptive, axes=axes)
    found = adaptive.found
    cold = [point for point in found.points if point.values["train.learning_rate"] == 0.1]
    assert [point.basis for point in cold] == ["measured"] * 4
    assert (found.measured, found.open) == (4, 4)
    hot = [point for point in found.points if point.basis == "inferred"]
    assert all(point.phase == "" and 0.5 < point.confidence < 1 for point in hot)
    assert found.expected_open == len(hot) == 8
    assert found.expected_wrong < 1
    print_map(found)
    said = capsys.readouterr().out
    assert "8 inferred, of which" in said
    assert "and 8 to have none" in said
    assert "(–)" in said or "(–?)" in said


class Rounds(Listener):
    """Hears how many points each round measures, and stops in the middle of the last."""

    def __init__(self, stop_after=0):
        self.sizes, self.left = [], stop_after

    def noted(self, text):
        self.sizes += [int(found) for found in re.findall(r"next (\d+),", text)]

    def finished(self, result):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def test_rounds_of_a_size_asked_for_end_with_the_budget_and_resume(tmp_path):
    heard = Rounds(stop_after=8 * 5 + 8 * 3 + 3)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "halted", Adaptive(budget=0.8, batch=3), heard)
    assert heard.sizes == [5, 3, 1]
    again, whole = Adaptive(budget=0.8, batch=3), Adaptive(budget=0.8, batch=3)
    run(tmp_path / "halted", again)
    run(tmp_path / "whole", whole)
    assert measured(again.found) == measured(whole.found)
    assert whole.found.measured == 9


def test_a_round_keeps_the_executor_busy(tmp_path):
    heard = Rounds()
    run(
        tmp_path, Adaptive(budget=1), heard, executor=Named(name="local", parameters={"workers": 5})
    )
    assert heard.sizes == [5, 3, 3, 1]  # five workers, two models a point


def test_where_the_slots_are_not_known_rounds_are_a_share_of_the_grid(tmp_path):
    axes = {"load": {"field": "architecture.width", "values": list(range(1, 61))}}
    plan = make_plan(SweepSpec.of(**{**REQUEST, "axes": axes}), Catalogue.discover(), tmp_path)
    assert filling(Slurm(), plan) == 3
    assert filling(Local(workers=20, per_gpu=0), plan) == 10


def test_a_part_of_a_plan_has_its_points_and_their_cells(tmp_path):
    plan = make_plan(SweepSpec.of(**REQUEST), Catalogue.discover(), tmp_path)
    part = part_of(plan, [3, 5])
    assert part.points == (plan.points[3], plan.points[5])
    assert [cell.digest for cell in part.trains] == [d for p in part.points for d in p.trains]
    assert {cell.digest for cell in part.measures} == {d for p in part.points for d in p.measures}


def test_a_damaged_map_is_named(tmp_path):
    store = Store(tmp_path)
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "few.json").write_text("{")
    with pytest.raises(LltError, match="phase map of the sweep 'few' cannot be read"):
        recall_map(store, "few")
    assert recall_map(store, "other") is None


def test_the_command_prints_the_map(whole, capsys, tmp_path):
    store, adaptive, _ = whole
    file = tmp_path / "few.toml"
    axes = "".join(
        f'[axes.{name}]\nfield = "{axis["field"]}"\nvalues = {axis["values"]}\n'
        for name, axis in REQUEST["axes"].items()
    )
    file.write_text(
        'task = "digits"\narchitecture = "mlp:depth=1"\nmodels = 2\nmetrics = ["train_loss", '
        '{name = "hessian_trace", samples = 32, max_vectors = 4}, "cka", '
        '{name = "linear_connectivity", points = 3}]\n[train]\nepochs = 1\n' + axes
    )
    line = ["sweep", str(file), "--store", str(store), "--quiet", "--threads", "1"]
    assert main([*line, "--adaptive", "--budget", "0.6"]) == 0
    out = capsys.readouterr().out
    assert "7 of 12 phases measured, 5 inferred" in out
    assert "batch_size \\ width" in out
    assert main([*line, "--adaptive", "--budget", "0.6", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)["map"]
    assert [p["basis"] for p in document["points"]] == [p.basis for p in adaptive.found.points]
    assert main(["status", "few", *line[line.index("--store") :][:2]]) == 0
    assert "adaptive: 7 measured, 5 inferred; the budget is spent" in capsys.readouterr().out
    assert main([*line, "--adaptive", "--budget", "0.6", "--dry-run"]) == 0
    assert "at most 7 of the 12 grid points are measured" in capsys.readouterr().out
    for wrong in (["--adaptive", "--budget", "30"], ["--budget", "0.6"]):
        assert main([*line, *wrong, "--dry-run"]) == 2
    assert main([*line, "--budget", "0.6"]) == 2
    assert main([*line, "--round", "2"]) == 2
    assert main([*line, "--adaptive", "--detach"]) == 2
