"""A table as a plane: which cell lies where, and where its edges are. No drawing library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from llt_core.analysis import Axis, CellTable
from llt_core.analysis.table import Floats
from llt_core.errors import RequestError
from llt_core.fields import short_fields
from llt_core.report.display import AxisFacts, axis_facts

MOST_PLACES = 1_000_000
"""A plane of more places than this is no grid: hardly two of its cells share a value."""
_Places = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Ruler:
    """One side of the plane.

    Attributes
    ----------
    levels
        The K values that occur, in order.
    centres, edges
        Where they lie, shape (K,) and (K + 1,). Numbers lie at themselves, anything else at
        0, 1, 2, …; edges are half-way between centres, on a logarithmic side geometrically.
    """

    axis: Axis
    facts: AxisFacts
    levels: tuple[Any, ...]
    centres: Floats
    edges: Floats
    log: bool

    @classmethod
    def along(cls, axis: Axis) -> Ruler:
        """Return the side on which the values of ``axis`` lie.

        >>> Ruler.along(Axis("architecture.width", (1, 4, 16))).edges.tolist()
        [0.5, 2.0, 8.0, 32.0]
        """
        levels = axis.levels
        numbers = Axis(axis.name, levels).numbers
        named = not np.isfinite(numbers).all()
        centres = np.arange(len(levels), dtype=np.float64) if named else numbers
        log = axis.logarithmic and not named
        edges = 2 ** _edges(np.log2(centres)) if log else _edges(centres)
        return cls(axis, axis_facts(axis), levels, centres, edges, log)

    @classmethod
    def nothing(cls, rows: int) -> Ruler:
        """Return the side of a plane that has only one axis: one level for all rows."""
        axis = Axis("", ("",) * rows)
        return cls(axis, AxisFacts(""), ("",), np.zeros(1), np.array([-0.5, 0.5]), False)

    @property
    def downward(self) -> bool:
        """Whether small values belong on top, because they are the hot ones."""
        return self.facts.kind == "temperature" and self.facts.more == "low"

    def places(self) -> _Places:
        """Return the number of each row's level, shape (N,); −1 where a row has no value."""
        number = {level: place for place, level in enumerate(self.levels)}
        return np.array([number.get(value, -1) for value in self.axis.values], dtype=np.intp)

    def names(self) -> list[str]:
        """Return what to write at each level.

        >>> Ruler.along(Axis("train.weight_decay", (0.005, 5e-05))).names()
        ['5e-05', '0.005']
        """
        return [f"{v:g}" if isinstance(v, float) else str(v) for v in self.levels]

    def title(self, upright: bool = False) -> str:
        """Return the name of the side, with an arrow to where load or temperature grows.

        >>> Ruler.along(Axis("architecture.width", (1, 2))).title()
        'width   (← load)'
        >>> Ruler.along(Axis("train.batch_size", (16, 32))).title(upright=True)
        'batch size   (temperature →)'
        """
        name, kind, more = self.facts.title, self.facts.kind, self.facts.more
        if not kind or more is None:
            return name
        forward = (more == "high") != (upright and self.downward)
        return f"{name}   ({kind} →)" if forward else f"{name}   (← {kind})"


@dataclass(frozen=True)
class Plane:
    """The cells of a table on two of its axes, Y rows of X cells.

    Attributes
    ----------
    x, y
        The sides, in the order of the values.
    rows
        The row of the table in each place, shape (Y, X); −1 where there is none.
    """

    x: Ruler
    y: Ruler
    rows: _Places

    @classmethod
    def of(cls, table: CellTable, x: str | None = None, y: str | None = None) -> Plane:
        """Lay a table out, by default load across and temperature upwards.

        Raises
        ------
        RequestError
            The table has no such axis, no cells, or several cells in one place.
        """
        if not len(table):
            raise RequestError(f"the table {table.name} has no cells to draw")
        across, up = _chosen(table, x, y)
        sides = cls.sides(table, x, y)
        columns, lines = (side.places() for side in sides)
        placed = np.flatnonzero((columns >= 0) & (lines >= 0))
        if not placed.size:
            raise RequestError(f"no cell of {table.name} has a value on both axes")
        shape = len(sides[1].levels), len(sides[0].levels)
        if shape[0] * shape[1] > MOST_PLACES:
            raise RequestError(
                f"{shape[1]:,} values across and {shape[0]:,} upwards are no grid",
                expected=f"at most {MOST_PLACES:,} places",
                next_step="--x and --y with fewer values",
            )
        rows = np.full(shape, -1, dtype=np.intp)
        rows[lines[placed], columns[placed]] = placed
        hidden = placed[rows[lines[placed], columns[placed]] != placed]
        if hidden.size:
            first = int(hidden[0])
            raise _crowded(table, first, int(rows[lines[first], columns[first]]), (across, up))
        return cls(*sides, rows)

    @staticmethod
    def sides(table: CellTable, x: str | None, y: str | None) -> tuple[Ruler, Ruler]:
        """Return the two sides of a table, whatever lies between them."""
        across, up = _chosen(table, x, y)
        return Ruler.along(across), Ruler.nothing(len(table)) if up is None else Ruler.along(up)

    def spread(self, values: npt.NDArray[Any]) -> Floats:
        """Return the values of the table's rows, shape (N,), as they lie: shape (Y, X)."""
        return np.where(self.rows >= 0, np.asarray(values, dtype=np.float64)[self.rows], np.nan)


def _chosen(table: CellTable, x: str | None, y: str | None) -> tuple[Axis, Axis | None]:
    """Return the two axes to draw, the second None where the table has only one."""
    if not table.axes:
        raise RequestError(f"the table {table.name} has no axis: no field was varied")
    across = None if x is None else table.axis(x)
    up = None if y is None else table.axis(y)
    if across is None:
        across = next(a for a in _by_fitness(table, "load") if a is not up or table.axes == (up,))
    if up is None:
        up = next((a for a in _by_fitness(table, "temperature") if a is not across), None)
    if up is across:
        raise RequestError(f"x and y are both {across.name}", expected="two different axes")
    return across, up


def _by_fitness(table: CellTable, kind: str) -> list[Axis]:
    """Return the axes of a kind first, but those with one value last if two others vary."""
    other = {"load": "temperature", "temperature": "load"}[kind]
    enough = sum(len(axis.levels) > 1 for axis in table.axes) > 1

    def badness(axis: Axis) -> tuple[bool, bool, bool, bool]:
        found, constant = axis_facts(axis).kind, len(axis.levels) < 2
        return (enough and constant, found != kind, found == other, constant)

    return sorted(table.axes, key=badness)


def _crowded(
    table: CellTable, first: int, second: int, drawn: tuple[Axis, Axis | None]
) -> RequestError:
    short = short_fields(axis.name for axis in table.axes)
    place = ", ".join(f"{short[a.name]}={a.values[first]}" for a in drawn if a is not None)
    others = [axis for axis in table.axes if all(axis is not a for a in drawn)]
    differing = [a for a in others if a.values[first] != a.values[second]]
    if not differing:
        return RequestError(
            f"two rows of {table.name} are in one place: {place}",
            expected="one row for each pair of values",
        )
    axis = differing[0]
    # A condition takes last names and whole ones, nothing between.
    name = axis.name if "." in short[axis.name] else short[axis.name]
    known = ", ".join(str(level) for level in axis.levels[:8])
    return RequestError(
        f"several cells of {table.name} are in one place: {place}",
        expected=f"one value of {axis.name}; it has {known}",
        next_step=f'--where "{name} == {axis.levels[0]!r}", or another --x or --y',
    )


def _edges(centres: Floats) -> Floats:
    """Return the K + 1 edges half-way between K centres; the outer ones as far on the other side.

    >>> _edges(np.array([0.0, 1.0, 3.0])).tolist()
    [-0.5, 0.5, 2.0, 4.0]
    """
    if not len(centres):
        return np.zeros(1)
    if len(centres) == 1:
        half = 0.5 * (abs(float(centres[0])) or 1.0)
        return np.array([centres[0] - half, centres[0] + half])
    middle = (centres[1:] + centres[:-1]) / 2
    first, last = 2 * centres[0] - middle[0], 2 * centres[-1] - middle[-1]
    return np.concatenate([[first], middle, [last]])


def ticks(ruler: Ruler, inches: float, upright: bool) -> list[int]:
    """Return the levels to name: every one, second or third, or else as many as fit.

    Parameters
    ----------
    inches
        Length of the side.
    upright
        Whether it is the vertical side, where names lie one above the other.
    """
    ends = np.log(ruler.edges) if ruler.log else ruler.edges
    centres = np.log(ruler.centres) if ruler.log else ruler.centres
    places = (centres - ends[0]) / (ends[-1] - ends[0]) * inches
    sizes = np.array([0.14 if upright else 0.065 * len(name) + 0.05 for name in ruler.names()])
    for step in (1, 2, 3):
        kept = list(range(0, len(places), step))
        if (np.diff(places[kept]) >= (sizes[kept][1:] + sizes[kept][:-1]) / 2).all():
            return kept
    kept = [0]
    for place in range(1, len(places)):
        if places[place] - places[kept[-1]] >= (sizes[place] + sizes[kept[-1]]) / 2:
            kept.append(place)
    return kept
