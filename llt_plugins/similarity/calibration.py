"""How far the confidence of predictions is from their accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from llt_plugins.means import standard_error

Binning = Literal["width", "mass"]


@dataclass(frozen=True)
class Calibration:
    """A reliability diagram and the calibration error it amounts to.

    Attributes
    ----------
    error
        Expected calibration error, in [0, 1].
    spread
        One standard deviation of ``error`` by the delta method over examples; None where
        they do not tell (see :func:`~llt_plugins.means.standard_error`).
    floor
        The error that perfectly calibrated predictions with these confidences would show on
        average, by chance alone.
    confidence, accuracy, accuracy_error
        Means within each bin, and the standard error of the accuracy (binomial, or by owners
        where these are given), float64, shape ``(bins,)``; NaN where a bin is empty.
    count
        Examples in each bin, float64, shape ``(bins,)``.
    """

    error: float
    spread: float | None
    floor: float
    confidence: Tensor
    accuracy: Tensor
    accuracy_error: Tensor
    count: Tensor


def calibration(
    confidence: Tensor,
    correct: Tensor,
    *,
    bins: int = 15,
    binning: Binning = "width",
    owners: Tensor | None = None,
) -> Calibration:
    """Return ``Σ_b (n_b/n) |accuracy_b − confidence_b|`` (Guo et al. 2017, eq. 3).

    The absolute values make it biased upward; ``floor`` tells by how much at most: the mean
    of ``|Σ (correct − confidence)|`` of each bin, taken as normal, if every example were
    right with its confidence as probability.

    Parameters
    ----------
    confidence
        Largest probability of each prediction, in [0, 1], shape ``(N,)``.
    correct
        1 where the prediction is right, else 0, shape ``(N,)``.
    bins
        Number of bins.
    binning
        ``"width"``: equal intervals ``(l, u]`` of confidence. ``"mass"``: equal numbers of
        examples (Nguyen and O'Connor 2015), less sensitive to where confidences crowd.
    owners
        The example that each prediction belongs to, int64, shape ``(N,)``; None where each is
        one. It enters ``spread`` and ``accuracy_error``.

    Raises
    ------
    ValueError
        If there are no examples, shapes differ, or ``bins < 1``.
    """
    n = len(confidence)
    if n < 1 or confidence.shape != correct.shape or bins < 1:
        raise ValueError(
            f"{n} confidences, {len(correct)} scores and {bins} bins: expected as many scores "
            "as confidences, at least one, and at least one bin"
        )
    confidence, correct = confidence.double(), correct.double()
    index = _bins(confidence, bins, binning)
    zeros = torch.zeros(bins, dtype=torch.float64, device=confidence.device)

    def total(values: Tensor) -> Tensor:
        return zeros.index_add(0, index, values)

    count = total(torch.ones_like(confidence))
    excess = total(correct - confidence)
    error = float(excess.abs().sum() / n)
    # Each example moves its bin's sum in the direction of that bin's sign.
    terms = torch.sign(excess)[index] * (correct - confidence)
    spread = standard_error(terms, owners)
    chance = total(confidence * (1.0 - confidence)).sqrt().sum() * math.sqrt(2.0 / math.pi) / n
    accuracy = total(correct) / count
    return Calibration(
        error=error,
        spread=spread,
        floor=float(chance),
        confidence=total(confidence) / count,
        accuracy=accuracy,
        accuracy_error=_accuracy_errors(correct, index, accuracy, count, owners),
        count=count,
    )


def _accuracy_errors(
    correct: Tensor, index: Tensor, accuracy: Tensor, count: Tensor, owners: Tensor | None
) -> Tensor:
    """Return the standard error of the accuracy of each bin, ``(bins,)``: binomial, or by owner."""
    if owners is None:
        return (accuracy * (1.0 - accuracy) / count).sqrt()
    errors = torch.full_like(accuracy, math.nan)
    for number in range(len(accuracy)):
        inside = index == number
        found = standard_error(correct[inside], owners[inside])
        if found is not None:
            errors[number] = found
    return errors


def _bins(confidence: Tensor, bins: int, binning: Binning) -> Tensor:
    """Return the bin of each example, int64, shape ``(N,)``."""
    if binning == "width":
        return (torch.ceil(confidence * bins) - 1).clamp(0, bins - 1).long()
    if binning != "mass":
        raise ValueError(f"the binning is {binning!r}, expected 'width' or 'mass'")
    rank = torch.empty(len(confidence), dtype=torch.int64, device=confidence.device)
    order = confidence.argsort(stable=True)
    rank[order] = torch.arange(len(confidence), device=confidence.device)
    return rank * bins // len(confidence)
