"""Which models each measurement of a remembered sweep reads."""

from __future__ import annotations

from llt_core.store.sweeps import SweepPoint
from llt_core.sweep.look import models_of
from llt_core.sweep.plan import Plan, PlannedPoint


def remembered(plan: Plan, point: PlannedPoint) -> SweepPoint:
    """Return a grid point of a plan as the store remembers it."""
    places = {digest: place for place, digest in enumerate(point.trains)}
    return SweepPoint(
        values=dict(point.values),
        models=point.trains,
        measures=point.measures,
        reads=tuple(
            tuple(places[model] for model in models_of(plan[digest])) for digest in point.measures
        ),
    )
