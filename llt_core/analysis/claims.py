"""The claims of Yang et al. (2021) about load, temperature and phases, checked on a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from llt_core.analysis.coefficients import spearman
from llt_core.analysis.descent import Peak, peaks
from llt_core.analysis.intervals import mean_interval, welch_interval
from llt_core.analysis.matching import closest_pairs
from llt_core.analysis.phases import PHASES, Phase, Verdicts
from llt_core.analysis.statistics import Correlation, Estimate, compare, converged
from llt_core.analysis.table import Axis, CellTable, Mask
from llt_core.analysis.transitions import transitions

Outcome = Literal["holds", "does not hold", "cannot be said"]
FEWEST_PAIRS = 3
FEWEST_CELLS = 5
COMMON = 0.8
"""Share of the cells with CKA that a column must have too, to be compared with it."""


@dataclass(frozen=True)
class Claim:
    """A claim, and what a table says to it.

    Attributes
    ----------
    name
        One word for machines.
    statement
        The claim.
    verdict
        Whether it holds in this table.
    number
        What decides, in words and with its unit.
    explanation
        How it was decided, and how sure that is; or what is missing.
    details
        The numbers, for machines.
    """

    name: str
    statement: str
    verdict: Outcome
    number: str
    explanation: str
    details: Mapping[str, Any] = field(default_factory=dict)


def check_claims(
    table: CellTable,
    verdicts: Verdicts,
    correlations: Sequence[Correlation],
    *,
    caliper: float = 0.3,
    converged_at: float = 99.0,
    descents: Mapping[str, Sequence[Peak]] | None = None,
    level: float = 0.95,
) -> list[Claim]:
    """Check every claim of the paper on a table.

    Parameters
    ----------
    verdicts
        The phases of its cells.
    correlations
        Those among converged cells, of
        :func:`~llt_core.analysis.statistics.correlate`.
    caliper
        How far the logarithms of the Hessian traces of two cells may differ that are compared at
        matched curvature.
    descents
        What was found along which axis; None: it is looked for here.
    level
        What the intervals cover.
    """
    if descents is None:
        descents = {axis.name: peaks(table, axis) for axis in table.axes}
    return [
        accuracy_order(table, verdicts, level),
        best_predictor(table, correlations, converged_at, level, verdicts.rule.train_loss),
        matched_curvature(table, verdicts, caliper, level),
        *(
            hessian_jump(table, axis, verdicts.rule.train_loss)
            for axis in table.axes
            if len(axis.levels) > 1 and np.isfinite(axis.numbers).any()
        ),
        *(double_descent(name, table.short[name], found) for name, found in descents.items()),
    ]


def accuracy_order(table: CellTable, verdicts: Verdicts, level: float = 0.95) -> Claim:
    """Check that mean accuracies order I < {II, III} < IV-A < IV-B.

    All ordered pairs of phases are compared, so an empty phase between two hides nothing. The
    means decide; the smallest gap is given with its interval (Welch 1947).
    """
    name, statement = "accuracy_order", "Mean test accuracy orders I < {II, III} < IV-A < IV-B"
    if "test_accuracy" not in table:
        return _unknown(name, statement, "no test_accuracy in the table")
    accuracy = table.columns["test_accuracy"].values
    held = {
        phase: np.sort(accuracy[(verdicts.codes == place) & np.isfinite(accuracy)])
        for place, phase in enumerate(PHASES)
    }
    means = {phase: float(values.mean()) for phase, values in held.items() if values.size}
    steps: list[tuple[Phase, Phase]] = [
        *(("I", phase) for phase in PHASES[1:]),
        *((low, high) for low in PHASES[1:3] for high in PHASES[3:]),
        ("IV-A", "IV-B"),
    ]
    gaps = {pair: means[pair[1]] - means[pair[0]] for pair in steps if set(pair) <= set(means)}
    if not gaps:
        return _unknown(name, statement, "fewer than two phases have cells to compare")
    low, high = min(gaps, key=lambda pair: gaps[pair])
    ends = welch_interval(held[high], held[low], level)
    number = f"smallest gap {low} to {high}: {gaps[low, high]:+.2f} {_ends(ends)} percent"
    lacking = [phase for phase in PHASES if phase not in means]
    details = {
        "means": means,
        "gaps": {f"{a} < {b}": gap for (a, b), gap in gaps.items()},
        "smallest": _estimate(Estimate(gaps[low, high], *ends)),
    }
    if gaps[low, high] <= 0:
        why = f"the mean of {low} is not below that of {high}"
        return Claim(name, statement, "does not hold", number, why, details)
    if lacking:
        why = f"no cells in {', '.join(lacking)}; the phases that have some are in order"
        return Claim(name, statement, "cannot be said", number, why, details)
    sure = ends[0] > 0
    why = "all means are in order" + ("" if sure else "; the smallest gap could be chance")
    return Claim(name, statement, "holds", number, why, details)


def best_predictor(
    table: CellTable,
    correlations: Sequence[Correlation],
    converged_at: float = 99.0,
    level: float = 0.95,
    loss_below: float | None = None,
) -> Claim:
    """Check that CKA has the largest Spearman correlation among converged cells.

    Columns that look at the test set are no predictors. CKA is the column ``cka``; where
    there is none, the best of those called ``cka…``, and it is named. It is compared with each
    column over the cells that have both, at least 80 % of its own (and 5). The difference to
    the next column has a bootstrap interval over these cells.
    """
    name = "best_predictor"
    statement = "CKA predicts test accuracy best among converged cells (Spearman)"
    known = [
        c
        for c in correlations
        if c.predictor and c.n >= FEWEST_CELLS and np.isfinite(c.spearman.value)
    ]
    similar = [c for c in known if c.column.startswith("cka")]
    exact = [c for c in similar if c.column == "cka"]
    among = converged(table, converged_at, loss_below)
    if not similar:
        why = _why_no_predictor(table, correlations, converged_at, loss_below)
        return _unknown(name, statement, why)
    ours = exact[0] if exact else max(similar, key=lambda c: abs(c.spearman.value))
    if not exact:
        statement = statement.replace("CKA", f"CKA ({ours.column})")
    met = _against(table, ours, [c.column for c in known if c not in similar], among)
    if not met:
        why = _why_no_predictor(table, correlations, converged_at, loss_below)
        return _unknown(name, statement, why)
    next_best = min(met, key=lambda other: abs(met[other][0]) - abs(met[other][1]))
    rho, other, n = met[next_best]
    wins = abs(rho) > abs(other)
    difference = compare(table, ours.column, next_best, among, level=level)
    number = (
        f"ρ {ours.spearman.value:+.3f} {_ends((ours.spearman.low, ours.spearman.high))} "
        f"(n = {ours.n}); {'next' if wins else 'behind'} {next_best}: {other:+.3f} against "
        f"{rho:+.3f} on the {n} cells with both"
    )
    details = {
        "column": ours.column,
        "spearman": ours.spearman.value,
        "n": ours.n,
        "other": next_best,
        "other_spearman": other,
        "common_spearman": rho,
        "common_n": n,
        "difference": _estimate(difference),
    }
    sure = difference.low > 0 or difference.high < 0
    why = f"|ρ| differs by {difference.value:+.3f} {_ends((difference.low, difference.high))}" + (
        "" if sure else ", which could be chance"
    )
    others = [f"{c.column} ({c.spearman.value:+.3f})" for c in similar if c is not ours]
    if others:
        why += f"; other forms of CKA are not compared: {', '.join(others)}"
    if "train_accuracy" not in table and loss_below is not None:
        why += f"; converged: training loss below {loss_below:g}, for want of train accuracies"
    return Claim(name, statement, "holds" if wins else "does not hold", number, why, details)


def _against(
    table: CellTable, ours: Correlation, others: Sequence[str], among: Mask
) -> dict[str, tuple[float, float, int]]:
    """Return ρ of our column, ρ of another, and n, over the cells that have both."""
    x, y = (table.columns[name].values for name in (ours.column, "test_accuracy"))
    found = {}
    for name in others:
        z = table.columns[name].values
        both = np.flatnonzero(among & np.isfinite(x) & np.isfinite(z) & np.isfinite(y))
        both = both[np.lexsort((x[both], z[both], y[both]))]  # so that the order changes nothing
        n = both.size
        if n < max(FEWEST_CELLS, COMMON * ours.n):
            continue
        pair = spearman(x[both], y[both]), spearman(z[both], y[both])
        if np.isfinite(pair).all():
            found[name] = (*pair, n)
    return found


def matched_curvature(
    table: CellTable, verdicts: Verdicts, caliper: float = 0.3, level: float = 0.95
) -> Claim:
    """Check that at the same curvature III is less accurate than IV-A.

    Cells of the two phases are paired one to one, the closest first, with log traces no
    further apart than ``caliper``. The interval is Student's, of the paired differences.
    """
    name = "matched_curvature"
    statement = "At matched curvature, phase III is less accurate than phase IV-A"
    lacking = [c for c in ("test_accuracy", "hessian_trace") if c not in table]
    if lacking:
        return _unknown(name, statement, f"no {' and no '.join(lacking)} in the table")
    accuracy, trace = (table.columns[c].values for c in ("test_accuracy", "hessian_trace"))
    known = np.isfinite(accuracy) & (trace > 0)
    three, four = (
        np.flatnonzero(known & (verdicts.codes == PHASES.index(phase))) for phase in ("III", "IV-A")
    )
    logs = np.log(np.where(known, trace, 1.0))
    orders = (accuracy[three], accuracy[four])
    pairs = closest_pairs(logs[three], logs[four], orders, caliper)
    if len(pairs) < FEWEST_PAIRS:
        return _unknown(
            name,
            statement,
            f"{len(pairs)} of {three.size} cells in III have a partner among {four.size} in IV-A "
            f"within {caliper:g} in log trace",
        )
    differences = accuracy[four[pairs[:, 1]]] - accuracy[three[pairs[:, 0]]]
    apart = logs[four[pairs[:, 1]]] - logs[three[pairs[:, 0]]]
    mean, ends = float(differences.mean()), mean_interval(differences, level)
    details = {
        "difference": _estimate(Estimate(mean, *ends)),
        "pairs": len(pairs),
        "mean_log_trace_difference": float(apart.mean()),
        "caliper": caliper,
    }
    number = f"IV-A is {mean:+.2f} {_ends(ends)} percent above III; {len(pairs)} pairs"
    how = f"log traces within {caliper:g}, on average {apart.mean():+.2f} apart"
    if ends[0] > 0:
        return Claim(name, statement, "holds", number, how, details)
    if ends[1] < 0:
        return Claim(name, statement, "does not hold", number, how, details)
    why = f"the interval holds zero; {how}"
    return Claim(name, statement, "cannot be said", number, why, details)


def hessian_jump(table: CellTable, axis: Axis, train_loss: float) -> Claim:
    """Check that along an axis the Hessian jumps where the training loss falls.

    On each line on which the training loss crosses the threshold of the phases once or more,
    the crossing nearest to the steepest change of the log trace is compared with it, in
    steps of the axis. The claim holds if the median distance is at most one step, and less
    than half of what a jump anywhere on these lines would have.
    """
    name = f"hessian_jump:{axis.name}"
    short = table.short[axis.name]
    statement = f"Along {short}, the Hessian jumps where the training loss falls"
    lacking = [c for c in ("train_loss", "hessian_trace") if c not in table]
    if lacking:
        return _unknown(name, statement, f"no {' and no '.join(lacking)} in the table")
    found = transitions(table, axis, train_loss)
    if len(found) < 2:
        why = f"{len(found)} line(s) of four or more cells cross a training loss of {train_loss:g}"
        return _unknown(name, statement, why)
    median = float(np.median([line.distance for line in found]))
    expected = float(np.median([line.by_chance for line in found]))
    near = sum(line.distance <= 1 for line in found)
    number = f"median distance {median:.2f} steps; within one step on {near} of {len(found)} lines"
    why = (
        f"loss crossing {train_loss:g} against the steepest change of the log trace; "
        f"by chance {expected:.1f} steps. "
        "A step leads from one cell with both numbers to the next on its line"
    )
    details = {"median": median, "by_chance": expected, "within_one": near, "lines": len(found)}
    verdict: Outcome = "holds" if median <= 1 and 2 * median < expected else "does not hold"
    return Claim(name, statement, verdict, number, why, details)


def double_descent(axis: str, short: str, found: Sequence[Peak]) -> Claim:
    """Say whether a peak of the test error was found on a line along an axis."""
    name = f"double_descent:{axis}"
    statement = f"Along {short}, the test error rises and falls again (double descent)"
    if not found:
        return _unknown(name, statement, "no line of five or more cells with a test accuracy")
    counted = [peak for peak in found if peak.significant]
    best = max(counted or found, key=lambda peak: (-_p(peak), peak.relative_height))
    tested = np.isfinite(best.adjusted_p)
    details = {
        "lines": len(found),
        "significant": len(counted),
        "at": [peak.at for peak in counted],
        "tested": bool(tested),
    }
    where = f" at {best.at:g}" if np.isfinite(best.at) else ""
    fixed = f" ({best.line})" if best.line else ""
    number = (
        f"{len(counted)} of {len(found)} lines; highest {best.height:.2f} percent{where}{fixed}"
    )
    how = (
        f"p {best.adjusted_p:.2g} for the clearest line, corrected for {len(found)}"
        if tested
        else f"no standard errors: by height, {best.relative_height:.1%} of the valley's error"
    )
    jumps = [peak.distance for peak in counted if np.isfinite(peak.distance)]
    if jumps:
        how += f"; the Hessian jumps {np.median(jumps):.1f} steps away (median)"
        details["hessian_distance"] = float(np.median(jumps))
    return Claim(name, statement, "holds" if counted else "does not hold", number, how, details)


def _p(peak: Peak) -> float:
    return peak.adjusted_p if np.isfinite(peak.adjusted_p) else 1.0


def _unknown(name: str, statement: str, why: str) -> Claim:
    return Claim(name, statement, "cannot be said", "–", why)


def _ends(ends: tuple[float, float]) -> str:
    return "" if np.isnan(ends[0]) else f"[{ends[0]:.2f}, {ends[1]:.2f}]"


def _estimate(estimate: Estimate) -> dict[str, float]:
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}


def _why_no_predictor(
    table: CellTable,
    correlations: Sequence[Correlation],
    converged_at: float,
    loss_below: float | None,
) -> str:
    by_loss = "train_accuracy" not in table and loss_below is not None and "train_loss" in table
    for column in ("test_accuracy", *(() if by_loss else ("train_accuracy",))):
        if column not in table:
            return f"no {column} in the table"
        if not np.isfinite(table.columns[column].values).any():
            return f"no cell has a {column}"
    if not any(name.startswith("cka") for name in table.columns):
        return "no cka in the table"
    count = int(converged(table, converged_at, loss_below).sum())
    if count < FEWEST_CELLS and by_loss:
        return f"{count} cells have a training loss below {loss_below:g} (no train_accuracy)"
    if count < FEWEST_CELLS:
        return f"{count} cells have a train accuracy of {converged_at:g} % or more"
    return "no cka, or nothing to compare it with, that varies among converged cells"
