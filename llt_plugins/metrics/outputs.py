"""The class scores of a model over a whole split, made once for all metrics, and means of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llt_core.interfaces import MeasureContext, forward
from llt_plugins.metrics.statuses import name_of

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


def broken_outputs(context: MeasureContext, split: str) -> str | None:
    """Say which model gives scores that are not finite: the largest of NaNs names a class too."""
    for index in range(len(context.models)):
        if not bool(outputs(context, split, index).isfinite().all()):
            return f"{name_of(context, index)} gives NaN or infinite scores on {split!r}"
    return None


def mean_over(split: str, terms: Tensor) -> dict[str, Any]:
    """Return what a measurement says of the mean of ``terms``, ``(T,)``, over a whole split."""
    from llt_plugins.means import standard_error

    return {"value": terms.mean().item(), "n": len(terms)} | error_over(
        split, standard_error(terms)
    )


def error_over(split: str, error: float | None) -> dict[str, Any]:
    """Return the standard error of a number about ``split``, and ``details`` that explain it.

    On the training split the number is about these very examples, so it is exact. Any other
    split is a sample of the population.
    """
    if split == "train":
        error, kind = 0.0, "exact over the split"
    elif error is None:
        kind = "unknown: the terms do not differ"
    else:
        kind = "sampling of the split"
    return {"standard_error": error, "details": {"split": split, "error_kind": kind}}


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
