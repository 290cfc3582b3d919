"""Double descent: lines along an axis on which the test error rises and falls again.

And where along each line the Hessian jumps, for the two are said to go together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from llt_core.analysis.lines import Line, between, lines_along
from llt_core.analysis.table import Axis, CellTable, Floats
from llt_core.analysis.transitions import logarithms, steepest

FEWEST = 5
"""Cells of a line on which a peak is looked for."""
NEIGHBOURS = 2
"""Cells on either side whose errors a cell shares."""


@dataclass(frozen=True)
class Peak:
    """The highest interior peak of the test error on one line.

    Attributes
    ----------
    line
        The fixed values of the other axes.
    n
        Cells of the line.
    at, place
        Where: the value of the axis, and the place along the line, counted from 0. NaN if the
        error only falls, or only rises: then there is no peak.
    error
        The test error there, in percent.
    height
        How far it stands above the higher of the two valleys beside it, in percent.
    relative_height
        The same as a share of the test error in that valley.
    p
        Bound on the probability of such a peak from noise, were the error monotone; NaN where
        no standard errors are known.
    adjusted_p
        The same for the best of all lines along the axis (Holm 1979).
    significant
        ``adjusted_p`` is at most the level; without standard errors: the relative height is at
        least the one asked for.
    hessian_at, hessian_place
        Where the log trace of the Hessian changes most, between two cells; NaN if unknown.
    """

    line: str
    n: int
    at: float
    place: float
    error: float
    height: float
    relative_height: float
    p: float
    adjusted_p: float
    significant: bool
    hessian_at: float
    hessian_place: float

    @property
    def distance(self) -> float:
        """How many steps, between cells with a test accuracy, to the jump of the Hessian."""
        return abs(self.place - self.hessian_place)


def peaks(
    table: CellTable, axis: Axis, *, level: float = 0.05, relative_height: float = 0.05
) -> list[Peak]:
    """Look for a peak of the test error on each line along ``axis``.

    The height of a peak is what it rises above the lowest error before it, or above the lowest
    behind it, whichever is less. **With standard errors** of the test accuracy, its p is a bound
    that holds for every monotone curve. Were the error monotone, one of the two differences
    would be noise alone. So p sums, over all pairs of cells that could be that difference, the
    probability that noise makes it so high. The noise of a cell is the root mean square of
    the standard errors of the cell and two neighbours on either side, with the degrees of freedom
    of all (Student's t). **Without** them, a peak counts if its relative height is at least
    ``relative_height``: that is a convention, no test.

    Returns
    -------
    list of Peak
        One for each line of at least five cells with a test accuracy; empty without that column.
    """
    if "test_accuracy" not in table:
        return []
    accuracy = table.columns["test_accuracy"]
    trace = logarithms(table, "hessian_trace") if "hessian_trace" in table else None
    found = []
    for line in lines_along(table, axis):
        known = line.known(accuracy.values)
        if len(known.rows) < FEWEST:
            continue
        rows = known.rows
        peak = _peak(known, 100 - accuracy.values[rows])
        noise = _noise(accuracy.standard_errors[rows], accuracy.n[rows].astype(np.float64))
        if noise is not None:
            peak = replace(peak, p=_chance(peak.height, *noise))
        found.append(_beside(peak, line, known, trace))
    return _decided(found, level, relative_height)


def _peak(line: Line, error: Floats) -> Peak:
    before = np.minimum.accumulate(error)
    behind = np.minimum.accumulate(error[::-1])[::-1]
    valley = np.maximum(before, behind)
    height = error - valley
    top = int(np.argmax(height))
    nan = float("nan")
    there = bool(height[top] > 0)
    return Peak(
        line=line.label,
        n=len(error),
        at=float(line.at[top]) if there else nan,
        place=float(top) if there else nan,
        error=float(error[top]) if there else nan,
        height=float(height[top]),
        relative_height=float(height[top] / valley[top])
        if there and valley[top] > 0
        else (np.inf if there else 0.0),
        p=nan,
        adjusted_p=nan,
        significant=False,
        hessian_at=nan,
        hessian_place=nan,
    )


def _noise(errors: Floats, n: Floats) -> tuple[Floats, Floats] | None:
    """Return the noise of each of n cells and its degrees of freedom, shape (n,) each.

    None if not a single standard error is known. A column's ``n`` of 1 with an error means
    that many examples are behind it: as good as normal.
    """
    known = np.isfinite(errors)
    if not known.any():
        return None
    places = np.arange(len(errors))
    near = (np.abs(places[:, None] - places) <= NEIGHBOURS) & known
    # Where no neighbour says anything, the whole line does.
    near[~near.any(axis=1)] = known
    squares = np.where(known, errors, 0.0) ** 2
    variance = (near @ squares) / near.sum(axis=1)
    freedom = near @ np.where(n > 1, n - 1.0, 1e6)
    return np.sqrt(variance), freedom


def _chance(height: float, noise: Floats, freedom: Floats) -> float:
    """Bound the probability that noise on a monotone curve makes a peak of ``height``."""
    if not height > 0:
        return 1.0
    from scipy.special import stdtr

    # A falling curve: the peak must rise above an earlier cell, and be inside the line.
    i, j = np.triu_indices(len(noise), 1)
    variance = noise[i] ** 2 + noise[j] ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        # Welch (1947) and Satterthwaite (1946)
        df = variance**2 / (noise[i] ** 4 / freedom[i] + noise[j] ** 4 / freedom[j])
        tails = np.where(variance > 0, stdtr(df, -height / np.sqrt(variance)), 0.0)
    falling, rising = tails[j < len(noise) - 1].sum(), tails[i > 0].sum()
    return float(min(1.0, max(falling, rising)))


def _beside(peak: Peak, line: Line, own: Line, trace: Floats | None) -> Peak:
    """Put the jump of the Hessian beside a peak, its place counted on the peak's own line."""
    if trace is None:
        return peak
    measured = line.known(trace)
    place = steepest(measured, trace)
    if np.isnan(place):
        return peak
    at = between(measured, place)
    # Counted in the cells that the peak's place is counted in.
    where = np.interp(at, own.at, np.arange(len(own.at)), left=np.nan, right=np.nan)
    return replace(peak, hessian_at=at, hessian_place=float(where))


def _decided(found: Sequence[Peak], level: float, relative_height: float) -> list[Peak]:
    """Correct for looking at many lines, and say which peaks count."""
    tested = sorted((p.p, place) for place, p in enumerate(found) if np.isfinite(p.p))
    adjusted: dict[int, float] = {}
    worst = 0.0
    for before, (p, place) in enumerate(tested):
        worst = max(worst, min(1.0, p * (len(tested) - before)))
        adjusted[place] = worst
    return [
        replace(peak, adjusted_p=adjusted[place], significant=adjusted[place] <= level)
        if place in adjusted
        else replace(peak, significant=peak.relative_height >= relative_height)
        for place, peak in enumerate(found)
    ]
