"""Whole figures of maps: one quantity, the phases, figure 2 of the paper, a gain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from llt_core.analysis import CellTable, Column, PhaseRule
from llt_core.analysis.phases import CONNECTIVITY
from llt_core.analysis.samples import Samples
from llt_core.errors import RequestError
from llt_core.report.captions import Source, missing, rule_in_words
from llt_core.report.colours import Colours
from llt_core.report.display import metric_facts
from llt_core.report.grids import Plane
from llt_core.report.maps import Frame, add_bar, draw_cells, draw_metric
from llt_core.report.page.matching import match_rows
from llt_core.report.phase_maps import PhaseView, draw_phases
from llt_core.report.sheets import sheet
from llt_core.spec.naming import counted

FIGURE2 = (
    "test_accuracy",
    "train_loss",
    "hessian_top_eigenvalue",
    "hessian_trace",
    "mode_connectivity",
    "cka",
    "l2_distance",
)
"""What figure 2 of Yang et al. (2021) shows; the phases come last."""
PHASES_PANEL = "phases"
SINGLE = Frame()
SMALL = (2.15, 2.0)


@dataclass(frozen=True)
class Drawing:
    """A figure, and the meshes in it that hold its numbers, by quantity; phases as ``phases``."""

    figure: Figure
    meshes: Mapping[str, QuadMesh] = field(default_factory=dict)


def metric_figure(source: Source, name: str, plane: Plane) -> Drawing:
    """Draw one quantity over two axes."""
    table = source.table
    column = table.column(name)
    _check_finite(table, name)
    heading = [
        f"{metric_facts(name).title} of {table.name}",
        source.describe(),
        _joined(_how(column), missing(table, column)),
    ]
    with sheet(1, 1, heading, (5.6, 4.3)) as made:
        mesh = draw_metric(made.panels[0], table, name, plane, SINGLE)
        made.explain(*made.panels[0].patches)
    return Drawing(made.figure, {name: mesh})


def phase_figure(source: Source, plane: Plane, rule: PhaseRule | None = None) -> Drawing:
    """Draw the phases over two axes."""
    view = PhaseView.of(source, rule)
    heading = [
        f"phases of {source.table.name}",
        source.describe(),
        rule_in_words(view.verdicts),
        view.describe(),
    ]
    with sheet(1, 1, heading, (5.6, 4.3)) as made:
        mesh = draw_phases(made.panels[0], view, plane, SINGLE, empty="no cell")
        made.explain(*made.panels[0].patches)
    return Drawing(made.figure, {PHASES_PANEL: mesh})


def figure2(source: Source, plane: Plane, rule: PhaseRule | None = None) -> Drawing:
    """Draw the eight panels of figure 2; what the table lacks is a panel that says so."""
    table, view = source.table, PhaseView.of(source, rule)
    heading = [
        f"load and temperature: {table.name}",
        source.describe(),
        f"ln: natural logarithm of the mean over models · {rule_in_words(view.verdicts)}",
        view.describe(),
    ]
    meshes = {}
    with sheet(2, 4, heading, (3.15, 2.55)) as made:
        for place, (axes, name) in enumerate(
            zip(made.panels, (*_shown(table), PHASES_PANEL), strict=True)
        ):
            frame = Frame(SMALL, below=place >= 4, beside=place % 4 == 0, titled=True)
            if name == PHASES_PANEL:
                meshes[name] = draw_phases(axes, view, plane, frame)
            elif name in table and np.isfinite(table.columns[name].values).any():
                meshes[name] = draw_metric(axes, table, name, plane, frame)
            else:
                why = f"no {name} in the table" if name not in table else f"{name}: no finite value"
                made.leave_empty(axes, metric_facts(name).title, why)
            made.explain(*axes.patches)
    return Drawing(made.figure, meshes)


def _shown(table: CellTable) -> Iterator[str]:
    """Yield the quantities of figure 2; of connectivities the one that phases are told by."""
    there = next((name for name in CONNECTIVITY if name in table), CONNECTIVITY[0])
    yield from (there if name in CONNECTIVITY else name for name in FIGURE2)


def gain_figure(
    source: Source, other: Source, name: str, x: str | None = None, y: str | None = None
) -> Drawing:
    """Draw by how much a quantity is larger than in another table, cell by cell (figure 13).

    Cells are the same where the values of all varied axes are. Of Hessian quantities the logarithms
    are subtracted, so that the gain is that of a ratio.

    Raises
    ------
    RequestError
        The tables are not over the same axes, or have no cell in common with a value in both.
    """
    plane = Plane.of(source.table, x, y)
    facts, column = metric_facts(name), source.table.column(name)
    rows = np.array(
        match_rows(source.table, other.table, (plane.x.axis.name, plane.y.axis.name)), dtype=np.intp
    )
    theirs = np.where(rows >= 0, other.table.column(name).values[rows], np.nan)
    gain = plane.spread(facts.shown(column.values) - facts.shown(theirs))
    there = np.isfinite(plane.spread(column.values - theirs))
    both = int(np.isfinite(gain).sum())
    if not both:
        raise RequestError(
            f"{source.table.name} and {other.table.name} have no cell with {name} in common",
            expected="two tables with equal values on both axes",
        )
    what = f"{facts.title} of {source.table.name} minus that of {other.table.name}"
    mean = float(np.nanmean(gain))
    better = {"low": " · blue is better", "high": " · blue is better"}.get(facts.better or "", "")
    heading = [
        f"gain: {what}",
        source.describe(),
        f"minus {other.describe()}",
        f"{counted(both, 'cell')} in both, mean gain {mean:.3g}{better}",
    ]
    with sheet(1, 1, heading, (5.6, 4.3)) as made:
        colours = Colours.around_zero(gain, facts.better)
        mesh = draw_cells(
            made.panels[0], plane, gain, colours, SINGLE, empty="not in both", there=there
        )
        unit = "percentage points" if column.unit == "percent" else column.unit
        add_bar(made.panels[0], mesh, f"gain in {facts.label(unit)}")
        made.explain(*made.panels[0].patches)
    return Drawing(made.figure, {name: mesh})


def _how(column: Column) -> str:
    """Say what is drawn, and over what it is a mean, as far as that is known."""
    samples = Samples.of(column.samples)
    read = set(samples.widths[samples.reads].tolist())
    over = {1: " over models", 2: " over pairs of models"}.get(max(read, default=0), "")
    mean = "of a set of models" if max(read, default=0) > 2 else f"mean{over}"
    return f"natural logarithm of the {mean}" if _log(column.name) else mean


def _log(name: str) -> bool:
    return metric_facts(name).transform == "log"


def _joined(*parts: str) -> str:
    return " · ".join(part for part in parts if part)


def _check_finite(table: CellTable, name: str) -> None:
    if not np.isfinite(table.columns[name].values).any():
        reasons = sorted(set(table.columns[name].reasons) - {""})[:3]
        raise RequestError(
            f"no cell of {table.name} has a finite {name}",
            expected="; ".join(reasons) or "at least one number",
        )
