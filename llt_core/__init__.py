"""llt: the loss-landscape taxonomy framework, its contracts and engine.

>>> import llt_core
>>> callable(llt_core.run)
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llt_core.version import __version__

__all__ = ["RunResult", "__version__", "run"]

if TYPE_CHECKING:
    from llt_core.api import RunResult, run


def __getattr__(name: str) -> Any:
    """Import the Python interface when it is first used: ``llt --help`` needs none of it."""
    if name in ("RunResult", "run"):
        from llt_core import api

        return getattr(api, name)
    raise AttributeError(f"module 'llt_core' has no attribute {name!r}")
