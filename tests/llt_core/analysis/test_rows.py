"""Long tables: rows that become cells."""

import math
import random
from statistics import stdev

import numpy as np
import pytest

from llt_core.analysis.rows import cells_of, find_axes


def row(width, batch, name, value, seeds="0", **more):
    return {
        "architecture.width": width, "train.batch_size": batch, "seeds": seeds, "name": name,
        "value": value, "standard_error": 0.5, "unit": "nats", "status": "ok",
    } | more  # fmt: skip


def test_means_and_errors_over_models_and_pairs():
    rows = [row(2, 16, "train_loss", v, str(seed)) for seed, v in enumerate([1.0, 2.0, 6.0])]
    rows += [row(2, 16, "cka", v, s) for s, v in (("0+1", 0.5), ("0+2", 0.7), ("1+2", 0.9))]
    rows += [row(4, 16, "train_loss", 3.0)]
    table = cells_of(rows, "t", axes=["architecture.width"], kinds={"architecture.width": "load"})
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
    assert find_axes(rows) == ["architecture.width", "train.batch_size"]
    table = cells_of(rows, "t")
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
    table = cells_of(rows, "t")
    random.Random(0).shuffle(rows)
    again = cells_of(rows, "t")
    assert [axis.name for axis in again.axes] == [axis.name for axis in table.axes]
    assert table.axes == again.axes
    for name, column in table.columns.items():
        np.testing.assert_allclose(column.values, again.column(name).values)


def test_a_shared_measurement_counts_in_every_cell_it_agrees_with():
    rows = [row(1, b, "train_loss", float(b)) for b in (5, 10)]
    rows.append(row(1, None, "weights", 7.0))
    table = cells_of(rows, "t", axes=["architecture.width", "train.batch_size"])
    assert list(table.column("weights").values) == [7, 7]
    assert len(table) == 2


def test_one_quantity_with_other_parameters_is_another_column():
    rows = [
        row(1, 5, "sharpness", r, **{"metric.radius": r, "metric.steps": 3}) for r in (0.1, 0.5)
    ]
    table = cells_of(rows, "t")
    assert sorted(table.columns) == ["sharpness(radius=0.1)", "sharpness(radius=0.5)"]


def test_why_a_value_is_missing():
    rows = [row(1, 5, "cka", None, "0+1", status="undefined"), row(2, 5, "train_loss", 1.0)]
    cells = {(1,): "waiting (2)", (2,): "failed (1)", (3,): "waiting (4)"}
    table = cells_of(rows, "t", axes=["architecture.width"], cells=cells)
    assert table.column("cka").reasons == ("undefined", "failed (1)", "waiting (4)")
    assert table.column("train_loss").reasons == ("waiting (2)", "", "waiting (4)")
