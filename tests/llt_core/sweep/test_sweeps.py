"""Grids: one plan and one engine for many compositions."""

import os
import socket
import subprocess
import sys
from itertools import combinations
from statistics import median

import pandas as pd
import pytest

import llt_core
from llt_core.analysis.means import jackknife
from llt_core.errors import DataError, LltError, RequestError
from llt_core.plugins import Catalogue
from llt_core.spec import Named, RunSpec, SweepSpec
from llt_core.store import Store
from llt_core.store.claims import Claims
from llt_core.store.drivers import Driver
from llt_core.store.index import records
from llt_core.store.sweeps import names, recall
from llt_core.sweep import Listener, make_plan
from llt_core.sweep import compose as composing
from llt_core.sweep.estimate import Estimate, guess
from llt_core.sweep.preview import preview

AXES = {
    "load": {"field": "architecture.width", "values": [2, 4]},
    "temperature": {"field": "train.batch_size", "values": [8, 16, 32]},
}
BASE = {
    "task": "file_task",
    "architecture": "mlp:depth=1",
    "train": {"epochs": 1, "batch_size": 16},
    "models": 2,
    "metrics": ["norm", "distance"],
    "axes": AXES,
}


@pytest.fixture
def spec(here):
    return lambda **changes: SweepSpec.of(**{**BASE, **changes})


@pytest.fixture
def plan(here):
    return lambda spec: make_plan(spec, Catalogue.discover(), here)


@pytest.fixture
def sweep(here):
    def run(listener=None, force=False, executor="inline", **changes):
        return llt_core.sweep(
            store=here / "store",
            data_root=here,
            compute={"threads": 1},
            executor=executor,
            listener=listener,
            force=force,
            **{**BASE, **changes},
        )

    return run


def calls(here):
    file = here / "calls"
    return file.read_text().split() if file.exists() else []


def origins(result):
    return [cell.origin for cell in result.results]


# ------------------------------------------------------------------------- the plan


def test_each_point_is_what_a_run_would_plan(spec, plan):
    made = plan(spec())
    assert len(made.points) == 6
    assert (len(made.trains), len(made.measures)) == (12, 18)
    for point in made.points:
        alone = plan(
            RunSpec(
                task=Named.of("file_task"),
                architecture=Named.of(f"mlp:depth=1,width={point.values['architecture.width']}"),
                train={"epochs": 1, "batch_size": point.values["train.batch_size"]},
                models=2,
                metrics=(Named.of("norm"), Named.of("distance")),
            )
        )
        assert point.trains == tuple(c.digest for c in alone.trains)
        assert point.measures == tuple(c.digest for c in alone.measures)
        for cell in alone.cells:
            assert made[cell.digest].composition == cell.composition
            assert made[cell.digest].cell == cell.cell
            assert made[cell.digest].family == cell.family


def test_cells_that_coincide_are_one(spec, plan):
    axes = {"recipe": {"field": "train.recipe", "values": ["standard", "standard "]}}
    with pytest.raises(LltError, match="no training recipe"):
        plan(spec(axes=axes))
    same = {"stop": {"field": "train.early_stop", "values": [False, True]},
            "recipe": {"field": "train.recipe", "values": ["standard", "lr_decay"]},
            "epochs": {"field": "train.epochs", "values": [2, "2"]}}  # fmt: skip
    made = plan(spec(axes=same))
    assert len(made.points) == 8
    assert len(made.trains) == 2 * 4
    scales = {"scale": {"field": "metric.norm.scale", "values": [1, 2, 3]}}
    made = plan(spec(axes=scales))
    assert (len(made.trains), len(made.measures)) == (2, 3 * 2 + 1)
    assert len({cell.family for cell in made.cells}) == 1
    models = {"models": {"field": "models", "values": [2, 3]}}
    made = plan(spec(axes=models))
    assert [len(point.trains) for point in made.points] == [2, 3]
    assert (len(made.trains), len(made.measures)) == (3, 3 + 3)


def test_components_are_made_once_and_files_read_once(spec, plan, monkeypatch):
    made, read = [], []
    create, fingerprint = composing.create, composing.Task.fingerprint

    def count(resolved, parameters):
        made.append((resolved.entry.name, dict(parameters)))
        return create(resolved, parameters)

    monkeypatch.setattr(composing, "create", count)
    monkeypatch.setattr(
        composing.Task, "fingerprint", lambda task, root: read.append(1) or fingerprint(task, root)
    )
    plan(spec())
    assert sorted(name for name, _ in made) == ["distance", "file_task", "mlp", "mlp", "norm"]
    assert read == [1]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"axes": {"a": {"field": "architecture.widht", "values": [1]}}}, "did you mean width?"),
        ({"axes": {"a": {"field": "architecture.width", "values": [1, 0]}}}, "width = 0"),
        ({"axes": {"a": {"field": "train.batch", "values": [1]}}}, "no setting 'batch'"),
        ({"axes": {"a": {"field": "metric.cka.samples", "values": [1]}}}, "no 'cka'"),
        ({"axes": {"models": [2, 1]}}, "compares models, and only one is asked for"),
        ({"axes": {"architecture": ["mlp", "words"]}}, "it reads text inputs"),
    ],
)
def test_one_impossible_point_refuses_the_sweep_before_any_work(sweep, here, changes, says):
    with pytest.raises(LltError) as caught:
        sweep(**changes)
    assert says in str(caught.value)
    assert not (here / "store").exists()
    assert calls(here) == []


def test_the_point_is_named_where_it_fails(spec, plan):
    axes = {"load": {"field": "architecture.width", "values": [1, 0]}, "seed": [3]}
    with pytest.raises(LltError) as caught:
        plan(spec(axes=axes))
    assert caught.value.where == "grid point width=0, seed=3"


def test_the_tasks_own_architecture_can_vary(here, plan):
    made = plan(SweepSpec.of(task="digits", axes={"architecture.width": [1, 2]}))
    assert [c.composition["architecture"]["name"] for c in made.trains] == ["llt/resnet18"] * 2


def test_points_are_trained_all_over_the_grid_first(spec, plan):
    made = plan(spec(models=2))
    order = [made[c.digest].label for c in made.in_order()]
    assert len(order) == len(set(order)) == 12
    assert order[0] == "train seed 0 (width=4, batch_size=8)"
    assert order[1] == "train seed 1 (width=4, batch_size=8)"
    assert sorted(order) == sorted(cell.label for cell in made.trains)


LIGHT = """
import sys
from pathlib import Path
from llt_core.spec import SweepSpec
from llt_core.plugins import Catalogue
from llt_core.sweep import make_plan
from llt_core.sweep.preview import preview
spec = SweepSpec.of(
    task="digits", architecture="resnet18", models=5,
    metrics=["train_loss", "hessian_trace", "cka", "mode_connectivity", "ensemble_accuracy"],
    axes={"load": {"field": "architecture.width", "range": [1, 20, 1]},
          "temperature": {"field": "train.batch_size", "range": [1, 15, 1]}},
)
plan = make_plan(spec, Catalogue.discover(), Path(sys.argv[1]))
ahead = preview(plan, Path(sys.argv[1]) / "store")
assert ahead.by_axis() and ahead.by_kind()
print(len(plan.cells))
print(sorted({"torch", "torchvision", "pandas", "sklearn"} & set(sys.modules)))
"""


def test_planning_imports_no_torch(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [str(300 * (5 + 5 + 5 + 10 + 10 + 1)), "[]"]
    assert list(tmp_path.iterdir()) == []


def test_ten_thousand_cells_plan_within_seconds(tmp_path):
    import time

    spec = SweepSpec.of(
        task="digits", architecture="mlp", models=2, metrics=["train_loss", "cka"],
        axes={"load": {"field": "architecture.width", "range": [1, 100, 1]},
              "temperature": {"field": "train.batch_size", "range": [1, 20, 1]}},
    )  # fmt: skip
    start = time.process_time()
    plan = make_plan(spec, Catalogue.discover(), tmp_path)
    preview(plan, tmp_path / "none")
    assert len(plan.cells) == 2000 * 5
    assert time.process_time() - start < 5  # takes 0.5 s on a quiet machine


# ------------------------------------------------------------------------- the engine


def test_a_sweep_runs_and_then_answers_from_the_store(sweep, here, run):
    one = run(
        ["norm"],
        architecture="mlp:width=4,depth=1",
        train={"epochs": 1, "batch_size": 16},
        models=2,
    )
    first = sweep()
    assert first.failed == []
    shared = {cell.planned.digest for cell in one.results}
    for cell in first.results:
        assert cell.origin == ("cached" if cell.planned.digest in shared else "new")
    assert calls(here).count("norm") == 12
    again = sweep()
    assert set(origins(again)) == {"cached"}
    assert again.to_rows() == first.to_rows()
    wider = sweep(models=3)
    assert origins(wider).count("new") == 6 + 6 + 6 * 2


class Log(Listener):
    def __init__(self):
        self.ended = []

    def planned(self, todo, cached):
        self.todo = len(todo)

    def finished(self, result):
        self.ended.append(result.planned)


def test_measurements_follow_their_models_at_once(sweep):
    log = Log()
    sweep(listener=log, models=3)
    assert log.todo == len(log.ended) == 6 * 9
    ended = [cell.digest for cell in log.ended]
    trained = []
    for place, cell in enumerate(log.ended):
        if cell.cell.kind == "train":
            trained.append(cell.digest)
            (own,) = [c for c in log.ended if c.cell.kind == "measure"
                      and c.cell.models == (cell.digest,)]  # fmt: skip
            assert ended[place + 1] == own.digest, "its norm comes before the next model"
        else:
            assert set(cell.cell.models) <= set(trained)
    pairs = [place for place, c in enumerate(log.ended) if c.label.startswith("distance")]
    last = [max(ended.index(d) for d in log.ended[place].cell.models) for place in pairs]
    assert all(place - at <= 4 for place, at in zip(pairs, last, strict=True))


def test_what_another_driver_finished_meanwhile_is_taken_over(sweep, here):
    class Other(Listener):
        ended = 0

        def finished(self, result):
            Other.ended += 1
            if Other.ended == 1:  # after the first model: another one does all the rest
                sweep()

    result = sweep(listener=Other())
    assert origins(result).count("new") == 1
    assert origins(result).count("cached") == Other.ended - 1 == 6 * 5 - 1
    assert calls(here).count("norm") == 12


@pytest.mark.parametrize("every", [0.0, 60.0])
def test_who_is_waited_for_is_told_at_once_and_now_and_then(sweep, here, monkeypatch, every):
    monkeypatch.setattr("llt_core.sweep.scheduler.WAITING_EVERY", every)
    store = Store(here / "store")
    heard = []

    class Held(Listener):
        def planned(self, todo, cached):
            claims.take(todo[0].digest)

        def waiting(self, text):
            heard.append(text)
            if every or len(heard) == 2:
                claims.release_all()

    with Driver(store) as other:
        claims = Claims(store, other)
        result = sweep(Held(), axes={}, models=1, metrics=[])
    assert origins(result) == ["new"]
    assert heard == [
        f"waiting for process {os.getpid()} on {socket.gethostname()}, which computes train seed 0"
    ] * (1 if every else 2)


def test_a_sweep_that_is_asked_for_in_part_says_so(sweep):
    class Notes(Listener):
        def noted(self, text):
            heard.append(text)

    heard = []
    narrow = {**AXES, "temperature": {"field": "train.batch_size", "values": [8]}}
    sweep(Notes(), name="grid", metrics=[])
    sweep(Notes(), name="grid", metrics=["norm"])
    assert heard == [], "nothing is left out"
    sweep(Notes(), name="grid", metrics=["norm"], axes=narrow)
    sweep(Notes(), name="grid", metrics=["norm"], axes=narrow)
    (note,) = heard
    assert "grid with 2 of its former 6 points" in note


def test_a_request_beyond_all_bounds_is_refused_at_once(sweep):
    with pytest.raises(RequestError, match="2,000,000,000 cells"):
        sweep(axes={}, models=1_000_000_000, metrics=["norm"])


def test_force_takes_nothing_over(sweep, here):
    sweep(axes={})
    assert set(origins(sweep(axes={}, force=True))) == {"new"}


def test_pairs_of_a_family_read_each_model_once(sweep, here):
    sweep(models=3, metrics=["distance"])
    assert calls(here).count("read") == 6 * 3


def test_failures_cost_only_their_own_cells(sweep, here):
    axes = {"batch": {"field": "train.batch_size", "values": [8, 999, 16]}}
    (here / "fail").touch()
    result = sweep(axes=axes, metrics=["norm", "fails", "distance"])
    found = {}
    for cell in result.results:
        name = cell.planned.label.partition(" seed")[0]
        batch = cell.planned.composition["train"]["batch_size"]
        found.setdefault((name, batch), []).append(cell.origin)
    assert found == {
        ("train", 8): ["new"] * 2, ("train", 999): ["failed"] * 2, ("train", 16): ["new"] * 2,
        ("norm", 8): ["new"] * 2, ("norm", 999): ["blocked"] * 2, ("norm", 16): ["new"] * 2,
        ("fails", 8): ["failed"] * 2, ("fails", 999): ["blocked"] * 2,
        ("fails", 16): ["failed"] * 2,
        ("distance", 8): ["new"], ("distance", 999): ["blocked"], ("distance", 16): ["new"],
    }  # fmt: skip
    (here / "fail").unlink()
    healed = sweep(axes={"batch": {"field": "train.batch_size", "values": [8, 16]}},
                   metrics=["norm", "fails", "distance"])  # fmt: skip
    assert origins(healed).count("new") == 4
    assert healed.failed == []


def test_an_interrupted_sweep_goes_on_where_it_was(sweep, here):
    (here / "interrupt").touch()
    changes = {
        "architecture": "interrupted",
        "metrics": ["distance"],
        "axes": {"batch": {"field": "train.batch_size", "values": [8, 16]}},
        "name": "mine",
    }
    with pytest.raises(KeyboardInterrupt):
        sweep(**changes)
    store = Store(here / "store")
    done = set(store.digests())
    assert 0 < len(done) < 6
    assert names(store) == ["mine"]
    (here / "interrupt").unlink()
    result = sweep(**changes)
    assert {c.planned.digest for c in result.results if c.origin == "cached"} == done
    assert result.failed == []


def test_missing_files_are_told_before_anything_starts(sweep, here):
    (here / "gray.bin").unlink()
    with pytest.raises(DataError, match=r"gray\.bin"):
        sweep()
    assert not (here / "store").exists()


def test_force_computes_every_point_again(sweep, here):
    first = sweep()
    forced = sweep(force=True)
    assert set(origins(forced)) == {"new"}
    for name in ("norm", "distance"):
        assert forced[name] == first[name]


# ------------------------------------------------------------------------- what comes out


def test_one_row_a_measurement_with_the_varied_fields(sweep):
    result = sweep()
    frame = result.to_pandas()
    assert list(frame.columns[:2]) == ["architecture.width", "train.batch_size"]
    assert len(frame) == 18
    counts = frame.groupby(["architecture.width", "train.batch_size"]).size()
    assert counts.tolist() == [3] * 6
    assert frame["architecture.width"].dtype == frame["train.batch_size"].dtype == "int64"


def test_a_field_that_does_not_matter_to_a_measurement_has_no_value(sweep):
    result = sweep(axes={"scale": {"field": "metric.norm.scale", "values": [1, 2]}})
    frame = result.to_pandas()
    assert frame.groupby("name").size().to_dict() == {"distance": 1, "norm": 4}
    scales = frame.set_index("name")["metric.norm.scale"]
    assert scales["norm"].tolist() == [1, 1, 2, 2]
    assert pd.isna(scales["distance"])


def test_one_row_a_point_with_means_over_models(sweep):
    result = sweep(models=3)
    frame = result.to_pandas()
    points = result.points()
    assert len(points) == 6
    for values, means in points:
        assert list(means) == ["norm", "distance"]
        here = frame[(frame["architecture.width"] == values["architecture.width"])
                     & (frame["train.batch_size"] == values["train.batch_size"])]  # fmt: skip
        norms = here[here["name"] == "norm"]["value"]
        assert means["norm"].value == pytest.approx(norms.mean())
        assert means["norm"].standard_error == pytest.approx(norms.std() / 3**0.5)
        assert (means["norm"].n, means["norm"].of) == (3, 3)
        distances = here[here["name"] == "distance"]["value"]
        assert means["distance"].value == pytest.approx(distances.mean())


def test_two_of_one_metric_are_told_apart(sweep):
    (_, means), *_ = sweep(metrics=["norm", "norm:scale=2"]).points()
    assert list(means) == ["norm", "norm(scale=2.0)"]
    assert means["norm(scale=2.0)"].value == pytest.approx(2 * means["norm"].value)


def test_the_jackknife_of_pairs_knows_that_they_share_models():
    """Its mean square is the variance of a mean over pairs of independent models."""
    import numpy as np

    generator = np.random.default_rng(0)
    guesses, means = [], []
    for _ in range(4000):
        effects = generator.normal(size=5)
        pairs = [((i, j), effects[i] + effects[j]) for i, j in combinations(range(5), 2)]
        guesses.append(jackknife(pairs) ** 2)
        means.append(np.mean([value for _, value in pairs]))
    assert np.mean(guesses) == pytest.approx(4 / 5, rel=0.05)  # 2 * mean of five unit normals
    assert np.var(means) == pytest.approx(4 / 5, rel=0.08)
    assert jackknife([((0,), 1.0), ((1,), 4.0)]) == pytest.approx(1.5)
    assert jackknife([((model,), 98.88888888888889) for model in range(3)]) == 0.0
    assert jackknife([((0, 1), 1.0)]) is None
    assert jackknife([((0, 1), 1.0), ((0, 2), 2.0)]) is None, "without 0 there is nothing"
    assert jackknife([((0, 1, 2), 1.0)]) is None


def test_a_named_sweep_is_remembered_and_an_unnamed_is_not(sweep, here):
    sweep()
    store = Store(here / "store")
    assert names(store) == []
    result = sweep(name="first", title="A try")
    remembered = recall(store, "first")
    assert remembered == result.sweep
    assert remembered.fields == ("architecture.width", "train.batch_size")
    assert remembered.kinds["train.batch_size"] == "temperature"
    assert set(remembered.models) | set(remembered.measures) == set(store.digests())
    assert SweepSpec.model_validate(remembered.spec) == SweepSpec.of(
        **BASE, name="first", title="A try"
    )
    file = here / "store" / "sweeps" / "first.json"
    before = file.stat().st_mtime_ns
    sweep(name="first", title="A try")
    assert file.stat().st_mtime_ns == before, "nothing changed, nothing written"
    sweep(name="first", title="A try", models=1, metrics=["norm"])
    assert len(recall(store, "first").models) == 6


def test_llt_core_sweep_is_callable_however_it_is_imported(here):
    code = (
        "import {}\nimport llt_core\n"
        "r = llt_core.sweep(task='digits', axes={{'seed': [0]}}, store='s', architecture='mlp',"
        " train={{'epochs': 1}})\n"
        "import llt_core.sweep as room\nprint(len(r.results), callable(room.make_plan))"
    )
    for first in ("llt_core", "llt_core.sweep", "llt_core.api", "llt_core.sweep.plan"):
        done = subprocess.run(
            [sys.executable, "-c", code.format(first)],
            capture_output=True, text=True, check=True, cwd=here,
        )  # fmt: skip
        assert done.stdout.split() == ["1", "True"]


@pytest.mark.parametrize(
    ("arguments", "keys"),
    [(("x.toml",), {"task": "digits"}), ((SweepSpec.of(task="digits"),), {"profile": "mini"})],
)
def test_a_whole_sweep_takes_no_other_keys(arguments, keys):
    with pytest.raises(TypeError, match="stands for itself"):
        llt_core.sweep(*arguments, **keys)


@pytest.mark.parametrize("function", [llt_core.run, llt_core.sweep])
def test_a_wrong_compute_setting_is_a_wrong_request(function):
    with pytest.raises(RequestError, match="compute cannot have thread = 1") as caught:
        function(task="digits", compute={"thread": 1})
    assert "threads" in caught.value.expected


# ------------------------------------------------------------------------- estimates


def test_a_preview_counts_by_kind_and_by_axis(sweep, spec, plan, here):
    sweep(axes={**AXES, "load": {"field": "architecture.width", "values": [2]}})
    ahead = preview(plan(spec()), here / "store")
    kinds = ahead.by_kind()
    assert {name: (s.cells, s.todo) for name, s in kinds.items()} == {
        "train": (12, 6), "norm": (12, 6), "distance": (6, 3),
    }  # fmt: skip
    axes = ahead.by_axis()
    assert [(v, s.cells, s.todo) for v, s in axes["architecture.width"]] == [
        (2, 15, 0),
        (4, 15, 15),
    ]
    assert [(v, s.cells, s.todo) for v, s in axes["train.batch_size"]] == [
        (8, 10, 5), (16, 10, 5), (32, 10, 5),
    ]  # fmt: skip
    assert ahead.cost.unknown == 0
    assert ahead.cost.seconds == pytest.approx(sum(s.cost.seconds for s in kinds.values()))
    assert ahead.cost.unsized == 6, "no model of this width was ever stored"


DIVERGING = {"rate": {"field": "train.learning_rate", "values": [0.01, 1e30]}}


def test_what_can_never_be_measured_is_not_to_do(sweep, spec, plan, here):
    first = sweep(axes=DIVERGING, train={"epochs": 2, "batch_size": 16})
    statuses = [cell.record.status for cell in first.results if cell.planned.cell.kind == "train"]
    assert statuses == ["done", "done", "diverged", "diverged"]
    again = plan(spec(axes=DIVERGING, train={"epochs": 2, "batch_size": 16}))
    ahead = preview(again, here / "store")
    assert (ahead.todo, len(ahead.blocked)) == ({}, 3)
    kinds = {name: (s.done, s.blocked, s.todo) for name, s in ahead.by_kind().items()}
    assert kinds == {"train": (4, 0, 0), "norm": (2, 2, 0), "distance": (1, 1, 0)}
    ((_, good), (_, bad)) = ahead.by_axis()["train.learning_rate"]
    assert [(s.cells, s.done, s.blocked) for s in (good, bad)] == [(5, 5, 0), (5, 2, 3)]
    forced = preview(again, here / "store", force=True)
    assert (len(forced.todo), forced.blocked) == (10, frozenset())


def test_a_model_that_only_blocked_measurements_would_read_is_not_needed(sweep, spec, plan, here):
    settings = {"axes": DIVERGING, "train": {"epochs": 2, "batch_size": 16}}
    sweep(**settings, metrics=["distance"], models=2)
    planned = plan(spec(**settings, metrics=["distance"], models=2))
    store = Store(here / "store")
    gone = planned.points[1].trains[1]  # diverged as well, but nobody knows any more
    store.set_aside(gone)
    assert preview(planned, here / "store").todo == {}
    store.set_aside(planned.points[1].trains[0])
    assert len(preview(planned, here / "store").todo) == 3


def test_a_preview_refuses_what_is_no_store(spec, plan, here):
    with pytest.raises(LltError, match="there is no store here"):
        preview(plan(spec()), here)
    (here / "file").touch()
    with pytest.raises(LltError, match="there is no store here"):
        preview(plan(spec()), here / "file")
    (here / "new").mkdir()
    for empty in ("new", "gone"):
        assert len(preview(plan(spec()), here / empty).todo) == 30
    assert not (here / "gone").exists()


def test_time_at_other_parameters_follows_a_power_law(sweep, plan, spec, here):
    """Past cells are given times that follow a law; those of other points must come out."""
    sweep(metrics=[])
    past = list(records(Store(here / "store")))

    def law(composition):
        width = composition["architecture"]["parameters"]["width"]
        return 0.1 * width**1.2 * (composition["train"]["batch_size"] / 16) ** -0.4

    timed = [
        record.model_copy(update={"seconds": law(record.composition) * len(record.history)})
        for record in past
        if record.cell.kind == "train"
    ]
    axes = {"load": {"field": "architecture.width", "values": [64]}, "b": {
        "field": "train.batch_size", "values": [256]}}  # fmt: skip
    (cell,) = plan(spec(axes=axes, models=1, metrics=[], train={"epochs": 3})).trains
    found = Estimate.total(guess([cell], timed).values())
    assert found.seconds == pytest.approx(3 * law(cell.composition), rel=0.15)
    assert found.unknown == 0


def test_a_metric_never_measured_is_judged_by_its_cost(sweep, plan, spec, here):
    axes = {"load": {"field": "architecture.width", "values": [2, 4]}}
    sweep(metrics=[], axes=axes)
    epoch = {}
    for record in records(Store(here / "store")):
        width = record.composition["architecture"]["parameters"]["width"]
        epoch.setdefault(width, []).append(record.seconds)
    unknown = plan(spec(axes=axes, metrics=["norm"])).measures
    assert len(unknown) == 4
    # One forward pass over the split (the default cost), a third of an epoch of training.
    expected = sum(2 * median(seconds) / 3 for seconds in epoch.values())
    found = Estimate.total(guess(unknown, records(Store(here / "store"))).values())
    assert found.seconds == pytest.approx(expected)
    assert found.unknown == 0
