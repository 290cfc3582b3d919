"""The logits of every term of a split, made once for all metrics, and means over terms."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llt_core.interfaces import Batch, MeasureContext, forward
from llt_plugins.metrics.statuses import name_of

if TYPE_CHECKING:
    from torch import Tensor

TEXTS = 500
"""Texts whose logits are kept where nothing else is said: see :func:`compared`."""

SAMPLES = (
    "Compare on this many seeded examples of the split; null for all images, or for "
    f"{TEXTS} texts, whose logits take 4 bytes for each token and word of the vocabulary"
)
"""What the parameter ``samples`` of metrics of outputs means."""


def compared(context: MeasureContext, split: str, samples: int | None) -> int | None:
    """Return how many seeded examples of ``split`` are compared; None for all of them."""
    if samples is None and context.task.describe().modality == "text":
        samples = TEXTS
    whole = samples is None or samples >= len(context.examples(split))
    return None if whole else samples


def outputs(
    context: MeasureContext, split: str, model_index: int = 0, samples: int | None = None
) -> Tensor:
    """Return the logits of each term of ``split``: float32 (or wider), CPU, ``(T, C)``.

    Terms are classified examples, or the target tokens of one text after the other.

    Raises
    ------
    TypeError
        If the model does not give one row of logits for each term.
    """
    return context.remember(
        ("outputs", split, samples),
        lambda: _forward(context, split, model_index, samples),
        model_index,
    )


def correct_of(
    context: MeasureContext, split: str, model_index: int = 0, samples: int | None = None
) -> Tensor:
    """Return 1 where a model is right and 0 elsewhere: float64, CPU, ``(T,)``."""
    return context.remember(
        ("correct", split, samples),
        lambda: judge(context, split, outputs(context, split, model_index, samples), samples),
        model_index,
    )


def judge(
    context: MeasureContext, split: str, logits: Tensor, samples: int | None = None
) -> Tensor:
    """Return 1 where ``Task.evaluate`` finds ``logits`` right, else 0: float64, ``(T,)``."""
    import torch

    parts, done = [], 0
    for batch in context.chunks(split, samples):
        terms = logits[done : done + batch.weight]
        done += batch.weight
        parts.append(context.task.evaluate(*_scorable(context, terms, batch))["correct"].double())
    return torch.cat(parts)


def _scorable(context: MeasureContext, terms: Tensor, batch: Batch) -> tuple[Tensor, Batch]:
    """Return logits of terms ``(weight, C)`` as outputs that the task can score.

    The terms of several texts are shown as one long text without padding.
    """
    described, batch = context.task.describe(), batch.to("cpu")
    if described.modality != "text":
        return terms, batch
    following = batch.targets.flatten()
    if described.padding is not None:
        following = following[following != described.padding]
    return terms[None], replace(batch, targets=following[None])


def broken_outputs(context: MeasureContext, split: str, samples: int | None = None) -> str | None:
    """Say which model gives scores that are not finite: the largest of NaNs names a class too."""
    for index in range(len(context.models)):
        if not bool(outputs(context, split, index, samples).isfinite().all()):
            return f"{name_of(context, index)} gives NaN or infinite scores on {split!r}"
    return None


def mean_over(
    context: MeasureContext,
    split: str,
    terms: Tensor,
    samples: int | None = None,
    counted: str | None = None,
) -> dict[str, Any]:
    """Return what a measurement says of the mean of ``terms``, ``(T,)``, over a split.

    ``counted`` names terms that are other than those of the loss, and independent.
    """
    from llt_plugins.means import standard_error

    owners = context.owners(split, samples) if counted is None else None
    return {
        "value": terms.mean().item(),
        "n": len(terms),
        "counted": counted or context.counted,
    } | error_over(
        context, split, standard_error(terms, owners), samples, by_example=counted is None
    )


def error_over(
    context: MeasureContext,
    split: str,
    error: float | None,
    samples: int | None = None,
    *,
    by_example: bool = True,
) -> dict[str, Any]:
    """Return the standard error of a number about ``split``, and ``details`` that explain it.

    On the whole training split the number is about these very examples, so it is exact. A
    part of it, and any other split, is a sample of the population. ``by_example`` says that
    the error counts examples where several terms belong to one.
    """
    if split == "train" and samples is None:
        error, kind = 0.0, "exact over the split"
    elif error is None:
        kind = "unknown: the terms do not differ, or belong to one example"
    else:
        kind = "sampling of the split"
    details: dict[str, Any] = {"split": split, "error_kind": kind}
    if context.owners(split, samples) is not None:
        details["examples"] = len(context.examples(split, samples))
        if by_example and kind == "sampling of the split":
            details["error_kind"] = "sampling of the split (by example)"
    return {"standard_error": error, "details": details}


def _forward(context: MeasureContext, split: str, model_index: int, samples: int | None) -> Tensor:
    import torch

    model, total = context.models[model_index], _terms(context, split, samples)
    logits: Tensor | None = None
    done = 0
    with torch.no_grad():
        for batch in context.chunks(split, samples):
            scores = context.task.logits(forward(model, batch), batch)
            if logits is None:
                dtype = torch.promote_types(scores.dtype, torch.float32)
                logits = torch.empty(total, scores.shape[1], dtype=dtype)
            logits[done : done + len(scores)] = scores.to("cpu", logits.dtype)
            done += len(scores)
            context.report(done, total)
    assert logits is not None
    return logits


def _terms(context: MeasureContext, split: str, samples: int | None) -> int:
    """Return the number of terms T."""
    owners = context.owners(split, samples)
    return len(context.examples(split, samples)) if owners is None else len(owners)
