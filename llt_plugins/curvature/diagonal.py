"""The diagonal, entry by entry or summed over layers, with its error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llt_plugins.curvature.deflated import Deflation
from llt_plugins.curvature.probes import Probes, rademacher
from llt_plugins.curvature.products import matrix
from llt_plugins.curvature.types import Report, SymmetricOperator, ignore

_Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class DiagonalEstimate:
    """Estimated diagonal entries.

    Attributes
    ----------
    values, standard_errors
        Float64, shape ``(P,)`` each; the errors have n − 1 degrees of freedom and are zero
        when the entries are exact.
    n
        Number of probe vectors.
    products
        Number of products spent, the deflation's included.
    """

    values: Tensor
    standard_errors: Tensor
    n: int
    products: int


def diagonal(
    operator: SymmetricOperator,
    generator: torch.Generator,
    *,
    vectors: int = 50,
    deflation: Deflation | None = None,
    report: Report = ignore,
) -> DiagonalEstimate:
    """Estimate diag A as the mean of ``v ∘ Av`` over random signs v (Bekas et al. 2007).

    An entry's variance is ``Σⱼ≠ᵢ A²ᵢⱼ / n``. A deflation takes the large eigenvalues out of
    that sum: what it knows of the diagonal is exact, and only the rest is estimated.

    Parameters
    ----------
    operator
        Symmetric, P × P.
    generator
        On the CPU: the same vectors on every device.
    vectors
        Number of probes, at least 2. With P or more (steps of the deflation included) the
        entries are computed exactly instead.
    deflation
        Lanczos steps of the same operator.
    report
        Called after each product.

    Raises
    ------
    ValueError
        If there are fewer than 2 vectors.
    """
    if vectors < 2:
        raise ValueError(f"vectors is {vectors}: a standard error needs at least 2 vectors")
    known = 0 if deflation is None else deflation.count
    if vectors + known >= operator.size:
        values = matrix(operator, report).diagonal().clone()
        return DiagonalEstimate(values, torch.zeros_like(values), operator.size, operator.size)
    mean = squares = torch.zeros(())
    for n in range(1, vectors + 1):
        entries = _entries(operator, rademacher(operator.size, generator), deflation)
        report(n, vectors)
        if n == 1:
            mean, squares = entries, torch.zeros_like(entries)
            continue
        before = entries - mean
        mean = mean + before / n
        squares += before * (entries - mean)
    if deflation is not None:
        mean = mean + deflation.diagonal()
    errors = (squares / (vectors - 1) / vectors).sqrt()
    return DiagonalEstimate(mean, errors, vectors, vectors + known)


def block_traces(
    deflation: Deflation, probes: Probes, sizes: list[int], groups: list[list[int]], n: int
) -> tuple[_Array, _Array, bool]:
    """Return the trace of each diagonal block, and its standard error.

    All blocks come from the same probes, each of which gives ``Σ vᵢ (Bv)ᵢ`` over every
    block: L blocks cost no more products than the whole trace, and sum up to it.

    Parameters
    ----------
    deflation, probes
        The exact part, and the forms of the rest, made with the same ``sizes``.
    sizes
        Lengths of the pieces of a vector, which sum to P.
    groups
        For each block, the positions of its pieces in ``sizes``.
    n
        Number of probes, at least 2.

    Returns
    -------
    traces, errors
        Shape ``(L,)``; the errors have n − 1 degrees of freedom.
    finite
        Whether all products were finite.
    """
    if not deflation.finite or not probes.reach(n):
        return np.full(len(groups), math.nan), np.full(len(groups), math.nan), False
    pieces = np.stack(probes.parts[:n])
    known = sums(deflation.diagonal(), sizes, groups)
    samples = np.stack([pieces[:, group].sum(axis=1) for group in groups], axis=1)
    errors = samples.std(axis=0, ddof=1) / math.sqrt(n)
    return samples.mean(axis=0) + known, errors, True


def sums(vector: Tensor, sizes: list[int], groups: list[list[int]]) -> _Array:
    """Return the sum of ``vector``, shape ``(P,)``, over each group of pieces: ``(L,)``."""
    pieces = torch.stack([part.sum() for part in torch.split(vector, sizes)]).cpu().numpy()
    return np.array([pieces[group].sum() for group in groups])


def _entries(operator: SymmetricOperator, signs: Tensor, deflation: Deflation | None) -> Tensor:
    """Return ``v ∘ Bv`` for one probe: float64, shape ``(P,)``."""
    if deflation is None:
        image = operator.matvec(signs).double()
        return image * signs.to(image)
    basis = deflation.krylov.basis
    vector = signs.to(basis[0])
    image = operator.matvec(basis.project_out(vector, deflation.count)).double()
    return basis.project_out(image, deflation.count) * vector
