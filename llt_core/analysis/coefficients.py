"""Coefficients of correlation of two vectors: r, ρ, τ-b, and ρ inside groups.

No scipy.stats: importing it takes longer than everything here.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llt_core.analysis.table import Floats

Rows = npt.NDArray[np.intp]


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


def spearman_of_pairs(x: Floats, y: Floats, fewest: int = 3) -> tuple[float, int]:
    """Return Spearman's ρ over the pairs that are finite, and how many those are.

    NaN for fewer than ``fewest`` pairs, or where one side does not vary.

    >>> spearman_of_pairs(np.array([1.0, 2.0, 30.0, 4.0]), np.array([3.0, 2.0, -1.0, np.nan]))
    (-1.0, 3)
    """
    both = np.isfinite(x) & np.isfinite(y)
    n = int(both.sum())
    return (spearman(x[both], y[both]) if n >= fewest else float("nan")), n


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
    """Return the rank correlation inside groups, over all of them.

    See :func:`~llt_core.analysis.statistics.correlate`.
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
