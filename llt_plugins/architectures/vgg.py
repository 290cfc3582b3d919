"""CIFAR-style VGG-11 of any width (Simonyan and Zisserman 2015)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from llt_core.interfaces import Architecture, Modality, TaskDescription, parameter
from llt_plugins.architectures.pools import pooled_away

if TYPE_CHECKING:
    from torch import nn


class Vgg11(Architecture):
    """Eight 3×3 convolutions, five 2×2 max pools, one linear layer.

    The convolutions have w, 2w, 4w, 4w and four times 8w channels. The classic
    CIFAR version has width 64 and this one linear layer in place of the three of the
    ImageNet version: 9,231,114 parameters for 10 classes. Weights start from the default
    torch initialisation; without batch normalisation, narrow networks of this depth are
    slow to leave it.
    """

    summary = "VGG-11 of any width, with or without batch normalisation"
    accepts: ClassVar[frozenset[Modality]] = frozenset({"image"})
    load_field: ClassVar[str | None] = "width"

    width: int = parameter(8, ge=1, unit="channels", description="Channels of the first layer")
    batch_norm: bool = parameter(
        True, description="Whether every convolution is followed by batch normalisation"
    )

    def refuses(self, task: TaskDescription) -> str | None:
        """Refuse other modalities, and images that five pools would reduce to nothing."""
        return super().refuses(task) or pooled_away(task, pools=5)

    def build(self, task: TaskDescription) -> nn.Module:
        """Return a network from images ``(B, C, H, W)`` to logits ``(B, outputs)``.

        Raises
        ------
        RequestError
            If the network refuses the task.
        """
        from llt_plugins.architectures.networks.vgg import Vgg

        self.require_fit(task)
        return Vgg(self.width, self.batch_norm, task.input_shape[0], task.outputs)

    def probes(self, model: nn.Module) -> list[str]:
        """Return the names of the eight convolution stages and the classifier."""
        from llt_plugins.architectures.networks.vgg import CONVOLUTIONS

        return [*CONVOLUTIONS, "classifier"]

    @classmethod
    def minimal(cls) -> Self:
        """Return the network of width 1."""
        return cls(width=1)
