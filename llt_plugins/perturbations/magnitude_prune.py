"""Trained networks without their smallest weights."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, ClassVar, Self

from llt_core.interfaces import WeightPerturbation, parameter
from llt_plugins.perturbations.weights import weight_matrices

if TYPE_CHECKING:
    import torch
    from torch import nn


class MagnitudePrune(WeightPerturbation):
    """Set the smallest trained weights to zero, wherever they are (Han et al. 2015).

    Of all N weights in matrices and kernels together, the ⌊N·s⌋ smallest in absolute value
    become zero (global pruning; ties go by position). Biases and norm layers (one axis) are
    left, and nothing is trained afterwards. What a smaller s sets to zero, a larger one does.
    """

    summary: ClassVar[str] = "Set the smallest trained weights of the whole network to zero"

    sparsity: float = parameter(ge=0, le=1, description="Share s of the weights set to zero")

    @property
    def strength(self) -> float:
        """Return the share of the weights that are set to zero."""
        return self.sparsity

    @classmethod
    def minimal(cls) -> Self:
        """Return a network without half of its weights."""
        return cls(sparsity=0.5)

    def apply(self, subject: nn.Module, generator: torch.Generator) -> nn.Module:
        """Return a copy of the model with zeros for its smallest weights; nothing is drawn."""
        import torch

        pruned = copy.deepcopy(subject)
        weights = weight_matrices(pruned)
        if not weights:
            return pruned
        with torch.no_grad():
            sizes = torch.cat([weight.flatten().abs() for weight in weights])
            # 10 · 0.7 is 7 although the product of floats is a little less.
            count = math.floor(len(sizes) * self.sparsity + 1e-9)
            kept = torch.ones_like(sizes, dtype=torch.bool)
            kept[sizes.argsort(stable=True)[:count]] = False
            parts = torch.split(kept, [weight.numel() for weight in weights])
            for weight, part in zip(weights, parts, strict=True):
                weight.masked_fill_(~part.view(weight.shape), 0.0)
        return pruned
