"""Points of a loss surface one by one and several at once: processor time, and memory added.

    python benchmarks/surfaces.py [--repeat 3]

Untrained networks on 250 random images of 32 × 32 pixels, channels-last, one thread: the time
of a point when ``torch.func.vmap`` takes 1, 2 or 4 of them in one forward pass, least of
several rounds that take turns. Then the peak memory that a surface of 41 × 41 points over
4,000 samples adds to a process that has done a small one.
"""

from __future__ import annotations

import argparse
import resource
import time
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from llt_core.interfaces import TaskDescription
from llt_plugins.architectures.mlp import Mlp
from llt_plugins.architectures.resnet import ResNet18
from llt_plugins.architectures.vgg import Vgg11
from llt_plugins.surfaces.directions import random_direction
from llt_plugins.surfaces.evaluation import Score, evaluate, grid, steps
from llt_plugins.surfaces.parameters import flatten

AT_ONCE = (1, 2, 4)
IMAGES = TaskDescription(modality="image", input_shape=(3, 32, 32), outputs=10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"memory added by 41 x 41 points on 4,000 samples: {memory():.0f} MiB")
    networks = {
        "mlp, width 8": Mlp(width=8).build(IMAGES),
        "two convolutions": two_convolutions(),
        "resnet18, width 2": ResNet18(width=2).build(IMAGES),
        "resnet18, width 8": ResNet18(width=8).build(IMAGES),
        "vgg11, width 8": Vgg11(width=8).build(IMAGES),
    }
    for name, model in networks.items():
        seconds = times(model.eval(), arguments.repeat)
        more = ", ".join(f"{k} at once {seconds[k] / seconds[1]:.2f}" for k in AT_ONCE[1:])
        print(f"{name}: {1000 * seconds[1]:.1f} ms a point one by one; {more}", flush=True)


def two_convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(1024, 10),
    )


def times(model: nn.Module, repeat: int) -> dict[int, float]:
    """Return the seconds of a point, by how many are evaluated at once."""
    images = torch.randn(250, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    points = steps(0.1, 5)[:4, None]
    found: dict[int, list[float]] = {k: [] for k in AT_ONCE}
    for _ in range(repeat):
        for k in AT_ONCE:
            begin = time.process_time()
            surface(model, images, points, k)
            found[k].append((time.process_time() - begin) / len(points))
    return {k: min(seconds) for k, seconds in found.items()}


def memory() -> float:
    """Return the MiB by which a large surface raises the peak."""
    model, images = nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), torch.randn(4000, 3, 8, 8)
    peaks = []
    for size in (3, 41):
        surface(model, images, grid(steps(1.0, size), steps(1.0, size)), 32)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    return peaks[1] - peaks[0]


def surface(model: nn.Module, images: Tensor, points: Tensor, at_once: int) -> None:
    """Evaluate loss at all points, with one contrast of them."""

    def score(part: Tensor, m: nn.Module) -> Tensor:
        labels = torch.arange(len(part)) % 4
        return cross_entropy(m(part), labels, reduction="none")[None]

    scores: list[Score] = [partial(score, part) for part in images.split(250)]
    draws = [random_direction(model, torch.Generator().manual_seed(k)) for k in range(2)]
    evaluate(
        model,
        scores,
        flatten(model),
        torch.stack(draws[: points.shape[1]]),
        points,
        contrasts=torch.ones(1, len(points)),
        points_at_once=at_once,
    )


if __name__ == "__main__":
    main()
