"""The report page: one file that shows what a table of cells says, and answers questions.

It opens from disk and asks the network for nothing. Importing this imports neither torch nor
pandas nor matplotlib.
"""

from llt_core.report.inferred import InferredMap
from llt_core.report.page.details import Details, details_of
from llt_core.report.page.html import build_page

__all__ = ["Details", "InferredMap", "build_page", "details_of"]
