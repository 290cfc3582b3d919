"""Spectral density by stochastic Lanczos quadrature, with the spread over its start vectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from llt_plugins.curvature.krylov import Krylov
from llt_plugins.curvature.products import matrix
from llt_plugins.curvature.types import Report, SymmetricOperator, ignore

_Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Spectrum:
    """The density of eigenvalues as weighted points, one set for each start vector.

    Attributes
    ----------
    nodes
        Ritz values: float64, shape ``(V, m)``; NaN-free, padded with zeros of weight 0.
    weights
        Their weights, which sum to 1 for each vector: shape ``(V, m)``.
    products
        Number of products spent.
    coarse
        The same from half the steps, to judge the quadrature by; None where it is exact.
    stopped
        ``"steps"``; ``"exact"`` when there were as many products as rows, so that the nodes
        are all P eigenvalues; ``"not_finite"``.
    """

    nodes: _Array
    weights: _Array
    products: int
    stopped: str
    coarse: Spectrum | None = None

    def mean_of(self, function: Callable[[_Array], _Array]) -> tuple[float, float]:
        """Return the mean of ``function`` over the eigenvalues, and its standard error.

        ``tr f(A) / P``, exact for polynomials up to degree 2m − 1 apart from the randomness
        of the vectors. The error has V − 1 degrees of freedom, and is 0 when exact.
        """
        return _mean((self.weights * function(self.nodes)).sum(axis=1))

    def share_of(
        self, part: Callable[[_Array], _Array], whole: Callable[[_Array], _Array]
    ) -> tuple[float, float]:
        """Return the ratio of two such means, and its standard error.

        The random part is that of the vectors (delta method). Where a function has a kink, as
        ``|λ|`` at zero, the quadrature errs by about 1/m, which is what the step from m/2 to
        m changes: it is added in quadrature.
        """
        parts = (self.weights * part(self.nodes)).sum(axis=1)
        wholes = (self.weights * whole(self.nodes)).sum(axis=1)
        total = float(wholes.mean())
        if total == 0:
            return math.nan, math.nan
        ratio = float(parts.mean()) / total
        random = _mean(parts - ratio * wholes)[1] / abs(total)
        change = 0.0 if self.coarse is None else self.coarse.share_of(part, whole)[0] - ratio
        return ratio, math.hypot(random, change)

    def grid(self, points: int, width: float) -> _Array:
        """Return evenly spaced eigenvalues that cover all nodes and four ``width`` beyond."""
        seen = self.nodes[self.weights > 0]
        return np.linspace(seen.min() - 4 * width, seen.max() + 4 * width, points)

    def density(self, grid: _Array, width: float) -> tuple[_Array, _Array]:
        """Return the density smoothed with a Gaussian, and its standard error, on ``grid``.

        Parameters
        ----------
        grid
            Eigenvalues, shape ``(N,)``.
        width
            Standard deviation of the Gaussian, in the unit of the eigenvalues; it should
            span a few points of the grid.

        Returns
        -------
        density, error
            Per unit of eigenvalue, integral 1: shape ``(N,)`` each.
        """
        curves = np.zeros((len(self.nodes), len(grid)))
        for curve, nodes, weights in zip(curves, self.nodes, self.weights, strict=True):
            used = weights > 0
            distance = (grid[:, None] - nodes[used]) / width
            curve[:] = np.exp(-0.5 * distance**2) @ weights[used]
        curves /= width * math.sqrt(2 * math.pi)
        error = np.zeros(len(grid))
        if len(curves) > 1:
            error = curves.std(axis=0, ddof=1) / math.sqrt(len(curves))
        return curves.mean(axis=0), error


def spectrum(
    operator: SymmetricOperator,
    generator: torch.Generator,
    *,
    vectors: int = 4,
    steps: int = 30,
    first: Krylov | None = None,
    report: Report = ignore,
) -> Spectrum:
    """Estimate the spectral density (Ubaru, Chen and Saad 2017; Ghorbani et al. 2019).

    From a random start vector, m steps of Lanczos give the nodes and weights of a Gauss
    quadrature for the density as this vector sees it: the eigenvalues of T, and the squared
    first entries of *its* eigenvectors. Several vectors are averaged, and their spread is the
    error. Vectors are reorthogonalised in full, so no eigenvalue appears twice.

    With ``vectors · steps ≥ P`` all eigenvalues are computed from P products instead.

    Parameters
    ----------
    operator
        Symmetric, P × P.
    generator
        On the CPU: the same Gaussian start vectors on every device.
    vectors
        Number V of start vectors, at least 2.
    steps
        Number m of steps for each. Bulk details finer than the range over m are not resolved.
    first
        A sequence to use as the first of the V, extended if it is too short.
    report
        Called after each product.

    Raises
    ------
    ValueError
        If there are fewer than 2 vectors, no step, or ``first`` works with blocks.
    """
    if vectors < 2 or steps < 1:
        raise ValueError(
            f"vectors is {vectors} and steps is {steps}, expected at least 2 vectors (for an "
            "error) and 1 step"
        )
    total = vectors * steps
    if total >= operator.size:
        return _whole(operator, report)
    sequences: list[tuple[_Array, _Array]] = []
    halves: list[tuple[_Array, _Array]] = []
    spent = 0
    for index in range(vectors):
        krylov = first if index == 0 and first is not None else Krylov(operator, generator)
        reached = krylov.reach(steps, partial(_shifted, report, spent, total))
        spent += krylov.products(reached)
        if not krylov.finite and reached == krylov.steps:
            return Spectrum(np.zeros((1, 1)), np.zeros((1, 1)), spent, "not_finite")
        if krylov.products(reached) != reached:
            raise ValueError("the first sequence works with blocks, expected one start vector")
        sequences.append(_quadrature(krylov, reached))
        halves.append(_quadrature(krylov, max(1, min(steps // 2, reached))))
    coarse = Spectrum(*_padded(halves), spent, "steps")
    return Spectrum(*_padded(sequences), spent, "steps", coarse)


def _quadrature(krylov: Krylov, steps: int) -> tuple[_Array, _Array]:
    """Return the nodes and weights of the Gauss quadrature of the first ``steps``."""
    ritz = krylov.ritz(steps)
    return ritz.values, ritz.weights[0] ** 2


def _padded(rules: list[tuple[_Array, _Array]]) -> tuple[_Array, _Array]:
    """Stack rules of unequal length: ``(V, m)`` each, padded with zeros."""
    longest = max(len(nodes) for nodes, _ in rules)
    nodes, weights = np.zeros((len(rules), longest)), np.zeros((len(rules), longest))
    for index, (values, shares) in enumerate(rules):
        nodes[index, : len(values)] = values
        weights[index, : len(values)] = shares
    return nodes, weights


def _shifted(report: Report, spent: int, total: int, done: int, _: int) -> None:
    report(spent + done, total)


def _whole(operator: SymmetricOperator, report: Report) -> Spectrum:
    full = matrix(operator, report)
    size = operator.size
    if not bool(full.isfinite().all()):
        return Spectrum(np.zeros((1, size)), np.zeros((1, size)), size, "not_finite")
    values = np.linalg.eigvalsh(full.cpu().numpy())
    return Spectrum(values[None], np.full((1, size), 1 / size), size, "exact")


def _mean(samples: _Array) -> tuple[float, float]:
    error = float(samples.std(ddof=1)) / math.sqrt(len(samples)) if len(samples) > 1 else 0.0
    return float(samples.mean()), error
