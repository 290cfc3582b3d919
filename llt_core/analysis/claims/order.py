"""Whether the phases order by accuracy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain, product

import numpy as np

from llt_core.analysis.claims.claim import Claim, Outcome, ends_text, numbers_of, unknown
from llt_core.analysis.intervals import welch_interval
from llt_core.analysis.phases import PHASES, Phase, Verdicts
from llt_core.analysis.statistics import Estimate
from llt_core.analysis.table import CellTable, Floats

Pair = tuple[Phase, Phase]
RANKS: tuple[tuple[Phase, ...], ...] = (("I",), ("II", "III"), ("IV-A",), ("IV-B",))
"""By rising accuracy; II and III are not compared."""
STEPS: tuple[Pair, ...] = tuple(
    chain.from_iterable(
        product(low, high) for place, low in enumerate(RANKS) for high in RANKS[place + 1 :]
    )
)


def accuracy_order(table: CellTable, verdicts: Verdicts, level: float = 0.95) -> Claim:
    """Check that mean accuracies order I < {II, III} < IV-A < IV-B.

    The gap between each ordered pair of phases has an interval over cells (Welch 1947), so an
    empty phase between two hides nothing. The claim holds if all intervals lie above zero: it
    says that all gaps are positive, so no single one needs a correction for their number (Berger
    1982). It does not hold if one lies below zero, corrected for their number (Bonferroni).
    """
    name, statement = "accuracy_order", "Mean test accuracy orders I < {II, III} < IV-A < IV-B"
    if "test_accuracy" not in table:
        return unknown(name, statement, "no test_accuracy in the table")
    accuracy = table.columns["test_accuracy"].values
    codes = np.where(np.isfinite(accuracy), verdicts.codes, -1)
    held = {phase: np.sort(accuracy[codes == place]) for place, phase in enumerate(PHASES)}
    held = {phase: values for phase, values in held.items() if values.size}
    gaps = _gaps(held, STEPS, level)
    if not gaps:
        return unknown(name, statement, "fewer than two phases have cells to compare")
    falling = [pair for pair, gap in gaps.items() if gap.high < 0]
    corrected = _gaps(held, falling, 1 - (1 - level) / len(gaps))
    against = {pair: gap for pair, gap in corrected.items() if gap.high < 0}
    if against:
        pair, gap = min(against.items(), key=lambda found: found[1].high)
        verdict: Outcome = "does not hold"
        why = f"{pair[0]} is above {pair[1]}; interval corrected for {len(gaps)} gaps"
    else:
        # An unknown end is less sure than any other.
        pair, gap = min(gaps.items(), key=lambda found: np.nan_to_num(found[1].low, nan=-np.inf))
        doubts = _doubts(held, gaps)
        verdict = "cannot be said" if doubts else "holds"
        why = "; ".join(doubts) or f"the least sure of {len(gaps)} gaps; all lie above zero"
    ends = ends_text((gap.low, gap.high))
    number = f"gap {pair[0]} to {pair[1]}: {gap.value:+.2f} {ends}".rstrip() + " percent"
    details = {
        "means": {phase: float(values.mean()) for phase, values in held.items()},
        "gaps": {f"{low} < {high}": numbers_of(found) for (low, high), found in gaps.items()},
        "deciding": f"{pair[0]} < {pair[1]}",
    }
    return Claim(name, statement, verdict, number, why, details)


def _gaps(
    held: Mapping[Phase, Floats], pairs: Iterable[Pair], level: float
) -> dict[Pair, Estimate]:
    """Return by how much the mean of the second phase of each pair is above that of the first."""
    return {
        (low, high): Estimate(
            float(held[high].mean() - held[low].mean()),
            *welch_interval(held[high], held[low], level),
        )
        for low, high in pairs
        if low in held and high in held
    }


def _doubts(held: Mapping[Phase, Floats], gaps: Mapping[Pair, Estimate]) -> list[str]:
    """Return why the order is not sure though nothing speaks against it for sure."""
    alone = [phase for phase, values in held.items() if values.size == 1]
    open_gaps = [pair for pair, gap in gaps.items() if gap.low <= 0]
    lacking = [phase for phase in PHASES if phase not in held]
    found = []
    if open_gaps:
        listed = ", ".join(f"{low} to {high}" for low, high in open_gaps)
        found.append(f"could be chance, either way: {listed}")
    if alone:
        found.append(f"one cell alone, so no interval: {', '.join(alone)}")
    if lacking:
        found.append(f"no cells: {', '.join(lacking)}")
    return found
