"""What goes with test accuracy: correlations of every column, with intervals.

Pearson's r, Spearman's ρ and Kendall's τ-b, over all cells, over the converged ones, and at
fixed load. No scipy.stats: importing it takes longer than everything here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from llt_core.analysis.resampling import Bags, Signs, draw_bags, pearson_of_draws
from llt_core.analysis.table import Axis, CellTable, Column, Floats, Mask

Among = Literal["all", "converged"]
Rows = npt.NDArray[np.intp]
TARGET = "test_accuracy"
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
        ``converged``: cells with a train accuracy of at least ``converged_at`` percent. A table
        without train accuracies has none.
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
    chosen = np.ones(len(table), np.bool_) if among == "all" else converged(table, converged_at)
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


def converged(table: CellTable, at: float = 99.0) -> Mask:
    """Return which cells have a train accuracy of at least ``at`` percent, shape (N,)."""
    if "train_accuracy" not in table:
        return np.zeros(len(table), dtype=np.bool_)
    return table.columns["train_accuracy"].values >= at


def is_predictor(name: str) -> bool:
    """Whether a column is computed without the test set.

    >>> is_predictor("cka"), is_predictor("mode_connectivity_test_error")
    (True, False)
    """
    return "test" not in name.split("_") and not name.startswith("ensemble_")


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


def ranks(values: Floats) -> Floats:
    """Return ranks from 1 along the last axis, equal values sharing their mean.

    >>> ranks(np.array([10.0, 30.0, 10.0, 20.0]))
    array([1.5, 4. , 1.5, 3. ])
    """
    n = values.shape[-1]
    order = np.argsort(values, axis=-1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=-1)
    begins = np.ones(values.shape, dtype=np.bool_)
    begins[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    ends = np.ones(values.shape, dtype=np.bool_)
    ends[..., :-1] = begins[..., 1:]
    places = np.arange(n)
    first = np.maximum.accumulate(np.where(begins, places, 0), axis=-1)
    last = np.minimum.accumulate(np.where(ends, places, n)[..., ::-1], axis=-1)[..., ::-1]
    result = np.empty(values.shape)
    np.put_along_axis(result, order, (first + last) / 2 + 1, axis=-1)
    return result


def pearson(x: Floats, y: Floats) -> float:
    """Return Pearson's r of two vectors, shape (N,); NaN if one is constant."""
    x, y = x - x.mean(), y - y.mean()
    # Powers of two change no digit, and keep squares of tiny numbers above zero.
    x, y = (v / (np.abs(v).max() or 1.0) for v in (x, y))
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(np.clip(x @ y / scale, -1, 1)) if scale else float("nan")


def spearman(x: Floats, y: Floats) -> float:
    """Return Spearman's ρ of two vectors, shape (N,); NaN if one is constant.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 8.0, 9.0]))
    1.0
    """
    return pearson(ranks(x), ranks(y))


def kendall(x: Floats, y: Floats) -> float:
    """Return Kendall's τ-b of two vectors, shape (N,); NaN if one is constant.

    In N log² N steps: discordant pairs are inversions, and an inversion shows at the highest
    binary digit in which two ranks differ.
    """
    n = len(x)
    dense_x, dense_y = (np.unique(v, return_inverse=True)[1] for v in (x, y))
    pairs = n * (n - 1) // 2
    tied_x, tied_y = _tied(dense_x), _tied(dense_y)
    tied_both = _tied(np.unique(dense_x * (n + 1) + dense_y, return_inverse=True)[1])
    # Within equal x the y ascend, so that such pairs are no inversions.
    discordant = _inversions(dense_y[np.lexsort((dense_y, dense_x))])
    concordant = pairs - tied_x - tied_y + tied_both - discordant
    scale = float(pairs - tied_x) ** 0.5 * float(pairs - tied_y) ** 0.5
    return (concordant - discordant) / scale if scale else float("nan")


def partial_spearman(x: Floats, y: Floats, groups: Floats) -> float:
    """Return the rank correlation inside groups, over all of them; see :func:`correlate`.

    ``groups``, shape (N,), holds equal numbers for cells of one group; cells with NaN drop out.
    NaN if no group has two different values of both.
    """
    known = np.isfinite(groups)
    numbered: Rows = np.unique(groups[known], return_inverse=True)[1]
    sizes = np.bincount(numbered)[numbered]
    inner_x, inner_y = ((2 * _inner_ranks(v[known], numbered) - sizes - 1) / sizes for v in (x, y))
    scale = float(np.sqrt((inner_x @ inner_x) * (inner_y @ inner_y)))
    return float(inner_x @ inner_y) / scale if scale else float("nan")


def _inner_ranks(values: Floats, groups: Rows) -> Floats:
    """Return ranks from 1 within each group; shape (N,), groups numbered from 0."""
    dense = np.unique(values, return_inverse=True)[1]
    before = np.cumsum(np.bincount(groups)) - np.bincount(groups)
    return ranks(np.asarray(groups * (len(values) + 1) + dense, dtype=np.float64)) - before[groups]


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


def _tied(dense: Rows) -> int:
    """Count the pairs of equal numbers."""
    counts = np.bincount(dense.ravel())
    return int((counts * (counts - 1) // 2).sum())


def _inversions(values: Rows) -> int:
    """Count the pairs of which the earlier is greater; shape (N,), integers from 0."""
    total, groups = 0, values.astype(np.int64)
    for bit in range(int(values.max(initial=0)).bit_length()):
        # Pairs that agree above this digit, the earlier of which has a one and the later a zero.
        above = groups >> (bit + 1)
        order = np.argsort(above, kind="stable")
        ones = (groups[order] >> bit) & 1
        before = np.cumsum(ones) - ones
        ordered = above[order]
        begins = np.r_[True, ordered[1:] != ordered[:-1]]
        start = np.maximum.accumulate(np.where(begins, np.arange(len(ordered)), 0))
        total += int(((before - before[start]) * (1 - ones)).sum())
    return total
