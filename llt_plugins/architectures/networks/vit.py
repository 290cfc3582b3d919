"""Vision transformers for small images (Dosovitskiy et al. 2021)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from llt_plugins.architectures.networks.blocks import EncoderBlock, Projection

RATIO = 4
"""How many times wider than the stream the feed-forward networks are."""


class Patches(nn.Module):
    """Cut images into patches and map each to d numbers: ``(B, C, H, W)`` → ``(B, N, d)``.

    This is a convolution whose stride is its size, written as a matrix product.
    """

    def __init__(self, channels: int, patch: int, dim: int) -> None:
        super().__init__()
        self.patch = patch
        self.projection = Projection(channels * patch * patch, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return one vector for each patch, row by row."""
        rows, channels, height, width = x.shape
        down, across = height // self.patch, width // self.patch
        x = x.reshape(rows, channels, down, self.patch, across, self.patch)
        x = x.permute(0, 2, 4, 1, 3, 5).reshape(rows, down * across, -1)
        vectors: Tensor = self.projection(x)
        return vectors


class Positions(nn.Module):
    """Add a learned vector to each of N positions: ``(B, N, d)`` → the same."""

    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the vectors from N(0, 0.02²)."""
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        return x + self.weight


class VisionTransformer(nn.Module):
    """Patches, learned positions, pre-norm blocks with GELU, mean over patches, linear layer.

    Maps images ``(B, C, H, W)`` to logits ``(B, outputs)``. The mean over the patches takes the
    place of the class token: one position less, and no worse (Beyer, Zhai and Kolesnikov 2022).

    Parameters
    ----------
    shape
        ``(C, H, W)``; ``patch`` divides H and W.
    patch
        Height and width of a patch.
    dim
        Numbers of each vector.
    depth
        Number of blocks.
    heads
        Attention heads; they divide ``dim``.
    outputs
        Number of classes.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        *,
        patch: int,
        dim: int,
        depth: int,
        heads: int,
        outputs: int,
    ) -> None:
        super().__init__()
        channels, height, width = shape
        self.patches = Patches(channels, patch, dim)
        self.positions = Positions((height // patch) * (width // patch), dim)
        self.blocks = nn.ModuleList(EncoderBlock(dim, heads, RATIO, gelu) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.classifier = Projection(dim, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits ``(B, outputs)`` for images ``(B, C, H, W)``."""
        x = self.positions(self.patches(x))
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.classifier(self.norm(x).mean(dim=1))
        return logits

    def probes(self) -> list[str]:
        """Return the names of the patches, every block and the classifier, in forward order."""
        return ["patches", *(f"blocks.{index}" for index in range(len(self.blocks))), "classifier"]
