"""Plugins of the fault suite: quick to compute, slow to finish, some of them dangerous.

Copied into a folder of its own beside an ``llt.toml`` that declares them. They sleep where real
ones compute, so that there is time to be killed in and the processor is left to others.
"""

import ctypes
import os
import signal
import time
from pathlib import Path

import torch

from llt_core.interfaces import (
    Architecture,
    ClassificationTask,
    Measurement,
    Metric,
    Quantity,
    TaskDescription,
    TensorExamples,
    parameter,
)

HERE = Path(__file__).parent
PAUSE = float(os.environ.get("FAULT_PAUSE", "0"))
"""Seconds that a step or a measurement sleeps: no part of what is asked for."""


def vector(model):
    return torch.cat([p.detach().double().flatten() for p in model.parameters()])


def quantity(name):
    return (Quantity(name=name, unit="", description="a number"),)


class Gray(ClassificationTask):
    summary = "Two classes of small images, from one file"
    split_policy = "even rows train, odd rows test"

    def describe(self):
        return TaskDescription(modality="image", input_shape=(3, 2, 2), outputs=2)

    def files(self, data_root):
        return (data_root / "gray.bin",)

    def datasets(self, data_root):
        rows = torch.tensor(list((data_root / "gray.bin").read_bytes()), dtype=torch.uint8)
        images = rows.view(-1, 1, 1, 1).expand(-1, 3, 2, 2).contiguous()
        labels = (rows >= 128).long()
        return {
            "train": TensorExamples(images[::2], labels[::2], classes=2),
            "test": TensorExamples(images[1::2], labels[1::2], classes=2),
        }

    def tiny(self):
        images = torch.zeros(4, 3, 2, 2, dtype=torch.uint8)
        return dict.fromkeys(("train", "test"), TensorExamples(images, torch.arange(4) % 2))


class Pausing(torch.nn.Module):
    def forward(self, x):
        if self.training:
            time.sleep(PAUSE)
        return x


class Slow(Architecture):
    summary = "Two layers with dropout that take their time to train"
    accepts = frozenset({"image"})
    width: int = parameter(4, ge=1, description="units")
    crashes: bool = parameter(False, description="read where nothing is")

    def build(self, task):
        if self.crashes:
            ctypes.string_at(0)
        return torch.nn.Sequential(
            torch.nn.Flatten(),
            Pausing(),
            torch.nn.Linear(12, self.width),
            torch.nn.Dropout(0.25),
            torch.nn.ReLU(),
            torch.nn.Linear(self.width, 2),
        )


class Norm(Metric):
    summary = "Euclidean norm of the weights"
    returns = quantity("norm")
    scale: float = parameter(1.0, gt=0, description="factor")

    def measure(self, context):
        time.sleep(PAUSE)
        weights = vector(context.model)
        value = self.scale * float(weights.norm())
        return [Measurement(name="norm", value=value, n=1, arrays={"weights": weights.numpy()})]


class Drawn(Metric):
    summary = "Sum of the weights with random signs"
    returns = quantity("drawn")

    def measure(self, context):
        weights = vector(context.model)
        signs = torch.randint(0, 2, weights.shape, generator=context.generator()) * 2 - 1
        return [Measurement(name="drawn", value=float((weights * signs).sum()))]


class Distance(Metric):
    summary = "Distance of two models"
    scope = "pair"
    returns = quantity("distance")

    def measure(self, context):
        time.sleep(PAUSE)
        one, two = (
            context.remember(("vector",), lambda i=i: vector(context.models[i]), i)
            for i in range(2)
        )
        return [Measurement(name="distance", value=float((one - two).norm()))]


class Spread(Metric):
    summary = "Spread of all models"
    scope = "set"
    returns = quantity("spread")

    def measure(self, context):
        stacked = torch.stack([vector(model) for model in context.models])
        return [Measurement(name="spread", value=float(stacked.std(0).mean()), n=len(stacked))]


class Poison(Metric):
    summary = "Kills the process that measures it, while a file called poison is there"
    returns = quantity("poison")

    def measure(self, context):
        if (HERE / "poison").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return [Measurement(name="poison", value=float(vector(context.model).sum()))]


class Greedy(Metric):
    summary = "Has memory for a few samples at once"
    returns = quantity("greedy")
    room: int = parameter(8, ge=1, description="samples at once")

    def measure(self, context):
        total, largest = 0, 0
        for batch in context.chunks("train", batch_size=32):
            if batch.weight > self.room:
                raise MemoryError(f"{batch.weight} samples at once")
            largest = max(largest, batch.weight)
            total += int(batch.targets.sum())  # whole numbers: any order gives the same
        return [Measurement(name="greedy", value=float(total), n=largest)]
