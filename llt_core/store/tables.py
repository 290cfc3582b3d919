"""Tables of cells from flat files with one row a cell."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from llt_core.analysis.table import Axis, CellTable, Column
from llt_core.errors import RequestError
from llt_core.store.cells import Store

AXES = {
    "width": ("architecture.width", "load"),
    "batch_size": ("train.batch_size", "temperature"),
}
NAMES = {
    "train_loss_mean": "train_loss", "train_acc_mean": "train_accuracy",
    "test_loss_mean": "test_loss", "test_acc_mean": "test_accuracy",
    "trace_mean": "hessian_trace", "top_eig_mean": "hessian_top_eigenvalue",
    "cka_softmax_mean": "cka", "l2_mean": "l2_distance", "mc_train_err": "mode_connectivity",
    "mc_test_err": "mode_connectivity_test_error", "train_acc": "train_accuracy",
    "test_acc": "test_accuracy", "log_trace": "hessian_trace",
    "log_top_eigenvalue": "hessian_top_eigenvalue", "cka_softmax": "cka",
    "mc_peak": "mode_connectivity_peak", "train_loss": "train_loss", "test_loss": "test_loss",
    "hessian_trace": "hessian_trace", "cka": "cka", "mode_connectivity": "mode_connectivity",
    "train_accuracy": "train_accuracy", "test_accuracy": "test_accuracy",
    "hessian_top_eigenvalue": "hessian_top_eigenvalue",
}  # fmt: skip


def open_table(name: str, store: Store | None) -> CellTable:
    """Return the table in a .csv file with the column names of the published results.

    Raises
    ------
    RequestError
        There is no such file.
    """
    path = Path(name)
    if path.suffix != ".csv" or not path.is_file():
        raise RequestError(
            f"no table is called {name!r}",
            where=str(store.root) if store else "",
            expected="a .csv file",
        )
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    axes, columns = [], {}
    for place, title in enumerate(header):
        texts = [row[place] for row in rows]
        numbers = np.array([float(text) if text else np.nan for text in texts])
        if title in AXES:
            called, kind = AXES[title]
            axes.append(Axis(called, tuple(map(int, texts)), kind))  # type: ignore[arg-type]
        elif title in NAMES or title.startswith("metric_"):
            values = np.exp(numbers) if title.startswith("log_") else numbers
            columns[NAMES.get(title, title)] = Column(NAMES.get(title, title), values)
    return CellTable(path.stem, tuple(axes), columns, origin=f"imported: {path.name}")
