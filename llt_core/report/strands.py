"""Lines of many cells: curves along paths, spectra, training histories. No drawing library."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from llt_core.analysis import CellTable
from llt_core.analysis.table import Floats
from llt_core.errors import RequestError
from llt_core.report.result import Result, load
from llt_core.store import Record, Store
from llt_core.store.sweeps import SweepRecord, point_values, recall

StrandKind = Literal["curves", "spectra", "histories"]
PATHS = ("mode_connectivity", "linear_connectivity")
_CURVE = re.compile(r"(?P<name>\w*curve\w*?)_t(?P<t>\d+(\.\d+)?)")
_OF_TEST = re.compile(r"(^|_)te(st)?(_|$)")


@dataclass(frozen=True)
class Strand:
    """One line: y over x, both (N,), of a row of the table."""

    row: int
    x: Floats
    y: Floats


@dataclass(frozen=True)
class Bundle:
    """Lines of the same kind.

    Attributes
    ----------
    each
        What one line is of: a model, a pair, or the mean of a cell.
    """

    title: str
    strands: tuple[Strand, ...]
    x_label: str
    y_label: str
    each: str
    y_log: bool = False


_TEXTS: dict[StrandKind, tuple[str, str, str, str, bool]] = {
    "curves": (
        "error along paths",
        "position t on the path",
        "training error (percent)",
        "pair",
        False,
    ),
    "spectra": ("Hessian spectra", "eigenvalue (nats)", "density (1/nats)", "model", True),
    "histories": ("training", "epoch", "training loss (nats)", "model", True),
}


def strands_of_sweep(store: Store, table: CellTable, kind: StrandKind) -> Bundle:
    """Return the stored lines of the cells in ``table``, which is a sweep or a part of it.

    Raises
    ------
    RequestError
        Nothing of that kind is stored for these cells.
    """
    sweep = recall(store, table.name)
    title, x_label, y_label, each, log = _TEXTS[kind]
    found = tuple(_read(store, sweep, table, kind))
    if not found:
        metrics = {"curves": PATHS[0], "spectra": "hessian_spectrum", "histories": "train_loss"}
        raise RequestError(
            f"the store has no {kind} of the cells of {table.name}",
            expected=f"a sweep that measures {metrics[kind]}",
        )
    return Bundle(title, found, x_label, y_label, each, log)


def strands_of_columns(table: CellTable) -> Bundle:
    """Return the curves in columns such as ``curve_tr_err_t0.25``.

    Raises
    ------
    RequestError
        The table has no such columns.
    """
    places: dict[str, list[tuple[float, str]]] = {}
    for name in table.columns:
        if match := _CURVE.fullmatch(name):
            places.setdefault(match["name"], []).append((float(match["t"]), name))
    if not places:
        raise RequestError(
            f"{table.name} has no curves along paths",
            expected="columns such as curve_tr_err_t0.25, or a sweep of the store that measures "
            "mode_connectivity",
        )
    # Of several, the error on the training split, as in the paper.
    name = min(places, key=lambda name: (bool(_OF_TEST.search(name)), name))
    columns = places[name]
    t = np.array([place for place, _ in sorted(columns)])
    errors = np.stack([table.columns[name].values for _, name in sorted(columns)], axis=1)
    strands = tuple(
        Strand(row, t, line) for row, line in enumerate(errors) if np.isfinite(line).any()
    )
    title, x_label, y_label, _, _ = _TEXTS["curves"]
    if _OF_TEST.search(name):
        y_label = y_label.replace("training", "test")
    return Bundle(title, strands, x_label, y_label, "cell")


def seeds_of_sweep(store: Store, name: str) -> tuple[int, ...]:
    """Return the seeds of the models of a sweep that are in the store, in order."""
    sweep = recall(store, name)
    records = (store.read(digest) for point in sweep.points for digest in point.models)
    seeds = (record.composition["seeds"] for record in records if record is not None)
    return tuple(sorted({int(seed) for some in seeds for seed in some}))


def _read(store: Store, sweep: SweepRecord, table: CellTable, kind: StrandKind) -> Iterator[Strand]:
    rows = {_key([a.values[row] for a in table.axes]): row for row in range(len(table))}
    for point in sweep.points:
        values = point_values(point)
        row = rows.get(_key([values.get(axis.name) for axis in table.axes]))
        if row is None:
            continue
        for digest in point.models if kind == "histories" else point.measures:
            record = store.read(digest)
            if record is not None and _wanted(record, kind):
                yield from _lines(load(store, record), row, kind)


def _wanted(record: Record, kind: StrandKind) -> bool:
    if kind == "histories":
        return True
    metric = record.composition["metric"]["name"].rpartition("/")[2]
    return metric in (PATHS if kind == "curves" else ("hessian_spectrum",))


def _lines(result: Result, row: int, kind: StrandKind) -> Iterator[Strand]:
    wanted = {
        "curves": ("t", "train_error"),
        "spectra": ("eigenvalue", "density"),
        "histories": ("epoch", "train_loss"),
    }[kind]
    own: dict[str, Any] = {}
    for name, array in result.arrays.items():
        own.setdefault(name.partition("/")[2], array)
    if all(name in own for name in wanted):
        x, y = (np.asarray(own[name], dtype=np.float64) for name in wanted)
        if x.ndim == 1 and x.shape == y.shape and np.isfinite(y).any():
            yield Strand(row, x, y)


def _key(values: Sequence[Any]) -> tuple[str, ...]:
    return tuple(f"{v:.12g}" if isinstance(v, int | float) else str(v) for v in values)
