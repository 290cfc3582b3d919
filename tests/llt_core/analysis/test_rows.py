"""Long tables: rows that become cells."""

import itertools
import math
import random
from statistics import stdev

import numpy as np
import pytest

from llt_core.analysis.long import LongTable, by_columns
from llt_core.analysis.means import jackknife
from llt_core.analysis.rows import cells_of, find_axes


def row(width, batch, name, value, seeds="0", **more):
    return {
        "architecture.width": width, "train.batch_size": batch, "seeds": seeds, "name": name,
        "value": value, "standard_error": 0.5, "unit": "nats", "status": "ok",
    } | more  # fmt: skip


def gathered(rows, **keys):
    return cells_of(LongTable.of(by_columns(rows)), "t", **keys)


def test_means_and_errors_over_models_and_pairs():
    rows = [row(2, 16, "train_loss", v, str(seed)) for seed, v in enumerate([1.0, 2.0, 6.0])]
    rows += [row(2, 16, "cka", v, s) for s, v in (("0+1", 0.5), ("0+2", 0.7), ("1+2", 0.9))]
    rows += [row(4, 16, "train_loss", 3.0)]
    table = gathered(rows, axes=["architecture.width"], kinds={"architecture.width": "load"})
    loss, cka = table.column("train_loss"), table.column("cka")
    np.testing.assert_allclose(loss.values, [3, 3])
    assert loss.standard_errors[0] == pytest.approx(stdev([1, 2, 6]) / math.sqrt(3))
    assert math.isnan(loss.standard_errors[1]), "one model does not say how models differ"
    # Each model left out leaves one pair: the jackknife of three means.
    means = [0.9, 0.7, 0.5]
    expected = math.sqrt(2 / 3 * sum((m - 0.7) ** 2 for m in means))
    assert cka.standard_errors[0] == pytest.approx(expected)
    assert [sample.models for sample in cka.samples[0]] == [(0, 1), (0, 2), (1, 2)]
    assert cka.reasons == ("", "not in the table")
    assert (table.axes[0].kind, list(table.models)) == ("load", [3, 1])


def test_axes_are_found_and_what_follows_from_them_is_none():
    rows = [
        row(w, b, "train_loss", 1.0, **{"train.epochs": 100 // b, "task": "digits"})
        for w in (1, 2)
        for b in (5, 10)
    ]
    assert find_axes(LongTable.of(by_columns(rows))) == ["architecture.width", "train.batch_size"]
    table = gathered(rows)
    assert table.facts == {"task": "digits"}
    assert len(table) == 4


def test_the_order_of_the_rows_does_not_matter():
    rows = [
        row(w, b, name, w * 10.0 + b + s, str(s))
        for w in (1, 2, 10)
        for b in (5, 16)
        for s in (0, 1)
        for name in ("train_loss", "test_loss")
    ]
    table = gathered(rows)
    random.Random(0).shuffle(rows)
    again = gathered(rows)
    assert [axis.name for axis in again.axes] == [axis.name for axis in table.axes]
    assert table.axes == again.axes
    for name, column in table.columns.items():
        np.testing.assert_allclose(column.values, again.column(name).values)


def test_a_shared_measurement_counts_in_every_cell_it_agrees_with():
    rows = [row(1, b, "train_loss", float(b)) for b in (5, 10)]
    rows.append(row(1, None, "weights", 7.0))
    table = gathered(rows, axes=["architecture.width", "train.batch_size"])
    assert list(table.column("weights").values) == [7, 7]
    assert len(table) == 2


def test_one_quantity_with_other_parameters_is_another_column():
    rows = [
        row(1, 5, "sharpness", r, **{"metric.radius": r, "metric.steps": 3}) for r in (0.1, 0.5)
    ]
    table = gathered(rows)
    assert sorted(table.columns) == ["sharpness(radius=0.1)", "sharpness(radius=0.5)"]


def test_why_a_value_is_missing():
    rows = [row(1, 5, "cka", None, "0+1", status="undefined"), row(2, 5, "train_loss", 1.0)]
    cells = {(1,): "waiting (2)", (2,): "failed (1)", (3,): "waiting (4)"}
    table = gathered(rows, axes=["architecture.width"], cells=cells)
    assert table.column("cka").reasons == ("undefined", "failed (1)", "waiting (4)")
    assert table.column("train_loss").reasons == ("waiting (2)", "", "waiting (4)")


def scattered(rng):
    """Make rows of up to 12 cells: some models missing, values that are none, shared axes."""
    widths = rng.sample([1, 2, 0.5, "wide"], rng.randint(1, 4))
    for width, batch in itertools.product(widths, rng.sample([16, 32, 64], rng.randint(1, 3))):
        seeds = rng.sample(["0", "1", "2", "10", "x"], rng.randint(1, 4))
        reads = {
            "loss": seeds,
            "cka": ["+".join(pair) for pair in itertools.combinations(seeds, 2)],
            "bleu": [None],
            "odd": [None, "", *seeds],
            "ensemble": ["+".join(seeds), *seeds[1:]],
        }
        for name, seed in [(n, s) for n, held in reads.items() for s in held]:
            if rng.random() < 0.2:
                continue
            values = [rng.gauss(3, 1), rng.gauss(3, 1), 2.0, None, math.inf]
            found = row(width, batch, name, rng.choice(values), seed)
            found |= {"architecture.depth": 3, "n": rng.choice([None, 0, 4])}
            found |= {"status": rng.choice(["ok", "undefined", None])}
            if rng.random() < 0.1:
                found[rng.choice(["architecture.width", "train.batch_size"])] = None
            if rng.random() < 0.2:
                found["reason"] = rng.choice(["diverged", "lost"])
            yield found


@pytest.mark.parametrize("seed", range(60))
def test_each_cell_is_gathered_as_if_it_were_alone(seed):
    """By the definition: the rows that agree with the cell, one cell and quantity at a time."""
    rng = random.Random(seed)
    rows = list(scattered(rng))
    rng.shuffle(rows)
    axes = ["architecture.width", "train.batch_size"]
    levels = [{r[axis] for r in rows if r[axis] is not None} | {99} for axis in axes]
    cells = {key: f"missing {key}" for key in itertools.product(*levels) if rng.random() < 0.9}
    table = gathered(rows, axes=axes, cells=cells)
    assert list(zip(*(axis.values for axis in table.axes), strict=True)) == list(cells)
    assert list(table.columns) == list(dict.fromkeys(r["name"] for r in rows))
    assert table.facts == {"architecture.depth": 3}
    for place, (key, missing) in enumerate(cells.items()):
        near = [r for r in rows if all(r[a] in (None, k) for a, k in zip(axes, key, strict=True))]
        there = [r for r in near if r["value"] is not None and math.isfinite(r["value"])]
        models = {m for r in there for m in (r["seeds"] or "").split("+")} - {""}
        models = sorted(models, key=lambda m: (m == "x", float(m.replace("x", "0"))))
        assert table.models[place] == len(models)
        for name, column in table.columns.items():
            mine = [r for r in there if r["name"] == name]
            reads = [tuple((r["seeds"] or "").split("+")) if r["seeds"] else () for r in mine]
            samples = [
                (tuple(map(models.index, read)), r["value"])
                for read, r in zip(reads, mine, strict=True)
            ]
            assert sorted(column.samples[place]) == sorted(samples)
            assert column.n[place] == sum(
                1 if read or r["n"] is None else r["n"] for read, r in zip(reads, mine, strict=True)
            )
            mean, error = math.nan, math.nan
            if mine:
                mean = math.fsum(r["value"] for r in mine) / len(mine)
                error = jackknife(samples)
            if () in reads:
                error = 0.5 if len(mine) == 1 else math.nan
            assert column.values[place] == pytest.approx(mean, rel=1e-14, nan_ok=True)
            error = math.nan if error is None else error
            assert column.standard_errors[place] == pytest.approx(error, rel=1e-10, nan_ok=True)
            lost = [
                r.get("reason") or r["status"] or "not_finite" for r in near if r["name"] == name
            ]
            told = ", ".join(dict.fromkeys(lost)) or missing
            assert column.reasons[place] == ("" if mine else told)


def test_a_mean_of_close_values_keeps_its_last_digits():
    values = [1e9 + 1e-6 * step for step in (1, 2, 4, 8)]
    table = gathered([row(1, 5, "loss", value, str(i)) for i, value in enumerate(values)])
    loss = table.column("loss")
    assert loss.values[0] == math.fsum(values) / 4
    assert loss.standard_errors[0] == pytest.approx(stdev(values) / 2, rel=1e-12)


def test_many_parameters_and_no_rows():
    assert len(gathered([])) == 0
    rows = [row(w, 5, "a", 1.0, **{f"metric.{w % 3}": 1, "metric.same": 2}) for w in range(6)]
    rows += [row(w, 5, "b", 1.0) for w in range(6)]
    table = gathered(rows)
    assert list(table.columns) == ["a(0=1)", "a(1=1)", "a(2=1)", "b"]
    assert np.isfinite(table.column("a(1=1)").values).tolist() == [False, True, False] * 2
