"""Finding plugins without importing them, and importing just the ones asked for.

Import :mod:`llt_core.plugins.loader` for the step from a name to a class: it needs
pydantic, which listing plugins does not.
"""

from llt_core.plugins.catalogue import Catalogue, Resolved
from llt_core.plugins.hookspecs import hookimpl
from llt_core.plugins.manifest import Entry

__all__ = ["Catalogue", "Entry", "Resolved", "hookimpl"]
