"""CIFAR-style DenseNet-40 of any growth rate (Huang et al. 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from llt_core.interfaces import Architecture, Modality, TaskDescription, parameter
from llt_plugins.architectures.pools import pooled_away

if TYPE_CHECKING:
    from torch import nn


class DenseNet40(Architecture):
    """A 3×3 stem of 16 channels, three blocks of 12 layers that each add k channels.

    The plain network of the paper, without bottlenecks and without compression; with k = 12 it
    has 1,019,722 parameters for 10 classes of colour images. There is no dropout, and weights
    start from the default torch initialisation, as in the other networks for images.
    """

    summary = "DenseNet-40 of any growth rate (12 is the classic one), no bottlenecks"
    accepts: ClassVar[frozenset[Modality]] = frozenset({"image"})
    load_field: ClassVar[str | None] = "growth"

    growth: int = parameter(
        12, ge=1, unit="channels", description="Channels k that each of the 36 layers adds"
    )

    def refuses(self, task: TaskDescription) -> str | None:
        """Refuse other modalities, and images that two pools would reduce to nothing."""
        return super().refuses(task) or pooled_away(task, pools=2)

    def build(self, task: TaskDescription) -> nn.Module:
        """Return a network from images ``(B, C, H, W)`` to logits ``(B, outputs)``.

        Raises
        ------
        RequestError
            If the network refuses the task.
        """
        from llt_plugins.architectures.networks import densenet

        self.require_fit(task)
        return densenet.DenseNet40(self.growth, task.input_shape[0], task.outputs)

    def probes(self, model: nn.Module) -> list[str]:
        """Return the names of the stem, the blocks, the transitions and the classifier."""
        return [
            "stem",
            "block1",
            "transition1",
            "block2",
            "transition2",
            "block3",
            "classifier",
        ]

    @classmethod
    def minimal(cls) -> Self:
        """Return the network of growth rate 1."""
        return cls(growth=1)
