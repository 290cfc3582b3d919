"""From a request to cells, and from cells to results."""

from llt_core.sweep.engine import CellResult, Engine, Listener
from llt_core.sweep.plan import Plan, PlannedCell, make_plan

__all__ = ["CellResult", "Engine", "Listener", "Plan", "PlannedCell", "make_plan"]
