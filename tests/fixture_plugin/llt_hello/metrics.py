"""Two metrics that look at weights alone.

torch is imported inside the functions: ``llt show`` imports this module and need not wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llt_core.interfaces import (
    MeasureContext,
    Measurement,
    Metric,
    Quantity,
    TaskDescription,
    parameter,
)

if TYPE_CHECKING:
    from torch import Tensor, nn


def flatten(model: nn.Module) -> Tensor:
    """Return all parameters of ``model`` as one float64 vector of shape ``(P,)``."""
    import torch

    return torch.cat([p.detach().double().flatten() for p in model.parameters()])


class WeightNorm(Metric):
    """The p-norm ‖θ‖ₚ of the vector of all parameters."""

    summary = "Norm of all weights of a model"
    scope = "model"
    returns = (Quantity(name="weight_norm", unit="", description="‖θ‖ₚ"),)

    order: float = parameter(2.0, ge=1, description="Order p; 2 is the Euclidean norm")

    def cost(self, task: TaskDescription) -> float:
        """Return zero: no data is read."""
        return 0.0

    def measure(self, context: MeasureContext) -> list[Measurement]:
        """Measure one model."""
        theta = flatten(context.model)
        return [
            Measurement(
                name="weight_norm",
                value=theta.norm(p=self.order).item(),
                standard_error=0.0,
                n=len(theta),
                counted="parameters",
            )
        ]


class WeightDistance(Metric):
    """The Euclidean distance ‖θ₁ − θ₂‖₂ of two models of one architecture."""

    summary = "Euclidean distance between the weights of two models"
    scope = "pair"
    returns = (Quantity(name="weight_distance", unit="", description="‖θ₁ − θ₂‖₂"),)

    def cost(self, task: TaskDescription) -> float:
        """Return zero: no data is read."""
        return 0.0

    def measure(self, context: MeasureContext) -> list[Measurement]:
        """Measure one pair of models."""
        first, second = (flatten(model) for model in context.models)
        return [
            Measurement(
                name="weight_distance",
                value=(first - second).norm().item(),
                standard_error=0.0,
                n=len(first),
                counted="parameters",
            )
        ]
