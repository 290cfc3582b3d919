"""Estimated traces, and how sure a few random products make us of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from llt_plugins.curvature.products import unit_vector
from llt_plugins.curvature.types import Report, SymmetricOperator, ignore

TraceStop = Literal["tolerance", "limit", "exact", "not_finite"]
"""Why the estimate ended: precise enough, out of products, every coordinate visited, or a
NaN or infinite product."""

_Array = np.ndarray[Any, np.dtype[np.float64]]

_RANK_ONE = 2.0
"""Squared coefficient of variation of ``(u·v)²``, the worst case among spreads: χ² with 1."""


@dataclass(frozen=True)
class TraceEstimate:
    """An estimated trace.

    Attributes
    ----------
    value
        The estimate; NaN when ``stopped`` is ``"not_finite"``.
    standard_error
        One standard deviation of ``value``; 0.0 when it is exact, NaN where a few samples
        that are all alike say nothing about it.
    n
        Number of probe vectors averaged.
    stopped
        See :data:`TraceStop`.
    samples
        Float64, shape ``(n,)``: one unbiased estimate of the trace for each probe vector.
    degrees_of_freedom
        ``value ± t · standard_error``, with the 97.5 % quantile t of Student's distribution
        for this many degrees of freedom, is a 95 % interval.
    products
        Number of products with the operator that were spent, probes included.
    """

    value: float
    standard_error: float
    n: int
    stopped: TraceStop
    samples: _Array
    degrees_of_freedom: float
    products: int


def summarise(samples: Sequence[float], tolerance: float) -> TraceEstimate:
    """Return the estimate that ``samples``, independent and unbiased, amount to.

    Knows nothing but the samples: their standard deviation over √n, and n − 1 degrees of
    freedom. Samples of an operator with few large eigenvalues are skewed, and below about
    30 of them the interval covers less than it says (84 % at 8 for rank one).
    """
    values = np.asarray(samples, dtype=np.float64)
    n = len(values)
    if not np.isfinite(values).all():
        return not_finite(values, n)
    mean = float(values.mean())
    error = float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    stopped: TraceStop = "tolerance" if error <= tolerance * abs(mean) else "limit"
    return TraceEstimate(mean, error, n, stopped, values, n - 1, n)


def not_finite(samples: _Array, products: int) -> TraceEstimate:
    """Return what there is to say after a product that was NaN or infinite."""
    nothing = math.nan
    return TraceEstimate(nothing, nothing, len(samples), "not_finite", samples, nothing, products)


def spread(halves: Sequence[float]) -> tuple[float, float]:
    """Return the variance of one sample ``vᵀBv`` and its degrees of freedom.

    ``halves`` are numbers whose expectation is half that variance. For Gaussian v they are the
    ``‖Bv‖²``, since Var(vᵀBv) = 2‖B‖²_F.

    For independent signs v the vector ``d = v ∘ Bv`` has mean diag B, and its entries sum to
    the sample. Var(vᵀBv) = 2 Σᵢ Σⱼ≠ᵢ B²ᵢⱼ (Hutchinson 1990), while Var(dᵢ) = Σⱼ≠ᵢ B²ᵢⱼ
    (Bekas et al. 2007): the variance of the sum is exactly twice the sum of the variances.
    Estimating it from the P entries of d instead of from their sum needs no further product
    and is far less noisy: at 4 probes it is what 100 samples would tell for a spectrum that
    is spread out, and no worse than the samples themselves for rank one.

    The degrees of freedom are Satterthwaite's (1946), two for each number over their squared
    coefficient of variation. One pseudo-observation of the worst case, rank one, keeps a few
    numbers that happen to be alike from promising too much.

    Parameters
    ----------
    halves
        At least one. For signs the n − 1 increments of Welford's sum of squares of d over its
        entries, each with expectation Σ Var(dᵢ): see
        :class:`~llt_plugins.curvature.probes.Probes`.
    """
    values = np.asarray(halves, dtype=np.float64)
    mean = float(values.mean())
    if mean <= 0:
        return 0.0, float(len(values))
    relative = float(np.square(values / mean - 1).sum() + _RANK_ONE) / (len(values) + 1)
    return 2 * mean, 2 * len(values) / relative


def exact_trace(operator: SymmetricOperator, report: Report = ignore) -> TraceEstimate:
    """Return the trace as the sum of all P diagonal entries: no randomness, no error."""
    size = operator.size
    entries = np.empty(size)
    for index in range(size):
        column = operator.matvec(unit_vector(size, index))
        entries[index] = float(column[index])
        report(index + 1, size)
    if not np.isfinite(entries).all():
        return not_finite(entries, size)
    value = math.fsum(entries)
    return TraceEstimate(value, 0.0, size, "exact", np.full(1, value), math.inf, size)


def refuse_impossible(tolerance: float, **vectors: int) -> None:
    """Refuse numbers of vectors that give no standard error, and impossible tolerances.

    Raises
    ------
    ValueError
        Names the number.
    """
    for name, number in vectors.items():
        if number < 2:
            raise ValueError(f"{name} is {number}: a standard error needs at least 2 vectors")
    if not tolerance >= 0:
        raise ValueError(f"the tolerance is {tolerance}, expected a fraction ≥ 0")
