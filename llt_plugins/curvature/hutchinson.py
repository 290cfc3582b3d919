"""Trace of a symmetric operator from random products alone, with an honest error bar."""

from __future__ import annotations

import torch

from llt_plugins.curvature.estimates import TraceEstimate, exact_trace, refuse_impossible
from llt_plugins.curvature.probes import Probes, average
from llt_plugins.curvature.types import Report, SymmetricOperator, ignore


def trace(
    operator: SymmetricOperator,
    generator: torch.Generator,
    *,
    tolerance: float = 0.05,
    max_vectors: int = 100,
    min_vectors: int = 8,
    report: Report = ignore,
) -> TraceEstimate:
    """Estimate the trace of ``operator`` as the mean of ``vᵀAv`` (Hutchinson 1990, eq. 3).

    The entries of v are ±1 with equal chance, which has the smallest variance of all
    independent entries: ``2 (‖A‖²_F − Σ A²ᵢᵢ)``, so a diagonal matrix is exact. That
    variance is estimated from the spread of the diagonal (:func:`~.estimates.spread`), not
    from that of the samples, which is too small too often when few eigenvalues dominate.

    With ``max_vectors ≥ P`` the P diagonal entries are computed instead, and the result is
    exact.

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
    refuse_impossible(tolerance, max_vectors=max_vectors, min_vectors=min_vectors)
    if max_vectors >= operator.size:
        return exact_trace(operator, report)
    return average(
        Probes(operator, generator),
        tolerance=tolerance,
        max_vectors=max_vectors,
        min_vectors=min_vectors,
        report=report,
    )
