"""Means over examples, or over terms of which examples have several: weights and errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_ROUNDING = 1e-12
"""A spread this small, relative to the largest term, is rounding."""


def shares(weights: Sequence[float]) -> list[float]:
    """Return the weights of micro-batches divided by their sum.

    Raises
    ------
    ValueError
        If there are none, or they are not positive numbers.
    """
    total = math.fsum(weights)
    if not weights or min(weights) < 0 or not (0 < total < math.inf):
        raise ValueError(
            f"the micro-batches weigh {list(weights)}, expected at least one and all positive: "
            "each is the number of terms its mean loss averages"
        )
    return [weight / total for weight in weights]


def standard_error(terms: Tensor, owners: Tensor | None = None) -> float | None:
    """Return the standard error of the mean of n terms.

    Independent terms: ``s/√n``, n − 1 in s². Terms of one example, such as the tokens of a
    sentence, vary together; then the mean is a ratio of two sums over the G examples, that of
    their terms and that of their counts, ``x̄ = Σ S_g / Σ n_g``, and to first order its error is

        ``√( G/(G−1) · Σ_g (S_g − x̄ n_g)² ) / n``

    (Cochran 1977, eq. 6.13, without the finite-population correction; the cluster-robust
    variance of Liang and Zeger 1986). With one term to an example this is ``s/√n`` again. With
    few examples, or a few very long ones, it is too small.

    None where the terms say nothing about it: for fewer than two examples, and where the
    terms are all equal. A model that is right on all of 24 examples is not known to be right
    everywhere, so zero would claim too much.

    Parameters
    ----------
    terms
        Float64, shape ``(n,)``.
    owners
        The example that each term belongs to, int64, shape ``(n,)``; None where each is one.

    Examples
    --------
    >>> import torch
    >>> terms = torch.tensor([1.0, 2.0, 3.0, 2.0]).double()
    >>> standard_error(terms)
    0.408248290463863
    >>> standard_error(terms, torch.tensor([0, 0, 1, 1]))
    0.5
    >>> standard_error(torch.ones(24).double()) is None
    True
    """
    if len(terms) < 2:
        return None
    spread = float(terms.std(correction=1))
    if spread <= _ROUNDING * float(terms.abs().max()):
        return None
    if owners is None:
        return spread / math.sqrt(len(terms))
    import torch

    _, numbers = torch.unique(owners.to(terms.device), return_inverse=True)
    count = int(numbers.max()) + 1
    if count < 2:
        return None
    excess = terms.new_zeros(count).index_add(0, numbers, terms - terms.mean())
    if float(excess.abs().max()) <= _ROUNDING * len(terms) * float(terms.abs().max()):
        return None  # owners that do not differ say as little as terms that do not
    return math.sqrt(count / (count - 1) * float(excess.square().sum())) / len(terms)
