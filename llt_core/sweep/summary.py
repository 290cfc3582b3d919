"""One row a grid point: the mean of each quantity over the models, and its standard error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from llt_core.analysis.means import jackknife
from llt_core.interfaces import Measurement
from llt_core.spec.naming import settings
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
        changed = settings(record.cell.metric)
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
