"""The scatter by phase, read back from the figure."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
from scipy.stats import spearmanr

from llt_core.analysis import CellTable, Column, classify
from llt_core.errors import RequestError
from llt_core.report.captions import Source
from llt_core.report.scatter import scatter_figure

kit = runpy.run_path(str(Path(__file__).with_name("tables.py")))
grid, published = kit["grid"], kit["published"]


@pytest.mark.skipif(not kit["PUBLISHED"].is_dir(), reason="no published tables")
def test_the_published_cells_stand_by_phase_with_their_correlation():
    table, lines = published("lr_decay")
    figure = scatter_figure(Source(table), "hessian_trace")
    points = {}
    for made in figure.axes[0].containers:
        phase = made.get_label().partition(" ")[0]
        points |= dict.fromkeys(zip(*made[0].get_data(), strict=True), phase)
    phases = classify(table).phases
    assert len(points) == len(lines)
    for line, phase in zip(lines, phases, strict=True):
        assert points[np.log(line["trace_mean"]), line["test_acc_mean"]] == phase
    trace, accuracy = ([line[k] for line in lines] for k in ("trace_mean", "test_acc_mean"))
    rho = spearmanr(trace, accuracy).statistic
    converged = sum(line["train_acc_mean"] >= 99 for line in lines)
    heading = figure.get_suptitle()
    assert f"Spearman's ρ = {rho:.2f} (n = 91 cells)" in heading
    assert f"n = {converged} converged" in " ".join(heading.split())


def test_bars_are_the_standard_errors_of_what_is_drawn():
    small = grid(
        widths=(2, 4), batches=(16,), hessian_trace=lambda w, b: w, test_accuracy=lambda w, b: w
    )
    errors = np.array([0.5, np.nan])
    trace = Column("hessian_trace", np.array([2.0, 4.0]), "nats", errors)
    table = CellTable("t", small.axes, {**small.columns, "hessian_trace": trace})
    figure = scatter_figure(Source(table), "hessian_trace")
    (made,) = [c for c in figure.axes[0].containers if isinstance(c, ErrorbarContainer)]
    assert made.get_label() == "undetermined (2)"
    (across,) = made[2]  # none upwards
    first, second = across.get_segments()
    np.testing.assert_allclose(first[:, 0], np.log(2) + np.array([-0.25, 0.25]))
    assert len(second) == 0 or np.isnan(second).any()
    assert "± 1 standard error" in figure.get_suptitle()


def test_cells_without_a_logarithm_count_in_the_correlation_and_are_said_not_to_be_drawn():
    table = grid(
        hessian_trace=lambda w, b: -1.0 if (w, b) == (2, 16) else w * b,
        test_accuracy=lambda w, b: w + b,
    )
    figure = scatter_figure(Source(table), "hessian_trace")
    trace, accuracy = (table.columns[n].values for n in ("hessian_trace", "test_accuracy"))
    heading = " ".join(figure.get_suptitle().split())
    assert f"ρ = {spearmanr(trace, accuracy).statistic:.2f} (n = 6 cells)" in heading
    assert "not drawn: 1 cell with a value that has no logarithm" in heading
    points = [len(made[0].get_xdata()) for made in figure.axes[0].containers]
    assert sum(points) == 5


def test_what_is_not_there_is_said():
    table = grid(
        cka=lambda w, b: 1.0 if w == 2 else np.nan,
        test_accuracy=lambda w, b: np.nan if w == 2 else 1.0,
    )
    with pytest.raises(RequestError, match="both cka and test_accuracy"):
        scatter_figure(Source(table), "cka")
    with pytest.raises(RequestError, match="no column 'ckka'"):
        scatter_figure(Source(table), "ckka")
