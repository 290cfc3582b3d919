"""Whether phases of the same curvature differ in accuracy."""

from __future__ import annotations

import numpy as np

from llt_core.analysis.claims.claim import Claim, ends_text, numbers_of, unknown
from llt_core.analysis.intervals import mean_interval
from llt_core.analysis.matching import closest_pairs
from llt_core.analysis.phases import PHASES, Verdicts
from llt_core.analysis.statistics import Estimate
from llt_core.analysis.table import CellTable

FEWEST_PAIRS = 3


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
        return unknown(name, statement, f"no {' and no '.join(lacking)} in the table")
    accuracy, trace = (table.columns[c].values for c in ("test_accuracy", "hessian_trace"))
    known = np.isfinite(accuracy) & (trace > 0)
    three, four = (
        np.flatnonzero(known & (verdicts.codes == PHASES.index(phase))) for phase in ("III", "IV-A")
    )
    logs = np.log(np.where(known, trace, 1.0))
    orders = (accuracy[three], accuracy[four])
    pairs = closest_pairs(logs[three], logs[four], orders, caliper)
    if len(pairs) < FEWEST_PAIRS:
        return unknown(
            name,
            statement,
            f"{len(pairs)} of {three.size} cells in III have a partner among {four.size} in IV-A "
            f"within {caliper:g} in log trace",
        )
    differences = accuracy[four[pairs[:, 1]]] - accuracy[three[pairs[:, 0]]]
    apart = logs[four[pairs[:, 1]]] - logs[three[pairs[:, 0]]]
    mean, ends = float(differences.mean()), mean_interval(differences, level)
    details = {
        "difference": numbers_of(Estimate(mean, *ends)),
        "pairs": len(pairs),
        "mean_log_trace_difference": float(apart.mean()),
        "caliper": caliper,
    }
    number = f"IV-A is {mean:+.2f} {ends_text(ends)} percent above III; {len(pairs)} pairs"
    how = f"log traces within {caliper:g}, on average {apart.mean():+.2f} apart"
    if ends[0] > 0:
        return Claim(name, statement, "holds", number, how, details)
    if ends[1] < 0:
        return Claim(name, statement, "does not hold", number, how, details)
    why = f"the interval holds zero; {how}"
    return Claim(name, statement, "cannot be said", number, why, details)
