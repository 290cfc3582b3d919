"""Reading results: find a cell, load what it holds, draw it.

Importing this package imports neither torch nor matplotlib.
"""

from llt_core.report.find import find, label
from llt_core.report.result import Panel, Result, describe_array, load

__all__ = ["Panel", "Result", "describe_array", "find", "label", "load"]
