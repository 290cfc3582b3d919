"""Vision transformers of any width for small images (Dosovitskiy et al. 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from llt_core.interfaces import Architecture, Modality, TaskDescription, parameter
from llt_plugins.architectures.heads import wrong_heads

if TYPE_CHECKING:
    from torch import nn


class Vit(Architecture):
    """Patches as words: linear patch embedding, learned positions, ``depth`` pre-norm blocks.

    For images of 28 to 32 pixels patches are 4×4, which gives 49 or 64 of them. The classifier
    reads the mean over the patches rather than a class token (Beyer, Zhai and Kolesnikov 2022).
    Feed-forward networks have GELU and are four times as wide; there is no dropout. Attention
    has no biases, as in equation 5 of the paper. Matrices start from Glorot's uniform
    distribution, positions from N(0, 0.02²). The channels of the images enter as they are, gray
    or colour. Kernels of attention as for ``transformer``.
    """

    summary = "Vision transformer of any width and depth for small images"
    accepts: ClassVar[frozenset[Modality]] = frozenset({"image"})
    load_field: ClassVar[str | None] = "width"

    width: int = parameter(
        64, ge=1, unit="numbers", description="Numbers of each vector, a multiple of heads"
    )
    depth: int = parameter(6, ge=1, unit="blocks", description="Number of blocks")
    patch: int = parameter(4, ge=1, unit="pixels", description="Height and width of a patch")
    heads: int = parameter(4, ge=1, unit="heads", description="Heads of each attention")

    def refuses(self, task: TaskDescription) -> str | None:
        """Refuse other modalities, images that patches do not tile, and heads that do not fit."""
        refusal = super().refuses(task) or wrong_heads(self.width, self.heads, "width")
        if refusal is not None:
            return refusal
        height, width = task.input_shape[-2:]
        if height % self.patch or width % self.patch:
            return (
                f"it cuts images into patches of {self.patch}x{self.patch} pixels, which do not "
                f"tile the task's {height}x{width}: choose a patch that divides both sides"
            )
        return None

    def build(self, task: TaskDescription) -> nn.Module:
        """Return a network from images ``(B, C, H, W)`` to logits ``(B, outputs)``.

        Raises
        ------
        RequestError
            If the network refuses the task.
        """
        from llt_plugins.architectures.networks.vit import VisionTransformer

        self.require_fit(task)
        channels, height, width = task.input_shape
        return VisionTransformer(
            (channels, height, width),
            patch=self.patch,
            dim=self.width,
            depth=self.depth,
            heads=self.heads,
            outputs=task.outputs,
        )

    def probes(self, model: nn.Module) -> list[str]:
        """Return the names of the patch embedding, every block and the classifier."""
        from llt_plugins.architectures.networks.vit import VisionTransformer

        return model.probes() if isinstance(model, VisionTransformer) else super().probes(model)

    @classmethod
    def minimal(cls) -> Self:
        """Return one block of width 8 with two heads."""
        return cls(width=8, depth=1, heads=2)
