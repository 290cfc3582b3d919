"""Curves, spectra and histories: what stays of them within a budget."""

import json

import numpy as np
import pytest

from llt_core.analysis import Axis, CellTable, Column
from llt_core.report.page.details import Details, _within, split_curves
from llt_core.report.page.drawings import Drawn, Series


def drawn(points, group="curve"):
    x = np.linspace(0, 1, points)
    return Drawn(group, "line", "Error", "t", "percent", series=(Series("train", x, x**2 * 100),))


def test_a_thinned_line_keeps_its_ends_and_values():
    (series,) = drawn(1001).thinned(11)["series"]
    assert series["x"] == [round(k / 10, 1) if k % 10 else k // 10 for k in range(11)]
    assert series["y"][0] == 0
    assert series["y"][-1] == 100
    assert series["y"][5] == 25


def test_missing_points_are_null_and_digits_four():
    series = Series("a", np.array([0.0, 1.0, 2.0]), np.array([1 / 3, np.nan, np.inf]))
    (found,) = Drawn("curve", "line", "T", "x", "y", series=(series,)).thinned(60)["series"]
    assert found["y"] == [0.3333, None, None]


@pytest.mark.parametrize("budget", [10**9, 400_000, 60_000, 9_000])
def test_figures_keep_to_the_budget_and_say_what_is_missing(budget):
    cells = {row: [drawn(200) for _ in range(6)] for row in range(100)}
    figures, notes = _within(cells, 100, budget)
    size = len(json.dumps(figures, separators=(",", ":")))
    assert size <= budget * 1.05
    shown = sum(map(len, figures))
    assert bool(notes) == (shown < 600)
    if shown < 600:
        assert notes[0].startswith(f"{600 - shown} of 600 figures")


def test_columns_of_a_curve_become_a_figure():
    heads = {f"curve_error_t{t:.2f}": 10 * t for t in (1.0, 0.0, 0.5)}
    columns = {
        name: Column(name, np.array([value, np.nan]), "percent") for name, value in heads.items()
    }
    columns["cka"] = Column("cka", np.array([0.5, 0.6]))
    table, details = split_curves(CellTable("t", (Axis("width", (1, 2)),), columns), Details())
    assert list(table.columns) == ["cka"]
    ((figure,), nothing) = details.figures
    assert figure["series"][0]["x"] == [0, 0.5, 1]
    assert figure["series"][0]["y"] == [0, 5, 10]
    assert nothing == ()


def test_two_points_are_no_curve():
    columns = {f"a_t{t}": Column(f"a_t{t}", np.array([1.0])) for t in (0, 1)}
    table = CellTable("t", (Axis("width", (1,)),), columns)
    assert split_curves(table, Details()) == (table, Details())
