"""Bars, histograms and maps drawn with block characters."""

from __future__ import annotations

import numpy as np
from rich.cells import cell_len
from rich.text import Text

from llt_core.report.canvas import STYLES
from llt_core.report.result import Panel
from llt_core.report.scales import ColourScale, Floats, bin_edges

MOST_BARS = 40
MOST_BINS = 16
MOST_ROWS = 24
SHADES = " .:-=+*#%@"
_EIGHTHS = " ▏▎▍▌▋▊▉"


def draw_bars(panel: Panel, width: int) -> list[Text]:
    """Draw one bar a line, to the left of the zero line where the value is negative."""
    (name,) = panel.figure.y
    values = panel.column(name)
    (band,) = panel.bands()
    names = panel.entries(len(values))
    texts = [f"{value:.4g}" if np.isfinite(value) else "not finite" for value in values]
    if band is not None:
        sure = np.isfinite(values) & np.isfinite(band)
        texts = [
            f"{text} ± {error:.2g}" if known else text
            for text, error, known in zip(texts, band, sure, strict=True)
        ]
    shown = slice(0, MOST_BARS)
    lines = _bars(names[shown], values[shown], texts[shown], width)
    if len(values) > MOST_BARS:
        lines.append(Text(f"… {len(values) - MOST_BARS} more", style="dim"))
    return [*_caption(panel.figure.y_label), *lines]


def draw_histogram(panel: Panel, width: int) -> list[Text]:
    """Draw one bin a line; several samples one after the other, with the same bins."""
    figure = panel.figure
    samples = [panel.column(name).ravel() for name in figure.y]
    edges = bin_edges(np.concatenate(samples), figure.x_log, MOST_BINS)
    names = [f"{edge:.4g}" for edge in edges[:-1]]
    lines = _caption(f"{figure.x_label or figure.y[0]}: count in bins that begin at")
    for number, sample in enumerate(samples):
        held = sample[np.isfinite(sample)]
        counts = np.histogram(held, edges)[0].astype(np.float64)
        if len(samples) > 1 or figure.labels:
            lines.append(Text(panel.label(number), style=STYLES[number % len(STYLES)]))
        lines += _bars(names, counts, [f"{count:.0f}" for count in counts], width, number)
        if missing := int(sample.size - counts.sum()):
            lines.append(Text(f"{missing} not finite or not on the axis", style="dim"))
    return lines


def draw_map(panel: Panel, width: int) -> list[Text]:
    """Draw a matrix or a surface with shades; a small matrix with its numbers beside them."""
    figure = panel.figure
    assert figure.z is not None  # a figure of these kinds has one
    z = panel.column(figure.z)
    scale = ColourScale.of(z, steep=figure.kind == "surface")
    if figure.kind == "surface":
        lines = _surface(panel, z[::-1], scale, width)
    else:
        lines = _matrix(panel, z, scale, width)
    shades = f"{SHADES[0]!r} {scale.low:.4g} … {SHADES[-1]!r} {scale.high:.4g}"
    note = {"log": ", logarithmic", "diverging": f", zero between {SHADES[4]} and {SHADES[5]}"}
    missing = "; ? not finite" if not np.isfinite(z).all() else ""
    name = f"{figure.z_label}: " if figure.z_label else ""
    return [*lines, Text(f"{name}{shades}{note.get(scale.kind, '')}{missing}", style="dim")]


def _surface(panel: Panel, z: Floats, scale: ColourScale, width: int) -> list[Text]:
    """Return shades with the y axis upwards (``z`` begins with the highest row)."""
    assert panel.figure.x is not None  # a surface has both axes
    x, y = panel.column(panel.figure.x), panel.column(panel.figure.y[0])
    ends = [f"{value:.4g}" for value in (y[-1], y[0])]
    margin = max(map(len, ends)) + 1
    shaded = _shaded(z, scale, width - margin)
    left = [ends[0], *[""] * (len(shaded) - 2), ends[1]][: len(shaded)]
    lines = [
        Text.assemble((end.rjust(margin - 1) + " ", "dim"), row)
        for end, row in zip(left, shaded, strict=True)
    ]
    first, last = f"{x[0]:.4g}", f"{x[-1]:.4g}"
    name = f"x: {panel.figure.x_label or panel.figure.x}"
    gap = max(cell_len(shaded[0]) - len(first) - len(last), 1)
    below = f"{' ' * margin}{first}{' ' * gap}{last}"
    names = f"{' ' * margin}{name}   y: {panel.figure.y_label or panel.figure.y[0]}"
    return [*lines, Text(below, style="dim"), Text(names, style="dim")]


def _matrix(panel: Panel, z: Floats, scale: ColourScale, width: int) -> list[Text]:
    names = panel.entries(len(z))
    margin = min(max(map(cell_len, names)), width // 4) + 1
    numbers = [[f"{value:.3g}" for value in row] for row in z]
    cell = max(len(text) for row in numbers for text in row) + 3
    if len(z) <= MOST_ROWS and margin + cell * z.shape[1] <= width:
        shades = _shades(z, scale)
        body = [
            "".join(f"{shade}{text:>{cell - 2}} " for shade, text in zip(*pair, strict=True))
            for pair in zip(shades, numbers, strict=True)
        ]
    else:
        body = _shaded(z, scale, width - margin)
        names = [names[row] for row in _spread(len(z), MOST_ROWS)]
    return [
        Text.assemble((_cut(name, margin - 1).rjust(margin - 1) + " ", "dim"), row.rstrip())
        for name, row in zip(names, body, strict=True)
    ]


def _shaded(z: Floats, scale: ColourScale, width: int) -> list[str]:
    """Return rows of shades, two characters a column where they fit, fewer points if not."""
    columns = _spread(z.shape[1], width)
    wide = max(min(width // len(columns), 2), 1)
    shades = _shades(z[np.ix_(_spread(len(z), MOST_ROWS), columns)], scale)
    return ["".join(shade * wide for shade in row) for row in shades]


def _spread(count: int, most: int) -> list[int]:
    """Return ``most`` of ``count`` indices, the first and the last among them; all if they fit."""
    return [round(place) for place in np.linspace(0, count - 1, min(count, most))]


def _shades(z: Floats, scale: ColourScale) -> list[list[str]]:
    place = scale.axis.position(z)
    level = np.nan_to_num(np.clip(place * len(SHADES), 0, len(SHADES) - 1)).astype(int)
    return [
        [SHADES[index] if np.isfinite(at) else "?" for index, at in zip(*pair, strict=True)]
        for pair in zip(level, place, strict=True)
    ]


def _bars(
    names: list[str], values: Floats, texts: list[str], width: int, series: int = 0
) -> list[Text]:
    left = min(max(map(cell_len, names)), width // 3)
    room = max(width - left - max(map(len, texts)) - 3, 8)
    held = values[np.isfinite(values)]
    low, high = min(held.min(initial=0.0), 0.0), max(held.max(initial=0.0), 0.0)
    span = high - low or 1.0
    zero = round(-low / span * room)
    lines = []
    for name, value, text in zip(names, values, texts, strict=True):
        bar = _bar(value / span * room, zero, room) if np.isfinite(value) else " " * room
        lines.append(
            Text.assemble(
                (_cut(name, left).rjust(left) + " ", "dim"),
                (bar, STYLES[series % len(STYLES)]),
                f" {text}",
            )
        )
    return lines


def _bar(length: float, zero: int, room: int) -> str:
    """Return a bar of so many characters from the column ``zero``, filled up to ``room``."""
    if length < 0:
        # There are no blocks that fill from the right, so the left end is a whole character.
        count = min(round(-length), zero)
        return (" " * (zero - count) + "█" * count).ljust(room)
    eighths = min(round(length * 8), (room - zero) * 8)
    whole, rest = divmod(eighths, 8)
    return (" " * zero + "█" * whole + (_EIGHTHS[rest] if rest else "")).ljust(room)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def _caption(text: str) -> list[Text]:
    return [Text(text, style="dim")] if text else []
