"""A step of curve training against a plain training step of the same model (resnet18).

    python benchmarks/curve_training.py [--widths 8 16] [--repeat 15] [--threads 1] [--steps 5]

Three sides take turns on the same minibatches of 128 real images (scikit-learn's digits, as
3×32×32), in one process: `plain`, torch's modules, SGD (fused) and channels-last images;
`trainer`, the training loop of llt, which has a faster batch norm for fewer than 16 channels;
`curve`, the loop behind the metric mode_connectivity. Printed are the medians of the seconds a
step took and of the ratios of neighbouring turns. The aim is curve / plain ≤ 1.25.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from llt_core.interfaces import ClassificationTask, MeasureContext, TensorExamples
from llt_core.spec import TrainingRecipe
from llt_core.work.memory import keep_freed_memory
from llt_core.work.trainer import Trainer
from llt_plugins.architectures.resnet import ResNet18
from llt_plugins.metrics.mode_connectivity import ModeConnectivity
from llt_plugins.paths.curves import Path
from llt_plugins.paths.training import train_path
from llt_plugins.tasks.cifar import Cifar10

BATCH = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=5, help="minibatches in one turn")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()  # as every worker of llt does
    examples = images(arguments.steps * BATCH)
    for width in arguments.widths:
        compare(width, examples, arguments.repeat, arguments.steps)


def compare(width: int, examples: TensorExamples, repeat: int, steps: int) -> None:
    """Print seconds a step and ratios for one width."""
    task = Cifar10()
    sides = {
        "plain": plain_side(build(task, width, 0), examples),
        "trainer": trainer_side(task, build(task, width, 0), examples, repeat),
        "curve": curve_side(task, [build(task, width, k) for k in (1, 2)], examples),
    }
    for side in sides.values():  # first calls allocate and choose kernels
        side()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeat):
        for name, side in sides.items():
            start = time.perf_counter()
            side()
            seconds[name].append((time.perf_counter() - start) / steps)
    medians = ", ".join(f"{k} {1000 * statistics.median(v):.0f} ms" for k, v in seconds.items())
    print(f"width {width}: {medians}")
    for base in ("plain", "trainer"):
        ratios = [a / b for a, b in zip(seconds["curve"], seconds[base], strict=True)]
        quartiles = statistics.quantiles(ratios, n=4)
        print(
            f"  curve / {base}: {statistics.median(ratios):.3f} "
            f"(quartiles {quartiles[0]:.3f} to {quartiles[2]:.3f})"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  peak memory of the process: {peak:.0f} MiB")


def plain_side(model: nn.Module, examples: TensorExamples) -> Callable[[], object]:
    """Return one pass of the loop that most scripts hold, on images in memory."""
    model = model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, fused=True
    )
    order = torch.Generator().manual_seed(0)

    def turn() -> None:
        for index in examples.slices(BATCH, generator=order):
            batch = examples.batch(index)
            inputs = batch.inputs.contiguous(memory_format=torch.channels_last)
            optimizer.zero_grad()
            cross_entropy(model(inputs), batch.targets).backward()
            optimizer.step()

    return turn


def trainer_side(
    task: ClassificationTask, model: nn.Module, examples: TensorExamples, repeat: int
) -> Callable[[], object]:
    recipe = TrainingRecipe(batch_size=BATCH, epochs=repeat + 1, learning_rate=0.01)
    trainer = Trainer(model, task, examples, recipe, seed=0, device=torch.device("cpu"))
    return partial(trainer.epoch, 1)


def curve_side(
    task: ClassificationTask, models: list[nn.Module], examples: TensorExamples
) -> Callable[[], object]:
    """Return one epoch of curve training, its copies and set-up included."""
    metric = ModeConnectivity(batch_size=BATCH)
    context = MeasureContext(task, tuple(models), {"train": examples})
    path = Path(*models)
    path = path.through(path.straight(3))
    order = torch.Generator().manual_seed(0)
    return lambda: train_path(path, partial(metric._epoch, context), order, epochs=1)


def build(task: ClassificationTask, width: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return ResNet18(width=width).build(task.describe())


def images(count: int) -> TensorExamples:
    """Return digits as colour images ``(N, 3, 32, 32)``, uint8."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.kron(digits.images[:count], np.ones((4, 4))) * (255 / 16)
    inputs = torch.from_numpy(pixels).to(torch.uint8)[:, None].expand(-1, 3, -1, -1).contiguous()
    labels = torch.from_numpy(digits.target[:count]).long()
    return TensorExamples(inputs, labels, mean=(0.5,) * 3, std=(0.25,) * 3, classes=10)


if __name__ == "__main__":
    main()
