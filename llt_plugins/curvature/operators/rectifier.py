"""ReLU whose second derivative is not a tensor of zeros that is filled, added and masked."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function


def rectify(x: Tensor, *, inplace: bool = False) -> Tensor:
    """Return ``max(x, 0)``, with slope 0 at 0 and NaN kept, as ``torch.relu`` does."""
    result: Tensor = (_RectifyInPlace if inplace else _Rectify).apply(x)
    return result


class _Rectify(Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.relu(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return _Mask.apply(slope, y.detach())


class _RectifyInPlace(_Rectify):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.relu_()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.mark_dirty(inputs[0])
        ctx.save_for_backward(output)


class _Mask(Function):
    """``g`` where ``y > 0``: linear in g, and constant in y almost everywhere."""

    @staticmethod
    def forward(slope: Tensor, y: Tensor) -> Tensor:
        masked: Tensor = torch.ops.aten.threshold_backward(slope, y, 0)
        return masked

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        return _Mask.apply(slope, *ctx.saved_tensors), None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, int | None], slope: Tensor, y: Tensor) -> Any:
        if in_dims[0] is not None:
            slope = slope.movedim(in_dims[0], 0)
        if in_dims[1] is not None:
            y = y.movedim(in_dims[1], 0)
        return _Mask.apply(slope, y), 0
