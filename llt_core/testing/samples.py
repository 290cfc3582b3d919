"""A tiny image task and a tiny network for plugins to be tried on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from llt_core.interfaces import (
    ClassificationTask,
    Modality,
    TaskDescription,
    TensorExamples,
    parameter,
)

if TYPE_CHECKING:
    from torch import nn

ARCHITECTURE_SAMPLES = (
    TaskDescription(modality="image", input_shape=(3, 32, 32), outputs=10),
    TaskDescription(modality="image", input_shape=(1, 32, 32), outputs=7),
    TaskDescription(modality="image", input_shape=(1, 28, 28), outputs=7),
    TaskDescription(modality="text", input_shape=(12,), outputs=31, padding=0),
)
"""Colour and gray images, small gray images, and short texts to translate."""


def describe_modality(modality: Modality) -> TaskDescription:
    """Return the first sample description of ``modality``."""
    return next(sample for sample in ARCHITECTURE_SAMPLES if sample.modality == modality)


class TinyImages(ClassificationTask):
    """Colour images of 8×8 random pixels, brighter for higher classes; 48 + 24 of them."""

    summary = "A few random colour images, for tests"
    split_policy = "The first 48 images are the training split and the other 24 the test split."

    classes: int = parameter(4, ge=2, unit="classes", description="Number of classes")

    def describe(self) -> TaskDescription:
        """Return the shapes."""
        return TaskDescription(modality="image", input_shape=(3, 8, 8), outputs=self.classes)

    def datasets(self, data_root: Path) -> Mapping[str, TensorExamples]:
        """Return the same examples as :meth:`tiny`; no file is read."""
        return self.tiny()

    def tiny(self) -> Mapping[str, TensorExamples]:
        """Return uint8 images ``(N, 3, 8, 8)`` and labels ``(N,)``, always the same."""
        import torch

        generator = torch.Generator().manual_seed(0)
        labels = torch.randint(self.classes, (72,), generator=generator)
        noise = torch.rand(72, 3, 8, 8, generator=generator)
        level = (labels / self.classes).view(-1, 1, 1, 1)
        images = ((0.5 * noise + 0.5 * level) * 255).to(torch.uint8)
        mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
        return {
            "train": TensorExamples(images[:48], labels[:48], mean, std, self.classes),
            "test": TensorExamples(images[48:], labels[48:], mean, std, self.classes),
        }


def small_network(task: TaskDescription, seed: int = 0) -> nn.Module:
    """Return a seeded convolutional network in eval mode, of about 150 parameters.

    It reads images ``(B, C, H, W)`` and gives logits ``(B, outputs)``. The bias of its
    convolution is frozen, and its last layer (which does nothing) is in train mode: both
    are states that a metric must leave as they are. Global random state is not touched.
    """
    import torch
    from torch import nn

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(task.input_shape[0], 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, task.outputs),
            nn.Identity(),
        )
        with torch.no_grad():
            network(torch.randn(32, *task.input_shape))
    network.get_parameter("0.bias").requires_grad_(False)
    network.eval()
    network[-1].train()
    return network
