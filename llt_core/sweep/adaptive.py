"""A sweep that measures part of its grid: the points where the phase is least sure.

Round after round, a few grid points go through the ordinary engine. What to measure next follows
from what the store holds and from nothing else, so that an interrupted sweep goes on as if it
had never stopped, and what other sweeps measured counts.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from llt_core.analysis.design import batch_size, next_batch, spread, start_size
from llt_core.analysis.phases import (
    CONNECTIVITY,
    PHASES,
    UNDETERMINED,
    PhaseRule,
    Verdicts,
    classify,
    facts_of,
)
from llt_core.analysis.simulate import cells_of
from llt_core.analysis.surrogate import Surrogate, unit_cube
from llt_core.analysis.table import Axis, CellTable, Column, Floats, Mask
from llt_core.errors import LltError, RequestError
from llt_core.interfaces import Executor
from llt_core.interfaces.composition import scalar
from llt_core.store import Record, Store
from llt_core.store.maps import Basis, MapPoint, PhaseMap, recall_map, remember_map
from llt_core.sweep.engine import Engine
from llt_core.sweep.look import look
from llt_core.sweep.plan import Plan, PlannedPoint
from llt_core.sweep.results import CellResult
from llt_core.sweep.summary import summarise

UNTOLD = 0.05
"""Share of the grid points that a round measures where the executor cannot tell its slots."""


@dataclass
class Adaptive:
    """Measures a grid in rounds until its budget is spent or its map is sure enough.

    Attributes
    ----------
    budget
        Share of the grid points that may be measured, those in the store included.
    stop_below
        Expected number of points with a wrong phase at which to stop; None: only the budget.
    batch
        Grid points that a round measures; None: :func:`~llt_core.analysis.design.batch_size`, and
        no fewer than keep the executor busy. The first round is the start, whatever its size.
    found
        The map, once there is one.
    """

    budget: float = 0.35
    stop_below: float | None = None
    rule: PhaseRule = field(default_factory=PhaseRule)
    batch: int | None = None
    found: PhaseMap | None = None

    def check(self, plan: Plan) -> None:
        """Refuse what cannot be done before anything is trained.

        Raises
        ------
        RequestError
            The budget is no share, or the sweep does not measure what tells phases apart.
        """
        if not 0 < self.budget <= 1:
            raise RequestError(
                f"a budget of {self.budget:g} of the grid points",
                where="--budget",
                expected="above 0, up to 1",
            )
        if self.batch is not None and self.batch < 1:
            raise RequestError(
                f"rounds of {self.batch} grid points", where="--round", expected="1 or more"
            )
        known = {quantity.name for m in plan.measures for quantity in m.metric.returns}
        wanted = ("train_loss", "hessian_trace", "cka")
        lacking = [name for name in wanted if name not in known]
        if known.isdisjoint(CONNECTIVITY):
            lacking.append(" or ".join(CONNECTIVITY))
        if lacking:
            raise RequestError(
                f"the sweep does not measure {', '.join(lacking)}, by which phases are told apart",
                where="metrics",
                expected=f"{', '.join(wanted)}, and {' or '.join(CONNECTIVITY)}",
                next_step="add them to the sweep file, or leave --adaptive out",
            )

    def allowed(self, plan: Plan) -> int:
        """Return how many grid points may be measured."""
        return cells_of(self.budget, len(plan.points))

    def run(self, engine: Engine, plan: Plan, fresh: Callable[[], Executor]) -> list[CellResult]:
        """Measure, and return what became of the cells that were looked at, in the plan's order.

        Parameters
        ----------
        fresh
            Makes an executor, one a round.
        """
        results: dict[str, CellResult] = {}
        grid = _Grid(plan)
        allowed = self.allowed(plan)
        batch = self.batch or max(batch_size(len(grid)), filling(engine.executor, plan))
        tried: set[int] = set()
        self.found = _interrupted(engine, grid)
        while True:
            if not engine.force:
                tried |= grid.in_store(engine.store)
            chosen, self.found = self._next(grid, engine, tried, allowed, batch)
            if self.found.name:
                remember_map(engine.store, self.found)
            if not chosen:
                break
            engine.listener.noted(_told(self.found, len(tried), len(chosen)))
            engine.executor = fresh()
            ended = engine.run(part_of(plan, chosen))
            results |= {result.planned.digest: result for result in ended}
            tried |= set(chosen)
            if engine.policy.fail_fast and any(result.origin == "failed" for result in ended):
                break
        rest = part_of(plan, sorted(tried))
        for digest, record in look(rest, engine.store).found.items():
            results.setdefault(digest, CellResult(plan[digest], "cached", record))
        return [results[cell.digest] for cell in plan.cells if cell.digest in results]

    def _next(
        self, grid: _Grid, engine: Engine, tried: set[int], allowed: int, batch: int
    ) -> tuple[list[int], PhaseMap]:
        """Return the points to measure next, none if it is enough, and the map so far."""
        table = grid.table(engine.sweep, engine.store, tried)
        verdicts = classify(table, self.rule)
        facts, _ = facts_of(table)
        seen = np.zeros(len(grid), dtype=bool)
        seen[sorted(tried)] = True
        surrogate = Surrogate.given(grid.places, facts, seen, self.rule)
        likely = surrogate.answers[:, None] * surrogate.probabilities()
        found = self._map(engine.sweep, grid, verdicts, likely, seen, allowed)
        left = allowed - len(tried)
        if left <= 0:
            return [], found.model_copy(update={"stopped": "the budget is spent"})
        begun = [*grid.start(), *(self.found.ahead if self.found is not None else ())]
        chosen = [row for row in dict.fromkeys(begun) if row not in tried][:left]
        if not chosen:
            if self.stop_below is not None and found.expected_wrong < self.stop_below:
                why = f"fewer than {self.stop_below:g} wrong phases are expected"
                return [], found.model_copy(update={"stopped": why})
            chosen = next_batch(surrogate, seen, min(left, batch))
        return chosen, found.model_copy(update={"ahead": tuple(chosen)})

    def _map(
        self,
        name: str,
        grid: _Grid,
        verdicts: Verdicts,
        likely: Floats,
        seen: Mask,
        allowed: int,
    ) -> PhaseMap:
        points = []
        for row, values in enumerate(grid.values):
            code, sure, basis = int(verdicts.codes[row]), likely[row], _basis(verdicts, seen, row)
            if basis != "inferred":
                sure = np.eye(len(PHASES))[code] * (code != UNDETERMINED)
            has_none = basis == "open" or 1 - sure.sum() > sure.max()
            points.append(
                MapPoint(
                    values=values,
                    phase="" if has_none else PHASES[int(np.argmax(sure))],
                    probabilities=tuple(float(p) for p in sure),
                    basis=basis,
                )
            )
        return PhaseMap(
            name=name,
            rule=verdicts.rule.model_dump(),
            phases=PHASES,
            allowed=allowed,
            points=tuple(points),
        )


class _Grid:
    """The points of a plan, and what the store holds of them."""

    def __init__(self, plan: Plan) -> None:
        self.points: tuple[PlannedPoint, ...] = plan.points
        self._plan = plan
        self._axes = tuple(
            Axis(name, tuple(scalar(point.values[name]) for point in plan.points))
            for name in plan.points[0].values
        )
        self.places = unit_cube(self._axes)

    def __len__(self) -> int:
        return len(self.points)

    @property
    def values(self) -> list[dict[str, Any]]:
        """The varied fields of each point."""
        return [{axis.name: axis.values[row] for axis in self._axes} for row in range(len(self))]

    def start(self) -> list[int]:
        """Return the points to begin with: drawn from what the sweep asks for, always the same."""
        told = "".join(digest for point in self.points for digest in point.measures)
        seed = int.from_bytes(hashlib.sha256(told.encode()).digest()[:8], "big")
        generator = np.random.default_rng(seed)
        return spread(self.places, start_size(len(self)), generator)

    def in_store(self, store: Store) -> set[int]:
        """Return the points of which nothing is left to do."""
        todo = look(self._plan, store).todo
        return {
            row
            for row, point in enumerate(self.points)
            if not any(digest in todo for digest in (*point.trains, *point.measures))
        }

    def table(self, name: str, store: Store, rows: set[int]) -> CellTable:
        """Return the table of what was measured at some points, NaN elsewhere."""
        columns: dict[str, Floats] = {}
        for row in sorted(rows):
            for quantity, value in self._means(store, self.points[row].measures).items():
                columns.setdefault(quantity, np.full(len(self), np.nan))[row] = value
        return CellTable(
            name, self._axes, {name: Column(name, values) for name, values in columns.items()}
        )

    @staticmethod
    def _means(store: Store, measures: Sequence[str]) -> Mapping[str, float]:
        found = ((digest, store.read(digest)) for digest in measures)
        records: dict[str, Record] = {digest: r for digest, r in found if r is not None}
        means = summarise(measures, records, every=True)
        return {name: mean.value for name, mean in means.items() if mean.value is not None}


def _basis(verdicts: Verdicts, seen: Mask, row: int) -> Basis:
    if not seen[row]:
        return "inferred"
    return "open" if verdicts.codes[row] == UNDETERMINED else "measured"


def _interrupted(engine: Engine, grid: _Grid) -> PhaseMap | None:
    """Return the map that an earlier run left, if it is one of the same grid."""
    try:
        found = recall_map(engine.store, engine.sweep) if engine.sweep else None
    except LltError:  # a file nobody can read: written anew
        return None
    same = found is not None and [p.values for p in found.points] == grid.values
    return found if same else None


def filling(executor: Executor, plan: Plan) -> int:
    """Return of how many grid points the models keep an executor busy."""
    slots = executor.at_once()
    if slots is None:
        return round(UNTOLD * len(plan.points))
    return math.ceil(slots * len(plan.points) / len(plan.trains))


def part_of(plan: Plan, rows: Sequence[int]) -> Plan:
    """Return the plan of some of the grid points."""
    points = tuple(plan.points[row] for row in rows)
    trains = {digest for point in points for digest in point.trains}
    measures = {digest for point in points for digest in point.measures}
    return Plan(
        tuple(planned for planned in plan.trains if planned.digest in trains),
        tuple(planned for planned in plan.measures if planned.digest in measures),
        points,
    )


def _told(found: PhaseMap, tried: int, chosen: int) -> str:
    sure = f", {found.expected_wrong:.1f} wrong phases expected" if tried else ""
    return (
        f"{tried} of {len(found.points)} grid points tried{sure}; "
        f"next {chosen}, of {found.allowed} that the budget allows"
    )
