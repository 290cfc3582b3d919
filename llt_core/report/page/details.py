"""What the store has of a sweep's cells beyond numbers: curves, spectra, histories, origins."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from llt_core.analysis import CellTable
from llt_core.interfaces.composition import scalar
from llt_core.report.page.drawings import Drawn, drawings
from llt_core.report.result import load
from llt_core.store import Record, Store
from llt_core.store.index import records
from llt_core.store.sweeps import SweepPoint, SweepRecord
from llt_core.uncollected import uncollected

BUDGET = 4 * 2**20
"""Bytes that figures may take in the page."""
MOST_DETAILED = 400
"""Rows whose arrays are read; of more, so many that lie evenly among them."""
THINNINGS = ((120, 8), (60, 8), (32, 6), (18, 4), (12, 2))
"""Points a line and figures a cell, tried in this order until the budget is kept."""
_CURVE = re.compile(r"(.+)_t(\d*\.?\d+)")

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Details:
    """What a page shows of cells beside their numbers.

    Attributes
    ----------
    figures
        For each row of the table the figures of the page; empty for no row at all.
    provenance
        For each row where its numbers come from, in words; empty for no row at all.
    about
        Facts of the whole: label and text.
    notes
        What was left out, in sentences.
    """

    figures: tuple[tuple[dict[str, Any], ...], ...] = ()
    provenance: tuple[dict[str, str], ...] = ()
    about: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@uncollected()
def details_of(
    store: Store,
    sweep: SweepRecord,
    table: CellTable,
    *,
    budget: int = BUDGET,
    progress: Progress | None = None,
) -> Details:
    """Return the details of a sweep's cells, row by row of its table.

    Figures are thinned out until all of them take no more than ``budget`` bytes.
    """
    wanted = {*sweep.models, *sweep.measures}
    found = {record.digest: record for record in records(store, wanted)}
    points = _points_of_rows(sweep, table)
    detailed = _spread([row for row, point in enumerate(points) if point is not None])
    drawn: dict[int, list[Drawn]] = {}
    broken = 0
    for number, row in enumerate(detailed):
        point = points[row]
        assert point is not None  # chosen for having one
        drawn[row], unread = _read(store, _held(found, (*point.models, *point.measures)))
        broken += unread
        if progress is not None:
            progress(number + 1, len(detailed))
    figures, notes = _within(drawn, len(table), budget)
    if len(detailed) < sum(point is not None for point in points):
        notes.append(
            f"Curves, spectra and histories are shown for {len(detailed)} cells that lie evenly "
            "among all; llt show-result has those of every cell."
        )
    if broken:
        notes.append(f"The arrays of {broken} results could not be read.")
    provenance = [
        {}
        if point is None
        else _provenance(_held(found, point.models), _held(found, point.measures))
        for point in points
    ]
    return Details(figures, tuple(provenance), _about(sweep, found.values()), tuple(notes))


def split_curves(table: CellTable, details: Details) -> tuple[CellTable, Details]:
    """Take columns like ``curve_error_t0.25`` out of a table and make a figure of them.

    Published tables write a curve as one column a point.
    """
    curves: dict[str, list[tuple[float, str]]] = {}
    for name in table.columns:
        fitting = _CURVE.fullmatch(name)
        if fitting:
            curves.setdefault(fitting[1], []).append((float(fitting[2]), name))
    curves = {stem: sorted(points) for stem, points in curves.items() if len(points) > 2}
    if not curves:
        return table, details
    figures = [list(of) for of in details.figures] or [[] for _ in range(len(table))]
    for stem, points in curves.items():
        unit = table.columns[points[0][1]].unit
        values = np.array([table.columns[name].values for _, name in points])
        for row, own in enumerate(figures):
            if np.isfinite(values[:, row]).any():
                drawn = Drawn.curve(stem, unit, np.array([t for t, _ in points]), values[:, row])
                own.append(drawn.thinned(THINNINGS[0][0]))
    taken = {name for points in curves.values() for _, name in points}
    rest = {name: column for name, column in table.columns.items() if name not in taken}
    return replace(table, columns=rest), replace(details, figures=tuple(map(tuple, figures)))


def _points_of_rows(sweep: SweepRecord, table: CellTable) -> list[SweepPoint | None]:
    """Return the grid point of each row: the one with its values."""
    known = {
        tuple(_key(point.values.get(axis.name)) for axis in table.axes): point
        for point in sweep.points
    }
    rows = range(len(table))
    return [known.get(tuple(_key(axis.values[row]) for axis in table.axes)) for row in rows]


def _key(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        value = value.model_dump()
    value = scalar(value)
    return float(value) if isinstance(value, int | float | np.number) else str(value)


def _held(found: dict[str, Record], digests: Iterable[str]) -> list[Record]:
    return [found[digest] for digest in digests if digest in found]


def _spread(rows: list[int]) -> list[int]:
    if len(rows) <= MOST_DETAILED:
        return rows
    places = np.linspace(0, len(rows) - 1, MOST_DETAILED).round().astype(int)
    return [rows[place] for place in dict.fromkeys(places.tolist())]


def _read(store: Store, cells: Sequence[Record]) -> tuple[list[Drawn], int]:
    """Return what can be drawn of the cells of one row, and how many could not be read."""
    from llt_core.errors import LltError

    panels, unread = [], 0
    for record in cells:
        try:
            panels += [(record, panel) for panel in load(store, record).panels]
        except LltError:
            unread += 1
    return drawings(panels), unread


def _within(
    drawn: dict[int, list[Drawn]], rows: int, budget: int
) -> tuple[tuple[tuple[dict[str, Any], ...], ...], list[str]]:
    """Return the figures of all rows, as rich as the budget allows, and what was left out."""
    for points, most in THINNINGS:
        thin = {row: tuple(d.thinned(points) for d in of[:most]) for row, of in drawn.items()}
        size = len(json.dumps(list(thin.values()), separators=(",", ":")))
        if size <= budget:
            break
    else:
        keep = int(len(thin) * budget / size)
        thin = dict(list(thin.items())[:: max(len(thin) // max(keep, 1) + 1, 1)])
    notes = []
    whole = sum(map(len, drawn.values()))
    shown = sum(map(len, thin.values()))
    if shown < whole:
        notes.append(
            f"{whole - shown} of {whole} figures were left out to keep this file small; "
            "llt show-result and llt plot draw them."
        )
    if not any(thin.values()):
        return (), notes
    return tuple(thin.get(row, ()) for row in range(rows)), notes


def _provenance(models: list[Record], measures: list[Record]) -> dict[str, str]:
    """Return where the numbers of one row come from."""
    cells = [*models, *measures]
    if not cells:
        return {}
    seeds = _each(seed for record in models for seed in record.composition["seeds"])
    facts = {
        "Seeds": seeds,
        "Models": _each(record.digest[:8] for record in models),
        "Device": _each(record.provenance.get("device_name") for record in cells),
        "Computed in": f"{sum(record.seconds for record in cells):.3g} s",
        "Finished": max(str(record.provenance.get("finished", "")) for record in cells),
        "llt": _each(_version(record) for record in cells),
        "torch": _each(record.provenance.get("versions", {}).get("torch") for record in cells),
        "Data": _each(_fingerprint(record) for record in cells),
    }
    diverged = sum(record.status == "diverged" for record in models)
    if diverged:
        facts["Diverged"] = f"{diverged} of {len(models)} trainings"
    return {label: text for label, text in facts.items() if text}


def _about(sweep: SweepRecord, cells: Iterable[Record]) -> tuple[tuple[str, str], ...]:
    """Return where the numbers of the whole sweep come from."""
    cells = list(cells)
    first = min((str(r.provenance.get("finished", "")) for r in cells), default="")
    last = max((str(r.provenance.get("finished", "")) for r in cells), default="")
    base = sweep.spec.get("base", {})
    facts = {
        "Task": _component(base.get("task")),
        "Architecture": _component(base.get("architecture")),
        "Seeds": _each(sorted({s for r in cells for s in r.composition["seeds"]})),
        "Cells of the store": f"{len(cells)} of {len(sweep.models) + len(sweep.measures)}",
        "Finished": first if first == last else f"{first} to {last}",
        "Computed in": f"{sum(record.seconds for record in cells):.4g} s",
        "llt": _each(map(_version, cells)),
        "Device": _each(record.provenance.get("device_name") for record in cells),
        "Data": _each(map(_fingerprint, cells)),
        "Command": sweep.command,
    }
    for package in ("torch", "torchvision", "numpy"):
        facts[package] = _each(r.provenance.get("versions", {}).get(package) for r in cells)
    return tuple((label, text) for label, text in facts.items() if text)


def _component(part: Any) -> str:
    if not isinstance(part, dict):
        return str(part or "")
    inside = ", ".join(f"{key}={value}" for key, value in part.get("parameters", {}).items())
    return f"{part.get('name', '')}({inside})" if inside else str(part.get("name", ""))


def _version(record: Record) -> str:
    git = record.provenance.get("git", {}).get("llt") or {}
    sha = f" ({git['sha'][:10]}{', modified' if git.get('dirty') else ''})" if "sha" in git else ""
    return f"{record.provenance.get('llt', '')}{sha}"


def _fingerprint(record: Record) -> str:
    data = record.provenance.get("data", {})
    print_ = str(data.get("fingerprint", ""))[:19]
    return (
        f"{print_}{'' if data.get('verified') else ' (not the published files)'}" if print_ else ""
    )


def _each(values: Iterable[Any]) -> str:
    """Return the texts that occur, each once."""
    return ", ".join(dict.fromkeys(str(value) for value in values if value not in (None, "")))
