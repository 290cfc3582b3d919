"""The contract of a tracker: an observer that is switched on by name."""

from __future__ import annotations

from typing import ClassVar

from llt_core.interfaces.component import Component
from llt_core.kinds import Kind


class Tracker(Component):
    """Tells another program what happens in a request.

    A tracker has no methods of its own to define: it implements the hooks it wants to hear, as
    methods marked with ``llt_core.plugins.hookimpl`` (see :mod:`llt_core.plugins.hookspecs`).
    Unlike the hooks of a package's module, which hear everything always, they are called only
    in a request that names the tracker, after its parameters were validated.

    All hooks are called in the driver, from one thread, between cells: a slow one delays the
    cells that follow, so whatever it waits for needs a time limit. What a hook raises is told
    at the end and costs nothing else; but a tracker that raises in ``llt_sweep_started``, or
    whose module cannot be imported, is not called again in that request. An ``ImportError``
    there is told with the line that installs the extra the manifest names under ``needs``.
    """

    kind: ClassVar[Kind] = "tracker"
