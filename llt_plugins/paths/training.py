"""Training the inner control points of a path (Garipov et al. 2018, section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from llt_plugins.curvature.types import Report, WeightedLoss, ignore
from llt_plugins.paths.curves import Path, combine
from llt_plugins.paths.randomness import seeded_globally

Epoch = Callable[[torch.Generator], Iterable[WeightedLoss]]
"""One pass over the data: the losses of its minibatches, in an order the generator draws."""


@dataclass(frozen=True)
class TrainedPath:
    """A path whose inner control points were trained.

    Attributes
    ----------
    path
        The path; where training diverged, the points hold what it diverged to.
    losses
        Float64, shape ``(epochs done,)``: mean minibatch loss of each epoch, at random t and
        without the penalty.
    stopped
        ``"epochs"`` when all were done, ``"not_finite"`` at the first epoch with a NaN or
        infinite loss.
    """

    path: Path
    losses: np.ndarray[Any, np.dtype[np.float64]]
    stopped: Literal["epochs", "not_finite"]


def rate_factor(epoch: int, epochs: int) -> float:
    """Return the factor on the learning rate in ``epoch``, counted from 1.

    With α = epoch/epochs it is 1 up to α = 0.5, falls linearly to 0.01 at α = 0.9 and stays
    there (Garipov et al. 2018, code).

    >>> [round(rate_factor(epoch, 10), 4) for epoch in (5, 7, 9, 10)]
    [1.0, 0.505, 0.01, 0.01]
    """
    alpha = epoch / epochs
    if alpha <= 0.5:
        return 1.0
    return 1.0 - (alpha - 0.5) / 0.4 * 0.99 if alpha <= 0.9 else 0.01


def train_path(
    path: Path,
    epoch: Epoch,
    generator: torch.Generator,
    *,
    epochs: int = 50,
    learning_rate: float = 0.01,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    report: Report = ignore,
) -> TrainedPath:
    """Train the inner control points of ``path``; the ends stay.

    Each minibatch draws t ~ U(0, 1) and takes a step of SGD with momentum on
    ``loss(γ(t)) + ½ · weight_decay · ‖γ(t)‖²``, so that the mean over t is made small. Batch
    normalisation and dropout are in training mode, as when the ends were trained.

    Since γ is linear in its control points, the gradient with respect to the k-th is
    ``cₖ(t)`` times the gradient with respect to γ(t): one ordinary gradient a step, and a
    few passes over flat vectors.

    Parameters
    ----------
    path
        Where training starts; its inner points are the initial ones.
    epoch
        See :data:`Epoch`. A loss is called with a private model that holds γ(t).
    generator
        On the CPU. It draws the order of the data, t, and the seed of dropout; the global
        random state is left as it was.
    epochs
        Passes over the data. The reference takes ``int(10/s) · 5`` for a fraction s of the
        data, so that the number of steps stays about the same.
    learning_rate
        Multiplied by :func:`rate_factor`, once an epoch.
    weight_decay
        Penalty on the points of the curve, not on its control points.

    Raises
    ------
    ValueError
        If the path has no inner point, or an epoch gives no minibatch.
    """
    if path.bends < 3:
        raise ValueError("the path has two bends, both of them fixed: there is nothing to train")
    control = path.control.clone()
    velocity = torch.zeros_like(control[1:-1])
    model = path.model().train()
    means: list[float] = []
    with seeded_globally(generator, control.device), torch.enable_grad():
        for number in range(1, epochs + 1):
            rate = learning_rate * rate_factor(number, epochs)
            total, weight = torch.zeros((), device=control.device), 0.0
            for size, loss in epoch(generator):
                t = float(torch.rand((), generator=generator))
                coefficients = path.coefficients(t)
                point = combine(control, coefficients)
                value, gradient = _gradient(path, model, loss, point)
                gradient.add_(point, alpha=weight_decay)
                for row, coefficient in enumerate(coefficients[1:-1]):
                    velocity[row].mul_(momentum).add_(gradient, alpha=coefficient)
                control[1:-1].sub_(velocity, alpha=rate)
                total += value * size
                weight += size
            if weight == 0.0:
                raise ValueError("an epoch of curve training holds no minibatch")
            means.append(float(total) / weight)
            report(number, epochs)
            if not math.isfinite(means[-1]):
                break
    finite = math.isfinite(means[-1]) and bool(control.isfinite().all()) if means else True
    return TrainedPath(
        path.through(control[1:-1]), np.asarray(means), "epochs" if finite else "not_finite"
    )


def _gradient(
    path: Path, model: nn.Module, loss: Callable[[nn.Module], Tensor], point: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the loss of ``model`` at ``point``, and its flat gradient there, ``(P,)``."""
    leaves = {
        name: view.detach().requires_grad_() for name, view in path.layout.views(point).items()
    }
    value = functional_call(_Called(model), {f"model.{n}": v for n, v in leaves.items()}, (loss,))
    gradients = torch.autograd.grad(value, list(leaves.values()), allow_unused=True)
    return value.detach(), path.layout.gather(gradients, point)


class _Called(nn.Module):
    """A module whose forward pass hands ``model`` to a function.

    It lets :func:`torch.func.functional_call` exchange the parameters for the duration of
    any function of the model, not of its forward pass alone.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[[nn.Module], Tensor]) -> Tensor:
        """Return ``function(model)``."""
        return function(self.model)
