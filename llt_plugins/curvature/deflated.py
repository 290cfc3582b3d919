"""Trace and Frobenius norm with the Krylov space taken exactly and only the rest at random."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from llt_plugins.curvature.estimates import TraceEstimate, exact_trace, refuse_impossible
from llt_plugins.curvature.krylov import Krylov
from llt_plugins.curvature.probes import Probes, average
from llt_plugins.curvature.types import Report, SymmetricOperator, ignore


@dataclass(frozen=True)
class Deflation:
    """What m Lanczos steps say exactly: ``A = (A − B) + B`` with ``B = (I−QQᵀ) A (I−QQᵀ)``.

    From ``AQ = QT + Q₊REᵀ`` follows ``A − B = QTQᵀ + Q₊REᵀQᵀ + (Q₊REᵀQᵀ)ᵀ``, a matrix whose
    trace, diagonal and norm need no further product.

    Attributes
    ----------
    krylov
        The sequence; it may be longer.
    steps
        How many of its steps are used.
    """

    krylov: Krylov
    steps: int

    @property
    def count(self) -> int:
        """Number of vectors of Q, and of products spent."""
        return self.krylov.products(self.steps)

    @property
    def finite(self) -> bool:
        """Whether all products of these steps were finite."""
        return self.krylov.finite or self.steps < self.krylov.steps

    @property
    def trace(self) -> float:
        """``tr(A − B) = tr T``."""
        return float(np.trace(self.krylov.tridiagonal(self.steps)))

    @property
    def squared_norm(self) -> float:
        """``‖A‖²_F − ‖B‖²_F = ‖T‖²_F + 2 ‖R‖²_F``."""
        inside = np.square(self.krylov.tridiagonal(self.steps)).sum()
        return float(inside + 2 * np.square(self.krylov.residual(self.steps)).sum())

    def diagonal(self) -> Tensor:
        """Return diag(A − B): float64, shape ``(P,)``."""
        krylov, basis = self.krylov, self.krylov.basis
        inside = krylov.tridiagonal(self.steps)
        below = krylov.residual(self.steps)
        following = krylov.following(self.steps)
        first_of_last = self.count - below.shape[1]
        total = torch.zeros_like(basis[0])
        for column in range(self.count):
            weights = torch.from_numpy(np.ascontiguousarray(inside[:, column])).to(total.device)
            image = basis.combine(weights)
            if column >= first_of_last:
                for row, vector in enumerate(following):
                    image += 2 * float(below[row, column - first_of_last]) * vector
            total += basis[column] * image
        return total

    def probes(self, generator: torch.Generator, sizes: Sequence[int] = ()) -> Probes:
        """Return the random forms of the rest B."""
        return Probes(
            self.krylov.operator,
            generator,
            basis=self.krylov.basis,
            deflated=self.count,
            sizes=sizes,
        )


def deflate(krylov: Krylov, steps: int, report: Report = ignore) -> Deflation:
    """Take ``steps`` Lanczos steps, or as many as there are, and return what they say."""
    return Deflation(krylov, krylov.reach(steps, report))


def default_steps(max_products: int) -> int:
    """Return how many Lanczos steps to spend of ``max_products``: 15, at most half."""
    return max(1, min(15, max_products // 2))


def trace(
    operator: SymmetricOperator,
    start: torch.Generator,
    generator: torch.Generator,
    *,
    tolerance: float = 0.05,
    max_products: int = 100,
    min_vectors: int = 4,
    steps: int | None = None,
    report: Report = ignore,
) -> TraceEstimate:
    """Estimate the trace: Lanczos takes the large eigenvalues, Hutchinson what they leave.

    ``tr A = tr T + tr B``, with T the tridiagonal matrix of m Lanczos steps and B the operator
    on the orthogonal complement of their vectors. tr T is exact. tr B, which in the Hessian
    of a network is small and made of many small eigenvalues, is estimated with random signs
    (Hutchinson 1990), one product a probe: unbiased, since the signs are independent of the
    Lanczos vectors. (Deflation as in Gambhir, Stathopoulos and Orginos 2017; Lin 2016.)

    On a resnet18 of width 8 the spread of a sample falls from 0.32 of the trace to 0.11 with
    15 steps: one ninth of the products for the same error.

    Parameters
    ----------
    operator
        Symmetric, P × P.
    start, generator
        For the start vector and for the signs, both on the CPU; they must be independent.
    tolerance
        Stop when the standard error is at most this fraction of the value's magnitude.
    max_products
        Products to spend at most, Lanczos steps included. From P on the result is exact.
    min_vectors
        Probes to draw before the stopping rule is consulted; at least 2.
    steps
        Number m of Lanczos steps; None for 15, or half of ``max_products`` if that is less.
    report
        Called after each product.

    Raises
    ------
    ValueError
        If there are fewer than 2 probes or no step, or the tolerance is negative or NaN.
    """
    chosen = default_steps(max_products) if steps is None else steps
    if chosen < 1:
        raise ValueError(f"steps is {chosen}, expected at least 1 Lanczos step")
    if max_products >= operator.size:
        refuse_impossible(tolerance, min_vectors=min_vectors)
        return exact_trace(operator, report)
    refuse_impossible(
        tolerance, min_vectors=min_vectors, **{"max_products − steps": max_products - chosen}
    )
    deflation = deflate(Krylov(operator, start), chosen, lambda done, _: report(done, max_products))
    return trace_of_rest(
        deflation,
        deflation.probes(generator),
        tolerance=tolerance,
        max_products=max_products,
        min_vectors=min_vectors,
        report=report,
    )


def trace_of_rest(
    deflation: Deflation,
    probes: Probes,
    *,
    tolerance: float,
    max_products: int,
    min_vectors: int = 4,
    report: Report = ignore,
) -> TraceEstimate:
    """Return the estimate from a deflation and the probes of its rest, which may be shared."""
    exact = deflation.trace if deflation.finite else math.nan
    return average(
        probes,
        exact=exact,
        spent=deflation.count,
        tolerance=tolerance,
        max_vectors=max_products - deflation.count,
        min_vectors=min_vectors,
        report=report,
    )
