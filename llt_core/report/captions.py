"""What stands beside a picture of a table: how many cells and models, seeds, and the origin."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from llt_core.analysis import CellTable, Column, Verdicts
from llt_core.report.inferred import InferredMap
from llt_core.spec.naming import counted

_FACTS = ("task", "architecture", "perturbations")


@dataclass(frozen=True)
class Source:
    """Where the numbers of a picture come from.

    Attributes
    ----------
    table
        The table, or the part of it that is drawn.
    seeds
        Seeds of the models, where they are known.
    condition
        What chose the part, if anything did.
    inferred
        Phases of cells that an adaptive sweep did not measure.
    """

    table: CellTable
    seeds: tuple[int, ...] = ()
    condition: str = ""
    inferred: InferredMap | None = None

    def describe(self) -> str:
        """Return name, what was trained, origin, cells, models and seeds in one line."""
        table = self.table
        known = [table.facts.get(name) for name in _FACTS]
        cells = f"n = {counted(len(table), 'cell')}"
        parts = [
            table.name,
            *(str(fact).rpartition("/")[2] for fact in known if fact),
            origin(table),
            f"{cells} where {self.condition}" if self.condition else cells,
            _models(table),
            f"seeds {listed(self.seeds)}" if self.seeds else "seeds not known",
        ]
        return " · ".join(parts)


def origin(table: CellTable) -> str:
    """Say where the numbers come from; what was not measured here is labelled.

    >>> origin(CellTable("t", (), {}, origin="file grid.csv"))
    'imported: file grid.csv'
    """
    said = table.origin
    if not imported(table):
        return f"measured by {said}"
    return said if said.startswith("imported") else f"imported: {said or 'origin not known'}"


def imported(table: CellTable) -> bool:
    """Whether the numbers were not measured here.

    >>> imported(CellTable("t", (), {}, origin="llt (data files that are not the published ones)"))
    False
    """
    return table.origin != "llt" and not table.origin.startswith("llt ")


def missing(table: CellTable, column: Column) -> str:
    """Say how many cells have no value of a column; nothing if all have one."""
    lacking = int((~np.isfinite(column.values)).sum())
    return f"{lacking:,} of {counted(len(table), 'cell')} without a value" if lacking else ""


def rule_in_words(verdicts: Verdicts) -> str:
    """Return the thresholds of the rule that was applied, and which connectivity they are for."""
    rule, name = verdicts.rule, verdicts.columns.get("connectivity", "connectivity")
    return (
        f"sharp: training loss ≥ {rule.train_loss:g} or ln trace ≥ {rule.log_trace:g}; "
        f"{name.replace('_', ' ')}: of sharp cells {rule.sharp_connectivity:g}, of flat ones "
        f"{rule.poorly_connected:g} to {rule.unconverged:g}; CKA {rule.cka:.4g}"
    )


def listed(seeds: Collection[int]) -> str:
    """Return seeds in order, consecutive ones as a range.

    >>> listed((1, 0, 2)), listed((3, 9))
    ('0–2', '3, 9')
    """
    found = sorted(set(seeds))
    if len(found) > 2 and found[-1] - found[0] == len(found) - 1:
        return f"{found[0]}–{found[-1]}"
    return ", ".join(map(str, found[:8])) + (", …" if len(found) > 8 else "")


def _models(table: CellTable) -> str:
    most, least = (
        int(table.models.max(initial=0)),
        int(table.models[table.models > 0].min(initial=2**31)),
    )
    if not most:
        return "number of models not known"
    each = f"{counted(most, 'model')} each" if most == least else f"{least} to {most} models each"
    lacking = int((table.models < 1).sum())
    return f"{each} (none, or not known, in {lacking:,})" if lacking else each
