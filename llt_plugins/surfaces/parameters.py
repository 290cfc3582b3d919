"""The trainable parameters of a model as one vector in float64, and which are matrices."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvTransposeNd

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


def weight_matrices(model: nn.Module) -> dict[str, int]:
    """Return the parameters that mix inputs: at least two axes, no scale or shift.

    Beside each name stands the number of groups of a transposed convolution, and 0 for
    everything else: see :func:`by_filter`.
    """
    modules = list(model.modules())
    small = {
        id(parameter)
        for module in modules
        if isinstance(module, NORMALISATIONS)
        for parameter in module.parameters(recurse=False)
    }
    groups = {id(m.weight): m.groups for m in modules if isinstance(m, _ConvTransposeNd)}
    return {
        name: groups.get(id(p), 0)
        for name, p in model.named_parameters()
        if p.ndim >= 2 and id(p) not in small
    }


def by_filter(weight: Tensor, groups: int) -> Tensor:
    """Return ``weight`` as ``(G, F, I, K)``: entry ``[g, f]`` is what makes one output channel.

    Ordinary weights ``(O, …)`` have their outputs on the first axis, and become
    ``(1, O, 1, K)``. A transposed convolution with G ``groups`` has the shape
    ``(G·I, F, k, …)``, its inputs first. A contiguous tensor gives a view.

    >>> by_filter(torch.zeros(6, 2, 3, 3), groups=0).shape
    torch.Size([1, 6, 1, 18])
    >>> by_filter(torch.zeros(6, 2, 3, 3), groups=3).shape
    torch.Size([3, 2, 2, 9])
    """
    if groups == 0:
        return weight.flatten(1)[None, :, None]
    inputs = len(weight) // groups
    return weight.flatten(2).view(groups, inputs, weight.shape[1], -1).transpose(1, 2)


def home(device: torch.device) -> torch.device:
    """Return where float64 vectors of a model on ``device`` can live."""
    return torch.device("cpu") if device.type == "mps" else device
