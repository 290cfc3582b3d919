"""The copy of a model that second-order methods work on."""

from __future__ import annotations

import copy

import torch
from torch import nn


def evaluation_copy(model: nn.Module, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Return an independent copy of ``model`` in eval mode and in ``dtype``.

    The original keeps its parameters, buffers, mode and gradients; the copy has none of
    the latter. Tied weights stay tied and frozen parameters stay frozen.

    The memory layout is kept too: operators choose a faster one for images by themselves,
    without touching the model (see ``rewriting.py``).

    Parameters
    ----------
    model
        Any module.
    dtype
        Type of the floating-point parameters and buffers of the copy.
    """
    return copy.deepcopy(model).eval().to(dtype=dtype)
