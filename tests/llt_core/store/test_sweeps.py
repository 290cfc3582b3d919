"""What a store remembers of sweeps, and how that is read back."""

import pytest

from llt_core.errors import LltError
from llt_core.spec import digest
from llt_core.store import Store
from llt_core.store.sweeps import (
    SweepPoint,
    SweepRecord,
    names,
    recall,
    remember,
    sweep_rows,
)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def sweep(name="one", points=(), **fields):
    facts = {"planned": "2026-01-01T00:00:00+00:00", "fields": ("a", "b"), "spec": {"k": [1]}}
    return SweepRecord(name=name, points=points, **{**facts, **fields})


def test_what_is_written_is_read(store):
    one = sweep(points=(SweepPoint(values={"a": 1, "b": "x"}, models=("m",), measures=("p", "q")),))
    remember(store, one)
    assert recall(store, "one") == one
    assert names(store) == ["one"]
    assert [path.name for path in (store.root / "sweeps").iterdir()] == ["one.json"]


def test_the_same_again_is_not_written_and_another_replaces_it(store):
    remember(store, sweep())
    file = store.root / "sweeps" / "one.json"
    file.chmod(0o444)
    before = file.stat().st_mtime_ns
    remember(store, sweep(planned="2030-01-01T00:00:00+00:00", command="again"))
    assert file.stat().st_mtime_ns == before
    assert recall(store, "one").planned.startswith("2026")
    remember(store, sweep(title="new"))
    assert recall(store, "one").title == "new"


def test_unknown_and_damaged_files_are_told(store):
    with pytest.raises(LltError, match="knows no sweep 'one'") as caught:
        recall(store, "one")
    assert "none so far" in caught.value.expected
    remember(store, sweep("other"))
    with pytest.raises(LltError) as caught:
        recall(store, "one")
    assert "other" in caught.value.expected
    (store.root / "sweeps" / "one.json").write_text("{")
    with pytest.raises(LltError, match="cannot be read") as caught:
        recall(store, "one")
    assert "one.json" in caught.value.where
    remember(store, sweep())
    assert recall(store, "one") == sweep()


def test_a_store_that_cannot_be_written_is_told(store):
    (store.root / "sweeps").write_text("in the way")
    with pytest.raises(LltError, match="cannot write to the store"):
        remember(store, sweep())


def test_models_and_measures_once_each():
    points = (
        SweepPoint(values={}, models=("m", "n"), measures=("p",)),
        SweepPoint(values={}, models=("n", "o"), measures=("p", "q")),
    )
    one = sweep(points=points)
    assert one.models == ("m", "n", "o")
    assert one.measures == ("p", "q")


def test_rows_come_by_point_with_the_varied_fields_first(record):
    records = [record(seed) for seed in range(4)]
    assert len({digest(r.cell) for r in records}) == 4
    order = [records[2].digest, records[0].digest]
    points = (
        SweepPoint(values={"x": 1, "train.milestones": [0.5]}, models=(), measures=(order[0],)),
        SweepPoint(values={"x": 2, "train.milestones": [0.5]}, models=(), measures=order),
    )
    found = sweep_rows(sweep(points=points, fields=("x", "train.milestones")), records)
    assert [row["digest"] for row in found] == order
    assert [list(row)[:2] for row in found] == [["x", "train.milestones"]] * 2
    assert [row["x"] for row in found] == [None, 2], "the first is the same at both points"
    assert found[0]["train.milestones"] == "0.5", "what the sweep says goes first"
    one = SweepPoint(values={"architecture": "mlp:width=4"}, models=(), measures=(order[0],))
    two = SweepPoint(values={"architecture": {"name": "mlp"}}, models=(), measures=(order[1],))
    found = sweep_rows(sweep(points=(one, two), fields=("architecture",)), records)
    assert [row["architecture"] for row in found] == ["mlp:width=4", '{"name": "mlp"}']
