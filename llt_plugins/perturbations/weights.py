"""What perturbations of trained weights share: which weights, and a copy to change."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


def weight_matrices(model: nn.Module) -> list[nn.Parameter]:
    """Return the weight matrices, convolution kernels and embeddings, each once.

    These are the parameters with two or more axes, of which the first counts filters (output
    channels, or tokens). Biases and the scales of norm layers have one axis and are left out.
    """
    return [parameter for parameter in model.parameters() if parameter.ndim >= 2]


def changed_copy(model: nn.Module, change: Callable[[Tensor], Tensor]) -> nn.Module:
    """Return a copy of ``model`` in which each weight matrix is what ``change`` makes of it.

    ``change`` is given a matrix of one row for each filter, ``(filters, values)``.
    """
    import torch

    changed = copy.deepcopy(model)
    with torch.no_grad():
        for weight in weight_matrices(changed):
            weight.copy_(change(weight.flatten(1)).view(weight.shape))
    return changed
