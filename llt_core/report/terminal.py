"""Figures drawn with characters, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from rich.text import Text

from llt_core.report.blocks import draw_bars, draw_histogram, draw_map
from llt_core.report.canvas import STYLES, Canvas
from llt_core.report.result import Panel
from llt_core.report.scales import Axis, Floats

HEIGHT = 14
NARROWEST = 30
FEW = 30
"""Up to this many points, each is marked."""


def draw(panel: Panel, width: int) -> list[Text]:
    """Return the lines of one figure, none wider than ``width`` characters (at least 30).

    Colours, where the terminal has them, repeat what letters and shades already say.

    Raises
    ------
    DrawingError
        The figure and the arrays do not go together.
    """
    panel.check()
    width = max(width, NARROWEST)
    drawers = {
        "line": _draw_curves,
        "scatter": _draw_curves,
        "bars": draw_bars,
        "histogram": draw_histogram,
        "matrix": draw_map,
        "surface": draw_map,
    }
    body = drawers[panel.figure.kind](panel, width)
    lines = [Text(panel.figure.title, style="bold"), *body]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines


def _draw_curves(panel: Panel, width: int) -> list[Text]:
    figure = panel.figure
    assert figure.x is not None  # a figure of these kinds has one
    x = panel.column(figure.x)
    series = [panel.column(name) for name in figure.y]
    bands = panel.bands()
    across = Axis.around(x, figure.x_log)
    upwards = Axis.around(np.concatenate(list(_extents(series, bands))), figure.y_log)
    ticks = {_number(value): upwards.position([value])[0] for value in upwards.ticks(5)}
    margin = max(map(len, ticks)) + 2
    canvas = Canvas(width - margin, HEIGHT)
    places = across.position(x)
    for number, (y, band) in enumerate(zip(series, bands, strict=True)):
        if band is not None:
            low = np.where((y - band > 0) | (not upwards.log), y - band, upwards.low)
            canvas.band(places, upwards.position(low), upwards.position(y + band), number)
        draw_series = canvas.points if figure.kind == "scatter" else canvas.line
        draw_series(places, upwards.position(y), number)
    for number, y in enumerate(series):
        _mark(canvas, places, upwards.position(y), number, len(series), figure.kind == "scatter")
    return [
        *([Text(figure.y_label, style="dim")] if figure.y_label else []),
        *_with_frame(canvas, ticks, margin),
        *_below(across, canvas.width, margin, figure.x_label or figure.x),
        *_legend(panel, len(series)),
    ]


def _extents(series: list[Floats], bands: list[Floats | None]) -> Iterable[Floats]:
    for y, band in zip(series, bands, strict=True):
        yield y
        if band is not None:
            yield from (y - band, y + band)


def _mark(canvas: Canvas, x: Floats, y: Floats, number: int, count: int, scatter: bool) -> None:
    """Mark points: all of them if they are few, else enough letters to tell curves apart."""
    held = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if count == 1 and len(held) > FEW:
        return
    if len(held) > FEW and not scatter:
        # Curves that lie on each other carry their letters at different places.
        stride = max(len(held) // 6, 1)
        held = held[(stride * number) // count :: stride]
    letter = "•" if count == 1 else _letter(number)
    for index in held:
        canvas.letter(x[index], y[index], letter, number)


def _with_frame(canvas: Canvas, ticks: dict[str, float], margin: int) -> list[Text]:
    """Put the axis and its numbers to the left of the picture."""
    rows: dict[int, str] = {}
    for text, place in ticks.items():
        rows[canvas.height - 1 - round(place * (4 * canvas.height - 1)) // 4] = text
    lines = []
    for row, drawn in enumerate(canvas.lines()):
        left = rows.get(row, "").rjust(margin - 2) + (" ┤" if row in rows else " │")
        lines.append(Text.assemble((left, "dim"), drawn))
    return [*lines, Text(" " * (margin - 1) + "└" + "─" * canvas.width, style="dim")]


def _below(axis: Axis, width: int, margin: int, name: str) -> list[Text]:
    """Return the numbers of the x axis, and its name."""
    row = [" "] * width
    free = 0
    for value in axis.ticks(max(width // 12, 2)):
        text = _number(value)
        start = round(axis.position([value])[0] * (width - 1)) - len(text) // 2
        start = min(max(start, 0), width - len(text))
        if start >= free:
            row[start : start + len(text)] = text
            free = start + len(text) + 1
    left = " " * margin
    return [
        Text(left + "".join(row).rstrip(), style="dim"),
        Text(left + name.center(width).rstrip(), style="dim"),
    ]


def _legend(panel: Panel, count: int) -> list[Text]:
    band = " (dots: ± one standard error)" if any(panel.figure.band) else ""
    if count == 1 and not panel.figure.labels:
        return [Text(band.strip(" ()"), style="dim")] if band else []
    parts = [
        Text(f"{_letter(n) if count > 1 else '•'} {panel.label(n)}", style=STYLES[n % len(STYLES)])
        for n in range(count)
    ]
    return [Text("  ").append_text(Text("   ").join(parts)).append(band, style="dim")]


def _letter(number: int) -> str:
    return "abcdefghijklmnopqrstuvwxyz"[number % 26]


def _number(value: float) -> str:
    return f"{value:.4g}"
