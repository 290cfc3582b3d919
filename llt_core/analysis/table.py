"""The table that everything here works on: one row a grid point, one column a quantity."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from llt_core.analysis.samples import Floats, Mask, Sample, Samples
from llt_core.errors import RequestError
from llt_core.fields import short_fields

__all__ = ["Axis", "AxisKind", "CellTable", "Column", "Floats", "Mask", "Sample", "Samples"]

AxisKind = Literal["load", "temperature", ""]


@dataclass(frozen=True)
class Axis:
    """A varied field, with its value in each of the N rows.

    Attributes
    ----------
    name
        The field as a sweep file calls it: ``architecture.width``.
    values
        N values of any kind; None where a row has none.
    kind
        What the paper calls it, where that is known.
    """

    name: str
    values: tuple[Any, ...]
    kind: AxisKind = ""

    @property
    def numbers(self) -> Floats:
        """The values as numbers, shape (N,); NaN for what is none."""
        return np.array([_number(value) for value in self.values], dtype=np.float64)

    @property
    def levels(self) -> tuple[Any, ...]:
        """The values that occur, each once, in order."""
        known = {value for value in self.values if value is not None}
        numeric = all(not math.isnan(_number(value)) for value in known)
        return tuple(sorted(known, key=_number if numeric else str))

    @property
    def logarithmic(self) -> bool:
        """Whether equal steps are ratios: positive numbers that span a factor of four or more."""
        numbers = self.numbers
        held = numbers[np.isfinite(numbers)]
        return bool(held.size and held.min() > 0 and held.max() >= 4 * held.min())


@dataclass(frozen=True)
class Column:
    """One quantity in each of the N rows.

    Attributes
    ----------
    name
        As ``llt list-plugins`` and results call it: ``hessian_trace``.
    values, standard_errors
        Means over the models (or pairs) of a row and their standard errors, shape (N,), in
        ``unit``; NaN where there is none.
    n
        Measurements behind each mean, shape (N,); 0 where nobody says.
    reasons
        Why a value is missing; empty where it is there.
    samples
        The measurements behind each mean, where they are known.
    """

    name: str
    values: Floats
    unit: str = ""
    standard_errors: Floats = field(default_factory=lambda: np.empty(0))
    n: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    reasons: tuple[str, ...] = ()
    samples: Sequence[tuple[Sample, ...]] = ()

    def __post_init__(self) -> None:
        rows = len(self.values)
        if not self.standard_errors.size:
            object.__setattr__(self, "standard_errors", np.full(rows, np.nan))
        if not self.n.size:
            object.__setattr__(self, "n", np.isfinite(self.values).astype(np.int64))
        if not self.reasons:
            reasons = tuple(
                "" if there else "not in the table" for there in np.isfinite(self.values)
            )
            object.__setattr__(self, "reasons", reasons)
        if not self.samples:
            object.__setattr__(self, "samples", ((),) * rows)
        for name in ("standard_errors", "n", "reasons", "samples"):
            if len(getattr(self, name)) != rows:
                raise ValueError(f"{name} of the column {self.name} needs {rows} entries")

    def select(self, rows: Sequence[int] | npt.NDArray[np.intp]) -> Column:
        """Return the column of some rows, by their numbers."""
        return replace(
            self,
            values=self.values[rows],
            standard_errors=self.standard_errors[rows],
            n=self.n[rows],
            reasons=tuple(self.reasons[row] for row in rows),
            samples=Samples.of(self.samples).select(rows),
        )


@dataclass(frozen=True)
class CellTable:
    """N rows, each a grid point: the varied fields, and the means of what was measured there.

    Attributes
    ----------
    name
        The sweep, or the file it was read from.
    origin
        Where the numbers come from: ``llt``, or what was imported.
    models
        How many models each row has, shape (N,); 0 where nobody says.
    facts
        What is the same in all rows, by field: the task, say.
    """

    name: str
    axes: tuple[Axis, ...]
    columns: Mapping[str, Column]
    origin: str = "llt"
    models: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {len(axis.values) for axis in self.axes}
        lengths |= {len(column.values) for column in self.columns.values()}
        if len(lengths) > 1:
            raise ValueError(f"axes and columns of {self.name} differ in length: {lengths}")
        if not self.models.size:
            object.__setattr__(self, "models", np.zeros(max(lengths, default=0), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.models)

    def __contains__(self, name: str) -> bool:
        return name in self.columns

    def column(self, name: str) -> Column:
        """Return a column.

        Raises
        ------
        RequestError
            There is none by that name.
        """
        if name not in self.columns:
            raise self._unknown("column", name, list(self.columns))
        return self.columns[name]

    def axis(self, name: str) -> Axis:
        """Return an axis by its name, or by the end of it (``width``).

        Raises
        ------
        RequestError
            There is none by that name, or several.
        """
        fitting = [axis for axis in self.axes if f".{axis.name}".endswith(f".{name}")]
        exact = [axis for axis in fitting if axis.name == name]
        if len(exact or fitting) != 1:
            raise self._unknown("axis", name, [axis.name for axis in self.axes])
        return (exact or fitting)[0]

    def of_kind(self, kind: AxisKind) -> Axis | None:
        """Return the first axis tagged as load or temperature; None if there is none."""
        return next((axis for axis in self.axes if axis.kind == kind), None)

    def select(self, mask: Mask) -> CellTable:
        """Return the rows for which ``mask``, shape (N,), is true."""
        rows = np.flatnonzero(mask)
        return replace(
            self,
            axes=tuple(replace(a, values=tuple(a.values[row] for row in rows)) for a in self.axes),
            columns={name: column.select(rows) for name, column in self.columns.items()},
            models=self.models[rows],
        )

    @cached_property
    def short(self) -> dict[str, str]:
        """The shortest name of each axis that no other one shares, by its whole name."""
        return short_fields(axis.name for axis in self.axes)

    def label(self, row: int) -> str:
        """Return what to call a row: the values of its axes.

        >>> table = CellTable("t", (Axis("architecture.width", (2, 4)),), {})
        >>> table.label(1)
        'width=4'
        """
        return ", ".join(f"{self.short[a.name]}={_short(a.values[row])}" for a in self.axes)

    def _unknown(self, what: str, name: str, known: list[str]) -> RequestError:
        near = get_close_matches(name, known) or known
        return RequestError(
            f"the table {self.name} has no {what} {name!r}",
            expected=f"one of {', '.join(near) or 'none: it is empty'}",
        )


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return math.nan
    return float(value)


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
