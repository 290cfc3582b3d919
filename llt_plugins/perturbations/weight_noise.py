"""Noise on the trained weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from llt_core.interfaces import WeightPerturbation, parameter
from llt_plugins.perturbations.weights import changed_copy

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class WeightNoise(WeightPerturbation):
    """Move the trained weights in a random direction, by a share of their norm.

    The direction is Gaussian, and scaled so that the noise of each filter has exactly ``scale``
    times the norm of that filter (Li et al. 2018, section 4), or that of each tensor ``scale``
    times the norm of the tensor. A filter is one slice along the first axis. Biases and norm
    layers (one axis) stay. The direction does not depend on the scale. Running statistics of
    batch norm stay those of training.
    """

    summary: ClassVar[str] = "Move the trained weights in a random direction, relative to filters"
    axis: ClassVar[Literal["load", "temperature"]] = "temperature"

    scale: float = parameter(ge=0, description="Norm of the noise, as a share of that of weights")
    relative_to: Literal["filter", "tensor"] = parameter(
        "filter", description="Whose norm: that of each filter, or of each whole tensor"
    )

    @property
    def strength(self) -> float:
        """Return the relative norm of the noise."""
        return self.scale

    @classmethod
    def minimal(cls) -> Self:
        """Return noise of a tenth of the norm of each filter."""
        return cls(scale=0.1)

    def apply(self, subject: nn.Module, generator: torch.Generator) -> nn.Module:
        """Return a copy of the model with noisy weights."""
        if self.scale == 0:
            return subject
        return changed_copy(subject, lambda rows: self._noisy(rows, generator))

    def _noisy(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return ``rows`` (filters, values) with their noise."""
        import torch

        direction = torch.randn(rows.shape, generator=generator).to(rows)
        axes = 1 if self.relative_to == "filter" else (0, 1)
        norm = torch.linalg.vector_norm(rows, dim=axes, keepdim=True)
        own = torch.linalg.vector_norm(direction, dim=axes, keepdim=True)
        return torch.addcmul(rows, direction, self.scale * norm / own)
