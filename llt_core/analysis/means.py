"""The mean over models of what was measured on them, and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any


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
