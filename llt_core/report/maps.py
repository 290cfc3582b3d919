"""A quantity over two axes as coloured cells. Importing this imports matplotlib."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from llt_core.analysis import CellTable
from llt_core.analysis.table import Floats, Mask
from llt_core.report.colours import Colours
from llt_core.report.display import MISSING_COLOUR, metric_facts
from llt_core.report.grids import Plane, Ruler, ticks

NO_VALUE = "no value"
NOT_POSITIVE = "not positive: no logarithm"
_HATCHED: Any = {"facecolor": MISSING_COLOUR, "edgecolor": "0.65", "hatch": "////", "linewidth": 0}
_DOTTED: Any = {"facecolor": "#FDF1E2", "edgecolor": "#B5803F", "hatch": "....", "linewidth": 0}
DENSE = 2500
"""From this many cells on, a vector file holds the cells as an image: smaller, and no seams."""


@dataclass(frozen=True)
class Frame:
    """Where one panel stands among others: its size, and which names it carries.

    Attributes
    ----------
    inches
        Width and height of the plane, nearly.
    below, beside
        Whether the horizontal, the vertical axis is named here.
    titled
        Whether the quantity is named above the plane; else it is beside the bar of colours.
    """

    inches: tuple[float, float] = (4.6, 3.6)
    below: bool = True
    beside: bool = True
    titled: bool = False


def draw_metric(axes: Axes, table: CellTable, name: str, plane: Plane, frame: Frame) -> QuadMesh:
    """Draw the means of a column, with a bar of its colours.

    The cells' values are the array of the mesh that is returned, shape (Y, X), in the order of
    the levels of the plane; of Hessian quantities they are natural logarithms. Cells without a
    logarithm have patches with labels, for the legend.
    """
    column, facts = table.column(name), metric_facts(name)
    shown, held = (plane.spread(values) for values in (facts.shown(column.values), column.values))
    mesh = draw_cells(axes, plane, shown, Colours.of(shown, facts), frame, there=np.isfinite(held))
    label = facts.label(column.unit)
    if frame.titled:
        axes.set_title(label)
    add_bar(axes, mesh, "" if frame.titled else label)
    return mesh


def draw_cells(
    axes: Axes,
    plane: Plane,
    values: Floats,
    colours: Colours,
    frame: Frame,
    *,
    empty: str = NO_VALUE,
    there: Mask | None = None,
    **more: Any,
) -> QuadMesh:
    """Draw one rectangle for each value, shape (Y, X), and hatching where there is none.

    Parameters
    ----------
    empty
        What the legend calls a cell without a value: the label of its patch.
    there
        Where there are numbers, shape (Y, X); those without a finite one among ``values`` have
        no logarithm, and another hatching.
    """
    frame_axes(axes, plane, frame)
    x, y = plane.x.edges, plane.y.edges
    # Only under missing cells: faint ones let through what is behind them.
    for i, j in np.argwhere(~np.isfinite(values)):
        corner, wide, high = (x[j], y[i]), x[j + 1] - x[j], y[i + 1] - y[i]
        below = there is not None and there[i, j]
        look = {"label": NOT_POSITIVE, **_DOTTED} if below else {"label": empty, **_HATCHED}
        axes.add_patch(Rectangle(corner, wide, high, zorder=0.5, **look))
    return axes.pcolormesh(
        x,
        y,
        np.ma.masked_invalid(values),
        cmap=colours.map,
        norm=colours.norm,
        rasterized=values.size >= DENSE,
        zorder=1,
        **more,
    )


def frame_axes(axes: Axes, plane: Plane, frame: Frame) -> None:
    """Set scales, limits, ticks at the values that occur, and names."""
    for side, ruler in (("x", plane.x), ("y", plane.y)):
        _set_side(axes, side, ruler, frame)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_linewidth(0.6)


def _set_side(axes: Axes, side: str, ruler: Ruler, frame: Frame) -> None:
    upright = side == "y"
    axis = axes.yaxis if upright else axes.xaxis
    set_limits = axes.set_ylim if upright else axes.set_xlim
    if ruler.log:
        (axes.set_yscale if upright else axes.set_xscale)("log")
    ends = float(ruler.edges[0]), float(ruler.edges[-1])
    set_limits(*(reversed(ends) if upright and ruler.downward else ends))
    axis.set_minor_formatter(NullFormatter())
    if not ruler.axis.name:
        axis.set_major_locator(NullLocator())
        return
    named = ticks(ruler, frame.inches[upright], upright)
    names = ruler.names()
    dense = len(ruler.levels) > 40
    axis.set_minor_locator(NullLocator() if dense else FixedLocator(ruler.centres.tolist()))
    axis.set_ticks(ruler.centres[named], [names[place] for place in named])
    axis.set_tick_params(which="minor", length=1.5, width=0.5)
    axis.set_tick_params(which="major", length=3, width=0.7)
    if frame.beside if upright else frame.below:
        axis.set_label_text(ruler.title(upright))


def add_bar(axes: Axes, mesh: QuadMesh, label: str) -> None:
    """Draw the bar of colours to the right, as high as the plane."""
    figure = axes.get_figure()
    assert isinstance(figure, Figure)  # axes are made by a figure
    bar = figure.colorbar(mesh, ax=axes, fraction=0.05, pad=0.02, aspect=22)
    bar.outline.set_linewidth(0.4)
    bar.ax.tick_params(length=2, width=0.5, labelsize=7)
    bar.set_label(label, fontsize=8)
