"""The outermost eigenvalues of an operator, with a rigorous bound on their errors."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from llt_plugins.curvature.krylov import Krylov, Ritz
from llt_plugins.curvature.types import Report, SymmetricOperator, ignore

EigenStop = Literal["tolerance", "limit", "invariant subspace", "not_finite"]
"""Why the iteration ended. ``invariant subspace``: the Krylov space is exhausted, so the
result is exact up to rounding."""

Which = Literal["magnitude", "largest", "smallest"]
"""Which end of the spectrum: of largest magnitude, most positive, or most negative."""

_FLOOR = 0.01
"""An eigenvalue below this share of the largest is held to the tolerance of this share."""

_Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Eigenpairs:
    """The k outermost eigenvalues, the outermost first.

    Attributes
    ----------
    values
        Ritz values θ: float64, shape ``(k,)``; NaN when ``stopped`` is ``"not_finite"``, and
        fewer than k when the Krylov space has fewer dimensions.
    errors
        Bounds on the distance from each θ to an eigenvalue: ``‖Ay − θy‖``, shape ``(k,)``.
        Rounding inside the products (about 1e-6 of θ in float32) is not part of them.
    weights
        Coordinates of the Ritz vectors in the Krylov basis: shape ``(m, k)``.
    steps
        Number of steps: products with one block each.
    products
        Number of products with one vector.
    stopped
        See :data:`EigenStop`.
    ritz_values
        All Ritz values, ascending: float64, shape ``(m,)``.
    """

    values: _Array
    errors: _Array
    weights: _Array
    steps: int
    products: int
    stopped: EigenStop
    ritz_values: _Array

    def vector(self, krylov: Krylov, index: int = 0) -> Tensor:
        """Return Ritz vector ``index`` from its basis: float64, unit length, shape ``(P,)``."""
        weights = torch.from_numpy(np.ascontiguousarray(self.weights[:, index]))
        vector = krylov.basis.combine(weights.to(krylov.basis[0].device))
        return vector.div(vector.norm())


def eigenpairs(
    krylov: Krylov,
    *,
    k: int = 1,
    which: Which = "magnitude",
    tolerance: float = 1e-3,
    max_steps: int = 100,
    min_steps: int = 6,
    report: Report = ignore,
) -> Eigenpairs:
    """Find the ``k`` outermost eigenvalues at one or both ends of the spectrum.

    A small residual alone proves closeness to *some* eigenvalue (Parlett 1998, theorem
    4.5.1). The iteration therefore stops only when, after ``min_steps``, all k bounds are
    within the tolerance, all k values moved by less than that in the last two steps, and,
    for ``which="magnitude"``, the end of the spectrum that none of them came from, with its
    own bound, cannot still overtake them. The rule looks at one step after the other, so the
    answer does not depend on how far ``krylov`` was already extended.

    With one start vector an eigenvalue of multiplicity two counts once. Give ``krylov`` a
    block at least as large as the multiplicities that matter.

    Parameters
    ----------
    krylov
        The sequence to read and to extend.
    k
        How many eigenvalues.
    which
        See :data:`Which`.
    tolerance
        Largest error that is accepted, as a fraction of each value's own magnitude, or of a
        hundredth of the largest magnitude where that is more.
    max_steps, min_steps
        Number of steps, at most and before the stopping rule is consulted.
    report
        Called after each step.

    Raises
    ------
    ValueError
        If ``k`` or ``max_steps`` is below 1, or the tolerance is negative or NaN.
    """
    if k < 1 or max_steps < 1:
        raise ValueError(f"k is {k} and max_steps is {max_steps}, expected at least 1 each")
    if not tolerance >= 0:
        raise ValueError(f"the tolerance is {tolerance}, expected a fraction ≥ 0")
    past: list[_Array] = []
    stopped: EigenStop = "limit"
    for step in range(1, max_steps + 1):
        krylov.reach(step)
        report(step, max_steps)
        if not krylov.finite and step == krylov.steps:
            return _not_finite(krylov, step, k)
        ritz = krylov.ritz(step)
        chosen = _outermost(ritz.values, k, which)
        past = [*past[-2:], ritz.values[chosen]]
        if len(krylov.residual(step)) == 0:
            stopped = "invariant subspace"
            break
        if step >= min_steps and _settled(past, ritz, chosen, k, which, tolerance):
            stopped = "tolerance"
            break
    return Eigenpairs(
        values=ritz.values[chosen],
        errors=ritz.bounds[chosen],
        weights=ritz.weights[:, chosen],
        steps=step,
        products=krylov.products(step),
        stopped=stopped,
        ritz_values=ritz.values,
    )


@dataclass(frozen=True)
class TopEigenvalue:
    """The eigenvalue of largest magnitude.

    Attributes
    ----------
    value, error, stopped, ritz_values
        See :class:`Eigenpairs`.
    steps
        Number of products.
    vector
        Its Ritz vector y: float64, unit length, shape ``(P,)``.
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

    :func:`eigenpairs` with k = 1 on a sequence of its own; parameters and errors are its.

    Examples
    --------
    >>> class Diagonal:
    ...     size = 4
    ...
    ...     def matvec(self, vector):
    ...         return vector.double() * torch.tensor([1.0, -5.0, 2.0, 0.5])
    >>> round(top_eigenvalue(Diagonal(), torch.Generator().manual_seed(0)).value, 6)
    -5.0
    """
    krylov = Krylov(operator, generator)
    top = eigenpairs(
        krylov, tolerance=tolerance, max_steps=max_steps, min_steps=min_steps, report=report
    )
    if top.stopped == "not_finite":
        vector = torch.full((operator.size,), math.nan, dtype=torch.float64)
    else:
        vector = top.vector(krylov)
    return TopEigenvalue(
        float(top.values[0]), float(top.errors[0]), top.steps, top.stopped, vector, top.ritz_values
    )


def _outermost(values: _Array, k: int, which: Which) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Return the positions of the ``k`` outermost of the ascending ``values``."""
    if which == "largest":
        order = np.argsort(-values, kind="stable")
    elif which == "smallest":
        order = np.argsort(values, kind="stable")
    else:
        # At a tie the positive one, which comes last, leads.
        order = np.argsort(np.abs(values), kind="stable")[::-1]
    return order[:k]


def _settled(
    past: list[_Array],
    ritz: Ritz,
    chosen: np.ndarray[Any, np.dtype[np.intp]],
    k: int,
    which: Which,
    tolerance: float,
) -> bool:
    """Whether the chosen values are precise, at rest, and sure to be the outermost."""
    values = ritz.values[chosen]
    if len(values) < k or len(past) < 3 or any(len(earlier) < k for earlier in past):
        return False
    magnitudes = np.abs(values)
    margins = tolerance * np.maximum(magnitudes, _FLOOR * np.abs(ritz.values).max())
    at_rest = all((np.abs(values - earlier) <= margins).all() for earlier in past)
    precise = (ritz.bounds[chosen] <= margins).all()
    if which != "magnitude":
        return bool(precise and at_rest)
    threshold = float((magnitudes + margins).min())
    ends = [end for end in (0, len(ritz.values) - 1) if end not in chosen]
    rivals = [abs(float(ritz.values[end])) + float(ritz.bounds[end]) for end in ends]
    return bool(precise and at_rest and all(rival <= threshold for rival in rivals))


def _not_finite(krylov: Krylov, step: int, k: int) -> Eigenpairs:
    nothing = np.full(k, math.nan)
    return Eigenpairs(
        nothing,
        nothing,
        np.full((krylov.products(step), k), math.nan),
        step,
        krylov.products(step),
        "not_finite",
        np.empty(0),
    )
