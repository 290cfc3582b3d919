"""The difference between a file that is broken and one that is hostile."""

from __future__ import annotations


class DamagedError(ValueError):
    """A file is not what it should be, in a harmless way: cut off, or of another shape.

    Whoever reads many files goes on without this one and says so. What asks for more than
    plain numbers is a :class:`~llt_core.errors.RequestError` instead, and ends the reading.
    """
