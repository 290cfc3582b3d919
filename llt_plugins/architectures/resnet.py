"""CIFAR-style ResNets of any width (He, Zhang, Ren and Sun 2016; Yang et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from llt_core.interfaces import Architecture, Modality, TaskDescription, parameter

if TYPE_CHECKING:
    from torch import nn


class CifarResNet(Architecture):
    """A 3×3 stem, four stages with k, 2k, 4k and 8k channels, average pooling, one linear layer.

    Weights start from the default torch initialisation.
    """

    accepts: ClassVar[frozenset[Modality]] = frozenset({"image"})
    load_field: ClassVar[str | None] = "width"
    blocks: ClassVar[tuple[int, int, int, int]]
    bottleneck: ClassVar[bool] = False

    width: int = parameter(
        8, ge=1, unit="channels", description="Channels k of the stem and the first stage"
    )

    def build(self, task: TaskDescription) -> nn.Module:
        """Return a network from images ``(B, C, H, W)`` to logits ``(B, outputs)``."""
        from llt_plugins.architectures.networks.resnet import BasicBlock, Bottleneck, ResNet

        block = Bottleneck if self.bottleneck else BasicBlock
        return ResNet(block, self.blocks, self.width, task.input_shape[0], task.outputs)

    def probes(self, model: nn.Module) -> list[str]:
        """Return the names of the stem, every residual block and the classifier."""
        from llt_plugins.architectures.networks.resnet import ResNet

        return model.probes() if isinstance(model, ResNet) else super().probes(model)

    @classmethod
    def minimal(cls) -> Self:
        """Return the network of width 1."""
        return cls(width=1)


class ResNet18(CifarResNet):
    """Basic blocks 2, 2, 2, 2: 176,402 parameters at width 8, 11,173,962 at width 64."""

    summary = "CIFAR-style ResNet-18 of any width (width 64 is the classic one)"
    blocks = (2, 2, 2, 2)


class ResNet34(CifarResNet):
    """Basic blocks 3, 4, 6, 3."""

    summary = "CIFAR-style ResNet-34 of any width"
    blocks = (3, 4, 6, 3)


class ResNet50(CifarResNet):
    """Bottleneck blocks 3, 4, 6, 3, which widen their output four times."""

    summary = "CIFAR-style ResNet-50 (bottleneck blocks) of any width"
    blocks = (3, 4, 6, 3)
    bottleneck = True
