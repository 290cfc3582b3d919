"""Cutting a split of sentences into batches with little padding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llt_core.interfaces import BatchUnit, RequestError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def batches(
    sources: Tensor,
    targets: Tensor,
    batch_size: int,
    unit: BatchUnit,
    generator: torch.Generator | None,
    drop_last: bool,
) -> list[Tensor]:
    """Return the index tensors of one pass over N pairs of sentences.

    Without a generator they are in order. With one, pairs of like length come together
    (by the longer side, then by the target), those of like length in random order, and the
    batches are shuffled. The number of batches depends on the lengths alone, so that every
    shuffled pass has the same.

    Every pair comes once, except that with ``drop_last``, in batches counted in examples,
    N mod ``batch_size`` pairs are left out: the last, or random ones of any length. Batches
    counted in tokens are never quite full, so none is dropped.

    Parameters
    ----------
    sources, targets
        Lengths in tokens of both sides, int64, ``(N,)``.

    Raises
    ------
    RequestError
        One target alone has more than ``batch_size`` tokens.
    """
    import torch

    n = len(targets)
    order = torch.arange(n) if generator is None else torch.randperm(n, generator=generator)
    if unit == "examples" and drop_last:
        order = order[: n - n % batch_size]
    if generator is not None:
        longer = torch.maximum(sources, targets)
        for lengths in (targets, longer):
            order = order[lengths[order].argsort(stable=True)]
    if len(order) == 0:
        return []
    if unit == "tokens":
        found = list(torch.split(order, _rows(targets[order].tolist(), batch_size)))
    else:
        found = list(torch.split(order, batch_size))
    if generator is not None:
        found = [found[at] for at in torch.randperm(len(found), generator=generator).tolist()]
    return found


def _rows(lengths: list[int], tokens: int) -> list[int]:
    """Return how many sentences each batch takes: rows × longest is at most ``tokens``."""
    if max(lengths) > tokens:
        raise RequestError(
            f"batches of {tokens} tokens cannot take a sentence of {max(lengths)}",
            where="train.batch_size, counted in tokens",
            expected=f"at least {max(lengths)}, or shorter sentences (task.max_length)",
            next_step=f"--set train.batch_size={max(1500, max(lengths))}",
        )
    found, rows, longest = [], 0, 0
    for length in lengths:
        longest = max(longest, length)
        if (rows + 1) * longest > tokens:
            found.append(rows)
            rows, longest = 0, length
        rows += 1
    return [*found, rows]
