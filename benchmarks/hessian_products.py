"""The cost of Hessian products of resnet18 in gradients: llt against PyHessian.

    python benchmarks/hessian_products.py [--widths 8 16] [--samples 200] [--repeat 9]

Each side runs in a process of its own (allocators and peak memory differ) with the same
weights and one batch of samples, on one thread; the sides take turns, and medians of CPU time
are printed, which other work on the machine disturbs less than wall time, as multiples of one
gradient of the plain model. "llt fresh" builds the graph for every product, as happens with
more data than the memory budget holds. Peak memory is that of the whole process, of which
importing torch and the data take the part printed first. Blocks have eight vectors.

Operations a second stand beside those of a product of two large matrices, the most this
processor gives: where both are alike, no other way to compute the same products can be faster.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from llt_core.work.memory import keep_freed_memory
from llt_plugins.architectures.networks.resnet import BasicBlock, ResNet
from llt_plugins.curvature.operators.copies import evaluation_copy
from llt_plugins.curvature.operators.hessian import HessianOperator

BLOCK = 8

Step = Callable[[], Tensor]
"""One product (or block), the first column of which is returned to be compared."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--repeat", type=int, default=9)
    arguments = parser.parse_args()
    for width in arguments.widths:
        compare(width, arguments.samples, arguments.repeat)


def compare(width: int, samples: int, repeat: int) -> None:
    """Let the sides take turns, and print what they cost."""
    context = multiprocessing.get_context("spawn")
    pipes: dict[str, Connection] = {}
    for name in SIDES:
        pipes[name], theirs = context.Pipe()
        context.Process(target=work, args=(theirs, name, width, samples), daemon=True).start()
        pipes[name].recv()
    seconds: dict[str, list[float]] = {name: [] for name in pipes}
    products: dict[str, Tensor] = {}
    for _ in range(repeat):
        for name, pipe in pipes.items():
            pipe.send("step")
            spent, products[name] = pipe.recv()
            seconds[name].append(spent)
    print(f"\nresnet18 width {width}, {samples} samples; median of {repeat}")
    gradient = statistics.median(seconds["gradient"])
    for name, pipe in pipes.items():
        pipe.send("stop")
        before, peak, operations = pipe.recv()
        rate = operations / statistics.median(seconds[name]) / 1e9
        if name == "matrices":
            print(f"  {name:18} {rate:7.0f} billion operations a second")
            continue
        each = BLOCK if "block" in name else 1
        cost = statistics.median(seconds[name]) / each
        line = f"  {name:18} {1e3 * cost:7.0f} ms  {cost / gradient:5.2f} gradients a vector"
        line += f"  peak {peak:5.0f} MiB ({before:.0f} before)"
        line += f"  {rate:4.0f} billion operations a second"
        if name != "gradient":
            reference = products["PyHessian"]
            error = (products[name] - reference).norm() / reference.norm()
            line += f"  differs by {float(error):.0e}"
        print(line, flush=True)
    single, block = (statistics.median(seconds[name]) for name in ("llt", "llt block"))
    print(f"  a block of {BLOCK} costs {block / (BLOCK * single):.2f} of {BLOCK} single products")


def work(pipe: Connection, name: str, width: int, samples: int) -> None:
    """Be one side: prepare, then time a step whenever asked."""
    torch.set_num_threads(1)
    model, inputs, targets = setting(width, samples)
    before = peak_mib()
    step = SIDES[name](model, inputs, targets)
    step()
    with FlopCounterMode(display=False) as counter:
        step()
    pipe.send("ready")
    while pipe.recv() == "step":
        start = time.process_time()
        product = step()
        pipe.send((time.process_time() - start, product.detach().float()))
    pipe.send((before, peak_mib(), counter.get_total_flops()))


def setting(width: int, samples: int) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a network with statistics of its own data, and noise to feed it."""
    torch.manual_seed(0)
    model = ResNet(BasicBlock, (2, 2, 2, 2), width, 3, 10)
    inputs, targets = torch.randn(samples, 3, 32, 32), torch.randint(0, 10, (samples,))
    with torch.no_grad():
        for _ in range(3):
            model(inputs[:64])
    return model.eval(), inputs, targets


def vectors(size: int) -> Tensor:
    return torch.randn(size, BLOCK, generator=torch.Generator().manual_seed(1))


def gradient_side(model: nn.Module, inputs: Tensor, targets: Tensor) -> Step:
    keep_freed_memory()

    def step() -> Tensor:
        loss = cross_entropy(model(inputs), targets)
        slopes = torch.autograd.grad(loss, list(model.parameters()))
        return torch.cat([slope.reshape(-1) for slope in slopes])

    return step


def llt_side(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    retain: bool = True,
    block: bool = False,
) -> Step:
    keep_freed_memory()  # as every worker does
    losses = [(len(targets), lambda m: cross_entropy(m(inputs), targets))]
    operator = HessianOperator(evaluation_copy(model), losses, retain=retain)
    v = vectors(operator.size)
    if block:
        return lambda: operator.matmat(v)[:, 0]
    return lambda: operator.matvec(v[:, 0])


def llt_block_side(model: nn.Module, inputs: Tensor, targets: Tensor) -> Step:
    return llt_side(model, inputs, targets, block=True)


def llt_fresh_side(model: nn.Module, inputs: Tensor, targets: Tensor) -> Step:
    return llt_side(model, inputs, targets, retain=False)


def llt_fresh_block_side(model: nn.Module, inputs: Tensor, targets: Tensor) -> Step:
    return llt_side(model, inputs, targets, retain=False, block=True)


def pyhessian_side(model: nn.Module, inputs: Tensor, targets: Tensor) -> Step:
    import pyhessian
    from pyhessian.utils import hessian_vector_product

    analysis = pyhessian.hessian(model, nn.CrossEntropyLoss(), data=(inputs, targets), cuda=False)
    column = vectors(sum(p.numel() for p in analysis.params))[:, 0]
    parts = column.split([p.numel() for p in analysis.params])
    v = [part.view(p.shape) for part, p in zip(parts, analysis.params, strict=True)]

    def step() -> Tensor:
        products = hessian_vector_product(analysis.gradsH, analysis.params, v)
        return torch.cat([product.reshape(-1) for product in products])

    return step


def matrix_side(model: nn.Module, inputs: Tensor, targets: Tensor) -> Step:
    a = torch.randn(1500, 1500)
    return lambda: a @ a


SIDES: dict[str, Callable[[nn.Module, Tensor, Tensor], Step]] = {
    "matrices": matrix_side,
    "gradient": gradient_side,
    "PyHessian": pyhessian_side,
    "llt": llt_side,
    "llt block": llt_block_side,
    "llt fresh": llt_fresh_side,
    "llt fresh block": llt_fresh_block_side,
}


def peak_mib() -> float:
    """Return the largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        2**20 if sys.platform == "darwin" else 2**10
    )


if __name__ == "__main__":
    main()
