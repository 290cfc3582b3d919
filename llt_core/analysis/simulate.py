"""Designs replayed on a complete table: how many cells carry the right phase at each budget."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from llt_core.analysis.design import (
    DESIGNS,
    Design,
    batch_size,
    next_batch,
    spread,
    start_size,
)
from llt_core.analysis.phases import UNDETERMINED, Codes, PhaseRule, classify, facts_of
from llt_core.analysis.surrogate import Surrogate, unit_cube
from llt_core.analysis.table import CellTable, Floats, Mask
from llt_core.errors import RequestError

BUDGETS = (0.2, 0.3, 0.4)


@dataclass(frozen=True)
class Grid:
    """The cells of a table whose phase is known: their places, quantities and phases."""

    places: Floats
    facts: Mapping[str, Floats]
    codes: Codes
    rule: PhaseRule

    @classmethod
    def of(cls, table: CellTable, rule: PhaseRule | None = None) -> Grid:
        """Return the grid of a table under ``rule``, undetermined cells left out.

        Raises
        ------
        RequestError
            No cell has a phase.
        """
        verdicts = classify(table, rule)
        known = verdicts.codes != UNDETERMINED
        if not known.any():
            raise RequestError(
                f"no cell of the table {table.name} has a phase",
                where=verdicts.reasons[0] if verdicts.reasons else "",
                expected="columns train_loss, hessian_trace, mode_connectivity and cka",
                next_step="llt phases says what each cell lacks",
            )
        facts, _ = facts_of(table)
        return cls(
            unit_cube(table.axes)[known],
            {name: values[known] for name, values in facts.items()},
            verdicts.codes[known],
            rule or PhaseRule(),
        )

    def __len__(self) -> int:
        return len(self.codes)


def cells_of(budget: float, cells: int) -> int:
    """Return how many of ``cells`` a budget, a share of them, allows: at least one.

    >>> cells_of(0.2, 91), cells_of(0.3, 10), cells_of(0.2, 3)
    (18, 3, 1)
    """
    return max(1, int(budget * cells + 1e-9))


def replay(grid: Grid, design: Design, budgets: Sequence[float], seed: int) -> tuple[float, ...]:
    """Return the share of all cells with the right phase at each budget, measured cells right.

    The choices at one budget are those at a larger one, up to there. Equal seeds give equal
    first cells of ``adaptive`` and ``space_filling``.
    """
    stops = [cells_of(budget, len(grid)) for budget in budgets]
    order = order_of(grid, design, max(stops), seed)
    return tuple(_accuracy(grid, order[:stop]) for stop in stops)


def order_of(grid: Grid, design: Design, count: int, seed: int) -> list[int]:
    """Return the first ``count`` cells that a design measures, in order."""
    generator = np.random.default_rng(seed)
    if design == "random":
        return [int(cell) for cell in generator.permutation(len(grid))[:count]]
    if design == "space_filling":
        return spread(grid.places, count, generator)
    order = spread(grid.places, start_size(len(grid)), generator)
    while len(order) < count:
        surrogate, measured = _fitted(grid, order)
        order += next_batch(surrogate, measured, batch_size(len(grid)))
    return order[:count]


def _fitted(grid: Grid, cells: Sequence[int]) -> tuple[Surrogate, Mask]:
    measured = np.zeros(len(grid), dtype=bool)
    measured[cells] = True
    return Surrogate.given(grid.places, grid.facts, measured, grid.rule), measured


def _accuracy(grid: Grid, cells: Sequence[int]) -> float:
    surrogate, measured = _fitted(grid, cells)
    guess = np.where(measured, grid.codes, surrogate.probabilities().argmax(axis=1))
    return float(np.mean(guess == grid.codes))
