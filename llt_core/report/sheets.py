"""An empty figure of panels with its heading and footer. Importing this imports matplotlib."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from llt_core.report.pictures import STYLE

LETTERS_PER_INCH = 15.5


@dataclass
class Sheet:
    """A figure that is being drawn.

    Attributes
    ----------
    panels
        Its axes, row by row.
    entries
        What the legend below all panels explains, by its words.
    """

    figure: Figure
    panels: list[Axes]
    entries: dict[str, Artist] = field(default_factory=dict)

    def explain(self, *entries: Artist) -> None:
        """Add entries to the legend below, each of them once."""
        self.entries.update({str(entry.get_label()): entry for entry in entries})

    def leave_empty(self, axes: Axes, title: str, why: str) -> None:
        """Make a panel that says why nothing is drawn there."""
        axes.set_title(title)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_facecolor("0.97")
        for spine in axes.spines.values():
            spine.set_visible(True)
            spine.set_color("0.8")
        middle: Any = {"ha": "center", "va": "center", "transform": axes.transAxes}
        axes.text(0.5, 0.5, textwrap.fill(why, 26), color="0.4", fontsize=8, **middle)


@contextmanager
def sheet(
    rows: int,
    columns: int,
    heading: Sequence[str],
    panel: tuple[float, float],
    shared: str = "",
) -> Iterator[Sheet]:
    """Give a figure to draw on; legend and heading are added when the block ends.

    Parameters
    ----------
    heading
        Lines above the panels, the first one larger; long ones are wrapped.
    panel
        Width and height of one panel with its names, in inches.
    shared
        Letters of the axes that are the same in all panels: ``x``, ``y``.
    """
    with matplotlib.rc_context({**STYLE, "hatch.linewidth": 0.5, "hatch.color": "0.65"}):
        width = max(columns * panel[0], 4.8)
        below = [
            part
            for line in heading[1:]
            for part in textwrap.wrap(line, int(width * LETTERS_PER_INCH))
        ]
        height = rows * panel[1] + 0.3 + 0.15 * len(below)
        layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06, wspace=0.02, hspace=0.03)
        figure = Figure(figsize=(width, height), layout=layout)
        FigureCanvasAgg(figure)
        grid = figure.subplots(
            rows, columns, squeeze=False, sharex="x" in shared, sharey="y" in shared
        )
        made = Sheet(figure, list(grid.ravel()))
        yield made
        figure.suptitle("\n".join((heading[0], *below)), fontsize=8.5, linespacing=1.35)
        if made.entries:
            figure.legend(
                handles=list(made.entries.values()),
                labels=list(made.entries),
                loc="outside lower center",
                ncols=min(len(made.entries), 6),
                fontsize=7.5,
            )
