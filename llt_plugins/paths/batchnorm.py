"""Running statistics of batch normalisation for a network that was not trained: a path's point."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

Pass = tuple[int, Callable[[nn.Module], object]]
"""How many examples a minibatch holds, and a function that sends it through a model."""


def normalisations(model: nn.Module) -> list[_BatchNorm]:
    """Return the batch normalisations of ``model`` that keep running statistics."""
    return [
        module
        for module in model.modules()
        if isinstance(module, _BatchNorm)
        and module.track_running_stats
        and module.running_mean is not None
    ]


@torch.no_grad()
def recalibrate(model: nn.Module, passes: Iterable[Pass]) -> int:
    """Re-estimate the running statistics of ``model`` in place; return how many examples it took.

    Interpolated weights do not go with interpolated statistics: without this step every path
    through a network with batch normalisation shows a barrier that is not there (Garipov et
    al. 2018, appendix A.3). Each normalisation sees what the layers before it give when they
    normalise by the minibatch. Its new statistics are the averages over its calls, weighted
    by the sizes of the minibatches, of the mean of the call and of the *unbiased* variance
    (n − 1), the same quantity that torch's own running variance estimates; the spread of the
    means is not part of it. So the size of the minibatches matters a little. A normalisation
    that one forward pass uses several times counts each use alike.

    Only batch normalisation is put into training mode; dropout stays off. A model without
    batch normalisation costs nothing: ``passes`` is not touched.

    Parameters
    ----------
    model
        A private copy, in eval mode; it is left so.
    passes
        Minibatches of at least two examples each, in an order that mixes the classes.

    Raises
    ------
    ValueError
        If there are normalisations, but no minibatch.
    """
    modules = normalisations(model)
    if not modules:
        return 0
    kept = [(module, module.momentum, module.training) for module in modules]
    averaged = dict.fromkeys(modules, 0)
    seen = size = 0

    def average(module: _BatchNorm, _: Any) -> None:
        averaged[module] += size
        module.momentum = size / averaged[module]

    hooks = [module.register_forward_pre_hook(average) for module in modules]
    try:
        for module in modules:
            module.reset_running_stats()
            module.train()
        for size, forward in passes:
            seen += size
            forward(model)
    finally:
        for hook in hooks:
            hook.remove()
        for module, momentum, training in kept:
            module.momentum = momentum
            module.train(training)
    if seen == 0:
        raise ValueError(
            "there is no minibatch to estimate the statistics of batch normalisation from"
        )
    return seen
