"""The mean over models of what was measured on them, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def jackknife(values: Sequence[tuple[Sequence[Any], float]]) -> float | None:
    """Return the standard error of the mean of ``values``, each with the models it reads.

    The models are independent, pairs of them are not: so models are left out, one after the
    other, with all that was measured on them (Efron and Stein 1981). For one value a model it
    is s/√n. None where leaving one out leaves nothing.

    >>> round(jackknife([(["a"], 1.0), (["b"], 2.0), (["c"], 3.0)]), 4)
    0.5774
    >>> jackknife([(["a", "b"], 1.0)]) is None
    True
    """
    models = list(dict.fromkeys(model for read, _ in values for model in read))
    without = [[v for read, v in values if model not in read] for model in models]
    if len(models) < 2 or not all(without):
        return None
    if len({value for _, value in values}) == 1:
        return 0.0  # exactly, whatever rounding makes of the means
    means = [fmean(kept) for kept in without]
    centre, n = fmean(means), len(models)
    return math.sqrt((n - 1) / n * sum((mean - centre) ** 2 for mean in means))


def jackknives(values: Floats, reads: Sequence[Sequence[Any]]) -> Floats:
    """Return what :func:`jackknife` does for g rows at once, shape (g,); NaN in place of None.

    Parameters
    ----------
    values
        Of k measurements in each row, shape (g, k).
    reads
        The models that each measurement reads, the same in all rows: k entries.
    """
    models = list(dict.fromkeys(model for read in reads for model in read))
    without = np.array([[model not in read for model in models] for read in reads])
    n = len(models)
    if n < 2 or not without.any(axis=0).all():
        return np.full(len(values), np.nan)
    # From each row's mean on: where values are all but equal, their differences stay exact.
    off = (values - values.mean(axis=1, keepdims=True)) @ without / without.sum(axis=0)
    off -= off.mean(axis=1, keepdims=True)
    errors: Floats = np.sqrt((n - 1) / n * (off**2).sum(axis=1))
    return np.where(values.min(axis=1) == values.max(axis=1), 0.0, errors)
