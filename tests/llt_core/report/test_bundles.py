"""Lines of many cells: curves of imported tables, and what a store holds of a sweep."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from llt_core.analysis import Axis, CellTable, Column
from llt_core.errors import RequestError
from llt_core.report.bundles import bundle_figure
from llt_core.report.captions import Source
from llt_core.report.grids import Plane
from llt_core.report.strands import (
    Bundle,
    Strand,
    seeds_of_sweep,
    strands_of_columns,
    strands_of_sweep,
)
from llt_core.store.sweeps import SweepPoint, SweepRecord, remember

kit = runpy.run_path(str(Path(__file__).with_name("tables.py")))
published = kit["published"]


def segments(axes):
    (lines,) = [c for c in axes.collections if isinstance(c, LineCollection)]
    return lines.get_segments()


@pytest.mark.skipif(not kit["PUBLISHED"].is_dir(), reason="no published tables")
def test_the_published_curves_are_drawn_by_batch_size():
    table, lines = published("lr_decay")
    plane = Plane.of(table)
    figure = bundle_figure(Source(table), strands_of_columns(table), plane.x, plane.y)
    panels = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    assert len(panels) == 13
    expected = sorted(
        [[t, line[f"curve_tr_err_t{t:.2f}"]] for t in (0, 0.25, 0.5, 0.75, 1)]
        for line in lines
        if line["batch_size"] == 64
    )
    drawn = sorted(segment.tolist() for segment in segments(panels["batch size 64"]))
    assert drawn == expected
    assert "n = 91 lines" in figure.get_suptitle()


@pytest.fixture
def swept(store, trained):
    """A sweep of two cells over the width, each with one model, in a store; and its table."""
    digests = []
    for losses in ((2.0, 1.0), (3.0, 1.5, 0.5)):
        digests.append(trained(losses=losses, rates=(0.1,) * len(losses)).record.digest)
    return store, digests


def test_histories_are_those_of_the_models_of_each_cell(swept):
    store, digests = swept
    points = tuple(
        SweepPoint(values={"architecture.width": width}, models=(digest,), measures=())
        for width, digest in zip((2, 4), digests, strict=True)
    )
    remember(
        store,
        SweepRecord(name="s", planned="", fields=("architecture.width",), spec={}, points=points),
    )
    table = CellTable("s", (Axis("architecture.width", (4, 2)),), {})
    bundle = strands_of_sweep(store, table, "histories")
    last = store.read(digests[1])
    (of_four,) = [s for s in bundle.strands if s.row == 0]
    np.testing.assert_allclose(of_four.y, [epoch.train_loss for epoch in last.history])
    assert seeds_of_sweep(store, "s") == (5,)
    plane = Plane.of(table)
    figure = bundle_figure(Source(table, (5,)), bundle, plane.x, plane.y)
    assert len(segments(figure.axes[0])) == 2
    assert "seed" in figure.get_suptitle()
    part = table.select(np.array([True, False]))
    assert {s.row for s in strands_of_sweep(store, part, "histories").strands} == {0}
    with pytest.raises(RequestError, match="no spectra"):
        strands_of_sweep(store, table, "spectra")


def test_many_panels_are_thinned_and_that_is_said():
    batches = tuple(range(1, 41))
    table = CellTable(
        "t", (Axis("architecture.width", (2,) * 40), Axis("train.batch_size", batches)), {}
    )
    line = np.arange(3.0)
    bundle = Bundle("lines", tuple(Strand(row, line, line) for row in range(40)), "x", "y", "cell")
    plane = Plane.of(table, "width", "batch_size")
    figure = bundle_figure(Source(table), bundle, plane.x, plane.y)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert (len(titles), titles[0], titles[-1]) == (16, "batch size 1", "batch size 40")
    assert "16 of 40 values of batch size are drawn" in " ".join(figure.get_suptitle().split())


@pytest.mark.parametrize(("reach", "shared"), [(300.0, False), (3.0, True)])
def test_panels_of_very_different_ranges_have_their_own(reach, shared):
    """Spectra of a sharp and of a flat model."""
    axes = (Axis("architecture.width", (2, 2)), Axis("train.batch_size", (16, 64)))
    lines = tuple(
        Strand(row, np.linspace(-0.1, 1, 50) * most, np.linspace(1, 2, 50))
        for row, most in enumerate((reach, 1.0))
    )
    bundle = Bundle("spectra", lines, "eigenvalue", "density", "model", y_log=True)
    table = CellTable("t", axes, {})
    plane = Plane.of(table, "width", "batch_size")
    figure = bundle_figure(Source(table), bundle, plane.x, plane.y)
    first, second = figure.axes[:2]
    assert (first.get_xlim() == second.get_xlim()) == shared
    assert first.get_ylim() == second.get_ylim()
    said = "each panel has its own range of eigenvalue" in figure.get_suptitle().replace("\n", " ")
    assert said != shared
    for panel, line in ((first, lines[0]), (second, lines[1])):
        low, high = panel.get_xlim()
        assert low <= line.x.min() < line.x.max() <= high
        assert shared or high - low < 1.2 * np.ptp(line.x)


def test_a_logarithmic_axis_cuts_off_no_more_than_it_would_of_one_panel():
    axes = (Axis("architecture.width", (2, 2)), Axis("train.batch_size", (16, 64)))
    heights = np.array([1.0, 1e-7, 1e-20])
    lines = tuple(Strand(row, np.arange(3.0), heights * most) for row, most in enumerate((1, 1e-4)))
    bundle = Bundle("spectra", lines, "eigenvalue", "density", "model", y_log=True)
    plane = Plane.of(CellTable("t", axes, {}), "width", "batch_size")
    figure = bundle_figure(Source(CellTable("t", axes, {})), bundle, plane.x, plane.y)
    low, high = figure.axes[0].get_ylim()
    assert 1e-4 * 1e-9 < low < 1e-4 * 1e-8 < 1 < high


def curves(*names):
    axes = (Axis("width", (2, 4)),)
    values = {f"{name}_t{t}": np.array([number, number + 1.0]) for number, name in enumerate(names)
              for t in (0, 0.5, 1)}  # fmt: skip
    return CellTable("t", axes, {name: Column(name, held) for name, held in values.items()})


def test_of_several_curves_the_training_error_is_drawn():
    bundle = strands_of_columns(curves("curve_te_err", "curve_tr_err"))
    assert [strand.y.tolist() for strand in bundle.strands] == [[1.0] * 3, [2.0] * 3]
    assert bundle.y_label == "training error (percent)"
    own = strands_of_columns(curves("mode_connectivity_curve_test", "mode_connectivity_curve"))
    assert [strand.y[0] for strand in own.strands] == [1.0, 2.0]
    assert strands_of_columns(curves("curve_te_err")).y_label == "test error (percent)"


def test_a_training_of_one_epoch_is_a_point():
    table = CellTable("t", (Axis("architecture.width", (2, 2)), Axis("b", (1, 2))), {})
    one, two = np.array([1.0]), np.array([1.0, 2.0])
    bundle = Bundle("lines", (Strand(0, one, one), Strand(1, two, two)), "x", "y", "model")
    plane = Plane.of(table, "architecture.width", "b")
    figure = bundle_figure(Source(table), bundle, plane.x, plane.y)
    first, second = figure.axes[:2]
    assert [line.get_xydata().tolist() for line in first.lines] == [[[1.0, 1.0]]]
    assert second.lines[:] == []


def test_a_table_without_curves_says_what_has_them():
    with pytest.raises(RequestError, match="no curves along paths"):
        strands_of_columns(CellTable("t", (Axis("a", (1,)),), {}))
