"""Multilayer perceptron with ReLU (Rumelhart, Hinton and Williams 1986)."""

from __future__ import annotations

from torch import Tensor, nn


class MultilayerPerceptron(nn.Module):
    """Flatten, ``depth`` hidden layers of ``width`` units, one linear layer.

    Maps inputs ``(B, …)`` of ``features`` numbers each to logits ``(B, outputs)``.
    """

    def __init__(self, features: int, width: int, depth: int, outputs: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential()
        incoming = features
        for _ in range(depth):
            self.hidden.append(nn.Sequential(nn.Linear(incoming, width), nn.ReLU()))
            incoming = width
        self.classifier = nn.Linear(incoming, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(B, outputs)``."""
        logits: Tensor = self.classifier(self.hidden(x.flatten(1)))
        return logits
