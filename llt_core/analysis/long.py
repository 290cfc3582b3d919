"""Long tables as columns: which of them describe a measurement, and which the composition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np

from llt_core.analysis.coded import Coded
from llt_core.analysis.samples import Floats

NEEDED = ("name", "value")
"""Columns without which a table is no long one."""
NUMBERS = ("value", "standard_error", "n")
"""Columns of numbers, which differ from row to row."""
_UNUSED = ("metric", "counted", "seconds", "finished", "device", "data_fingerprint",
           "data_verified", "digest", "source")  # fmt: skip
UNUSED = frozenset(_UNUSED)
"""Columns that say nothing of the cells; nobody needs to read them."""
MEASURED = UNUSED | {*NUMBERS, "name", "unit", "status", "seeds", "origin", "models", "reason"}
"""Columns that describe the measurement, not the composition."""


@dataclass(frozen=True)
class LongTable:
    """R measurements, by columns.

    Attributes
    ----------
    numbers
        Those of :data:`NUMBERS`, each of shape (R,); NaN where there is none.
    columns
        The others, in order.
    """

    numbers: Mapping[str, Floats]
    columns: Mapping[str, Coded]

    @classmethod
    def of(cls, columns: Mapping[str, Sequence[Any]]) -> LongTable:
        """Return a table of columns of any values, None where there is none."""
        return cls(
            {
                name: np.array([np.nan if v is None else float(v) for v in columns[name]])
                for name in NUMBERS
                if name in columns
            },
            {
                name: Coded.of(held)
                for name, held in columns.items()
                if name not in NUMBERS and name not in UNUSED
            },
        )

    def repeated(self, times: Sequence[int]) -> LongTable:
        """Return the table with each row so many times, one after the other.

        >>> table = LongTable.of({"n": [1, 2], "name": ["a", "b"]}).repeated([1, 2])
        >>> table.number("n").tolist(), table["name"].codes.tolist()
        ([1.0, 2.0, 2.0], [0, 1, 1])
        """
        numbers = {name: np.repeat(held, times) for name, held in self.numbers.items()}
        columns = {
            name: Coded(np.repeat(held.codes, times), held.values)
            for name, held in self.columns.items()
        }
        return LongTable(numbers, columns)

    def __len__(self) -> int:
        return len(self.numbers.get("value", ()))

    def __getitem__(self, name: str) -> Coded:
        """Return a column; one of nothing but None if there is none of that name."""
        return self.columns.get(name) or Coded(np.full(len(self), -1), [])

    def number(self, name: str) -> Floats:
        """Return a column of numbers; NaN if there is none of that name."""
        return self.numbers.get(name, np.full(len(self), np.nan))

    @property
    def composition(self) -> list[str]:
        """The columns that describe what was measured on."""
        return [f for f in self.columns if f not in MEASURED and not f.startswith("metric.")]


def by_columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return rows, which may have different fields, as columns."""
    names = dict.fromkeys(name for fields in dict.fromkeys(map(tuple, rows)) for name in fields)
    return {name: list(map(dict.get, rows, repeat(name))) for name in names}
