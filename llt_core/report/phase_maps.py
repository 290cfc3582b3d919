"""The phases over two axes, with their boundaries. Importing this imports matplotlib."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from llt_core.analysis import PHASES, PhaseRule, Verdicts, classify
from llt_core.analysis.phases import UNDETERMINED, Codes
from llt_core.analysis.table import Floats
from llt_core.report.captions import Source
from llt_core.report.colours import phase_colours
from llt_core.report.display import PHASE_COLOURS, PHASE_INK
from llt_core.report.grids import Plane
from llt_core.report.inferred import joined
from llt_core.report.maps import DENSE, NO_VALUE, Frame, draw_cells

FAINTEST = 0.25
"""Strength of the colour of a cell whose phase no draw of models repeats."""
PALE = 0.35
"""Strength of the colour of a cell whose phase was inferred from others."""
SMALL = 0.06
"""A separate region with at least this share of all cells is named too."""


@dataclass(frozen=True)
class PhaseView:
    """The phases of a table, and how sure they are.

    Attributes
    ----------
    sure
        Share of the draws of models in which each cell keeps its phase, shape (N,); NaN where
        nothing says how models differ.
    inferred
        The place in ``PHASES`` of each cell whose phase was concluded from others, shape (N,);
        −1 for all others.
    """

    verdicts: Verdicts
    sure: Floats
    inferred: Codes

    @classmethod
    def of(cls, source: Source, rule: PhaseRule | None = None) -> PhaseView:
        """Sort the cells into phases, and draw the models of each again.

        Phases that were inferred count where they were concluded with the same thresholds.
        """
        from llt_core.analysis.confidence import phase_probabilities

        table, found = source.table, source.inferred
        verdicts = classify(table, rule)
        chances = phase_probabilities(table, verdicts.rule)
        own = np.where(verdicts.codes < 0, len(PHASES), verdicts.codes)
        inferred = np.full(len(table), UNDETERMINED, dtype=np.int8)
        if found is not None and found.holds_for(rule or PhaseRule()):
            for row, place in joined(table, found)[1].items():
                phase = found.phases[place]
                if row < len(table) and phase is not None:
                    inferred[row] = PHASES.index(phase)
        return cls(verdicts, chances[np.arange(len(table)), own], inferred)

    @property
    def codes(self) -> Codes:
        """The phase of each cell, measured or inferred, shape (N,)."""
        return np.where(self.inferred >= 0, self.inferred, self.verdicts.codes)

    def describe(self) -> str:
        """Say what lines and shades mean, and what is not known."""
        words = "boundaries run between measured cells of different phase"
        concluded = int((self.inferred >= 0).sum())
        if concluded:
            words = (
                f"{concluded} pale, dotted cells were not measured but inferred (+ in the counts); "
                f"{words}, thin ones beside inferred cells"
            )
        known = np.isfinite(self.sure) & (self.verdicts.codes >= 0)
        if not known.any():
            return f"{words}; uncertainty over models not known: no shading"
        words += "; the fainter, the fewer draws of the models (bootstrap) give that phase"
        lacking = int((~known & (self.verdicts.codes >= 0)).sum())
        return f"{words} (not known in {lacking} cells)" if lacking else words


def draw_phases(
    axes: Axes, view: PhaseView, plane: Plane, frame: Frame, empty: str = NO_VALUE
) -> QuadMesh:
    """Draw the phase of each cell, boundaries, and names in the regions.

    The array of the mesh that is returned holds places in ``PHASES``, −1 for undetermined,
    shape (Y, X). The legend calls places without a cell ``empty``.
    """
    codes = plane.spread(view.codes.astype(np.float64))
    sure = np.nan_to_num(plane.spread(view.sure), nan=1.0)
    inferred = plane.spread((view.inferred >= 0).astype(np.float64)) == 1
    strength = np.where(inferred, PALE, FAINTEST + (1 - FAINTEST) * sure)
    axes.set_facecolor("white")
    mesh = draw_cells(axes, plane, codes, phase_colours(), frame, empty=empty, alpha=strength)
    x, y = np.meshgrid(plane.x.centres, plane.y.centres)
    axes.plot(x[inferred], y[inferred], ".", color="0.35", markersize=2.5, zorder=3)
    measured = boundaries(plane.spread(view.verdicts.codes.astype(np.float64)), plane)
    certain = set(map(tuple, measured))
    guessed = [line for line in boundaries(codes, plane) if tuple(line) not in certain]
    width = 0.4 if codes.size >= DENSE else 1.3
    for lines, colour, share in ((guessed, "0.4", 0.4), (measured, "0.1", 1.0)):
        axes.add_collection(
            LineCollection(lines, colors=colour, linewidths=share * width, capstyle="round")
        )
    _name_regions(axes, codes, plane, frame)
    if frame.titled:
        axes.set_title("phases, and cells in each")
    _add_key(axes, view, "" if frame.titled else "phase: cells")
    return mesh


def boundaries(codes: Floats, plane: Plane) -> list[list[tuple[float, float]]]:
    """Return the cell edges between different phases, each from corner to corner.

    There is none beside a cell that is missing or undetermined: nobody knows where one runs.
    """
    x, y = plane.x.edges, plane.y.edges
    known = np.isfinite(codes) & (codes >= 0)
    across = known[:, 1:] & known[:, :-1] & (codes[:, 1:] != codes[:, :-1])
    up = known[1:] & known[:-1] & (codes[1:] != codes[:-1])
    upright = [[(x[j + 1], y[i]), (x[j + 1], y[i + 1])] for i, j in np.argwhere(across)]
    level = [[(x[j], y[i + 1]), (x[j + 1], y[i + 1])] for i, j in np.argwhere(up)]
    return upright + level


def _name_regions(axes: Axes, codes: Floats, plane: Plane, frame: Frame) -> None:
    """Write the phase into its largest region, and into others that are not small."""
    from scipy import ndimage

    for code, phase in enumerate(PHASES):
        regions, count = ndimage.label(codes == code)
        sizes = np.bincount(regions.ravel(), minlength=count + 1)[1:]
        for place in range(count):
            if place == int(sizes.argmax()) or sizes[place] >= SMALL * codes.size:
                region = regions == place + 1
                row, column = _inside(region)
                room = frame.inches[0] * float(region.any(axis=0).mean())
                text = axes.text(
                    plane.x.centres[column],
                    plane.y.centres[row],
                    phase,
                    ha="center",
                    va="center",
                    color=PHASE_INK[phase],
                    fontsize=9 if room > 0.4 else 6.5,
                    fontweight="bold",
                    fontfamily="DejaVu Serif",  # else a I is a bar
                    zorder=4,
                )
                text.set_path_effects([withStroke(linewidth=1.5, foreground=PHASE_COLOURS[phase])])


def _inside(region: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Return the cell of a region that is farthest from its border, nearest to its middle."""
    from scipy import ndimage

    depth = ndimage.distance_transform_cdt(np.pad(region, 1), "taxicab")[1:-1, 1:-1]
    cells = np.argwhere(depth == depth.max())
    off = ((cells - np.argwhere(region).mean(axis=0)) ** 2).sum(axis=1)
    row, column = cells[int(off.argmin())]
    return int(row), int(column)


def _add_key(axes: Axes, view: PhaseView, label: str) -> None:
    """Draw the bar of phases with the number of cells of each, inferred ones apart."""
    from matplotlib.cm import ScalarMappable

    figure = axes.get_figure()
    assert isinstance(figure, Figure)  # axes are made by a figure
    colours, counts = phase_colours(), view.verdicts.counts
    more = [int((view.inferred == code).sum()) for code in range(len(PHASES))]
    key = ScalarMappable(norm=colours.norm, cmap=colours.map)
    bar = figure.colorbar(key, ax=axes, fraction=0.05, pad=0.02, aspect=22, spacing="uniform")
    bar.outline.set_linewidth(0.4)
    names = [
        f"{phase}: {counts[phase]}" + (f" + {extra}" if extra else "")
        for phase, extra in zip(PHASES, more, strict=True)
    ]
    left = counts["undetermined"] - sum(more)
    bar.set_ticks([UNDETERMINED, *range(len(PHASES))], labels=[f"open: {left}", *names])
    if not left:
        bar.ax.set_ylim(-0.5, len(PHASES) - 0.5)
    bar.ax.tick_params(length=0, labelsize=7)
    bar.ax.minorticks_off()
    bar.set_label(label, fontsize=8)
