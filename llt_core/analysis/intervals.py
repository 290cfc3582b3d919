"""Student's intervals of means and of their differences."""

from __future__ import annotations

from llt_core.analysis.student import t_quantile
from llt_core.analysis.table import Floats


def mean_interval(values: Floats, level: float = 0.95) -> tuple[float, float]:
    """Return the t interval of the mean of n values, shape (n,); NaN for fewer than two.

    >>> import numpy as np
    >>> low, high = mean_interval(np.array([1.0, 2.0, 3.0]))
    >>> round(low, 3), round(high, 3)
    (-0.484, 4.484)
    """
    n = len(values)
    if n < 2:
        return float("nan"), float("nan")
    return _around(float(values.mean()), float(values.std(ddof=1)) / n**0.5, n - 1.0, level)


def welch_interval(first: Floats, second: Floats, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of the difference of two means, of unequal variances (Welch 1947)."""
    if min(len(first), len(second)) < 2:
        return float("nan"), float("nan")
    a, b = (float(values.var(ddof=1)) / len(values) for values in (first, second))
    difference = float(first.mean() - second.mean())
    if a + b == 0:
        return difference, difference
    freedom = (a + b) ** 2 / (a**2 / (len(first) - 1) + b**2 / (len(second) - 1))
    return _around(difference, (a + b) ** 0.5, freedom, level)


def _around(centre: float, error: float, freedom: float, level: float) -> tuple[float, float]:
    reach = t_quantile((1 + level) / 2, freedom) * error
    return centre - reach, centre + reach
