"""Designs replayed on a complete table: how many cells carry the right phase at each budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
from llt_core.analysis.pool import Told, alone, together
from llt_core.analysis.surrogate import Surrogate, unit_cube
from llt_core.analysis.table import CellTable, Floats, Mask
from llt_core.errors import RequestError

BUDGETS = (0.2, 0.3, 0.4)


@dataclass(frozen=True)
class Grid:
    """The cells of a complete table: their places, quantities and phases."""

    places: Floats
    facts: Mapping[str, Floats]
    codes: Codes
    rule: PhaseRule

    @classmethod
    def of(cls, table: CellTable, rule: PhaseRule | None = None, *, whole: bool = False) -> Grid:
        """Return the grid of a table under ``rule``.

        Undetermined cells are left out, unless it is to be ``whole``: then they can be chosen,
        and tell nothing.

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
        kept = known | whole
        return cls(
            unit_cube(table.axes)[kept],
            {name: values[kept] for name, values in facts.items()},
            verdicts.codes[kept],
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


class Replay(NamedTuple):
    """The share of all cells with the right phase, and what was expected of it, by budget."""

    right: tuple[float, ...]
    expected: tuple[float, ...]


def replay(
    grid: Grid,
    design: Design,
    budgets: Sequence[float],
    seed: int,
    batch: int | None = None,
    told: Told = lambda cells: None,
) -> Replay:
    """Return the share of all cells with the right phase at each budget, measured cells right.

    Cells that have no phase are not among them, though they may have been measured.

    The choices at one budget are those at a larger one, up to there. Equal seeds give equal
    first cells of ``adaptive`` and ``space_filling``.

    Parameters
    ----------
    batch
        Cells that ``adaptive`` chooses at a time; None: :func:`batch_size`.
    told
        Called with the number of cells whenever some have been chosen.
    """
    stops = [cells_of(budget, len(grid)) for budget in budgets]
    order: list[int] = []
    for chosen in _rounds(grid, design, max(stops), seed, batch):
        order += chosen
        told(len(chosen))
    right, expected = zip(*(_shares(grid, order[:stop]) for stop in stops), strict=True)
    return Replay(right, expected)


def order_of(
    grid: Grid, design: Design, count: int, seed: int, batch: int | None = None
) -> list[int]:
    """Return the first ``count`` cells that a design measures, in order."""
    return [cell for chosen in _rounds(grid, design, count, seed, batch) for cell in chosen]


def _rounds(
    grid: Grid, design: Design, count: int, seed: int, batch: int | None
) -> Iterator[list[int]]:
    generator = np.random.default_rng(seed)
    if design == "random":
        yield [int(cell) for cell in generator.permutation(len(grid))[:count]]
    elif design == "space_filling":
        yield spread(grid.places, count, generator)
    else:
        order = spread(grid.places, start_size(len(grid)), generator)[:count]
        yield order
        while len(order) < count:
            surrogate, measured = _fitted(grid, order)
            size = min(batch or batch_size(len(grid)), count - len(order))
            chosen = next_batch(surrogate, measured, size)
            yield chosen
            order = order + chosen


def _fitted(grid: Grid, cells: Sequence[int]) -> tuple[Surrogate, Mask]:
    measured = np.zeros(len(grid), dtype=bool)
    measured[cells] = True
    return Surrogate.given(grid.places, grid.facts, measured, grid.rule), measured


def _shares(grid: Grid, cells: Sequence[int]) -> tuple[float, float]:
    """Return the share of the cells with the right phase, and what was expected of it."""
    surrogate, measured = _fitted(grid, cells)
    likely, known = surrogate.probabilities(), grid.codes != UNDETERMINED
    right = measured | (likely.argmax(axis=1) == grid.codes)
    expected = np.where(measured, 1.0, likely.max(axis=1))
    return float(np.mean(right[known])), float(np.mean(expected[known]))


@dataclass(frozen=True)
class Outcome:
    """How one design did.

    Attributes
    ----------
    shares
        Of all cells, those with the right phase, shape (starts, budgets).
    expected
        What the processes expected the shares to be, shape (starts, budgets).
    """

    design: Design
    shares: Floats
    expected: Floats

    @property
    def means(self) -> Floats:
        """Over the starts, shape (budgets,)."""
        return np.asarray(self.shares.mean(axis=0))

    @property
    def standard_errors(self) -> Floats:
        """Of the means, shape (budgets,); NaN for a single start."""
        starts = len(self.shares)
        if starts < 2:
            return np.full(self.shares.shape[1], np.nan)
        return np.asarray(self.shares.std(axis=0, ddof=1) / np.sqrt(starts))


@dataclass(frozen=True)
class Simulation:
    """Designs replayed on one table.

    Attributes
    ----------
    cells, left_out
        Cells with a phase, which are all that is looked at, and those without.
    budgets, measured
        Shares of the cells, and the numbers of cells that these are.
    """

    table: str
    origin: str
    rule: PhaseRule
    cells: int
    left_out: int
    budgets: tuple[float, ...]
    measured: tuple[int, ...]
    starts: int
    seed: int
    outcomes: tuple[Outcome, ...]


def simulate(
    table: CellTable,
    *,
    budgets: Sequence[float] = BUDGETS,
    designs: Sequence[Design] = DESIGNS,
    starts: int = 20,
    seed: int = 0,
    batch: int | None = None,
    rule: PhaseRule | None = None,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Simulation:
    """Replay designs on a complete table, each from ``starts`` random starts.

    Parameters
    ----------
    budgets
        Shares of the cells that may be measured, above 0 and at most 1.
    seed
        Of the first start; the others follow.
    batch
        Cells that ``adaptive`` chooses at a time; None: 2 % of them.
    jobs
        Processes to work with.
    progress
        Told after every round how many cells have been chosen, and of how many, over all replays.

    Raises
    ------
    RequestError
        A number is out of its range, or no cell has a phase.
    """
    _check(budgets, designs, starts, batch, jobs)
    grid = Grid.of(table, rule)
    work = [(design, seed + start) for design in designs for start in range(starts)]
    measured = tuple(cells_of(budget, len(grid)) for budget in budgets)
    done, total = 0, len(work) * max(measured)

    def told(cells: int) -> None:
        nonlocal done
        done += cells
        if progress is not None and cells:
            progress(done, total)

    calls = [(grid, design, tuple(budgets), seed, batch) for design, seed in work]
    replays = together(replay, calls, jobs, told) if jobs > 1 else alone(replay, calls, told)
    right, expected = (
        np.array(part).reshape(len(designs), starts, len(budgets))
        for part in zip(*replays, strict=True)
    )
    return Simulation(
        table=table.name,
        origin=table.origin,
        rule=grid.rule,
        cells=len(grid),
        left_out=len(table) - len(grid),
        budgets=tuple(budgets),
        measured=measured,
        starts=starts,
        seed=seed,
        outcomes=tuple(map(Outcome, designs, right, expected)),
    )


def _check(
    budgets: Sequence[float], designs: Sequence[str], starts: int, batch: int | None, jobs: int
) -> None:
    for budget in budgets:
        if not 0 < budget <= 1:
            raise RequestError(
                f"a budget of {budget:g} of the cells", where="budget", expected="above 0, up to 1"
            )
    for design in designs:
        if design not in DESIGNS:
            raise RequestError(
                f"unknown design {design!r}",
                where="designs",
                expected=f"one or more of {', '.join(DESIGNS)}",
            )
    for name, number in (("starts", starts), ("batch", batch), ("jobs", jobs)):
        if number is not None and number < 1:
            raise RequestError(f"{number} {name}", where=name, expected="1 or more")
    if not budgets or not designs:
        raise RequestError("nothing to replay", expected="a budget and a design, or more")
