"""The class scores of a model over a whole split, computed once for all metrics that read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llt_core.interfaces import MeasureContext, forward

if TYPE_CHECKING:
    from torch import Tensor

_BATCH = 512
"""Examples per forward pass."""


def outputs(context: MeasureContext, split: str, model_index: int = 0) -> Tensor:
    """Return the logits of one model over ``split``: float32 (or wider), CPU, ``(N, C)``.

    Raises
    ------
    ValueError
        If the model does not give one row of class scores per example.
    """
    return context.remember(
        ("outputs", split), lambda: _forward(context, split, model_index), model_index
    )


def correct_of(context: MeasureContext, split: str, model_index: int = 0) -> Tensor:
    """Return 1 where a model is right and 0 elsewhere: float64, CPU, ``(N,)``."""
    return context.remember(
        ("correct", split),
        lambda: judge(context, split, outputs(context, split, model_index)),
        model_index,
    )


def judge(context: MeasureContext, split: str, logits: Tensor) -> Tensor:
    """Return 1 where ``Task.evaluate`` finds ``logits`` right, else 0: float64, ``(N,)``."""
    import torch

    examples = context.examples(split)
    parts = []
    for index in examples.slices(_BATCH):
        batch = examples.batch(index).to("cpu")
        parts.append(context.task.evaluate(logits[index], batch)["correct"].double())
    return torch.cat(parts)


def all_finite(*logits: Tensor) -> bool:
    """Say whether no score is NaN or infinite: the largest of NaNs still names a class."""
    return all(bool(scores.isfinite().all()) for scores in logits)


def _forward(context: MeasureContext, split: str, model_index: int) -> Tensor:
    import torch

    model, examples = context.models[model_index], context.examples(split)
    logits: Tensor | None = None
    done = 0
    with torch.no_grad():
        for index in examples.slices(_BATCH):
            batch = examples.batch(index).to(context.device, context.dtype)
            scores = forward(model, batch)
            shape = tuple(getattr(scores, "shape", ()))
            if len(shape) != 2 or shape[0] != len(index):
                raise ValueError(
                    f"the model gives {type(scores).__name__} {shape} for {len(index)} examples "
                    f"of {split!r}, expected one row of class scores for each: (N, C)"
                )
            if logits is None:
                dtype = torch.promote_types(scores.dtype, torch.float32)
                logits = torch.empty(len(examples), shape[1], dtype=dtype)
            logits[index] = scores.to("cpu", logits.dtype)
            done += len(index)
            context.report(done, len(examples))
    assert logits is not None
    return logits
