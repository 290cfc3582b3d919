"""Lines through a table: the cells that differ in one axis alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llt_core.analysis.table import Axis, CellTable, Floats


@dataclass(frozen=True)
class Line:
    """Cells at fixed values of all other axes, by rising value of one.

    Attributes
    ----------
    label
        The fixed values: ``width=4``; empty if there is no other axis.
    rows
        Places in the table, shape (n,).
    at
        Values of the axis, shape (n,), strictly rising.
    """

    label: str
    rows: npt.NDArray[np.intp]
    at: Floats

    def known(self, values: Floats) -> Line:
        """Return the line without the cells that lack one of the table's N values."""
        there = np.isfinite(values[self.rows])
        return Line(self.label, self.rows[there], self.at[there])


def lines_along(table: CellTable, axis: Axis) -> Iterator[Line]:
    """Yield the lines along an axis, those of low values of the other axes first.

    Cells whose value on the axis is no number are left out. Where several cells share all
    their values, as after an axis was dropped, there is no one line, and none is yielded.
    """
    others = tuple(other for other in table.axes if other.name != axis.name)
    numbers = axis.numbers
    groups: dict[tuple[object, ...], list[int]] = {}
    for row in np.flatnonzero(np.isfinite(numbers)):
        groups.setdefault(tuple(other.values[row] for other in others), []).append(int(row))
    places = [{value: place for place, value in enumerate(other.levels)} for other in others]

    def order(key: tuple[object, ...]) -> tuple[int, ...]:
        return tuple(place.get(value, -1) for place, value in zip(places, key, strict=True))

    for key in sorted(groups, key=order):
        rows = np.array(groups[key])
        rows = rows[np.argsort(numbers[rows], kind="stable")]
        at = numbers[rows]
        if (np.diff(at) > 0).all():
            names = (table.short[other.name] for other in others)
            values = (f"{v:g}" if isinstance(v, float) else str(v) for v in key)
            label = ", ".join(f"{n}={v}" for n, v in zip(names, values, strict=True))
            yield Line(label, rows, at)


def between(line: Line, place: float) -> float:
    """Return the value of the axis at a place between cells, which count from 0.

    >>> between(Line("", np.arange(2), np.array([10.0, 20.0])), 0.5)
    15.0
    """
    return float(np.interp(place, np.arange(len(line.at)), line.at))
