"""Lines of many cells as small multiples. Importing this imports matplotlib."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure

from llt_core.report.captions import Source
from llt_core.report.display import SEQUENTIAL
from llt_core.report.grids import Ruler
from llt_core.report.sheets import sheet
from llt_core.report.strands import Bundle, Strand
from llt_core.spec.naming import counted

MOST_PANELS = 16
MOST_NAMES = 14
ALIKE = 4
"""Panels share their horizontal axis up to this ratio of the widest to the narrowest one."""
DECADES = 8
"""A logarithmic axis shows this many powers of ten below the highest value of each panel."""


def bundle_figure(source: Source, bundle: Bundle, across: Ruler, up: Ruler) -> Figure:
    """Draw a panel for each value of one axis, and in it each line in the colour of the other.

    Parameters
    ----------
    across, up
        The axis of the colours, and that of the panels.
    """
    colour_of, panel_of = across.places(), up.places()
    drawn = sorted({int(panel_of[s.row]) for s in bundle.strands} - {-1})
    if len(drawn) > MOST_PANELS:
        kept = np.unique(np.linspace(0, len(drawn) - 1, MOST_PANELS).round().astype(int))
        left_out = f" · {len(kept)} of {len(drawn)} values of {up.facts.title} are drawn"
        drawn = [drawn[place] for place in kept]
    else:
        left_out = ""
    columns = min(len(drawn), 4)
    lines = [s for s in bundle.strands if panel_of[s.row] in drawn and colour_of[s.row] >= 0]
    panels = [[s for s in lines if panel_of[s.row] == level] for level in drawn]
    shared = "xy" if _alike(panels) else "y"
    own_range = "" if "x" in shared else f" · each panel has its own range of {bundle.x_label}"
    heading = [
        f"{bundle.title} of {source.table.name}",
        source.describe(),
        f"one line a {bundle.each}: n = {counted(len(lines), 'line')}{left_out}{own_range}",
    ]
    colours = _colours(len(across.levels))
    with sheet(-(-len(drawn) // columns), columns, heading, (2.9, 2.3), shared) as made:
        for place, (axes, level, own) in enumerate(zip(made.panels, drawn, panels, strict=False)):
            _draw(axes, own, [colours(int(colour_of[s.row])) for s in own])
            name = up.names()[level]
            axes.set_title(f"{up.facts.title} {name}" if up.axis.name else "")
            if place % columns == 0:
                axes.set_ylabel(bundle.y_label)
            if place + columns >= len(drawn):
                axes.set_xlabel(bundle.x_label)
                axes.tick_params(labelbottom=True)
        for axes in made.panels[len(drawn) :]:
            axes.remove()
        if bundle.y_log:
            _set_log(made.panels[0], panels)
        _add_key(made.figure, made.panels[: len(drawn)], across, colours, columns)
    return made.figure


def _alike(panels: Sequence[Sequence[Strand]]) -> bool:
    """Whether one horizontal axis can show the lines of all panels."""
    found = (np.concatenate([s.x for s in own]) for own in panels if own)
    widths = [float(np.ptp(x[np.isfinite(x)])) for x in found if np.isfinite(x).any()]
    # A single place, of a training of one epoch, can be shown anywhere.
    wide = [width for width in widths if width > 0]
    return not wide or max(wide) <= ALIKE * min(wide)


def _draw(axes: Axes, strands: list[Strand], colours: list[tuple[float, ...]]) -> None:
    axes.grid(True, color="0.93")
    lines = [np.column_stack([s.x, s.y]) for s in strands]
    dense = len(lines) > 500
    axes.add_collection(
        LineCollection(lines, colors=colours, linewidths=1.0, alpha=0.85, rasterized=dense)
    )
    for strand, colour in zip(strands, colours, strict=True):
        if len(strand.x) == 1:  # a training of one epoch
            axes.plot(strand.x, strand.y, "o", color=colour, markersize=3, alpha=0.85)
    axes.autoscale_view()


def _set_log(axes: Axes, panels: Sequence[Sequence[Strand]]) -> None:
    """Make the vertical axis, which all panels share, logarithmic."""
    axes.set_yscale("log", nonpositive="mask")
    whole = (np.concatenate([s.y for s in own]) for own in panels if own)
    held = [y for found in whole if (y := found[np.isfinite(found) & (found > 0)]).size]
    if held:
        low = min(max(float(y.min()), float(y.max()) / 10**DECADES) for y in held)
        axes.set_ylim(low / 1.3, max(float(y.max()) for y in held) * 1.3)


def _colours(count: int) -> ListedColormap:
    # The last fifth of the map is too light for thin lines on white.
    return ListedColormap(colormaps[SEQUENTIAL](np.linspace(0, 0.85, max(count, 1))))


def _add_key(
    figure: Figure, panels: list[Axes], across: Ruler, colours: ListedColormap, columns: int
) -> None:
    count = len(across.levels)
    norm = BoundaryNorm((np.arange(count + 1) - 0.5).tolist(), max(count, 1))
    key = ScalarMappable(norm=norm, cmap=colours)
    bar = figure.colorbar(
        key, ax=panels, fraction=0.03, pad=0.02, aspect=15 * -(-len(panels) // columns)
    )
    named = range(0, count, -(-count // MOST_NAMES))
    names = across.names()
    bar.set_ticks(list(named), labels=[names[place] for place in named])
    bar.ax.tick_params(length=2, labelsize=7)
    bar.ax.minorticks_off()
    bar.outline.set_linewidth(0.4)
    bar.set_label(across.title(), fontsize=8)
