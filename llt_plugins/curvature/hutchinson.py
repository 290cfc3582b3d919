"""Trace of a symmetric operator from random products, with an honest error bar."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from llt_plugins.curvature.types import Report, SymmetricOperator, ignore

TraceStop = Literal["tolerance", "limit", "not_finite"]
"""Why the estimate ended: precise enough, out of vectors, or a NaN or infinite product."""


@dataclass(frozen=True)
class TraceEstimate:
    """An estimated trace.

    Attributes
    ----------
    value
        Mean of the samples; NaN when ``stopped`` is ``"not_finite"``.
    standard_error
        One standard deviation of ``value``: ``s/√n``, with n − 1 in s². With the
        quantile of Student's t for n − 1 degrees of freedom it gives an interval.
    n
        Number of probe vectors drawn.
    stopped
        See :data:`TraceStop`.
    samples
        Float64, shape ``(n,)``: one unbiased estimate of the trace for each vector.
    """

    value: float
    standard_error: float
    n: int
    stopped: TraceStop
    samples: np.ndarray[Any, np.dtype[np.float64]]


def trace(
    operator: SymmetricOperator,
    generator: torch.Generator,
    *,
    tolerance: float = 0.05,
    max_vectors: int = 100,
    min_vectors: int = 16,
    report: Report = ignore,
) -> TraceEstimate:
    """Estimate the trace of ``operator`` as the mean of ``vᵀAv`` (Hutchinson 1990, eq. 3).

    The entries of v are ±1 with equal chance, which has the smallest variance of all
    independent entries: ``2 (‖A‖²_F − Σ A²ᵢᵢ)``, so a diagonal matrix is exact.

    Stopping as soon as the estimated error is small favours runs whose spread happens to
    look small. Simulated over 20,000 runs of gamma-distributed samples with relative
    standard deviations .1 to 1 and tolerances .05 to .2, 95 % intervals cover 91.4 % or
    more when 16 vectors are always drawn, 90.4 % with 10, so 16 is the default. Products
    with an operator of rank one or two have still more skewed samples: there, few vectors
    cover less (90 % at n = 10, stopping rule or not).

    Parameters
    ----------
    operator
        Symmetric, P × P.
    generator
        On the CPU: the same vectors on every device.
    tolerance
        Stop when the standard error is at most this fraction of the value's magnitude. A
        trace near zero never gets there: it ends with ``"limit"``.
    max_vectors, min_vectors
        Number of vectors, at most and before the stopping rule is consulted; at least 2.
        With ``min_vectors > max_vectors`` the number is simply ``max_vectors``.
    report
        Called after each product.

    Raises
    ------
    ValueError
        If either number of vectors is below 2, or the tolerance is negative or NaN.
    """
    if min(max_vectors, min_vectors) < 2:
        raise ValueError("a standard error needs at least 2 vectors (max_vectors, min_vectors)")
    if not tolerance >= 0:
        raise ValueError(f"the tolerance is {tolerance}, expected a fraction ≥ 0")
    samples: list[float] = []
    for done in range(1, max_vectors + 1):
        samples.append(_quadratic_form(operator, rademacher(operator.size, generator)))
        report(done, max_vectors)
        if not math.isfinite(samples[-1]):
            break
        if done >= min_vectors and summarise(samples, tolerance).stopped == "tolerance":
            break
    return summarise(samples, tolerance)


def summarise(samples: list[float], tolerance: float) -> TraceEstimate:
    """Return the estimate that ``samples``, independent and unbiased, amount to."""
    values = np.asarray(samples, dtype=np.float64)
    n = len(values)
    if not np.isfinite(values).all():
        return TraceEstimate(math.nan, math.nan, n, "not_finite", values)
    mean = float(values.mean())
    error = float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    reached = error <= tolerance * abs(mean)
    return TraceEstimate(mean, error, n, "tolerance" if reached else "limit", values)


def rademacher(size: int, generator: torch.Generator) -> Tensor:
    """Draw independent signs: float32 (exact for ±1), shape ``(size,)``, on the CPU."""
    bits = torch.randint(0, 2, (size,), generator=generator, dtype=torch.int8)
    return bits.to(torch.float32).mul_(2).sub_(1)


def _quadratic_form(operator: SymmetricOperator, vector: Tensor) -> float:
    """Return ``vᵀAv``, summed in float64."""
    product = operator.matvec(vector).double()
    return float(torch.dot(vector.to(product), product))
