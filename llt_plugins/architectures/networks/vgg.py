"""CIFAR-style VGG-11 of any width (Simonyan and Zisserman 2015, configuration A)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

MULTIPLES = (1, 2, 4, 4, 8, 8, 8, 8)
"""Channels of the eight convolutions, in units of the width."""

POOLED = frozenset({1, 2, 4, 6, 8})
"""The convolutions after which the image is halved."""

CONVOLUTIONS = tuple(f"features.conv{index + 1}" for index in range(len(MULTIPLES)))
"""Names of the convolution stages within :class:`Vgg`."""


class Vgg(nn.Module):
    """Eight 3×3 convolutions, five 2×2 max pools, one linear layer.

    Maps images ``(B, C, H, W)`` with ``H, W ≥ 32`` to logits ``(B, outputs)``. What the
    pools leave is averaged over the image: nothing to do on 32×32 inputs, where one
    pixel is left. The convolutions keep their bias before batch normalisation, as in
    torchvision and the usual CIFAR version: those biases do not change the function.

    Parameters
    ----------
    width
        Channels w of the first convolution; the rest have 2w, 4w, 4w and four times 8w.
    batch_norm
        Whether every convolution is followed by batch normalisation.
    channels
        Channels C of the images.
    outputs
        Number of classes.
    """

    def __init__(self, width: int, batch_norm: bool, channels: int, outputs: int) -> None:
        super().__init__()
        self.features = nn.Sequential()
        incoming = channels
        for index, multiple in enumerate(MULTIPLES, start=1):
            outgoing = multiple * width
            stage = nn.Sequential(nn.Conv2d(incoming, outgoing, 3, padding=1))
            if batch_norm:
                stage.append(nn.BatchNorm2d(outgoing))
            stage.append(nn.ReLU())
            self.features.add_module(f"conv{index}", stage)
            if index in POOLED:
                self.features.add_module(f"pool{index}", nn.MaxPool2d(2))
            incoming = outgoing
        self.classifier = nn.Linear(incoming, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(B, outputs)`` for images ``(B, C, H, W)``."""
        features = adaptive_avg_pool2d(self.features(x), 1)
        logits: Tensor = self.classifier(features.flatten(1))
        return logits
