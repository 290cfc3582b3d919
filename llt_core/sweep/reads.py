"""Which models each measurement of a remembered sweep reads."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from llt_core.errors import LltError
from llt_core.plugins import Catalogue
from llt_core.spec import SweepSpec
from llt_core.store.sweeps import SweepPoint, SweepRecord
from llt_core.sweep.look import models_of
from llt_core.sweep.plan import Plan, PlannedPoint, make_plan


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


def with_reads(sweep: SweepRecord, data_root: Path) -> SweepRecord:
    """Return the sweep with what its measurements read.

    A file of an older version does not say it. Then the sweep is planned anew; where that
    cannot be done (a plugin is gone), or leads to other cells, it stays unknown.
    """
    if all(len(point.reads) == len(point.measures) for point in sweep.points):
        return sweep
    try:
        plan = make_plan(SweepSpec.model_validate(sweep.spec), Catalogue.discover(), data_root)
    except (LltError, ValidationError):
        return sweep
    known = {planned.digest: models_of(planned) for planned in plan.measures}
    points = []
    for point in sweep.points:
        places = {digest: place for place, digest in enumerate(point.models)}
        reads = tuple(
            tuple(places[model] for model in known.get(digest, ()) if model in places)
            for digest in point.measures
        )
        points.append(point.model_copy(update={"reads": reads}))
    return sweep.model_copy(update={"points": tuple(points)})
