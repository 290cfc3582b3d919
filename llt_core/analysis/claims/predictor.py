"""Which column predicts the test accuracy best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llt_core.analysis.claims.claim import Claim, Outcome, ends_text, numbers_of, unknown
from llt_core.analysis.coefficients import spearman
from llt_core.analysis.statistics import Correlation, compare, converged
from llt_core.analysis.table import CellTable, Mask

FEWEST_CELLS = 5
COMMON = 0.8
"""Share of the cells with CKA that a column must have too, to be compared with it."""


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
        return unknown(name, statement, why)
    ours = exact[0] if exact else max(similar, key=lambda c: abs(c.spearman.value))
    if not exact:
        statement = statement.replace("CKA", f"CKA ({ours.column})")
    met = _against(table, ours, [c.column for c in known if c not in similar], among)
    if not met:
        why = _why_no_predictor(table, correlations, converged_at, loss_below)
        return unknown(name, statement, why)
    next_best = min(met, key=lambda other: abs(met[other][0]) - abs(met[other][1]))
    rho, other, n = met[next_best]
    wins = abs(rho) > abs(other)
    difference = compare(table, ours.column, next_best, among, level=level)
    number = (
        f"ρ {ours.spearman.value:+.3f} {ends_text((ours.spearman.low, ours.spearman.high))} "
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
        "difference": numbers_of(difference),
    }
    sure = difference.low > 0 or difference.high < 0
    ends = ends_text((difference.low, difference.high))
    why = f"|ρ| differs by {difference.value:+.3f} {ends}"
    why += "" if sure else ", which could be chance"
    others = [f"{c.column} ({c.spearman.value:+.3f})" for c in similar if c is not ours]
    if others:
        why += f"; other forms of CKA are not compared: {', '.join(others)}"
    if "train_accuracy" not in table and loss_below is not None:
        why += f"; converged: training loss below {loss_below:g}, for want of train accuracies"
    verdict: Outcome = "holds" if wins else "does not hold"
    return Claim(name, statement, verdict if sure else "cannot be said", number, why, details)


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
