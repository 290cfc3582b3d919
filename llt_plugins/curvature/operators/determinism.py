"""Refusing models whose loss changes from call to call.

A Hessian-vector product of such a model belongs to a different function each time; the
estimators would then average over functions and report a number that means nothing.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.dropout import _DropoutNd

from llt_plugins.curvature.types import Loss

_REPEATABLE = 1e-4
"""Relative change of the loss between two calls that rounding alone cannot explain in float32."""


def refuse_training_mode(model: nn.Module) -> None:
    """Refuse a model with a random or self-modifying module in training mode.

    Raises
    ------
    ValueError
        Names the first such module: dropout with p > 0, randomised ReLU, or a
        normalisation that would update its running statistics.
    """
    for name, module in model.named_modules():
        reason = _reason(module) if module.training else None
        if reason is not None:
            raise ValueError(
                f"module {name!r} ({type(module).__name__}) is in training mode: {reason}; "
                "call model.eval() first"
            )


def refuse_batch_statistics(model: nn.Module, micro_batches: int) -> None:
    """Refuse batch norm without running statistics when there are several micro-batches.

    In eval mode too it then normalises each micro-batch by itself, and how the examples are
    cut would change the result.

    Raises
    ------
    ValueError
        Names the first such module.
    """
    for name, module in model.named_modules() if micro_batches > 1 else ():
        if isinstance(module, _BatchNorm) and module.running_mean is None:
            raise ValueError(
                f"module {name!r} ({type(module).__name__}) has no running statistics and "
                f"normalises each of the {micro_batches} micro-batches by itself, so their size "
                "would change the result; put all examples into one (a larger batch size)"
            )


def refuse_unrepeatable(model: nn.Module, loss: Loss, number: int = 0) -> float:
    """Refuse a loss that differs between two calls (functional dropout, shuffled data).

    Costs two forward passes, leaves the global random state as it was, and returns the loss
    of this micro-batch, the one with that ``number``.

    Raises
    ------
    ValueError
        Gives the two values.
    """
    devices = {p.device for p in model.parameters() if p.device.type == "cuda"}
    with (
        torch.random.fork_rng(devices=list(devices)),
        # With gradients, as later: without them encoder layers skip what is padded.
        torch.enable_grad(),
        sdpa_kernel(SDPBackend.MATH),
    ):
        first, second = (scalar(loss(model)).item() for _ in range(2))
    # A NaN is not an unrepeatable loss: it is passed on and reported as what it is.
    if math.isfinite(first) and not math.isclose(first, second, rel_tol=_REPEATABLE, abs_tol=1e-12):
        raise ValueError(
            f"the loss of micro-batch {number + 1} is not deterministic: {first:.9g}, then "
            f"{second:.9g} on the same call; turn off dropout, augmentation and shuffling"
        )
    return first


def scalar(loss: torch.Tensor) -> torch.Tensor:
    """Return ``loss`` with shape ``()``.

    Raises
    ------
    ValueError
        If it has more than one entry.
    """
    if loss.numel() != 1:
        raise ValueError(
            f"the loss has shape {tuple(loss.shape)}, expected one number: the mean over the batch"
        )
    return loss.reshape(())


def _reason(module: nn.Module) -> str | None:
    """Say why ``module``, which is in training mode, is not a fixed function."""
    if isinstance(module, _DropoutNd):
        return f"its masks (p = {module.p}) are random" if module.p > 0 else None
    if isinstance(module, nn.MultiheadAttention | nn.RNNBase):
        return f"its dropout (p = {module.dropout}) is random" if module.dropout > 0 else None
    if isinstance(module, nn.RReLU):
        return "its slopes are random"
    if isinstance(module, _BatchNorm):
        return "it uses and updates the statistics of each micro-batch"
    if isinstance(module, _NormBase) and module.track_running_stats:
        return "it updates its running statistics"
    return None
