"""Long tables: one row a measurement, as ``llt export`` writes them, made into one row a cell.

A row says what was measured (``name``, ``value``, ``standard_error``, ``unit``, ``status``), on
which models (``seeds``: ``0`` for one, ``0+1`` for a pair), and of which composition. A row
without seeds is a mean of ``n`` measurements, over ``models`` models.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from llt_core.analysis.means import jackknife
from llt_core.analysis.table import Axis, AxisKind, CellTable, Column, Sample

Row = Mapping[str, Any]
Key = tuple[Any, ...]

NEEDED = ("name", "value")
"""Columns without which a table is no long one."""
MEASURED = frozenset({
    "metric", "name", "value", "standard_error", "unit", "n", "counted", "status", "seconds",
    "finished", "device", "data_fingerprint", "data_verified", "digest", "seeds", "origin",
    "models", "reason", "source",
})  # fmt: skip
"""Columns that describe the measurement, not the composition."""


@dataclass
class _Taken:
    """All measurements of one quantity in one cell."""

    unit: str = ""
    samples: list[tuple[tuple[str, ...], float]] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def cells_of(
    rows: Sequence[Row],
    name: str,
    *,
    axes: Sequence[str] | None = None,
    kinds: Mapping[str, str] | None = None,
    origin: str = "llt",
    cells: Mapping[Key, str] | None = None,
) -> CellTable:
    """Gather long rows into a table with one row a cell.

    Parameters
    ----------
    rows
        The measurements.
    name, origin
        Of the table.
    axes
        The varied fields. By default those of the composition that tell cells apart, in the
        order of the columns: a field that follows from others before it is none.
    kinds
        Which fields are load or temperature.
    cells
        All cells there should be, by the values of ``axes``, each with what to say of a
        quantity that was not measured in it. By default those that rows name.

    A row whose axis is None counts in every cell that agrees with it otherwise: a measurement
    that several cells share.
    """
    fields = tuple(find_axes(rows) if axes is None else axes)
    known: dict[Key, str] = dict(cells) if cells is not None else _named(rows, fields)
    if cells is None and len(fields) > 1:
        known = dict(sorted(known.items(), key=lambda item: tuple(map(_order, item[0]))))
    names = _distinguished(rows)
    taken: dict[str, dict[Key, _Taken]] = {}
    for row, quantity in zip(rows, names, strict=True):
        of_quantity = taken.setdefault(quantity, {})
        for key in _cells_of(tuple([row.get(f) for f in fields]), known):
            if key not in of_quantity:
                of_quantity[key] = _Taken()
            _take(of_quantity[key], row)
    models = {key: _models(taken, key) for key in known}
    places = {key: {model: place for place, model in enumerate(models[key])} for key in known}
    return CellTable(
        name,
        tuple(
            Axis(f, tuple(key[i] for key in known), cast("AxisKind", (kinds or {}).get(f, "")))
            for i, f in enumerate(fields)
        ),
        {quantity: _column(quantity, found, known, places) for quantity, found in taken.items()},
        origin=origin,
        models=_model_counts(rows, fields, known, models),
        facts=_constant(rows, fields),
    )


def find_axes(rows: Sequence[Row]) -> list[str]:
    """Return the fields of the composition that tell cells apart, each only if it adds to it."""
    return apart(rows, [field for field in _fields(rows) if not _describes(field)])


def _fields(rows: Iterable[Row]) -> list[str]:
    """Return the names of all columns; rows of one table have few different sets of them."""
    return list(dict.fromkeys(f for names in dict.fromkeys(map(tuple, rows)) for f in names))


def apart(rows: Sequence[Row], fields: Sequence[str]) -> list[str]:
    """Return those of ``fields`` that tell rows apart: not what follows from others before it.

    >>> rows = [{"width": w, "twice": 2 * w, "batch": b} for w in (1, 2) for b in (16, 32)]
    >>> apart(rows, ["width", "twice", "batch"])
    ['width', 'batch']
    """
    found: list[str] = []
    most = 1
    for name in fields:
        if len({row.get(name) for row in rows} - {None}) < 2:
            continue
        keys = {tuple(row.get(f) for f in (*found, name)) for row in rows}
        whole = len({key for key in keys if None not in key})
        if whole > most:
            found.append(name)
            most = whole
    return found


def _describes(name: str) -> bool:
    return name in MEASURED or name.startswith("metric.")


def _named(rows: Iterable[Row], fields: Sequence[str]) -> dict[Key, str]:
    keys = dict.fromkeys(tuple(row.get(f) for f in fields) for row in rows)
    return {key: "not in the table" for key in keys if None not in key}


def _cells_of(key: Key, known: Mapping[Key, str]) -> Iterable[Key]:
    if key in known:
        return (key,)
    if None not in key:
        return ()
    return [
        cell
        for cell in known
        if all(mine is None or mine == value for mine, value in zip(key, cell, strict=True))
    ]


def _distinguished(rows: Sequence[Row]) -> list[str]:
    """Return what to call the quantity of each row: with parameters where these differ."""
    settings: dict[str, dict[str, set[Any]]] = {}
    fields = [field for field in _fields(rows) if field.startswith("metric.")]
    if not fields:
        return [str(row["name"]) for row in rows]
    for row in rows:
        seen = settings.setdefault(str(row["name"]), {})
        for name in fields:
            seen.setdefault(name, set()).add(row.get(name))
    differ = {
        quantity: [name for name, values in seen.items() if len(values) > 1]
        for quantity, seen in settings.items()
    }
    called = []
    for row in rows:
        quantity = str(row["name"])
        told = [f"{f[7:]}={row.get(f)}" for f in differ.get(quantity, ()) if row.get(f) is not None]
        called.append(f"{quantity}({', '.join(told)})" if told else quantity)
    return called


def _take(taken: _Taken, row: Row) -> None:
    value = _float(row.get("value"))
    taken.unit = taken.unit or str(row.get("unit") or "")
    if math.isfinite(value):
        models = tuple(str(row["seeds"]).split("+")) if row.get("seeds") not in (None, "") else ()
        taken.samples.append((models, value))
        taken.errors.append(_float(row.get("standard_error")))
        taken.counts.append(1 if models else int(row.get("n") or 1))
    else:
        taken.lost.append(str(row.get("reason") or row.get("status") or "not_finite"))


def _models(taken: Mapping[str, Mapping[Key, _Taken]], key: Key) -> list[str]:
    """Return the models of a cell, by their seeds, in order."""
    found = {
        model
        for quantity in taken.values()
        if key in quantity
        for models, _ in quantity[key].samples
        for model in models
    }
    return sorted(found, key=_order)


def _model_counts(
    rows: Sequence[Row],
    fields: Sequence[str],
    known: Mapping[Key, str],
    models: Mapping[Key, Sequence[str]],
) -> npt.NDArray[np.int64]:
    """Return how many models each cell has; where rows are means, they say it themselves."""
    counts = {key: len(models[key]) for key in known}
    for row in rows if "models" in _fields(rows) else ():
        key = tuple(row.get(f) for f in fields)
        if row.get("models") and key in counts:
            counts[key] = int(row["models"])
    return np.array(list(counts.values()), dtype=np.int64)


def _column(
    name: str,
    found: Mapping[Key, _Taken],
    known: Mapping[Key, str],
    places: Mapping[Key, Mapping[str, int]],
) -> Column:
    values, errors, counts, reasons, samples = [], [], [], [], []
    for key, missing in known.items():
        taken = found.get(key, _Taken())
        values.append(_mean([v for _, v in taken.samples]))
        errors.append(_error(taken))
        counts.append(sum(taken.counts))
        reasons.append("" if taken.samples else ", ".join(dict.fromkeys(taken.lost)) or missing)
        samples.append(
            tuple(Sample(tuple(places[key][m] for m in read), v) for read, v in taken.samples)
        )
    unit = next((taken.unit for taken in found.values() if taken.unit), "")
    return Column(
        name,
        np.array(values, dtype=np.float64),
        unit,
        np.array(errors, dtype=np.float64),
        np.array(counts, dtype=np.int64),
        tuple(reasons),
        tuple(samples),
    )


def _error(taken: _Taken) -> float:
    """Return the standard error of the mean over models; of what is a mean already, its own.

    That of a single model or pair is unknown: how sure one measurement is says nothing of how
    much models differ.
    """
    read = [models for models, _ in taken.samples]
    if () in read:
        return taken.errors[0] if len(read) == 1 else math.nan
    if len(set(read)) == len(read) and max(map(len, read), default=0) == 1:
        return _error_of_mean([value for _, value in taken.samples])
    error = jackknife(taken.samples)
    return math.nan if error is None else error


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan


def _error_of_mean(values: Sequence[float]) -> float:
    """Return s/√n, which the jackknife comes to for one value a model; NaN for a single one."""
    n = len(values)
    if n < 2:
        return math.nan
    mean = math.fsum(values) / n
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)


def _constant(rows: Sequence[Row], axes: Sequence[str]) -> dict[str, Any]:
    fields = [f for f in _fields(rows) if not _describes(f) and f not in axes]
    found = {f: {row.get(f) for row in rows} for f in fields}
    return {f: next(iter(v)) for f, v in found.items() if len(v) == 1 and v != {None}}


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)


def _order(value: Any) -> tuple[int, float, str]:
    """Order numbers, also written ones, by their size and before all else."""
    try:
        return (0, float(value), "")
    except (TypeError, ValueError):
        return (1, 0.0, str(value))
