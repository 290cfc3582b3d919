"""The eigenvalue of largest magnitude, with a rigorous bound on its error."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from llt_plugins.curvature.types import Report, SymmetricOperator, ignore

EigenStop = Literal["tolerance", "limit", "invariant subspace", "not_finite"]
"""Why the iteration ended. ``invariant subspace``: the Krylov space is exhausted, so the
result is exact up to rounding."""

_BREAKDOWN = 1e-12
"""A next vector this small, relative to the largest Ritz value, is rounding and nothing else."""

_Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class TopEigenvalue:
    """The eigenvalue of largest magnitude.

    Attributes
    ----------
    value
        Leading Ritz value θ; NaN when ``stopped`` is ``"not_finite"``.
    error
        Bound on the distance from θ to an eigenvalue: ``‖Ay − θy‖ = |βₖ sₖ|``. Rounding
        inside the products (about 1e-6 of θ in float32) is not part of it.
    steps
        Number of products.
    stopped
        See :data:`EigenStop`.
    vector
        Its Ritz vector y: float64, unit length, shape ``(P,)``.
    ritz_values
        All Ritz values, ascending: float64, shape ``(steps,)``.
    """

    value: float
    error: float
    steps: int
    stopped: EigenStop
    vector: Tensor
    ritz_values: _Array


def top_eigenvalue(
    operator: SymmetricOperator,
    generator: torch.Generator,
    *,
    tolerance: float = 1e-3,
    max_steps: int = 100,
    min_steps: int = 6,
    report: Report = ignore,
) -> TopEigenvalue:
    """Find the eigenvalue of largest magnitude by Lanczos iteration (Lanczos 1950).

    Every new basis vector is orthogonalised twice against all earlier ones, in float64
    ("twice is enough": Parlett 1998, §6.9), so no eigenvalue appears more than once. That
    keeps one float64 vector of length P for each step.

    A small residual alone proves closeness to *some* eigenvalue (Parlett 1998, theorem
    4.5.1). The iteration therefore stops only when, after ``min_steps``, the bound is below
    ``tolerance · |θ|``, θ moved by less than that in the last two steps, and the other end
    of the spectrum, with its own bound, cannot still overtake it.

    Parameters
    ----------
    operator
        Symmetric, P × P.
    generator
        On the CPU: the same Gaussian start vector on every device.
    tolerance
        Largest error that is accepted, as a fraction of |θ|.
    max_steps, min_steps
        Number of products, at most (P suffice) and before the stopping rule is consulted.
    report
        Called after each product.

    Raises
    ------
    ValueError
        If ``max_steps`` is below 1, or the tolerance is negative or NaN.
    """
    if max_steps < 1:
        raise ValueError(f"max_steps is {max_steps}, expected at least 1")
    if not tolerance >= 0:
        raise ValueError(f"the tolerance is {tolerance}, expected a fraction ≥ 0")
    start = torch.randn(operator.size, generator=generator, dtype=torch.float64)
    krylov = _Krylov(start / start.norm())
    leading: list[float] = []
    stopped: EigenStop = "limit"
    for step in range(1, min(max_steps, operator.size) + 1):
        krylov.extend(operator)
        report(step, max_steps)
        if not krylov.finite:
            return _not_finite(step, operator.size)
        ritz = krylov.ritz()
        leading.append(ritz.value)
        if step == operator.size or krylov.betas[-1] <= _BREAKDOWN * abs(ritz.value):
            stopped = "invariant subspace"
            break
        if step >= min_steps and _settled(leading, ritz, tolerance):
            stopped = "tolerance"
            break
    return TopEigenvalue(
        ritz.value, ritz.bound, step, stopped, krylov.combine(ritz.weights), ritz.values
    )


@dataclass(frozen=True)
class _Ritz:
    """Ritz values (ascending), the leading one, and bounds on it and on the other end."""

    values: _Array
    value: float
    bound: float
    weights: _Array
    rival: float
    rival_bound: float


@dataclass
class _Krylov:
    """An orthonormal Krylov basis and the tridiagonal matrix of the operator in it."""

    next: Tensor
    basis: list[Tensor] = field(default_factory=list)
    alphas: list[float] = field(default_factory=list)
    betas: list[float] = field(default_factory=list)

    @property
    def finite(self) -> bool:
        """Whether the last product was free of NaN and infinity."""
        return math.isfinite(self.alphas[-1]) and math.isfinite(self.betas[-1])

    def extend(self, operator: SymmetricOperator) -> None:
        """Multiply by the operator once and orthogonalise the result."""
        residual = operator.matvec(self.next).double()
        self.next = self.next.to(residual)
        self.basis.append(self.next)
        self.alphas.append(float(torch.dot(self.next, residual)))
        for _ in range(2):
            for vector in reversed(self.basis):
                residual = residual.sub(vector, alpha=float(torch.dot(vector, residual)))
        self.betas.append(float(residual.norm()))
        if self.betas[-1] > 0:
            self.next = residual / self.betas[-1]

    def ritz(self) -> _Ritz:
        """Return the eigenvalues of the tridiagonal matrix and the residuals of both ends."""
        off = np.diag(self.betas[:-1], 1)
        values, vectors = np.linalg.eigh(np.diag(self.alphas) + off + off.T)
        bounds = self.betas[-1] * np.abs(vectors[-1])
        top, rival = (0, -1) if abs(values[0]) > abs(values[-1]) else (-1, 0)
        return _Ritz(
            values,
            float(values[top]),
            float(bounds[top]),
            vectors[:, top],
            abs(float(values[rival])),
            float(bounds[rival]),
        )

    def combine(self, weights: _Array) -> Tensor:
        """Return the Ritz vector with these coordinates in the basis, unit length."""
        vector = torch.zeros_like(self.basis[0])
        for weight, direction in zip(weights, self.basis, strict=True):
            vector.add_(direction, alpha=float(weight))
        return vector.div(vector.norm())


def _settled(leading: list[float], ritz: _Ritz, tolerance: float) -> bool:
    """Whether the leading Ritz value is precise, at rest, and sure to be the leading one."""
    margin = tolerance * abs(ritz.value)
    at_rest = len(leading) > 2 and all(abs(ritz.value - past) <= margin for past in leading[-3:])
    unrivalled = ritz.rival + ritz.rival_bound <= abs(ritz.value) + margin
    return ritz.bound <= margin and at_rest and unrivalled


def _not_finite(steps: int, size: int) -> TopEigenvalue:
    nothing = torch.full((size,), math.nan, dtype=torch.float64)
    return TopEigenvalue(math.nan, math.nan, steps, "not_finite", nothing, np.empty(0))
