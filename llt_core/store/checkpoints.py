"""Whether the file of a trained model is all there, without reading all of it."""

from __future__ import annotations

import json
from pathlib import Path

from llt_core.store.cells import Store, cannot_read
from llt_core.store.records import Record

_LENGTH = 8
"""Bytes at the start of a safetensors file: the length of the JSON header behind them."""

_LONGEST = 100_000_000
"""Bytes a safetensors header may have."""


def complete(store: Store, record: Record) -> bool:
    """Whether the checkpoint of ``record`` is there and as long as its own header says.

    True for a record without one. A file that was cut off, or emptied, or is of another kind is
    noticed here, at the cost of reading its header; one that has its length and other bytes is
    noticed where it is loaded, by the digest of all of it.

    Raises
    ------
    StoreError
        It is there and cannot be read just now.
    """
    if record.checkpoint is None:
        return True
    file = store.path(record.digest) / record.checkpoint.file
    try:
        return file.stat().st_size == expected_size(file)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, ValueError):
        return False
    except OSError as error:
        raise cannot_read(file, error) from error


def expected_size(file: Path) -> int:
    """Return the bytes that a safetensors file has by its header.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It does not begin with such a header.
    """
    with file.open("rb") as content:
        length = int.from_bytes(content.read(_LENGTH), "little")
        if length > _LONGEST:
            raise ValueError(f"a header of {length} bytes")
        header = json.loads(content.read(length))
    if not isinstance(header, dict):
        raise ValueError("the header is no table")
    ends = [_end(entry) for name, entry in header.items() if name != "__metadata__"]
    return _LENGTH + length + max(ends, default=0)


def _end(entry: object) -> int:
    """Return where the data of one tensor end, counted from the end of the header."""
    match entry:
        case {"data_offsets": [int(), int(end)]}:
            return end
    raise ValueError("a tensor without its place")
