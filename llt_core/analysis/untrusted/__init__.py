"""Files that a stranger wrote: read as plain numbers, or refused.

Nothing here runs code from a file, writes to disk, or trusts a size that a file states.
"""

from llt_core.analysis.untrusted.archive import Limits, members, shown
from llt_core.analysis.untrusted.arrays import read_arrays
from llt_core.analysis.untrusted.damage import DamagedError
from llt_core.analysis.untrusted.pickles import read_pickle

__all__ = ["DamagedError", "Limits", "members", "read_arrays", "read_pickle", "shown"]
