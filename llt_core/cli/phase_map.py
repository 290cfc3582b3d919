"""The map of an adaptive sweep as text: measured phases, and inferred ones in brackets."""

from __future__ import annotations

from typing import Any

from rich.markup import escape

from llt_core.cli.layout import fitted
from llt_core.cli.tables import wide_console
from llt_core.fields import short_fields
from llt_core.store.maps import MapPoint, PhaseMap

UNSURE = 0.8
"""Probability of the likeliest phase below which it has a question mark."""


def print_map(found: PhaseMap) -> None:
    """Print a grid over two axes, a list over any other number of them."""
    console = wide_console()
    fields = list(found.points[0].values)
    if len(fields) == 2:
        headings, lines = _grid(found, fields)
    else:
        short = short_fields(found.points[0].values)
        headings = [*short.values(), "phase", "probability"]
        lines = [
            [*(_text(v) for v in p.values.values()), _mark(p), f"{p.confidence:.2f}"]
            for p in found.points
        ]
    console.print()
    console.print(fitted(console, headings, lines))
    console.print(
        f"(phase): inferred; (phase?): with a probability below {UNSURE:g}",
        style="dim",
        highlight=False,
    )
    count, inferred = len(found.points), len(found.points) - found.measured - found.open
    undecided = f", {found.open} tried and without a phase (–)" if found.open else ""
    unlikely = f" and {found.expected_open} to have none" if found.expected_open else ""
    console.print(
        f"{found.measured} of {count} phases measured{undecided}, {inferred} inferred, of which "
        f"{found.expected_wrong:.1f} are expected to be wrong{unlikely}"
        + (f"; {found.stopped}" if found.stopped else ""),
        highlight=False,
        soft_wrap=True,
    )


def _grid(found: PhaseMap, fields: list[str]) -> tuple[list[str], list[list[str]]]:
    """Return a table with the first field across and the second one down."""
    across, down = (_levels(found, field) for field in fields)
    short = short_fields(found.points[0].values)
    at = {tuple(map(_text, point.values.values())): _mark(point) for point in found.points}
    headings = [f"{short[fields[1]]} \\ {short[fields[0]]}", *across]
    return headings, [[row, *(at.get((column, row), "") for column in across)] for row in down]


def _levels(found: PhaseMap, field: str) -> list[str]:
    return list(dict.fromkeys(_text(point.values[field]) for point in found.points))


def _mark(point: MapPoint) -> str:
    if point.basis == "measured":
        return f"[bold]{point.phase}[/]"
    if point.basis == "open":
        return "–"
    return f"({point.phase or '–'}{'?' if point.confidence < UNSURE else ''})"


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else escape(str(value))
