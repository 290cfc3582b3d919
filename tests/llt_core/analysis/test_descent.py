"""Double descent on curves of which the truth is known, and how often it is a false alarm."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from llt_core.analysis import Axis, CellTable, Column
from llt_core.analysis.descent import peaks
from llt_core.analysis.lines import lines_along

tables = runpy.run_path(str(Path(__file__).parent / "phase_tables.py"))
LEVEL = 0.05


def lines(errors, spread=None, models=5, rng=None, **more):
    """Make a table of lines of test errors (lines, n), measured with ``models`` a cell."""
    rng = rng or np.random.default_rng(0)
    many, n = errors.shape
    height, width = (axis.ravel() for axis in np.meshgrid(range(many), range(n), indexing="ij"))
    axes = (
        Axis("architecture.width", tuple(int(2**w) for w in width), "load"),
        Axis("line", tuple(int(h) for h in height)),
    )
    found, standard = errors.ravel(), np.empty(0)
    if spread is not None:
        draws = found[:, None] + np.broadcast_to(spread, (many, n)).ravel()[:, None] * (
            rng.normal(size=(many * n, models))
        )
        found, standard = draws.mean(1), draws.std(1, ddof=1) / np.sqrt(models)
    counts = np.full(many * n, models)
    columns = {"test_accuracy": Column("test_accuracy", 100 - found, "percent", standard, counts)}
    columns |= {name: Column(name, np.asarray(v, float).ravel()) for name, v in more.items()}
    return CellTable("lines", axes, columns)


def test_a_peak_is_where_it_was_put():
    error = np.array([[40.0, 30, 25, 28, 36, 30, 20, 15, 14]])
    trace = np.exp([[8.0, 8, 7.8, 7.5, 7, 4, 3.5, 3, 3]])
    table = lines(error, spread=1.0, hessian_trace=trace)
    (peak,) = peaks(table, table.axis("width"))
    assert (peak.line, peak.n, peak.at, peak.place) == ("line=0", 9, 16, 4)
    assert peak.height == pytest.approx(11, abs=2.5)
    assert peak.relative_height == pytest.approx(11 / 25, abs=0.1)
    assert peak.p < 0.001
    assert peak.significant
    assert (peak.hessian_at, peak.hessian_place, peak.distance) == (24, 4.5, 0.5)
    assert peaks(table, table.axis("line")) == []  # one cell a line


def test_without_errors_the_height_decides():
    error = np.array([[40.0, 30, 25, 26, 24, 20, 15], [40, 30, 25, 30, 24, 20, 15]])
    table = lines(error)
    low, high = peaks(table, table.axis("width"))
    assert (low.relative_height, high.relative_height) == (pytest.approx(0.04), pytest.approx(0.2))
    assert (low.significant, high.significant) == (False, True)
    assert np.isnan([low.p, high.adjusted_p]).all()
    assert np.isnan(low.hessian_at)
    assert peaks(table, table.axis("width"), relative_height=0.03)[0].significant


def test_what_is_monotone_has_no_peak():
    table = lines(np.array([np.linspace(50, 10, 9), np.linspace(10, 50, 9), np.full(9, 30.0)]))
    for peak in peaks(table, table.axis("width")):
        assert not peak.significant
        assert np.isnan(peak.at)
        assert peak.height == 0


@pytest.mark.parametrize("models", [3, 5])
@pytest.mark.parametrize(
    "curve",
    [
        np.full(13, 30.0),
        np.linspace(50, 10, 13),
        # The worst for a rise that is followed by a fall: flat, and then down.
        np.r_[np.full(12, 30.0), 5.0],
        np.r_[5.0, np.full(12, 30.0)],
    ],
    ids=["flat", "slope", "cliff", "wall"],
)
def test_false_alarms_are_no_more_than_stated(curve, models):
    """On 1,500 monotone noisy lines: for single lines, and for families of ten."""
    rng = np.random.default_rng(5)
    # Noisier at one end, as hot cells are.
    spread = np.linspace(0.5, 1.5, 13)
    table = lines(np.tile(curve, (1500, 1)), spread, models, rng)
    found = peaks(table, table.axis("width"), level=LEVEL)
    rate = np.mean([peak.p <= LEVEL for peak in found])
    # A binomial share of a true 5 % among 1,500 is below 6.2 % with 98 % probability.
    assert rate <= 0.062
    # Of ten lines the best p is multiplied by ten.
    best = np.array([peak.p for peak in found]).reshape(-1, 10).min(axis=1)
    families = 10 * best <= LEVEL
    assert np.mean(families) <= 0.1


def test_real_peaks_are_found():
    rng = np.random.default_rng(6)
    x = np.arange(13)
    curve = 40 * np.exp(-x / 1.5) + 10 + 6 * np.exp(-(((x - 7) / 1.5) ** 2))
    table = lines(np.tile(curve, (200, 1)), 1.0, 5, rng)
    found = peaks(table, table.axis("width"))
    power = np.mean([peak.p <= LEVEL for peak in found])
    assert power > 0.95
    places = [peak.place for peak in found if peak.p <= LEVEL]
    assert np.mean(np.abs(np.array(places) - 7) <= 1) > 0.95


def test_many_lines_are_corrected_for():
    rng = np.random.default_rng(7)
    table = lines(np.r_[[[40.0, 30, 20, 30, 40, 25, 15]], np.tile(30.0, (9, 7))], 1.0, 5, rng)
    found = peaks(table, table.axis("width"))
    best, *others = sorted(found, key=lambda peak: peak.p)
    assert best.line == "line=0"
    assert best.adjusted_p == pytest.approx(10 * best.p)
    assert [peak.significant for peak in (best, *others)] == [True] + [False] * 9
    assert all(peak.adjusted_p >= peak.p for peak in found)


def test_missing_cells_and_short_lines():
    error = np.array([[40.0, 30, np.nan, 25, 36, 30, 20], [np.nan, np.nan, np.nan, 3, 9, 1, 1]])
    table = lines(error)
    (peak,) = peaks(table, table.axis("width"))
    assert (peak.n, peak.at, peak.place) == (6, 16, 3)


def test_lines_differ_in_one_axis_alone():
    table = tables["by_hand"](
        {"a": [4, 1, 2, 1, 2, None, "x"], "b": [1, 1, 1, 2, 2, 1, 1], "c": [0.5] * 7},
        test_accuracy=[1, 2, 3, 4, 5, 6, 7],
    )
    first, second = lines_along(table, table.axis("a"))
    assert (first.label, first.rows.tolist(), first.at.tolist()) == (
        "b=1, c=0.5",
        [1, 2, 0],
        [1, 2, 4],
    )
    assert second.rows.tolist() == [3, 4]
    # Two cells at one place: no line says what happens along it.
    assert list(lines_along(replace(table, axes=table.axes[:1]), table.axes[0])) == []


def test_the_jump_is_counted_in_the_cells_of_the_peak():
    accuracy = np.array([50.0, 60, np.nan, np.nan, 40, 70, 80])
    trace = np.array([1.0, 1, 1, 1, 1, 100, 100])
    held = {"test_accuracy": accuracy, "hessian_trace": trace}
    columns = {name: Column(name, values) for name, values in held.items()}
    table = CellTable("t", (Axis("width", tuple(range(7))),), columns)
    (peak,) = peaks(table, table.axes[0])
    assert (peak.at, peak.hessian_at) == (4, 4.5)
    assert peak.distance == 0.5  # two cells without an accuracy are no steps
