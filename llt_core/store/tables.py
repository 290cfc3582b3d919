"""Tables of cells by name."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np

from llt_core.analysis.table import Axis, CellTable, Column
from llt_core.errors import RequestError
from llt_core.store.cells import Store

_COLUMNS = {
    "train_loss": ("train_loss_mean", "train_loss"),
    "hessian_trace": ("trace_mean", "log_trace", "hessian_trace"),
    "mode_connectivity": ("mc_train_err", "mode_connectivity"),
    "cka": ("cka_softmax_mean", "cka_softmax", "cka"),
}


def open_table(name: str, store: Store | None) -> CellTable:
    """Return the table in a .csv file of one row a cell.

    Raises
    ------
    RequestError
        It cannot be read.
    """
    path = Path(name)
    if path.suffix != ".csv" or not path.is_file():
        raise RequestError(f"no table is called {name!r}", expected="a path of a .csv file")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = {}
    for column, known in _COLUMNS.items():
        found = next((name for name in known if rows and name in rows[0]), None)
        if found is not None:
            values = np.array([float(row[found] or math.nan) for row in rows])
            columns[column] = Column(column, np.exp(values) if found == "log_trace" else values)
    axes = (
        Axis("architecture.width", tuple(float(row["width"]) for row in rows), "load"),
        Axis("train.batch_size", tuple(float(row["batch_size"]) for row in rows), "temperature"),
    )
    return CellTable(path.stem, axes, columns, f"imported: {path.name}")
