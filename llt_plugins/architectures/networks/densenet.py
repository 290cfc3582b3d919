"""Densely connected networks of 40 layers (Huang, Liu, van der Maaten and Weinberger 2017)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, relu

STEM = 16
"""Channels of the first convolution, whatever the growth rate."""

LAYERS = 12
"""Layers of each of the three blocks: 3 · 12, the stem, two transitions and the classifier."""


class DenseLayer(nn.Module):
    """Append k channels to what all layers before gave: ``(B, I, H, W)`` → ``(B, I + k, H, W)``."""

    def __init__(self, incoming: int, growth: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(incoming)
        self.conv = nn.Conv2d(incoming, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the old channels and the new ones."""
        return torch.cat([x, self.conv(relu(self.norm(x)))], dim=1)


class Transition(nn.Module):
    """Mix all channels and halve the image: ``(B, I, H, W)`` → ``(B, I, H/2, W/2)``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the means of 2×2 pixels."""
        return avg_pool2d(self.conv(relu(self.norm(x))), 2)


class DenseNet40(nn.Module):
    """Stem, three dense blocks with transitions between, average pooling, one linear layer.

    Maps images ``(B, C, H, W)`` to logits ``(B, outputs)``. This is the plain DenseNet: 3×3
    convolutions only within the blocks (no bottleneck), and transitions that keep the number
    of channels (no compression). The blocks end with 16 + 12k, 16 + 24k and 16 + 36k channels.

    Parameters
    ----------
    growth
        Channels k that each layer adds.
    channels
        Channels C of the images.
    outputs
        Number of classes.
    """

    def __init__(self, growth: int, channels: int, outputs: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, STEM, 3, padding=1, bias=False)
        self.block1, width = _block(STEM, growth)
        self.transition1 = Transition(width)
        self.block2, width = _block(width, growth)
        self.transition2 = Transition(width)
        self.block3, width = _block(width, growth)
        self.norm = nn.BatchNorm2d(width)
        self.classifier = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(B, outputs)`` for images ``(B, C, H, W)``."""
        x = self.transition1(self.block1(self.stem(x)))
        x = self.block3(self.transition2(self.block2(x)))
        pooled = adaptive_avg_pool2d(relu(self.norm(x)), 1)
        logits: Tensor = self.classifier(pooled.flatten(1))
        return logits


def _block(incoming: int, growth: int) -> tuple[nn.Sequential, int]:
    """Return twelve dense layers, and the number of channels they end with."""
    layers = [DenseLayer(incoming + index * growth, growth) for index in range(LAYERS)]
    return nn.Sequential(*layers), incoming + LAYERS * growth
