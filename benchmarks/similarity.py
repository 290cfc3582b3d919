"""All-pairs CKA of five models against pair-by-pair recomputation: CPU seconds and peak memory.

    python benchmarks/similarity.py [--repeat 5] [--width 8] [--samples 640]

Both sides compare the softmax outputs of five resnet18 checkpoints on 640 mixtures of
training images, one thread, linear biased CKA. "Pairwise" is the course of the published
code: for each of the 25 ordered pairs both checkpoints are loaded, the inputs drawn, and both
models run. llt's metric loads and runs each model once, and compares the ten pairs. The two
take turns; the median of the ratios is the result. Seconds are those of the processor, which
other work on the machine changes less than those of the clock. Each side's peak memory is that of a
process of its own, above what loading torch and the data takes. A last line times per-layer
CKA (ten layers against ten, debiased, with error bars) of one pair.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import multiprocessing.connection
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from llt_core.interfaces import MeasureContext, TensorExamples
from llt_plugins.architectures.resnet import ResNet18
from llt_plugins.metrics.cka import Cka
from llt_plugins.tasks.digits import Digits

MODELS = 5
BATCH = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--samples", type=int, default=640)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder, width = Path(name), arguments.width
        save_models(folder, width)
        sides = {
            "pairwise": partial(pairwise, folder, width, arguments.samples),
            "llt": partial(all_pairs, folder, width, arguments.samples),
        }
        for side in sides.values():
            side()
        compare(sides, arguments.repeat)
        for label, side in sides.items():
            print(f"peak memory added by {label}: {peak(side):.0f} MB")
        print(f"ten layers against ten, one pair: {layers(folder, width, arguments.samples):.2f} s")


def compare(sides: dict[str, Callable[[], list[float]]], repeat: int) -> None:
    """Let the sides take turns, and print medians and the median ratio."""
    times: dict[str, list[float]] = {label: [] for label in sides}
    for _ in range(repeat):
        for label, side in sides.items():
            start = time.process_time()
            side()
            times[label].append(time.process_time() - start)
    for label, seconds in times.items():
        print(f"{label}: {statistics.median(seconds):.2f} s", flush=True)
    ratios = [a / b for a, b in zip(times["pairwise"], times["llt"], strict=True)]
    print(
        f"ratio {statistics.median(ratios):.1f} "
        f"({min(ratios):.1f} to {max(ratios):.1f}, {repeat} turns)"
    )


def all_pairs(folder: Path, width: int, samples: int) -> list[float]:
    """Return the CKA of the ten pairs by llt's metric, each model loaded and run once."""
    models = tuple(load(folder, width, index) for index in range(MODELS))
    context = MeasureContext(Digits(), models, digits())
    metric = Cka(samples=samples)
    pairs = itertools.combinations(range(MODELS), 2)
    return [metric.measure(context.restricted(pair))[0].value or 0.0 for pair in pairs]


def pairwise(folder: Path, width: int, samples: int) -> list[float]:
    """Return the CKA of the 25 ordered pairs, everything done again for each."""
    generator = torch.Generator().manual_seed(0)
    examples = digits()["train"]
    values = []
    for i, j in itertools.product(range(MODELS), repeat=2):
        first, second = load(folder, width, i), load(folder, width, j)
        order = torch.randperm(len(examples), generator=generator)[:samples]
        outputs: list[list[Tensor]] = [[], []]
        for index in order.split(BATCH):
            images = examples.batch(index).inputs
            share = torch.rand(1, generator=generator)
            mixed = share * images + (1 - share) * images[torch.randperm(len(index))]
            with torch.no_grad():
                for kept, model in zip(outputs, (first, second), strict=True):
                    kept.append(model(mixed).softmax(1))
        x, y = (torch.cat(kept) for kept in outputs)
        values.append(gram_cka(x, y))
    return values


def gram_cka(x: Tensor, y: Tensor) -> float:
    """Return biased linear CKA by centred Gram matrices."""
    grams = (z @ z.T for z in (x, y))
    k, l = (g - g.mean(0) - g.mean(1, keepdim=True) + g.mean() for g in grams)
    return float((k * l).sum() / (k.norm() * l.norm()))


def layers(folder: Path, width: int, samples: int) -> float:
    """Return the seconds that one pair's CKA of all layers takes."""
    models = tuple(load(folder, width, index) for index in range(2))
    probe = ResNet18(width=width).probes
    context = MeasureContext(Digits(), models, digits(), probe=probe)
    start = time.process_time()
    Cka(features="layers", samples=samples).measure(context)
    return time.process_time() - start


@lru_cache
def digits() -> Mapping[str, TensorExamples]:
    """Load the data once: neither side is timed for it."""
    return Digits().datasets(Path())


def save_models(folder: Path, width: int) -> None:
    for index in range(MODELS):
        torch.manual_seed(index)
        model = ResNet18(width=width).build(Digits().describe())
        save_file(model.state_dict(), folder / f"{index}.safetensors")


def load(folder: Path, width: int, index: int) -> nn.Module:
    model = ResNet18(width=width).build(Digits().describe())
    model.load_state_dict(load_file(folder / f"{index}.safetensors"))
    return model.eval()


def peak(side: Callable[[], list[float]]) -> float:
    """Return by how many MB the peak of a new process rises when it runs ``side``."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=measure_peak, args=(theirs, side))
    process.start()
    used: float = ours.recv()
    process.join()
    return used


def measure_peak(pipe: multiprocessing.connection.Connection, side: Callable[[], object]) -> None:
    torch.set_num_threads(1)
    digits()
    before = high_water()
    side()
    pipe.send(high_water() - before)


def high_water() -> float:
    """Return this process's own peak of resident memory in MB (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
