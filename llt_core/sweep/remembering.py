"""A sweep as the store remembers it, and what of an earlier one by its name is lost to it."""

from __future__ import annotations

from datetime import UTC, datetime

from llt_core.spec import Named, SweepSpec
from llt_core.store.sweeps import SweepPoint, SweepRecord
from llt_core.sweep.look import models_of
from llt_core.sweep.plan import Plan, PlannedPoint


def sweep_record(spec: SweepSpec, plan: Plan, executor: Named, command: str) -> SweepRecord:
    """Return what the store is to remember of a sweep that is asked for now."""
    return SweepRecord(
        name=spec.name,
        title=spec.title,
        planned=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
        fields=spec.fields,
        kinds=spec.kinds,
        spec=spec.model_dump(mode="json", exclude_defaults=True),
        executor=executor.model_dump(mode="json"),
        points=tuple(_remembered(plan, point) for point in plan.points),
    )


def shrunk(old: SweepRecord | None, new: SweepRecord) -> str:
    """Say how much of what was remembered by this name no longer is; empty if nothing is lost."""
    cells = {*new.models, *new.measures}
    if old is None or cells.issuperset((*old.models, *old.measures)):
        return ""
    kept = sum(cells.issuperset((*p.models, *p.measures)) for p in old.points)
    return (
        f"the store now remembers {new.name} with {kept} of its former {len(old.points)} points "
        "as they were; nothing computed is lost, and --name keeps both"
    )


def _remembered(plan: Plan, point: PlannedPoint) -> SweepPoint:
    """Return a grid point, and which of its models each measurement reads."""
    places = {digest: place for place, digest in enumerate(point.trains)}
    return SweepPoint(
        values=dict(point.values),
        models=point.trains,
        measures=point.measures,
        reads=tuple(
            tuple(places[model] for model in models_of(plan[digest])) for digest in point.measures
        ),
    )
