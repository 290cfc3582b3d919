"""Inputs on which networks are compared: mixtures of two training examples each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

Inputs = Tensor | tuple[Any, ...] | Mapping[str, Any]
"""What a network is called with: one tensor, positional arguments or keyword arguments."""


@dataclass(frozen=True)
class Mixture:
    """One batch of mixed inputs ``λ x[first] + (1 − λ) x[second]``.

    Attributes
    ----------
    first, second
        Positions of the originals in their split, int64, shape ``(B,)``; ``second`` is a
        permutation of ``first``.
    share
        λ, one for the batch.
    """

    first: Tensor
    second: Tensor
    share: float


def draw_mixtures(
    examples: int,
    generator: torch.Generator,
    *,
    samples: int = 640,
    batch_size: int = 128,
    alpha: float = 16.0,
) -> list[Mixture]:
    """Draw which examples are mixed, and how much of each (Zhang et al. 2018; Yang et al. 2021).

    Each batch is a random draw without replacement, mixed with a permutation of itself by
    one ``λ ~ Beta(α, α)``. No example is in two batches, so a split of fewer than
    ``samples`` examples gives fewer mixtures.

    Parameters
    ----------
    examples
        Number of examples N of the split.
    generator
        On the CPU. Nothing else is random.
    samples, batch_size
        How many mixtures in all, and in each batch (the last one may be smaller).
    alpha
        α > 0; 16 keeps λ near one half (standard deviation .09).

    Raises
    ------
    ValueError
        If there is no example, or a number is out of range.
    """
    if examples < 1:
        raise ValueError("there are no examples to mix")
    if samples < 1 or batch_size < 1 or not alpha > 0:
        raise ValueError(
            f"{samples} samples in batches of {batch_size} with alpha {alpha}: "
            "expected positive numbers"
        )
    order = torch.randperm(examples, generator=generator)[:samples]
    parts = torch.split(order, batch_size)
    # torch draws no Beta variable from a given generator; numpy's is seeded from it.
    seed = int(torch.randint(2**62, (1,), generator=generator))
    shares = np.random.default_rng(seed).beta(alpha, alpha, size=len(parts))
    return [
        Mixture(first, first[torch.randperm(len(first), generator=generator)], float(share))
        for first, share in zip(parts, shares, strict=True)
    ]


def mix(first: Inputs, second: Inputs, share: float) -> Inputs:
    """Return ``share * first + (1 - share) * second``, tensor by tensor.

    Raises
    ------
    ValueError
        If an input is not of a floating type: tokens and other codes have no mixtures.
    """
    if isinstance(first, Mapping):
        assert isinstance(second, Mapping)
        return {name: mix(first[name], second[name], share) for name in first}
    if isinstance(first, tuple):
        return tuple(mix(a, b, share) for a, b in zip(first, second, strict=True))
    if not first.is_floating_point():
        kind = str(first.dtype).removeprefix("torch.")
        raise ValueError(
            f"the inputs are {kind}, which cannot be mixed: mixup needs real numbers; "
            'compare on unmixed examples with inputs = "plain"'
        )
    assert isinstance(second, Tensor)
    return first * share + second * (1.0 - share)


def groups(mixtures: list[Mixture]) -> Tensor:
    """Return the number of the batch of every mixed input, int64, shape ``(n,)``."""
    sizes = torch.tensor([len(mixture.first) for mixture in mixtures])
    return torch.repeat_interleave(torch.arange(len(mixtures)), sizes)
