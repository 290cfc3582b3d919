"""One row a grid point: the mean of each quantity over the models, and its standard error."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from llt_core.interfaces import Measurement
from llt_core.spec.naming import short_name, work_name
from llt_core.store import Record


@dataclass(frozen=True)
class Mean:
    """The mean of one quantity at one grid point.

    Attributes
    ----------
    value
        None where nothing was measured, or nothing that has a value.
    standard_error
        Of the mean, over the models by the jackknife; None with fewer than two models, or
        three for what compares pairs.
    n, of
        Measurements that have a value, and measurements that were taken.
    """

    value: float | None
    standard_error: float | None
    unit: str
    n: int
    of: int


def summarise(
    measures: Iterable[str], records: Mapping[str, Record], *, every: bool = False
) -> dict[str, Mean]:
    """Return the means at one grid point, by quantity.

    A quantity is called by its parameters too where one metric is asked for twice.

    Parameters
    ----------
    measures
        Digests of the measurements at the point.
    records
        Those that exist.
    every
        Every quantity, not only the first of each metric.
    """
    found: dict[tuple[str, str], list[tuple[tuple[str, ...], Measurement]]] = {}
    for digest in measures:
        record = records.get(digest)
        if record is None or record.cell.kind != "measure":
            continue
        changed = work_name(record.cell).removeprefix(short_name(record.cell.metric.name))
        for measurement in record.measurements if every else record.measurements[:1]:
            key = (measurement.name, changed)
            found.setdefault(key, []).append((record.cell.models, measurement))
    several = Counter(name for name, _ in found)
    return {
        name + (changed if several[name] > 1 else ""): _mean(taken)
        for (name, changed), taken in found.items()
    }


def _mean(found: Sequence[tuple[tuple[str, ...], Measurement]]) -> Mean:
    values = [(models, m.value) for models, m in found if m.value is not None]
    unit = found[0][1].unit
    if not values:
        return Mean(None, None, unit, 0, len(found))
    value = fmean(number for _, number in values)
    return Mean(value, jackknife(values), unit, len(values), len(found))


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
