"""The sentences say what the numbers say."""

import numpy as np
import scipy.stats

from llt_core.analysis import Axis, CellTable, Column, classify
from llt_core.report.page.findings import findings


def said(table):
    return {entry["heading"]: entry["text"] for entry in findings(table, classify(table))}


def test_published_table(decay):
    text = said(decay)
    assert text["What was measured"].startswith("91 cells of 5 models each")
    codes = classify(decay).codes
    accuracy = decay.column("test_accuracy").values
    for name, members in {"I": [0], "II": [1], "III": [2], "IV-A": [3], "IV-B": [4]}.items():
        assert f"{accuracy[np.isin(codes, members)].mean():.1f} in {name}" in text["Phases"]
    assert f"{accuracy.max():.4g} percent" in text["Best cell"]
    converged = decay.column("train_accuracy").values >= 99
    cka = scipy.stats.spearmanr(
        decay.column("cka").values[converged], accuracy[converged]
    ).statistic
    assert f"CKA ranks test accuracy best: Spearman {cka:+.2f}" in text["What predicts it"]
    assert f"the {converged.sum()} converged cells" in text["What predicts it"]


def test_undetermined_cells_are_counted_with_their_reasons():
    columns = {
        "train_loss": Column("train_loss", np.array([0.9, 0.001, 0.9]), "nats"),
        "hessian_trace": Column("hessian_trace", np.array([900.0, 2.0, 900.0]), "nats"),
    }
    table = CellTable("t", (Axis("width", (1, 2, 3)),), columns)
    text = said(table)["Undetermined"]
    assert (
        text == "3 cells of 3: no mode_connectivity or linear_connectivity in the table (3 cells)."
    )
    assert said(table)["Phases"] == "No cell could be sorted into a phase."


def test_phases_of_one_cell_have_means_too():
    columns = {
        "train_loss": Column("train_loss", np.array([0.9, 0.001]), "nats"),
        "hessian_trace": Column("hessian_trace", np.array([900.0, 2.0]), "nats"),
        "mode_connectivity": Column("mode_connectivity", np.array([-9.0, 0.0]), "percent"),
        "cka": Column("cka", np.array([0.1, 0.9])),
        "test_accuracy": Column("test_accuracy", np.array([80.0, 60.0]), "percent"),
    }
    text = said(CellTable("t", (Axis("width", (1, 2)),), columns))
    assert text["Phases"].endswith("Mean test accuracy (percent): 80.0 in I, 60.0 in IV-B.")
    assert "Too few converged cells" in text["What predicts it"]
    assert "at width=1 (phase I)" in text["Best cell"]


def test_lowest_loss_is_best_where_there_is_no_accuracy():
    columns = {"test_loss": Column("test_loss", np.array([0.7, 0.2, np.nan]), "nats")}
    assert said(CellTable("t", (Axis("width", (1, 2, 3)),), columns))["Best cell"] == (
        "Lowest test loss: 0.2 nats at width=2 (phase undetermined)."
    )


def test_an_incomplete_grid_is_said(make_table):
    table = make_table(4, 4)
    part = table.select(np.arange(16) % 3 > 0)
    assert "The full grid of these values has 16 cells" in said(part)["What was measured"]
