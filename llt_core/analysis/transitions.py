"""Where along a line the training loss falls, and where the Hessian jumps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from llt_core.analysis.lines import Line, between, lines_along
from llt_core.analysis.table import Axis, CellTable, Floats

FEWEST = 4
"""Cells of a line on which a transition is looked for."""


@dataclass(frozen=True)
class Transition:
    """Two places on one line, in cells counted from 0 and as values of the axis.

    Attributes
    ----------
    line
        The fixed values of the other axes.
    loss_place, loss_at
        Where the training loss crosses the threshold; of several crossings the nearest to
        the jump. Between two cells its logarithm is taken as straight.
    hessian_place, hessian_at
        Where the log trace changes most from one cell to the next: half-way between them.
    by_chance
        The mean distance that a jump anywhere on the line would have, in steps.
    """

    line: str
    loss_place: float
    loss_at: float
    hessian_place: float
    hessian_at: float
    by_chance: float

    @property
    def distance(self) -> float:
        """Steps between the two, from one cell with both numbers to the next."""
        return abs(self.loss_place - self.hessian_place)


def transitions(table: CellTable, axis: Axis, train_loss: float) -> list[Transition]:
    """Find both on each line of at least four cells that has both.

    The table needs the columns ``train_loss`` and ``hessian_trace``. Steps are counted between
    cells that have both numbers; a level of the axis that a line lacks is no step. No loss crosses
    a threshold of zero or less.
    """
    if not train_loss > 0:
        return []
    log_loss, log_trace = (logarithms(table, name) for name in ("train_loss", "hessian_trace"))
    found = []
    for whole in lines_along(table, axis):
        line = whole.known(log_loss + log_trace)
        places = crossings(line, log_loss, float(np.log(train_loss)))
        jump = steepest(line, log_trace)
        if len(line.rows) < FEWEST or not places.size or np.isnan(jump):
            continue
        nearest = float(places[np.argmin(np.abs(places - jump))])
        anywhere = np.arange(len(line.rows) - 1) + 0.5
        chance = float(np.abs(places[:, None] - anywhere).min(axis=0).mean())
        ends = between(line, nearest), between(line, jump)
        found.append(Transition(line.label, nearest, ends[0], jump, ends[1], chance))
    return found


def logarithms(table: CellTable, column: str) -> Floats:
    """Return natural logarithms, shape (N,), NaN for what is not above zero."""
    values = table.columns[column].values
    known = values > 0
    return np.where(known, np.log(np.where(known, values, 1.0)), np.nan)


def steepest(line: Line, values: Floats) -> float:
    """Return the place at which ``values`` (N,) of the table change most on a line.

    Between two cells next to each other, which count from 0: 2.5 lies between the third and
    the fourth. NaN if no two neighbours differ.
    """
    steps = np.abs(np.diff(values[line.rows]))
    if not np.isfinite(steps).any() or not np.nanmax(steps) > 0:
        return float("nan")
    return float(np.nanargmax(steps)) + 0.5


def crossings(line: Line, values: Floats, threshold: float) -> Floats:
    """Return the places on a line at which values (N,) of the table cross a threshold."""
    above = values[line.rows] - threshold
    before, behind = above[:-1], above[1:]
    steps = np.flatnonzero((before >= 0) != (behind >= 0))
    return np.asarray(steps + before[steps] / (before[steps] - behind[steps]))
