"""A small task, small models, and contexts to measure them in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import nn

from llt_core.interfaces import (
    ClassificationTask,
    Examples,
    MeasureContext,
    TaskDescription,
    TensorExamples,
)


class Clouds(ClassificationTask):
    """Three noisy clouds of points drawn as 1 x 4 x 4 images."""

    summary = "Three clouds"
    split_policy = "40 points for training, 25 for testing"

    def describe(self) -> TaskDescription:
        return TaskDescription(modality="image", input_shape=(1, 4, 4), outputs=3)

    def datasets(self, data_root: Path) -> Mapping[str, Examples]:
        generator = torch.Generator().manual_seed(0)
        centres = torch.randn(3, 1, 4, 4, generator=generator)

        def draw(n: int) -> TensorExamples:
            labels = torch.randint(0, 3, (n,), generator=generator)
            noise = torch.randn(n, 1, 4, 4, generator=generator)
            return TensorExamples(centres[labels] + 2.0 * noise, labels)

        return {"train": draw(40), "test": draw(25)}

    def tiny(self) -> Mapping[str, Examples]:
        return self.datasets(Path())


def network(seed: int = 0) -> nn.Module:
    """Conv, batch norm with unequal statistics, linear: 187 parameters, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(16, 6),
            nn.Tanh(),
            nn.Linear(6, 3),
        )
        model[1].running_mean.normal_()
        model[1].running_var.uniform_(0.5, 2.0)
    return model.eval()


@pytest.fixture
def model() -> nn.Module:
    return network()


@pytest.fixture
def context_of() -> Callable[..., MeasureContext]:
    def make(model: nn.Module, **more: object) -> MeasureContext:
        task = Clouds()
        return MeasureContext(task=task, models=(model,), splits=task.tiny(), **more)

    return make
