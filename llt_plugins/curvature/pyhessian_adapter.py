"""The installed PyHessian (Yao et al. 2020) on the same losses, as a cross-check.

The one file that imports ``pyhessian``, and only when called. What it does to work around:

* It moves the model to eval mode and leaves gradients behind, so that a second ``hessian``
  on the same model sees a doubled one. Here every call works on a fresh deep copy.
* It wants ``(inputs, targets)`` and weighs a batch by ``inputs.size(0)``. Here "inputs" is
  the number of a micro-batch, repeated as often as the micro-batch weighs, and the "model"
  answers with that micro-batch's loss: any model, any data, exact weights.
* It draws from the global random state, which is put back.
* Its rule for stopping the trace compares two running means, divided by the *signed* one:
  one lucky draw ends it, and a negative trace always does. It is turned off.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from llt_plugins.curvature.estimates import TraceEstimate, summarise
from llt_plugins.curvature.operators.determinism import (
    refuse_training_mode,
    refuse_unrepeatable,
    scalar,
)
from llt_plugins.curvature.types import WeightedLoss


@dataclass(frozen=True)
class PowerIteration:
    """What PyHessian's power iteration returns: no error, only whether it came to rest.

    Attributes
    ----------
    value
        Rayleigh quotient of the last iterate but one.
    products
        Number of Hessian-vector products spent.
    stopped
        ``"tolerance"``, ``"limit"`` or ``"not_finite"``.
    """

    value: float
    products: int
    stopped: str


def trace(
    model: nn.Module,
    losses: Sequence[WeightedLoss],
    generator: torch.Generator,
    *,
    tolerance: float = 0.05,
    max_vectors: int = 100,
) -> TraceEstimate:
    """Estimate the trace from exactly ``max_vectors`` draws of PyHessian.

    Parameters are those of :func:`llt_plugins.curvature.hutchinson.trace`; ``tolerance``
    only decides whether the result is called precise.

    Raises
    ------
    ValueError
        Weights that are not whole numbers, or a model that is not deterministic.
    """
    with _pyhessian(model, losses, generator) as (analysis, _):
        # Never below minus infinity: all vectors are drawn.
        samples = analysis.trace(maxIter=max_vectors, tol=-math.inf)
    return summarise([float(sample) for sample in samples], tolerance)


def top_eigenvalue(
    model: nn.Module,
    losses: Sequence[WeightedLoss],
    generator: torch.Generator,
    *,
    tolerance: float = 1e-3,
    max_steps: int = 100,
) -> PowerIteration:
    """Find the eigenvalue of largest magnitude by PyHessian's power iteration.

    It stops when two successive values differ by less than ``tolerance``, relative to the
    first; that bounds no error, and a small spectral gap makes it stop far too early.

    Raises
    ------
    ValueError
        Weights that are not whole numbers, or a model that is not deterministic.
    """
    with _pyhessian(model, losses, generator) as (analysis, machine):
        machine.resets = 0
        values, _ = analysis.eigenvalues(maxIter=max_steps, tol=tolerance, top_n=1)
    # It resets gradients once a step, and with several batches twice more for each of them.
    products = machine.resets // (1 + 2 * len(losses) if len(losses) > 1 else 1)
    value = float(values[0])
    if not math.isfinite(value):
        return PowerIteration(math.nan, products, "not_finite")
    return PowerIteration(value, products, "tolerance" if products < max_steps else "limit")


class _LossMachine(nn.Module):
    """A "model" that maps the number of a micro-batch to the loss of that micro-batch."""

    def __init__(self, model: nn.Module, losses: Sequence[WeightedLoss]) -> None:
        super().__init__()
        self.model = model
        self.losses = [loss for _, loss in losses]
        self.resets = 0

    def forward(self, number: Tensor) -> Tensor:
        """Return the loss; the added zero gives every parameter a (zero) second derivative.

        PyHessian fails on parameters that the loss does not use or uses linearly.
        """
        loss = scalar(self.losses[int(number[0])](self.model))
        parameters = (p for p in self.model.parameters() if p.requires_grad)
        return loss + 0.0 * torch.stack([p.square().sum() for p in parameters]).sum()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Count the calls: the only trace PyHessian leaves of how many steps it took."""
        self.resets += 1
        super().zero_grad(set_to_none)


@contextmanager
def _pyhessian(
    model: nn.Module, losses: Sequence[WeightedLoss], generator: torch.Generator
) -> Iterator[tuple[Any, _LossMachine]]:
    """Give a PyHessian object on a copy of ``model``, in a world that is then put back."""
    from pyhessian import hessian

    twin = deepcopy(model)  # without gradients: torch does not copy those of parameters
    trainable = [p for p in twin.parameters() if p.requires_grad]
    if not trainable:
        raise ValueError("the model has no trainable parameter, so there is no Hessian")
    if not losses:
        raise ValueError("there is no loss, expected at least one micro-batch")
    refuse_training_mode(model)
    refuse_unrepeatable(model, losses[0][1])
    device = trainable[0].device
    machine = _LossMachine(twin, losses)
    batches = [_as_batch(number, weight) for number, (weight, _) in enumerate(losses)]
    source = {"data": batches[0]} if len(batches) == 1 else {"dataloader": batches}
    seed = int(torch.randint(2**62, (), generator=generator))
    gpus = [device] if device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices=gpus),
        warnings.catch_warnings(),
        torch.enable_grad(),
        sdpa_kernel(SDPBackend.MATH),
    ):
        # It warns that the gradient graph refers to itself; the copy dies with it, below.
        warnings.filterwarnings("ignore", message=".*create_graph=True.*", category=UserWarning)
        torch.default_generator.manual_seed(seed)
        for gpu in gpus:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(seed)
        try:
            yield hessian(machine, _answer, cuda=bool(gpus), **source), machine
        finally:
            for parameter in trainable:
                parameter.grad = None


def _as_batch(number: int, weight: float) -> tuple[Tensor, Tensor]:
    """Return "inputs" and "targets", shape ``(weight,)``, that stand for one micro-batch."""
    if weight != int(weight) or weight < 1:
        raise ValueError(
            f"micro-batch {number} weighs {weight}: PyHessian counts examples, so weights "
            "must be whole numbers"
        )
    inputs = torch.tensor([number]).expand(int(weight))
    return inputs, inputs


def _answer(outputs: Tensor, targets: Tensor) -> Tensor:
    """Be the criterion: the model has already computed the loss."""
    return outputs
