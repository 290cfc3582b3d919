"""From a request to cells, and from cells to results.

The package can be called: ``llt_core.sweep("file.toml")`` is :func:`llt_core.api.sweep`, the
Python interface of sweeps beside ``llt_core.run``. A function of that name in ``llt_core`` would
be replaced by this package as soon as any part of it is imported.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from llt_core.sweep.engine import Engine
from llt_core.sweep.outcomes import Policy
from llt_core.sweep.plan import Plan, PlannedCell, PlannedPoint, make_plan
from llt_core.sweep.results import CellResult, Listener

__all__ = [
    "CellResult",
    "Engine",
    "Listener",
    "Plan",
    "PlannedCell",
    "PlannedPoint",
    "Policy",
    "make_plan",
]


class _Room(ModuleType):
    """A package that is also the function it serves."""

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Run a sweep; see :func:`llt_core.api.sweep`."""
        return import_module("llt_core.api").sweep(*arguments, **keywords)


sys.modules[__name__].__class__ = _Room
