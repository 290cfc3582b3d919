"""What a plan will cost, judged by the cells already in the store."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from llt_core.spec import MeasureCell, TrainCell
from llt_core.store import Record
from llt_core.sweep.plan import Plan, PlannedCell


@dataclass(frozen=True)
class Estimate:
    """Seconds and bytes of some cells; ``unknown`` counts those nothing is known of."""

    seconds: float
    unknown: int
    checkpoint_bytes: int


def estimate(plan: Plan, todo: Iterable[PlannedCell], past: Iterable[Record]) -> Estimate:
    """Estimate the time and disk of the cells in ``todo``.

    Time is the median of past cells that did the same work (for training: per epoch of the
    same task, architecture and batch size; for measuring: the same metric on the same
    models). A metric that was never measured there is judged by its declared cost, counted
    in epochs of training: one is worth about three forward passes over the split. Disk is
    the size of the checkpoints, from the model itself.
    """
    rates: dict[str, list[float]] = {}
    for record in past:
        work = _work(record.composition, record.cell)
        units = len(record.history) if isinstance(record.cell, TrainCell) else 1
        if units:
            rates.setdefault(work, []).append(record.seconds / units)
    todo = list(todo)
    seconds, unknown = 0.0, 0
    for planned in todo:
        guess = _seconds(plan, planned, rates)
        seconds += guess or 0.0
        unknown += guess is None
    models = sum(isinstance(planned.cell, TrainCell) for planned in todo)
    return Estimate(seconds, unknown, models * _model_bytes(plan) if models else 0)


def _seconds(plan: Plan, planned: PlannedCell, rates: dict[str, list[float]]) -> float | None:
    """Return the seconds one cell should take, None when nothing like it was ever done."""
    known = rates.get(_work(planned.composition, planned.cell))
    if isinstance(planned.cell, TrainCell):
        return median(known) * plan.composition.recipe.epochs if known else None
    if known:
        return median(known)
    epoch = rates.get(_work(plan.trains[0].composition, plan.trains[0].cell))
    metric = plan.metric(planned.cell)
    return metric.cost(plan.task.describe()) * median(epoch) / 3 if epoch else None


def _work(composition: dict[str, Any], cell: TrainCell | MeasureCell) -> str:
    """Name the work of a cell by everything its duration mainly depends on."""
    parts = [composition["task"]["name"], composition["architecture"], composition["perturbations"]]
    if isinstance(cell, MeasureCell):
        parts.append(composition["metric"])
    else:
        parts += [composition["train"]["batch_size"], composition["train"]["dtype"]]
    return repr(parts)


def _model_bytes(plan: Plan) -> int:
    """Return the size of one checkpoint, from shapes alone (no memory is allocated)."""
    import torch

    with torch.device("meta"):
        model = plan.composition.the_architecture.build(plan.task.describe())
    return sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))
