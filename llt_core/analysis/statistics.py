"""What goes with test accuracy: correlations of every column, with intervals.

Pearson's r, Spearman's ρ and Kendall's τ-b, over all cells, over the converged ones, and at
fixed load.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from llt_core.analysis.coefficients import Rows, kendall, partial_spearman, pearson, spearman
from llt_core.analysis.resampling import Bags, Signs, draw_bags, pearson_of_draws
from llt_core.analysis.table import Axis, CellTable, Column, Floats, Mask

Among = Literal["all", "converged"]
TARGET = "test_accuracy"
_HELD_OUT = frozenset(("test", "te", "val", "valid", "validation", "eval", "heldout"))
_TRAINED = frozenset(("train", "tr", "training"))
_OF_OUTPUTS = (
    "agreement",
    "disagreement",
    "js_divergence",
    "logit_cosine",
    "prediction_churn",
    "calibration_error",
    "expected_calibration_error",
    "brier",
    "negative_log_likelihood",
    "bleu",
    "ensemble_",
)
"""Beginnings of names of metrics that read the test set by default."""
FEWEST = 4
"""Cells from which a correlation is worth a number."""


@dataclass(frozen=True)
class Estimate:
    """A number, and the interval that holds it in ``level`` of all cases; NaN where unknown."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Correlation:
    """How one column goes with the test accuracy.

    Attributes
    ----------
    column
        Its name.
    among
        Which cells were asked for.
    n, missing
        Cells that have both numbers, and those that lack one and were left out.
    transform
        ``log`` if Pearson's r is that of the natural logarithm, else empty.
    pearson, spearman, kendall
        With percentile-bootstrap intervals over cells.
    partial
        Spearman at fixed load, see :func:`correlate`.
    levels
        Levels of the load that hold two or more of these cells.
    predictor
        Whether it is computed without the test set, so that it predicts something.
    """

    column: str
    among: Among
    n: int
    missing: int
    transform: Literal["log", ""]
    pearson: Estimate
    spearman: Estimate
    kendall: Estimate
    partial: Estimate
    levels: int
    predictor: bool


NOTHING = Estimate(np.nan, np.nan, np.nan)


def correlate(
    table: CellTable,
    among: Among = "all",
    *,
    given: Axis | None = None,
    converged_at: float = 99.0,
    loss_below: float | None = None,
    draws: int = 400,
    seed: int = 0,
    level: float = 0.95,
) -> list[Correlation]:
    """Correlate every column with the test accuracy.

    Hessian columns enter Pearson's r as natural logarithms, if all are positive: they span
    decades, and the paper plots them so. Ranks do not change by that.

    The **partial** correlation asks whether a column says more than the load does. Ranks are
    taken within each level of the load axis, scaled to the same range in each, and correlated
    over all levels at once: a mean of the correlations inside the levels, weighted by their
    cells. The other way, a partial correlation on the logarithm of the load, assumes that
    the accuracy is linear in it; what is not linear would be credited to the columns. Levels
    with a single cell say nothing and drop out.

    The intervals come from resampling cells. Where there are more than 400, this is the bag of
    little bootstraps (Kleiner et al. 2014): small bags of cells, each resampled to the full
    number, the distances of the ends from the bag's own value averaged over the bags. The cells
    of a grid are no random sample; read an interval as how far the number hangs on single cells.

    Parameters
    ----------
    table
        With a column ``test_accuracy``; without one the list is empty.
    among
        ``converged``: cells with a train accuracy of at least ``converged_at`` percent. In a
        table without train accuracies: with a training loss below ``loss_below``, if given.
    given
        The axis to hold fixed; None: the first that is tagged as load.
    draws
        Resamples for the intervals.
    level
        What the intervals cover.

    Returns
    -------
    list of Correlation
        Columns in the order of the table; those with fewer than four cells have NaNs.
    """
    if TARGET not in table:
        return []
    everywhere = np.ones(len(table), np.bool_)
    chosen = everywhere if among == "all" else converged(table, converged_at, loss_below)
    axis = table.of_kind("load") if given is None else given
    groups = None if axis is None else level_numbers(axis)
    correlator = _Correlator(table, among, _in_order(table, chosen), groups, draws, seed, level)
    bags: dict[bytes, Bags] = {}
    return [
        correlator.one(column, bags) for name, column in table.columns.items() if name != TARGET
    ]


def _in_order(table: CellTable, chosen: Mask) -> Rows:
    """Return the chosen rows in an order that depends on their numbers alone, shape (n,)."""
    keys = [column.values for column in table.columns.values() if column.name != TARGET]
    order = np.lexsort([*keys, table.columns[TARGET].values])
    return order[chosen[order]]


def converged(table: CellTable, at: float = 99.0, loss_below: float | None = None) -> Mask:
    """Return which cells have a train accuracy of at least ``at`` percent, shape (N,).

    In a table without train accuracies: a training loss below ``loss_below``, if that is given.
    """
    if "train_accuracy" not in table:
        if loss_below is None or "train_loss" not in table:
            return np.zeros(len(table), dtype=np.bool_)
        return table.columns["train_loss"].values < loss_below
    return table.columns["train_accuracy"].values >= at


def is_predictor(name: str) -> bool:
    """Whether a column is computed without held-out examples, going by its name.

    What compares outputs reads the test set unless its name says ``train``.

    >>> is_predictor("cka"), is_predictor("mode_connectivity_test_error")
    (True, False)
    >>> is_predictor("agreement"), is_predictor("agreement_train")
    (False, True)
    """
    words = re.split(r"[^a-z0-9]+", name.lower())
    if not _HELD_OUT.isdisjoint(words):
        return False
    plain = "_".join(words)
    return not _TRAINED.isdisjoint(words) or not plain.startswith(_OF_OUTPUTS)


def transform_of(column: Column) -> Literal["log", ""]:
    """Return ``log`` for Hessian quantities that are positive wherever they are known."""
    known = column.values[np.isfinite(column.values)]
    positive = bool(known.size) and bool(known.min() > 0)
    return "log" if positive and column.name.startswith(("hessian_", "gauss_newton_")) else ""


def level_numbers(axis: Axis) -> Floats:
    """Return a number for the value of each row, equal exactly where the values are; shape (N,).

    Rows without a value have NaN.
    """
    order = {value: float(place) for place, value in enumerate(axis.levels)}
    return np.array([order.get(value, np.nan) for value in axis.values], dtype=np.float64)


@dataclass(frozen=True)
class _Correlator:
    """Correlates columns of a table; columns that lack the same cells share their resamples."""

    table: CellTable
    among: Among
    rows: Rows
    groups: Floats | None
    draws: int
    seed: int
    level: float

    def one(self, column: Column, bags: dict[bytes, Bags]) -> Correlation:
        values, target = column.values[self.rows], self.table.columns[TARGET].values[self.rows]
        both = np.isfinite(values) & np.isfinite(target)
        n, transform = int(both.sum()), transform_of(column)
        x, y = values[both], target[both]
        groups = None if self.groups is None else self.groups[self.rows][both]
        estimates = (NOTHING, NOTHING, NOTHING, NOTHING)
        if n >= FEWEST:
            key = both.tobytes()
            if key not in bags:
                bags[key] = draw_bags(y, groups, self.draws, self.seed)
            estimates = self._estimates(x, np.log(x) if transform else x, y, groups, bags[key])
        return Correlation(
            column.name,
            self.among,
            n,
            len(both) - n,
            transform,
            *estimates,
            0 if groups is None else _levels(groups),
            is_predictor(column.name),
        )

    def _estimates(
        self, x: Floats, shown: Floats, y: Floats, groups: Floats | None, bags: Bags
    ) -> tuple[Estimate, Estimate, Estimate, Estimate]:
        partial = np.nan if groups is None else partial_spearman(x, y, groups)
        values = (pearson(shown, y), spearman(x, y), kendall(x, y), partial)
        found: tuple[list[Floats], ...] = ([], [], [], [])
        for bag in bags:
            signs = Signs.of(x[bag.rows])
            found[0].append(pearson_of_draws(shown[bag.rows], bag.target, bag.weights))
            found[1].append(bag.spearman(signs))
            found[2].append(bag.kendall(signs))
            found[3].append(bag.partial(signs))
        first, second, third, fourth = (
            Estimate(value, *interval(value, draws, self.level))
            for value, draws in zip(values, found, strict=True)
        )
        return first, second, third, fourth


def interval(value: float, draws: list[Floats], level: float) -> tuple[float, float]:
    """Return the ends of the interval of a correlation, from the draws of one bag or several.

    The first draw of each of several bags is the bag itself.
    """
    if np.isnan(value):
        return np.nan, np.nan
    if len(draws) == 1:
        ends = percentiles(draws[0], level)
    else:
        shifts = [percentiles(held[1:] - held[0], level) for held in draws]
        ends = np.clip(value + np.mean(shifts, axis=0), -1, 1)
    return float(ends[0]), float(ends[1])


def percentiles(values: Floats, level: float) -> Floats:
    """Return the ends of the middle ``level`` of the finite values; NaN if half are not."""
    held = values[np.isfinite(values)]
    if 2 * held.size < max(values.size, 1):
        return np.array([np.nan, np.nan])
    tail = 50 * (1 - level)
    return np.percentile(held, [tail, 100 - tail])


def _levels(groups: Floats) -> int:
    """Count the groups of two or more."""
    return int((np.unique(groups[np.isfinite(groups)], return_counts=True)[1] > 1).sum())


def compare(
    table: CellTable, one: str, other: str, among: Mask, *, draws: int = 1000, level: float = 0.95
) -> Estimate:
    """Return |ρ| of one column less that of another, over the cells of ``among`` with both.

    The interval comes from resampling cells, the same for both columns.
    """
    x, z, y = (table.columns[name].values for name in (one, other, TARGET))
    rows = np.flatnonzero(among & np.isfinite(x) & np.isfinite(z) & np.isfinite(y))
    rows = rows[np.lexsort((x[rows], z[rows], y[rows]))]
    if rows.size < FEWEST:
        return NOTHING
    x, z, y = x[rows], z[rows], y[rows]
    value = abs(spearman(x, y)) - abs(spearman(z, y))
    found = [
        np.abs(bag.spearman(Signs.of(x[bag.rows]))) - np.abs(bag.spearman(Signs.of(z[bag.rows])))
        for bag in draw_bags(y, None, draws, seed=0)
    ]
    return Estimate(value, *interval(value, found, level))
