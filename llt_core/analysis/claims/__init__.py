"""The claims of Yang et al. (2021) about load, temperature and phases, checked on a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from llt_core.analysis.claims.along import double_descent, hessian_jump
from llt_core.analysis.claims.claim import Claim, Outcome
from llt_core.analysis.claims.curvature import matched_curvature
from llt_core.analysis.claims.order import accuracy_order
from llt_core.analysis.claims.predictor import best_predictor
from llt_core.analysis.descent import Peak, peaks
from llt_core.analysis.phases import Verdicts
from llt_core.analysis.statistics import Correlation, correlate
from llt_core.analysis.table import CellTable

__all__ = [
    "Claim",
    "Outcome",
    "accuracy_order",
    "best_predictor",
    "check_claims",
    "double_descent",
    "hessian_jump",
    "matched_curvature",
]


def check_claims(
    table: CellTable,
    verdicts: Verdicts,
    correlations: Sequence[Correlation] | None = None,
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
        Those among converged cells; None: computed here, by
        :func:`~llt_core.analysis.statistics.correlate`.
    caliper
        How far the logarithms of the Hessian traces of two cells may differ that are compared at
        matched curvature.
    descents
        What was found along which axis; None: it is looked for here.
    level
        What the intervals cover.
    """
    edge = verdicts.rule.train_loss
    if correlations is None:
        correlations = correlate(
            table, "converged", converged_at=converged_at, loss_below=edge, level=level
        )
    if descents is None:
        descents = {axis.name: peaks(table, axis) for axis in table.axes}
    return [
        accuracy_order(table, verdicts, level),
        best_predictor(table, correlations, converged_at, level, edge),
        matched_curvature(table, verdicts, caliper, level),
        *(
            hessian_jump(table, axis, edge)
            for axis in table.axes
            if len(axis.levels) > 1 and np.isfinite(axis.numbers).any()
        ),
        *(double_descent(name, table.short[name], found) for name, found in descents.items()),
    ]
