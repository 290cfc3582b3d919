"""llt: the loss-landscape taxonomy framework, its contracts and engine.

>>> import llt_core
>>> callable(llt_core.run), callable(llt_core.sweep)
(True, True)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from llt_core.version import __version__

__all__ = ["RunResult", "SweepResult", "SweepSpec", "__version__", "run", "sweep"]

if TYPE_CHECKING:
    from llt_core.api import RunResult, SweepResult, run, sweep
    from llt_core.spec import SweepSpec


def __getattr__(name: str) -> Any:
    """Import the Python interface when it is first used: ``llt --help`` needs none of it."""
    if name in __all__:
        from llt_core import api

        # The room called sweep can itself be called: see its own docstring.
        return import_module("llt_core.sweep") if name == "sweep" else getattr(api, name)
    raise AttributeError(f"module 'llt_core' has no attribute {name!r}")
