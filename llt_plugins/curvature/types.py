"""The few types that the numerics of this package share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor, nn

Loss = Callable[[nn.Module], Tensor]
"""Recomputes the mean loss of one fixed micro-batch for a model: a differentiable scalar."""

WeightedLoss = tuple[float, Loss]
"""How many terms the mean averages, and the loss. The total is ``Σ wᵢ lᵢ / Σ wᵢ``."""

Report = Callable[[int, int], None]
"""Called as ``report(done, total)`` after each product."""


class SymmetricOperator(Protocol):
    """A symmetric P × P matrix that is known only through its products.

    The estimators of this package need no more than this, so they also run on
    explicit matrices and on operators that this package has never heard of.
    """

    @property
    def size(self) -> int:
        """The number of rows P."""
        ...

    def matvec(self, vector: Tensor) -> Tensor:
        """Return the product with ``vector``; both have shape ``(P,)``."""
        ...


def ignore(done: int, total: int) -> None:
    """Report progress to nobody."""


class AsymmetryError(ValueError):
    """A matrix that is symmetric by definition has products that say otherwise."""
