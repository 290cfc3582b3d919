"""A plan: the cells of a request, each with its digest, and which reads which."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, cast

from llt_core.errors import LltError, RequestError
from llt_core.fields import short_fields
from llt_core.interfaces import Metric, Task
from llt_core.plugins import Catalogue
from llt_core.spec import (
    MeasureCell,
    Pairs,
    PluginRef,
    Point,
    RunSpec,
    SweepSpec,
    TrainCell,
    digest,
)
from llt_core.spec.naming import label
from llt_core.sweep.compose import Composer, Composition, Part

MOST_CELLS = 10_000_000
"""Cells of one plan: more is a slip of the pen, and would take hours to plan."""


@dataclass(frozen=True)
class PlannedCell:
    """A cell with its digest and every parameter spelt out for the record.

    Attributes
    ----------
    parts
        The components that compute it.
    family
        Equal for the models that differ in their seed alone, and for what is measured on them.
    point
        The values of the varied fields in a few words: those of the first grid point that
        asks for this cell. Empty for a run.
    """

    digest: str
    cell: TrainCell | MeasureCell
    composition: dict[str, Any]
    parts: Composition = field(compare=False, repr=False)
    family: str
    point: str = ""

    @property
    def label(self) -> str:
        """A few words for tables and progress lines."""
        name = label(self.cell, self.composition)
        return f"{name} ({self.point})" if self.point else name

    @property
    def task(self) -> Task:
        """The task whose data the cell needs."""
        return self.parts.the_task

    @property
    def metric(self) -> Metric:
        """The metric of a measure cell."""
        assert isinstance(self.cell, MeasureCell)
        wanted = self.cell.metric
        return next(cast(Metric, p.component) for p in self.parts.metrics if p.ref() == wanted)


@dataclass(frozen=True)
class PlannedPoint:
    """One grid point: the values of the varied fields, and the digests of its cells."""

    values: Mapping[str, Any]
    trains: tuple[str, ...]
    measures: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """Train cells and the measure cells that read them, each once, and the grid they fill.

    The plan of a run has one point without values.
    """

    trains: tuple[PlannedCell, ...]
    measures: tuple[PlannedCell, ...]
    points: tuple[PlannedPoint, ...]
    _by_digest: dict[str, PlannedCell] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._by_digest.update({planned.digest: planned for planned in self.cells})

    @property
    def cells(self) -> tuple[PlannedCell, ...]:
        """All cells, models first."""
        return (*self.trains, *self.measures)

    def __getitem__(self, digest: str) -> PlannedCell:
        """Return the cell with this digest."""
        return self._by_digest[digest]

    def __contains__(self, digest: object) -> bool:
        """Whether the plan has a cell with this digest."""
        return digest in self._by_digest

    def in_order(self) -> Iterator[PlannedCell]:
        """Yield the models in the order in which to train them, one grid point after another.

        The first points lie all over the grid (van der Corput 1935), so that an unfinished
        sweep shows a coarse map and its cells tell what the others will cost.
        """
        seen: set[str] = set()
        for index in _spread(len(self.points)):
            for name in self.points[index].trains:
                if name not in seen:
                    seen.add(name)
                    yield self[name]


def make_plan(spec: RunSpec | SweepSpec, catalogue: Catalogue, data_root: Path) -> Plan:
    """Turn a request into cells; nothing is trained and torch is not imported.

    Where a task does not pin its data, the files are fingerprinted here, once for all cells,
    because they are part of each cell's identity. Cells that coincide are one.

    Raises
    ------
    LltError
        See :meth:`llt_core.sweep.compose.Composer.compose`; or unpinned data files are missing.
        For a sweep it names the grid point.
    """
    if isinstance(spec, RunSpec):
        return _Planner(catalogue, data_root).plan([Point({}, spec)])
    base = spec.base
    if base.architecture is None:  # architecture.width then speaks of the task's own
        own = Composer(catalogue).architecture(base)
        spec = spec.model_copy(update={"base": base.model_copy(update={"architecture": own})})
    return _Planner(catalogue, data_root).plan(spec.points())


class _Planner:
    """Gathers the cells of grid points."""

    def __init__(self, catalogue: Catalogue, data_root: Path) -> None:
        self._composer = Composer(catalogue)
        self._data_root = data_root
        self._data: dict[int, str | None] = {}
        self._families: dict[tuple[Any, ...], list[PlannedCell]] = {}
        self._trains: dict[str, PlannedCell] = {}
        self._measures: dict[str, PlannedCell] = {}

    def plan(self, points: Iterable[Point]) -> Plan:
        points = tuple(points)
        _check_size(points)
        short = short_fields(points[0].values)
        planned = []
        for point in points:
            name = ", ".join(f"{short[path]}={value}" for path, value in point.values.items())
            try:
                planned.append(self._point(point, name))
            except LltError as error:
                if name:
                    error.where = f"grid point {name}" + (f"; {error.where}" if error.where else "")
                raise
        return Plan(tuple(self._trains.values()), tuple(self._measures.values()), tuple(planned))

    def _point(self, point: Point, name: str) -> PlannedPoint:
        spec = point.spec
        parts = self._composer.compose(spec)
        trains = self._models(parts, spec, name)
        measures: dict[str, None] = {}
        for asked, metric in zip(spec.metrics, parts.metrics, strict=True):
            pairs = spec.pairs_of(asked.name)
            for group in _groups(cast(Metric, metric.component), trains, pairs):
                measures[self._measure(metric, group, parts, name)] = None
        return PlannedPoint(point.values, tuple(t.digest for t in trains), tuple(measures))

    def _models(self, parts: Composition, spec: RunSpec, name: str) -> tuple[PlannedCell, ...]:
        recipe = parts.recipe
        components = (parts.task, parts.architecture, *parts.perturbations)
        key = (*map(id, components), id(recipe), spec.seed, spec.models)
        if key not in self._families:
            template = TrainCell(
                task=parts.task.ref(),
                data=self._fingerprint(parts),
                architecture=parts.architecture.ref(),
                perturbations=tuple(part.ref() for part in parts.perturbations),
                training=PluginRef(
                    name="recipe", version=recipe.version, parameters=recipe.non_defaults()
                ),
                seed=0,
            )
            family = digest(template)
            found = []
            for seed in range(spec.seed, spec.seed + spec.models):
                cell = template.model_copy(update={"seed": seed})
                planned = PlannedCell(digest(cell), cell, _full(parts, [seed]), parts, family, name)
                found.append(self._trains.setdefault(planned.digest, planned))
            self._families[key] = found
        return tuple(self._families[key])

    def _measure(
        self, metric: Part, models: tuple[PlannedCell, ...], parts: Composition, name: str
    ) -> str:
        cell = MeasureCell(metric=metric.ref(), models=tuple(model.digest for model in models))
        found = digest(cell)
        if found not in self._measures:
            seeds = [model.composition["seeds"][0] for model in models]
            full = _full(parts, seeds) | {"metric": metric.full()}
            self._measures[found] = PlannedCell(found, cell, full, parts, models[0].family, name)
        return found

    def _fingerprint(self, parts: Composition) -> str | None:
        """Return the fingerprint of files that the task does not pin, computed once a task."""
        task, key = parts.the_task, id(parts.task)
        if key not in self._data:
            self._data[key] = None
            if not task.pinned():
                task.prepare(self._data_root)
                self._data[key] = task.fingerprint(self._data_root)
        return self._data[key]


def _check_size(points: Iterable[Point]) -> None:
    count = sum(p.spec.models * (1 + len(p.spec.metrics)) for p in points)
    if count > MOST_CELLS:
        raise RequestError(
            f"the request comes to {count:,} cells, or more",
            where="models",
            expected=f"at most {MOST_CELLS:,}",
            next_step="fewer models, or fewer grid points",
        )


def _full(composition: Composition, seeds: list[int]) -> dict[str, Any]:
    return {
        "task": composition.task.full(),
        "architecture": composition.architecture.full(),
        "perturbations": [part.full() for part in composition.perturbations],
        "train": composition.training(),
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


def _spread(count: int) -> list[int]:
    """Return 0 … count − 1 in an order whose beginnings are spread evenly, the middle first.

    >>> _spread(8)
    [4, 2, 6, 1, 5, 3, 7, 0]
    """
    bits = max(count - 1, 1).bit_length()
    reversed_ = (int(f"{index:0{bits}b}"[::-1], 2) for index in range(1, 2**bits))
    scaled = (index * count >> bits for index in reversed_)
    return list(dict.fromkeys((*scaled, *range(count))))
