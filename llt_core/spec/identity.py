"""The identity of a cell: a digest that means the same result today and next year."""

from __future__ import annotations

import hashlib
import json

from llt_core.errors import RequestError
from llt_core.spec.cell import MeasureCell, TrainCell

IDENTITY_VERSION = 1
"""Raised only if the rule below changes; every older digest then stops matching."""

DIGEST_LENGTH = 32


def canonical(cell: TrainCell | MeasureCell) -> str:
    """Return the one JSON text of a cell: sorted keys, no spaces, ASCII, no NaN.

    Raises
    ------
    RequestError
        A parameter is infinite or not a number.
    """
    # Not mode="json": an infinity would become null and share the digest of None.
    tree = cell.model_dump()
    try:
        return json.dumps(
            tree, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
        )
    except ValueError as error:
        raise RequestError(
            "a parameter is infinite or not a number", where=str(tree), expected="finite numbers"
        ) from error


def digest(cell: TrainCell | MeasureCell) -> str:
    """Return the first 128 bits of SHA-256 over version and canonical text, in hex."""
    text = f"llt-cell-{IDENTITY_VERSION}\0{canonical(cell)}"
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:DIGEST_LENGTH]
