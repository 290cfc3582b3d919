"""NumPy's .npz files, read without NumPy's loader: plain numbers, no larger than they are."""

from __future__ import annotations

import io
import math
import re
import zipfile
import zlib
from collections.abc import Container

import numpy as np

from llt_core.analysis.table import Floats
from llt_core.analysis.untrusted.archive import refuse, shown
from llt_core.analysis.untrusted.damage import DamagedError

MAX_ENTRIES = 256
MAX_BYTES = 2**20
"""Of one array, unpacked: results have a few dozen numbers."""
_HEADER = re.compile(
    r"\{'descr': '(?P<dtype>[<>|=][fiub]\d{1,2})', 'fortran_order': (?:False|True), "
    r"'shape': \((?P<shape>[\d, ]{0,80})\), \}\s*"
)
_OBJECTS = re.compile(r"'descr': (?:'\|?O|\[)")


def read_arrays(data: bytes, name: str, wanted: Container[str]) -> dict[str, Floats]:
    """Return those arrays of an .npz file that are ``wanted``, as float64.

    Parameters
    ----------
    data
        The file.
    name
        What to call it in an error.

    Raises
    ------
    DamagedError
        It is no .npz file, or cut off.
    RequestError
        It holds objects, archives, or more than results need: wanted or not.
    """
    found: dict[str, Floats] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_ENTRIES:
                refuse(f"{len(entries):,} arrays in one file", name)
            if len({entry.filename for entry in entries}) < len(entries):
                refuse("an array occurs twice", name)
            for entry in entries:
                values = _read(archive, entry, f"{name}/{entry.filename}")
                key = entry.filename.removesuffix(".npy")
                if key in wanted:
                    found[key] = values
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        TypeError,
        LookupError,
    ) as error:
        raise DamagedError(f"is no whole .npz file: {shown(str(error))}") from error
    return found


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> Floats:
    if not re.fullmatch(r"\w{1,60}\.npy", entry.filename):
        refuse("it is no array", name)
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        refuse("it is packed in an unusual way", name)
    if entry.file_size > MAX_BYTES:
        refuse(f"an array of {entry.file_size:,} bytes", name)
    with archive.open(entry) as file:
        data = file.read(MAX_BYTES)  # no more than the entry states, which was judged above
    return _array(data, name)


def _array(data: bytes, name: str) -> Floats:
    """Return the array in the bytes of an .npy file of version 1 or 2."""
    if data[:6] != b"\x93NUMPY" or data[6:8] not in (b"\x01\x00", b"\x02\x00"):
        raise DamagedError(f"{name} is no array")
    width = 2 if data[6] == 1 else 4
    start = 8 + width + int.from_bytes(data[8 : 8 + width], "little")
    header = data[8 + width : min(start, 8 + width + 1024)].decode("latin-1")
    if _OBJECTS.search(header):
        refuse("an array of objects, which only a pickle can hold", name)
    described = _HEADER.fullmatch(header)
    if described is None:
        raise DamagedError(f"{name} has a header nobody knows")
    shape = tuple(int(part) for part in described["shape"].split(",") if part.strip())
    dtype = np.dtype(described["dtype"])
    if math.prod(shape) * dtype.itemsize != len(data) - start:
        refuse(f"an array that states the shape {shape} in {len(data) - start:,} bytes", name)
    return np.frombuffer(data, dtype=dtype, offset=start).reshape(shape).astype(np.float64)
