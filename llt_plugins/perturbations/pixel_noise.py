"""Noise on the pixels of the training images."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from llt_core.interfaces import (
    DataPerturbation,
    Modality,
    RequestError,
    Splits,
    TaskDescription,
    TensorExamples,
    parameter,
)
from llt_plugins.perturbations.splits import draw_base, missing_split, split_generator

if TYPE_CHECKING:
    import torch
    from torch import Tensor

CHUNK = 1024
"""Images that are changed at once."""


class PixelNoise(DataPerturbation):
    """Add noise to every pixel, or put noise in its place (Yang et al. 2021, appendix).

    Each value of each image gets its own draw z, and becomes ``x + magnitude · z`` (or
    ``magnitude · z`` with ``mode = "replace"``), rounded and clipped to 0–255. z is ±1 with
    equal chances (``bernoulli``), standard normal (``gaussian``), uniform on [−1, 1]
    (``uniform``) or on [0, 1] (``positive_uniform``). Images are noisy once and for all: every
    epoch and every model sees the same ones. z does not depend on the magnitude, nor on which
    other splits are changed. With magnitude 0, images stay, in either mode.
    """

    summary: ClassVar[str] = "Add noise to the pixels of the training images, or replace them"
    accepts: ClassVar[frozenset[Modality]] = frozenset({"image"})

    magnitude: float = parameter(ge=0, description="Scale of the noise", unit="gray levels of 255")
    distribution: Literal["bernoulli", "gaussian", "uniform", "positive_uniform"] = parameter(
        "gaussian", description="Distribution of the noise"
    )
    mode: Literal["add", "replace"] = parameter(
        "add", description="Whether noise is added to the image or takes its place"
    )
    splits: tuple[str, ...] = parameter(
        ("train",), min_length=1, description="Splits whose images are changed"
    )

    @property
    def strength(self) -> float:
        """Return the magnitude."""
        return self.magnitude

    @classmethod
    def minimal(cls) -> Self:
        """Return noise of a quarter of the range."""
        return cls(magnitude=64.0)

    def refuses(self, task: TaskDescription) -> str | None:
        """Refuse splits that the task does not have."""
        return missing_split(self.splits, task) or super().refuses(task)

    def apply(self, subject: Splits, generator: torch.Generator) -> Splits:
        """Return the splits with new images (uint8); labels are shared with ``subject``."""
        base = draw_base(generator)
        changed = dict(subject)
        for split in self.splits:
            images = _images(subject, split)
            if self.magnitude > 0:
                noisy = self._noisy(images.inputs, split_generator(base, split))
                changed[split] = images.with_inputs(noisy)
        return changed

    def _noisy(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return noisy uint8 images ``(N, C, H, W)`` in the memory layout they have."""
        import torch

        noisy = torch.empty_like(images)
        for start in range(0, len(images), CHUNK):
            chunk = images[start : start + CHUNK]
            values = self._draw(tuple(chunk.shape), generator).mul_(self.magnitude)
            if self.mode == "add":
                values += chunk.to(values)
            noisy[start : start + CHUNK] = values.round_().clamp_(0, 255).to(torch.uint8)
        return noisy

    def _draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Return z of ``shape``, float32."""
        import torch

        match self.distribution:
            case "bernoulli":
                return torch.randint(2, shape, generator=generator).float().mul_(2).sub_(1)
            case "gaussian":
                return torch.randn(shape, generator=generator)
            case "uniform":
                return torch.rand(shape, generator=generator).mul_(2).sub_(1)
            case "positive_uniform":
                return torch.rand(shape, generator=generator)


def _images(subject: Splits, split: str) -> TensorExamples:
    """Return the images of ``split``.

    Raises
    ------
    RequestError
        There is no such split, or its inputs are not images of one byte per value.
    """
    import torch

    examples = subject.get(split)
    fits = isinstance(examples, TensorExamples) and examples.inputs.dtype == torch.uint8
    if not fits or not isinstance(examples, TensorExamples):
        raise RequestError(
            f"the pixels of the split {split!r} cannot be changed",
            expected="a split of images with values from 0 to 255 (uint8)",
        )
    return examples
