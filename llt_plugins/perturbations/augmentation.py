"""Shifted and mirrored images, anew for every step."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from llt_core.interfaces import Batch, Modality, TaskDescription, TrainingPerturbation, parameter
from llt_plugins.perturbations.batches import images_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Augmentation(TrainingPerturbation):
    """Shift images at random, and mirror half of them (He et al. 2016, section 4.2).

    Each image is surrounded by ``crop`` pixels of zeros on every side, and a window of its
    original size is cut out at a place that is uniform over all (2 · crop + 1)² of them; with
    ``flip`` it is then mirrored left to right with probability one half. Images are normalised
    before, so zero is the mean of each channel.
    """

    summary: ClassVar[str] = "Shift training images at random and mirror half of them"
    accepts: ClassVar[frozenset[Modality]] = frozenset({"image"})

    crop: int = parameter(4, ge=0, description="Largest shift in each direction", unit="pixels")
    flip: bool = parameter(True, description="Whether to mirror half of the images left to right")

    @property
    def strength(self) -> float:
        """Return the bits of one draw: log₂ of the number of views of an image."""
        return 2 * math.log2(2 * self.crop + 1) + self.flip

    def refuses(self, task: TaskDescription) -> str | None:
        """Refuse shifts that can move an image out of sight."""
        refusal = super().refuses(task)
        if refusal is None and self.crop >= min(task.input_shape[1:]):
            height, width = task.input_shape[1:]
            return f"a shift of {self.crop} pixels can leave nothing of images of {height}x{width}"
        return refusal

    def apply(self, subject: Batch, generator: torch.Generator) -> Batch:
        """Return the batch with other views of its images."""
        import torch

        if self.strength == 0:
            return subject
        images = images_of(subject)
        count, size = len(images), 2 * self.crop + 1
        shifts = torch.randint(size, (2, count), generator=generator)
        mirrored = torch.rand(count, generator=generator) < 0.5 if self.flip else None
        return replace(subject, inputs=views(images, self.crop, shifts, mirrored))


def views(images: Tensor, crop: int, shifts: Tensor, mirrored: Tensor | None) -> Tensor:
    """Return windows of zero-padded images, ``(B, C, H, W)`` and channels-last in memory.

    Parameters
    ----------
    images
        Shape ``(B, C, H, W)``.
    crop
        Pixels of zeros on each side.
    shifts
        First row and column of each window in its padded image, shape ``(2, B)``.
    mirrored
        Which windows to mirror left to right, bool, shape ``(B,)``; None for none.
    """
    import torch
    from torch.nn.functional import pad

    count, _, height, width = images.shape
    rows = shifts[0, :, None] + torch.arange(height)
    columns = shifts[1, :, None] + torch.arange(width)
    if mirrored is not None:
        columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    padded = pad(images, (crop,) * 4).permute(0, 2, 3, 1)
    which = torch.arange(count, device=images.device)
    at = which[:, None, None], rows.to(which)[:, :, None], columns.to(which)[:, None, :]
    return padded[at].permute(0, 3, 1, 2)
