"""How one gradient becomes a step: the optimiser, clipping, and sharpness-aware steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from llt_core.spec import TrainingRecipe


def make_optimizer(
    parameters: Sequence[Tensor], recipe: TrainingRecipe, device: torch.device
) -> torch.optim.Optimizer:
    """Return the optimiser of ``recipe``, fused where torch can."""
    fused = device.type in ("cpu", "cuda")
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=recipe.peak_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            fused=fused,
        )
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(
        parameters,
        lr=recipe.peak_rate,
        betas=recipe.betas,
        eps=recipe.epsilon,
        weight_decay=recipe.weight_decay,
        fused=fused,
    )


@contextmanager
def uphill(parameters: Sequence[Tensor], radius: float) -> Iterator[None]:
    """Move the parameters by ``radius`` along their gradient, inside the block.

    This is the point at which sharpness-aware minimisation takes the gradient of its step
    (Foret et al. 2021, equation 2): ``w + ρ g / ‖g‖``, one norm over all parameters. On
    leaving, the parameters are what they were, to the bit. A gradient of zero moves nothing.
    """
    moved = [parameter for parameter in parameters if parameter.grad is not None]
    slopes = [parameter.grad for parameter in moved if parameter.grad is not None]
    kept = [parameter.detach().clone() for parameter in moved]
    with torch.no_grad():
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(slopes)))
        scale = torch.where(norm > 0, radius / norm, 0.0)
        torch._foreach_add_(moved, torch._foreach_mul(slopes, scale))
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(moved, kept)


@contextmanager
def frozen_statistics(model: nn.Module) -> Iterator[None]:
    """Keep running statistics of batch norm as they are while batches still normalise."""
    tracking = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    for module in tracking:
        module.track_running_stats = False
    try:
        yield
    finally:
        for module in tracking:
            module.track_running_stats = True
