"""Which cells two tables have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from llt_core.analysis import Axis, CellTable
from llt_core.errors import RequestError


def match_rows(table: CellTable, other: CellTable, always: Collection[str] = ()) -> list[int]:
    """Return for each row the row of ``other`` at the same place, −1 where there is none.

    Axes are the same if their names are, or if one name is the end of the other, that is clear
    in both tables, and load and temperature agree. An axis that only one table has must not vary
    there: else nobody could say which of its cells is meant.

    Parameters
    ----------
    always
        Axes of ``table`` whose values must be equal even if they vary in neither.

    Raises
    ------
    RequestError
        No axis is shared, a further one varies, two cells share a place, or no cell is shared.
    """
    pairs = _pairs(table, other)
    held = {axis.name for pair in pairs for axis in pair}
    alone = {
        axis.name: None
        for axis in (*table.axes, *other.axes)
        if len(axis.levels) > 1 and axis.name not in held
    }
    if not pairs or alone:
        varied = f"{' and '.join(alone)} varies in one of them only" if alone else "no axis is"
        raise RequestError(
            f"{table.name} and {other.name} cannot be compared: {varied}"
            f"{'' if alone else ' shared'}",
            expected="two tables over the same axes",
        )
    # What is constant in both may differ: that is what is compared.
    varied_pairs = [
        p for p in pairs if p[0].name in always or any(len(axis.levels) > 1 for axis in p)
    ] or pairs
    shared = [axis.name for axis, _ in varied_pairs]
    places = _places([axis for _, axis in varied_pairs], len(other))
    if len(set(places)) < len(places):
        raise RequestError(
            f"{other.name} has several cells at one place of {', '.join(shared)}",
            expected="one cell a place, to compare with",
        )
    rows = {place: row for row, place in enumerate(places)}
    found = [
        rows.get(place, -1) for place in _places([axis for axis, _ in varied_pairs], len(table))
    ]
    if all(row < 0 for row in found):
        raise RequestError(
            f"{table.name} and {other.name} share no cell",
            expected=f"tables with some equal values of {', '.join(shared)}",
        )
    return found


def _pairs(table: CellTable, other: CellTable) -> list[tuple[Axis, Axis]]:
    """Return the axes that are the same in two tables."""
    whole = {axis.name: axis for axis in other.axes}
    last = Counter(_short(axis) for axis in table.axes)
    there = Counter(_short(axis) for axis in other.axes)
    found = []
    for axis in table.axes:
        name = _short(axis)
        if axis.name in whole:
            found.append((axis, whole[axis.name]))
        elif last[name] == there[name] == 1:
            match = next(one for one in other.axes if _short(one) == name)
            kinds = {axis.kind, match.kind} - {""}
            if len(kinds) < 2 and _one_ends_the_other(axis.name, match.name):
                found.append((axis, match))
    return found


def _one_ends_the_other(a: str, b: str) -> bool:
    """Whether a name is the other one shortened: two different whole names are two fields.

    >>> _one_ends_the_other("width", "architecture.width")
    True
    >>> _one_ends_the_other("data_subset.fraction", "label_noise.fraction")
    False
    """
    return f".{a}".endswith(f".{b}") or f".{b}".endswith(f".{a}")


def _places(axes: list[Axis], rows: int) -> list[tuple[Any, ...]]:
    return [tuple(_key(axis.values[row]) for axis in axes) for row in range(rows)]


def _key(level: Any) -> Any:
    """Return what makes two values the same: numbers by ten digits."""
    number = isinstance(level, int | float) and not isinstance(level, bool)
    return f"{level:.10g}" if number else level


def _short(axis: Axis) -> str:
    return axis.name.split(".")[-1]
