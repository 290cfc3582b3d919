"""Which cells to measure next, so that few measurements tell the phase of all cells.

A start that fills the space, then batches. A batch is filled one cell after the other, each time
with the cell whose measurement is expected to leave the fewest cells with the wrong phase: its
own, and those whose quantities vary with its own (expected error reduction, Roy and McCallum
2001). What is expected is an average over a few values that the measurement may have. Where it may
tell no phase at all, it tells that much less, and that much less can be wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from llt_core.analysis.surrogate import QUANTITIES, Surrogate
from llt_core.analysis.table import Floats, Mask

Design = Literal["adaptive", "random", "space_filling"]
DESIGNS: tuple[Design, ...] = ("adaptive", "random", "space_filling")

START = 0.08
"""Share of the cells that the start measures."""
FEWEST = 5
"""Cells that the start measures at least."""
BATCH = 0.02
"""Share of the cells that a batch measures."""
CANDIDATES = 20
"""Cells whose measurement is looked at in advance: those whose phase is least sure."""
OUTCOMES = 4
"""Values that a measurement looked at in advance is given."""
WATCHED = 1000
"""Cells that are looked at for what a measurement tells of them, those least sure."""

Indices = npt.NDArray[np.intp]


def start_size(cells: int) -> int:
    """Return how many of ``cells`` the start measures.

    >>> [start_size(cells) for cells in (3, 25, 91, 169)]
    [3, 5, 7, 14]
    """
    return min(cells, max(FEWEST, round(START * cells)))


def batch_size(cells: int) -> int:
    """Return how many of ``cells`` a batch measures.

    >>> [batch_size(cells) for cells in (3, 25, 91, 169)]
    [1, 1, 2, 3]
    """
    return max(1, round(BATCH * cells))


def spread(places: Floats, count: int, generator: np.random.Generator) -> list[int]:
    """Return ``count`` cells that fill the space: a random one, then always the farthest.

    Parameters
    ----------
    places
        Of all cells, shape (N, d).

    Notes
    -----
    Gonzalez (1985): the largest distance of a cell from the nearest of them is at most twice
    the smallest possible. Ties are broken at random.

    >>> spread(np.linspace(0, 1, 9)[:, None], 3, np.random.default_rng(0))
    [7, 0, 4]
    """
    chosen = [int(generator.integers(len(places)))]
    nearest = np.full(len(places), np.inf)
    tie = 1e-9 * generator.random(len(places))
    while len(chosen) < count:
        nearest = np.minimum(nearest, ((places - places[chosen[-1]]) ** 2).sum(axis=1))
        nearest[chosen] = -1
        chosen.append(int(np.argmax(nearest + tie)))
    return chosen


def next_batch(surrogate: Surrogate, measured: Mask, count: int) -> list[int]:
    """Return the ``count`` cells to measure next, or all that are left if these are fewer.

    Parameters
    ----------
    measured
        Which of the N cells are measured, shape (N,).
    """
    left = np.flatnonzero(~measured)
    unsure = surrogate.answers[left] * (1 - surrogate.probabilities()[left].max(axis=1))
    watched = left[np.argsort(-unsure, kind="stable")[: max(WATCHED, count)]]
    ahead = _LookAhead.over(surrogate, watched)
    chosen: list[int] = []
    while len(chosen) < min(count, len(left)):
        best = ahead.best()
        chosen.append(int(watched[best]))
        ahead.measure(best)
    return chosen


@dataclass
class _LookAhead:
    """The watched cells, and how they would look after measurements that are not made yet.

    Attributes
    ----------
    answers
        How likely a measurement of each of the M cells is to tell a phase, shape (M,).
    means, covariances
        Of each quantity before any of them, shapes (M,) and (M, M).
    spreads
        The variances of each quantity after those chosen, shape (M,).
    known
        What each of those chosen tells of all cells, in deviations, shape (chosen, M). The
        covariances after them are those before less its square.
    open
        Which of the M cells are not chosen yet, shape (M,).
    """

    surrogate: Surrogate
    answers: Floats
    means: list[Floats]
    covariances: list[Floats]
    spreads: list[Floats]
    known: list[Floats]
    open: Mask
    outcomes: Floats = field(default_factory=lambda: _outcomes(OUTCOMES, len(QUANTITIES)))

    @classmethod
    def over(cls, surrogate: Surrogate, cells: Indices) -> _LookAhead:
        both = [
            posterior.joint(places[cells])
            for posterior, places in zip(surrogate.posteriors, surrogate.places, strict=True)
        ]
        means, covariances = zip(*both, strict=True)
        return cls(
            surrogate=surrogate,
            answers=surrogate.answers[cells],
            means=list(means),
            covariances=list(covariances),
            spreads=[np.diagonal(covariance).copy() for covariance in covariances],
            known=[np.empty((0, len(cells)))] * len(means),
            open=np.ones(len(cells), dtype=bool),
        )

    def best(self) -> int:
        """Return the open cell whose measurement leaves the fewest errors in expectation."""
        errors = self.answers * self._errors(self.means, self._variances())
        errors[~self.open] = 0.0
        by_error = np.argsort(-np.where(self.open, errors, -1.0), kind="stable")
        candidates = by_error[: min(CANDIDATES, int(self.open.sum()))]
        # Cells that are sure already are not made surer; one cell must stay to compare by.
        targets = np.flatnonzero(errors > 1e-3)
        if not len(targets):
            return int(candidates[np.argmax(self.answers[candidates])])
        after = self.answers[targets] * self._after(candidates, targets)
        after[candidates[:, None] == targets] = 0.0
        told = errors[targets].sum() - after.sum(axis=1)
        # Without an answer the others stay as unsure as they are; its own phase is no longer wrong.
        answers = self.answers[candidates]
        gain = answers * told + (1 - answers) * errors[candidates]
        return int(candidates[np.argmax(gain)])

    def measure(self, cell: int) -> None:
        """Take a cell as measured: what it will tell narrows the others, and moves nothing."""
        self.open[cell] = False
        everywhere = np.arange(len(self.open))
        for index, known in enumerate(self.known):
            told = self._told(index, np.array([cell]), everywhere)
            self.known[index] = np.vstack([known, told])
            self.spreads[index] -= told[0] ** 2

    def _after(self, candidates: Indices, targets: Indices) -> Floats:
        """Return the expected error at each target after each candidate, shape (C, T)."""
        means, variances = [], []
        for index, variance in enumerate(self._variances()):
            told = self._told(index, candidates, targets)
            shift = told[:, None, :] * self.outcomes[:, index, None]
            means.append(self.means[index][targets] + shift)
            left = np.maximum(variance[targets] - told**2, self.surrogate.noises[index] + 1e-10)
            variances.append(left[:, None, :])
        return np.asarray(self._errors(means, variances).mean(axis=1))

    def _told(self, index: int, cells: Indices, others: Indices) -> Floats:
        """Return by how much one deviation of a measurement moves each other cell's mean."""
        known = self.known[index]
        rows = self.covariances[index][cells] - known[:, cells].T @ known
        spread = self.spreads[index][cells] + self.surrogate.noises[index]
        return np.asarray(rows[:, others] / np.sqrt(spread)[:, None])

    def _variances(self) -> list[Floats]:
        return [
            np.maximum(spread, 1e-10) + noise
            for spread, noise in zip(self.spreads, self.surrogate.noises, strict=True)
        ]

    def _errors(self, means: Sequence[Floats], variances: Sequence[Floats]) -> Floats:
        """Return how likely the likeliest phase is to be wrong."""
        likely = self.surrogate.boxes.probabilities(means, variances, self.surrogate.cuts)
        return np.asarray(1 - likely.max(axis=-1))


def _outcomes(count: int, quantities: int) -> Floats:
    """Return standard normal values spread evenly (scrambled Sobol), shape (count, quantities)."""
    from scipy.special import ndtri
    from scipy.stats import qmc

    even = qmc.Sobol(quantities, seed=0).random(count)
    return np.asarray(ndtri(np.clip(even, 1e-3, 1 - 1e-3)))
