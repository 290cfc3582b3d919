"""Images in memory: how the built-in image tasks hold them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from llt_core.interfaces import DataError, TensorExamples

if TYPE_CHECKING:
    from torch import Tensor

Shape = tuple[int, int, int]
"""Channels, height and width: ``(C, H, W)``."""


def image_examples(
    images: Tensor,
    labels: Tensor,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    classes: int,
) -> TensorExamples:
    """Return examples of shape ``(N, C, H, W)`` that lie in memory as ``(N, H, W, C)``.

    Batches of them are channels_last without a copy, the layout in which convolutions on
    a CPU are fastest.

    Parameters
    ----------
    images
        uint8, shape ``(N, H, W, C)``.
    labels
        Class labels, shape ``(N,)``.
    mean, std
        Normalisation of each channel, in units of the full range [0, 1].
    classes
        Number of classes.
    """
    inputs = images.contiguous().permute(0, 3, 1, 2)
    return TensorExamples(inputs, labels.long(), mean=mean, std=std, classes=classes)


def check_images(path: Path, images: Tensor, labels: Tensor, shape: Shape, classes: int) -> None:
    """Refuse what was read from ``path`` unless it is labelled uint8 images of one shape.

    Raises
    ------
    DataError
        Names the file and what is wrong with it.
    """
    import torch

    channels, height, width = shape
    expected = f"{height}x{width} images of {channels} channel(s), one byte each"
    if images.dtype != torch.uint8 or tuple(images.shape[1:]) != (height, width, channels):
        kind = f"{tuple(images.shape)} of {str(images.dtype).removeprefix('torch.')}"
        raise _unfit(path, f"holds {kind}", expected)
    if len(images) == 0 or len(images) != len(labels):
        count = f"{len(images)} images and {len(labels)} labels"
        raise _unfit(path, f"comes with {count}", "at least one image, and a label for each")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        found = f"comes with labels from {low} to {high}"
        raise _unfit(path, found, f"class labels from 0 to {classes - 1}")


def tiny_images(
    shape: Shape, mean: tuple[float, ...], std: tuple[float, ...], classes: int
) -> Mapping[str, TensorExamples]:
    """Return 12 training and 8 test images of random pixels, the same on every call.

    Labels count up from 0, so that up to 12 classes are all present.
    """
    import torch

    channels, height, width = shape
    generator = torch.Generator().manual_seed(0)
    splits = {}
    for split, count in (("train", 12), ("test", 8)):
        size = (count, height, width, channels)
        images = torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)
        splits[split] = image_examples(images, torch.arange(count) % classes, mean, std, classes)
    return splits


def _unfit(path: Path, found: str, expected: str) -> DataError:
    return DataError(
        f"{path.name} {found}",
        where=str(path.absolute()),
        expected=expected,
        next_step="remove or replace the file",
    )
