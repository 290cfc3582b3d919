"""How sure a phase is: what else it could have been, with other models of the same kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from llt_core.analysis.phases import PHASES, PhaseRule, facts_of
from llt_core.analysis.samples import Alike, Samples
from llt_core.analysis.table import CellTable, Column, Floats, Mask

DRAWS = 200


def phase_probabilities(
    table: CellTable, rule: PhaseRule | None = None, draws: int = DRAWS, seed: int = 0
) -> Floats:
    """Return the probability of each phase in each cell; shape (N, 6), the last undetermined.

    The models of a cell are drawn again from themselves. Metrics of one model follow how often
    it was drawn; those of a pair, the product for its two, so that a pair of a model with
    itself has no weight; those of a set, the product for all its members. All metrics of a cell
    see the same draw; cells are independent. Draws in which a metric has no pair left are
    passed over. Where a column has no samples in a cell, its standard error stands in, as that
    of a normal number (of a log-normal one for the Hessian trace), independent of other columns.

    A row of NaN means that nobody knows: a value the rule needs has neither samples of two
    models nor a standard error, or is one of pairs and the cell has fewer than three models: of
    two, every draw with a pair is the cell itself. Passing draws over makes the answer one given
    that a draw has a pair; of three models, 24 of 27 draws do.
    A missing value is no unknown one: it makes the cell
    undetermined, as far as the rule asks for it. A relative threshold is taken as the number
    that it means for the table as measured.

    Parameters
    ----------
    draws
        Resamples.
    """
    facts, columns = facts_of(table)
    rule = (rule or PhaseRule()).resolved(facts)
    result = np.full((len(table), len(PHASES) + 1), np.nan)
    possible = np.ones(len(table), dtype=np.bool_)
    for name in columns.values():
        column = table.columns[name]
        measured = Samples.of(column.samples).reading(1)
        possible &= measured | np.isfinite(column.standard_errors) | ~np.isfinite(column.values)
    possible &= ~_too_few_for_pairs(table, list(columns.values()))
    if possible.any():
        result[possible] = _probabilities(table.select(possible), rule, draws, seed)
    return result


def _too_few_for_pairs(table: CellTable, columns: Sequence[str]) -> Mask:
    """Return which cells have values of pairs, of fewer than three models; shape (N,)."""
    held = [Samples.of(table.columns[name].samples) for name in columns]
    paired = np.zeros(len(table), dtype=np.bool_)
    for samples in held:
        paired |= samples.reading(2)
    few: Mask = paired & (_models(held, len(table)).sum(axis=1) < 3)
    return few


def _models(columns: Sequence[Samples], rows: int) -> Mask:
    """Return which models the samples of each of N rows read, in all columns; shape (N, most)."""
    most = max((m + 1 for held in columns for read in held.models for m in read), default=0)
    found = np.zeros((rows, most), dtype=np.bool_)
    for held in columns:
        found |= held.read(most)
    return found


def _probabilities(table: CellTable, rule: PhaseRule, draws: int, seed: int) -> Floats:
    """Return the probabilities for cells of which something may be known, shape (n, 6)."""
    facts, columns = facts_of(table)
    pool = ModelDraws(table, list(columns.values()), draws, seed)
    drawn = {use: np.broadcast_to(facts[use][:, None], (len(table), draws)) for use in facts}
    known = np.ones(len(table), dtype=np.bool_)
    rng = np.random.default_rng([seed, 1])
    for use, name in columns.items():
        column = table.columns[name]
        values, sampled = pool.values(column)
        errors = column.standard_errors
        by_error = ~sampled & np.isfinite(errors) & np.isfinite(column.values)
        known &= sampled | by_error | ~np.isfinite(column.values)
        if not (sampled | by_error).any():
            continue
        noise = rng.standard_normal((len(table), draws))
        if use == "log_trace":
            values = _logarithm(values)
            with np.errstate(divide="ignore", invalid="ignore"):
                errors = np.where(column.values > 0, errors / column.values, errors)
        centre = facts[use][:, None]
        with np.errstate(invalid="ignore"):
            normal = np.where(by_error[:, None], centre + errors[:, None] * noise, centre)
        drawn[use] = np.where(sampled[:, None], values, normal)
    codes = rule.codes(**drawn)
    # A draw without any pair of two models says nothing; a value that is missing stays so.
    usable = pool.usable
    places = np.where(codes < 0, len(PHASES), codes)
    counts = np.stack(
        [((places == place) & usable).sum(axis=1) for place in range(len(PHASES) + 1)], axis=1
    )
    total = usable.sum(axis=1)
    known &= total > 0
    return np.where(known[:, None], counts / np.maximum(total, 1)[:, None], np.nan)


class ModelDraws:
    """The models of each cell drawn again, the same in all its columns.

    Cells with the same number of models take their draws from one pool, each in an order of its
    own: so they are independent of each other, and their means come from one matrix product.

    Parameters
    ----------
    columns
        Names of the columns that will be asked for; a draw that leaves one of them without
        any sample is not ``usable``.
    """

    def __init__(self, table: CellTable, columns: Sequence[str], draws: int, seed: int) -> None:
        self._rng = np.random.default_rng([seed, 0])
        self._draws = draws
        rows = len(table)
        self._samples = {name: Samples.of(table.columns[name].samples) for name in columns}
        places = _models(list(self._samples.values()), rows)
        self._models = (places * np.arange(1, places.shape[1] + 1)).max(axis=1, initial=0)
        order = self._rng.permuted(np.tile(np.arange(draws), (rows, 1)), axis=1)
        self._order: npt.NDArray[np.intp] = order.astype(np.intp)
        self._pools = {
            int(k): self._rng.multinomial(k, np.full(k, 1 / k), draws).astype(np.float64)
            for k in np.unique(self._models)
            if k > 1
        }
        self.usable = np.ones((rows, draws), dtype=np.bool_)
        self._values = {name: self._resampled(table.columns[name]) for name in columns}

    def values(self, column: Column) -> tuple[Floats, Mask]:
        """Return means in each draw, shape (N, draws), and the cells that have samples, (N,)."""
        return self._values[column.name]

    def _resampled(self, column: Column) -> tuple[Floats, Mask]:
        rows = len(column.values)
        result = np.full((rows, self._draws), np.nan)
        sampled = np.zeros(rows, dtype=np.bool_)
        for members, held, values in self._groups(column):
            k = int(self._models[held[0]])
            weights = np.ones((self._draws, len(members)))
            for place, models in enumerate(members):
                weights[:, place] = self._pools[k][:, list(models)].prod(axis=1)
            there = np.isfinite(values)
            if not there.any():
                continue
            total = there @ weights.T
            sums = np.where(there, values, 0.0) @ weights.T
            means = np.where(total > 0, sums / np.where(total > 0, total, 1.0), np.nan)
            has = there.any(axis=1)
            own = np.take_along_axis(means, self._order[held], axis=1)
            result[held] = own
            sampled[held] = has
            self.usable[held[has]] &= np.isfinite(own[has])
        return result, sampled

    def _groups(self, column: Column) -> Iterator[Alike]:
        """Yield rows with the same number of models, whose samples read the same of them."""
        for members, rows, values in self._samples[column.name].alike():
            for k in np.unique(self._models[rows]):
                mine = self._models[rows] == k
                if k > 1:
                    yield members, rows[mine], values[mine]


def _logarithm(values: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(values <= 0, -np.inf, np.log(values))
