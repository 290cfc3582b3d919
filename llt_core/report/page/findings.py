"""What a sweep found, in plain sentences made of computed numbers."""

from __future__ import annotations

from collections import Counter

import numpy as np

from llt_core.analysis import PHASES, Axis, CellTable, Verdicts
from llt_core.analysis.coefficients import spearman_of_pairs
from llt_core.analysis.statistics import converged, is_predictor
from llt_core.analysis.table import Mask
from llt_core.report.page.words import axis_title, main_columns, title_of

TARGETS = ("test_accuracy", "bleu", "test_loss")
"""Columns that say how good a cell is, the first that a table has counts."""
CONVERGED = 99.0
"""Training accuracy in percent from which a cell counts as converged."""
FEWEST = 5
"""Cells that a correlation needs at least."""
WEAK = 0.3
"""A rank correlation below this, either way, is said to be no good."""
_LOW_IS_GOOD = ("test_loss",)


def findings(table: CellTable, verdicts: Verdicts) -> list[dict[str, str]]:
    """Return the sentences, each with a heading of one or two words."""
    target = next((name for name in TARGETS if name in table), None)
    said = [
        ("What was measured", _extent(table)),
        ("Phases", _phases(table, verdicts, target)),
        ("Best cell", _best(table, verdicts, target)),
        ("What predicts it", _predictor(table, verdicts, target)),
        ("Undetermined", _undetermined(table, verdicts)),
    ]
    return [{"heading": heading, "text": text} for heading, text in said if text]


def _extent(table: CellTable) -> str:
    if not len(table):
        return "The table is empty."
    models = sorted({int(count) for count in table.models if count > 0})
    each = ""
    if models:
        spread = str(models[0]) if len(models) == 1 else f"{models[0]} to {models[-1]}"
        each = f" of {spread} model{'s' if models[-1] > 1 else ''} each"
    spans = [_span(axis) for axis in table.axes if len(axis.levels) > 1]
    over = f", over {_and(spans)}" if spans else ""
    places = int(np.prod([max(len(axis.levels), 1) for axis in table.axes]))
    share = f" The full grid of these values has {places} cells." if places > len(table) else ""
    return f"{_count(len(table), 'cell')}{each}{over}.{share}"


def _span(axis: Axis) -> str:
    low, high = axis.levels[0], axis.levels[-1]
    kind = f" ({axis.kind})" if axis.kind else ""
    return f"{axis_title(axis)}{kind} from {_value(low)} to {_value(high)}"


def _phases(table: CellTable, verdicts: Verdicts, target: str | None) -> str:
    counts = Counter(verdicts.codes.tolist())
    parts = [f"{counts[code]} in {phase}" for code, phase in enumerate(PHASES) if counts[code]]
    if not parts:
        return "No cell could be sorted into a phase."
    text = f"{_count(len(table), 'cell')}: {_and(parts)}."
    return f"{text} {_means(table, verdicts, target)}".rstrip() if target else text


def _means(table: CellTable, verdicts: Verdicts, target: str) -> str:
    """Return the mean of the target in each phase; whether they order is one of the claims."""
    column = table.column(target)
    means = []
    for code, name in enumerate(PHASES):
        held = column.values[(verdicts.codes == code) & np.isfinite(column.values)]
        if held.size:
            means.append(f"{held.mean():.1f} in {name}")
    unit = f" ({column.unit})" if column.unit else ""
    return f"Mean {_in_sentence(target)}{unit}: {', '.join(means)}." if means else ""


def _best(table: CellTable, verdicts: Verdicts, target: str | None) -> str:
    if target is None:
        return ""
    column = table.column(target)
    if not np.isfinite(column.values).any():
        return ""
    signed = -column.values if target in _LOW_IS_GOOD else column.values
    row = int(np.nanargmax(np.where(np.isfinite(signed), signed, np.nan)))
    error = float(column.standard_errors[row])
    amount = f"{column.values[row]:.4g}" + (f" ± {error:.2g}" if np.isfinite(error) else "")
    phase = verdicts.phases[row]
    title = _in_sentence(target)
    where = f"phase {phase}" if phase else "phase undetermined"
    extreme = "Lowest" if target in _LOW_IS_GOOD else "Highest"
    unit = f" {column.unit}" if column.unit else ""
    return f"{extreme} {title}: {amount}{unit} at {table.label(row)} ({where})."


def _predictor(table: CellTable, verdicts: Verdicts, target: str | None) -> str:
    """Return which column ranks the converged cells most like the target does."""
    if target is None:
        return ""
    mask, meaning = _converged(table, verdicts)
    goal = table.column(target).values
    found = {}
    for name in main_columns(list(table.columns)):
        column = table.column(name)
        if name == target or not is_predictor(name):
            continue
        rho, n = spearman_of_pairs(column.values[mask], goal[mask], FEWEST)
        if np.isfinite(rho):
            found[name] = (rho, n)
    title = _in_sentence(target)
    if not found:
        return (
            f"Too few converged cells ({meaning}) to say what predicts {title}: "
            f"{int(mask.sum())}, at least {FEWEST} are needed."
        )
    ranked = sorted(found, key=lambda name: -abs(found[name][0]))
    best, rest = ranked[0], ranked[1:4]
    close = abs(found[best][0]) >= WEAK
    others = ", ".join(f"{title_of(name)} {_signed(found[name][0])}" for name in rest)
    after = f"; then {others}" if others else ""
    return (
        f"Among the {found[best][1]} converged cells ({meaning}), "
        f"{'' if close else f'nothing ranks {title} well; '}{title_of(best)} "
        f"ranks {title if close else 'it'} best: Spearman {_signed(found[best][0])}{after}."
    )


def _converged(table: CellTable, verdicts: Verdicts) -> tuple[Mask, str]:
    edge = verdicts.rule.train_loss
    meaning = "no training accuracy or loss in the table"
    if "train_accuracy" in table:
        meaning = f"training accuracy at least {CONVERGED:g} percent"
    elif "train_loss" in table:
        meaning = f"training loss below {edge:g} nats"
    return converged(table, CONVERGED, edge), meaning


def _undetermined(table: CellTable, verdicts: Verdicts) -> str:
    open_rows = np.flatnonzero(verdicts.codes < 0)
    if not open_rows.size:
        return "None: every cell has a phase." if len(table) else ""
    reasons = Counter(verdicts.reasons[row] for row in open_rows)
    parts = [f"{reason} ({_count(n, 'cell')})" for reason, n in reasons.most_common(3)]
    more = f"; {len(reasons) - 3} other reasons" if len(reasons) > 3 else ""
    return f"{_count(len(open_rows), 'cell')} of {len(table)}: {'; '.join(parts)}{more}."


def _in_sentence(name: str) -> str:
    """Return the title of a column as words have it: ``test accuracy``, but ``CKA``."""
    title = title_of(name)
    return title if title[:2].isupper() else title[:1].lower() + title[1:]


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _and(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
