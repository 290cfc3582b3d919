"""Multilayer perceptron with ReLU (Rumelhart, Hinton and Williams 1986)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Self

from llt_core.interfaces import Architecture, Modality, TaskDescription, parameter

if TYPE_CHECKING:
    from torch import nn


class Mlp(Architecture):
    """The image as one vector, ``depth`` hidden layers of ``width`` units, one linear layer.

    Weights start from the default torch initialisation.
    """

    summary = "Multilayer perceptron with ReLU: depth hidden layers of one width"
    accepts: ClassVar[frozenset[Modality]] = frozenset({"image"})
    load_field: ClassVar[str | None] = "width"

    width: int = parameter(64, ge=1, unit="units", description="Units of each hidden layer")
    depth: int = parameter(
        2, ge=0, unit="layers", description="Number of hidden layers; 0 is a linear model"
    )

    def build(self, task: TaskDescription) -> nn.Module:
        """Return a network from images ``(B, C, H, W)`` to logits ``(B, outputs)``."""
        from llt_plugins.architectures.networks.mlp import MultilayerPerceptron

        features = math.prod(task.input_shape)
        return MultilayerPerceptron(features, self.width, self.depth, task.outputs)

    def probes(self, model: nn.Module) -> list[str]:
        """Return the names of the hidden layers, after their ReLU, and the classifier."""
        return [*(f"hidden.{index}" for index in range(self.depth)), "classifier"]

    @classmethod
    def minimal(cls) -> Self:
        """Return one hidden layer of four units: a single unit may be dead from the start."""
        return cls(width=4, depth=1)
