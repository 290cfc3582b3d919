"""Where the inner control points of a curve start."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from llt_plugins.paths.randomness import seeded_globally
from llt_plugins.paths.vectors import ParameterLayout


def random_points(model: nn.Module, count: int, generator: torch.Generator) -> Tensor:
    """Return ``count`` random initialisations of ``model``, shape ``(count, P)``.

    Every module draws its parameters anew by its own ``reset_parameters``: torch's default
    initialisation, whatever the model itself was initialised by. The model and the global
    random state are left alone.

    Raises
    ------
    ValueError
        Names the first trainable parameter whose module has no such method.
    """
    layout = ParameterLayout(model)
    twin = copy.deepcopy(model)
    _refuse_without_reset(twin)
    points = []
    with seeded_globally(generator, next(twin.parameters()).device):
        for _ in range(count):
            for module in twin.modules():
                if (reset := _reset(module)) is not None:
                    reset()
            points.append(layout.flatten(twin))
    return torch.stack(points)


def _reset(module: nn.Module) -> Callable[[], object] | None:
    reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
    return reset if callable(reset) else None


def _refuse_without_reset(model: nn.Module) -> None:
    for name, module in model.named_modules():
        for parameter, value in module.named_parameters(recurse=False):
            if value.requires_grad and _reset(module) is None:
                raise ValueError(
                    f"a random control point cannot be drawn: {type(module).__name__} "
                    f"{name!r} has no reset_parameters() for its parameter {parameter!r}; "
                    "start from the straight line instead"
                )
