"""One figure on one pair of matplotlib axes. Importing this imports matplotlib."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from llt_core.report.result import Panel
from llt_core.report.scales import Axis, ColourScale, Floats, bin_edges

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Told apart by colour-blind readers (Okabe & Ito 2008)."""
MAPS = {"diverging": "RdBu_r", "sequential": "viridis", "log": "viridis"}
MISSING = "0.8"
FEW = 30
"""Up to this many points, each is marked."""
ANNOTATED = 10
"""Up to this many rows and columns, a matrix shows its numbers."""
LEVELS = 12
MOST_BINS = 60


def draw_panel(panel: Panel, axes: Axes) -> None:
    """Draw ``panel`` on ``axes``, with title, labels, legend and colour bar.

    Raises
    ------
    DrawingError
        The figure and the arrays do not go together.
    """
    panel.check()
    figure = panel.figure
    drawers = {
        "line": _draw_lines,
        "scatter": _draw_points,
        "bars": _draw_bars,
        "histogram": _draw_histogram,
        "matrix": _draw_matrix,
        "surface": _draw_surface,
    }
    drawers[figure.kind](panel, axes)
    axes.set_title(figure.title)
    if figure.kind in ("line", "scatter", "histogram"):
        _add_legend(panel, axes)


def _add_legend(panel: Panel, axes: Axes) -> None:
    """Say which colour is which, and what bands are; one series without either needs nothing."""
    banded = any(panel.figure.band)
    if len(panel.figure.y) > 1 or panel.figure.labels or banded:
        note = "shaded" if panel.figure.kind == "line" else "bars"
        title = f"{note}: ± 1 standard error" if banded else None
        axes.legend(title=title, title_fontsize=7)


def _draw_lines(panel: Panel, axes: Axes) -> None:
    x = _prepare(panel, axes)
    for number, (name, band) in enumerate(zip(panel.figure.y, panel.bands(), strict=True)):
        y, colour = panel.column(name), COLOURS[number % len(COLOURS)]
        marker = "o" if len(x) <= FEW else ""
        axes.plot(x, y, color=colour, marker=marker, label=panel.label(number))
        if band is not None:
            low, high = y - band, y + band
            if panel.figure.y_log:
                low = np.where(low > 0, low, np.nanmin(np.where(y > 0, y, np.inf)) / 10)
            axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    if panel.figure.y_log:
        _cut_low(np.concatenate([panel.column(name) for name in panel.figure.y]), axes)


def _cut_low(values: Floats, axes: Axes) -> None:
    """End a logarithmic axis where the terminal's ends too."""
    shown = Axis.around(values, log=True)
    if np.nanmin(np.where(values > 0, values, np.inf)) < shown.low:
        axes.set_ylim(shown.low, 10 * shown.high)


def _draw_points(panel: Panel, axes: Axes) -> None:
    x = _prepare(panel, axes)
    for number, (name, band) in enumerate(zip(panel.figure.y, panel.bands(), strict=True)):
        y, colour = panel.column(name), COLOURS[number % len(COLOURS)]
        axes.scatter(x, y, color=colour, s=16, alpha=0.8, linewidth=0, label=panel.label(number))
        if band is not None:
            axes.errorbar(x, y, band, fmt="none", ecolor=colour, alpha=0.5, elinewidth=1)


def _prepare(panel: Panel, axes: Axes) -> Floats:
    """Set scales and names of the axes; return x."""
    figure = panel.figure
    assert figure.x is not None  # a line or scatter has one
    if figure.x_log:
        axes.set_xscale("log", nonpositive="mask")
    if figure.y_log:
        axes.set_yscale("log", nonpositive="mask")
    axes.set_xlabel(figure.x_label or figure.x)
    axes.set_ylabel(figure.y_label)
    axes.grid(True, color="0.92")
    x = panel.column(figure.x)
    if not figure.x_log and (x == np.rint(x)).all():
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return x


def _draw_bars(panel: Panel, axes: Axes) -> None:
    """Draw bars that lie, because names of layers are long."""
    figure = panel.figure
    values, (band,) = panel.column(figure.y[0]), panel.bands()
    places = np.arange(len(values))
    axes.barh(
        places,
        values,
        xerr=band,
        color=COLOURS[0],
        height=0.7,
        error_kw={"ecolor": "0.25", "capsize": 2, "elinewidth": 1},
    )
    axes.set_yticks(places, panel.entries(len(values)))
    axes.set_ylim(len(values) - 0.4, -0.6)
    if figure.y_log:
        axes.set_xscale("log", nonpositive="mask")
    elif (values < 0).any():
        axes.axvline(0, color="0.25", linewidth=0.8)
    for place in np.flatnonzero(~np.isfinite(values)):
        beside = axes.get_yaxis_transform()
        axes.text(
            0.01, float(place), "not finite", transform=beside, va="center", color="0.4", fontsize=7
        )
    axes.set_xlabel(figure.y_label + (", ± 1 standard error" if band is not None else ""))
    axes.set_ylabel(figure.x_label)
    axes.grid(True, axis="x", color="0.92")


def _draw_histogram(panel: Panel, axes: Axes) -> None:
    figure = panel.figure
    samples = [panel.column(name).ravel() for name in figure.y]
    edges = bin_edges(np.concatenate(samples), figure.x_log, MOST_BINS)
    for number, sample in enumerate(samples):
        axes.hist(
            sample[np.isfinite(sample)],
            bins=list(edges),
            color=COLOURS[number % len(COLOURS)],
            alpha=0.6 if len(samples) > 1 else 0.9,
            label=panel.label(number),
        )
    if figure.x_log:
        axes.set_xscale("log")
    if figure.y_log:
        axes.set_yscale("log")
    axes.set_xlabel(figure.x_label or figure.y[0])
    axes.set_ylabel(figure.y_label or "count")
    axes.grid(True, axis="y", color="0.92")


def _draw_matrix(panel: Panel, axes: Axes) -> None:
    figure = panel.figure
    assert figure.z is not None  # a matrix has one
    z = panel.column(figure.z)
    scale = ColourScale.of(z)
    image = axes.imshow(z, aspect="equal", **_colours(scale))
    if figure.labels and len(figure.labels) == len(z):
        axes.set_yticks(range(len(z)), figure.labels)
        if z.shape[0] == z.shape[1]:
            turned: Any = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
            axes.set_xticks(range(len(z)), figure.labels, **turned)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(figure.x_label)
    axes.set_ylabel(figure.y_label)
    if max(z.shape) <= ANNOTATED:
        _write_numbers(z, axes, image)
    _add_bar(image, scale, panel, axes)


def _write_numbers(z: Floats, axes: Axes, image: ScalarMappable) -> None:
    """Write each value on its square, dark on light colours and light on dark ones."""
    for (row, column), value in np.ndenumerate(z):
        if np.isfinite(value):
            red, green, blue, _ = image.to_rgba(np.asarray(value))
            dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
            axes.text(
                column,
                row,
                f"{value:.3g}",
                ha="center",
                va="center",
                color="white" if dark else "black",
                fontsize=8,
            )


def _draw_surface(panel: Panel, axes: Axes) -> None:
    figure = panel.figure
    assert figure.x is not None  # a surface has both axes
    assert figure.z is not None
    x, y, z = panel.column(figure.x), panel.column(figure.y[0]), panel.column(figure.z)
    scale = ColourScale.of(z, steep=True)
    axes.set_xlabel(figure.x_label or figure.x)
    axes.set_ylabel(figure.y_label or figure.y[0])
    if min(z.shape) < 2:  # there is no area to draw contours on
        columns, rows = np.meshgrid(x, y)
        _add_bar(axes.scatter(columns, rows, c=z, **_colours(scale)), scale, panel, axes)
        return
    held = np.ma.masked_invalid(z)
    axes.set_facecolor(MISSING)
    levels = _levels(scale)
    filled = axes.contourf(x, y, held, levels=levels, **_colours(scale))
    lines = axes.contour(x, y, held, levels=levels[1:-1], colors="0.15", linewidths=0.5, alpha=0.6)
    axes.clabel(lines, fontsize=7, fmt="%.3g")
    _mark_lowest(x, y, z, axes)
    _add_bar(filled, scale, panel, axes)


def _mark_lowest(x: Floats, y: Floats, z: Floats, axes: Axes) -> None:
    row, column = np.unravel_index(np.argmin(np.where(np.isfinite(z), z, np.inf)), z.shape)
    found = f"lowest: {z[row, column]:.3g}"
    for colour, size, name in (("white", 3.0, None), ("black", 1.2, found)):
        axes.plot(
            x[column],
            y[row],
            marker="x",
            linestyle="",
            color=colour,
            markersize=6,
            markeredgewidth=size,
            clip_on=False,
            zorder=5,
            label=name,
        )
    axes.legend(frameon=True, framealpha=0.8, edgecolor="none", fontsize=7, handletextpad=0.2)


def _levels(scale: ColourScale) -> Floats:
    """Return round levels that hold all values between the first and the last."""
    if scale.kind != "log":
        around = MaxNLocator(LEVELS, symmetric=scale.kind == "diverging")
        return np.asarray(around.tick_values(scale.low, scale.high), dtype=np.float64)
    powers = 10.0 ** np.arange(np.floor(np.log10(scale.low)), np.ceil(np.log10(scale.high)) + 1)
    for steps in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1,)):
        levels = np.outer(powers, steps).ravel()
        first, last = np.searchsorted(levels, [scale.low, scale.high])
        levels = levels[max(first - 1, 0) : last + 1]
        if len(levels) <= LEVELS + 4:
            break
    return levels


def _colours(scale: ColourScale) -> dict[str, Any]:
    kind = LogNorm if scale.kind == "log" else Normalize
    return {"cmap": MAPS[scale.kind], "norm": kind(scale.low, scale.high)}


def _add_bar(mappable: ScalarMappable, scale: ColourScale, panel: Panel, axes: Axes) -> None:
    parent = axes.get_figure()
    assert parent is not None  # axes are made by a figure
    bar = parent.colorbar(mappable, ax=axes, fraction=0.046, pad=0.03)
    if scale.kind == "log":
        steps = (1.0, 2.0, 5.0) if scale.high < 1000 * scale.low else (1.0,)
        bar.ax.yaxis.set_major_locator(LogLocator(subs=steps))
        bar.ax.yaxis.set_major_formatter("{x:g}")
        bar.ax.yaxis.set_minor_formatter(NullFormatter())
    bar.set_label(panel.figure.z_label)
