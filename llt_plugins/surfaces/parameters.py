"""The trainable parameters of a model as one vector in float64, and which are matrices."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from llt_plugins.paths.vectors import ParameterLayout

NORMALISATIONS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
"""Modules whose parameters are scales and shifts, whatever their shape."""


def flatten(model: nn.Module) -> Tensor:
    """Return θ: float64, shape ``(P,)``, a copy on the model's device (the CPU for mps).

    Raises
    ------
    ValueError
        If the model has no trainable parameter.

    Examples
    --------
    >>> flatten(nn.Linear(3, 2)).shape
    torch.Size([8])
    """
    theta = ParameterLayout(model).flatten(model)
    return theta.to(home(theta.device)).double()


def unflatten(vector: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Cut ``vector`` ``(P,)`` into tensors with shape, type, device and layout of ``like``."""
    parts = torch.split(vector, [p.numel() for p in like.values()])
    return {
        name: torch.empty_like(p, requires_grad=False).copy_(part.view(p.shape))
        for part, (name, p) in zip(parts, like.items(), strict=True)
    }


def weight_matrices(model: nn.Module) -> set[str]:
    """Return the names of the parameters that mix inputs: at least two axes, no scale or shift."""
    small = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, NORMALISATIONS)
        for parameter in module.parameters(recurse=False)
    }
    return {n for n, p in model.named_parameters() if p.ndim >= 2 and id(p) not in small}


def home(device: torch.device) -> torch.device:
    """Return where float64 vectors of a model on ``device`` can live."""
    return torch.device("cpu") if device.type == "mps" else device
