"""Gray images for networks that expect three channels."""

from __future__ import annotations

from torch import Tensor, nn


class GrayToColour(nn.Module):
    """Repeat the channel of gray images: ``network`` sees ``(B, 1, H, W)`` as ``(B, 3, H, W)``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the wrapped network, ``(B, outputs)``."""
        output: Tensor = self.network(x.expand(-1, 3, -1, -1))
        return output
