"""Thresholds fitted to a table: a shallow decision tree in a fixed order.

The order is that of the MD-tree work (Zhou et al. 2024): training loss, connectivity, Hessian,
similarity. The splits are those of :class:`~llt_core.analysis.phases.PhaseRule`, so a fitted
rule is a rule like any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llt_core.analysis.phases import PHASES, Codes, PhaseRule, facts_of
from llt_core.analysis.table import CellTable, Floats
from llt_core.errors import RequestError

FACTS = {
    "train_loss": "train_loss",
    "sharp_connectivity": "connectivity",
    "poorly_connected": "connectivity",
    "unconverged": "connectivity",
    "log_trace": "log_trace",
    "cka": "cka",
}
"""The thresholds in the order in which they are chosen, and what each is compared with."""
CANDIDATES = 32
"""Values tried for a threshold: mid-points between quantiles."""
ROUNDS = 3
"""How often all thresholds are chosen again, given the others."""
FEWEST = 20
"""Cells from which a fit is worth anything."""
_ANY = PhaseRule()


@dataclass(frozen=True)
class Fit:
    """A fitted rule, and how far to trust it.

    Attributes
    ----------
    rule
        The thresholds.
    target
        What they were fitted to: ``test_accuracy``, or ``phases`` that were given.
    n
        Cells that have all that the rule asks for.
    score, default_score
        Of the fitted rule and of the one it is compared with, on the cells it was fitted to:
        the share of the variance of the accuracy that lies between phases (R²), or the share
        of given phases met.
    held_out_score, held_out_default_score
        The same on cells that were not looked at, K-fold: phase means come from the other
        cells. May be below zero.
    agreement
        The share of left-out cells that get the same phase from the others' fit as from that
        of all cells.
    folds
        K.
    unused
        Thresholds that explained nothing, and lie beyond all cells.
    """

    rule: PhaseRule
    target: str
    n: int
    score: float
    default_score: float
    held_out_score: float
    held_out_default_score: float
    agreement: float
    folds: int
    unused: tuple[str, ...]


def fit_rule(
    table: CellTable,
    given: Sequence[str | None] | None = None,
    *,
    default: PhaseRule | None = None,
    folds: int = 5,
    smallest: int = 3,
    seed: int = 0,
) -> Fit:
    """Fit the thresholds of the rule to a table.

    One after the other, in the fixed order, each threshold is put where it leaves the least
    squared difference between test accuracies and the means of their phases; those that come
    later are not there yet. Then each is chosen again, given all others, for a few rounds.
    Connectivity thresholds keep their sides of zero, so that "well connected" stays what it
    says. A threshold that splits off fewer than ``smallest`` cells is not taken.

    Parameters
    ----------
    given
        A phase for each of the N rows, or None: then the rule that meets most of them is
        looked for, instead of the one that explains accuracy.
    default
        The rule to compare with.
    folds
        Parts of the cross-validation.

    Raises
    ------
    RequestError
        Fewer than 20 cells have everything that the rule asks for.
    """
    facts, columns = facts_of(table)
    target = _target(table, given)
    rows = _usable(table, facts, target, given is not None, columns)
    facts = {use: values[rows] for use, values in facts.items()}
    problem = _Problem(facts, target[rows], given is not None, smallest)
    default = (default or PhaseRule()).resolved(facts)
    rule = problem.fit()
    parts = np.random.default_rng(seed).permutation(len(rows)) % folds
    left_out = [_left_out(problem, rule, default, parts == part) for part in range(folds)]
    wrong, wrong_default, scale, agreed = np.sum(left_out, axis=0)
    limits = problem.limits()
    return Fit(
        rule,
        "phases" if given is not None else "test_accuracy",
        len(rows),
        problem.score(rule),
        problem.score(default),
        float(1 - wrong / scale) if scale else float("nan"),
        float(1 - wrong_default / scale) if scale else float("nan"),
        float(agreed / len(rows)),
        folds,
        tuple(name for name in FACTS if getattr(rule, name) == limits[name]),
    )


@dataclass(frozen=True)
class _Problem:
    """Cells with all their facts, shape (n,) each, and what a rule should say of them.

    ``target`` holds accuracies, or places in :data:`PHASES` if ``labels``.
    """

    facts: dict[str, Floats]
    target: Floats
    labels: bool
    smallest: int

    def part(self, mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> _Problem:
        facts = {use: values[mask] for use, values in self.facts.items()}
        return _Problem(facts, self.target[mask], self.labels, self.smallest)

    def codes(self, rule: PhaseRule) -> Codes:
        return rule.codes(**self.facts)

    def fit(self) -> PhaseRule:
        thresholds = self.limits()
        candidates = {name: self._candidates(name, thresholds[name]) for name in FACTS}
        for growing in (True, *(False,) * ROUNDS):
            before, best = thresholds, self._wrong(thresholds, growing)
            for name in FACTS:
                for value in candidates[name]:
                    tried = {**thresholds, name: value}
                    wrong = self._wrong(tried, growing)
                    # Beyond rounding, so that equally good values do not depend on it.
                    if wrong < best - 1e-9 * (1 + abs(best)):
                        thresholds, best = tried, wrong
            if thresholds == before and not growing:
                break
        return PhaseRule(**thresholds)

    def limits(self) -> dict[str, float]:
        """Return thresholds beyond all cells: every split is still to be made.

        All cells with a finite number are flat and IV-B, until a threshold says otherwise.
        """
        low = {use: _rounded(values, least=True) for use, values in self.facts.items()}
        high = {use: _rounded(values, least=False) for use, values in self.facts.items()}
        return {
            "train_loss": high["train_loss"],
            "sharp_connectivity": low["connectivity"],
            "poorly_connected": min(low["connectivity"], -1.0),
            "unconverged": max(high["connectivity"], 1.0),
            "log_trace": high["log_trace"],
            "cka": low["cka"],
        }

    def score(self, rule: PhaseRule) -> float:
        codes = self.codes(rule)
        if self.labels:
            return float((codes == self.target).mean())
        total = float(((self.target - self.target.mean()) ** 2).sum())
        return 1 - _within(codes, self.target) / total if total else float("nan")

    def _wrong(self, thresholds: dict[str, float], growing: bool) -> float:
        """Return what the rule leaves to be explained.

        While it is ``growing``, given phases need only be alike within a leaf of the tree (Gini
        impurity, Breiman et al. 1984): two that a later split tells apart may share one.
        """
        codes = _ANY.model_copy(update=thresholds).codes(**self.facts)
        if self.labels and growing:
            pairs = codes * len(PHASES) + self.target.astype(np.int64)
            both = np.bincount(pairs, minlength=len(PHASES) ** 2).reshape(-1, len(PHASES))
            leaf = both.sum(axis=1)
            return float((leaf - (both**2).sum(axis=1) / np.maximum(leaf, 1)).sum())
        if self.labels:
            return float((codes != self.target).sum())
        counts = np.bincount(codes, minlength=len(PHASES))
        if ((counts > 0) & (counts < self.smallest)).any():
            return float("inf")
        return _within(codes, self.target)

    def _candidates(self, name: str, limit: float) -> list[float]:
        values = self.facts[FACTS[name]]
        values = np.unique(values[np.isfinite(values)])
        middles = (values[1:] + values[:-1]) / 2
        if name == "poorly_connected":
            middles = middles[middles <= 0]
        if name == "unconverged":
            middles = middles[middles >= 0]
        if len(middles) > CANDIDATES:
            places = np.linspace(0, len(middles) - 1, CANDIDATES).round().astype(int)
            middles = middles[places]
        return [*middles.tolist(), limit]


def _target(table: CellTable, given: Sequence[str | None] | None) -> Floats:
    if given is None:
        return table.column("test_accuracy").values
    places: dict[str, float] = {phase: float(place) for place, phase in enumerate(PHASES)}
    if unknown := {str(phase) for phase in given if phase is not None and phase not in places}:
        raise RequestError(
            f"{', '.join(sorted(unknown))} among the given phases",
            expected=f"one of {', '.join(PHASES)}",
        )
    return np.array([np.nan if phase is None else places[phase] for phase in given])


def _usable(
    table: CellTable,
    facts: dict[str, Floats],
    target: Floats,
    labels: bool,
    columns: dict[str, str],
) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Return the rows with everything, in an order that depends on their numbers alone."""
    values = [*facts.values(), target]
    rows = np.flatnonzero(~np.isnan(values).any(axis=0))
    if rows.size < FEWEST:
        lacking = [use for use in facts if use not in columns]
        raise RequestError(
            f"{rows.size} cells of {table.name} have all that thresholds are fitted to",
            where=f"no {', '.join(lacking)} in the table" if lacking else "",
            expected=f"{FEWEST} cells with training loss, Hessian trace, connectivity, CKA and "
            + ("a phase" if labels else "test accuracy"),
            next_step="llt phases without --fit uses the fixed thresholds",
        )
    return np.asarray(rows[np.lexsort([held[rows] for held in values])])


def _left_out(
    problem: _Problem,
    rule: PhaseRule,
    default: PhaseRule,
    out: np.ndarray[tuple[int], np.dtype[np.bool_]],
) -> tuple[float, float, float, float]:
    """Return what is wrong on left-out cells, by a fit to the others and by the default.

    Also what is wrong without any phases, and how many cells get the phase of the full fit.
    """
    seen, unseen = problem.part(~out), problem.part(out)
    own = seen.fit()
    agreed = float((unseen.codes(own) == unseen.codes(rule)).sum())
    if problem.labels:
        wrong, wrong_default = (
            float((unseen.codes(r) != unseen.target).sum()) for r in (own, default)
        )
        return wrong, wrong_default, float(out.sum()), agreed
    overall = float(seen.target.mean())
    errors = []
    for tried in (own, default):
        means = _means(seen.codes(tried), seen.target, overall)
        errors.append(float(((unseen.target - means[unseen.codes(tried)]) ** 2).sum()))
    scale = float(((unseen.target - overall) ** 2).sum())
    return errors[0], errors[1], scale, agreed


def _means(codes: Codes, values: Floats, otherwise: float) -> Floats:
    """Return the mean of each phase, shape (5,); ``otherwise`` where it has no cells."""
    counts = np.bincount(codes, minlength=len(PHASES))
    sums = np.bincount(codes, weights=values, minlength=len(PHASES))
    return np.where(counts > 0, sums / np.maximum(counts, 1), otherwise)


def _within(codes: Codes, values: Floats) -> float:
    """Return the squared differences from the means of the phases, summed."""
    return float(((values - _means(codes, values, 0.0)[codes]) ** 2).sum())


def _rounded(values: Floats, *, least: bool) -> float:
    """Return a short number below or above all finite values."""
    held = values[np.isfinite(values)]
    if not held.size:
        return 0.0
    return float(np.floor(held.min()) - 1 if least else np.ceil(held.max()) + 1)
