"""Images with a square hole."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Self

from llt_core.interfaces import Batch, Modality, TaskDescription, TrainingPerturbation, parameter
from llt_plugins.perturbations.batches import images_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Cutout(TrainingPerturbation):
    """Put a square of zeros into every image of every batch (DeVries and Taylor 2017).

    The centre is uniform over all pixels, so that a part of the square can lie outside. Images
    are normalised before, so zero is the mean of each channel.
    """

    summary: ClassVar[str] = "Put a square hole at a random place of every training image"
    accepts: ClassVar[frozenset[Modality]] = frozenset({"image"})

    size: int = parameter(16, ge=0, description="Side of the square", unit="pixels")

    @property
    def strength(self) -> float:
        """Return the side of the square."""
        return float(self.size)

    @classmethod
    def minimal(cls) -> Self:
        """Return holes of 4×4 pixels."""
        return cls(size=4)

    def refuses(self, task: TaskDescription) -> str | None:
        """Refuse squares larger than the image."""
        refusal = super().refuses(task)
        if refusal is None and self.size > min(task.input_shape[1:]):
            height, width = task.input_shape[1:]
            return f"a square of side {self.size} is larger than images of {height}x{width}"
        return refusal

    def apply(self, subject: Batch, generator: torch.Generator) -> Batch:
        """Return the batch with holes in its images."""
        import torch

        if self.size == 0:
            return subject
        images = images_of(subject)
        count, _, height, width = images.shape
        rows = self._covered(torch.randint(height, (count,), generator=generator), height)
        columns = self._covered(torch.randint(width, (count,), generator=generator), width)
        hole = (rows[:, None, :, None] & columns[:, None, None, :]).to(images.device)
        return replace(subject, inputs=images.masked_fill(hole, 0.0))

    def _covered(self, centres: Tensor, length: int) -> Tensor:
        """Return which of ``length`` positions the squares cover, bool ``(B, length)``."""
        import torch

        first = centres[:, None] - self.size // 2
        positions = torch.arange(length)
        return (positions >= first) & (positions < first + self.size)
