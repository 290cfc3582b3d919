"""Long tables of Parquet files, of which no value becomes an object more often than it must."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from llt_core.analysis.coded import Coded
from llt_core.analysis.long import NUMBERS, UNUSED, LongTable

if TYPE_CHECKING:
    import pyarrow as arrow
    from pyarrow import parquet


def measurements(file: parquet.ParquetFile) -> LongTable:
    """Return a long table, read column by column: each finds the memory that the last one had."""
    import pyarrow as arrow

    numbers, columns = {}, {}
    for name in file.schema_arrow.names:
        if name in UNUSED:
            continue
        column = file.read(columns=[name]).column(name)
        if name in NUMBERS:
            column = column.cast(arrow.float64(), safe=False)
            numbers[name] = _plain(column.combine_chunks(), np.nan)
        else:
            columns[name] = _coded(column)
    return LongTable(numbers, columns)


def _coded(column: arrow.ChunkedArray) -> Coded:
    from pyarrow import compute, types

    if types.is_integer(column.type):
        ends = compute.min_max(column).as_py()
        if ends["min"] is not None and ends["min"] == ends["max"]:
            # Most settings are the same wherever they are known.
            there = _there(column.combine_chunks())
            return Coded(there.view(np.int8) - 1, [ends["min"]])
    found = column.unify_dictionaries().combine_chunks().dictionary_encode()
    known = Coded.of([None if v != v else v for v in found.dictionary.to_pylist()])
    if len(known.codes) == 1 and not column.null_count:
        return Coded(np.broadcast_to(known.codes, len(column)), known.values)
    return Coded(np.append(known.codes, -1)[_plain(found.indices.cast("int32"), -1)], known.values)


def _plain(column: arrow.Array, none: float) -> npt.NDArray[Any]:
    """Return numbers, with ``none`` for nulls: arrow's own way would import pandas."""
    kind = np.dtype(str(column.type).replace("double", "float64"))
    start, length = column.offset * kind.itemsize, len(column)
    data = np.frombuffer(column.buffers()[1] or b"", kind, length, start)
    return np.where(_there(column), data, none) if column.null_count else data


def _there(column: arrow.Array) -> npt.NDArray[np.bool_]:
    """Return where a column is not null, of the bits that say so."""
    bits = column.buffers()[0]
    if bits is None:
        return np.full(len(column), column.null_count == 0)
    found = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")
    return found[column.offset : column.offset + len(column)].astype(np.bool_)
