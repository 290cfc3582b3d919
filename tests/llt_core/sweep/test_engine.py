"""What becomes of cells: cached, new, failed, blocked; and what is done again."""

import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from llt_core.errors import DataError, LltError
from llt_core.plugins import Catalogue
from llt_core.spec import Named, RunSpec
from llt_core.store import Failure, Store
from llt_core.store.index import records
from llt_core.sweep import make_plan
from llt_core.sweep.estimate import Estimate, guess, model_bytes
from llt_core.sweep.look import look


def origins(result):
    return [r.origin for r in result.results]


def calls(here):
    file = here / "calls"
    return file.read_text().split() if file.exists() else []


def leftovers(here):
    return list((here / "store" / "tmp").iterdir())


def test_new_then_cached_then_only_what_is_missing(run, here):
    first = run(["norm"], models=2)
    assert origins(first) == ["new"] * 4
    assert first.failed == []
    again = run(["norm"], models=2)
    assert origins(again) == ["cached"] * 4
    assert [r.record for r in again.results] == [r.record for r in first.results]
    more = run(["norm", "distance", "spread"], models=3)
    assert origins(more) == [
        "cached", "cached", "new",  # models
        "cached", "cached", "new",  # norm
        "new", "new", "new",  # pairs
        "new",  # set
    ]  # fmt: skip
    assert leftovers(here) == []


def test_a_result_prints_what_it_holds_in_a_few_lines(run, here):
    lines = str(run(["norm", "distance"], models=3)).splitlines()
    assert lines[0] == "RunResult: 9 cells (9 new)"
    assert lines[1].startswith("  norm: ")
    assert lines[1].endswith(", and 2 more")
    assert lines[3] == f"  store: {here / 'store'}"
    assert len(lines) == 4


def test_the_metrics_see_the_models_they_name(run, here):
    result = run(["norm", "distance", "spread"], models=3)
    store = Store(here / "store")
    weights = {}
    for cell in result.results:
        if cell.planned.label.startswith("norm"):
            arrays = load_file(store.path(cell.planned.digest) / "arrays.safetensors")
            seed = cell.planned.composition["seeds"][0]
            weights[seed] = arrays["norm/weights"]
            assert cell.record.measurements[0].value == pytest.approx(np.linalg.norm(weights[seed]))
    for cell in result.results:
        if cell.planned.label.startswith("distance"):
            one, two = cell.planned.composition["seeds"]
            expected = np.linalg.norm(weights[one] - weights[two])
            assert cell.record.measurements[0].value == pytest.approx(expected)
    spread = np.stack([weights[0], weights[1], weights[2]]).std(0, ddof=1).mean()
    assert result["spread"][0].value == pytest.approx(spread)
    assert result["spread"][0].n == 3


def test_all_pairs_read_each_model_once(run, here):
    result = run(["distance"], models=4)
    assert len(result["distance"]) == 6
    assert calls(here).count("read") == 4


def test_only_the_pairs_that_are_asked_for(run):
    for pairs, expected in {
        "first": [[0, 1]],
        "ring": [[0, 1], [0, 3], [1, 2], [2, 3]],
        "all": [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]],
    }.items():
        result = run(["distance"], models=4, pairs=pairs)
        cells = [r.planned for r in result.results if r.planned.cell.kind == "measure"]
        compared = [planned.composition["seeds"] for planned in cells]
        assert compared == expected
    assert origins(result) == ["cached"] * 4 + [
        "cached",
        "new",
        "cached",
        "cached",
        "new",
        "cached",
    ]
    assert len(run(["distance"], models=2, pairs="ring")["distance"]) == 1


def test_a_lost_model_costs_only_the_pairs_it_is_part_of(run):
    result = run(["distance", "spread"], models=3, architecture="third_fails")
    assert [r.origin for r in result.results[:3]] == ["new", "new", "failed"]
    assert [r.origin for r in result.results[3:]] == ["new", "blocked", "blocked", "blocked"]
    assert result.results[4].message == "not measured: train seed 2 failed"


def test_a_metric_that_raises_costs_only_its_own_cell(run, here):
    (here / "fail").touch()
    for attempt in (1, 2):
        result = run(["norm", "fails", "norm:scale=2"])
        train, norm, fails, double = result.results
        state = "new" if attempt == 1 else "cached"
        assert [train.origin, norm.origin, double.origin] == [state] * 3
        assert fails.origin == "failed"
        assert fails.failure == "code"
        assert fails.message.startswith("ZeroDivisionError: on purpose\n  where: sweep_plugins_")
        assert result.failed == [fails]
        told = Failure.model_validate_json(fails.failure_file.read_bytes())
        assert told.attempt == attempt
        assert told.digest == fails.planned.digest
        assert "on purpose" in told.traceback
        assert "in measure" in told.traceback
    assert calls(here).count("norm") == 2
    (here / "fail").unlink()
    healed = run(["norm", "fails", "norm:scale=2"])
    assert origins(healed) == ["cached", "cached", "new", "cached"]
    assert leftovers(here) == []


def test_a_metric_that_returns_what_it_did_not_declare(run):
    result = run(["undeclared", "norm"])
    train, wrong, norm = result.results
    assert (train.origin, norm.origin) == ("new", "new")
    assert wrong.origin == "failed"
    assert "local/undeclared returned other" in wrong.message
    assert "promised" in wrong.message


def test_the_rest_is_blocked_when_a_model_fails(run):
    train = {"epochs": 1, "batch_size": 1000}
    result = run(["norm", "distance"], models=2, train=train)
    assert origins(result) == ["failed"] * 2 + ["blocked"] * 3
    assert result.results[0].failure == "request"
    assert "larger than the training split" in result.results[0].message
    assert result.results[2].message == "not measured: train seed 0 failed"
    assert len(result.failed) == 5


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_a_damaged_checkpoint_is_trained_again_and_not_used(run, here, keep):
    first = run(["norm"])
    digest = first.results[0].planned.digest
    store = Store(here / "store")
    file = store.path(digest) / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:keep])
    assert origins(run(["norm"])) == ["cached", "cached"], "nothing needs the model"
    second = run(["norm:scale=3"])
    assert origins(second) == ["new", "new"]
    assert file.read_bytes() == whole
    assert second["norm"][0].value == pytest.approx(3 * first["norm"][0].value)
    assert (here / "store" / "broken" / digest / "model.safetensors").read_bytes() == whole[:keep]


def test_a_checkpoint_with_one_other_bit_is_noticed(run, here):
    first = run(["norm"])
    file = Store(here / "store").path(first.results[0].planned.digest) / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    again = run(["norm:scale=3", "norm:scale=4"])
    assert origins(again) == ["new"] * 3
    assert again.results[0].record.checkpoint == first.results[0].record.checkpoint
    assert len(list((here / "store" / "broken").iterdir())) == 1


def test_an_unreadable_record_is_computed_again(run, here):
    first = run(["norm"])
    store = Store(here / "store")
    (store.path(first.results[1].planned.digest) / "record.json").write_text("{")
    again = run(["norm"])
    assert origins(again) == ["cached", "new"]
    assert again["norm"] == first["norm"]


def test_looking_at_what_is_missing_changes_nothing(run, here):
    result = run(["norm"])
    store = Store(here / "store")
    (store.path(result.results[0].planned.digest) / "model.safetensors").write_bytes(b"")
    before = sorted(here.rglob("*"))
    spec = RunSpec(
        task=Named.of("file_task"),
        architecture=Named.of("mlp:width=4,depth=1"),
        train={"epochs": 1, "batch_size": 16},
        metrics=(Named.of("norm:scale=3"),),
    )
    todo = look(make_plan(spec, Catalogue.discover(), here), store).todo
    assert len(todo) == 2
    assert sorted(here.rglob("*")) == before


def test_force_computes_everything_again(run, here):
    first = run(["norm"])
    forced = run(["norm"], force=True)
    assert origins(forced) == ["new", "new"]
    assert calls(here).count("norm") == 2
    assert forced["norm"] == first["norm"]
    old, new = (r.results[0].record for r in (first, forced))
    assert (old.checkpoint, old.digest) == (new.checkpoint, new.digest)
    stored = Store(here / "store").read(new.digest)
    assert stored == new
    assert stored.seconds != old.seconds
    assert leftovers(here) == []


def test_interrupted_training_keeps_what_is_done_and_goes_on(run, here):
    (here / "interrupt").touch()
    with pytest.raises(KeyboardInterrupt):
        run(["norm"], architecture="interrupted", models=3)
    assert leftovers(here) == []
    store = Store(here / "store")
    assert len(list(store.digests())) == 1
    (here / "interrupt").unlink()
    assert origins(run(["norm"], architecture="interrupted", models=3)) == [
        "cached", "new", "new", "new", "new", "new",
    ]  # fmt: skip


def test_interrupted_measuring_keeps_what_is_done_and_goes_on(run, here):
    (here / "interrupt").touch()
    with pytest.raises(KeyboardInterrupt):
        run(["norm", "fails"])
    assert leftovers(here) == []
    (here / "interrupt").unlink()
    assert origins(run(["norm", "fails"])) == ["cached", "cached", "new"]
    assert not (here / "store" / "failures").exists()


def test_other_data_files_are_other_cells_and_their_data_is_read(run, here):
    first = run(["norm", "train_loss"])
    (here / "gray.bin").write_bytes(bytes(range(0, 256, 4)))
    second = run(["norm", "train_loss"])
    assert origins(second) == ["new"] * 3
    sizes = [r.results[0].record.provenance["data"]["sizes"] for r in (first, second)]
    assert sizes == [{"train": 64, "test": 64}, {"train": 32, "test": 32}]
    assert first.results[0].record.provenance["data"]["verified"] is False
    (here / "gray.bin").write_bytes(bytes(range(0, 256, 2)))
    assert origins(run(["norm", "train_loss"])) == ["cached"] * 3


def test_data_that_changes_between_planning_and_training_is_noticed(here):
    from llt_core.interfaces import Job, perform
    from llt_core.sweep.jobs import TRAIN_ENTRY

    spec = RunSpec(task=Named.of("file_task"), architecture=Named.of("mlp"))
    (planned,) = make_plan(spec, Catalogue.discover(), here).trains
    payload = {
        "cells": [
            {
                "digest": planned.digest,
                "cell": planned.cell.model_dump(mode="json"),
                "composition": planned.composition,
            }
        ],
        "store": str(here / "store"),
        "data_root": str(here),
        "compute": {"device": "cpu", "threads": 1},
        "force": False,
        "resume": True,
        "command": "",
        "plugins": {},
    }
    (here / "gray.bin").write_bytes(bytes(range(0, 256, 4)))
    outcome = perform(Job(planned.digest, TRAIN_ENTRY, payload), lambda progress: None)
    assert outcome.failure == "request"
    assert "changed after the cell was planned" in outcome.message
    assert list(Store(here / "store").digests()) == []


def test_missing_data_is_told_before_anything_starts(here, run):
    plan_first = run(["norm"])
    assert plan_first.failed == []
    (here / "gray.bin").unlink()
    with pytest.raises(DataError, match=r"gray\.bin"):
        run(["norm"], seed=9)


def test_a_store_that_cannot_be_written_is_told_before_anything_starts(run, here):
    Store(here / "store")
    (here / "store" / "tmp").write_text("in the way")
    with pytest.raises(LltError, match="cannot write to the store"):
        run(["norm"])
    assert calls(here) == []


def test_what_dead_processes_left_is_cleared(run, here):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    store = Store(here / "store")
    with store.staging("x") as mine:
        place = mine.name.split(".")[1]
    left = here / "store" / "tmp" / f"abc.{place}.{dead.pid}-17.xyz"
    left.mkdir()
    run(["norm"])
    assert leftovers(here) == []


def test_what_a_finished_training_left_is_cleared_unless_somebody_is_at_it(run, here):
    """It was killed between storing its model and forgetting its checkpoint."""
    digest = run(["norm"]).results[0].planned.digest
    file = here / "store" / "partial" / digest / "state.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"left")
    held = here / "store" / "claims" / digest
    held.mkdir(parents=True)
    run(["norm"])
    assert file.exists()
    held.rmdir()
    run(["norm"])
    assert not file.parent.exists()


def estimate(todo, past, *store, **size):
    return Estimate.total(guess(todo, past, *store, **size).values())


def test_estimates_come_from_cells_like_these(run, here):
    def plan(**train):
        spec = RunSpec(
            task=Named.of("file_task"),
            architecture=Named.of("mlp:width=4,depth=1"),
            train={"batch_size": 16, **train},
            metrics=(Named.of("norm"),),
            models=3,
            seed=10,
        )
        return make_plan(spec, Catalogue.discover(), here)

    store = Store(here / "store")
    first = plan(epochs=40)
    nothing = estimate(first.cells, ())
    assert (nothing.seconds, nothing.unknown) == (0.0, 6)
    run(["norm"], train={"epochs": 20, "batch_size": 16})
    past = list(records(store))
    known = estimate(first.cells, past, store)
    assert (known.unknown, known.unsized) == (0, 0)
    by_shape = estimate(first.cells, past, size=model_bytes)
    assert 0 < known.checkpoint_bytes - by_shape.checkpoint_bytes < 3 * 2000
    assert estimate(first.cells, past).unsized == 3
    truth = {r.cell.kind: r.seconds for r in past}
    assert known.seconds == pytest.approx(3 * (2 * truth["train"] + truth["measure"]))
    result = run(["norm"], train={"epochs": 40, "batch_size": 16}, models=3, seed=10)
    spent = sum(record.seconds for record in result.records)
    assert spent / 6 < known.seconds < spent * 6
    files = [store.path(r.planned.digest) / "model.safetensors" for r in result.results[:3]]
    size = sum(file.stat().st_size for file in files)
    assert known.checkpoint_bytes == size
    other = plan(epochs=40, batch_size=8)
    guessed = estimate(other.cells, past, store)
    assert guessed.seconds == pytest.approx(known.seconds), "one batch size tells of no other"


@pytest.mark.parametrize("stop", [{"max_steps": 4}, {"stop_at_loss": 100.0}])
def test_estimates_know_that_training_ends_early(run, here, stop):
    def cells(**train):
        spec = RunSpec(
            task=Named.of("file_task"),
            architecture=Named.of("mlp:width=4,depth=1"),
            train={"epochs": 20, "batch_size": 16, **train},
            seed=10,
        )
        return make_plan(spec, Catalogue.discover(), here).cells

    run(train={"epochs": 20, "batch_size": 16, **stop})
    past = list(records(Store(here / "store")))
    (seconds,) = {record.seconds for record in past}
    assert len(past[0].history) == 1
    assert estimate(cells(**stop), past).seconds == pytest.approx(seconds)
    assert estimate(cells(), past).seconds == pytest.approx(20 * seconds)
    if "max_steps" in stop:  # at another batch size, as many steps are other epochs
        half = estimate(cells(**stop, batch_size=8), past).seconds
        assert half == pytest.approx(20 * seconds)


OBSERVER = """
from llt_core.plugins import hookimpl

heard = []

@hookimpl
def llt_manifest():
    return []

@hookimpl
def llt_provenance():
    return {"room": "next door"}

@hookimpl
def llt_cell_started(digest, kind):
    heard.append(("started", kind))
    raise RuntimeError("I never listen")

@hookimpl
def llt_cell_finished(digest, kind, record):
    heard.append(("finished", kind))
    record["composition"].clear()

@hookimpl
def llt_cell_failed(digest, failure):
    heard.append(("failed", failure["kind"]))

@hookimpl
def llt_sweep_finished(summary):
    heard.append(("sweep", summary["cells"]))
"""


def test_observers_hear_and_their_errors_cost_nothing(run, here, monkeypatch):
    library = here / "library"
    info = library / "llt_nosy-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: llt-nosy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[llt]\nnosy = nosy_observer\n")
    (library / "nosy_observer.py").write_text(OBSERVER)
    monkeypatch.syspath_prepend(str(library))
    (here / "fail").touch()
    result = run(["norm", "fails"])
    assert origins(result) == ["new", "new", "failed"]
    import nosy_observer

    assert nosy_observer.heard == [
        ("started", "train"),
        ("finished", "train"),
        ("started", "measure"),
        ("started", "measure"),
        ("finished", "measure"),
        ("failed", "code"),
        ("sweep", {"new": 2, "failed": 1}),
    ]
    assert result.observer_errors
    assert {(package, hook) for package, hook, _ in result.observer_errors} == {
        ("llt-nosy", "llt_cell_started")
    }
    assert "I never listen" in result.observer_errors[0][2]
    stored = Store(here / "store").read(result.results[0].planned.digest)
    assert stored.composition["task"]["name"] == "local/file_task"
    assert stored.provenance["plugins"]["llt-nosy"] == {"room": "next door"}


LIGHT = """
import sys
import llt_core
result = llt_core.run(
    "digits", ["test_accuracy"], architecture="mlp:width=4,depth=1", train={"epochs": 1},
    store=sys.argv[1], compute={"threads": 1},
)
print([r.origin for r in result.results], result["test_accuracy"][0].n)
print(sorted({"torch", "torchvision", "pandas", "sklearn", "scipy"} & set(sys.modules)))
"""


def test_answering_from_the_store_imports_no_torch(tmp_path):
    def ask():
        return subprocess.run(
            [sys.executable, "-c", LIGHT, str(tmp_path / "store")],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "LLT_PLUGINS": "off"},
        ).stdout.splitlines()

    assert ask()[0] == "['new', 'new'] 360"
    assert ask() == ["['cached', 'cached'] 360", "[]"]


def test_results_by_name_and_as_a_table(run):
    result = run(["norm", "distance"], models=2)
    assert len(result["norm"]) == 2
    with pytest.raises(KeyError, match="'nrom' was not measured; there are distance, norm"):
        result["nrom"]
    frame = result.to_pandas()
    assert list(frame["name"]) == ["norm", "norm", "distance"]
    assert list(frame["seeds"]) == ["0", "1", "0+1"]
    assert frame["metric.scale"].tolist()[:2] == [1.0, 1.0]
