"""One flat table of a store: one row a measurement, one column a varied field."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, get_args

from llt_core.analysis.long import by_columns
from llt_core.errors import RequestError
from llt_core.interfaces import composition_columns
from llt_core.store.output import written_whole
from llt_core.store.records import Record

if TYPE_CHECKING:
    import pandas as pd

Form = Literal["csv", "parquet"]
FORMATS: tuple[Form, ...] = get_args(Form)


QUANTITIES = ("name", "value", "standard_error", "unit", "n", "counted", "status")
"""Columns in which the measurements of one cell differ."""


class Measured(NamedTuple):
    """What tables say of one cell that was measured.

    Attributes
    ----------
    fields
        The columns in order, with what all its measurements share; None for :data:`QUANTITIES`.
    rows
        Its measurements: of each a value for each of :data:`QUANTITIES`.
    """

    fields: dict[str, Any]
    rows: list[list[Any]]

    @classmethod
    def of(cls, record: Record) -> Self:
        """Return what there is to say of a record that has measurements."""
        data = record.provenance.get("data", {})
        fields = {
            **composition_columns(record.composition),
            "metric": record.composition["metric"]["name"],
            **dict.fromkeys(QUANTITIES),
            "seconds": record.seconds,
            "finished": record.provenance.get("finished"),
            "device": record.provenance.get("device"),
            "data_fingerprint": data.get("fingerprint"),
            "data_verified": data.get("verified"),
            "digest": record.digest,
        }
        return cls(fields, [[getattr(m, name) for name in QUANTITIES] for m in record.measurements])


def measured(records: Iterable[Record]) -> list[Measured]:
    """Return what tables say of records (train cells have no measurements and are left out)."""
    return [Measured.of(record) for record in records if record.measurements]


def flat(cells: Iterable[Measured]) -> list[dict[str, Any]]:
    """Return one flat dictionary per measurement."""
    return [
        cell.fields | dict(zip(QUANTITIES, row, strict=True)) for cell in cells for row in cell.rows
    ]


def rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return one flat dictionary per measurement of some records."""
    return flat(measured(records))


def columns_of(cells: Sequence[Measured]) -> dict[str, Sequence[Any]]:
    """Return the :data:`QUANTITIES` of all measurements, one cell after the other."""
    rows = (row for cell in cells for row in cell.rows)
    return dict(zip(QUANTITIES, zip(*rows, strict=True), strict=False))


def to_frame(cells: Sequence[Measured]) -> pd.DataFrame:
    """Return one row per measurement as a data frame, as :func:`to_pandas` does."""
    import numpy as np

    shared = to_pandas([cell.fields for cell in cells])
    frame = shared.take(np.repeat(np.arange(len(cells)), [len(cell.rows) for cell in cells]))
    frame = frame.reset_index(drop=True)
    for name, values in columns_of(cells).items():
        frame[name] = _column(values)
    return frame


def to_pandas(table: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the rows as a data frame, every column of one type.

    Whole numbers stay whole where some are missing (``Int64``). A column that mixes kinds,
    because two plugins use one name differently, becomes text.
    """
    import pandas as pd

    return pd.DataFrame({name: _column(held) for name, held in by_columns(table).items()})


def form_of(path: Path, next_step: str = "") -> Form:
    """Return the format that the ending of a file names.

    Raises
    ------
    RequestError
        It names none.
    """
    for form in FORMATS:
        if path.suffix.lower() == f".{form}":
            return form
    raise RequestError(
        f"the ending of {str(path)!r} names no format",
        expected=f"one of {', '.join(FORMATS)}",
        next_step=next_step,
    )


def write_table(frame: pd.DataFrame, path: Path, form: Form) -> None:
    """Write a table to ``path``, beside it first, then renamed.

    Raises
    ------
    LltError
        The folder is missing or cannot be written.
    """
    with written_whole(path, "table") as file:
        if form == "csv":
            frame.to_csv(file, index=False)
        else:
            frame.to_parquet(file, index=False)


def _column(values: Sequence[Any]) -> pd.Series[Any]:
    import pandas as pd

    kinds = {*map(type, values)} - {type(None)}
    if kinds == {bool}:
        return pd.Series(values, dtype="boolean" if None in values else "bool")
    if kinds == {int} and all(value is None or abs(value) < 2**63 for value in values):
        return pd.Series(values, dtype="Int64" if None in values else "int64")
    if kinds in ({float}, {int, float}):
        return pd.Series(values, dtype="float64")
    if kinds <= {str}:
        return pd.Series(values, dtype=None if kinds else "object")
    return pd.Series([value if value is None else _text(value) for value in values])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
