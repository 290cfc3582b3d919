"""Trained weights of few bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from llt_core.interfaces import WeightPerturbation, parameter
from llt_plugins.perturbations.weights import changed_copy

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

FULL = 32
"""Bits of a weight as it was trained."""


class Quantise(WeightPerturbation):
    """Round the trained weights to few bits: symmetric, uniform, per channel (Krishnamoorthi 2018).

    Every output channel (a slice along the first axis) has its own step, its largest absolute
    weight over 2^(bits−1) − 1, and its weights become the nearest multiples of it: at most
    2^bits − 1 values, zero among them, no error above half a step, and the largest weight
    stays. Biases and norm layers (one axis) are left. The weights are stored as the float32
    numbers they round to, so every metric works on them.
    """

    summary: ClassVar[str] = "Round the trained weights to few bits (symmetric, per channel)"

    bits: int = parameter(ge=2, le=FULL, description="Bits of a weight; 32 changes nothing")

    @property
    def strength(self) -> float:
        """Return how many of the 32 bits are dropped."""
        return float(FULL - self.bits)

    @classmethod
    def minimal(cls) -> Self:
        """Return weights of 4 bits."""
        return cls(bits=4)

    def apply(self, subject: nn.Module, generator: torch.Generator) -> nn.Module:
        """Return a copy of the model with rounded weights; nothing is drawn."""
        return changed_copy(subject, self._rounded) if self.bits < FULL else subject

    def _rounded(self, rows: Tensor) -> Tensor:
        """Return ``rows`` (channels, values) as multiples of the step of each channel."""
        import torch

        exact = rows.double()
        step = exact.abs().amax(dim=1, keepdim=True) / (2 ** (self.bits - 1) - 1)
        # A channel of zeros has no step: any will do.
        numbers = (exact / torch.where(step > 0, step, 1.0)).round()
        rounded: Tensor = (numbers * step).to(rows.dtype)
        return rounded
