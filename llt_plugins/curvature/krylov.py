"""Lanczos vectors of an operator, made once and read by every estimator that wants them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llt_plugins.curvature.basis import Basis
from llt_plugins.curvature.products import products
from llt_plugins.curvature.types import AsymmetryError, Report, SymmetricOperator, ignore

_BREAKDOWN = 1e-12
"""A next vector this small, relative to the largest entry of T, is rounding and nothing else."""

_ASYMMETRY = 15.0
"""Difference of an entry of QᵀAQ and its mirror image, relative to the largest and in roots of
the rounding of products, that makes Ritz values worthless: 5e-3 in float32, 2e-7 in float64.
Products in float32 leave 1e-8 to 1e-5 of ordinary networks, and come this far where the loss is
below some 1e-6."""

_Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Ritz:
    """Eigenvalues of the operator restricted to a Krylov space of m dimensions.

    Attributes
    ----------
    values
        Ascending: float64, shape ``(m,)``.
    bounds
        Residual norm ``‖Ay − θy‖`` of each: an eigenvalue lies within it (Parlett 1998,
        theorem 4.5.1). Float64, shape ``(m,)``.
    weights
        Column i holds the coordinates of Ritz vector i in the basis: shape ``(m, m)``.
    """

    values: _Array
    bounds: _Array
    weights: _Array


class Krylov:
    """An orthonormal basis of ``span{V, AV, A²V, …}`` and the operator in it, T = QᵀAQ.

    Block Lanczos iteration (Golub and Underwood 1977; one vector: Lanczos 1950). Every new
    vector is orthogonalised twice against all earlier ones, in float64 ("twice is enough":
    Parlett 1998, §6.9), so no eigenvalue appears more often than it should.

    The sequence is extended on demand and only ever appended to. What is read from its first
    m steps is therefore the same however far another reader has already extended it.

    One start vector finds each eigenvalue once, whatever its multiplicity, and needs many
    steps to tell a cluster apart; a block of b finds up to b copies.

    Parameters
    ----------
    operator
        Symmetric, P × P.
    generator
        On the CPU: the same Gaussian start vectors on every device.
    block_size
        Number b of start vectors, at most P. One step then is one product with b vectors.
    storage
        Type the basis is kept in; None chooses by P (see :class:`Basis`).

    Raises
    ------
    ValueError
        If ``block_size`` is not between 1 and P.
    AsymmetryError
        Later, if products show that the operator is not symmetric. That is seen by numbers
        which orthogonalising needs anyway.
    """

    def __init__(
        self,
        operator: SymmetricOperator,
        generator: torch.Generator,
        *,
        block_size: int = 1,
        storage: torch.dtype | None = None,
    ) -> None:
        if not 1 <= block_size <= operator.size:
            raise ValueError(
                f"block_size is {block_size}, expected 1 to {operator.size}, the size of the "
                "operator"
            )
        self.operator = operator
        self.basis = Basis(operator.size, storage)
        self.finite = True
        self._diagonal: list[_Array] = []
        self._below: list[_Array] = []
        self._ends: list[int] = []
        self._scale = 0.0
        start = torch.randn(block_size, operator.size, generator=generator, dtype=torch.float64)
        device = getattr(operator, "device", torch.device("cpu"))
        self._waiting, _ = self._independent(list(start.to(device)))

    @property
    def steps(self) -> int:
        """Number of steps taken; one block of products each."""
        return len(self._ends)

    @property
    def exhausted(self) -> bool:
        """Whether the space is invariant: its Ritz values are eigenvalues up to rounding."""
        return bool(self._below) and len(self._below[-1]) == 0

    def products(self, steps: int) -> int:
        """Return the number of products, and of basis vectors, of the first ``steps``."""
        return self._ends[steps - 1] if steps else 0

    def reach(self, steps: int, report: Report = ignore) -> int:
        """Take steps until there are ``steps``, and return how many of those there are.

        Fewer where the space is exhausted, or where a product was NaN or infinite; such a
        step is counted and makes :attr:`finite` false.
        """
        while self.steps < steps and not self.exhausted and self.finite:
            self._extend()
            report(self.steps, steps)
        return min(steps, self.steps)

    def tridiagonal(self, steps: int) -> _Array:
        """Return T of the first ``steps``: float64, block tridiagonal, shape ``(m, m)``."""
        size = self.products(steps)
        matrix = np.zeros((size, size))
        start = 0
        for step in range(steps):
            end = self._ends[step]
            matrix[start:end, start:end] = self._diagonal[step]
            if step + 1 < steps:
                below = self._below[step]
                matrix[end : end + len(below), start:end] = below
                matrix[start:end, end : end + len(below)] = below.T
            start = end
        return matrix

    def residual(self, steps: int) -> _Array:
        """Return R in ``AQ = QT + Q₊ R Eᵀ`` after ``steps``: shape ``(next block, block)``."""
        return self._below[steps - 1]

    def ritz(self, steps: int) -> Ritz:
        """Return the Ritz values of the first ``steps``, with their residual bounds."""
        values, weights = np.linalg.eigh(self.tridiagonal(steps))
        below = self.residual(steps)
        bounds = np.linalg.norm(below @ weights[-below.shape[1] :], axis=0)
        return Ritz(values, bounds, weights)

    def following(self, steps: int) -> list[Tensor]:
        """Return the basis vectors Q₊ that follow the first ``steps``, in float64."""
        if steps == self.steps:
            return self._waiting
        first = self.products(steps)
        return [self.basis[first + i] for i in range(len(self.residual(steps)))]

    def _extend(self) -> None:
        """Store the next block, multiply by the operator, and orthogonalise the result."""
        block = torch.stack([self.basis.append(vector) for vector in self._waiting], dim=1)
        image = products(self.operator, block)
        shares = torch.stack([self.basis.coefficients(w) for w in image.T], dim=1)
        column = shares.cpu().numpy()
        diagonal = column[-block.shape[1] :]
        self._diagonal.append((diagonal + diagonal.T) / 2)
        self._scale = max(self._scale, float(np.abs(diagonal).max()))
        self._ends.append(self.basis.count)
        self.finite = bool(image.isfinite().all())
        if not self.finite:
            self._waiting, below = [], np.full((1, image.shape[1]), np.nan)
        else:
            self._refuse_asymmetry(column)
            rest = [w - self.basis.combine(s) for w, s in zip(image.T, shares.T, strict=True)]
            self._waiting, below = self._independent([self.basis.project_out(w) for w in rest])
        self._below.append(below)

    def _refuse_asymmetry(self, column: _Array) -> None:
        """Compare ``QᵀAQ₊``, shape ``(m, b)``, with its mirror image, which is known: T."""
        mirror = np.zeros_like(column)
        now = len(column) - column.shape[1]
        mirror[now:] = column[now:].T
        if self._below:
            mirror[now - self._below[-1].shape[1] : now] = self._below[-1].T
        gap = float(np.abs(column - mirror).max())
        largest = max(self._scale, float(np.abs(column).max()))
        rounding = torch.finfo(getattr(self.operator, "dtype", torch.float32)).eps
        if gap > _ASYMMETRY * math.sqrt(rounding) * largest:
            raise AsymmetryError(
                f"the operator is not symmetric: uᵀAv and vᵀAu differ by {gap:.3g}, where the "
                f"largest such form is {largest:.3g}; either an operation of the model has "
                "wrong second derivatives, or rounding drowns the curvature (try float64)"
            )

    def _independent(self, vectors: list[Tensor]) -> tuple[list[Tensor], _Array]:
        """Orthonormalise ``vectors`` among each other and drop those that add nothing new.

        Returns the new vectors, as the basis will store them, and the matrix R that
        reproduces ``vectors`` from them: shape ``(new, len(vectors))``.
        """
        smallest = _BREAKDOWN * self._scale
        room = self.basis.size - self.basis.count
        kept: list[Tensor] = []
        below = np.zeros((len(vectors), len(vectors)))
        for column, vector in enumerate(vectors):
            before = float(vector.norm())
            for _ in range(2):
                for row, direction in enumerate(kept):
                    share = float(direction @ vector)
                    vector = vector - share * direction
                    below[row, column] += share
            norm = float(vector.norm())
            if norm <= smallest or len(kept) == room:
                continue
            if norm < 0.1 * before:  # cancellation magnified what was left along the basis
                vector = self.basis.project_out(vector)
            below[len(kept), column] = norm
            kept.append(self.basis.rounded(vector / vector.norm()))
        self._scale = max(self._scale, float(below.max()) if self._ends else 0.0)
        return kept, below[: len(kept)]
