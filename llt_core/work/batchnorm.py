"""Batch normalisation of few channels at twice the speed, for training on the CPU.

torch walks over channels-last images pixel by pixel; with the 8 channels of a narrow network
its vector units stay half empty and a second thread helps little. Here several pixels are read
as one row of at least 128 columns by the same kernels, and the statistics of the columns that
belong to one channel are merged at the end. From 16 channels on torch's way is the faster one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

ROW = 128
"""Columns of a row from which on the vector units are busy."""

FEW = 16
"""Channels from which on torch's own kernels are the faster ones."""


@contextmanager
def fast_batch_norm(model: nn.Module) -> Iterator[None]:
    """Use the faster kernel in every plain ``BatchNorm2d`` of ``model`` inside the block.

    It serves what it was made for (float32, CPU, channels-last, training mode, fewer than 16
    channels) and leaves the rest to torch. It can be differentiated once.
    """
    modules = [m for m in model.modules() if type(m) is nn.BatchNorm2d and _plain(m)]
    for module in modules:
        vars(module)["forward"] = partial(_forward, module)  # hides the method until the end
    try:
        yield
    finally:
        for module in modules:
            del vars(module)["forward"]


def _plain(module: nn.BatchNorm2d) -> bool:
    return bool(module.affine and module.track_running_stats and module.momentum is not None)


def _forward(module: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Normalise images ``(B, C, H, W)`` and update the running statistics, as torch does."""
    count = x.numel() // x.shape[1]
    pixels = _pixels_in_a_row(x, count) if module.training else 1
    if pixels == 1:
        return nn.BatchNorm2d.forward(module, x)
    y: Tensor
    y, mean, variance = _BatchNorm.apply(x, module.weight, module.bias, module.eps, pixels)
    if module.track_running_stats:
        _track(module, mean, variance * (count / (count - 1)))
    return y


@torch.no_grad()
def _track(module: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics towards those of this batch."""
    momentum = cast(float, module.momentum)
    cast(Tensor, module.num_batches_tracked).add_(1)
    cast(Tensor, module.running_mean).lerp_(mean, momentum)
    cast(Tensor, module.running_var).lerp_(variance, momentum)


def _pixels_in_a_row(x: Tensor, count: int) -> int:
    """Return how many pixels to read at once; 1 where torch's own kernel should run."""
    fits = x.ndim == 4 and x.dtype == torch.float32 and x.device.type == "cpu"
    if not fits or x.shape[1] >= FEW or not x.is_contiguous(memory_format=torch.channels_last):
        return 1
    pixels = 1
    while pixels * x.shape[1] < ROW and count % (2 * pixels) == 0:
        pixels *= 2
    return pixels


class _BatchNorm(torch.autograd.Function):
    """Batch normalisation (Ioffe and Szegedy 2015) over rows of several pixels."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, pixels: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows = _rows(x, pixels)
        mean, variance = _statistics(rows, pixels)
        scale = (variance + eps).rsqrt()
        slope = weight * scale
        y = torch.addcmul((bias - mean * slope).repeat(pixels), rows, slope.repeat(pixels))
        ctx.save_for_backward(rows, weight, mean, scale)
        ctx.pixels = pixels
        ctx.mark_non_differentiable(mean, variance)
        return _images(y, x), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, mean, scale = ctx.saved_tensors
        pixels = ctx.pixels
        slopes = _rows(dy.contiguous(memory_format=torch.channels_last), pixels)
        count = dy.numel() // dy.shape[1]
        sums, products = _slope_sums(slopes, rows, mean, pixels)
        factor = weight * scale
        # dx = factor · (dy - mean(dy) - x̂ · mean(dy · x̂)), with x̂ written out in x
        tilt = -factor * scale * scale * products / count
        shift = -factor * sums / count - tilt * mean
        dx = torch.addcmul(shift.repeat(pixels), slopes, factor.repeat(pixels))
        dx.addcmul_(rows, tilt.repeat(pixels))
        return _images(dx, dy), products * scale, sums, None, None


def _statistics(rows: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each channel, ``(C,)``, merged from those of its columns."""
    means, variances = torch.batch_norm_update_stats(rows, None, None, 0.0)
    means, variances = means.view(pixels, -1), variances.view(pixels, -1)
    mean = means.mean(0)
    return mean, variances.mean(0) + (means - mean).square().mean(0)


def _slope_sums(slopes: Tensor, rows: Tensor, mean: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
    """Return ``Σ dy`` and ``Σ dy · (x - mean)`` of each channel, ``(C,)``.

    They are the gradients of bias and weight of a normalisation by ``mean`` and variance 1.
    """
    ones = torch.ones(rows.shape[1])
    _, products, sums = torch.ops.aten.native_batch_norm_backward(
        slopes,
        rows,
        ones,
        mean.repeat(pixels),
        ones,
        None,
        None,
        False,  # by the given statistics, not by those of the rows
        0.0,
        [False, True, True],
    )
    return sums.view(pixels, -1).sum(0), products.view(pixels, -1).sum(0)


def _rows(x: Tensor, pixels: int) -> Tensor:
    """View channels-last images ``(B, C, H, W)`` as rows ``(B·H·W/pixels, pixels·C)``."""
    return x.permute(0, 2, 3, 1).reshape(-1, pixels * x.shape[1])


def _images(rows: Tensor, like: Tensor) -> Tensor:
    batch, channels, height, width = like.shape
    return rows.view(batch, height, width, channels).permute(0, 3, 1, 2)
