"""Where the store and the data are when the user does not say."""

from __future__ import annotations

import os
from pathlib import Path

STORE_VARIABLE = "LLT_STORE"
DATA_VARIABLE = "LLT_DATA"


def store_root(given: str | Path | None = None) -> Path:
    """Return ``given``, else ``$LLT_STORE``, else ``./llt-store``."""
    return Path(given or os.environ.get(STORE_VARIABLE) or "llt-store").expanduser().absolute()


def data_root(given: str | Path | None = None) -> Path:
    """Return ``given``, else ``$LLT_DATA``, else ``llt/data`` in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    default = Path(cache) / "llt" / "data"
    return Path(given or os.environ.get(DATA_VARIABLE) or default).expanduser().absolute()
