"""A plan: the cells of a request, each with its digest, and which reads which."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, cast

from llt_core.interfaces import Metric, Task
from llt_core.plugins import Catalogue
from llt_core.spec import MeasureCell, Pairs, PluginRef, RunSpec, TrainCell, digest
from llt_core.spec.naming import label
from llt_core.sweep.compose import Composition, Part, compose


@dataclass(frozen=True)
class PlannedCell:
    """A cell with its digest and every parameter spelt out for the record."""

    digest: str
    cell: TrainCell | MeasureCell
    composition: dict[str, Any]

    @property
    def label(self) -> str:
        """A few words for tables and progress lines."""
        return label(self.cell, self.composition)


@dataclass(frozen=True)
class Plan:
    """Train cells and the measure cells that read them."""

    composition: Composition
    trains: tuple[PlannedCell, ...]
    measures: tuple[PlannedCell, ...]
    _by_digest: dict[str, PlannedCell] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._by_digest.update({planned.digest: planned for planned in self.cells})

    @property
    def cells(self) -> tuple[PlannedCell, ...]:
        """All cells, models first."""
        return (*self.trains, *self.measures)

    @property
    def task(self) -> Task:
        """The task whose data the cells need."""
        return self.composition.the_task

    def metric(self, cell: MeasureCell) -> Metric:
        """Return the metric that ``cell`` names."""
        parts = self.composition.metrics
        return next(cast(Metric, p.component) for p in parts if p.ref() == cell.metric)

    def __getitem__(self, digest: str) -> PlannedCell:
        """Return the cell with this digest."""
        return self._by_digest[digest]


def make_plan(spec: RunSpec, catalogue: Catalogue, data_root: Path) -> Plan:
    """Turn a request into cells; nothing is trained and torch is not imported.

    Where the task does not pin its data, the files are fingerprinted here, because they
    are part of each cell's identity.

    Raises
    ------
    LltError
        See :func:`llt_core.sweep.compose.compose`; or unpinned data files are missing.
    """
    composition = compose(spec, catalogue)
    data = None
    if not composition.the_task.pinned():
        composition.the_task.prepare(data_root)
        data = composition.the_task.fingerprint(data_root)
    seeds = range(spec.seed, spec.seed + spec.models)
    trains = tuple(_train_cell(composition, data, seed) for seed in seeds)
    measures = {
        planned.digest: planned
        for metric in composition.metrics
        for group in _groups(cast(Metric, metric.component), trains, spec.pairs)
        for planned in [_measure_cell(composition, metric, group)]
    }
    return Plan(composition, trains, tuple(measures.values()))


def _train_cell(composition: Composition, data: str | None, seed: int) -> PlannedCell:
    recipe = composition.recipe
    cell = TrainCell(
        task=composition.task.ref(),
        data=data,
        architecture=composition.architecture.ref(),
        perturbations=tuple(part.ref() for part in composition.perturbations),
        training=PluginRef(name="recipe", version=recipe.version, parameters=recipe.non_defaults()),
        seed=seed,
    )
    return PlannedCell(digest(cell), cell, _full(composition, [seed]))


def _measure_cell(
    composition: Composition, metric: Part, models: tuple[PlannedCell, ...]
) -> PlannedCell:
    cell = MeasureCell(metric=metric.ref(), models=tuple(model.digest for model in models))
    seeds = [model.composition["seeds"][0] for model in models]
    return PlannedCell(digest(cell), cell, _full(composition, seeds) | {"metric": metric.full()})


def _full(composition: Composition, seeds: list[int]) -> dict[str, Any]:
    return {
        "task": composition.task.full(),
        "architecture": composition.architecture.full(),
        "perturbations": [part.full() for part in composition.perturbations],
        "train": composition.recipe.model_dump(mode="json"),
        "seeds": seeds,
    }


def _groups(
    metric: Metric, trains: tuple[PlannedCell, ...], pairs: Pairs
) -> list[tuple[PlannedCell, ...]]:
    """Return the groups of models one metric reads: each, the chosen pairs, or all of them."""
    match metric.scope:
        case "model":
            return [(train,) for train in trains]
        case "pair":
            return _pairs(trains, pairs)
        case "set":
            return [trains]


def _pairs(trains: tuple[PlannedCell, ...], pairs: Pairs) -> list[tuple[PlannedCell, ...]]:
    """Return pairs in the order of their seeds, so that one pair is one cell however chosen."""
    everyone: list[tuple[PlannedCell, ...]] = list(combinations(trains, 2))
    if pairs == "first":
        return everyone[:1]
    if pairs == "ring":
        last = len(trains) - 1
        at = {train.digest: index for index, train in enumerate(trains)}
        return [(a, b) for a, b in everyone if at[b.digest] - at[a.digest] in (1, last)]
    return everyone
