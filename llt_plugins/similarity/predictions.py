"""How alike the predictions of two or more networks are, example by example.

Every function takes class scores (logits) of shape ``(N, C)`` of the same N examples (or
tokens) and works in float64, on a few rows at a time: with a large vocabulary that saves memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

MIXTURE_FLOOR = 1e-7
"""The smallest probability that the mixture of two predictions may have (Yang et al. 2021)."""

_TOGETHER = 1 << 22
"""Numbers of each network that are worked on at once: 32 MB in float64."""


def agreement(first: Tensor, second: Tensor) -> Tensor:
    """Return 1 where both predict the same class and 0 elsewhere, shape ``(N,)``.

    >>> agreement(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([[1.0, 0.0], [5.0, 3.0]]))
    tensor([1., 0.], dtype=torch.float64)
    """
    return _by_rows(lambda a, b: (a.argmax(1) == b.argmax(1)).double(), first, second)


def js_divergence(first: Tensor, second: Tensor) -> Tensor:
    """Return the Jensen–Shannon divergence of the softmax outputs, nats, shape ``(N,)``.

    ``½ KL(p‖m) + ½ KL(q‖m)`` with ``m = ½(p + q)`` clamped to at least 1e-7 (Lin 1991;
    Yang et al. 2021). In [0, ln 2]; the clamp moves it by less than 1e-7 per class.
    """

    def divergence(first: Tensor, second: Tensor) -> Tensor:
        p, q = first.softmax(1), second.softmax(1)
        log_m = (0.5 * (p + q)).clamp(min=MIXTURE_FLOOR).log()
        towards_m = [torch.xlogy(x, x) - x * log_m for x in (p, q)]
        return 0.5 * (towards_m[0] + towards_m[1]).sum(1).clamp(min=0.0)

    return _by_rows(divergence, first, second)


def logit_cosine(first: Tensor, second: Tensor, batch_size: int) -> Tensor:
    """Return the cosine of the flattened logits of each batch, in [−1, 1], shape ``(B,)``.

    Batches are consecutive examples; a last batch that is not full is left out, unless it
    is the only one. NaN where a batch has only zero logits.
    """
    if batch_size < 1:
        raise ValueError(f"the batch size is {batch_size}, expected at least 1")
    _refuse_other_shapes(first, second)
    size = min(batch_size, len(first))
    count = len(first) // size

    def cosine(first: Tensor, second: Tensor) -> Tensor:
        a, b = (x.reshape(-1, size * x.shape[1]) for x in (first, second))
        cosines: Tensor = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
        return cosines.clamp(-1.0, 1.0)

    return _by_rows(cosine, first[: count * size], second[: count * size], multiple=size)


def changed_correctness(first: Tensor, second: Tensor) -> Tensor:
    """Return 1 where exactly one of two is right, shape ``(N,)``, given 0/1 correctness."""
    if first.shape != second.shape:
        raise ValueError(f"{len(first)} and {len(second)} scored examples cannot be paired")
    return (first != second).double()


def mean_probabilities(logits: Sequence[Tensor]) -> Tensor:
    """Return the mean of the softmax outputs of K networks, shape ``(N, C)``."""
    if not logits:
        raise ValueError("an ensemble needs the outputs of at least one model")

    def mean(*members: Tensor) -> Tensor:
        total = members[0].softmax(1)
        for member in members[1:]:
            total = total + member.softmax(1)
        return total / len(members)

    return _by_rows(mean, *logits)


def confidences(logits: Tensor) -> Tensor:
    """Return the largest softmax output of each row, shape ``(N,)``."""
    return _by_rows(lambda rows: rows.softmax(1).amax(1), logits)


def _by_rows(function: Callable[..., Tensor], *logits: Tensor, multiple: int = 1) -> Tensor:
    """Return ``function`` of all, in float64, of a multiple of some rows at a time."""
    _refuse_other_shapes(*logits)
    rows = multiple * max(1, _TOGETHER // max(1, logits[0].shape[1]) // multiple)
    parts = zip(*(torch.split(member, rows) for member in logits), strict=True)
    return torch.cat([function(*(member.double() for member in part)) for part in parts])


def _refuse_other_shapes(*logits: Tensor) -> None:
    """Refuse scores that do not belong together."""
    for member in logits:
        if member.ndim != 2:
            raise ValueError(
                f"the outputs have shape {tuple(member.shape)}, expected class scores (N, C)"
            )
        if member.shape != logits[0].shape:
            raise ValueError(
                f"the outputs have shapes {tuple(logits[0].shape)} and {tuple(member.shape)}: "
                "models with different numbers of classes or examples cannot be compared"
            )
    if not len(logits[0]):
        raise ValueError("there are no examples to compare outputs on")
