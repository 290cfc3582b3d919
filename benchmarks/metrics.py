"""Curvature metrics against PyHessian: time for the same achieved error, and peak memory.

    python benchmarks/metrics.py [--widths 8 16] [--runs 5] [--samples 200] [--epochs 5]
        [--rows trace eigenvalue small_gap] [--quick]

The model is resnet18 after a few epochs on the digits of scikit-learn, the function its mean
loss on 200 training samples, in float32, on one thread. Each side runs in a process of its
own; they take turns, and seconds are those of the processor, which other work on the machine
changes less than those of the clock. Medians and the median ratio of the turns are printed.

trace: both sides are to reach a standard error of 1 %. llt's ``hessian_trace`` runs with that
tolerance, the making of the graph included; the spread of its values over runs with different
vectors says what was achieved. PyHessian draws Hutchinson samples; their variance says how
many draws a standard error of 1 % takes, and that many times the seconds of one draw is its
time (a turn times 10 draws: the time is linear in them, and thousands take too long). With
``--quick`` llt's time is found in the same way: 30 products are timed, and their variance says
how many a standard error of 1 % takes.

eigenvalue: llt stops on a certified bound of 1e-3, PyHessian where its own rule of 1e-3
does, which may be too early. Where its error is then larger than 1e-3, its seconds are
multiplied up to the number of products after which a power iteration is within 1e-3 of the
truth, which only who knows the truth can stop at. Errors and products are printed beside.
small_gap: the same for that of fifteen further epochs, with batches of 64, at which the two
largest eigenvalues lie closest together.

memory: peak of a fresh process above what it held before the first product.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sides import Sides, peak
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from llt_core.spec import TrainingRecipe
from llt_core.work.trainer import Trainer
from llt_plugins.architectures.resnet import ResNet18
from llt_plugins.curvature import deflated, estimates, probes
from llt_plugins.curvature.krylov import Krylov
from llt_plugins.curvature.lanczos import eigenpairs
from llt_plugins.curvature.operators.copies import evaluation_copy
from llt_plugins.curvature.operators.hessian import HessianOperator
from llt_plugins.tasks.digits import Digits

ROWS = ("trace", "eigenvalue", "small_gap")
WIDE_GAP = {"batch_size": 128, "further": 0}
SMALL_GAP = {"batch_size": 64, "further": 15}
ERROR = 0.01
EIGENVALUE_ERROR = 1e-3
DRAWS = 10

Prepare = Callable[[], "Problem"]


@dataclass
class Row:
    """One line of the table: seconds of both sides, and what they achieved."""

    name: str
    llt: list[float]
    peer: list[float]
    memory: tuple[float, float]
    note: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| what | llt, s | PyHessian, s | ratio | memory, MB | achieved |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for width, row in itertools.product(arguments.widths, arguments.rows):
            chosen = SMALL_GAP if row == "small_gap" else WIDE_GAP
            path = Path(folder) / f"{width}-{chosen['further']}.pt"
            if not path.exists():
                torch.save(train(width, arguments.epochs, **chosen), path)
            if row == "trace":
                make = quick_trace_row if arguments.quick else trace_row
            else:
                make = eigenvalue_row
            problem = partial(Problem, path, width, arguments.samples)
            show(make(problem, f"width {width}", arguments.runs))


def show(row: Row) -> None:
    ratios = [ours / theirs for ours, theirs in zip(row.llt, row.peer, strict=True)]
    print(
        f"| {row.name} | {statistics.median(row.llt):.1f} | {statistics.median(row.peer):.1f} "
        f"| 1/{1 / statistics.median(ratios):.1f} (1/{1 / min(ratios):.1f} to "
        f"1/{1 / max(ratios):.1f}) | {row.memory[0]:.0f} and {row.memory[1]:.0f} | {row.note} |",
        flush=True,
    )


def trace_row(problem: Prepare, name: str, runs: int) -> Row:
    with Sides(COMMANDS, problem) as sides:
        draws = sides.ask("llt", "draws_needed")
        ours, theirs = [], []
        for seed in range(runs):
            ours.append(sides.ask("llt", "trace", seed))
            theirs.append(sides.ask("pyhessian", "draw", DRAWS))
    values = [run["value"] for run in ours]
    achieved = statistics.stdev(values) / abs(statistics.mean(values))
    products = statistics.median(run["products"] for run in ours)
    return Row(
        f"trace to 1 %, {name}",
        [run["seconds"] for run in ours],
        [run["seconds"] / DRAWS * draws for run in theirs],
        (
            peak(COMMANDS, problem, "llt", "trace", 0),
            peak(COMMANDS, problem, "pyhessian", "draw", DRAWS),
        ),
        f"{products:.0f} products, spread of the values {achieved:.1%}; {draws} draws",
    )


def quick_trace_row(problem: Prepare, name: str, runs: int) -> Row:
    with Sides(COMMANDS, problem) as sides:
        draws = sides.ask("llt", "draws_needed")
        ours, theirs = [], []
        for seed in range(runs):
            ours.append(sides.ask("llt", "part_of_trace", seed))
            theirs.append(sides.ask("pyhessian", "draw", DRAWS))
    needed = statistics.median(run["needed"] for run in ours)
    return Row(
        f"trace to 1 %, {name} (quick)",
        [run["building"] + run["per_product"] * needed for run in ours],
        [run["seconds"] / DRAWS * draws for run in theirs],
        (
            peak(COMMANDS, problem, "llt", "part_of_trace", 0),
            peak(COMMANDS, problem, "pyhessian", "draw", DRAWS),
        ),
        f"{needed:.0f} products; {draws} draws",
    )


def eigenvalue_row(problem: Prepare, name: str, runs: int) -> Row:
    with Sides(COMMANDS, problem) as sides:
        truth = sides.ask("llt", "exact_eigenvalue")
        ours, theirs = [], []
        for seed in range(runs):
            ours.append(sides.ask("llt", "eigenvalue", seed))
            theirs.append(sides.ask("pyhessian", "eigenvalue", seed))
    for run in theirs:
        if abs(run["value"] / truth["value"] - 1) > EIGENVALUE_ERROR:
            run["seconds"] *= max(1.0, truth["power"] / run["products"])
    return Row(
        f"top eigenvalue to 1e-3, {name}, gap {truth['gap']:.0%}",
        [run["seconds"] for run in ours],
        [run["seconds"] for run in theirs],
        (
            peak(COMMANDS, problem, "llt", "eigenvalue", 0),
            peak(COMMANDS, problem, "pyhessian", "eigenvalue", 0),
        ),
        f"{median(ours, 'products'):.0f} and "
        f"{median(theirs, 'products'):.0f} products (within 1e-3 after {truth['power']:.0f}); "
        f"errors {worst(ours, truth):.0e} and {worst(theirs, truth):.0e}",
    )


def median(runs: list[dict[str, float]], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def worst(runs: list[dict[str, float]], truth: dict[str, float]) -> float:
    return max(abs(run["value"] / truth["value"] - 1) for run in runs)


class Problem:
    """The model and its samples, on one side."""

    def __init__(self, path: Path, width: int, samples: int) -> None:
        torch.set_num_threads(1)
        task = Digits()
        self.model = ResNet18(width=width).build(task.describe()).eval()
        self.model.load_state_dict(torch.load(path))
        self.inputs, self.targets = images(samples)

    def operator(self) -> HessianOperator:
        """Return our operator, on a copy of the model."""
        losses = [(len(self.targets), lambda m: cross_entropy(m(self.inputs), self.targets))]
        return HessianOperator(evaluation_copy(self.model), losses)

    def peer(self) -> Any:
        """Return PyHessian's object, which builds its graph here."""
        from pyhessian import hessian

        for parameter in self.model.parameters():
            parameter.grad = None  # it would add to what a former object left there
        data = (self.inputs, self.targets)
        return hessian(self.model, nn.CrossEntropyLoss(), data=data, cuda=False)


def llt_trace(problem: Problem, seed: int) -> dict[str, float]:
    start = time.process_time()
    with problem.operator() as operator:
        found = deflated.trace(
            operator, seeded(seed + 1000), seeded(seed), tolerance=ERROR, max_products=2_000
        )
    seconds = time.process_time() - start
    return {"seconds": seconds, "value": found.value, "products": found.products}


def llt_part_of_trace(problem: Problem, seed: int) -> dict[str, float]:
    """Time 15 Lanczos steps and 15 probes, and say how many reach 1 %."""
    start = time.process_time()
    with problem.operator() as operator:
        operator.matvec(torch.ones(operator.size))  # builds the graph
        built = time.process_time()
        found = deflated.trace(
            operator, seeded(seed + 1000), seeded(seed), tolerance=0.0, max_products=30
        )
    ended = time.process_time()
    probes_needed = found.n * (found.standard_error / (ERROR * found.value)) ** 2
    return {
        "building": built - start,
        "per_product": (ended - built) / found.products,
        "needed": found.products - found.n + probes_needed,
    }


def llt_draws_needed(problem: Problem) -> int:
    """Return how many plain draws have a standard error of 1 %."""
    with problem.operator() as operator:
        trace = deflated.trace(operator, seeded(1), seeded(2), tolerance=0.03, max_products=500)
        plain = probes.Probes(operator, seeded(3))
        plain.reach(30)
    variance, _ = estimates.spread(plain.increments)
    return math.ceil(variance / (ERROR * trace.value) ** 2)


def llt_eigenvalue(problem: Problem, seed: int) -> dict[str, float]:
    start = time.process_time()
    with problem.operator() as operator:
        found = eigenpairs(Krylov(operator, seeded(seed)), tolerance=EIGENVALUE_ERROR)
    seconds = time.process_time() - start
    return {"seconds": seconds, "value": float(found.values[0]), "products": found.products}


def llt_exact_eigenvalue(problem: Problem) -> dict[str, float]:
    """Return the eigenvalue to 1e-6, its gap, and how many power iterations reach 1e-3."""
    with problem.operator() as operator:
        found = outermost(operator, tolerance=1e-5)
        counts = [power_iterations(operator, found["value"], seed) for seed in range(3)]
    return found | {"power": statistics.median(counts)}


def outermost(operator: HessianOperator, tolerance: float) -> dict[str, float]:
    """Return the largest eigenvalue in magnitude, and the relative gap to the second."""
    found = eigenpairs(Krylov(operator, seeded(5)), k=2, tolerance=tolerance)
    first, second = np.abs(found.values)
    return {"value": float(found.values[0]), "gap": float(1 - second / first)}


def power_iterations(operator: HessianOperator, truth: float, seed: int) -> int:
    """Return how many products bring the Rayleigh quotient within 1e-3 of ``truth``."""
    vector: Tensor = torch.randn(operator.size, generator=seeded(seed), dtype=torch.float64)
    for count in range(1, 301):
        vector = vector / vector.norm()
        image = operator.matvec(vector)
        if abs(float(vector @ image) / truth - 1) <= EIGENVALUE_ERROR:
            return count
        vector = image
    return 300


def pyhessian_draw(problem: Problem, draws: int) -> dict[str, float]:
    peer = problem.peer()
    start = time.process_time()
    peer.trace(maxIter=draws, tol=-math.inf)
    return {"seconds": time.process_time() - start}


def pyhessian_eigenvalue(problem: Problem, seed: int) -> dict[str, float]:
    torch.manual_seed(seed)
    start = time.process_time()
    peer = problem.peer()
    counted = count_products(problem.model)
    values, _ = peer.eigenvalues(maxIter=300, tol=EIGENVALUE_ERROR, top_n=1)
    seconds = time.process_time() - start
    return {"seconds": seconds, "value": float(values[0]), "products": counted()}


def count_products(model: nn.Module) -> Callable[[], int]:
    """Count its products by the gradients it resets, once for each."""
    calls, plain = [], model.zero_grad
    model.zero_grad = lambda *a, **k: calls.append(plain(*a, **k))

    def count() -> int:
        del model.zero_grad
        return len(calls)

    return count


COMMANDS: dict[tuple[str, str], Callable[..., Any]] = {
    ("llt", "trace"): llt_trace,
    ("llt", "part_of_trace"): llt_part_of_trace,
    ("llt", "draws_needed"): llt_draws_needed,
    ("llt", "eigenvalue"): llt_eigenvalue,
    ("llt", "exact_eigenvalue"): llt_exact_eigenvalue,
    ("pyhessian", "draw"): pyhessian_draw,
    ("pyhessian", "eigenvalue"): pyhessian_eigenvalue,
}


def images(samples: int) -> tuple[Tensor, Tensor]:
    """Return some of the training digits and their labels."""
    examples = Digits().datasets(Path())["train"]
    batch = examples.batch(torch.randperm(len(examples), generator=seeded(0))[:samples])
    return batch.inputs, batch.targets


def train(width: int, epochs: int, batch_size: int, further: int) -> dict[str, Tensor]:
    """Return resnet18 after some epochs of the standard recipe on the digits.

    Of ``further`` epochs after these, that with the smallest spectral gap is taken.
    """
    task = Digits()
    torch.manual_seed(0)
    model = ResNet18(width=width).build(task.describe())
    recipe = TrainingRecipe(batch_size=batch_size, epochs=epochs + further)
    examples = task.datasets(Path())["train"]
    trainer = Trainer(model, task, examples, recipe, seed=0, device=torch.device("cpu"))
    states = []
    for epoch in range(1, epochs + further + 1):
        trainer.epoch(epoch)
        if epoch >= epochs:
            states.append((gap(model) if further else 0.0, copy.deepcopy(model.state_dict())))
    return min(states, key=itemgetter(0))[1]


def gap(model: nn.Module) -> float:
    """Return by how much the second eigenvalue is smaller than the first, relative to it."""
    inputs, targets = images(200)
    losses = [(200, lambda m: cross_entropy(m(inputs), targets))]
    with HessianOperator(evaluation_copy(model), losses) as operator:
        return outermost(operator, tolerance=1e-2)["gap"]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


if __name__ == "__main__":
    main()
