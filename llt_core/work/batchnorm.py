"""Batch normalisation of channels-last images at twice the speed, for training on the CPU.

torch walks over channels-last images pixel by pixel; with the 8 or 16 channels of a narrow
network its vector units stay half empty, and a third of a training step goes there. Here
several pixels are read as one row of at least 128 numbers, summed column by column, and the
columns of one channel are added at the end.
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
"""Numbers in a row from which on the vector units are busy."""


@contextmanager
def fast_batch_norm(model: nn.Module) -> Iterator[None]:
    """Use the faster kernel in every plain ``BatchNorm2d`` of ``model`` inside the block.

    It serves what it was made for (float32, CPU, channels-last, training mode, fewer than 128
    channels) and leaves the rest to torch. It can be differentiated once.
    """
    modules = [m for m in model.modules() if type(m) is nn.BatchNorm2d and _plain(m)]
    for module in modules:
        module.forward = partial(_forward, module)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for module in modules:
            del module.forward


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
    if not fits or not x.is_contiguous(memory_format=torch.channels_last):
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
        count = x.numel() // x.shape[1]
        mean = _channel_sums(rows, pixels) / count
        centred = rows - mean.repeat(pixels)
        variance = _channel_sums(centred * centred, pixels) / count
        scale = (variance + eps).rsqrt()
        y = torch.addcmul(bias.repeat(pixels), centred, (weight * scale).repeat(pixels))
        ctx.save_for_backward(centred, weight, scale)
        ctx.pixels = pixels
        ctx.mark_non_differentiable(mean, variance)
        return _images(y, x), mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        centred, weight, scale = ctx.saved_tensors
        pixels = ctx.pixels
        rows = _rows(dy.contiguous(memory_format=torch.channels_last), pixels)
        count = dy.numel() // dy.shape[1]
        sums = _channel_sums(rows, pixels)
        products = _channel_sums(rows * centred, pixels)
        slope = weight * scale
        dx = torch.addcmul((-slope * sums / count).repeat(pixels), rows, slope.repeat(pixels))
        dx.addcmul_(centred, (-slope * scale * scale * products / count).repeat(pixels))
        return _images(dx, dy), products * scale, sums, None, None


def _rows(x: Tensor, pixels: int) -> Tensor:
    """View channels-last images ``(B, C, H, W)`` as rows ``(B·H·W/pixels, pixels·C)``."""
    return x.permute(0, 2, 3, 1).reshape(-1, pixels * x.shape[1])


def _images(rows: Tensor, like: Tensor) -> Tensor:
    batch, channels, height, width = like.shape
    return rows.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _channel_sums(rows: Tensor, pixels: int) -> Tensor:
    """Return the sum over all pixels for each channel, shape ``(C,)``."""
    return rows.sum(0).view(pixels, -1).sum(0)
