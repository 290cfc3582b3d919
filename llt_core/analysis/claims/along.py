"""What happens along an axis: jumps of the Hessian, and double descent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llt_core.analysis.claims.claim import Claim, Outcome, unknown
from llt_core.analysis.descent import Peak
from llt_core.analysis.table import Axis, CellTable
from llt_core.analysis.transitions import transitions


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
        return unknown(name, statement, f"no {' and no '.join(lacking)} in the table")
    found = transitions(table, axis, train_loss)
    if len(found) < 2:
        why = f"{len(found)} line(s) of four or more cells cross a training loss of {train_loss:g}"
        return unknown(name, statement, why)
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
        return unknown(name, statement, "no line of five or more cells with a test accuracy")
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
