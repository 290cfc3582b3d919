"""Which cells two tables have in common."""

from __future__ import annotations

from typing import Any

from llt_core.analysis import Axis, CellTable
from llt_core.errors import RequestError


def match_rows(table: CellTable, other: CellTable) -> list[int]:
    """Return for each row the row of ``other`` at the same place, −1 where there is none.

    Axes are the same if their last names are. An axis that only one table has must not vary
    there: else nobody could say which of its cells is meant.

    Raises
    ------
    RequestError
        No axis is shared, a further one varies, two cells share a place, or no cell is shared.
    """
    mine = {_short(axis): axis for axis in table.axes if len(axis.levels) > 1}
    theirs = {_short(axis): axis for axis in other.axes if len(axis.levels) > 1}
    held = {_short(axis) for axis in table.axes} & {_short(axis) for axis in other.axes}
    shared = [name for name in {**mine, **theirs} if name in held]
    alone = [name for name in {**mine, **theirs} if name not in held]
    if not shared or alone:
        varied = f"{' and '.join(alone)} varies in one of them only" if alone else "no axis is"
        raise RequestError(
            f"{table.name} and {other.name} cannot be compared: {varied}"
            f"{'' if alone else ' shared'}",
            expected="two tables over the same axes",
        )
    places = _places(other, shared)
    if len(set(places)) < len(places):
        raise RequestError(
            f"{other.name} has several cells at one place of {', '.join(shared)}",
            expected="one cell a place, to compare with",
        )
    rows = {place: row for row, place in enumerate(places)}
    found = [rows.get(place, -1) for place in _places(table, shared)]
    if all(row < 0 for row in found):
        raise RequestError(
            f"{table.name} and {other.name} share no cell",
            expected=f"tables with some equal values of {', '.join(shared)}",
        )
    return found


def _places(table: CellTable, names: list[str]) -> list[tuple[Any, ...]]:
    axes = [next(axis for axis in table.axes if _short(axis) == name) for name in names]
    return [tuple(axis.values[row] for axis in axes) for row in range(len(table))]


def _short(axis: Axis) -> str:
    return axis.name.split(".")[-1]
