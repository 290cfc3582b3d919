"""Tables by name. (A stand-in on this branch for the reader that another branch builds.)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from llt_core.analysis import Axis, CellTable, Column
from llt_core.errors import RequestError
from llt_core.store.cells import Store
from llt_core.store.index import records
from llt_core.store.sweeps import recall

_KNOWN = {
    "test_acc": ("test_accuracy", "percent"),
    "train_acc": ("train_accuracy", "percent"),
    "test_loss": ("test_loss", "nats"),
    "train_loss": ("train_loss", "nats"),
    "top_eig": ("hessian_top_eigenvalue", "nats"),
    "trace": ("hessian_trace", "nats"),
    "log_top_eigenvalue": ("hessian_top_eigenvalue", "nats"),
    "log_trace": ("hessian_trace", "nats"),
    "cka_softmax": ("cka", ""),
    "l2": ("l2_distance", ""),
    "mc_train_err": ("mode_connectivity", "percent"),
    "mc_test_err": ("mode_connectivity_test_error", "percent"),
    "mc_peak": ("mode_connectivity_peak", "percent"),
}
_AXES = {"width": "load", "batch_size": "temperature", "data_tenths": "load"}


def open_table(name: str, store: Store | None) -> CellTable:
    """Return the table that NAME means: a sweep of the store, or the path of a CSV file."""
    path = Path(name)
    if path.suffix == ".csv":
        if not path.is_file():
            raise RequestError(f"there is no file {name}")
        return _read(path)
    if store is None:
        raise RequestError(f"no table is called {name!r}")
    return _sweep(store, name)


def _read(path: Path) -> CellTable:
    import pandas as pd

    frame = pd.read_csv(path)
    axes, columns, models = [], {}, np.empty(0, dtype=np.int64)
    for head in frame.columns:
        values = frame[head].to_numpy()
        if head in _AXES:
            axes.append(Axis(head, tuple(values.tolist()), _AXES[head]))  # type: ignore[arg-type]
            continue
        if head == "n_models":
            models = values.astype(np.int64)
            continue
        stem = head.removesuffix("_mean")
        known, unit = _KNOWN.get(stem, (head, "percent" if "err" in head else ""))
        numbers = values.astype(np.float64)
        if stem.startswith("log_"):
            numbers = np.exp(numbers)
        columns[known] = Column(known, numbers, unit)
    return CellTable(path.stem, tuple(axes), columns, f"imported from {path.name}", models)


def _sweep(store: Store, name: str) -> CellTable:
    sweep = recall(store, name)
    found = {record.digest: record for record in records(store)}
    axes = tuple(
        Axis(field, tuple(p.values.get(field) for p in sweep.points), sweep.kinds.get(field, ""))
        for field in sweep.fields
    )
    rows: list[dict[str, list[float | None]]] = []
    units: dict[str, str] = {}
    for point in sweep.points:
        row: dict[str, list[float | None]] = {}
        for digest in point.measures:
            if digest in found:
                for m in found[digest].measurements[:1]:
                    row.setdefault(m.name, []).append(m.value)
                    units[m.name] = m.unit or units.get(m.name, "")
        rows.append(row)
    columns = {}
    for metric, unit in units.items():
        held = [[v for v in row.get(metric, []) if v is not None] for row in rows]
        columns[metric] = Column(
            metric,
            np.array([np.mean(v) if v else np.nan for v in held]),
            unit,
            np.array([np.std(v, ddof=1) / len(v) ** 0.5 if len(v) > 1 else np.nan for v in held]),
            np.array([len(v) for v in held]),
            tuple("" if v else "undefined" for v in held),
        )
    models = np.array([len(point.models) for point in sweep.points])
    return CellTable(sweep.name, axes, columns, "llt", models)
