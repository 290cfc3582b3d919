"""Batch-norm statistics that belong to the parameters, not to the training that made them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

Pass = tuple[float, Callable[[nn.Module], object]]
"""How many examples a micro-batch holds, and a call that runs a model on it."""


def recalibrate(model: nn.Module, passes: Sequence[Pass]) -> None:
    """Replace the running statistics of every batch norm by those over ``passes``, in place.

    Each statistic becomes the mean over the micro-batches, weighted by their sizes, of what
    batch norm computes in training mode. Only batch norms are in that mode meanwhile, so
    dropout stays off. Without batch norm, or without passes, nothing happens.

    Parameters
    ----------
    model
        A private copy in eval mode: its buffers change.
    passes
        Fixed micro-batches, of more than one value per channel each.
    """
    modules = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not modules or not passes:
        return
    before = [module.momentum for module in modules]
    seen = 0.0
    try:
        for module in modules:
            module.train()
        with torch.no_grad():
            for weight, run in passes:
                seen += weight
                for module in modules:
                    module.momentum = weight / seen
                run(model)
    finally:
        for module, momentum in zip(modules, before, strict=True):
            module.momentum = momentum
            module.eval()
