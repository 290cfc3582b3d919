"""Times and sizes as people say them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Write seconds in the unit that suits them.

    >>> [duration(s) for s in (0.31, 75, 600, 9000, 400000)]
    ['0.3 s', '75 s', '10 min', '2.5 h', '4.6 days']
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    for size, unit in ((1, "s"), (60, "min"), (3600, "h")):
        if seconds < 99.5 * size:
            return f"{seconds / size:.0f} {unit}" if unit != "h" else f"{seconds / size:.1f} h"
    return f"{seconds / 86400:.1f} days"


def disk(size: int) -> str:
    """Write bytes in MiB or GiB.

    >>> disk(300_000), disk(5_000_000_000)
    ('0.3 MiB', '4.7 GiB')
    """
    mib = size / 2**20
    return f"{mib:.1f} MiB" if mib < 1000 else f"{mib / 1024:.1f} GiB"
