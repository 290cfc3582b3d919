"""Hutch++: the range of the operator found at random, the rest by Hutchinson."""

from __future__ import annotations

import numpy as np
import torch

from llt_plugins.curvature.basis import NOTHING_NEW, Basis
from llt_plugins.curvature.estimates import (
    TraceEstimate,
    exact_trace,
    not_finite,
    refuse_impossible,
)
from llt_plugins.curvature.probes import Probes, average, rademacher
from llt_plugins.curvature.types import Report, SymmetricOperator, ignore


def trace(
    operator: SymmetricOperator,
    generator: torch.Generator,
    *,
    tolerance: float = 0.05,
    max_products: int = 100,
    min_vectors: int = 4,
    rank: int | None = None,
    report: Report = ignore,
) -> TraceEstimate:
    """Estimate the trace as ``tr(QᵀAQ) + mean vᵀ(I−QQᵀ)A(I−QQᵀ)v`` (Meyer et al. 2021).

    Q is an orthonormal basis of ``A S`` for a random sign matrix S of ``rank`` columns; it
    costs one product a column, and tr(QᵀAQ) one more. The error bar is that of the last
    mean, for which Q is fixed. Taken from the standard deviation of its few samples it would
    be too small; it comes from the spread of the diagonal (:func:`~.estimates.spread`).

    Lanczos vectors (:mod:`~llt_plugins.curvature.deflated`) find large eigenvalues with half
    the products and serve other estimates too; this is the published method to compare with.

    Parameters
    ----------
    operator
        Symmetric, P × P.
    generator
        On the CPU: the same vectors on every device.
    tolerance
        Stop when the standard error is at most this fraction of the value's magnitude.
    max_products
        Products to spend at most. From P on the result is exact.
    min_vectors
        Probes to draw before the stopping rule is consulted; at least 2.
    rank
        Columns of S; None for a third of ``max_products``, as published, or a quarter where
        there are fewer than 12, so that 4 of 8 products are left for the error bar.
    report
        Called after each product.

    Raises
    ------
    ValueError
        If fewer than 2 products are left for probes, or the tolerance is negative or NaN.
    """
    if rank is None:
        rank = max_products // (3 if max_products >= 12 else 4)
    if max_products >= operator.size:
        refuse_impossible(tolerance, min_vectors=min_vectors)
        return exact_trace(operator, report)
    refuse_impossible(
        tolerance, min_vectors=min_vectors, **{"max_products − 2 rank": max_products - 2 * rank}
    )
    basis = Basis(operator.size)
    for column in range(rank):
        image = operator.matvec(rademacher(operator.size, generator)).double()
        report(column + 1, max_products)
        if not bool(image.isfinite().all()):
            return not_finite(np.empty(0), column + 1)
        _append(basis, image)
    inside = 0.0
    for column in range(basis.count):
        vector = basis[column]
        inside += float(vector @ operator.matvec(vector).double())
        report(rank + column + 1, max_products)
    return average(
        Probes(operator, generator, basis=basis),
        exact=inside,
        spent=rank + basis.count,
        tolerance=tolerance,
        max_vectors=max_products - 2 * rank,
        min_vectors=min_vectors,
        report=report,
    )


def _append(basis: Basis, vector: torch.Tensor) -> None:
    """Add the direction that ``vector`` has outside ``basis``, if there is any."""
    new = basis.project_out(basis.project_out(vector))
    norm = float(new.norm())
    if norm > NOTHING_NEW * float(vector.norm()):
        basis.append(new / norm)
