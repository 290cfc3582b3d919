"""A map of phases in which some cells were never trained."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from llt_core.analysis import PHASES, Axis, CellTable, Column, Phase, PhaseRule
from llt_core.analysis.table import Floats
from llt_core.interfaces.composition import scalar
from llt_core.store.maps import PhaseMap

OTHER_RULE = "Inferred phases are left out: they were concluded with other thresholds."
REASON = "not measured: the phase is inferred from other cells"


@dataclass(frozen=True)
class InferredMap:
    """Phases that were concluded from other cells instead of measured.

    Attributes
    ----------
    axes
        Where the M cells are, with the names of the table's axes.
    phases
        The phase of each, shape (M,); None where even that cannot be said.
    confidence
        Probability that the phase is right, shape (M,), 0 to 1; NaN where nobody says.
    rule
        The thresholds that the phases were concluded with; None where nobody says.
    """

    axes: tuple[Axis, ...]
    phases: tuple[Phase | None, ...]
    confidence: Floats = field(default_factory=lambda: np.empty(0))
    rule: PhaseRule | None = None

    def __post_init__(self) -> None:
        count = len(self.phases)
        if not self.confidence.size:
            object.__setattr__(self, "confidence", np.full(count, np.nan))
        if any(len(axis.values) != count for axis in self.axes) or len(self.confidence) != count:
            raise ValueError(f"axes and confidence of an inferred map need {count} entries each")

    @classmethod
    def of(cls, found: PhaseMap, table: CellTable) -> InferredMap:
        """Return what an adaptive sweep inferred, on the axes of its table."""
        points = [point for point in found.points if point.basis == "inferred"]
        axes = tuple(
            Axis(axis.name, tuple(scalar(point.values.get(axis.name)) for point in points))
            for axis in table.axes
        )
        phases: dict[str, Phase] = {phase: phase for phase in PHASES}
        return cls(
            axes,
            tuple(phases.get(point.phase) for point in points),
            np.array([point.confidence for point in points], dtype=np.float64),
            PhaseRule.model_validate(found.rule),
        )

    def holds_for(self, rule: PhaseRule) -> bool:
        """Whether the phases were concluded with these thresholds, as far as is known."""
        return self.rule is None or self.rule == rule


def joined(table: CellTable, inferred: InferredMap) -> tuple[CellTable, dict[int, int]]:
    """Return the table with a row for each inferred cell, and which rows those are.

    A cell that has measured values is left as it is: a measurement beats a conclusion.

    Returns
    -------
    The table, and for each inferred row its place in ``inferred``.
    """
    named = {axis.name: axis.values for axis in inferred.axes}
    places = [
        tuple(named[axis.name][place] if axis.name in named else None for axis in table.axes)
        for place in range(len(inferred.phases))
    ]
    rows: dict[tuple[Any, ...], int] = {}
    for row in range(len(table)):
        rows.setdefault(tuple(axis.values[row] for axis in table.axes), row)
    measured = np.zeros(len(table), dtype=bool)
    for column in table.columns.values():
        measured |= np.isfinite(column.values)
    marked: dict[int, int] = {}
    new: list[tuple[Any, ...]] = []
    for number, place in enumerate(places):
        row = rows.get(place, -1)
        if row < 0:
            marked[len(table) + len(new)] = number
            new.append(place)
        elif not measured[row]:
            marked[row] = number
    return (_longer(table, new) if new else table), marked


def summary(inferred: InferredMap, marked: dict[int, int]) -> str:
    """Return in a sentence what was not measured."""
    places = list(marked.values())
    sure = inferred.confidence[places]
    known = sure[np.isfinite(sure)]
    likely = f" They are right with a mean probability of {known.mean():.2f}." if known.size else ""
    verb = "s were" if len(places) != 1 else " was"
    return f"{len(places)} cell{verb} not measured; phases there are inferred.{likely}"


def _longer(table: CellTable, places: list[tuple[Any, ...]]) -> CellTable:
    more = len(places)
    axes = tuple(
        replace(axis, values=(*axis.values, *(place[number] for place in places)))
        for number, axis in enumerate(table.axes)
    )
    models = np.concatenate([table.models, np.zeros(more, dtype=np.int64)])
    columns = {name: _padded(column, more) for name, column in table.columns.items()}
    return replace(table, axes=axes, columns=columns, models=models)


def _padded(column: Column, more: int) -> Column:
    nothing = np.full(more, np.nan)
    return replace(
        column,
        values=np.concatenate([column.values, nothing]),
        standard_errors=np.concatenate([column.standard_errors, nothing]),
        n=np.concatenate([column.n, np.zeros(more, dtype=np.int64)]),
        reasons=(*column.reasons, *(REASON,) * more),
        samples=(*column.samples, *((),) * more),
    )
