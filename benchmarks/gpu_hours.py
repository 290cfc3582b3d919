"""Estimate the GPU hours of experiment files: the table of docs/experiments.md.

    python benchmarks/gpu_hours.py [--tflops 10] [--step-ms 8] [FILE.toml ...]

No GPU is asked. A training step takes three forward passes of its batch (forward and backward)
at a sustained rate of --tflops, or --step-ms where launching its kernels takes longer; the
forward pass is counted by PyTorch on tensors without memory. Every model trains as long as its
recipe allows: early stopping is not foreseen. A metric costs the forward passes it declares, in
batches of 512. The result is good to a factor of two or three, which is what planning needs.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch.utils.flop_counter import FlopCounterMode

from llt_core.errors import LltError
from llt_core.interfaces import Metric
from llt_core.plugins import Catalogue
from llt_core.spec import SweepSpec
from llt_core.sweep.compose import Composer, Composition

EXAMPLES = {"svhn": 73_257, "iwslt": 4_000, "digits": 1_437}
"""Training examples; other tasks have 50,000."""
TOKENS = 25
"""Tokens of a sentence."""
EVALUATION_BATCH = 512


def forward_flops(parts: Composition, known: dict[str, int]) -> int:
    """Return the operations of one forward pass of one example."""
    key = f"{parts.task.name} {parts.architecture.ref().model_dump_json()}"
    if key not in known:
        task = parts.the_task.describe()
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            model = parts.the_architecture.build(task).eval()
            if task.modality == "image":
                model(torch.empty(1, *task.input_shape))
            else:
                tokens = torch.ones(1, TOKENS, dtype=torch.int64)
                model(source=tokens, target=tokens)
        known[key] = counter.get_total_flops()
    return known[key]


def hours(path: Path, catalogue: Catalogue, tflops: float, step: float) -> tuple[float, float]:
    """Return the hours of training and of measuring."""
    composer, known = Composer(catalogue), cast(dict[str, int], {})
    training = measuring = 0.0
    for point in SweepSpec.read(path).points():
        parts, models = composer.compose(point.spec), point.spec.models
        flops = forward_flops(parts, known)
        n = EXAMPLES.get(parts.task.name.rpartition("/")[2], 50_000) * kept(parts)
        batch: float = parts.recipe.batch_size
        if getattr(parts.recipe, "batch_unit", "examples") == "tokens":
            batch /= TOKENS
        seconds = max(step, 3 * flops * batch / (tflops * 1e12))
        training += models * parts.recipe.epochs * n / batch * seconds
        one_pass = max(step / 3, flops * EVALUATION_BATCH / (tflops * 1e12)) * n / EVALUATION_BATCH
        task = parts.the_task.describe()
        for asked, part in zip(point.spec.metrics, parts.metrics, strict=True):
            metric = cast(Metric, part.component)
            groups = {"model": models, "set": 1}.get(metric.scope)
            if groups is None:
                every = models * (models - 1) // 2
                chosen = {"all": every, "ring": min(models, every), "first": min(1, every)}
                groups = chosen[point.spec.pairs_of(asked.name)]
            measuring += groups * metric.cost(task) * one_pass
    return training / 3600, measuring / 3600


def kept(parts: Composition) -> float:
    """Return the fraction of the training split that is used."""
    fractions: Iterator[Any] = (
        part.component.model_dump().get("fraction", 1.0)
        for part in parts.perturbations
        if part.name.endswith("/data_subset")
    )
    return float(next(fractions, 1.0))


def main() -> None:
    """Print one line a file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--tflops", type=float, default=10.0)
    parser.add_argument("--step-ms", type=float, default=8.0)
    given = parser.parse_args()
    files = given.files or sorted((Path(__file__).parents[1] / "experiments").glob("*.toml"))
    catalogue = Catalogue.discover()
    print("file  grid points  models  hours of training  hours of measuring")
    for path in files:
        spec = SweepSpec.read(path)
        line = f"{path.stem}  {len(spec.points())}  {spec.models()}"
        try:
            training, measuring = hours(path, catalogue, given.tflops, given.step_ms / 1000)
        except LltError as error:
            print(f"{line}  ({error.what})")
            continue
        print(f"{line}  {training:,.0f}  {measuring:,.0f}", flush=True)


if __name__ == "__main__":
    main()
