"""A way around a fault of oneDNN that corrupts memory when narrow networks are trained."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from torch import nn

BLOCK = 16
"""Input channels from which on the kernel is right (8 with AVX2, 16 with AVX-512)."""


def guard(model: nn.Module) -> nn.Module:
    """Let strided 1×1 convolutions of few channels pick their pixels first; return ``model``.

    The backward pass of such a convolution on channels-last images writes past its
    workspace on x86 CPUs: wrong gradients, a crash or a hang (oneDNN issue 6035). These are
    the shortcuts of a ResNet of width 1 to 7. Taking every s-th pixel and then convolving
    with stride 1 is the same function and does not go there. Parameters and their names stay.
    """
    for module in model.modules():
        if (
            isinstance(module, nn.Conv2d)
            and module.kernel_size == (1, 1)
            and module.stride != (1, 1)
            and module.padding == (0, 0)
            and module.in_channels // module.groups < BLOCK
        ):
            module.register_forward_pre_hook(partial(_pick, cast(tuple[int, int], module.stride)))
            module.stride = (1, 1)
    return model


def _pick(stride: tuple[int, int], module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Take every s-th pixel of images ``(B, C, H, W)``."""
    return (args[0][..., :: stride[0], :: stride[1]], *args[1:])
