"""One flat table of a store: one row a measurement, one column a varied field."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from llt_core.errors import RequestError
from llt_core.interfaces import composition_columns
from llt_core.store.output import written_whole
from llt_core.store.records import Record

if TYPE_CHECKING:
    import pandas as pd

Form = Literal["csv", "parquet"]
FORMATS: tuple[Form, ...] = get_args(Form)


def rows(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return one flat dictionary per measurement (train cells have none and are left out)."""
    found: list[dict[str, Any]] = []
    for record in records:
        if not record.measurements:
            continue
        data = record.provenance.get("data", {})
        composition = composition_columns(record.composition)
        found += [
            {
                **composition,
                "metric": record.composition["metric"]["name"],
                "name": measurement.name,
                "value": measurement.value,
                "standard_error": measurement.standard_error,
                "unit": measurement.unit,
                "n": measurement.n,
                "counted": measurement.counted,
                "status": measurement.status,
                "seconds": record.seconds,
                "finished": record.provenance.get("finished"),
                "device": record.provenance.get("device"),
                "data_fingerprint": data.get("fingerprint"),
                "data_verified": data.get("verified"),
                "digest": record.digest,
            }
            for measurement in record.measurements
        ]
    return found


def to_pandas(table: list[dict[str, Any]]) -> pd.DataFrame:
    """Return the rows as a data frame, every column of one type.

    Whole numbers stay whole where some are missing (``Int64``). A column that mixes kinds,
    because two plugins use one name differently, becomes text.
    """
    import pandas as pd

    names = dict.fromkeys(name for row in table for name in row)
    return pd.DataFrame({name: _column([row.get(name) for row in table]) for name in names})


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


def write_table(table: list[dict[str, Any]], path: Path, form: Form) -> None:
    """Write the rows to ``path``, beside it first, then renamed.

    Raises
    ------
    LltError
        The folder is missing or cannot be written.
    """
    frame = to_pandas(table)
    with written_whole(path, "table") as file:
        if form == "csv":
            frame.to_csv(file, index=False)
        else:
            frame.to_parquet(file, index=False)


def _column(values: list[Any]) -> pd.Series[Any]:
    import pandas as pd

    kinds = {type(value) for value in values if value is not None}
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
