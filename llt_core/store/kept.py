"""Tables that were imported into the store, and rows by name: of such a table or of a sweep.

They are kept as ``STORE/tables/NAME.parquet``: long rows, as sweeps are exported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llt_core.errors import RequestError
from llt_core.spec.naming import SWEEP_NAME
from llt_core.store.cells import Store, cannot_write
from llt_core.store.export import Measured, flat, to_frame, to_pandas
from llt_core.store.index import Progress, measured_cells
from llt_core.store.sweeps import SweepRecord, names, recall, sweep_cells, table_file

if TYPE_CHECKING:
    import pandas as pd
    from pyarrow import Schema, Table


def keep_table(
    store: Store,
    name: str,
    rows: Sequence[dict[str, Any]],
    *,
    kinds: Mapping[str, str],
    origin: str,
    force: bool = False,
) -> Path:
    """Keep long rows in the store under a name; others that were kept by it only by ``force``.

    Parameters
    ----------
    kinds
        The varied fields, in order, each with ``load``, ``temperature`` or nothing.
    origin
        Where the numbers come from.
    force
        Whether to replace a table of other rows, fields or origin.

    Raises
    ------
    RequestError
        A sweep has that name, or such a table.
    StoreError
        The store cannot be written.
    """
    import pyarrow as arrow
    from pyarrow import parquet

    if name in names(store):
        raise RequestError(f"a sweep is called {name!r}", next_step="--name ANOTHER")
    path = table_file(store, name)
    table = arrow.Table.from_pandas(to_pandas(list(rows)), preserve_index=False)
    facts = json.dumps({"kinds": dict(kinds), "origin": origin})
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"llt": facts.encode()})
    if not force and path.is_file() and not _holds(path, table):
        raise RequestError(
            f"another table is kept as {name!r}",
            where=str(path),
            expected="a name that is free, or --force to replace the table",
            next_step="--name ANOTHER, or the same command with --force",
        )
    beside = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(exist_ok=True)
        parquet.write_table(table, beside)
        beside.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        beside.unlink(missing_ok=True)
    return path


def table_names(store: Store) -> list[str]:
    """Return the names of all tables that were imported, in order."""
    return sorted(path.stem for path in (store.root / "tables").glob("[!.]*.parquet"))


def table_file_name(name: str | None, source: Path) -> str:
    """Return the name to keep a table by: as given, else after the file it is from.

    Raises
    ------
    RequestError
        No file can have that name.

    >>> table_file_name(None, Path("other lab/results (2).tar.gz"))
    'results-2'
    """
    if name is None:
        stem = re.sub(r"(\.tar)?\.(t?gz|tar|csv|parquet)$", "", source.resolve().name)
        name = re.sub(r"[^\w.-]+", "-", stem).strip("-.") or "table"
    if not SWEEP_NAME.fullmatch(name):
        raise RequestError(
            f"a table cannot be called {name!r}",
            expected="letters, digits, '_', '-' and '.'",
            next_step="--name NAME",
        )
    return name


def named_rows(
    store: Store, name: str, progress: Progress | None = None
) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """Return the varied fields of a sweep or an imported table, and its rows: one a measurement.

    Raises
    ------
    LltError
        There is none by that name, or it cannot be read.
    """
    found = _named(store, name)
    if isinstance(found, SweepRecord):
        return found.fields, flat(_measured(store, found, progress))
    return tuple(kept_facts(found.schema)["kinds"]), found.to_pylist()


def named_frame(store: Store, name: str, progress: Progress | None = None) -> pd.DataFrame:
    """Return the same rows as a data frame."""
    found = _named(store, name)
    if isinstance(found, SweepRecord):
        return to_frame(_measured(store, found, progress))
    return to_pandas(found.to_pylist())


def _measured(store: Store, sweep: SweepRecord, progress: Progress | None) -> list[Measured]:
    return sweep_cells(sweep, measured_cells(store, set(sweep.measures), progress))


def _named(store: Store, name: str) -> SweepRecord | Table:
    from pyarrow import parquet

    swept, imported = names(store), table_names(store)
    if name in swept or not imported:
        return recall(store, name)
    if name not in imported:
        raise RequestError(
            f"no sweep or table is called {name!r}",
            where=str(store.root),
            expected=f"one of {', '.join([*swept, *imported])}",
            next_step="llt status, or llt import list",
        )
    with readable(table_file(store, name)) as path:
        return parquet.read_table(path)


def kept_facts(schema: Schema) -> dict[str, Any]:
    """Return what was kept beside the rows of a table: ``kinds`` and ``origin``."""
    found: dict[str, Any] = json.loads((schema.metadata or {}).get(b"llt", b"{}"))
    return found


@contextmanager
def readable(path: Path) -> Iterator[Path]:
    """Tell the user where a Parquet file is none."""
    from pyarrow import ArrowException

    try:
        yield path
    except (ArrowException, OSError) as error:
        raise RequestError(
            f"the table cannot be read: {error}", where=str(path), expected="a Parquet file"
        ) from error


def _holds(path: Path, table: Table) -> bool:
    """Whether the file of a table says the same as one that is to be kept."""
    from pyarrow import ArrowException, parquet

    try:
        kept = parquet.read_table(path)
    except (ArrowException, OSError):
        return False
    return bool(kept.equals(table)) and kept_facts(kept.schema) == kept_facts(table.schema)
