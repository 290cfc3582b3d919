"""Figures as the page draws them: a few series of numbers with four digits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from llt_core.report.result import HISTORY, DrawingError, Panel
from llt_core.report.scales import Floats, bin_edges
from llt_core.store import Record

MOST_SERIES = 6
MOST_BARS = 80
MOST_BINS = 24
DIGITS = 4
_ORDER = ("curve", "spectrum", "history", "other")


@dataclass(frozen=True)
class Series:
    """One line, set of points or row of bars: y (N,) over x (N,), between low and high (N,)."""

    label: str
    x: Floats
    y: Floats
    low: Floats | None = None
    high: Floats | None = None


@dataclass(frozen=True)
class Drawn:
    """One figure of a cell, of what several models or pairs of them have to show."""

    group: str
    kind: str
    title: str
    x_label: str
    y_label: str
    x_log: bool = False
    y_log: bool = False
    series: tuple[Series, ...] = ()
    names: tuple[str, ...] = ()
    note: str = ""

    @classmethod
    def curve(cls, name: str, unit: str, t: Floats, y: Floats) -> Drawn:
        """Return the figure of one curve between two models that a table holds, (N,) each."""
        label = f"{name.replace('_', ' ')} ({unit})" if unit else name.replace("_", " ")
        series = (Series(name.replace("_", " "), t, y),)
        return cls("curve", "line", "Along the path between two models", "t", label, series=series)

    def thinned(self, points: int) -> dict[str, Any]:
        """Return the figure as JSON, no line with more than ``points`` points.

        Ends stay. Bars keep all: there are few.
        """
        few = MOST_BARS if self.kind in ("bars", "histogram") else points
        series = [_thin(one, few) for one in self.series]
        return {
            "group": self.group,
            "kind": self.kind,
            "title": self.title,
            "x": self.x_label,
            "y": self.y_label,
            "xLog": self.x_log,
            "yLog": self.y_log,
            "names": list(self.names),
            "note": self.note,
            "series": series,
        }


@dataclass
class _Gathered:
    """The same figure of several records of one cell."""

    panels: list[tuple[Record, Panel]] = field(default_factory=list)


def drawings(panels: Iterable[tuple[Record, Panel]]) -> list[Drawn]:
    """Return the figures of one cell: those of one kind and title become one.

    Matrices and surfaces are left to ``llt plot``, as are figures that cannot be drawn.
    """
    gathered: dict[tuple[str, str, str], _Gathered] = {}
    for record, panel in panels:
        if panel.figure.kind not in ("line", "scatter", "bars", "histogram"):
            continue
        try:
            panel.check()
        except DrawingError:
            continue
        key = (panel.quantity, panel.figure.kind, panel.figure.title)
        gathered.setdefault(key, _Gathered()).panels.append((record, panel))
    found = [_drawn(of.panels) for of in gathered.values()]
    held = [drawn for drawn in found if drawn is not None]
    return sorted(held, key=lambda drawn: _ORDER.index(drawn.group))


def _drawn(panels: list[tuple[Record, Panel]]) -> Drawn | None:
    figure, quantity = panels[0][1].figure, panels[0][1].quantity
    group = _group(quantity)
    drawn = Drawn(
        group,
        figure.kind,
        figure.title,
        figure.x_label or figure.x or "",
        figure.y_label,
        figure.x_log,
        figure.y_log,
    )
    if figure.kind == "histogram":
        return _histogram(drawn, panels)
    if figure.kind == "bars":
        return _bars(drawn, panels)
    series = [one for record, panel in panels for one in _lines(record, panel, len(panels) > 1)]
    note = "" if not any(figure.band) else "shaded: ± 1 standard error"
    if len(series) > MOST_SERIES:
        merged = _merged(panels)
        if merged is None:
            return _with(drawn, series[:MOST_SERIES], f"first {MOST_SERIES} of {len(series)} lines")
        counted = "models" if group == "history" else "measurements"
        return _with(drawn, merged, f"mean of {len(panels)} {counted}, shaded: their range")
    return _with(drawn, series, note)


def _lines(record: Record, panel: Panel, several: bool) -> list[Series]:
    assert panel.figure.x is not None  # lines and points have one
    x = panel.column(panel.figure.x)
    seeds = "+".join(map(str, record.composition["seeds"]))
    called = f"seed{'s' if '+' in seeds else ''} {seeds}"
    found = []
    for number, (name, band) in enumerate(zip(panel.figure.y, panel.bands(), strict=True)):
        y, label = panel.column(name), _label(panel, number)
        if several:
            label = f"{label}, {called}" if len(panel.figure.y) > 1 else called
        low, high = (None, None) if band is None else (y - band, y + band)
        found.append(Series(label, x, y, low, high))
    return found


def _merged(panels: list[tuple[Record, Panel]]) -> list[Series] | None:
    """Return the mean and range of each y over all records; None where their x differ."""
    first = panels[0][1]
    assert first.figure.x is not None  # lines and points have one
    x = first.column(first.figure.x)
    series = []
    for number, name in enumerate(first.figure.y):
        rows = [panel.column(name) for _, panel in panels if name in panel.arrays]
        if any(row.shape != x.shape for row in rows):
            return None
        held = np.array(rows)
        series.append(Series(_label(first, number), x, held.mean(0), held.min(0), held.max(0)))
    return series


def _bars(drawn: Drawn, panels: list[tuple[Record, Panel]]) -> Drawn | None:
    """Return the mean bars of all records, between their extremes."""
    panel = panels[0][1]
    rows = [other.column(other.figure.y[0]) for _, other in panels]
    if len(rows[0]) > MOST_BARS or any(row.shape != rows[0].shape for row in rows):
        return None
    held = np.array(rows)
    places = np.arange(len(rows[0]), dtype=np.float64)
    low, high = (held.min(0), held.max(0)) if len(rows) > 1 else (None, None)
    series = Series("", places, held.mean(0), low, high)
    note = f"mean of {len(rows)} measurements, whiskers: their range" if len(rows) > 1 else ""
    return _with(drawn, [series], note, tuple(panel.entries(len(rows[0]))))


def _histogram(drawn: Drawn, panels: list[tuple[Record, Panel]]) -> Drawn | None:
    """Return counts in bins, of all records together."""
    samples = [panel.column(name).ravel() for _, panel in panels for name in panel.figure.y]
    together = np.concatenate(samples)
    held = together[np.isfinite(together)]
    if not held.size:
        return None
    edges = bin_edges(held, drawn.x_log, MOST_BINS)
    counts = np.histogram(held, edges)[0].astype(np.float64)
    # Edges as low and high of each bar: the page draws bins of any width.
    series = Series("", (edges[:-1] + edges[1:]) / 2, counts, edges[:-1], edges[1:])
    note = f"{held.size} values of {len(panels)} results together" if len(panels) > 1 else ""
    return _with(drawn, [series], note)


def _with(
    drawn: Drawn, series: Sequence[Series], note: str = "", names: tuple[str, ...] = ()
) -> Drawn:
    return replace(drawn, series=tuple(series), note=note, names=names)


def _label(panel: Panel, number: int) -> str:
    return panel.label(number).replace("_", " ")


def _group(quantity: str) -> str:
    if quantity == HISTORY:
        return "history"
    if any(word in quantity for word in ("connectivity", "path", "line")):
        return "curve"
    if any(word in quantity for word in ("spectrum", "eigen", "density", "hessian")):
        return "spectrum"
    return "other"


def _thin(series: Series, points: int) -> dict[str, Any]:
    count = len(series.x)
    kept = np.arange(count)
    if count > points:
        kept = np.unique(np.linspace(0, count - 1, points).round().astype(int))
    columns = {"x": series.x, "y": series.y, "low": series.low, "high": series.high}
    short = {
        name: [_short(value) for value in np.asarray(values)[kept].tolist()]
        for name, values in columns.items()
        if values is not None
    }
    return {"label": series.label, **short}


def _short(value: float) -> float | int | None:
    """Return the number with four digits; None where it is none."""
    if not np.isfinite(value):
        return None
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 1e15 else short
