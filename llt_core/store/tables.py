"""Tables by name: a sweep of the store, a table that was imported into it, or a file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llt_core.analysis.flat import Flat, read_flat
from llt_core.analysis.headings import Meaning, meaning
from llt_core.analysis.long import NEEDED, LongTable
from llt_core.analysis.possible import impossible
from llt_core.analysis.rows import cells_of, find_axes
from llt_core.analysis.table import CellTable
from llt_core.errors import RequestError
from llt_core.store.cells import Store
from llt_core.store.csv_files import read_csv
from llt_core.store.index import Progress
from llt_core.store.kept import kept_facts, readable, table_names
from llt_core.store.parquet_columns import measurements
from llt_core.store.sweep_tables import sweep_table
from llt_core.store.sweeps import names, table_file

ENDINGS = (".csv", ".parquet")


def open_table(
    name: str, store: Store | None = None, progress: Progress | None = None
) -> CellTable:
    """Return the table called ``name``.

    Of a sweep ``progress`` is told how many cells are read that are new, and of how many.

    Raises
    ------
    RequestError
        There is none, or it cannot be read.
    """
    path = Path(name)
    if path.suffix.lower() in ENDINGS or path.is_file():
        return read_table(path)
    if store is not None and name in names(store):
        return sweep_table(store, name, progress)
    if store is not None and name in table_names(store):
        return _read_parquet(table_file(store, name))
    known = [] if store is None else [*names(store), *table_names(store)]
    raise RequestError(
        f"no sweep or table is called {name!r}",
        where="" if store is None else str(store.root),
        expected=f"one of {', '.join(known)}, or a file" if known else "a .csv or .parquet file",
        next_step="llt status, or llt import list",
    )


def read_table(path: Path, said: Mapping[str, Meaning] | None = None) -> CellTable:
    """Return the table in a file: long, as ``llt export`` writes it, or one row a cell.

    ``said`` tells what columns of a table with one row a cell mean.

    Raises
    ------
    RequestError
        There is no such file, or it is no such table.
    """
    if not path.is_file():
        raise RequestError(f"there is no file {path}", expected="a table: .csv or .parquet")
    if path.suffix.lower() == ".parquet":
        return _read_parquet(path, said)
    flat = read_csv(path)
    if not said and set(NEEDED) <= set(flat.columns):
        return _long(LongTable.of(_typed(flat)), path, lines=flat.lines)
    return read_flat(flat, path.stem, said, f"file {path.name}")


def as_rows(table: CellTable) -> list[dict[str, Any]]:
    """Return the long rows of a table: its measurements where they are known, else its means."""
    import numpy as np

    found = []
    for column in table.columns.values():
        for row, samples in enumerate(column.samples):
            if not any(sample.models for sample in samples):
                continue
            where = {**table.facts, **{axis.name: axis.values[row] for axis in table.axes}}
            found += [
                {
                    **where,
                    "seeds": "+".join(map(str, sample.models)),
                    "name": column.name,
                    "value": sample.value,
                    "unit": column.unit,
                    "status": "ok",
                    "origin": table.origin,
                }
                for sample in samples
            ]
    return found + [
        {
            **table.facts,
            **{axis.name: axis.values[row] for axis in table.axes},
            "name": column.name,
            "value": float(column.values[row]) if np.isfinite(column.values[row]) else None,
            "standard_error": _finite(float(column.standard_errors[row])),
            "unit": column.unit,
            "n": int(column.n[row]),
            "status": "ok" if np.isfinite(column.values[row]) else "not_finite",
            "models": int(table.models[row]),
            "origin": table.origin,
        }
        for row in range(len(table))
        for column in table.columns.values()
        if not any(sample.models for sample in column.samples[row])
    ]


def _finite(value: float) -> float | None:
    return value if value == value else None


def _read_parquet(path: Path, said: Mapping[str, Meaning] | None = None) -> CellTable:
    from pyarrow import parquet, types

    with readable(path):
        schema = parquet.read_schema(path)
        texts = [f.name for f in schema if types.is_string(f.type) or types.is_large_string(f.type)]
        if not said and set(NEEDED) <= set(schema.names):
            file = parquet.ParquetFile(path, read_dictionary=texts)
            return _long(measurements(file), path, kept_facts(schema))
        table = parquet.ParquetFile(path).read()
    columns = {
        name: ["" if v is None else str(v) for v in table.column(name).to_pylist()]
        for name in table.column_names
    }
    flat = Flat(columns, range(1, table.num_rows + 1), str(path))
    return read_flat(flat, path.stem, said, f"file {path.name}")


def _long(
    table: LongTable,
    path: Path,
    facts: Mapping[str, Any] | None = None,
    lines: Sequence[int] | None = None,
) -> CellTable:
    """Gather a long table; ``lines`` are those of the file that its rows stand on."""
    _check_possible(table, path, lines)
    kinds = (facts or {}).get("kinds") or _known_kinds(table)
    origin = (facts or {}).get("origin") or next((o for o in table["origin"].values if o), "")
    return cells_of(
        table,
        path.stem,
        axes=list(kinds) or None,
        kinds=kinds,
        origin=str(origin or f"exported: {path.name}"),
    )


def _check_possible(table: LongTable, path: Path, lines: Sequence[int] | None) -> None:
    """Refuse values that a well-known field of the composition cannot have."""
    for field in table.composition:
        name, column = _known_field(field), table[field]
        for code, value in enumerate(column.values):
            if expected := impossible(name, value):
                row = int((column.codes == code).argmax())
                place = f"row {row + 1}" if lines is None else f"line {lines[row]}"
                raise RequestError(
                    f"{value!r} is no {name}",
                    where=f"{path}, {place}, column {field}",
                    expected=f"{expected}, or nothing where it says nothing",
                )


def _known_field(heading: str) -> str:
    """Return the varied field that a heading means, if it is a well-known one; else itself."""
    known = meaning(heading)
    return known.name if known is not None and known.role == "axis" else heading


def _known_kinds(table: LongTable) -> dict[str, str]:
    """Return the varied fields of a long table, each with its kind if it is a well-known one."""
    known = {field: meaning(field) for field in find_axes(table)}
    return {f: one.kind if one and one.role == "axis" else "" for f, one in known.items()}


def _typed(flat: Flat) -> dict[str, list[Any]]:
    """Return the columns of a long CSV file, numbers as numbers and nothing as None."""
    columns = {}
    for name, texts in flat.columns.items():
        # A setting that is no number is a mistake; that a measurement is none says its status.
        none = math.nan if impossible(_known_field(name), math.nan) else None
        known = {text: _value(text, none) for text in set(texts)}
        columns[name] = [known[text] for text in texts]
    if "seeds" in flat.columns:  # 0+1 for a pair, so never a number
        columns["seeds"] = [text or None for text in flat.columns["seeds"]]
    for row, value in enumerate(columns["value"]):
        if isinstance(value, str):
            raise RequestError(
                f"{value!r} is no number",
                where=f"{flat.where}, line {flat.lines[row]}, column value",
                expected="a number, or nothing where there is none",
            )
    return columns


def _value(text: str, not_a_number: float | None) -> Any:
    if not text:
        return None
    if text.lower() == "nan":
        return not_a_number
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
