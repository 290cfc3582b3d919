"""The exponent of a power-law tail, with its error."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]

SMALLEST_TAIL = 3
"""Values that a fit needs at least."""


@dataclass(frozen=True)
class PowerLaw:
    """A density ``p(x) ∝ x^(−α)`` for x ≥ xmin.

    Attributes
    ----------
    alpha
        The exponent α > 1.
    standard_error
        ``(α − 1)/√n`` of the n values in the tail: for independent values and a known xmin.
    xmin
        Where the tail begins, one of the values.
    tail
        How many values lie in it.
    distance
        Kolmogorov–Smirnov distance between the tail and the fit, between 0 and 1.
    """

    alpha: float
    standard_error: float
    xmin: float
    tail: int
    distance: float


def fit_power_law(values: Array, *, min_tail: int = 10) -> PowerLaw:
    """Fit a continuous power law to the tail of ``values`` by the package ``powerlaw``.

    The exponent is the maximum-likelihood one (Clauset, Shalizi and Newman 2009, eq. 3.1),
    and xmin is the value for which the distance between tail and fit is smallest (eq. 3.9).
    Candidates for xmin are scanned here, in closed form: powerlaw 2.0 starts an optimiser
    for each candidate with α outside (1.5, 3], which takes seconds for 512 values. It also
    reports every α above 3 as 3 by default; here its range is open.

    Parameters
    ----------
    values
        Positive and finite, shape ``(n,)``, in any order.
    min_tail
        Candidates that leave fewer values in the tail are not considered.

    Raises
    ------
    ValueError
        If values are not positive and finite, or fewer than ``min_tail`` (at least 3), or
        all equal.

    Examples
    --------
    >>> quantiles = (np.arange(200) + 0.5) / 200
    >>> fit = fit_power_law((1 - quantiles) ** (-1 / 1.5))
    >>> round(fit.alpha, 1), fit.tail
    (2.5, 200)
    """
    values = np.sort(np.asarray(values, dtype=np.float64))
    least = max(min_tail, SMALLEST_TAIL)
    if len(values) < least:
        raise ValueError(f"{len(values)} values, expected at least {least} to fit a power law to")
    if not (np.isfinite(values).all() and values[0] > 0):
        raise ValueError("a power law is fitted to positive finite values, these hold others")
    if values[0] == values[-1]:
        raise ValueError(f"all {len(values)} values are equal, so there is no tail")
    xmin = best_xmin(values, least)
    return _fit_above(values, xmin)


def best_xmin(values: Array, min_tail: int) -> float:
    """Return the candidate with the smallest distance; ``values`` ascend and are not all equal."""
    logs = np.log(values)
    best, xmin = math.inf, float(values[0])
    for start in range(len(values) - min_tail + 1):
        repeated = start > 0 and values[start] == values[start - 1]
        steps = logs[start:] - logs[start]
        total = float(steps.sum())
        if repeated or total <= 0:
            continue
        n = len(steps)
        model = -np.expm1(-(n / total) * steps)
        below = np.searchsorted(values[start:], values[start:], side="left") / n
        distance = float(np.abs(model - below).max())
        if distance < best:
            best, xmin = distance, float(values[start])
    return xmin


def _fit_above(values: Array, xmin: float) -> PowerLaw:
    powerlaw = _package()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        fit = powerlaw.Fit(values, xmin=xmin, parameter_ranges={"alpha": [1, None]}, verbose=0)
        law = fit.power_law
    tail = int(fit.n_tail)
    alpha = float(law.alpha)
    return PowerLaw(alpha, (alpha - 1) / math.sqrt(tail), xmin, tail, float(law.D))


def _package() -> Any:
    """Import ``powerlaw``, which imports ``matplotlib.pyplot``, without opening a display."""
    kept = os.environ.get("MPLBACKEND")
    os.environ.setdefault("MPLBACKEND", "agg")
    try:
        import powerlaw
    finally:
        if kept is None:
            os.environ.pop("MPLBACKEND", None)
    return powerlaw
