"""Curvature metrics against PyHessian: time for the same achieved error, and peak memory.

    python benchmarks/metrics.py [--widths 8 16] [--runs 5] [--samples 200] [--epochs 5]

The model is resnet18 after a few epochs on the digits of scikit-learn, the function its mean
loss on 200 training samples, in float32, on one thread. Each side runs in a process of its
own; they take turns, and seconds are those of the processor, which other work on the machine
changes less than those of the clock. Medians and the median ratio of the turns are printed.

trace: both sides are to reach a standard error of 1 %. llt's ``hessian_trace`` runs with that
tolerance, the making of the graph included; the spread of its values over runs with different
vectors says what was achieved. PyHessian draws Hutchinson samples; their variance says how
many draws a standard error of 1 % takes, and that many times the seconds of one draw is its
time (a turn times 10 draws: the time is linear in them, and a thousand take too long).

top eigenvalue: llt stops on a certified bound of 1e-3. PyHessian stops where its own rule of
1e-3 does; what error that leaves is printed beside it, and the time it would need to come
within 1e-3 of the truth: power iterations counted on the exact products, times its seconds.

memory: peak of a fresh process above what it held before the first product.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from llt_core.spec import TrainingRecipe
from llt_core.work.memory import keep_freed_memory
from llt_core.work.trainer import Trainer
from llt_plugins.architectures.resnet import ResNet18
from llt_plugins.curvature import deflated, estimates, probes
from llt_plugins.curvature.copies import evaluation_copy
from llt_plugins.curvature.krylov import Krylov
from llt_plugins.curvature.lanczos import eigenpairs
from llt_plugins.curvature.operator import HessianOperator
from llt_plugins.tasks.digits import Digits

ERROR = 0.01
EIGENVALUE_ERROR = 1e-3
DRAWS = 10


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
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| what | llt, s | PyHessian, s | ratio | memory, MB | achieved |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for width in arguments.widths:
            path = Path(folder) / f"{width}.pt"
            torch.save(train(width, arguments.epochs).state_dict(), path)
            for row in (trace_row, eigenvalue_row):
                show(row(path, width, arguments.samples, arguments.runs))


def show(row: Row) -> None:
    ratios = [ours / theirs for ours, theirs in zip(row.llt, row.peer, strict=True)]
    print(
        f"| {row.name} | {statistics.median(row.llt):.1f} | {statistics.median(row.peer):.1f} "
        f"| 1/{1 / statistics.median(ratios):.1f} (1/{1 / min(ratios):.1f} to "
        f"1/{1 / max(ratios):.1f}) | {row.memory[0]:.0f} and {row.memory[1]:.0f} | {row.note} |",
        flush=True,
    )


def trace_row(path: Path, width: int, samples: int, runs: int) -> Row:
    with Sides(path, width, samples) as sides:
        draws = sides.ask("llt", "draws_needed")
        ours, theirs = [], []
        for seed in range(runs):
            ours.append(sides.ask("llt", "trace", seed))
            theirs.append(sides.ask("pyhessian", "draw", DRAWS))
    values = [run["value"] for run in ours]
    achieved = statistics.stdev(values) / abs(statistics.mean(values))
    products = statistics.median(run["products"] for run in ours)
    return Row(
        f"trace to 1 %, width {width}",
        [run["seconds"] for run in ours],
        [run["seconds"] / DRAWS * draws for run in theirs],
        (
            peak(path, width, samples, "llt", "trace", 0),
            peak(path, width, samples, "pyhessian", "draw", DRAWS),
        ),
        f"{products:.0f} products, spread of the values {achieved:.1%}; {draws} draws",
    )


def eigenvalue_row(path: Path, width: int, samples: int, runs: int) -> Row:
    with Sides(path, width, samples) as sides:
        truth = sides.ask("llt", "exact_eigenvalue")
        ours, theirs = [], []
        for seed in range(runs):
            ours.append(sides.ask("llt", "eigenvalue", seed))
            theirs.append(sides.ask("pyhessian", "eigenvalue", seed))
    per_product = [run["seconds"] / run["products"] for run in theirs]
    return Row(
        f"top eigenvalue to 1e-3, width {width}",
        [run["seconds"] for run in ours],
        [seconds * truth["power"] for seconds in per_product],
        (
            peak(path, width, samples, "llt", "eigenvalue", 0),
            peak(path, width, samples, "pyhessian", "eigenvalue", 0),
        ),
        f"gap {truth['gap']:.1%}; {ours[0]['products']} and {truth['power']} products; errors "
        f"{worst(ours, truth):.0e} and, stopped by its own rule after "
        f"{statistics.median(run['seconds'] for run in theirs):.1f} s, {worst(theirs, truth):.0e}",
    )


def worst(runs: list[dict[str, float]], truth: dict[str, float]) -> float:
    return max(abs(run["value"] / truth["value"] - 1) for run in runs)


class Problem:
    """The model and its samples, on one side."""

    def __init__(self, path: Path, width: int, samples: int) -> None:
        torch.set_num_threads(1)
        task = Digits()
        self.model = ResNet18(width=width).build(task.describe()).eval()
        self.model.load_state_dict(torch.load(path))
        examples = task.datasets(Path())["train"]
        order = torch.randperm(len(examples), generator=seeded(0))[:samples]
        batch = examples.batch(order)
        self.inputs, self.targets = batch.inputs, batch.targets

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
        found = eigenpairs(Krylov(operator, seeded(5)), k=2, tolerance=1e-5)
        counts = [power_iterations(operator, float(found.values[0]), seed) for seed in range(3)]
    first, second = np.abs(found.values)
    return {
        "value": float(found.values[0]),
        "gap": float(1 - second / first),
        "power": statistics.median(counts),
    }


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
    ("llt", "draws_needed"): llt_draws_needed,
    ("llt", "eigenvalue"): llt_eigenvalue,
    ("llt", "exact_eigenvalue"): llt_exact_eigenvalue,
    ("pyhessian", "draw"): pyhessian_draw,
    ("pyhessian", "eigenvalue"): pyhessian_eigenvalue,
}


class Sides:
    """A process for each side, both with the same problem."""

    def __init__(self, path: Path, width: int, samples: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipes: dict[str, Connection] = {}
        self.processes = []
        for side in ("llt", "pyhessian"):
            self.pipes[side], theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs, side, path, width, samples))
            process.start()
            self.processes.append(process)

    def __enter__(self) -> Sides:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in self.pipes.values():
            pipe.send(None)
        for process in self.processes:
            process.join()

    def ask(self, side: str, command: str, *arguments: int) -> Any:
        """Return what ``command`` answers on one side."""
        self.pipes[side].send((command, arguments))
        return self.pipes[side].recv()


def serve(pipe: Connection, side: str, path: Path, width: int, samples: int) -> None:
    if side == "llt":
        keep_freed_memory()  # as every worker of llt does
    problem = Problem(path, width, samples)
    while (request := pipe.recv()) is not None:
        command, arguments = request
        pipe.send(COMMANDS[side, command](problem, *arguments))


def peak(path: Path, width: int, samples: int, side: str, command: str, argument: int) -> float:
    """Return the MB that one command adds to the peak memory of a fresh process."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=weigh, args=(theirs, path, width, samples, side, command, argument)
    )
    process.start()
    added = ours.recv()
    process.join()
    return float(added)


def weigh(
    pipe: Connection, path: Path, width: int, samples: int, side: str, command: str, argument: int
) -> None:
    if side == "llt":
        keep_freed_memory()
    problem = Problem(path, width, samples)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    COMMANDS[side, command](problem, argument)
    pipe.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def train(width: int, epochs: int) -> nn.Module:
    """Return resnet18 after some epochs of the standard recipe on the digits."""
    task = Digits()
    torch.manual_seed(0)
    model = ResNet18(width=width).build(task.describe())
    recipe = TrainingRecipe(batch_size=128, epochs=epochs)
    trainer = Trainer(
        model, task, task.datasets(Path())["train"], recipe, seed=0, device=torch.device("cpu")
    )
    trainer.run(lambda done, total, text: None)
    return model.eval()


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


if __name__ == "__main__":
    main()
