"""Reading results: find a cell, load what it holds, draw it.

Importing this package imports neither torch nor matplotlib.
"""

from llt_core.report.find import find, find_digest, label
from llt_core.report.result import Panel, Result, describe_array, load

__all__ = ["Panel", "Result", "describe_array", "find", "find_digest", "label", "load"]
