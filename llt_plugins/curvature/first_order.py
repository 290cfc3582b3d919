"""The gradient of a mean loss, and the loss a short way up it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from llt_plugins.curvature.operators.determinism import scalar
from llt_plugins.curvature.operators.parameters import chosen_parameters
from llt_plugins.curvature.types import WeightedLoss


def mean_loss(model: nn.Module, losses: Sequence[WeightedLoss]) -> float:
    """Return ``Σ wᵢ lᵢ / Σ wᵢ``, summed in float64: the function of :func:`gradient`."""
    # With gradients, though none is asked for: without them encoder layers skip what is padded.
    with torch.enable_grad():
        terms = [weight * scalar(loss(model)).item() for weight, loss in losses]
    return math.fsum(terms) / math.fsum(weight for weight, _ in losses)


def gradient(model: nn.Module, losses: Sequence[WeightedLoss]) -> tuple[float, list[Tensor]]:
    """Return the mean loss and its gradient, accumulated over micro-batches in float64.

    Parameters
    ----------
    model
        Module in eval mode; nothing is written to ``.grad``.
    losses
        At least one weighted loss.

    Returns
    -------
    loss
        Mean loss.
    gradient
        One float64 tensor for each trainable parameter, in the model's order; zero for
        parameters that the loss does not use.

    Raises
    ------
    ValueError
        If there is no trainable parameter, or no loss.
    """
    if not losses:
        raise ValueError("there is no loss, expected at least one micro-batch")
    parameters = list(chosen_parameters(model).values())
    total = math.fsum(weight for weight, _ in losses)
    sums = [torch.zeros_like(p, dtype=torch.float64) for p in parameters]
    terms = []
    for weight, loss in losses:
        with torch.enable_grad():
            value = scalar(loss(model))
            terms.append(weight * float(value.detach()))
            slopes: Sequence[Tensor | None] = [None] * len(parameters)
            if value.requires_grad:
                slopes = torch.autograd.grad(value, parameters, allow_unused=True)
        for accumulated, slope in zip(sums, slopes, strict=True):
            if slope is not None:
                accumulated.add_(slope.double(), alpha=weight / total)
    return math.fsum(terms) / total, sums


def norm(tensors: Sequence[Tensor]) -> float:
    """Return the Euclidean norm of all entries, summed in float64."""
    return math.sqrt(math.fsum(float(t.double().square().sum()) for t in tensors))


@dataclass(frozen=True)
class Ascent:
    """What a short way up the gradient does to the loss.

    Attributes
    ----------
    losses
        At the start and after each step: float64, shape ``(steps + 1,)``.
    gradient_norm
        At the start.
    lengths
        ``‖Tg‖`` where each step starts, T = 1 for the plain form: shape ``(steps,)``. A step
        of length zero leads nowhere, although with T the gradient may be other than zero.
    """

    losses: np.ndarray[Any, np.dtype[np.float64]]
    gradient_norm: float
    lengths: np.ndarray[Any, np.dtype[np.float64]]


def ascend(
    model: nn.Module,
    losses: Sequence[WeightedLoss],
    radius: float,
    *,
    steps: int = 1,
    adaptive: bool = False,
) -> Ascent:
    """Follow the normalised gradient up for ``radius`` in all, and record the loss.

    One step is the inner maximisation of sharpness-aware minimisation to first order:
    ``ε = ρ g / ‖g‖`` (Foret et al. 2021, eq. 2). The adaptive form measures the step in units
    of each weight, ``ε = ρ T²g / ‖Tg‖`` with ``T = diag |θ|`` (Kwon et al. 2021, eq. 8), so
    that ``‖T⁻¹ε‖ = ρ`` and rescaling a layer together with its inverse changes nothing. With
    several steps each goes ``radius / steps`` along the gradient where it starts; T stays
    that of the start.

    Parameters
    ----------
    model
        Module in eval mode; **its parameters are moved**, so give a copy.
    losses
        Weighted losses.
    radius
        Length of the way, at least 0.
    steps
        Number of steps, at least 1.
    adaptive
        Whether lengths are relative to the weights.

    Raises
    ------
    ValueError
        If ``radius`` is negative or ``steps`` below 1.
    """
    if not radius >= 0 or steps < 1:
        raise ValueError(f"radius is {radius} and steps is {steps}, expected ≥ 0 and ≥ 1")
    parameters = list(chosen_parameters(model).values())
    start = [p.detach().double() for p in parameters]
    scales = [p.abs() if adaptive else torch.ones_like(p) for p in start]
    moved = [p.clone() for p in start]
    heights: list[float] = []
    lengths: list[float] = []
    first = 0.0
    for step in range(steps):
        height, slopes = gradient(model, losses)
        heights.append(height)
        length = norm([t * g for t, g in zip(scales, slopes, strict=True)])
        lengths.append(length)
        first = norm(slopes) if step == 0 else first
        factor = radius / steps / length if length > 0 else 0.0
        with torch.no_grad():
            for p, place, t, g in zip(parameters, moved, scales, slopes, strict=True):
                place.add_(t.square() * g, alpha=factor)
                p.copy_(place)
    heights.append(mean_loss(model, losses))
    return Ascent(np.asarray(heights), first, np.asarray(lengths))
