"""The standard error of a mean over examples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_ROUNDING = 1e-12
"""A spread this small, relative to the largest term, is rounding."""


def standard_error(terms: Tensor) -> float | None:
    """Return the standard error ``s/√n`` of the mean of n independent terms, n − 1 in s².

    None where the terms say nothing about it: for fewer than two of them, and where all are
    equal. A model that is right on all of 24 examples is not known to be right everywhere,
    so zero would claim too much.

    Parameters
    ----------
    terms
        Float64, shape ``(n,)``.

    Examples
    --------
    >>> import torch
    >>> standard_error(torch.tensor([1.0, 2.0, 3.0, 2.0]).double())
    0.408248290463863
    >>> standard_error(torch.ones(24).double()) is None
    True
    """
    if len(terms) < 2:
        return None
    spread = float(terms.std(correction=1))
    if spread <= _ROUNDING * float(terms.abs().max()):
        return None
    return spread / math.sqrt(len(terms))
