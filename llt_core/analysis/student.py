"""Quantiles of Student's t, without the tenth of a second that scipy.special takes to import."""

from __future__ import annotations

import math

_TINY = 1e-300
_STEPS = 500


def t_quantile(probability: float, freedom: float) -> float:
    """Return t with P(T ≤ t) = ``probability``, at least ½, for ``freedom`` degrees.

    >>> round(t_quantile(0.975, 4), 4)
    2.7764
    """
    tail = 1 - probability
    if tail >= 0.5:
        return 0.0
    high = 1.0
    while upper_tail(high, freedom) > tail:
        high *= 2
    low = 0.0 if high == 1.0 else high / 2
    for _ in range(60):  # halves the interval down to rounding
        middle = (low + high) / 2
        low, high = (middle, high) if upper_tail(middle, freedom) > tail else (low, middle)
    return (low + high) / 2


def upper_tail(t: float, freedom: float) -> float:
    """Return P(T > t) for t of at least 0."""
    return _beta(freedom / (freedom + t * t), freedom / 2, 0.5) / 2


def _beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b), 0 ≤ x ≤ 1."""
    if x in (0.0, 1.0):
        return x
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast on the other side
        return 1 - _beta(1 - x, b, a)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front += a * math.log(x) + b * math.log1p(-x)
    return math.exp(front) / (a * _fraction(x, a, b))


def _fraction(x: float, a: float, b: float) -> float:
    """Evaluate the continued fraction of I_x(a, b) by Lentz's method (1976).

    It is 1 + d₁/(1 + d₂/(1 + …)), with the coefficients of DLMF 8.17.22.
    """
    value, c, d = 1.0, 1.0, 0.0
    for step in range(1, _STEPS):
        m = step // 2
        if step % 2:
            coefficient = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            coefficient = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d = 1 + coefficient * d
        d = 1 / (d if abs(d) > _TINY else _TINY)
        c = 1 + coefficient / c
        c = c if abs(c) > _TINY else _TINY
        value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value
